//! Pieces of a replay laid out as text: a script for a server, or the statements that digest tools read.

use std::fmt::Write as _;

use sqltext::quote_ident;

use crate::replay::Piece;
use crate::sql::SESSION;
use crate::temporal::utc;
use crate::transaction::Transaction;

/// How forward SQL is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A script for a server, transaction by transaction.
    Script,
    /// As mysqlbinlog prints statements, each row as a statement of its own: what digest tools read.
    Pseudo,
}

/// Where a transaction came from, on one line.
fn origin(file: &str, transaction: &Transaction) -> String {
    let mut line = format!("{file}:{}-{}", transaction.offset, transaction.end);
    if let Some(gtid) = &transaction.gtid {
        // Writing to a String does not fail.
        let _ = write!(line, " GTID {gtid}");
    }
    let _ =
        write!(line, " {} UTC server {}", utc(i64::from(transaction.last_seconds)), transaction.server_id);
    if let Some(thread) = transaction.thread_id {
        let _ = write!(line, " thread {thread}");
    }
    line
}

/// Lays forward SQL out.
#[derive(Debug)]
pub struct ForwardScript {
    layout: Layout,
    file: String,
    database: Option<String>,
    thread_id: u32,
    server_id: u32,
    skips_foreign_keys: bool,
    is_open: bool,
}

impl ForwardScript {
    /// A script of this layout.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        Self {
            layout,
            file: String::new(),
            database: None,
            thread_id: 0,
            server_id: 0,
            skips_foreign_keys: false,
            is_open: false,
        }
    }

    /// The next pieces are of this log.
    pub fn begin_log(&mut self, name: &str) {
        name.clone_into(&mut self.file);
    }

    /// What stands before everything else.
    #[must_use]
    pub fn head(&self) -> String {
        match self.layout {
            Layout::Script => SESSION.iter().map(|line| format!("{line};\n")).collect(),
            Layout::Pseudo => "DELIMITER /*!*/;\n".to_owned(),
        }
    }

    /// A piece as text.
    #[must_use]
    pub fn text(&mut self, piece: &Piece<'_>) -> String {
        match self.layout {
            Layout::Script => self.script(piece),
            Layout::Pseudo => self.pseudo(piece),
        }
    }

    fn script(&mut self, piece: &Piece<'_>) -> String {
        match piece {
            Piece::Begin(transaction) => {
                self.is_open = false;
                format!("\n-- {}\n", origin(&self.file, transaction))
            }
            Piece::Comment(text) => format!("-- {}\n", one_line(text)),
            Piece::Row { sql, skips_foreign_keys, .. } => {
                let mut text = String::new();
                if !self.is_open {
                    self.is_open = true;
                    text.push_str("START TRANSACTION;\n");
                }
                text.push_str(&foreign_keys(&mut self.skips_foreign_keys, *skips_foreign_keys));
                text.push_str(sql);
                text.push_str(";\n");
                text
            }
            Piece::Statement { query, seconds, action, settings, uses_database, .. } => {
                let mut text = String::new();
                if action.is_ddl() {
                    self.is_open = false;
                } else if !self.is_open {
                    self.is_open = true;
                    text.push_str("START TRANSACTION;\n");
                }
                text.push_str(&self.enter(&query.database, *uses_database, ";\n"));
                text.push_str(&foreign_keys(&mut self.skips_foreign_keys, settings.skips_foreign_keys));
                let _ = writeln!(text, "SET TIMESTAMP={seconds};");
                settings.before.iter().for_each(|line| text.push_str(&format!("{line};\n")));
                let _ = writeln!(text, "{};\nSET TIMESTAMP=DEFAULT;", query.text());
                settings.after.iter().for_each(|line| text.push_str(&format!("{line};\n")));
                text
            }
            Piece::End(_) => {
                if std::mem::take(&mut self.is_open) {
                    "COMMIT;\n".to_owned()
                } else {
                    String::new()
                }
            }
            Piece::Abandoned => {
                self.is_open = false;
                "-- the log does not say that this transaction was committed\nROLLBACK;\n".to_owned()
            }
        }
    }

    fn pseudo(&mut self, piece: &Piece<'_>) -> String {
        match piece {
            Piece::Begin(transaction) => {
                self.server_id = transaction.server_id;
                self.thread_id = transaction.thread_id.unwrap_or(0);
                String::new()
            }
            Piece::Row { sql, offset, end, seconds, table, .. } => {
                let database = table.split_once('.').map_or("", |(database, _)| database);
                let used = self.use_database(database.as_bytes(), "/*!*/;\n");
                self.event(sql, &used, (*offset, *end, *seconds), (0, 0))
            }
            Piece::Statement { query, offset, end, seconds, uses_database, .. } => {
                self.thread_id = query.thread_id;
                let run = (query.exec_seconds, query.error_code);
                let used = self.enter(&query.database, *uses_database, "/*!*/;\n");
                self.event(&query.text(), &used, (*offset, *end, *seconds), run)
            }
            Piece::Comment(_) | Piece::End(_) | Piece::Abandoned => String::new(),
        }
    }

    fn event(
        &self,
        statement: &str,
        used: &str,
        (offset, end, seconds): (u64, u64, u32),
        (exec_seconds, error_code): (u32, u16),
    ) -> String {
        let time = jiff::Timestamp::from_second(i64::from(seconds))
            .map(|time| time.strftime("%y%m%d %k:%M:%S").to_string())
            .unwrap_or_default();
        let (server, thread) = (self.server_id, self.thread_id);
        format!(
            "# at {offset}\n#{time} server id {server}  end_log_pos {end} \tQuery\tthread_id={thread}\t\
             exec_time={exec_seconds}\terror_code={error_code}\n{used}SET TIMESTAMP={seconds}/*!*/;\n{statement}\n/*!*/;\n"
        )
    }

    /// Goes to a statement's database, unless it makes or removes a whole one: that is not there, or not any more.
    fn enter(&mut self, database: &[u8], uses_database: bool, end: &str) -> String {
        if uses_database {
            return self.use_database(database, end);
        }
        self.database = None;
        String::new()
    }

    fn use_database(&mut self, database: &[u8], end: &str) -> String {
        let database = String::from_utf8_lossy(database);
        if database.is_empty() || self.database.as_deref() == Some(&*database) {
            return String::new();
        }
        self.database = Some(database.clone().into_owned());
        quote_ident(&database).map(|name| format!("USE {name}{end}")).unwrap_or_default()
    }
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

