//! What to do next so that the cluster stays available and loses no acknowledged write: decisions as pure functions.
//!
//! [`decide`] looks at one immutable [`View`] and answers with [`Action`]s and one sentence that says why. It reaches
//! nothing: no clock, store or server. The daemon carries actions out; the simulator does so on model servers.

mod ackers;
mod action;
mod decide;
mod election;
mod found;
mod model;
mod policy;
mod primary;
mod promotion;
mod replica;
mod view;

pub use action::{Action, Claim, Decision, StartRole};
pub use decide::{agree_failsafe, decide};
pub use model::*;
pub use policy::{Durability, Policy};
pub use view::{Held, Local, Memory, View};
