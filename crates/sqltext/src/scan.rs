//! Where quoted texts and comments begin and end, for the lexer and the splitter alike.
//!
//! It works on bytes of valid UTF-8 and stops only behind ASCII bytes or at the end, so every offset it gives is
//! on a character's boundary. It keeps no state.

use memchr::{memchr, memchr2, memmem};

/// What begins at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lead {
    /// `--` before a space, control character or the end, or `#`.
    LineComment,
    /// `/* ... */` that no server executes.
    BlockComment,
    /// `/*!` or `/*M!`, with the version behind it: what follows is executed.
    Executable {
        /// Bytes up to the executed text.
        length: usize,
    },
    /// A string, or an identifier in backticks.
    Quoted(u8),
    /// Anything else.
    Plain,
}

/// Tells what begins at `at`.
pub(crate) fn lead(bytes: &[u8], at: usize) -> Lead {
    let rest = bytes.get(at..).unwrap_or_default();
    match rest {
        [quote @ (b'\'' | b'"' | b'`'), ..] => Lead::Quoted(*quote),
        [b'#', ..] | [b'-', b'-'] => Lead::LineComment,
        [b'-', b'-', next, ..] if *next <= b' ' || *next == 0x7f => Lead::LineComment,
        [b'/', b'*', b'!', ..] => executable(rest, 3),
        [b'/', b'*', b'M', b'!', ..] => executable(rest, 4),
        [b'/', b'*', ..] => Lead::BlockComment,
        _ => Lead::Plain,
    }
}

/// The opening of an executable comment. Version 999999 is above every server's: dumps mark with it what only
/// their own client reads (`/*M!999999\- enable the sandbox mode */`).
fn executable(rest: &[u8], mark: usize) -> Lead {
    let version = rest.get(mark..).unwrap_or_default();
    let digits = version.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
    if version.starts_with(b"999999") {
        return Lead::BlockComment;
    }
    // A version has five or six digits; fewer are part of the executed text.
    Lead::Executable { length: mark + if digits >= 5 { digits } else { 0 } }
}

/// The offset behind a quoted text that begins at `at`, or `None` when it is not closed. A doubled quote stands
/// for itself; a backslash escapes in strings, not in backticks.
pub(crate) fn quoted_end(bytes: &[u8], at: usize, quote: u8) -> Option<usize> {
    let mut from = at.checked_add(1)?;
    loop {
        let rest = bytes.get(from..)?;
        let found = if quote == b'`' { memchr(quote, rest) } else { memchr2(quote, b'\\', rest) }?;
        let found = from + found;
        if bytes.get(found) == Some(&b'\\') || bytes.get(found + 1) == Some(&quote) {
            from = found + 2;
        } else {
            return Some(found + 1);
        }
    }
}

/// The offset behind a line comment that begins at `at`: the newline stays outside.
pub(crate) fn line_end(bytes: &[u8], at: usize) -> usize {
    memchr(b'\n', bytes.get(at..).unwrap_or_default()).map_or(bytes.len(), |found| at + found)
}

/// The offset behind a block comment that begins at `at`, or `None` when it is not closed.
pub(crate) fn block_end(bytes: &[u8], at: usize) -> Option<usize> {
    let from = at.checked_add(2)?;
    memmem::find(bytes.get(from..)?, b"*/").map(|found| from + found + 2)
}

/// Whether a byte belongs to a word: letters, digits, `_`, `$`, and everything beyond ASCII.
pub(crate) const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}