fn foreign_keys(current: &mut bool, wanted: bool) -> String {
    if *current == wanted {
        return String::new();
    }
    *current = wanted;
    format!("SET SESSION foreign_key_checks={};\n", u8::from(!wanted))
}

/// One entry of what is to be undone, as it is kept until the end is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undo {
    /// A transaction begins; read backwards, it ends here.
    Begin,
    /// A row's inverse, and whether `foreign_key_checks` were off.
    Row(String, bool),
    /// A transaction ends, with where it came from; read backwards, it begins here.
    End(String),
    /// The transaction before has no end: none of it is undone.
    Abandoned,
}

impl Undo {
    /// The entry for a piece; none for pieces that need none.
    #[must_use]
    pub fn of(piece: &Piece<'_>, file: &str) -> Option<Self> {
        match piece {
            Piece::Begin(_) => Some(Self::Begin),
            Piece::Row { sql, skips_foreign_keys, .. } => {
                Some(Self::Row((*sql).to_owned(), *skips_foreign_keys))
            }
            Piece::End(transaction) => Some(Self::End(origin(file, transaction))),
            Piece::Abandoned => Some(Self::Abandoned),
            Piece::Statement { .. } | Piece::Comment(_) => None,
        }
    }

    /// As bytes for a spool.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let (kind, text) = match self {
            Self::Begin => (b'B', ""),
            Self::Row(sql, false) => (b'R', sql.as_str()),
            Self::Row(sql, true) => (b'F', sql.as_str()),
            Self::End(origin) => (b'E', origin.as_str()),
            Self::Abandoned => (b'X', ""),
        };
        [&[kind], text.as_bytes()].concat()
    }

    /// Out of a spool.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, text) = bytes.split_first()?;
        let text = || std::str::from_utf8(text).ok().map(str::to_owned);
        Some(match kind {
            b'B' => Self::Begin,
            b'R' => Self::Row(text()?, false),
            b'F' => Self::Row(text()?, true),
            b'E' => Self::End(text()?),
            b'X' => Self::Abandoned,
            _ => return None,
        })
    }
}

