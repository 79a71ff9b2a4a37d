//! A piece of a dump's rows as the server takes them fastest: the text of `LOAD DATA`, or statements with another head.
//!
//! Whatever is not surely the same by `LOAD DATA` goes as the `INSERT` that it is.

use std::borrow::Cow;
use std::sync::Arc;

use dump::tabledef::{ColumnDef, ColumnKind, TableDef};
use dump::values::{InsertHead, Literal, Values, from_bits, from_hex, unescaped, write_text};
use dump::{DumpReader, Quoting, SessionContext};
use flavor::Vendor;

/// How rows are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `LOAD DATA LOCAL` where it is allowed and means the same.
    Load,
    /// `INSERT` of many rows.
    Insert,
}

/// Rows, ready to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// For `LOAD DATA LOCAL`.
    Load {
        /// What follows the table's name in the statement.
        clauses: String,
        /// The rows.
        rows: Arc<Vec<u8>>,
        /// How many.
        count: u64,
    },
    /// Statements.
    Insert {
        /// Each with its head.
        statements: Vec<Vec<u8>>,
        /// How many rows, where all could be counted and none may be left out.
        count: Option<u64>,
    },
}

/// What rows are made ready for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// The table's name, quoted.
    pub(crate) table: &'a str,
    /// Its definition; without it rows go as they are.
    pub(crate) def: Option<&'a TableDef>,
    /// How rows are sent if it makes no difference.
    pub(crate) method: Method,
    /// Whose server takes them.
    pub(crate) vendor: Vendor,
    /// Longest statement, in bytes.
    pub(crate) statement_bytes_max: usize,
}

/// Makes the statements of a run ready.
///
/// # Errors
/// With a sentence, when the run is not what the survey found.
pub(crate) fn ready(run: &[u8], session: &SessionContext, wanted: &Wanted<'_>) -> Result<Ready, String> {
    if wanted.method == Method::Load
        && let Some(def) = wanted.def
        && let Some(ready) = load(run, session, def, wanted.vendor)
    {
        return Ok(ready);
    }
    insert(run, session, wanted)
}

fn reader<'r>(run: &'r [u8], session: &SessionContext) -> DumpReader<&'r [u8]> {
    DumpReader::new(run).with_quoting(session.quoting)
}

/// How a value of a column is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It is computed: whatever the dump has is passed.
    Passed,
    Text,
    Number,
    Plain,
    Choice,
    Hex,
    HexBit,
    HexJson,
}

impl Way {
    const fn of(column: &ColumnDef, is_binary_session: bool) -> Self {
        if column.is_generated {
            return Self::Passed;
        }
        match column.kind {
            ColumnKind::Text => Self::Text,
            ColumnKind::Number => Self::Number,
            ColumnKind::Plain => Self::Plain,
            ColumnKind::Choice => Self::Choice,
            ColumnKind::Bytes => Self::Hex,
            ColumnKind::Bit => Self::HexBit,
            // A JSON value is never made of bytes without a character set.
            ColumnKind::Json if is_binary_session => Self::HexJson,
            ColumnKind::Json => Self::Text,
        }
    }
}

/// Character sets in which `LOAD DATA` finds tabs and newlines as single bytes.
fn charset(session: &SessionContext) -> Option<&str> {
    let charset = session.context.charset.as_deref().unwrap_or("utf8mb4");
    let known =
        ["utf8mb4", "utf8mb3", "utf8", "binary", "latin1", "ascii", "latin2", "latin5", "cp1251", "koi8r"];
    known.iter().any(|it| it.eq_ignore_ascii_case(charset)).then_some(charset)
}

