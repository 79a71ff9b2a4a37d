//! mydumper's names of files, and how statements stand in them so that `myloader` and `mysql` read them too. It opens
//! no file and lists no folder.
//!
//! | file | what it makes |
//! |---|---|
//! | `metadata` | nothing: coordinates, and the number of rows of each table |
//! | `db-schema-create.sql` | the database |
//! | `db.table-schema.sql` | the table; for a view a table of its columns, which the view replaces |
//! | `db.sequence-schema-sequence.sql` | the sequence (MariaDB) |
//! | `db.table.00000.sql` | rows, in the order of the primary key |
//! | `db.view-schema-view.sql` | the view |
//! | `db.table-schema-triggers.sql` | the table's triggers |
//! | `db-schema-post.sql` | routines and events |
//! | `mainstay-accounts` | accounts and grants; without `.sql` in its name, as `myloader` would take it for rows |
//! | `mainstay-file-00000` | a file of the control plane, always encrypted |
//! | `mainstay-physical` | the server's files in one stream |
//!
//! All but `metadata` and `mainstay.json` end in `.gz` or `.zst` when compressed, then in `.age` when encrypted.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The file that `myloader` knows a backup by.
pub const METADATA_NAME: &str = "metadata";
/// What ends statements in files of triggers, routines and events. Servers and `myloader` take it for one semicolon,
/// and `mysql --delimiter=';;'` tells it from the semicolons inside.
pub const BODY_END: &str = ";;\n";
/// What begins the names that mydumper gives to databases and tables whose own names make no good file names.
const STAND_IN: &str = "mydumper_";
const ACCOUNTS: &str = "mainstay-accounts";
const CONTROL_PLANE: &str = "mainstay-file-";
const PHYSICAL: &str = "mainstay-physical";

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, which every `myloader` reads.
    Gzip,
    /// Zstandard, which `myloader` reads from 0.11.3 on.
    Zstd,
}

impl Compression {
    /// What names of such files end in.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }
}

/// What a file of a backup makes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// A database.
    Database {
        /// Its name in names of files.
        database: String,
    },
    /// A table, or the table that stands in for a view.
    Table {
        /// Its database's name in names of files.
        database: String,
        /// Its name in names of files.
        table: String,
    },
    /// A sequence.
    Sequence {
        /// Its database's name in names of files.
        database: String,
        /// Its name in names of files.
        table: String,
    },
    /// Rows of a table.
    Rows {
        /// Its database's name in names of files.
        database: String,
        /// Its name in names of files.
        table: String,
        /// Number of the file, from 0.
        number: u64,
        /// Number below that, as newer mydumpers have it.
        below: Option<u32>,
    },
    /// A view.
    View {
        /// Its database's name in names of files.
        database: String,
        /// Its name in names of files.
        table: String,
    },
    /// A table's triggers.
    Triggers {
        /// Its database's name in names of files.
        database: String,
        /// Its name in names of files.
        table: String,
    },
    /// A database's routines and events.
    Post {
        /// Its name in names of files.
        database: String,
    },
    /// Accounts and grants.
    Accounts,
    /// A file of the control plane.
    ControlPlane {
        /// Number of the file, from 0.
        number: u32,
    },
    /// The server's files in one stream.
    Physical,
}

/// A file's name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileName {
    /// What it makes.
    pub part: Part,
    /// Ends in `.gz` or `.zst`.
    pub suffix: &'static str,
    /// Ends in `.age`.
    pub encrypted: bool,
}

impl FileName {
    /// The name of a file.
    #[must_use]
    pub fn new(part: Part, compression: Compression, encrypted: bool) -> Self {
        Self { part, suffix: compression.suffix(), encrypted }
    }

    /// How the file is compressed.
    #[must_use]
    pub fn compression(&self) -> Compression {
        match self.suffix {
            ".gz" => Compression::Gzip,
            ".zst" => Compression::Zstd,
            _ => Compression::None,
        }
    }

    /// Takes a name apart; none for one that is not of the layout, such as `metadata`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (rest, encrypted) = name.strip_suffix(".age").map_or((name, false), |rest| (rest, true));
        let (rest, compression) = if let Some(rest) = rest.strip_suffix(".gz") {
            (rest, Compression::Gzip)
        } else if let Some(rest) = rest.strip_suffix(".zst") {
            (rest, Compression::Zstd)
        } else {
            (rest, Compression::None)
        };
        Some(Self { part: parse_part(rest)?, suffix: compression.suffix(), encrypted })
    }
}

