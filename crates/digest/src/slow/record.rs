//! One record of a slow log: its header lines, its prelude (`use`, `SET timestamp`) and its statement.
//!
//! The header's words are looked up by what followed the word before them last time, which is nearly always right.

use std::ops::Range;

use memchr::{memchr, memmem};

use super::{Inherited, RECORD_BYTES_MAX, Skipped, begins_record};
use crate::amount::Amount;
use crate::attribute::{Attribute, Kind, Names};
use crate::banner::{is_banner, without_banner};
use crate::event::{Event, Moment, Position, Sink};

/// Where a record ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Behind so many bytes.
    At(usize),
    /// More bytes have to tell.
    Unknown,
}

/// Attributes of one record; more are not kept.
const ATTRIBUTES_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct Reader {
    pub(super) inherited: Inherited,
    pub(super) skipped: Skipped,
    pub(super) events: u64,
    amounts: Vec<(Attribute, Amount)>,
    flags: Vec<(Attribute, bool)>,
    texts: Vec<(Attribute, Range<u32>)>,
    /// By attribute: which one came next.
    followers: Vec<Option<Attribute>>,
    values_skipped: u64,
    account: Account,
}

/// What the header and the prelude said.
#[derive(Default)]
struct Header {
    has_time: bool,
    moment: Option<Moment>,
    user: Range<usize>,
    host: Range<usize>,
    db: Range<usize>,
    thread: Option<u64>,
    /// The offset behind it.
    length: usize,
}

impl Reader {
    pub(super) fn new(inherited: Inherited) -> Self {
        Self {
            inherited,
            skipped: Skipped::default(),
            events: 0,
            amounts: Vec::new(),
            flags: Vec::new(),
            texts: Vec::new(),
            followers: Vec::new(),
            values_skipped: 0,
            account: Account::default(),
        }
    }

    /// Reads the record that `bytes` begin with.
    pub(super) fn record(
        &mut self,
        bytes: &[u8],
        is_end: bool,
        position: Position,
        sink: &mut impl Sink,
    ) -> End {
        let Some(header) = self.header(bytes, is_end, sink.names()) else { return End::Unknown };
        let Some(end) = body_end(bytes, header.length, is_end) else { return End::Unknown };
        let record = bytes.get(..end).unwrap_or_default();
        let kept = bytes.get(..end.min(RECORD_BYTES_MAX)).unwrap_or_default();
        let terminator_bytes = match record {
            [.., b';', b'\n'] => 2,
            [.., b'\n' | b';'] => 1,
            _ => 0,
        };
        self.emit(kept, &header, end as u64, terminator_bytes, position, sink);
        End::At(end)
    }

    /// Reads a record of which only the beginning was kept.
    pub(super) fn long_record(
        &mut self,
        kept: &[u8],
        bytes: u64,
        terminator_bytes: u64,
        position: Position,
        sink: &mut impl Sink,
    ) {
        if let Some(header) = self.header(kept, true, sink.names()) {
            self.emit(kept, &header, bytes, terminator_bytes, position, sink);
        }
    }

    /// Reads header and prelude. `None` when they are not complete.
    fn header(&mut self, bytes: &[u8], is_end: bool, names: &mut Names) -> Option<Header> {
        self.amounts.clear();
        self.flags.clear();
        self.texts.clear();
        self.values_skipped = 0;
        let mut header = Header::default();
        let mut before = Attribute::QUERY_LENGTH;
        let mut at = 0;
        loop {
            let line = bytes.get(at..)?;
            let is_behind = bytes.get(..at).is_some_and(|read| read.ends_with(b";\n"));
            if at > 0 && (header.has_time || is_behind) && begins_record(line, is_behind, is_end)? {
                break;
            }
            let Some(text) = line.strip_prefix(b"# ") else {
                if line.starts_with(b"#\n") {
                    at += 2;
                    continue;
                }
                break;
            };
            let text_at = at + 2;
            let length = match text.first() {
                Some(b'T') if text.starts_with(b"Time: ") => {
                    let (line, length) = line_of(text, is_end)?;
                    header.moment = line.get(6..).and_then(Moment::parse).or(header.moment);
                    length
                }
                Some(b'U') if text.starts_with(b"User@Host: ") => {
                    let (line, length) = line_of(text, is_end)?;
                    self.account(line, text_at, &mut header);
                    length
                }
                Some(b'a') if text.starts_with(b"administrator command: ") => break,
                Some(b'e') if text.starts_with(b"explain: ") => line_of(text, is_end)?.1,
                _ => self.pairs(text, text_at, is_end, &mut before, &mut header, names)?,
            };
            at = text_at + length;
        }
        header.length = at;
        // Without a header it is no record, and has no prelude.
        if at > 0 {
            prelude(bytes, is_end, &mut header)?;
        }
        Some(header)
    }

