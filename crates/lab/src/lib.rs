//! Throwaway clusters of real servers on this machine: set up in seconds, broken on purpose, removed wholly.
//!
//! Every test that needs a server, and `mainstay demo`, stands on this. It deliberately makes nothing that is
//! fit to keep data: root has no password, and durability is off unless asked for.
//!
//! Everything of a cluster is in one folder, `ROOT/clusters/NAME`, readable by its owner only, since whoever
//! reaches a socket in it is root of that server. Where that path is too long for a socket, the sockets are in a
//! folder of their own below `/tmp`. Servers listen on 127.0.0.1 only and resolve no names, so that root, who is
//! `root@localhost`, cannot come in over TCP.

mod config;
mod control;
mod error;
mod folder;
mod galera;
mod lab;
mod options;
mod ports;
mod replication;
mod start;
mod state;
mod status;
mod template;
mod up;

pub use error::LabError;
pub use lab::{Lab, default_root};
pub use options::{Topology, UpOptions};
pub use state::{ClusterState, NodeState};
pub use status::{NodeRole, NodeStatus, ProcessStatus};
