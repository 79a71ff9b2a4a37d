//! [`Rule`]: which sessions are meant, who of them are the victims, and what is done to them.
//!
//! The same rules come from the command line and from the spec. A rule that contradicts itself is refused here; what a
//! rule means for a session is in `judge`.

use serde::{Serialize, Serializer};
use sqltext::{Fingerprinter, QueryId, Rules};

use crate::pattern::Pattern;
use crate::span::Span;

/// One rule. Every condition that is there must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Its name, for reports and the audit log.
    pub name: String,
    /// What a session's texts must match.
    pub matches: Traits,
    /// What they must not match; this wins.
    pub ignores: Traits,
    /// Fingerprints of statements.
    pub fingerprints: Vec<String>,
    /// Query ids of statements.
    #[serde(serialize_with = "shown")]
    pub query_ids: Vec<QueryId>,
    /// Runs a statement for so long.
    pub busy: Option<Span>,
    /// Runs nothing for so long.
    pub idle: Option<Span>,
    /// Has a transaction that old.
    pub transaction: Option<Span>,
    /// Has a transaction and runs nothing for so long.
    pub idle_transaction: Option<Span>,
    /// Waits for a lock for so long.
    pub waiting: Option<Span>,
    /// So many sessions wait for it, also through others.
    pub blocks: Option<u32>,
    /// One of them for so long.
    pub blocking: Option<Span>,
    /// Which locks these three look at.
    pub locks: Locks,
    /// What makes a class of the sessions; without it all are one.
    pub group_by: Option<GroupBy>,
    /// A class has so many.
    pub class_count: Option<u32>,
    /// One of the class runs a statement for so long.
    pub any_busy: Option<Span>,
    /// Each of the class does.
    pub each_busy: Option<Span>,
    /// Who of a class is meant.
    pub victims: Victims,
    /// What is done; none: [`Action::Connection`] for what runs nothing, else [`Action::Query`].
    pub action: Option<Action>,
}

/// Texts of a session. A list without entries says nothing; of one with several, one must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traits {
    /// User.
    pub user: Vec<Pattern>,
    /// Host, without its port.
    pub host: Vec<Pattern>,
    /// Current database.
    pub db: Vec<Pattern>,
    /// Command.
    pub command: Vec<Pattern>,
    /// State.
    pub state: Vec<Pattern>,
    /// Statement that runs.
    pub statement: Vec<Pattern>,
}

/// Which locks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Locks {
    /// Rows and metadata.
    #[default]
    Any,
    /// InnoDB's row and table locks.
    Rows,
    /// Metadata locks.
    Metadata,
}

/// What sessions of a class have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupBy {
    /// The statement's fingerprint.
    Fingerprint,
    /// The user.
    User,
    /// The host.
    Host,
    /// The database.
    Db,
    /// The command.
    Command,
    /// The state.
    State,
}

/// Who of a class is ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Victims {
    /// The one that has been at it longest.
    #[default]
    Oldest,
    /// Everyone.
    All,
    /// Everyone but that one.
    AllButOldest,
    /// Whoever they wait for in the end, and who waits for nobody.
    Blocker,
}

/// What is done to a victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Its statement ends with an error; session and transaction go on.
    Query,
    /// The session ends, and its transaction is rolled back.
    Connection,
}

/// A text in which there is no statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no statement in it: write one, or its fingerprint, such as `select sleep(?)`")]
pub struct NoStatement;

/// Why a rule cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// It says nothing about which sessions.
    #[error("rule {rule} has no condition and would mean every session: say which, as by a busy time")]
    NoCondition {
        /// The rule.
        rule: String,
    },
    /// Two of its parts exclude each other.
    #[error("rule {rule} has {one} and {other}: {why}")]
    Contradiction {
        /// The rule.
        rule: String,
        /// One part, as its key is written.
        one: &'static str,
        /// The other.
        other: &'static str,
        /// Why both cannot be.
        why: &'static str,
    },
    /// A part says nothing without another.
    #[error("rule {rule} has {one} without {missing}: {why}")]
    Alone {
        /// The rule.
        rule: String,
        /// The part that is there.
        one: &'static str,
        /// What it needs.
        missing: &'static str,
        /// Why.
        why: &'static str,
    },
    /// A pattern is both wanted and ignored.
    #[error("rule {rule} matches and ignores the same {what} `{pattern}`: no session can be meant")]
    Both {
        /// The rule.
        rule: String,
        /// Which text.
        what: &'static str,
        /// The pattern.
        pattern: String,
    },
}

const IDLE_RUNS_NOTHING: &str = "a session that is idle runs nothing";
const NO_QUERY: &str = "it runs no query that could be killed; kill the connection";

