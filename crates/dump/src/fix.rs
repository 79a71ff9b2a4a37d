//! What of one vendor's definitions another server does not take, under names, and what is written instead.
//!
//! It changes text outside quotes, word by word, and only what the target is known not to have; each change has a
//! name that has to be allowed.

use std::collections::BTreeSet;
use std::fmt;

use flavor::Vendor;

use crate::reader_words::{Word, Words, is_word};

/// A change that can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fix {
    /// A collation that the target does not have becomes its nearest one.
    Collation,
    /// A storage engine that the target does not have becomes InnoDB.
    Engine,
    /// A type that the target does not have becomes text that holds the same values, or bytes.
    ColumnType,
    /// An option of an index or a column in the other vendor's words, or none.
    Option,
    /// A generated column that refers to the AUTO_INCREMENT column becomes an ordinary one where the target refuses that.
    GeneratedColumn,
    /// A key on an expression is left out where the target has none.
    ExpressionKey,
    /// System versioning is left out where the target has none.
    Versioning,
    /// A mode that the target does not know is left out of `sql_mode`.
    SqlMode,
    /// A definer that is not there becomes the account that restores.
    Definer,
    /// Sequences, defaults from them, and packages are left out where the target has none.
    Object,
}

impl Fix {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Collation,
        Self::Engine,
        Self::ColumnType,
        Self::Option,
        Self::GeneratedColumn,
        Self::ExpressionKey,
        Self::Versioning,
        Self::SqlMode,
        Self::Definer,
        Self::Object,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Collation => "collation",
            Self::Engine => "engine",
            Self::ColumnType => "column-type",
            Self::Option => "option",
            Self::GeneratedColumn => "generated-column",
            Self::ExpressionKey => "expression-key",
            Self::Versioning => "versioning",
            Self::SqlMode => "sql-mode",
            Self::Definer => "definer",
            Self::Object => "object",
        }
    }

    /// The fix of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fix| fix.name() == name)
    }
}

impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the target has.
#[derive(Clone, Debug)]
pub struct TargetSide {
    /// Its vendor.
    pub vendor: Vendor,
    /// Its collations' names, in lower case.
    pub collations: BTreeSet<String>,
    /// Its storage engines' names, in lower case.
    pub engines: BTreeSet<String>,
    /// Whether it has the type `VECTOR`.
    pub has_vectors: bool,
}

/// A change that was made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Change {
    /// Its name.
    pub fix: Fix,
    /// What was there.
    pub from: String,
    /// What is there now; empty for nothing.
    pub to: String,
}

/// A table's or database's definition as the target takes it, and what was changed for that.
#[must_use]
pub fn definition(text: &str, target: &TargetSide) -> (String, BTreeSet<Change>) {
    changed(text, |rest| change(rest, target))
}

/// The same of a body, where any word can be the name of something: only collations are changed.
#[must_use]
pub fn body(text: &str, target: &TargetSide) -> (String, BTreeSet<Change>) {
    changed(text, |rest| collation(rest, target))
}

/// The text with another name of a database, where it stands before a dot, with backticks or without quotes.
/// `to` is quoted.
#[must_use]
pub fn rename_database(text: &str, from: &str, to: &str) -> String {
    let quoted = format!("`{}`", from.replace('`', "``"));
    let tokens = tokens(text);
    let mut out = String::with_capacity(text.len());
    let mut before = "";
    for (at, token) in tokens.iter().enumerate() {
        let is_dotted = tokens.get(at + 1).is_some_and(|next| next.text == ".");
        let is_it = token.text == quoted || (token.is_word && token.text == from);
        // `a.from.b` is a column, `'user'@from.example` a host.
        out.push_str(if is_it && is_dotted && !matches!(before, "." | "@") { to } else { token.text });
        before = token.text;
    }
    out
}