/// Leaves out, of entries that come backwards, transactions that have no end.
#[derive(Debug, Default)]
pub struct Kept {
    is_skipping: bool,
}

impl Kept {
    /// The entry, unless it belongs to a transaction without an end.
    pub fn keep(&mut self, entry: Undo) -> Option<Undo> {
        match entry {
            Undo::Abandoned => {
                self.is_skipping = true;
                None
            }
            Undo::Begin if self.is_skipping => {
                self.is_skipping = false;
                None
            }
            _ if self.is_skipping => None,
            Undo::Begin | Undo::Row(..) | Undo::End(_) => Some(entry),
        }
    }
}

/// Lays out a script that undoes everything or nothing: it counts rows that are no longer as the log left them, and
/// commits only if there are none.
#[derive(Debug, Default)]
pub struct UndoScript {
    skips_foreign_keys: bool,
}

impl UndoScript {
    /// What stands before everything else.
    #[must_use]
    pub fn head() -> String {
        let session: String = SESSION.iter().map(|line| format!("{line};\n")).collect();
        format!(
            "-- Undoes changes, the last one first. A row that is no longer as the log left it is a conflict;\n\
             -- with any conflict, the script fails at its end and nothing is changed.\n\
             {session}SET @mainstay_conflicts=0;\nSTART TRANSACTION;\n"
        )
    }

    /// An entry as text; entries come backwards.
    #[must_use]
    pub fn text(&mut self, entry: &Undo) -> String {
        match entry {
            Undo::End(origin) => format!("\n-- undoes {origin}\n"),
            Undo::Row(sql, skips) => {
                let keys = foreign_keys(&mut self.skips_foreign_keys, *skips);
                format!("{keys}{sql};\nSET @mainstay_conflicts=@mainstay_conflicts+(ROW_COUNT()<>1);\n")
            }
            Undo::Begin | Undo::Abandoned => String::new(),
        }
    }

    /// What stands after everything else.
    #[must_use]
    pub const fn tail() -> &'static str {
        "\nSET @mainstay_end=IF(@mainstay_conflicts=0,'COMMIT',\
         CONCAT('not committed: rows changed since: ',@mainstay_conflicts));\n\
         PREPARE mainstay_end FROM @mainstay_end;\nEXECUTE mainstay_end;\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_out_of_a_spool_and_open_ends_are_left_out() {
        let entries = [
            Undo::Begin,
            Undo::Row("a".to_owned(), false),
            Undo::End("o".to_owned()),
            Undo::Begin,
            Undo::Row("b".to_owned(), true),
            Undo::Abandoned,
            Undo::Begin,
            Undo::Row("c".to_owned(), true),
            Undo::End("p".to_owned()),
        ];
        let mut kept = Kept::default();
        let mut script = UndoScript::default();
        let mut text = String::new();
        for entry in entries.iter().rev() {
            assert_eq!(Undo::from_bytes(&entry.to_bytes()).as_ref(), Some(entry));
            if let Some(entry) = kept.keep(entry.clone()) {
                text.push_str(&script.text(&entry));
            }
        }
        let statements: Vec<&str> = text.lines().filter(|line| !line.starts_with("SET @")).collect();
        assert_eq!(
            statements,
            [
                "",
                "-- undoes p",
                "SET SESSION foreign_key_checks=0;",
                "c;",
                "",
                "-- undoes o",
                "SET SESSION foreign_key_checks=1;",
                "a;"
            ]
        );
        assert_eq!(Undo::from_bytes(b""), None);
        assert_eq!(Undo::from_bytes(b"?x"), None);
    }
}
