//! What can be seen of a server and of a host: the types that adapters fill and pure crates read.
//!
//! A fact is seen, unknown with the reason, or absent ([`Seen`]); nothing here has a default that could be
//! mistaken for an observation. This crate collects nothing and decides nothing.

mod host;
mod seen;
mod server;
mod sessions;

pub use host::*;
pub use seen::Seen;
pub use server::*;
pub use sessions::*;
