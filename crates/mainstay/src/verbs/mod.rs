//! The verbs, one file each.

pub(crate) mod apply;
pub(crate) mod cloudstack;
pub(crate) mod demo;
pub(crate) mod facts;
pub(crate) mod generated;
pub(crate) mod init;
pub(crate) mod lab;
pub(crate) mod openstack;
pub(crate) mod plan;
pub(crate) mod receive;
pub(crate) mod status;
pub(crate) mod supervise;
