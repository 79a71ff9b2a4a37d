//! Comparing a variable's value as wanted with how a server prints it.

use flavor::ValueKind;

/// Whether two texts are the same value of a variable of this kind.
pub(crate) fn same(kind: ValueKind, left: &str, right: &str) -> bool {
    match kind {
        ValueKind::Bool => truth(left).is_some() && truth(left) == truth(right),
        ValueKind::Number => match (number(left), number(right)) {
            (Some(left), Some(right)) => left == right,
            (None, _) | (_, None) => left.trim() == right.trim(),
        },
        ValueKind::Text => left.trim().eq_ignore_ascii_case(right.trim()),
        ValueKind::Set => members(left) == members(right),
        ValueKind::Path => left.trim() == right.trim(),
    }
}

/// The value as SQL after `SET GLOBAL x =`: a bare number or word for what is one, a quoted literal otherwise.
pub(crate) fn sql_literal(kind: ValueKind, value: &str) -> String {
    match kind {
        ValueKind::Bool => if truth(value) == Some(true) { "ON" } else { "OFF" }.to_owned(),
        ValueKind::Number => match number(value) {
            Some(number) => number.to_string(),
            None => quoted(value),
        },
        ValueKind::Text | ValueKind::Set | ValueKind::Path => quoted(value),
    }
}

/// A value as the option file has it: sizes stay plain numbers so that a diff compares like with like.
pub(crate) fn file_text(kind: ValueKind, value: &str) -> String {
    match kind {
        ValueKind::Number => number(value).map_or_else(|| value.to_owned(), |number| number.to_string()),
        ValueKind::Bool | ValueKind::Text | ValueKind::Set | ValueKind::Path => value.to_owned(),
    }
}

/// A whole number with the option file's suffixes K, M, G, T, P, E (powers of 1024).
pub(crate) fn number(text: &str) -> Option<i128> {
    let text = text.trim();
    let (digits, shift) = match text.char_indices().last()? {
        (at, 'k' | 'K') => (text.get(..at)?, 10),
        (at, 'm' | 'M') => (text.get(..at)?, 20),
        (at, 'g' | 'G') => (text.get(..at)?, 30),
        (at, 't' | 'T') => (text.get(..at)?, 40),
        (at, 'p' | 'P') => (text.get(..at)?, 50),
        (at, 'e' | 'E') => (text.get(..at)?, 60),
        _ => (text, 0),
    };
    let value: i128 = digits.parse().ok()?;
    value.checked_mul(1 << shift)
}

/// Bytes as a person reads them: `128 MiB`, `1.5 GiB`.
#[must_use]
pub(crate) fn bytes_text(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    for (unit, shift) in UNITS {
        let size = 1_u64 << shift;
        if bytes >= size {
            let tenths = (u128::from(bytes) * 10) >> shift;
            return if tenths % 10 == 0 {
                format!("{} {unit}", tenths / 10)
            } else {
                format!("{}.{} {unit}", tenths / 10, tenths % 10)
            };
        }
    }
    format!("{bytes} bytes")
}

fn quoted(value: &str) -> String {
    sqltext::quote_string(value).unwrap_or_else(|_| "''".to_owned())
}

fn truth(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "on" | "1" | "true" | "yes" => Some(true),
        "off" | "0" | "false" | "no" | "" => Some(false),
        _ => None,
    }
}

fn members(text: &str) -> Vec<String> {
    let mut members: Vec<String> = text
        .split(',')
        .map(|member| member.trim().to_ascii_uppercase())
        .filter(|member| !member.is_empty())
        .collect();
    members.sort();
    members.dedup();
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_compare_as_their_kind() {
        for (kind, left, right, equal) in [
            (ValueKind::Bool, "ON", "1", true),
            (ValueKind::Bool, "OFF", "ON", false),
            (ValueKind::Bool, "maybe", "maybe", false),
            (ValueKind::Number, "64M", "67108864", true),
            (ValueKind::Number, "1k", "1000", false),
            (ValueKind::Number, "-1", "-1", true),
            (ValueKind::Text, "row", "ROW", true),
            (ValueKind::Set, "A,B", "b, a", true),
            (ValueKind::Set, "A", "A,B", false),
            (ValueKind::Path, "/a", "/A", false),
        ] {
            assert_eq!(same(kind, left, right), equal, "{kind:?} {left} {right}");
        }
    }

    #[test]
    fn literals_are_quoted_unless_they_are_numbers_or_switches() {
        assert_eq!(sql_literal(ValueKind::Number, "1G"), "1073741824");
        assert_eq!(sql_literal(ValueKind::Number, "1; DROP"), "'1; DROP'");
        assert_eq!(sql_literal(ValueKind::Bool, "1"), "ON");
        assert_eq!(sql_literal(ValueKind::Text, "it's"), "'it\\'s'");
    }

    #[test]
    fn bytes_read_like_a_person_writes_them() {
        for (bytes, text) in
            [(512, "512 bytes"), (1 << 20, "1 MiB"), (3 << 29, "1.5 GiB"), (1 << 40, "1 TiB")]
        {
            assert_eq!(bytes_text(bytes), text);
        }
    }
}
