//! What each server version can do, how its statements are written, and what its variables are called.
//!
//! This is the only crate that knows differences between vendors and versions: everything else asks
//! a [`Flavor`]. It is pure and knows nothing of connections.

mod capability;
mod statement;
mod version;

pub use capability::{CAPABILITIES, Capability, CapabilityRow};
pub use statement::{Statements, TlsReload};
pub use version::{Flavor, ParseVersionError, SUPPORTED, Support, Vendor, Version};
