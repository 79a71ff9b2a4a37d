//! Which sessions of a server to end, by rules: observed sessions in, victims with their reasons out.
//!
//! It is pure: nothing is asked of a server and nothing is killed here. What was seen comes in as
//! [`facts::Sessions`]; the verdict names each victim so exactly that a look right before the kill can tell whether
//! it is still the same ([`Kill::is_still`]).

mod account;
mod graph;
mod judge;
mod metadata;
mod pattern;
mod protect;
mod rule;
mod span;
mod still;
mod tables;
mod verdict;

pub use account::{AccountPattern, AccountPatternError};
pub use graph::WaitGraph;
pub use judge::judge;
pub use metadata::{blocks_granted, blocks_pending};
pub use pattern::{Pattern, PatternError};
pub use protect::{Allowed, Policy, Protection};
pub use rule::{Action, GroupBy, Locks, NoStatement, Rule, RuleError, Traits, Victims};
pub use span::{Span, SpanError};
pub use sqltext::{QueryId, QueryIdError};
pub use still::Changed;
pub use verdict::{Identity, Kill, Mode, Spared, Verdict};
