//! Who is never ended: the server's own threads, replication, Mainstay, accounts that are protected, and sessions that
//! hold a lock of GET_LOCK, as CloudStack's management servers do.
//!
//! Protection comes before every rule. Some of it can be lifted by name, the rest cannot.

use std::fmt;

use facts::{Seen, Session, Sessions};
use serde::Serialize;

use crate::account::AccountPattern;
use crate::rule::Action;

/// What holds for all rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// Accounts that are never ended.
    pub protect: Vec<AccountPattern>,
    /// What protects by default and shall not.
    pub allow: Vec<Allowed>,
    /// Victims of one look, at most.
    pub limit: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self { protect: Vec::new(), allow: Vec::new(), limit: Self::LIMIT }
    }
}

impl Policy {
    /// Victims of one look, at most, unless told otherwise.
    pub const LIMIT: u32 = 10;
}

/// A protection that can be lifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Allowed {
    /// Sessions that hold a lock by GET_LOCK, or wait for one.
    LockHolders,
    /// Sessions of which it is not known whether they hold one.
    UnknownLocks,
    /// Local sessions of the account Mainstay is logged in with, where it is not known which are Mainstay's.
    LoginAccount,
    /// Replicas' connections, and the account of replication.
    Replication,
}

/// Why a session is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "detail")]
pub enum Protection {
    /// It is the one that looks.
    Own,
    /// A thread of the server's own, or one of its internal accounts.
    System,
    /// It sends to a replica, or is an account of replication.
    Replication,
    /// An account of Mainstay's, or a session of its program.
    Mainstay,
    /// Local and of the login's account; servers without a performance schema do not tell programs.
    LoginAccount,
    /// Protected by the operator; by which pattern.
    Account(String),
    /// Its commit waits for a replica's acknowledgement: ended, it would be told as done without one.
    AwaitsAcknowledgement,
    /// It holds locks by GET_LOCK; which.
    HoldsUserLock(String),
    /// It waits in GET_LOCK.
    AwaitsUserLock,
    /// Idle and without a transaction, it may hold a lock by GET_LOCK; why that is not known.
    MayHoldUserLock(String),
    /// It is ended or rolled back already.
    Ending,
    /// It runs nothing that could be killed.
    RunsNothing,
}

/// Users that servers run their own sessions as. MySQL manual, Reserved Accounts; MariaDB, mariadb.sys; both, event
/// scheduler, and `system user` for replication and Galera's appliers.
const SYSTEM_USERS: &[&str] =
    &["", "system user", "event_scheduler", "mysql.session", "mysql.sys", "mysql.infoschema", "mariadb.sys"];
/// Commands of threads that serve no client. MySQL manual, Thread Command Values; MariaDB, Thread Command Values.
const SYSTEM_COMMANDS: &[&str] =
    &["Daemon", "Slave_IO", "Slave_SQL", "Slave_worker", "Delayed insert", "Kill", "Shutdown"];
/// Commands of a replica's connection.
const REPLICATION_COMMANDS: &[&str] = &[
    "Binlog Dump",
    "Binlog Dump GTID",
    "Register Slave",
    "Register Replica",
    "Group Replication Data Stream subscription",
    "Table Dump",
    "Clone",
];
/// Mainstay's account for replication.
const REPLICATION_USER: &str = "mainstay_repl";
/// The rest of Mainstay's accounts begin so.
const OWN_USERS: &str = "mainstay_";
/// The program name that Mainstay's connections give.
const OWN_PROGRAM: &str = "mainstay";

impl Policy {
    /// Why a session is left alone; none if it may be ended.
    #[must_use]
    pub fn protection(&self, session: &Session, seen: &Sessions, action: Action) -> Option<Protection> {
        self.by_kind(session, seen)
            .or_else(|| self.by_account(session))
            .or_else(|| self.by_lock(session, seen, action))
            .or_else(|| by_moment(session, action))
    }

    fn allows(&self, allowed: Allowed) -> bool {
        self.allow.contains(&allowed)
    }

