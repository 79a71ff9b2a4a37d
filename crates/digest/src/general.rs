//! The general log: every statement and command as it arrived. It has no times and no rows, so only counts come of it.
//!
//! Who runs a statement, and in which database, is known from the connection's first entry where the log has it.
//! Nothing is ever refused: what is not understood is counted.

use std::collections::HashMap;

use crate::amount::Amount;
use crate::attribute::Attribute;
use crate::banner::{is_banner, without_banner};
use crate::event::{Event, LogReader, Moment, Position, Sink};
use crate::slow::{RECORD_BYTES_MAX, Skipped};

/// Bytes of a line that tell whether it begins an entry.
const HEAD_BYTES_MAX: usize = 128;
/// Connections that are remembered; a server has fewer open at a time.
const SESSIONS_MAX: usize = 65_536;

/// The commands of the protocol, as servers of both vendors name them.
const COMMANDS: [&[u8]; 36] = [
    b"Query",
    b"Execute",
    b"Prepare",
    b"Connect",
    b"Quit",
    b"Init DB",
    b"Close stmt",
    b"Reset stmt",
    b"Long Data",
    b"Fetch",
    b"Field List",
    b"Statistics",
    b"Ping",
    b"Change user",
    b"Reset connection",
    b"Set option",
    b"Create DB",
    b"Drop DB",
    b"Refresh",
    b"Shutdown",
    b"Processlist",
    b"Connect Out",
    b"Kill",
    b"Debug",
    b"Time",
    b"Delayed insert",
    b"Binlog Dump",
    b"Binlog Dump GTID",
    b"Table Dump",
    b"Register Slave",
    b"Register Replica",
    b"Daemon",
    b"Clone",
    b"Error",
    b"Sleep",
    b"Bulk_execute",
];

/// Who a connection is.
#[derive(Debug, Default)]
struct Session {
    user: Vec<u8>,
    host: Vec<u8>,
    db: Vec<u8>,
}

/// What an entry begins with.
struct Head<'a> {
    moment: Option<Moment>,
    thread: u64,
    command: &'a [u8],
    /// Bytes before the argument.
    length: usize,
}

/// Whether a line begins an entry.
pub(crate) fn begins_entry(line: &[u8]) -> bool {
    head(line).is_some()
}

fn head(line: &[u8]) -> Option<Head<'_>> {
    let (moment, at) = match line {
        [b'\t', b'\t', ..] => (None, 2),
        [b'0'..=b'9', ..] => {
            let tab = memchr::memchr(b'\t', line.get(..40.min(line.len()))?)?;
            (Some(Moment::parse(line)?), tab + 1)
        }
        _ => return None,
    };
    let rest = line.get(at..)?;
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    let digits = rest.iter().skip(spaces).take_while(|byte| byte.is_ascii_digit()).count();
    let thread = std::str::from_utf8(rest.get(spaces..spaces + digits)?).ok()?.parse().ok()?;
    let named = rest.get(spaces + digits..)?.strip_prefix(b" ")?;
    let length = named.iter().take_while(|byte| !matches!(**byte, b'\t' | b'\n')).count();
    let command = named.get(..length)?;
    let command = command.strip_suffix(b" ").unwrap_or(command);
    let tab = usize::from(named.get(length) == Some(&b'\t'));
    COMMANDS.contains(&command).then_some(Head {
        moment,
        thread,
        command,
        length: at + spaces + digits + 1 + length + tab,
    })
}

/// Reads a general log.
#[derive(Debug)]
pub struct GeneralLog {
    /// The entry so far, or its beginning, and how long it is.
    held: Vec<u8>,
    held_bytes: u64,
    ends_line: bool,
    /// The beginning of a line, until it shows what it is; `None` further on in a line.
    begun: Option<Vec<u8>>,
    position: Position,
    moment: Option<Moment>,
    sessions: HashMap<u64, Session>,
    events: u64,
    skipped: Skipped,
}

impl Default for GeneralLog {
    fn default() -> Self {
        Self {
            held: Vec::new(),
            held_bytes: 0,
            ends_line: false,
            begun: Some(Vec::new()),
            position: Position::default(),
            moment: None,
            sessions: HashMap::new(),
            events: 0,
            skipped: Skipped::default(),
        }
    }
}

impl LogReader for GeneralLog {
    fn feed(&mut self, mut bytes: &[u8], sink: &mut impl Sink) {
        while !bytes.is_empty() {
            let wanted = match &self.begun {
                Some(begun) => (HEAD_BYTES_MAX - begun.len().min(HEAD_BYTES_MAX)).max(1).min(bytes.len()),
                None => bytes.len(),
            };
            let newline = memchr::memchr(b'\n', bytes.get(..wanted).unwrap_or_default());
            let (part, rest) = bytes.split_at(newline.map_or(wanted, |newline| newline + 1));
            bytes = rest;
            let Some(mut begun) = self.begun.take() else {
                self.hold(part);
                self.begun = newline.is_some().then(Vec::new);
                continue;
            };
            begun.extend_from_slice(part);
            if newline.is_none() && begun.len() < HEAD_BYTES_MAX {
                self.begun = Some(begun);
                continue;
            }
            if begins_entry(&begun) {
                self.end_entry(sink);
            }
            self.hold(&begun);
            begun.clear();
            self.begun = newline.is_some().then_some(begun);
        }
    }

    fn finish(&mut self, sink: &mut impl Sink) {
        let begun = self.begun.replace(Vec::new()).unwrap_or_default();
        if begins_entry(&begun) {
            self.end_entry(sink);
        }
        self.hold(&begun);
        self.end_entry(sink);
    }