    /// Reads who sent a statement, mostly who sent the one before.
    fn account(&mut self, line: &[u8], line_at: usize, header: &mut Header) {
        if *line != *self.account.line {
            self.account.read(line);
        }
        let moved = |range: &Range<usize>| line_at + range.start..line_at + range.end;
        header.user = moved(&self.account.user);
        header.host = moved(&self.account.host);
        header.thread = self.account.thread.or(header.thread);
    }

    /// Reads `Name: value` as often as it stands on a line. Gives the line's length; `None` when it is not complete.
    fn pairs(
        &mut self,
        line: &[u8],
        line_at: usize,
        is_end: bool,
        before: &mut Attribute,
        header: &mut Header,
        names: &mut Names,
    ) -> Option<usize> {
        let mut at = 0;
        loop {
            let rest = line.get(at..)?;
            match rest.first() {
                Some(b' ') => {
                    at += 1;
                    continue;
                }
                Some(b'\n') => return Some(at + 1),
                Some(_) => {}
                None => return is_end.then_some(at),
            }
            let guess = self.followers.get(before.index()).copied().flatten();
            if let Some(guess) = guess
                && let Some((kind, label_bytes)) = names.begins(guess, rest)
            {
                at += label_bytes;
                let value = line.get(at..)?;
                at += self.value(value, line_at + at, is_end, Some((guess, kind)), header)?;
                *before = guess;
                continue;
            }
            let word = word_bytes(rest);
            if word == rest.len() && !is_end {
                return None;
            }
            at += word;
            let Some(name) = rest.get(..word).and_then(|word| word.strip_suffix(b":")) else {
                // Words that are no name, such as a value with spaces in it.
                self.values_skipped += 1;
                continue;
            };
            let attribute = self.learn(*before, name, names);
            let value = line.get(at..)?;
            let known = attribute.map(|attribute| (attribute, names.kind(attribute)));
            at += self.value(value, line_at + at, is_end, known, header)?;
            *before = attribute.unwrap_or(*before);
        }
    }

    /// The attribute of a name, remembered as what follows another.
    fn learn(&mut self, before: Attribute, name: &[u8], names: &mut Names) -> Option<Attribute> {
        let is_name =
            !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        let attribute = if is_name { names.attribute(name) } else { None };
        if self.followers.len() <= before.index() {
            self.followers.resize(before.index() + 1, None);
        }
        if let (Some(follower), Some(_)) = (self.followers.get_mut(before.index()), attribute) {
            *follower = attribute;
        }
        attribute
    }

    /// Reads the value behind a name. Gives its length; `None` when it is not complete.
    #[inline]
    fn value(
        &mut self,
        text: &[u8],
        text_at: usize,
        is_end: bool,
        attribute: Option<(Attribute, Kind)>,
        header: &mut Header,
    ) -> Option<usize> {
        if let Some((attribute, Kind::Number | Kind::Any)) = attribute
            && let Some((amount, rest)) = Amount::read(text)
        {
            let is_whole = match rest.first() {
                Some(byte) => matches!(byte, b' ' | b'\n'),
                None if is_end => true,
                None => return None,
            };
            if is_whole {
                self.amount(attribute, amount, header);
                return Some(text.len() - rest.len());
            }
        }
        self.other_value(text, text_at, is_end, attribute, header)
    }

    /// Reads a value that is no plain number.
    fn other_value(
        &mut self,
        text: &[u8],
        text_at: usize,
        is_end: bool,
        attribute: Option<(Attribute, Kind)>,
        header: &mut Header,
    ) -> Option<usize> {
        let spaces = text.iter().take_while(|byte| **byte == b' ').count();
        let text = text.get(spaces..)?;
        if spaces > 0 && text.first().is_some_and(u8::is_ascii_digit) {
            return self.value(text, text_at + spaces, is_end, attribute, header).map(|bytes| spaces + bytes);
        }
        let length = word_bytes(text);
        if length == text.len() && !is_end {
            return None;
        }
        let word = text.get(..length)?;
        if word.ends_with(b":") && word.len() > 1 {
            // The next name: this one has no value.
            return Some(spaces);
        }
        let at = text_at + spaces;
        let is_taken = match attribute {
            None => false,
            Some((_, Kind::Database)) => {
                header.db = at..at + length;
                true
            }
            Some((_, Kind::Thread)) => {
                header.thread = whole(word);
                header.thread.is_some()
            }
            Some((_, Kind::Single)) => true,
            Some((attribute, kind @ (Kind::Number | Kind::Flag | Kind::Text | Kind::Any))) => {
                length == 0 || self.word(attribute, kind, word, at)
            }
        };
        self.values_skipped += u64::from(!is_taken);
        Some(spaces + length)
    }

