//! The verbs, one file each.

pub(crate) mod agent;
pub(crate) mod apply;
pub(crate) mod cloudstack;
pub(crate) mod demo;
pub(crate) mod demo_writer;
pub(crate) mod explain;
pub(crate) mod facts;
pub(crate) mod failover;
pub(crate) mod generated;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod init;
pub(crate) mod lab;
pub(crate) mod lab_agents;
pub(crate) mod lab_spec;
pub(crate) mod maintenance;
pub(crate) mod openstack;
pub(crate) mod pause;
pub(crate) mod plan;
pub(crate) mod receive;
pub(crate) mod reinit;
pub(crate) mod render;
pub(crate) mod status;
pub(crate) mod supervise;
pub(crate) mod switchover;
