//! Names of objects: relative paths that lead nowhere else. Opens nothing.

use crate::error::BlobError;

/// Bytes of a whole name. Stores take 1024, of which the prefix needs some.
const NAME_BYTES_MAX: usize = 768;
/// Bytes of one part: what file systems take, with room for a temporary name.
const PART_BYTES_MAX: usize = 224;

/// Refuses names that would lead out of the place, or be hidden in it.
pub(crate) fn check(name: &str) -> Result<(), BlobError> {
    let bad = |problem| Err(BlobError::BadName { name: name.escape_debug().to_string(), problem });
    if name.is_empty() {
        return bad("it is empty");
    }
    if name.len() > NAME_BYTES_MAX {
        return bad("it has more than 768 bytes");
    }
    if name.chars().any(|character| character.is_control() || character == '\\') {
        return bad("it has a control character or a backslash");
    }
    for part in name.split('/') {
        if part.is_empty() {
            return bad("a part of it is empty");
        }
        // Hidden names are those of files that are being written.
        if part.starts_with('.') {
            return bad("a part of it begins with a dot");
        }
        if part.len() > PART_BYTES_MAX {
            return bad("a part of it has more than 224 bytes");
        }
    }
    Ok(())
}

/// The same for what names begin with; empty for all.
pub(crate) fn check_prefix(prefix: &str) -> Result<(), BlobError> {
    if prefix.is_empty() { Ok(()) } else { check(prefix) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_lead_out_or_hide() {
        let long = "a".repeat(225);
        let longer = "abc/".repeat(200);
        for name in [
            "", "/", "/a", "a/", "a//b", "..", "a/../b", ".", ".a", "a/.b", "a\0", "a\nb", "a\\b", &long,
            &longer,
        ] {
            assert!(check(name).is_err(), "{name:?}");
        }
        for name in ["a", "a/b/c.sql.zst", "db@0024.t#1.00000.sql", "straße/x y", "a..b"] {
            assert!(check(name).is_ok(), "{name:?}");
        }
        assert!(check_prefix("").is_ok() && check_prefix("../x").is_err());
    }
}