    fn amount(&mut self, attribute: Attribute, amount: Amount, header: &mut Header) {
        if attribute == Attribute::QUERY_TIME {
            header.has_time = true;
        }
        if self.amounts.len() < ATTRIBUTES_MAX {
            self.amounts.push((attribute, amount));
        }
    }

    fn word(&mut self, attribute: Attribute, kind: Kind, word: &[u8], at: usize) -> bool {
        let is_room = self.flags.len() + self.texts.len() < ATTRIBUTES_MAX;
        match (kind, word) {
            (Kind::Flag | Kind::Any, b"Yes" | b"No") if is_room => {
                self.flags.push((attribute, word == b"Yes"));
                true
            }
            // Why a statement was killed, as an error's number.
            (Kind::Flag, [b'0'..=b'9', ..]) if is_room => {
                self.flags.push((attribute, word != b"0"));
                true
            }
            (Kind::Text | Kind::Any, _) if is_room => {
                let (Ok(start), Ok(end)) = (u32::try_from(at), u32::try_from(at + word.len())) else {
                    return false;
                };
                self.texts.push((attribute, start..end));
                true
            }
            _ => false,
        }
    }

    /// Makes an event of a record, or counts it as skipped.
    fn emit(
        &mut self,
        kept: &[u8],
        header: &Header,
        bytes: u64,
        terminator_bytes: u64,
        position: Position,
        sink: &mut impl Sink,
    ) {
        self.inherit(kept, header);
        let is_cut = bytes > kept.len() as u64;
        let body = kept.get(header.length..).unwrap_or_default();
        let (body, junk_bytes) = if is_cut { (body, 0) } else { without_banner(body) };
        let admin = body.strip_prefix(b"# ").filter(|text| text.starts_with(b"administrator command: "));
        let terminator = if is_cut { 0 } else { terminator(body) };
        let statement = admin.unwrap_or(body);
        let statement = statement.get(..statement.len().saturating_sub(terminator)).unwrap_or_default();
        if !header.has_time || statement.trim_ascii().is_empty() {
            let is_banner = header.length == 0 && is_banner(kept);
            self.skipped.records += u64::from(!is_banner);
            self.skipped.bytes += if is_banner { 0 } else { bytes };
            return;
        }
        self.events += 1;
        self.skipped.records += u64::from(holds_another(statement));
        self.skipped.values += self.values_skipped;
        self.skipped.long_statements += u64::from(is_cut);
        let prefix_bytes =
            (kept.len() - body.len() - junk_bytes) as u64 + if admin.is_some() { 2 } else { 0 };
        let statement_bytes = if is_cut {
            bytes.saturating_sub(prefix_bytes + terminator_bytes)
        } else {
            statement.len() as u64
        };
        if admin.is_some() {
            self.zero_rows(sink.names());
        }
        self.amounts.push((Attribute::QUERY_LENGTH, Amount::whole(statement_bytes)));
        let some = |range: &Range<usize>| kept.get(range.clone()).filter(|text| !text.is_empty());
        sink.take(&Event {
            statement,
            statement_bytes,
            is_admin: admin.is_some(),
            moment: self.inherited.moment,
            user: some(&header.user),
            host: some(&header.host),
            db: Some(self.inherited.db.as_slice()).filter(|db| !db.is_empty()),
            thread: header.thread,
            position,
            amounts: &self.amounts,
            flags: &self.flags,
            texts: &self.texts,
            source: kept,
        });
    }

    fn inherit(&mut self, kept: &[u8], header: &Header) {
        if header.moment.is_some() {
            self.inherited.moment = header.moment;
        }
        let db = kept.get(header.db.clone()).unwrap_or_default();
        if !db.is_empty() && db != self.inherited.db {
            self.inherited.db.clear();
            self.inherited.db.extend_from_slice(db);
        }
    }

    /// A command of the protocol has the row counts of the statement before it.
    fn zero_rows(&mut self, names: &Names) {
        for (attribute, amount) in &mut self.amounts {
            if names.name(*attribute).starts_with("Rows_") {
                *amount = Amount::ZERO;
            }
        }
    }
}

/// Whether another record was written into a statement, by a server that does not wait for its turn.
#[inline]
fn holds_another(statement: &[u8]) -> bool {
    memchr(b'#', statement).is_some_and(|at| {
        let rest = statement.get(at..).unwrap_or_default();
        memmem::find(rest, b"# User@Host: ").is_some() && memmem::find(rest, b"\n# Query_time: ").is_some()
    })
}