/// The run as rows; none when any of it has to be a statement.
fn load(run: &[u8], session: &SessionContext, def: &TableDef, vendor: Vendor) -> Option<Ready> {
    let charset = charset(session)?;
    let is_binary = charset.eq_ignore_ascii_case("binary");
    let mut reader = reader(run, session);
    let mut rows = Vec::with_capacity(run.len() + run.len() / 16);
    let mut count: u64 = 0;
    let mut first: Option<(Vec<String>, Vec<Way>)> = None;
    while let Some(statement) = reader.next().ok()? {
        let head = InsertHead::parse(statement.text)?;
        if head.is_tolerant {
            return None;
        }
        let (names, ways) = match &first {
            Some((names, ways)) if *names == head.columns => (names, ways),
            Some(_) => return None,
            None => {
                let ways = ways(&head.columns, def, is_binary)?;
                let (names, ways) = first.insert((head.columns, ways));
                (&*names, &*ways)
            }
        };
        debug_assert!(names.is_empty() || names.len() == ways.len(), "a way for each column");
        count += write_rows(statement.text, head.rows_at, session.quoting, ways, &mut rows)?;
    }
    let (names, ways) = first?;
    let charset = if !is_binary && rows.is_ascii() { ascii_as(vendor) } else { charset };
    Some(Ready::Load { clauses: clauses(&names, &ways, def, charset)?, rows: Arc::new(rows), count })
}

/// As what a server takes ASCII fastest, which means the same in all that [`charset`] knows. MariaDB 10.11 loads a million of
/// sysbench's rows in 5 seconds of a processor as latin1, as utf8mb4 in 7 to 11: it cuts fields of one-byte characters
/// in half the time. MySQL 9.7 takes 6.4 as latin1 and 5.6 as utf8mb4: it converts from one to the other by character.
const fn ascii_as(vendor: Vendor) -> &'static str {
    match vendor {
        Vendor::MariaDb => "latin1",
        Vendor::MySql => "utf8mb4",
    }
}

fn ways(names: &[String], def: &TableDef, is_binary: bool) -> Option<Vec<Way>> {
    if names.is_empty() {
        return Some(def.visible_columns().map(|column| Way::of(column, is_binary)).collect());
    }
    names.iter().map(|name| def.column(name).map(|column| Way::of(column, is_binary))).collect()
}

/// Writes the rows of a statement, and counts them.
fn write_rows(text: &[u8], at: usize, quoting: Quoting, ways: &[Way], out: &mut Vec<u8>) -> Option<u64> {
    let mut values = Values::new(text, at, quoting);
    let mut count = 0;
    while values.next_row().ok()? {
        let mut ways = ways.iter();
        loop {
            let (literal, more) = values.next_value().ok()?;
            write_value(*ways.next()?, literal, quoting, out)?;
            out.push(if more { b'\t' } else { b'\n' });
            if !more {
                break;
            }
        }
        if ways.next().is_some() {
            return None;
        }
        count += 1;
    }
    Some(count)
}

/// Writes a value; none when only a statement says it right.
fn write_value(way: Way, literal: Literal<'_>, quoting: Quoting, out: &mut Vec<u8>) -> Option<()> {
    if way == Way::Passed {
        return Some(());
    }
    let digits = |bytes: &[u8], out: &mut Vec<u8>| {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for byte in bytes {
            for half in [byte >> 4, byte & 15] {
                out.extend(DIGITS.get(usize::from(half)));
            }
        }
    };
    match (literal, way) {
        (Literal::Null, _) => out.extend_from_slice(b"\\N"),
        (Literal::Number(number), Way::Number) => out.extend_from_slice(number),
        // A year of four digits is the same as text; a date as a number is not.
        (Literal::Number(number), Way::Plain) if number.len() == 4 => out.extend_from_slice(number),
        (Literal::Number(number), Way::HexBit) => {
            let number: u64 = std::str::from_utf8(number).ok()?.parse().ok()?;
            digits(&number.to_be_bytes(), out);
        }
        (Literal::Number(number), Way::Text) if number.iter().all(u8::is_ascii_digit) && number != b"0" => {
            if number.first() == Some(&b'0') {
                return None;
            }
            out.extend_from_slice(number);
        }
        (
            Literal::Text { raw, quote, is_binary: false },
            Way::Text | Way::Number | Way::Plain | Way::Choice,
        ) => {
            write_text(raw, quote, quoting, out);
        }
        (Literal::Text { raw, quote, .. }, Way::Hex | Way::HexBit | Way::HexJson) => {
            digits(&unescaped(raw, quote, quoting), out);
        }
        (Literal::Hex(hex), Way::Hex | Way::HexBit) => digits(&from_hex(hex), out),
        (Literal::Bits(bits), Way::Hex | Way::HexBit) => digits(&from_bits(bits), out),
        (Literal::Number(_) | Literal::Text { .. } | Literal::Hex(_) | Literal::Bits(_), _) => return None,
    }
    Some(())
}

