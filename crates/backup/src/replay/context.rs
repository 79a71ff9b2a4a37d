//! The session that a logged statement ran in, as a `SET` statement, and what it is about. It runs nothing.

use std::fmt::Write as _;

use binlog::{Query, Session};

const NO_FOREIGN_KEY_CHECKS: u32 = 1 << 26;
const RELAXED_UNIQUE_CHECKS: u32 = 1 << 27;
const AUTO_IS_NULL: u32 = 1 << 14;
/// The statement needs no default database, which may not be there.
pub(super) const FLAG_SUPPRESS_USE: u16 = 0x8;

/// What events before a statement say for it alone.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// `insert_id`, the next value of an auto-increment column.
    pub(super) insert_id: Option<u64>,
    /// `LAST_INSERT_ID()`.
    pub(super) last_insert_id: Option<u64>,
    /// Seeds of `RAND()`.
    pub(super) seeds: Option<(u64, u64)>,
    /// User variables, each as an assignment.
    pub(super) variables: Vec<String>,
}

impl Before {
    /// Takes a user variable: numbers, and text that any character set spells alike.
    pub(super) fn variable(&mut self, name: &str, value: Option<(u8, &[u8], bool)>) -> Result<(), String> {
        let refused = |what: &str| Err(format!("the value of @{name} is {what}"));
        let quoted = sqltext::quote_ident(name).map_err(|error| format!("@{name}: {error}"))?;
        let number = |bytes: &[u8]| bytes.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes));
        let literal = match value {
            None => "NULL".to_owned(),
            Some((0, bytes, _)) if bytes.is_ascii() => {
                let text = String::from_utf8_lossy(bytes);
                sqltext::quote_string(&text).map_err(|error| format!("@{name}: {error}"))?
            }
            Some((0, _, _)) => return refused("text that is not plain ASCII"),
            Some((1, bytes, _)) => match number(bytes).map(f64::from_bits) {
                Some(value) if value.is_finite() => format!("{value:e}"),
                Some(_) | None => return refused("no number"),
            },
            Some((2, bytes, is_unsigned)) => match number(bytes) {
                Some(value) if is_unsigned => value.to_string(),
                Some(value) => value.cast_signed().to_string(),
                None => return refused("cut off"),
            },
            Some((_, _, _)) => return refused("of a type that is not known"),
        };
        self.variables.push(format!("@{quoted} := {literal}"));
        Ok(())
    }
}

/// What makes the session the one that the statement ran in.
pub(super) fn settings(
    query: &Query<'_>,
    session: &Session,
    seconds: u32,
    before: &Before,
    is_mariadb: bool,
) -> String {
    // Both keep it as a double. MySQL rounds; MariaDB cuts off, and half a microsecond more comes out as the one meant.
    let half = if is_mariadb { "5" } else { "" };
    let mut sql = format!("SET SESSION timestamp = {seconds}.{:06}{half}", session.micros.unwrap_or(0));
    // Writing to a String does not fail.
    if let Some(flags) = session.flags {
        let is_on = |bit: u32| u8::from(flags & bit != 0);
        let is_off = |bit: u32| u8::from(flags & bit == 0);
        let _ = write!(
            sql,
            ", foreign_key_checks = {}, unique_checks = {}, sql_auto_is_null = {}",
            is_off(NO_FOREIGN_KEY_CHECKS),
            is_off(RELAXED_UNIQUE_CHECKS),
            is_on(AUTO_IS_NULL)
        );
    }
    if let Some(mode) = session.sql_mode {
        let _ = write!(sql, ", sql_mode = {mode}");
    }
    let (increment, offset) = session.auto_increment.unwrap_or((1, 1));
    let _ = write!(sql, ", auto_increment_increment = {increment}, auto_increment_offset = {offset}");
    if let Some([client, connection, server]) = session.charsets {
        let _ = write!(
            sql,
            ", character_set_client = {client}, collation_connection = {connection}, collation_server = {server}"
        );
    }
    if let Some(zone) = session.time_zone.as_deref().and_then(|zone| sqltext::quote_string(zone).ok()) {
        let _ = write!(sql, ", time_zone = {zone}");
    }
    if let Some(id) = before.insert_id {
        let _ = write!(sql, ", insert_id = {id}");
    }
    if let Some(id) = before.last_insert_id {
        let _ = write!(sql, ", last_insert_id = {id}");
    }
    if let Some((first, second)) = before.seeds {
        let _ = write!(sql, ", rand_seed1 = {first}, rand_seed2 = {second}");
    }
    if query.thread_id != 0 {
        // Temporary tables are told apart by it.
        let _ = write!(sql, ", pseudo_thread_id = {}", query.thread_id);
    }
    for variable in &before.variables {
        sql.push_str(", ");
        sql.push_str(variable);
    }
    sql
}

/// Whether a statement is about accounts, which no backup's restore makes.
pub(super) fn is_about_accounts(text: &str) -> bool {
    let mut words = sqltext::lex(text)
        .filter(sqltext::Token::is_significant)
        .map(|token| token.text.to_ascii_uppercase());
    let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    match first.as_str() {
        "GRANT" | "REVOKE" => true,
        "SET" => matches!(second.as_str(), "PASSWORD" | "DEFAULT" | "ROLE"),
        "CREATE" | "ALTER" | "DROP" | "RENAME" => {
            let is_account = |word: &str| matches!(word, "USER" | "ROLE");
            is_account(&second) || second == "OR" && words.nth(1).is_some_and(|word| is_account(&word))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_told_from_other_things() {
        for (text, is) in [
            ("CREATE USER 'a'@'b'", true),
            ("create or replace user a", true),
            ("RENAME USER a TO b", true),
            ("SET PASSWORD FOR a = 'x'", true),
            ("GRANT ALL ON *.* TO a", true),
            ("DROP ROLE r", true),
            ("CREATE TABLE user (id INT)", false),
            ("ALTER TABLE role ADD x INT", false),
            ("", false),
        ] {
            assert_eq!(is_about_accounts(text), is, "{text}");
        }
    }

    #[test]
    fn variables_are_written_or_refused() {
        let mut before = Before::default();
        before.variable("a", None).unwrap();
        before.variable("b c", Some((0, b"it's", false))).unwrap();
        before.variable("d", Some((2, &[255; 8], false))).unwrap();
        before.variable("e", Some((2, &[255; 8], true))).unwrap();
        before.variable("f", Some((1, &1.5_f64.to_le_bytes(), false))).unwrap();
        assert_eq!(
            before.variables.join(","),
            r"@`a` := NULL,@`b c` := 'it\'s',@`d` := -1,@`e` := 18446744073709551615,@`f` := 1.5e0"
        );
        assert!(before.variable("g", Some((0, "ä".as_bytes(), false))).is_err());
        assert!(before.variable("h", Some((4, b"12", false))).is_err());
        assert!(before.variable("i", Some((1, &f64::NAN.to_le_bytes(), false))).is_err());
    }
}