/// A line without its newline, and its length with it.
fn line_of(text: &[u8], is_end: bool) -> Option<(&[u8], usize)> {
    match memchr(b'\n', text) {
        Some(newline) => Some((text.get(..newline)?, newline + 1)),
        None => is_end.then_some((text, text.len())),
    }
}

/// The length of the word a text begins with.
fn word_bytes(text: &[u8]) -> usize {
    text.iter().take_while(|byte| !matches!(**byte, b' ' | b'\n')).count()
}

fn whole(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Who sent a statement: ranges within the line that says so.
#[derive(Clone, Debug, Default)]
struct Account {
    line: Vec<u8>,
    user: Range<usize>,
    host: Range<usize>,
    thread: Option<u64>,
}

impl Account {
    /// Reads `User@Host: user[user] @ host [address]  Id: 5`.
    fn read(&mut self, line: &[u8]) {
        self.line.clear();
        self.line.extend_from_slice(line);
        (self.user, self.host, self.thread) = (0..0, 0..0, None);
        let from = b"User@Host: ".len();
        let Some(at) = memmem::find(line, b" @ ") else { return };
        let account = line.get(from..at).unwrap_or_default();
        self.user = match account.first() {
            // Without a user, only the one whose rights are used is there.
            Some(b'[') => from + 1..from + account.strip_suffix(b"]").unwrap_or(account).len(),
            _ => from..from + memchr(b'[', account).unwrap_or(account.len()),
        };
        let host_at = at + b" @ ".len();
        let rest = line.get(host_at..).unwrap_or_default();
        let host = rest.iter().take_while(|byte| **byte != b' ').count();
        let Some(open) = memchr(b'[', rest) else { return };
        let address = rest.get(open + 1..).and_then(|rest| memchr(b']', rest)).unwrap_or_default();
        let (start, length) =
            if host > 0 && open > host { (host_at, host) } else { (host_at + open + 1, address) };
        self.host = start..start + length;
        let id = memmem::find(rest, b"Id: ").and_then(|id| rest.get(id + 4..));
        self.thread = id.and_then(|id| whole(id.trim_ascii()));
    }
}

/// Reads `use db;` and `SET timestamp=1;`. `None` when they are not complete.
fn prelude(bytes: &[u8], is_end: bool, header: &mut Header) -> Option<()> {
    let rest = bytes.get(header.length..)?;
    if !is_end && rest.len() < b"SET timestamp=".len() {
        return None;
    }
    if let Some(name) = rest.strip_prefix(b"use ") {
        let (name, length) = line_of(name, is_end)?;
        let name_at = header.length + 4;
        // A statement that is `use db` has the prelude before it, so this is that.
        if let Some(name) = name.strip_suffix(b";") {
            let quote = usize::from(name.len() > 1 && name.starts_with(b"`") && name.ends_with(b"`"));
            header.db = name_at + quote..name_at + name.len() - quote;
            header.length = name_at + length;
        }
    }
    let rest = bytes.get(header.length..)?;
    let settings = [&b"SET timestamp="[..], b"SET last_insert_id=", b"SET insert_id="];
    if settings.iter().any(|setting| rest.starts_with(setting)) {
        let (line, length) = line_of(rest, is_end)?;
        if line.ends_with(b";") {
            header.length += length;
        }
    } else if !is_end && settings.iter().any(|setting| setting.starts_with(rest)) {
        return None;
    }
    Some(())
}

/// The offset at which the statement that begins at `from` ends: where the next record begins.
fn body_end(bytes: &[u8], from: usize, is_end: bool) -> Option<usize> {
    let mut at = from;
    // Without a statement, the next record begins at once.
    let is_behind = bytes.get(..from).is_some_and(|read| read.ends_with(b";\n"));
    if from > 0 && begins_record(bytes.get(from..)?, is_behind, is_end)? {
        return Some(from);
    }
    loop {
        let Some(newline) = memchr(b'\n', bytes.get(at..)?) else { return is_end.then_some(bytes.len()) };
        at += newline + 1;
        let rest = bytes.get(at..)?;
        if rest.first().is_some_and(|byte| *byte != b'#') {
            continue;
        }
        let is_behind = at.checked_sub(2).and_then(|at| bytes.get(at)) == Some(&b';');
        if begins_record(rest, is_behind, is_end)? {
            return Some(at);
        }
    }
}

/// How many bytes end a statement.
fn terminator(body: &[u8]) -> usize {
    match body {
        [.., b';', b'\n'] => 2,
        [.., b'\n' | b';'] => 1,
        _ => 0,
    }
}