/// What follows the table's name.
fn clauses(names: &[String], ways: &[Way], def: &TableDef, charset: &str) -> Option<String> {
    let names: Vec<&str> = if names.is_empty() {
        def.visible_columns().map(|column| column.name.as_str()).collect()
    } else {
        names.iter().map(String::as_str).collect()
    };
    let (mut fields, mut sets) = (Vec::new(), Vec::new());
    for (number, (name, way)) in names.iter().zip(ways).enumerate() {
        let column = sqltext::quote_ident(name).ok()?;
        let bytes = format!("UNHEX(@mainstay_{number})");
        let set = match way {
            Way::Passed => None,
            Way::Text | Way::Number | Way::Plain | Way::Choice => {
                fields.push(column);
                continue;
            }
            Way::Hex | Way::HexBit => Some(bytes),
            Way::HexJson => Some(format!("CONVERT({bytes} USING utf8mb4)")),
        };
        fields.push(format!("@mainstay_{number}"));
        sets.extend(set.map(|set| format!("{column} = {set}")));
    }
    let sets = if sets.is_empty() { String::new() } else { format!(" SET {}", sets.join(", ")) };
    Some(format!(
        " CHARACTER SET {charset} FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' ({}){sets}",
        fields.join(", ")
    ))
}

/// The run as statements into the table meant, none longer than the server takes.
fn insert(run: &[u8], session: &SessionContext, wanted: &Wanted<'_>) -> Result<Ready, String> {
    let mut reader = reader(run, session);
    let (mut statements, mut count) = (Vec::new(), Some(0));
    while let Some(statement) = reader.next().map_err(|error| error.to_string())? {
        let text = statement.text;
        let Some(head) = InsertHead::parse(text) else {
            return Err("has rows that are no INSERT ... VALUES".to_owned());
        };
        let verb = if !head.is_tolerant {
            "INSERT"
        } else if text.get(..7).is_some_and(|word| word.eq_ignore_ascii_case(b"REPLACE")) {
            "REPLACE"
        } else {
            "INSERT IGNORE"
        };
        let columns: Result<Vec<String>, _> =
            head.columns.iter().map(|name| sqltext::quote_ident(name)).collect();
        let columns = columns.map_err(|error| error.to_string())?;
        let columns = if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(",")) };
        let new_head = format!("{verb} INTO {}{columns} VALUES ", wanted.table).into_bytes();
        let cut = Cut {
            head: &new_head,
            quoting: session.quoting,
            bytes_max: wanted.statement_bytes_max,
            generated: wanted.def.map(|def| generated(&head.columns, def)).unwrap_or_default(),
        };
        let rows = cut.split(text, head.rows_at, &mut statements);
        count = match (count, rows) {
            (Some(count), Some(rows)) if !head.is_tolerant => Some(count + rows),
            _ => None,
        };
    }
    Ok(Ready::Insert { statements, count })
}

/// Which of the columns are computed; empty where none is. MariaDB dumps their values, which MySQL refuses.
fn generated(names: &[String], def: &TableDef) -> Vec<bool> {
    let mask: Vec<bool> = if names.is_empty() {
        def.visible_columns().map(|column| column.is_generated).collect()
    } else {
        names.iter().map(|name| def.column(name).is_some_and(|column| column.is_generated)).collect()
    };
    if mask.contains(&true) { mask } else { Vec::new() }
}

