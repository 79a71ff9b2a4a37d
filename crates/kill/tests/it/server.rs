//! Observed servers, made up.

use facts::{MetadataLock, MetadataObject, RowWait, Seen, Session, Sessions, Transaction, UserLock};
use kill::{Mode, Policy, Rule, Verdict, judge};

/// A session of an application that has been running a statement for some seconds.
pub(crate) fn busy(id: u64, seconds: u64, statement: &str) -> Session {
    Session {
        id,
        user: "app".to_owned(),
        host: "10.0.0.5".to_owned(),
        db: Some("shop".to_owned()),
        command: "Query".to_owned(),
        state: "executing".to_owned(),
        time_ms: seconds * 1000,
        statement: Some(statement.to_owned()),
        is_cut: false,
        statement_id: Some(id * 100),
        transaction: None,
        program: Seen::Absent,
    }
}

/// One that has been idle for some seconds.
pub(crate) fn idle(id: u64, seconds: u64) -> Session {
    Session { command: "Sleep".to_owned(), state: String::new(), statement: None, ..busy(id, seconds, "") }
}

/// The same in a transaction that old.
pub(crate) fn in_transaction(session: Session, seconds: u64) -> Session {
    let transaction = Transaction {
        id: format!("{} begun", session.id),
        age_ms: seconds * 1000,
        waiting_ms: None,
        rows_locked: 1,
        rows_modified: 1,
        is_rolling_back: false,
    };
    Session { transaction: Some(transaction), ..session }
}

/// The same waiting for a row lock.
pub(crate) fn waiting(mut session: Session, seconds: u64) -> Session {
    if let Some(transaction) = &mut session.transaction {
        transaction.waiting_ms = Some(seconds * 1000);
    }
    session
}

/// A server with these sessions, and the one that looks.
pub(crate) fn server(mut sessions: Vec<Session>) -> Sessions {
    sessions.push(Session {
        user: "root".to_owned(),
        host: "localhost".to_owned(),
        ..busy(1, 9999, "SELECT 1")
    });
    Sessions {
        own_id: 1,
        own_user: "root".to_owned(),
        sessions,
        row_waits: Seen::Known(Vec::new()),
        metadata_locks: Seen::Known(Vec::new()),
        user_locks: Seen::Known(Vec::new()),
        skipped: 0,
    }
}

pub(crate) fn row_waits(mut seen: Sessions, waits: &[(u64, u64)]) -> Sessions {
    let waits = waits.iter().map(|(waiter, holder)| RowWait { waiter: *waiter, holder: *holder });
    seen.row_waits = Seen::Known(waits.collect());
    seen
}

pub(crate) fn user_lock(mut seen: Sessions, session: u64, name: &str) -> Sessions {
    seen.user_locks = Seen::Known(vec![UserLock { session, name: name.to_owned() }]);
    seen
}

/// Locks on one table: session, mode, granted.
pub(crate) fn table_locks(mut seen: Sessions, locks: &[(u64, &str, bool)]) -> Sessions {
    let object =
        MetadataObject { kind: "TABLE".to_owned(), schema: "shop".to_owned(), name: "orders".to_owned() };
    let locks = locks.iter().map(|(session, mode, is_granted)| MetadataLock {
        session: *session,
        object: object.clone(),
        mode: (*mode).to_owned(),
        is_granted: *is_granted,
    });
    seen.metadata_locks = Seen::Known(locks.collect());
    seen
}

pub(crate) fn verdict(rule: &Rule, seen: &Sessions) -> Verdict {
    rule.check().unwrap();
    judge(std::slice::from_ref(rule), &Policy::default(), seen)
}

/// The sessions that are to be ended, in their order.
pub(crate) fn victims(rule: &Rule, seen: &Sessions) -> Vec<u64> {
    verdict(rule, seen).orders(Mode::Kill).iter().map(|kill| kill.id).collect()
}