fn parse_part(name: &str) -> Option<Part> {
    match name {
        ACCOUNTS => return Some(Part::Accounts),
        PHYSICAL => return Some(Part::Physical),
        _ => {}
    }
    if let Some(number) = name.strip_prefix(CONTROL_PLANE) {
        return Some(Part::ControlPlane { number: digits(number)? });
    }
    let name = name.strip_suffix(".sql")?;
    let named = |name: &str| (!name.is_empty() && !name.contains('.')).then(|| name.to_owned());
    if let Some(database) = name.strip_suffix("-schema-create") {
        return Some(Part::Database { database: named(database)? });
    }
    if let Some(database) = name.strip_suffix("-schema-post") {
        return Some(Part::Post { database: named(database)? });
    }
    let (database, rest) = name.split_once('.')?;
    let database = named(database)?;
    let table = |suffix: &str| rest.strip_suffix(suffix).and_then(named);
    if let Some(table) = table("-schema") {
        return Some(Part::Table { database, table });
    }
    if let Some(table) = table("-schema-sequence") {
        return Some(Part::Sequence { database, table });
    }
    if let Some(table) = table("-schema-view") {
        return Some(Part::View { database, table });
    }
    if let Some(table) = table("-schema-triggers") {
        return Some(Part::Triggers { database, table });
    }
    let mut fields = rest.split('.');
    let table = named(fields.next()?)?;
    // Without a number: a table that mydumper wrote in one piece. A definition that names no table is none.
    let number = match fields.next() {
        Some(number) => digits(number)?,
        None if table.starts_with("-schema") => return None,
        None => 0,
    };
    let below = match fields.next() {
        Some(below) => Some(digits(below)?),
        None => None,
    };
    fields.next().is_none().then_some(Part::Rows { database, table, number, below })
}

/// A number in digits alone, as `parse` would also take a sign.
fn digits<N: std::str::FromStr>(text: &str) -> Option<N> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

impl std::fmt::Display for FileName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.part {
            Part::Database { database } => write!(f, "{database}-schema-create.sql")?,
            Part::Table { database, table } => write!(f, "{database}.{table}-schema.sql")?,
            Part::Sequence { database, table } => write!(f, "{database}.{table}-schema-sequence.sql")?,
            Part::Rows { database, table, number, below: None } => {
                write!(f, "{database}.{table}.{number:05}.sql")?;
            }
            Part::Rows { database, table, number, below: Some(below) } => {
                write!(f, "{database}.{table}.{number:05}.{below:05}.sql")?;
            }
            Part::View { database, table } => write!(f, "{database}.{table}-schema-view.sql")?,
            Part::Triggers { database, table } => write!(f, "{database}.{table}-schema-triggers.sql")?,
            Part::Post { database } => write!(f, "{database}-schema-post.sql")?,
            Part::Accounts => f.write_str(ACCOUNTS)?,
            Part::ControlPlane { number } => write!(f, "{CONTROL_PLANE}{number:05}")?,
            Part::Physical => f.write_str(PHYSICAL)?,
        }
        f.write_str(self.suffix)?;
        if self.encrypted { f.write_str(".age") } else { Ok(()) }
    }
}

/// What stands for names of databases and tables in names of files.
///
/// A name of letters, digits, `_`, `-` and spaces stands for itself. Any other gets `mydumper_0` and so on;
/// `myloader` learns the real one from the CREATE statement in the file.
#[derive(Clone, Debug, Default)]
pub struct FileNames {
    given: BTreeMap<String, String>,
    stand_ins: usize,
}

impl FileNames {
    /// What stands for a name: always the same for the same one.
    pub fn stand_for(&mut self, name: &str) -> String {
        if let Some(given) = self.given.get(name) {
            return given.clone();
        }
        let given = if stands_for_itself(name) {
            name.to_owned()
        } else {
            let given = format!("{STAND_IN}{}", self.stand_ins);
            self.stand_ins += 1;
            given
        };
        self.given.insert(name.to_owned(), given.clone());
        given
    }
}

fn stands_for_itself(name: &str) -> bool {
    let is_plain =
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b' '));
    // `-schema` would be taken for the end of the name by myloader, `mainstay-` for ours.
    is_plain
        && !name.is_empty()
        && !name.starts_with(STAND_IN)
        && !name.starts_with("mainstay-")
        && !name.contains("-schema")
}

/// A statement whose text may hold semicolons, as it stands in a file.
///
/// `myloader` ends a statement at the first line that ends in a semicolon, so every such line inside gets one more
/// space behind its semicolon; [`from_file`] takes it away again.
#[must_use]
pub fn to_file(statement: &str) -> Cow<'_, str> {
    respaced(statement, |spaces| Some(spaces + 1))
}

/// The statement that [`to_file`] was given.
#[must_use]
pub fn from_file(text: &str) -> Cow<'_, str> {
    respaced(text, |spaces| spaces.checked_sub(1))
}

