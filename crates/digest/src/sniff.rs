//! What a file is, told by its beginning, for the message that it is not what it was taken for.

/// What a file seems to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A slow log.
    SlowLog,
    /// A general log.
    GeneralLog,
    /// A binary log.
    BinaryLog,
    /// A server's error log.
    ErrorLog,
    /// SQL statements, such as a dump.
    Sql,
    /// Something that is no text.
    Binary,
    /// Some text.
    Text,
}

/// Lines that are looked at.
const LINES_MAX: usize = 200;

/// What a file that begins so seems to be.
#[must_use]
pub fn sniff(first: &[u8]) -> Kind {
    if first.starts_with(b"\xfebin") || first.starts_with(b"\xfdbin") {
        return Kind::BinaryLog;
    }
    let lines = || first.split(|byte| *byte == b'\n').take(LINES_MAX);
    if lines().any(|line| line.starts_with(b"# Query_time: ") || line.starts_with(b"# User@Host: ")) {
        return Kind::SlowLog;
    }
    if lines().any(crate::general::begins_entry) {
        return Kind::GeneralLog;
    }
    let has = |line: &[u8], word: &[u8]| memchr::memmem::find(line, word).is_some();
    let is_error = |line: &[u8]| {
        [&b"[Note]"[..], b"[Warning]", b"[ERROR]", b"[System]"].iter().any(|word| has(line, word))
    };
    if lines().any(is_error) {
        return Kind::ErrorLog;
    }
    let controls = first.iter().filter(|byte| matches!(**byte, 0..=8 | 14..=31)).count();
    if controls * 50 > first.len() {
        return Kind::Binary;
    }
    let verbs = [&b"CREATE "[..], b"INSERT INTO", b"DROP TABLE", b"-- MySQL dump", b"-- MariaDB dump"];
    if lines().any(|line| verbs.iter().any(|verb| line.starts_with(verb))) {
        return Kind::Sql;
    }
    Kind::Text
}

impl Kind {
    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SlowLog => "a slow log",
            Self::GeneralLog => "a general log",
            Self::BinaryLog => "a binary log",
            Self::ErrorLog => "a server's error log",
            Self::Sql => "a script of SQL statements",
            Self::Binary => "no text",
            Self::Text => "some other text",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_their_beginning() {
        for (text, kind) in [
            (&b"\xfebin\x00\x00"[..], Kind::BinaryLog),
            (b"# Time: 240102  3:04:05\n# User@Host: a[a] @ h []\n", Kind::SlowLog),
            (b"240102  3:04:05\t     8 Query\tselect 1\n", Kind::GeneralLog),
            (
                b"2024-01-02T03:04:05.123456Z\t    8 Connect\troot@localhost on  using Socket\n",
                Kind::GeneralLog,
            ),
            (b"2024-01-02 03:04:05 0 [Note] InnoDB: started\n", Kind::ErrorLog),
            (b"-- MySQL dump 10.13\n--\nCREATE TABLE t (a int);\n", Kind::Sql),
            (b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0", Kind::Binary),
            (b"hello\nworld\n", Kind::Text),
            (b"", Kind::Text),
        ] {
            assert_eq!(sniff(text), kind, "{}", String::from_utf8_lossy(text));
        }
    }
}
