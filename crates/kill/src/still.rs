//! The look right before a kill: is it still the session that was judged, at the same thing?
//!
//! Whoever has moved on is innocent, even under the same number.

use facts::Session;

use crate::protect::is_idle;
use crate::rule::Action;
use crate::verdict::Kill;

/// Why a victim is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Changed {
    /// There is no such session any more.
    #[error("it has gone by itself")]
    Gone,
    /// The number is another's now.
    #[error("the number is another session's now")]
    Another,
    /// It runs another statement, or has begun or ended one.
    #[error("it has moved on to another statement")]
    Statement,
    /// Its transaction has ended, or another has begun.
    #[error("its transaction is another one now")]
    Transaction,
}

impl Kill {
    /// Whether a session is still the one that was judged, in the same statement and the same transaction.
    ///
    /// # Errors
    /// What has changed.
    pub fn is_still(&self, now: Option<&Session>) -> Result<(), Changed> {
        let was = &self.identity.seen;
        let now = now.ok_or(Changed::Gone)?;
        if now.id != was.id || now.user != was.user || now.host != was.host {
            return Err(Changed::Another);
        }
        let has_number = was.statement_id.is_some() && now.statement_id.is_some();
        let is_same_statement = if has_number {
            was.statement_id == now.statement_id
        } else {
            // Without numbers: the same text, for at least as long.
            was.statement == now.statement && now.time_ms >= was.time_ms
        };
        if !is_same_statement || is_idle(was) != is_idle(now) {
            return Err(Changed::Statement);
        }
        let transaction = |session: &Session| session.transaction.as_ref().map(|it| it.id.clone());
        // A query is only itself; what a connection's end would roll back is its transaction.
        if self.action == Action::Connection && transaction(was) != transaction(now) {
            return Err(Changed::Transaction);
        }
        Ok(())
    }
}