    fn by_kind(&self, session: &Session, seen: &Sessions) -> Option<Protection> {
        if session.id == seen.own_id {
            return Some(Protection::Own);
        }
        let (user, command) = (session.user.as_str(), session.command.as_str());
        if SYSTEM_USERS.contains(&user) || SYSTEM_COMMANDS.contains(&command) {
            return Some(Protection::System);
        }
        if REPLICATION_COMMANDS.contains(&command) || user == REPLICATION_USER {
            return (!self.allows(Allowed::Replication)).then_some(Protection::Replication);
        }
        if user.starts_with(OWN_USERS) {
            return Some(Protection::Mainstay);
        }
        match &session.program {
            Seen::Known(program) if program == OWN_PROGRAM => Some(Protection::Mainstay),
            Seen::Known(_) | Seen::Absent => None,
            Seen::Unknown(_) => {
                let is_like_own = user == seen.own_user && session.host == "localhost";
                (is_like_own && !self.allows(Allowed::LoginAccount)).then_some(Protection::LoginAccount)
            }
        }
    }

    fn by_account(&self, session: &Session) -> Option<Protection> {
        let pattern = self.protect.iter().find(|pattern| pattern.matches(session))?;
        Some(Protection::Account(pattern.to_string()))
    }

    fn by_lock(&self, session: &Session, seen: &Sessions, action: Action) -> Option<Protection> {
        let waits = session.state.eq_ignore_ascii_case("User lock");
        if waits && !self.allows(Allowed::LockHolders) {
            return Some(Protection::AwaitsUserLock);
        }
        match &seen.user_locks {
            Seen::Known(locks) => {
                let own = locks.iter().filter(|lock| lock.session == session.id);
                let names: Vec<&str> = own.map(|lock| lock.name.as_str()).collect();
                (!names.is_empty() && !self.allows(Allowed::LockHolders))
                    .then(|| Protection::HoldsUserLock(names.join(", ")))
            }
            Seen::Unknown(why) => {
                // Killing a query releases no user lock, and whoever holds one for long does so in a session of its
                // own, outside transactions.
                let may = action == Action::Connection && session.transaction.is_none();
                (may && !self.allows(Allowed::UnknownLocks)).then(|| Protection::MayHoldUserLock(why.clone()))
            }
            Seen::Absent => None,
        }
    }
}

fn by_moment(session: &Session, action: Action) -> Option<Protection> {
    if session.state.starts_with("Waiting for semi-sync ACK") {
        return Some(Protection::AwaitsAcknowledgement);
    }
    let is_rolling_back = session.transaction.as_ref().is_some_and(|transaction| transaction.is_rolling_back);
    if session.command == "Killed" || is_rolling_back {
        return Some(Protection::Ending);
    }
    (action == Action::Query && !is_busy(session)).then_some(Protection::RunsNothing)
}

/// Whether a session runs a statement.
pub(crate) fn is_busy(session: &Session) -> bool {
    !matches!(session.command.as_str(), "Sleep" | "Connect" | "Killed")
}

/// Whether it waits for its client.
pub(crate) fn is_idle(session: &Session) -> bool {
    session.command == "Sleep"
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("this very session"),
            Self::System => f.write_str("the server's own"),
            Self::Replication => f.write_str("replication"),
            Self::Mainstay => f.write_str("Mainstay's own"),
            Self::LoginAccount => f.write_str(
                "local and of Mainstay's login, so perhaps Mainstay's own (--allow login-account)",
            ),
            Self::Account(pattern) => write!(f, "protected as {pattern}"),
            Self::AwaitsAcknowledgement => f.write_str("its commit waits for a replica"),
            Self::HoldsUserLock(names) => {
                write!(f, "holds the user lock {names}, as CloudStack does (--allow lock-holders)")
            }
            Self::AwaitsUserLock => f.write_str("waits for a user lock (--allow lock-holders)"),
            Self::MayHoldUserLock(why) => {
                write!(f, "may hold a user lock, which is not known: {why} (--allow unknown-locks)")
            }
            Self::Ending => f.write_str("is ending or rolled back already"),
            Self::RunsNothing => f.write_str("runs no query that could be killed (--kill connection)"),
        }
    }
}
