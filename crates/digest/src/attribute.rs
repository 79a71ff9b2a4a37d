//! Attributes: the names of what a log says of an event, as small numbers, and what kind of value each has.
//!
//! Names the servers are known to write have a kind of their own; of others each value tells its kind. A log may
//! bring so many names and no more.

use std::collections::HashMap;

/// Names beyond those known that are kept; hostile logs invent them.
const UNKNOWN_NAMES_MAX: usize = 200;
/// A longer word is no name.
const NAME_BYTES_MAX: usize = 64;

/// What values an attribute has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Numbers, which are summed.
    Number,
    /// Yes or No.
    Flag,
    /// Words, which are counted apart.
    Text,
    /// Numbers, flags or words, as each value shows.
    Any,
    /// The database.
    Database,
    /// The connection.
    Thread,
    /// What is told of an event but not added up over many, such as when it began.
    Single,
}

/// An attribute, as a number that stands for its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attribute(u16);

impl Attribute {
    /// Seconds from a statement's arrival to its end.
    pub const QUERY_TIME: Self = Self(0);
    /// Seconds spent waiting for table and row locks, as the server counts them.
    pub const LOCK_TIME: Self = Self(1);
    /// Rows sent to the client.
    pub const ROWS_SENT: Self = Self(2);
    /// Rows read by the server.
    pub const ROWS_EXAMINED: Self = Self(3);
    /// Rows changed.
    pub const ROWS_AFFECTED: Self = Self(4);
    /// Bytes sent to the client.
    pub const BYTES_SENT: Self = Self(5);
    /// Bytes of the statement.
    pub const QUERY_LENGTH: Self = Self(6);

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Known names: the first are those of the constants, in their order.
const KNOWN: &[(&str, Kind)] = &[
    ("Query_time", Kind::Number),
    ("Lock_time", Kind::Number),
    ("Rows_sent", Kind::Number),
    ("Rows_examined", Kind::Number),
    ("Rows_affected", Kind::Number),
    ("Bytes_sent", Kind::Number),
    ("Query_length", Kind::Number),
    ("Schema", Kind::Database),
    ("Thread_id", Kind::Thread),
    ("Id", Kind::Thread),
    ("Start", Kind::Single),
    ("End", Kind::Single),
    ("Statement_id", Kind::Single),
    ("QC_hit", Kind::Flag),
    ("QC_Hit", Kind::Flag),
    ("Full_scan", Kind::Flag),
    ("Full_join", Kind::Flag),
    ("Tmp_table", Kind::Flag),
    ("Tmp_table_on_disk", Kind::Flag),
    ("Filesort", Kind::Flag),
    ("Filesort_on_disk", Kind::Flag),
    ("Priority_queue", Kind::Flag),
    ("Last_errno", Kind::Text),
    ("Killed", Kind::Flag),
    ("InnoDB_trx_id", Kind::Text),
    ("Stored_routine", Kind::Text),
    ("Log_slow_rate_type", Kind::Text),
    ("Log_slow_rate_limit", Kind::Text),
];

/// A name with a colon and a space, kept so that it is compared in few steps: most of a log is names.
#[derive(Clone, Debug)]
struct Label {
    kind: Kind,
    text: Box<[u8]>,
    words: [u64; 3],
    masks: [u64; 3],
}

impl Label {
    fn new(name: &[u8], kind: Kind) -> Self {
        let text = [name, b": "].concat();
        let mut padded = [0; 24];
        let mut mask = [0; 24];
        for ((byte, place), bits) in text.iter().zip(&mut padded).zip(&mut mask) {
            *place = *byte;
            *bits = u8::MAX;
        }
        Self { kind, words: words(&padded), masks: words(&mask), text: text.into() }
    }

    #[inline]
    fn begins(&self, text: &[u8]) -> bool {
        let Some(first) = text.first_chunk().filter(|_| self.text.len() <= 24) else {
            return text.starts_with(&self.text);
        };
        let [a, b, c] = words(first);
        let [x, y, z] = self.words;
        let [l, m, n] = self.masks;
        ((a ^ x) & l) | ((b ^ y) & m) | ((c ^ z) & n) == 0
    }
}

#[inline]
const fn words(bytes: &[u8; 24]) -> [u64; 3] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x] = *bytes;
    [
        u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        u64::from_le_bytes([i, j, k, l, m, n, o, p]),
        u64::from_le_bytes([q, r, s, t, u, v, w, x]),
    ]
}

/// Names and the attributes that stand for them.
#[derive(Clone, Debug)]
pub struct Names {
    /// Each as it stands in a log.
    labels: Vec<Label>,
    by_name: HashMap<Box<[u8]>, Attribute>,
}

impl Default for Names {
    fn default() -> Self {
        let mut names = Self { labels: Vec::new(), by_name: HashMap::new() };
        for (name, kind) in KNOWN {
            names.put(name.as_bytes(), *kind);
        }
        names
    }
}

impl Names {
    fn put(&mut self, name: &[u8], kind: Kind) -> Option<Attribute> {
        let attribute = Attribute(u16::try_from(self.labels.len()).ok()?);
        self.labels.push(Label::new(name, kind));
        self.by_name.insert(name.into(), attribute);
        Some(attribute)
    }

    /// The attribute of a name, new or known; `None` when the log has brought too many, or the name is too long.
    pub fn attribute(&mut self, name: &[u8]) -> Option<Attribute> {
        if let Some(attribute) = self.by_name.get(name) {
            return Some(*attribute);
        }
        if name.len() > NAME_BYTES_MAX || self.labels.len() >= KNOWN.len() + UNKNOWN_NAMES_MAX {
            return None;
        }
        self.put(name, Kind::Any)
    }

    /// The attribute of a name, if it was seen.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<Attribute> {
        self.by_name.get(name).copied()
    }

    /// The attribute's name.
    #[must_use]
    pub fn name(&self, attribute: Attribute) -> &str {
        let text = self.labels.get(attribute.index()).map_or(&[][..], |label| &label.text);
        let name = text.strip_suffix(b": ").unwrap_or(text);
        // Names are read as ASCII words.
        std::str::from_utf8(name).unwrap_or_default()
    }

    /// What values an attribute has and the length of its name with colon and space, if a text begins with these.
    #[inline]
    pub(crate) fn begins(&self, attribute: Attribute, text: &[u8]) -> Option<(Kind, usize)> {
        self.labels
            .get(attribute.index())
            .filter(|label| label.begins(text))
            .map(|label| (label.kind, label.text.len()))
    }

    /// What values it has.
    #[must_use]
    pub fn kind(&self, attribute: Attribute) -> Kind {
        self.labels.get(attribute.index()).map_or(Kind::Any, |label| label.kind)
    }
}
