//! Clusters in network namespaces, faults against them, and a client that keeps account of every acknowledged write.
//!
//! It tests clusters and takes part in none: what fails over is Mainstay or a peer, never this crate.

pub mod acks;
pub mod check;
pub mod client;
pub mod cluster;
pub mod daemon;
pub mod disk;
pub mod etcd;
pub mod fault;
pub mod galera;
pub mod group;
pub mod haproxy;
pub mod hosts;
mod inside;
pub mod mainstay;
pub mod node;
pub mod report;
pub mod responder;
pub mod router;
pub mod run;
