//! A seeded simulation of a whole cluster around the decisions of `ha`, with invariants checked at every step.
//!
//! Agents, servers, clocks, network, store, proxy and clients are models; only `ha` is real. A run is decided by its
//! seed alone: nothing here asks a clock, starts a thread or reaches outside.

#![expect(clippy::indexing_slicing, reason = "indices are made here; a wrong one must end the simulation")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a model acts on what concerns it and passes over the rest"
)]
#![expect(clippy::collapsible_match, reason = "a step that does nothing is a step all the same")]

mod act;
mod agent;
mod check;
mod client;
mod exhaustive;
mod fault;
mod host;
mod inject;
#[cfg(test)]
mod pinned;
mod random;
mod replication;
mod request;
mod run;
mod scenario;
mod server;
mod store;
mod world;

pub use check::Violation;
pub use exhaustive::{exhaust, kinds, sequences};
pub use fault::{Fault, Kind, Site};
pub use run::{Found, Outcome, explain, play, replay, run, search, shrink};
pub use scenario::{Config, Host, Promise, Scenario};
