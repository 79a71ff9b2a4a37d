//! What a statement that was logged as text needs of its session, as SQL: modes, numbers, seeds and variables.
//!
//! It leaves out what a session's head sets for all, and the current database.

use sqltext::{quote_ident, quote_string};

use crate::decimal;
use crate::error::DecodeError;
use crate::event::Event;
use crate::kind::EventKind;
use crate::query::Session;
use crate::shape::{Style, text_style};
use crate::sql::SESSION;
use crate::walk::Item;

const FLAG_NO_FOREIGN_KEY_CHECKS: u32 = 1 << 26;
const FLAG_NO_UNIQUE_CHECKS: u32 = 1 << 27;
/// Number of the binary collation.
const BINARY: u32 = 63;

/// What stands before and after a statement, without semicolons.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// What the statement needs.
    pub before: Vec<String>,
    /// What puts the session back.
    pub after: Vec<String>,
    /// Whether the session had `foreign_key_checks` off.
    pub skips_foreign_keys: bool,
    /// Why the statement would not do the same again, if so.
    pub problem: Option<&'static str>,
}

impl Settings {
    /// Takes an event in that is meant for the next statement. Others are left alone.
    ///
    /// # Errors
    /// When the event's content is not what its type says.
    pub(crate) fn see(&mut self, item: &Item<'_>) -> Result<(), DecodeError> {
        if !matches!(item.header.kind, EventKind::INTVAR | EventKind::RAND | EventKind::USER_VAR) {
            return Ok(());
        }
        let event = item.event()?;
        if let Event::Intvar { kind, value } = event {
            let name = if kind == 1 { "LAST_INSERT_ID" } else { "INSERT_ID" };
            self.before.push(format!("SET {name}={value}"));
        } else if let Event::Rand(first, second) = event {
            self.before.push(format!("SET RAND_SEED1={first},RAND_SEED2={second}"));
        } else if let Event::UserVariable { name, value } = event {
            match variable(&name, value) {
                Some(line) => self.before.push(line),
                None => self.problem = Some("it uses a variable whose value SQL cannot write"),
            }
        }
        Ok(())
    }

    /// Adds what was logged with the statement itself.
    pub(crate) fn add(&mut self, session: &Session, statement: &[u8]) {
        if let Some(mode) = session.sql_mode {
            self.before.push(format!("SET SESSION sql_mode={mode}"));
            self.after.extend(SESSION.last().map(|line| (*line).to_owned()));
        }
        if let Some(zone) = session.time_zone.as_ref().filter(|zone| !zone.is_empty())
            && let Ok(zone) = quote_string(zone)
        {
            self.before.push(format!("SET SESSION time_zone={zone}"));
            self.after.push("SET SESSION time_zone='+00:00'".to_owned());
        }
        if let Some((increment, offset)) = session.auto_increment.filter(|steps| *steps != (1, 1)) {
            self.before.push(format!(
                "SET SESSION auto_increment_increment={increment},auto_increment_offset={offset}"
            ));
            self.after.push(
                "SET SESSION auto_increment_increment=DEFAULT,auto_increment_offset=DEFAULT".to_owned(),
            );
        }
        let flags = session.flags.unwrap_or(0);
        self.skips_foreign_keys = flags & FLAG_NO_FOREIGN_KEY_CHECKS != 0;
        if flags & FLAG_NO_UNIQUE_CHECKS != 0 {
            self.before.push("SET SESSION unique_checks=0".to_owned());
            self.after.push("SET SESSION unique_checks=1".to_owned());
        }
        let client = session.charsets.map(|[client, connection, _]| (client, connection));
        if std::str::from_utf8(statement).is_err() {
            self.problem = Some("it is not UTF-8");
        } else if let Some((client, connection)) = client
            && !statement.is_ascii()
            && text_style(Some(u32::from(client))) != Style::Text
        {
            self.before
                .push(format!("SET SESSION character_set_client={client},collation_connection={connection}"));
            self.after.extend(SESSION.first().map(|line| (*line).to_owned()));
        }
    }
}

/// A user variable: a string, a floating-point number, a whole one or a decimal. None for what SQL cannot write.
fn variable(name: &str, value: Option<(u8, u32, &[u8], bool)>) -> Option<String> {
    let literal = match value {
        None => "NULL".to_owned(),
        Some((0, collation, bytes, _)) => text(collation, bytes)?,
        Some((1, _, bytes, _)) => format!("{:e}", f64::from_le_bytes(bytes.try_into().ok()?)),
        Some((2, _, bytes, is_unsigned)) => {
            let bits = u64::from_le_bytes(bytes.try_into().ok()?);
            if is_unsigned { bits.to_string() } else { bits.cast_signed().to_string() }
        }
        Some((4, _, bytes, _)) => {
            let ([precision, scale], packed) = bytes.split_first_chunk::<2>()?;
            if *precision == 0 || *precision > 65 || scale > precision {
                return None;
            }
            decimal::to_text(packed, *precision, *scale).ok()?
        }
        Some(_) => return None,
    };
    Some(format!("SET @{}={literal}", quote_ident(name).ok()?))
}

/// Text of a collation that UTF-8 can show, or bytes.
fn text(collation: u32, bytes: &[u8]) -> Option<String> {
    if collation == BINARY {
        return Some(sqltext::hex_literal(bytes));
    }
    let is_shown = text_style(Some(collation)) == Style::Text || bytes.is_ascii();
    std::str::from_utf8(bytes).ok().filter(|_| is_shown).and_then(|text| quote_string(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_written_by_their_type() {
        let minus_two = (-2_i64).to_le_bytes();
        let decimal = [2, 1, 0x80 | 1, 5];
        for (value, written) in [
            (None, Some("SET @`v`=NULL")),
            (Some((0, 45, "\u{e4}".as_bytes(), false)), Some("SET @`v`='\u{e4}'")),
            (Some((0, 63, &b"\x00\xff"[..], false)), Some("SET @`v`=x'00FF'")),
            (Some((0, 8, &b"\xe4"[..], false)), None),
            (Some((0, 8, &b"a"[..], false)), Some("SET @`v`='a'")),
            (Some((1, 63, &1.5_f64.to_le_bytes()[..], false)), Some("SET @`v`=1.5e0")),
            (Some((2, 63, &minus_two[..], false)), Some("SET @`v`=-2")),
            (Some((2, 63, &minus_two[..], true)), Some("SET @`v`=18446744073709551614")),
            (Some((2, 63, &minus_two[..3], false)), None),
            (Some((4, 63, &decimal[..], false)), Some("SET @`v`=1.5")),
            (Some((9, 63, &b""[..], false)), None),
        ] {
            assert_eq!(variable("v", value).as_deref(), written, "{value:?}");
        }
    }

    #[test]
    fn the_session_is_put_back_behind_a_statement() {
        let mut settings = Settings::default();
        let session = Session {
            sql_mode: Some(4),
            flags: Some(FLAG_NO_FOREIGN_KEY_CHECKS),
            charsets: Some([8, 8, 8]),
            time_zone: Some("Europe/Paris".to_owned()),
            ..Session::default()
        };
        settings.add(&session, "INSERT INTO t VALUES ('\u{e4}')".as_bytes());
        assert!(settings.skips_foreign_keys && settings.problem.is_none());
        assert_eq!(
            settings.before,
            [
                "SET SESSION sql_mode=4",
                "SET SESSION time_zone='Europe/Paris'",
                "SET SESSION character_set_client=8,collation_connection=8"
            ]
        );
        assert_eq!(settings.after.len(), settings.before.len());
        settings.add(&session, b"\xe4");
        assert!(settings.problem.is_some());
    }
}