impl Rule {
    /// A rule that says nothing yet.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            matches: Traits::default(),
            ignores: Traits::default(),
            fingerprints: Vec::new(),
            query_ids: Vec::new(),
            busy: None,
            idle: None,
            transaction: None,
            idle_transaction: None,
            waiting: None,
            blocks: None,
            blocking: None,
            locks: Locks::Any,
            group_by: None,
            class_count: None,
            any_busy: None,
            each_busy: None,
            victims: Victims::Oldest,
            action: None,
        }
    }

    /// The fingerprint that a statement, or a fingerprint as it is, stands for.
    ///
    /// # Errors
    /// There is no statement in the text.
    pub fn fingerprint_of(text: &str) -> Result<String, NoStatement> {
        let mut maker = Fingerprinter::new(Rules::Own);
        let fingerprint = String::from_utf8_lossy(maker.fingerprint(text.as_bytes())).into_owned();
        if fingerprint.trim().is_empty() { Err(NoStatement) } else { Ok(fingerprint) }
    }

    /// What is done to its victims.
    #[must_use]
    pub fn action(&self) -> Action {
        let runs_nothing = self.idle.is_some() || self.idle_transaction.is_some();
        self.action.unwrap_or(if runs_nothing { Action::Connection } else { Action::Query })
    }

    /// Refuses what contradicts itself.
    ///
    /// # Errors
    /// As [`RuleError`] lists.
    pub fn check(&self) -> Result<(), RuleError> {
        if !self.has_condition() {
            return Err(RuleError::NoCondition { rule: self.name.clone() });
        }
        self.check_pairs()?;
        self.check_needs()?;
        for (what, wanted, ignored) in self
            .matches
            .lists()
            .into_iter()
            .zip(self.ignores.lists())
            .map(|((what, wanted), (_, ignored))| (what, wanted, ignored))
        {
            if let Some(pattern) = wanted.iter().find(|pattern| ignored.contains(pattern)) {
                let (rule, pattern) = (self.name.clone(), pattern.to_string());
                return Err(RuleError::Both { rule, what, pattern });
            }
        }
        Ok(())
    }

    fn has_condition(&self) -> bool {
        let spans = [
            self.busy,
            self.idle,
            self.transaction,
            self.idle_transaction,
            self.waiting,
            self.blocking,
            self.any_busy,
            self.each_busy,
        ];
        spans.iter().any(Option::is_some)
            || self.blocks.is_some()
            || self.class_count.is_some()
            || self.matches.lists().iter().any(|(_, patterns)| !patterns.is_empty())
            || !self.fingerprints.is_empty()
            || !self.query_ids.is_empty()
    }

    fn check_pairs(&self) -> Result<(), RuleError> {
        let has_statement =
            !self.fingerprints.is_empty() || !self.query_ids.is_empty() || !self.matches.statement.is_empty();
        let (idle, resting) = (self.idle.is_some(), self.idle_transaction.is_some());
        let (busy, waiting) = (self.busy.is_some(), self.waiting.is_some());
        let class_busy = self.any_busy.is_some() || self.each_busy.is_some();
        let kills_query = self.action == Some(Action::Query);
        let pairs = [
            ("an idle time", idle, "a busy time", busy, IDLE_RUNS_NOTHING),
            ("an idle transaction time", resting, "a busy time", busy, IDLE_RUNS_NOTHING),
            ("an idle time", idle, "a statement", has_statement, IDLE_RUNS_NOTHING),
            ("an idle transaction time", resting, "a statement", has_statement, IDLE_RUNS_NOTHING),
            ("an idle time", idle, "a waiting time", waiting, "a session that is idle waits for no lock"),
            (
                "an idle transaction time",
                resting,
                "a waiting time",
                waiting,
                "a session that is idle waits for no lock",
            ),
            ("an idle time", idle, "a busy time of its class", class_busy, IDLE_RUNS_NOTHING),
            ("an idle transaction time", resting, "a busy time of its class", class_busy, IDLE_RUNS_NOTHING),
            ("an idle time", idle, "kill query", kills_query, NO_QUERY),
            ("an idle transaction time", resting, "kill query", kills_query, NO_QUERY),
        ];
        match pairs.into_iter().find(|(_, one, _, other, _)| *one && *other) {
            Some((one, _, other, _, why)) => {
                Err(RuleError::Contradiction { rule: self.name.clone(), one, other, why })
            }
            None => Ok(()),
        }
    }

    fn check_needs(&self) -> Result<(), RuleError> {
        if self.waiting.is_some() || self.blocks.is_some() || self.blocking.is_some() {
            return Ok(());
        }
        let missing = "a waiting time, blocks or a blocking time";
        let one = match (self.victims, self.locks) {
            (Victims::Blocker, _) => "victims blocker",
            (_, Locks::Rows | Locks::Metadata) => "locks",
            (Victims::Oldest | Victims::All | Victims::AllButOldest, Locks::Any) => return Ok(()),
        };
        let why = "nothing in it looks at who waits for whom";
        Err(RuleError::Alone { rule: self.name.clone(), one, missing, why })
    }
}

impl Traits {
    /// The lists by name.
    #[must_use]
    pub const fn lists(&self) -> [(&'static str, &Vec<Pattern>); 6] {
        [
            ("user", &self.user),
            ("host", &self.host),
            ("db", &self.db),
            ("command", &self.command),
            ("state", &self.state),
            ("statement", &self.statement),
        ]
    }
}

fn shown<S: Serializer>(ids: &[QueryId], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ids.iter().map(ToString::to_string))
}