/// Changes the number of spaces between a semicolon and the end of its line.
fn respaced(text: &str, change: impl Fn(usize) -> Option<usize>) -> Cow<'_, str> {
    let mut changed = String::new();
    let mut copied = 0;
    for (newline, _) in text.match_indices('\n') {
        let line = text.get(copied..newline).unwrap_or_default();
        let bare = line.trim_end_matches(' ');
        if bare.ends_with(';')
            && let Some(spaces) = change(line.len() - bare.len())
        {
            changed.push_str(bare);
            changed.extend(std::iter::repeat_n(' ', spaces));
            copied = newline;
        }
        changed.push_str(text.get(copied..=newline).unwrap_or_default());
        copied = newline + 1;
    }
    changed.push_str(text.get(copied..).unwrap_or_default());
    if changed == text { Cow::Borrowed(text) } else { Cow::Owned(changed) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_as_mydumper_has_them() {
        let (database, table) = ("shop".to_owned(), "order lines".to_owned());
        let rows = |number, below| Part::Rows {
            database: "shop".to_owned(),
            table: "order lines".to_owned(),
            number,
            below,
        };
        for (part, name) in [
            (Part::Database { database: database.clone() }, "shop-schema-create.sql"),
            (Part::Table { database: database.clone(), table: table.clone() }, "shop.order lines-schema.sql"),
            (
                Part::Sequence { database: database.clone(), table: table.clone() },
                "shop.order lines-schema-sequence.sql",
            ),
            (rows(0, None), "shop.order lines.00000.sql"),
            (rows(123_456, None), "shop.order lines.123456.sql"),
            (rows(1, Some(2)), "shop.order lines.00001.00002.sql"),
            (
                Part::View { database: database.clone(), table: table.clone() },
                "shop.order lines-schema-view.sql",
            ),
            (Part::Triggers { database: database.clone(), table }, "shop.order lines-schema-triggers.sql"),
            (Part::Post { database }, "shop-schema-post.sql"),
            (Part::Accounts, "mainstay-accounts"),
            (Part::ControlPlane { number: 3 }, "mainstay-file-00003"),
            (Part::Physical, "mainstay-physical"),
        ] {
            for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
                for encrypted in [false, true] {
                    let file = FileName::new(part.clone(), compression, encrypted);
                    let end = if encrypted { ".age" } else { "" };
                    let written = file.to_string();
                    assert_eq!(written, format!("{name}{}{end}", compression.suffix()));
                    assert_eq!(FileName::parse(&written), Some(file.clone()), "{written}");
                    assert_eq!(file.compression(), compression);
                }
            }
        }
    }

    #[test]
    fn other_names_are_of_no_file_of_the_layout() {
        for name in [
            "metadata",
            "mainstay.json",
            "shop.sql",
            "shop.t.x.sql",
            "shop.t.+1.sql",
            "shop.t.1.2.3.sql",
            ".t-schema.sql",
            "shop.-schema.sql",
            "",
            "a-schema-create.sql.xz",
        ] {
            assert_eq!(FileName::parse(name), None, "{name}");
        }
        // mydumper without --rows gives no number.
        let whole = FileName::parse("shop.t.sql.gz").unwrap();
        assert!(matches!(whole.part, Part::Rows { number: 0, below: None, .. }));
    }

    #[test]
    fn what_makes_no_file_name_gets_a_stand_in() {
        let mut names = FileNames::default();
        for (name, stand_in) in [
            ("orders", "orders"),
            ("a b-c_D1", "a b-c_D1"),
            ("a.b", "mydumper_0"),
            ("größe", "mydumper_1"),
            ("a/b", "mydumper_2"),
            ("mydumper_0", "mydumper_3"),
            ("t-schema", "mydumper_4"),
            ("mainstay-accounts", "mydumper_5"),
            ("a.b", "mydumper_0"),
        ] {
            assert_eq!(names.stand_for(name), stand_in, "{name}");
        }
    }

    #[test]
    fn no_line_of_a_statement_ends_in_a_semicolon() {
        assert_eq!(
            to_file("BEGIN\n SET a = 1;\n SET b = 2; \nEND"),
            "BEGIN\n SET a = 1; \n SET b = 2;  \nEND"
        );
        assert!(matches!(to_file("SELECT 1;"), Cow::Borrowed(_)));
        assert_eq!(from_file("a; \nb"), "a;\nb");
        // Written by something else: nothing to take away.
        assert_eq!(from_file("a;\nb"), "a;\nb");
    }

    proptest! {
        #[test]
        fn statements_come_back_as_they_were(text in "[a; \n]{0,40}") {
            let written = to_file(&text);
            prop_assert!(!written.contains(";\n"));
            prop_assert_eq!(from_file(&written), text.as_str());
        }

        #[test]
        fn any_name_is_taken_or_refused(name in "[a-z.0-9 -]{0,30}(\\.sql)?(\\.gz|\\.zst)?(\\.age)?") {
            if let Some(file) = FileName::parse(&name)
                && !matches!(file.part, Part::Rows { .. } | Part::ControlPlane { .. })
            {
                prop_assert_eq!(file.to_string(), name);
            }
        }
    }
}
