//! What each server version can do, how its statements are written, and what its variables are called.
//!
//! This is the only crate that knows differences between vendors and versions: everything else asks
//! a [`Flavor`]. It is pure and knows nothing of connections.

mod account;
mod capability;
mod gtid;
mod statement;
mod variable;
mod version;

pub use account::Privilege;
pub use capability::{CAPABILITIES, Capability, CapabilityRow, Span};
pub use gtid::{GtidError, GtidSet};
pub use statement::{
    ReplicaColumns, SEMI_SYNC_TIMEOUT_NEVER_MS, SEMI_SYNC_WAIT_POINT, Source, SourceTls, Statements,
    TlsReload,
};
pub use variable::{Since, VARIABLES, ValueKind, Variable, variable};
pub use version::{Flavor, ParseVersionError, SUPPORTED, Support, SupportedRow, Vendor, Version};