fn changed(
    text: &str,
    change: impl Fn(&[Token<'_>]) -> Option<(usize, Change)>,
) -> (String, BTreeSet<Change>) {
    let mut changes = BTreeSet::new();
    let mut out = String::with_capacity(text.len());
    let tokens = tokens(text);
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let rest = tokens.get(at..).unwrap_or_default();
        at += match change(rest) {
            Some((used, change)) => {
                out.push_str(&change.to);
                changes.insert(change);
                used
            }
            None => {
                out.push_str(token.text);
                1
            }
        };
    }
    (out, changes)
}

/// A list of modes without those that the target does not know.
#[must_use]
pub fn sql_mode(modes: &str, target: Vendor) -> (String, Option<Change>) {
    let unknown: &[&str] = match target {
        Vendor::MySql => &[
            "NO_AUTO_CREATE_USER",
            "DB2",
            "MAXDB",
            "MSSQL",
            "ORACLE",
            "POSTGRESQL",
            "MYSQL323",
            "MYSQL40",
            "NO_FIELD_OPTIONS",
            "NO_KEY_OPTIONS",
            "NO_TABLE_OPTIONS",
            "EMPTY_STRING_IS_NULL",
            "SIMULTANEOUS_ASSIGNMENT",
            "TIME_ROUND_FRACTIONAL",
            "IGNORE_BAD_TABLE_OPTIONS",
        ],
        Vendor::MariaDb => &["TIME_TRUNCATE_FRACTIONAL"],
    };
    let is_known = |mode: &&str| !unknown.iter().any(|it| it.eq_ignore_ascii_case(mode.trim()));
    let kept = modes.split(',').filter(is_known).collect::<Vec<_>>().join(",");
    let change =
        (kept != modes).then(|| Change { fix: Fix::SqlMode, from: modes.to_owned(), to: kept.clone() });
    (kept, change)
}

/// Who an object runs as, and the bytes of the clause that says so.
#[must_use]
pub fn definer(text: &[u8]) -> Option<(String, String, std::ops::Range<usize>)> {
    let mut words = Words::new(text);
    // It comes before the name of the object, within few words.
    for _ in 0..16 {
        let word = words.next()?;
        if !word.is("DEFINER") {
            continue;
        }
        let from = words.offset() - "DEFINER".len();
        if words.next()? != Word::Symbol(b'=') {
            return None;
        }
        let user = words.next()?.name()?;
        let mut ahead = words.clone();
        if ahead.next() != Some(Word::Symbol(b'@')) {
            return None;
        }
        let host = ahead.next()?.name()?;
        return Some((user, host, from..ahead.offset()));
    }
    None
}

struct Token<'t> {
    text: &'t str,
    is_word: bool,
}

/// Words, and all else in pieces: quoted text and comments are never looked into.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let bytes = text.as_bytes();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while let Some(first) = bytes.get(at) {
        let rest = bytes.get(at..).unwrap_or_default();
        let is_a_word = is_word(*first);
        let length = match rest {
            [quote @ (b'\'' | b'"' | b'`'), ..] => quoted_length(rest, *quote),
            [b'/', b'*', b'!' | b'M', ..] => 3,
            [b'/', b'*', ..] => memchr::memmem::find(rest, b"*/").map_or(rest.len(), |end| end + 2),
            _ if is_a_word => rest.iter().take_while(|byte| is_word(**byte)).count(),
            _ => 1,
        };
        let end = (at + length).min(bytes.len());
        tokens.push(Token { text: text.get(at..end).unwrap_or_default(), is_word: is_a_word });
        at = end;
    }
    tokens
}

