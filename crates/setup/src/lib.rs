//! Observing a node, carrying out its plan, and telling a cluster's state.
//!
//! The shell around `plan`: it looks ([`observe`]), and does exactly what a plan says ([`apply`]), writing each
//! step to the audit log before and after. It decides nothing: what to do is `plan`'s, how statements differ by
//! version is `flavor`'s.

mod act;
mod apply;
mod audit;
mod bundle;
mod cloudstack_files;
mod error;
mod found;
mod login;
mod observe;
mod remote;
mod schema;
mod service;
mod status;

pub use apply::{Applied, Progress, apply};
pub use audit::AuditLog;
pub use bundle::{BUNDLE_BYTES_MAX, Bundle};
pub use cloudstack_files::decrypt_properties;
pub use error::SetupError;
pub use found::find_host;
pub use login::{admin_target, monitor_target, node_target};
pub use observe::{Observe, observe};
pub use remote::Remote;
pub use service::supervise;
pub use status::{ClusterStatus, NodeStatus, cluster_status};