/// How a statement's rows are put under another head.
struct Cut<'a> {
    head: &'a [u8],
    quoting: Quoting,
    bytes_max: usize,
    generated: Vec<bool>,
}

impl Cut<'_> {
    /// Cuts a statement between rows where it is too long, and counts its rows; one that cannot be read stays as it is.
    fn split(&self, text: &[u8], rows_at: usize, out: &mut Vec<Vec<u8>>) -> Option<u64> {
        let rows = self.rows(text, rows_at);
        let is_whole = self.generated.is_empty() && text.len() <= self.bytes_max;
        let Some(rows) = rows else {
            out.push([self.head, text.get(rows_at..).unwrap_or_default()].concat());
            return None;
        };
        let count = rows.len() as u64;
        if is_whole {
            out.push([self.head, text.get(rows_at..).unwrap_or_default()].concat());
            return Some(count);
        }
        let mut statement = self.head.to_vec();
        for row in rows {
            if statement.len() > self.head.len() && statement.len() + row.len() + 1 > self.bytes_max {
                out.push(std::mem::replace(&mut statement, self.head.to_vec()));
            }
            if statement.len() > self.head.len() {
                statement.push(b',');
            }
            statement.extend_from_slice(&row);
        }
        out.push(statement);
        Some(count)
    }

    /// Each row as it will be sent; none when one of them is not made of literals.
    fn rows<'t>(&self, text: &'t [u8], rows_at: usize) -> Option<Vec<Cow<'t, [u8]>>> {
        let mut values = Values::new(text, rows_at, self.quoting);
        let mut rows = Vec::new();
        while values.next_row().ok()? {
            let from = values.offset() - 1;
            let mut row = Vec::new();
            let mut column = 0;
            loop {
                let at = values.offset();
                let (_, more) = values.next_value().ok()?;
                if !self.generated.is_empty() {
                    row.push(if column == 0 { b'(' } else { b',' });
                    if self.generated.get(column) == Some(&true) {
                        row.extend_from_slice(b"DEFAULT");
                    } else {
                        row.extend_from_slice(text.get(at..values.offset() - 1).unwrap_or_default());
                    }
                }
                column += 1;
                if !more {
                    break;
                }
            }
            rows.push(if self.generated.is_empty() {
                Cow::Borrowed(text.get(from..values.offset()).unwrap_or_default())
            } else {
                row.push(b')');
                Cow::Owned(row)
            });
        }
        Some(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATE: &str = "CREATE TABLE `t` (`id` int, `v` varchar(9), `b` blob, `bi` bit(9), `e` enum('a'), `g` int GENERATED ALWAYS AS (`id`) VIRTUAL)";

    fn made(run: &str, method: Method, bytes_max: usize) -> Ready {
        let def = TableDef::parse(CREATE).unwrap();
        let wanted = Wanted {
            table: "`d`.`x`",
            def: Some(&def),
            method,
            vendor: Vendor::MariaDb,
            statement_bytes_max: bytes_max,
        };
        ready(run.as_bytes(), &SessionContext::default(), &wanted).unwrap()
    }

    #[test]
    fn literals_become_fields() {
        let run = "INSERT INTO `t` VALUES (1,'a\\tb\\'',x'00ff',b'101','a',2),\n(2,NULL,_binary '\\0A',5,NULL,3);\nINSERT INTO `t` VALUES (-3,'ü\t','',NULL,'a',0);\n";
        let Ready::Load { clauses, rows, count } = made(run, Method::Load, 1 << 20) else { panic!() };
        assert_eq!(count, 3);
        assert_eq!(
            String::from_utf8(rows.to_vec()).unwrap(),
            "1\ta\\tb'\t00ff\t05\ta\t\n2\t\\N\t0041\t0000000000000005\t\\N\t\n-3\tü\\t\t\t\\N\ta\t\n"
        );
        assert!(
            clauses.ends_with(
                "(`id`, `v`, @mainstay_2, @mainstay_3, `e`, @mainstay_5) SET `b` = UNHEX(@mainstay_2), `bi` = UNHEX(@mainstay_3)"
            ),
            "{clauses}"
        );
    }

    #[test]
    fn ascii_goes_as_the_server_takes_it_fastest() {
        for (vendor, value, charset, expected) in [
            (Vendor::MariaDb, "a", None, "latin1"),
            (Vendor::MariaDb, "a", Some("koi8r"), "latin1"),
            (Vendor::MySql, "a", None, "utf8mb4"),
            (Vendor::MySql, "a", Some("koi8r"), "utf8mb4"),
            (Vendor::MariaDb, "ü", None, "utf8mb4"),
            (Vendor::MySql, "ü", Some("koi8r"), "koi8r"),
            // Bytes into a column of two bytes a character are not the characters that they look like.
            (Vendor::MariaDb, "a", Some("binary"), "binary"),
            (Vendor::MySql, "a", Some("binary"), "binary"),
        ] {
            let run = format!("INSERT INTO `t` (`id`,`v`) VALUES (1,'{value}');");
            let mut session = SessionContext::default();
            session.context.charset = charset.map(str::to_owned);
            let def = TableDef::parse("CREATE TABLE `t` (`id` int, `v` varchar(9))").unwrap();
            let Some(Ready::Load { clauses, .. }) = load(run.as_bytes(), &session, &def, vendor) else {
                panic!()
            };
            assert!(
                clauses.starts_with(&format!(" CHARACTER SET {expected} ")),
                "{vendor} {value} {charset:?}: {clauses}"
            );
        }
    }

    #[test]
    fn what_means_something_else_stays_a_statement() {
        for run in [
            "INSERT INTO `t` VALUES (1,x'00',NULL,NULL,NULL,1);",
            "INSERT INTO `t` VALUES (1,'a',NULL,NULL,1,1);",
            "INSERT INTO `t` VALUES (1,now(),NULL,NULL,NULL,1);",
            "INSERT IGNORE INTO `t` VALUES (1,'a',NULL,NULL,'a',1);",
            "INSERT INTO `t` (id) VALUES (1);INSERT INTO `t` (v) VALUES ('1');",
            "INSERT INTO `t` VALUES (1,'a');",
        ] {
            assert!(matches!(made(run, Method::Load, 1 << 20), Ready::Insert { .. }), "{run}");
        }
    }

    #[test]
    fn long_statements_are_cut_between_rows() {
        let run = "INSERT INTO `t` (id,v) VALUES (1,'a,(b)'),\n(2,'c'), (3,'d');";
        let Ready::Insert { statements, count } = made(run, Method::Insert, 20) else { panic!() };
        let texts: Vec<String> =
            statements.into_iter().map(|statement| String::from_utf8(statement).unwrap()).collect();
        let head = "INSERT INTO `d`.`x` (`id`,`v`) VALUES ";
        assert_eq!(texts, [format!("{head}(1,'a,(b)')"), format!("{head}(2,'c')"), format!("{head}(3,'d')")]);
        assert_eq!(count, Some(3));
        let Ready::Insert { statements, .. } = made(run, Method::Insert, 1 << 20) else { panic!() };
        assert_eq!(statements.len(), 1);
        let run = "INSERT INTO `t` VALUES (1, 'a',NULL,b'1','a',7),(2,'b',NULL,NULL,NULL,8);";
        let Ready::Insert { statements, count } = made(run, Method::Insert, 1 << 20) else { panic!() };
        assert_eq!(
            String::from_utf8_lossy(&statements[0]),
            "INSERT INTO `d`.`x` VALUES (1, 'a',NULL,b'1','a',DEFAULT),(2,'b',NULL,NULL,NULL,DEFAULT)"
        );
        assert_eq!(count, Some(2));
    }
}