fn quoted_length(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while let Some(byte) = rest.get(at) {
        let is_escape = *byte == b'\\' && quote != b'`';
        if is_escape || (*byte == quote && rest.get(at + 1) == Some(&quote)) {
            at += 2;
        } else if *byte == quote {
            return at + 1;
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// The next words, and how many tokens the first `n` of them take.
fn words<'a>(rest: &'a [Token<'a>]) -> impl Iterator<Item = (usize, &'a str)> {
    rest.iter().enumerate().filter(|(_, token)| token.is_word).map(|(at, token)| (at + 1, token.text))
}

/// So many tokens, and what stands in their place.
fn made(rest: &[Token<'_>], used: usize, fix: Fix, to: &str) -> Option<(usize, Change)> {
    let from: String = rest.iter().take(used).map(|token| token.text).collect();
    Some((used, Change { fix, from, to: to.to_owned() }))
}

fn collation(rest: &[Token<'_>], target: &TargetSide) -> Option<(usize, Change)> {
    let lower = rest.first().filter(|token| token.is_word)?.text.to_ascii_lowercase();
    if is_collation(&lower) && !target.collations.contains(&lower) && !has_full(&lower, target) {
        return made(rest, 1, Fix::Collation, &nearest(&lower, target));
    }
    None
}

/// The change at these tokens, and how many of them it replaces.
fn change(rest: &[Token<'_>], target: &TargetSide) -> Option<(usize, Change)> {
    let first = rest.first().filter(|token| token.is_word)?.text;
    let made = |used, fix, to: &str| made(rest, used, fix, to);
    let lower = first.to_ascii_lowercase();
    if let Some(change) = collation(rest, target) {
        return Some(change);
    }
    let next = words(rest).nth(1);
    if lower == "engine"
        && let Some((used, engine)) = next
        && engine != "InnoDB"
        && !target.engines.contains(&engine.to_ascii_lowercase())
    {
        return made(used, Fix::Engine, "ENGINE=InnoDB");
    }
    if lower == "vector"
        && !target.has_vectors
        && let [_, open, dimensions, close, ..] = rest
        && open.text == "("
        && dimensions.text.bytes().all(|byte| byte.is_ascii_digit())
        && close.text == ")"
    {
        // Of the same bytes: 16383 dimensions at most, of four bytes each.
        return made(4, Fix::ColumnType, "blob");
    }
    if target.vendor == Vendor::MySql {
        let to = match lower.as_str() {
            "uuid" if !follows_call(rest) => Some("char(36)"),
            "inet6" => Some("varchar(45)"),
            "inet4" => Some("varchar(15)"),
            _ => None,
        };
        if let Some(to) = to {
            return made(1, Fix::ColumnType, to);
        }
        if first == "IGNORED" {
            return made(1, Fix::Option, "INVISIBLE");
        }
        if lower == "default"
            && let Some((used, call)) = called(rest)
        {
            if call.to_ascii_lowercase().starts_with("nextval(") {
                // Of a sequence, which is left out as well.
                return made(used, Fix::Object, "");
            }
            return made(used, Fix::Option, &format!("DEFAULT ({call})"));
        }
        if matches!(lower.as_str(), "page_checksum" | "transactional" | "page_compressed")
            && let Some((used, _)) = next
        {
            return made(used, Fix::Option, "");
        }
        if lower == "with"
            && let Some((used, _)) = is_next(rest, &["WITH", "SYSTEM", "VERSIONING"])
        {
            return made(used, Fix::Versioning, "");
        }
    } else if lower == "geomcollection" {
        return made(1, Fix::ColumnType, "geometrycollection");
    }
    None
}

fn is_next(rest: &[Token<'_>], wanted: &[&str]) -> Option<(usize, ())> {
    let found: Vec<(usize, &str)> = words(rest).take(wanted.len()).collect();
    let same = found.len() == wanted.len()
        && found.iter().zip(wanted).all(|((_, word), wanted)| word.eq_ignore_ascii_case(wanted));
    found.last().filter(|_| same).map(|(used, _)| (*used, ()))
}

/// The call that follows the first word, and how many tokens both are; none for those that MySQL takes as a default
/// without parentheses around them.
fn called(rest: &[Token<'_>]) -> Option<(usize, String)> {
    const TAKEN: [&str; 4] = ["current_timestamp", "now", "localtime", "localtimestamp"];
    let at = 1 + rest.iter().skip(1).position(|token| !token.text.trim().is_empty())?;
    let name = rest.get(at).filter(|token| token.is_word)?.text;
    if TAKEN.iter().any(|it| it.eq_ignore_ascii_case(name)) || rest.get(at + 1)?.text != "(" {
        return None;
    }
    let mut depth = 0_u32;
    for (end, token) in rest.iter().enumerate().skip(at + 1) {
        match token.text {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            let call = rest.get(at..=end)?.iter().map(|token| token.text).collect();
            return Some((end + 1, call));
        }
    }
    None
}

fn follows_call(rest: &[Token<'_>]) -> bool {
    rest.get(1).is_some_and(|token| token.text == "(")
}

const CHARSETS: [&str; 6] = ["utf8mb4_", "utf8mb3_", "utf8_", "ucs2_", "utf16_", "utf32_"];

fn is_collation(word: &str) -> bool {
    word.starts_with("uca1400_")
        || (CHARSETS.iter().any(|charset| word.starts_with(charset))
            && ["_ci", "_cs", "_bin"].iter().any(|end| word.ends_with(end)))
}

/// MariaDB lists `uca1400_ai_ci` without a character set, as it is one for all of them.
fn has_full(word: &str, target: &TargetSide) -> bool {
    let Some((charset, short)) = word.split_once('_') else { return false };
    // Of one character set with two names, servers list one and take both.
    let alias = match charset {
        "utf8" => format!("utf8mb3_{short}"),
        "utf8mb3" => format!("utf8_{short}"),
        _ => String::new(),
    };
    (short.starts_with("uca1400_") && target.collations.contains(short)) || target.collations.contains(&alias)
}

/// The collation of the target that compares most alike.
fn nearest(word: &str, target: &TargetSide) -> String {
    let charset = CHARSETS.iter().find(|charset| word.starts_with(**charset)).map_or("utf8mb4_", |it| *it);
    let sense = ["_as_cs", "_as_ci", "_bin"].into_iter().find(|end| word.ends_with(end)).unwrap_or("_ai_ci");
    let without_pad = word.replace("_nopad", "");
    let wanted = match target.vendor {
        Vendor::MySql if charset == "utf8mb4_" => vec![without_pad, format!("utf8mb4_0900{sense}")],
        Vendor::MariaDb if sense != "_bin" => {
            vec![without_pad, format!("{charset}uca1400{sense}"), format!("uca1400{sense}")]
        }
        Vendor::MySql | Vendor::MariaDb => vec![without_pad],
    };
    let has = |name: &String| target.collations.contains(name) || has_full(name, target);
    wanted.into_iter().find(has).unwrap_or_else(|| match sense {
        "_as_cs" | "_bin" => format!("{charset}bin"),
        _ => format!("{charset}unicode_520_ci"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(vendor: Vendor, collations: &[&str]) -> TargetSide {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        TargetSide {
            vendor,
            collations: set(collations),
            engines: set(&["innodb", "myisam"]),
            has_vectors: vendor == Vendor::MySql,
        }
    }

    fn mysql() -> TargetSide {
        side(
            Vendor::MySql,
            &[
                "utf8mb4_0900_ai_ci",
                "utf8mb4_0900_as_cs",
                "utf8mb4_general_ci",
                "utf8mb4_bin",
                "utf8mb4_unicode_ci",
            ],
        )
    }

    #[test]
    fn what_the_target_lacks_is_changed_and_named() {
        let old = side(Vendor::MariaDb, &["utf8mb4_general_ci", "utf8mb4_bin"]);
        let new = side(Vendor::MariaDb, &["utf8mb4_general_ci", "uca1400_ai_ci", "uca1400_as_cs"]);
        for (text, target, expected, fixes) in [
            ("`a` COLLATE utf8mb4_uca1400_ai_ci", &mysql(), "`a` COLLATE utf8mb4_0900_ai_ci", "collation"),
            ("COLLATE=uca1400_as_cs", &mysql(), "COLLATE=utf8mb4_0900_as_cs", "collation"),
            ("utf8mb4_unicode_nopad_ci", &mysql(), "utf8mb4_unicode_ci", "collation"),
            ("COLLATE utf8mb4_0900_ai_ci", &old, "COLLATE utf8mb4_unicode_520_ci", "collation"),
            ("COLLATE utf8mb4_0900_as_cs", &old, "COLLATE utf8mb4_bin", "collation"),
            ("COLLATE utf8mb4_0900_ai_ci", &new, "COLLATE utf8mb4_uca1400_ai_ci", "collation"),
            ("COLLATE utf8mb4_uca1400_ai_ci", &new, "COLLATE utf8mb4_uca1400_ai_ci", ""),
            (
                "COLLATE utf8_general_ci",
                &side(Vendor::MySql, &["utf8mb3_general_ci"]),
                "COLLATE utf8_general_ci",
                "",
            ),
            ("'utf8mb4_uca1400_ai_ci' `uuid`", &mysql(), "'utf8mb4_uca1400_ai_ci' `uuid`", ""),
            ("`u` uuid DEFAULT uuid()", &mysql(), "`u` char(36) DEFAULT (uuid())", "column-type,option"),
            ("DEFAULT concat('a)',(1 + 2)),", &mysql(), "DEFAULT (concat('a)',(1 + 2))),", "option"),
            (
                "DEFAULT current_timestamp(), DEFAULT (f())",
                &mysql(),
                "DEFAULT current_timestamp(), DEFAULT (f())",
                "",
            ),
            (
                "`id` int NOT NULL DEFAULT nextval(`d`.`s`), `b`",
                &mysql(),
                "`id` int NOT NULL , `b`",
                "object",
            ),
            ("`v` vector(3) DEFAULT NULL", &old, "`v` blob DEFAULT NULL", "column-type"),
            (
                "`v` vector(3), KEY `vector` (`vector`)",
                &mysql(),
                "`v` vector(3), KEY `vector` (`vector`)",
                "",
            ),
            ("DEFAULT f() DEFAULT CHARSET=x", &old, "DEFAULT f() DEFAULT CHARSET=x", ""),
            (") ENGINE=Aria PAGE_CHECKSUM=1", &mysql(), ") ENGINE=InnoDB ", "engine,option"),
            ("KEY `a` (`a`) IGNORED", &mysql(), "KEY `a` (`a`) INVISIBLE", "option"),
            (") WITH SYSTEM VERSIONING", &mysql(), ") ", "versioning"),
            (") ENGINE=MyISAM", &mysql(), ") ENGINE=MyISAM", ""),
        ] {
            let (fixed, changes) = definition(text, target);
            let names: Vec<&str> = changes.iter().map(|change| change.fix.name()).collect();
            assert_eq!((fixed.as_str(), names.join(",").as_str()), (expected, fixes), "{text}");
        }
    }

    #[test]
    fn unknown_modes_are_left_out() {
        let (modes, change) = sql_mode("STRICT_TRANS_TABLES,NO_AUTO_CREATE_USER", Vendor::MySql);
        assert_eq!((modes.as_str(), change.is_some()), ("STRICT_TRANS_TABLES", true));
        assert_eq!(sql_mode("NO_AUTO_CREATE_USER", Vendor::MariaDb).1, None);
    }

    #[test]
    fn definers_are_found() {
        let text = b"/*!50003 CREATE*/ /*!50017 DEFINER=`ro``ot`@`%`*/ /*!50003 trigger t";
        let (user, host, range) = definer(text).unwrap();
        assert_eq!(
            (user.as_str(), host.as_str(), &text[range]),
            ("ro`ot", "%", &b"DEFINER=`ro``ot`@`%`"[..])
        );
        assert_eq!(definer(b"CREATE VIEW v AS SELECT 1"), None);
    }

    #[test]
    fn bodies_keep_their_words_and_get_other_names() {
        let (text, changes) =
            body("CREATE PROCEDURE p() SELECT uuid, inet6 COLLATE utf8mb4_uca1400_ai_ci", &mysql());
        assert_eq!(text, "CREATE PROCEDURE p() SELECT uuid, inet6 COLLATE utf8mb4_0900_ai_ci");
        assert_eq!(changes.len(), 1);
        assert_eq!(
            rename_database("ON zoo.t `zoo`.`x` 'zoo.' a.zoo.b zoo x`zoo` @zoo.c", "zoo", "`new`"),
            "ON `new`.t `new`.`x` 'zoo.' a.zoo.b zoo x`zoo` @zoo.c"
        );
    }

    #[test]
    fn names_are_found() {
        for fix in Fix::ALL {
            assert_eq!(Fix::from_name(fix.name()), Some(fix));
        }
        assert_eq!(Fix::from_name("all"), None);
    }
}