    fn next_file(&mut self, sink: &mut impl Sink) {
        self.finish(sink);
        self.sessions.clear();
        self.position = Position { file: self.position.file + 1, offset: 0 };
    }

    fn may_be_complete(&self) -> bool {
        self.held.ends_with(b"\n")
    }

    fn events(&self) -> u64 {
        self.events
    }

    fn skipped(&self) -> &Skipped {
        &self.skipped
    }
}

impl GeneralLog {
    fn hold(&mut self, bytes: &[u8]) {
        let room = RECORD_BYTES_MAX.saturating_sub(self.held.len());
        self.held.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        self.held_bytes += bytes.len() as u64;
        self.ends_line = bytes.ends_with(b"\n");
    }

    /// Takes what is held as an entry.
    fn end_entry(&mut self, sink: &mut impl Sink) {
        let held = std::mem::take(&mut self.held);
        self.entry(&held, sink);
        self.position.offset += self.held_bytes;
        self.held = held;
        self.held.clear();
        self.held_bytes = 0;
    }

    fn entry(&mut self, held: &[u8], sink: &mut impl Sink) {
        let Some(head) = head(held) else {
            if !held.is_empty() && !is_banner(held) {
                self.skipped.bytes += self.held_bytes;
                self.skipped.records += 1;
            }
            return;
        };
        self.moment = head.moment.or(self.moment);
        let body = held.get(head.length..).unwrap_or_default();
        let is_cut = self.held_bytes > held.len() as u64;
        let body = if is_cut { body } else { without_banner(body).0 };
        let argument = if is_cut { body } else { body.strip_suffix(b"\n").unwrap_or(body) };
        let newline = u64::from(is_cut && self.ends_line);
        let beyond = self.held_bytes.saturating_sub(held.len() as u64 + newline);
        let is_statement = matches!(head.command, b"Query" | b"Execute" | b"Bulk_execute");
        let (moment, position) = (self.moment, self.position);
        let session = self.session(&head, argument);
        let name;
        let statement = if is_statement {
            argument
        } else {
            let denied = if argument.starts_with(b"Access denied") { &b", access denied"[..] } else { b"" };
            name = [b"administrator command: ", head.command, denied].concat();
            &name
        };
        if statement.trim_ascii().is_empty() {
            self.skipped.records += 1;
            self.skipped.bytes += self.held_bytes;
            return;
        }
        let statement_bytes = statement.len() as u64 + if is_statement { beyond } else { 0 };
        let some = |text: fn(&Session) -> &[u8]| session.map(text).filter(|text| !text.is_empty());
        sink.take(&Event {
            statement,
            statement_bytes,
            is_admin: !is_statement,
            moment,
            user: some(|session| &session.user),
            host: some(|session| &session.host),
            db: some(|session| &session.db),
            thread: Some(head.thread),
            position,
            amounts: &[(Attribute::QUERY_LENGTH, Amount::whole(statement_bytes))],
            flags: &[],
            texts: &[],
            source: &[],
        });
        self.events += 1;
        self.skipped.long_statements += u64::from(is_cut && is_statement);
        if head.command == b"Quit" {
            self.sessions.remove(&head.thread);
        }
    }

    /// Who sent an entry, as this and those before it say.
    fn session(&mut self, head: &Head<'_>, argument: &[u8]) -> Option<&Session> {
        let db = match head.command {
            b"Connect" | b"Change user" if !argument.starts_with(b"Access denied") => {
                let session = Session::of(argument);
                self.remember(head.thread, session);
                None
            }
            b"Init DB" => Some(argument),
            b"Query" => used(argument),
            _ => None,
        };
        if let Some(db) = db {
            if !self.sessions.contains_key(&head.thread) {
                self.remember(head.thread, Session::default());
            }
            if let Some(session) = self.sessions.get_mut(&head.thread) {
                session.db = db.to_vec();
            }
        }
        self.sessions.get(&head.thread)
    }

    fn remember(&mut self, thread: u64, session: Session) {
        if self.sessions.len() < SESSIONS_MAX || self.sessions.contains_key(&thread) {
            self.sessions.insert(thread, session);
        } else {
            self.skipped.values += 1;
        }
    }
}

impl Session {
    /// Reads `user@host on db using Socket`, with or without its last parts.
    fn of(argument: &[u8]) -> Self {
        let mut words = argument.split(|byte| *byte == b' ');
        let account = words.next().unwrap_or_default();
        let at = memchr::memrchr(b'@', account).unwrap_or(account.len());
        let db = words.skip_while(|word| *word != b"on").nth(1).unwrap_or_default();
        Self {
            user: account.get(..at).unwrap_or_default().to_vec(),
            host: account.get(at + 1..).unwrap_or_default().to_vec(),
            db: if db == b"using" { Vec::new() } else { db.to_vec() },
        }
    }
}

/// The database of `use name`.
fn used(statement: &[u8]) -> Option<&[u8]> {
    let (verb, name) = statement.split_at_checked(4)?;
    let name = name.trim_ascii();
    let name = name.strip_suffix(b";").unwrap_or(name);
    let name = name.strip_prefix(b"`").and_then(|name| name.strip_suffix(b"`")).unwrap_or(name);
    (verb.eq_ignore_ascii_case(b"use ") && !name.is_empty() && name.len() <= 64).then_some(name)
}

#[cfg(test)]
mod tests;
