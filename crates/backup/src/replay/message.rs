//! What is handed from whoever reads the archive to whoever applies it. It does neither.

use super::events::Packed;

/// A place up to which everything is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Which of the logs.
    pub(super) log_index: usize,
    /// Where the transaction ends.
    pub(super) end: u64,
}

/// A statement that was logged as text.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) settings: String,
    /// The default database it is to be run in, quoted.
    pub(super) database: Option<String>,
    pub(super) text: Vec<u8>,
    /// The error it ended with where it first ran; 0 for none.
    pub(super) error_code: u16,
    /// Tables it names; for finding out whether it was run.
    pub(super) tables: Vec<(String, String)>,
    pub(super) made_database: Option<String>,
    /// It commits by itself.
    pub(super) commits: bool,
    pub(super) log_index: usize,
    pub(super) offset: u64,
}

/// One thing to do.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    Rows(Packed),
    Statement(Box<Statement>),
}

impl Piece {
    /// What it takes up.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Rows(packed) => packed.events.len(),
            Self::Statement(statement) => statement.text.len() + statement.settings.len(),
        }
    }
}

/// What is given to whoever applies it.
#[derive(Debug)]
pub(super) enum Message {
    /// A transaction.
    Whole(Vec<Piece>, Mark),
    /// A part of a large one.
    Part(Vec<Piece>),
    /// The large one ends.
    End(Mark),
    /// The large one has no end in the logs: it did not happen.
    Abandoned,
}

/// What was passed over, and what there was.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Transactions that the backup, or an earlier run, had already.
    pub transactions_known: u64,
    /// Statements about accounts, which were passed over: a restore makes no accounts.
    pub account_statements: u64,
    /// Changes of the server's own tables, or of databases that the backup leaves out, which were passed over.
    pub changes_elsewhere: u64,
    /// Changes that were logged as statements: done again in their order, they do the same only if they are
    /// deterministic.
    pub statements_as_text: u64,
    /// XA transactions that are prepared and not decided at the point: they did not happen.
    pub undecided_xa: u64,
}
