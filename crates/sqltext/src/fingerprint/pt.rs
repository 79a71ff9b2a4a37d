//! Fingerprints as pt-query-digest makes them, one rule after the other, defects included: what a rule leaves is what
//! the next one sees, even where that tears strings and comments apart.

use memchr::{memchr, memchr2, memmem};

use super::{
    ADMIN, MYSQLDUMP, Rules, begins_number, continues_number, finish, is_space, is_toolkit_mark, is_word,
};

pub(super) fn fingerprint(statement: &[u8], rules: Rules, out: &mut Vec<u8>, spare: &mut Vec<u8>) {
    out.clear();
    if statement.starts_with(MYSQLDUMP) {
        out.extend_from_slice(b"mysqldump");
        return;
    }
    let is_marked = memmem::find_iter(statement, b"/*")
        .any(|at| is_toolkit_mark(statement.get(at + 2..).unwrap_or_default()));
    if is_marked {
        out.extend_from_slice(b"percona-toolkit");
        return;
    }
    if statement.starts_with(ADMIN) {
        out.extend_from_slice(statement);
        return;
    }
    if let Some(call) = call(statement) {
        out.extend_from_slice(call);
        out.make_ascii_lowercase();
        return;
    }
    out.extend_from_slice(first_row(statement));
    let mut rewrite = |rule: &dyn Fn(&[u8], &mut Vec<u8>)| {
        spare.clear();
        rule(out, spare);
        std::mem::swap(out, spare);
    };
    rewrite(&block_comments);
    rewrite(&line_comments);
    if is_use(out) {
        let newline = out.last() == Some(&b'\n');
        out.clear();
        out.extend_from_slice(if newline { b"use ?\n" } else { b"use ?" });
        return;
    }
    let mut rewrite = |rule: &dyn Fn(&[u8], &mut Vec<u8>)| {
        spare.clear();
        rule(out, spare);
        std::mem::swap(out, spare);
    };
    if rules == Rules::Pt32 {
        rewrite(&|text, out| drop_pairs(text, b"\"'", out));
        rewrite(&|text, out| plain_strings(text, b'"', out));
        rewrite(&|text, out| plain_strings(text, b'\'', out));
    } else {
        rewrite(&|text, out| drop_lone(text, b'\'', out));
        rewrite(&|text, out| drop_lone(text, b'"', out));
        rewrite(&|text, out| drop_pairs(text, b"\\", out));
        rewrite(&|text, out| drop_pairs(text, b"'", out));
        rewrite(&|text, out| drop_pairs(text, b"\"", out));
        rewrite(&|text, out| strings(text, b'"', out));
        rewrite(&|text, out| strings(text, b'\'', out));
    }
    rewrite(&|text, out| words(text, &[b"true", b"false"], out));
    rewrite(&numbers);
    rewrite(&prefixes);
    rewrite(&spaces);
    out.make_ascii_lowercase();
    let mut rewrite = |rule: &dyn Fn(&[u8], &mut Vec<u8>)| {
        spare.clear();
        rule(out, spare);
        std::mem::swap(out, spare);
    };
    rewrite(&|text, out| words(text, &[b"null"], out));
    finish::lists(out, spare);
    finish::unions(out, spare, false);
    finish::limit(out);
    finish::ascending(out, false);
}

/// `call name` of `call name(...)`, up to the last parenthesis before a space.
fn call(statement: &[u8]) -> Option<&[u8]> {
    let start = statement.iter().take_while(|byte| is_perl_space(**byte)).count();
    let trimmed = statement.get(start..)?;
    if !trimmed.get(..4)?.eq_ignore_ascii_case(b"call") {
        return None;
    }
    let spaces = trimmed.get(4..)?.iter().take_while(|byte| is_perl_space(**byte)).count();
    if spaces == 0 {
        return None;
    }
    let name = trimmed.get(4 + spaces..)?;
    let length = name.iter().take_while(|byte| !is_perl_space(**byte)).count();
    let paren = memchr::memrchr(b'(', name.get(..length)?)?;
    if paren == 0 { None } else { trimmed.get(..4 + spaces + paren) }
}

const fn is_perl_space(byte: u8) -> bool {
    is_space(byte) || byte == b'\x0b'
}

/// An insert of many rows, cut behind what looks like the first.
fn first_row(statement: &[u8]) -> &[u8] {
    cut_behind_row(statement).and_then(|end| statement.get(..end)).unwrap_or(statement)
}

fn cut_behind_row(statement: &[u8]) -> Option<usize> {
    let mut at = insert_head(statement)? + 1;
    let space = |at: usize| {
        at + statement.get(at..).unwrap_or_default().iter().take_while(|byte| is_perl_space(**byte)).count()
    };
    // `values (` first, then the first `) , (` behind it.
    loop {
        let found = statement.get(at..)?.windows(6).position(|word| word.eq_ignore_ascii_case(b"values"))?;
        let open = space(at + found + 6);
        if statement.get(open) == Some(&b'(') {
            at = open + 1;
            break;
        }
        at += found + 1;
    }
    loop {
        let close = at + memchr(b')', statement.get(at..)?)?;
        let comma = space(close + 1);
        if statement.get(comma) == Some(&b',') && statement.get(space(comma + 1)) == Some(&b'(') {
            return Some(close + 1);
        }
        at = close + 1;
    }
}

/// The length of `insert [ignore] into `, at the text's very beginning.
fn insert_head(statement: &[u8]) -> Option<usize> {
    let is = |at: usize, word: &[u8]| {
        statement.get(at..at + word.len()).is_some_and(|text| text.eq_ignore_ascii_case(word))
    };
    let mut at = [&b"insert"[..], b"replace"].iter().find(|word| is(0, word))?.len();
    if is(at, b" ignore") {
        at += b" ignore".len();
    }
    let spaces = statement.get(at..)?.iter().take_while(|byte| is_perl_space(**byte)).count();
    (spaces > 0 && is(at + spaces, b"into")).then_some(at + spaces + 4)
}

/// Removes `/* ... */`, unless its first character is an exclamation mark.
fn block_comments(text: &[u8], out: &mut Vec<u8>) {
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = memmem::find(text.get(at..).unwrap_or_default(), b"/*") {
        let start = at + found;
        let end = match text.get(start + 2) {
            None | Some(b'!') => None,
            Some(_) => text
                .get(start + 3..)
                .and_then(|rest| memmem::find(rest, b"*/"))
                .map(|length| start + 3 + length + 2),
        };
        if let Some(end) = end {
            out.extend_from_slice(text.get(copied..start).unwrap_or_default());
            copied = end;
            at = end;
        } else {
            at = start + 1;
        }
    }
    out.extend_from_slice(text.get(copied..).unwrap_or_default());
}

/// Removes `-- ...` and `# ...` up to the line's end, unless a quote is in them.
fn line_comments(text: &[u8], out: &mut Vec<u8>) {
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = memchr2(b'-', b'#', text.get(at..).unwrap_or_default()) {
        let start = at + found;
        let mark = match text.get(start..).unwrap_or_default() {
            [b'#', ..] => 1,
            [b'-', b'-', ..] => 2,
            _ => 0,
        };
        at = start + 1;
        if mark == 0 {
            continue;
        }
        let rest = text.get(start + mark..).unwrap_or_default();
        let length = rest.iter().take_while(|byte| !matches!(**byte, b'\'' | b'"' | b'\r' | b'\n')).count();
        if matches!(rest.get(length), None | Some(b'\r' | b'\n')) {
            out.extend_from_slice(text.get(copied..start).unwrap_or_default());
            copied = start + mark + length;
            at = copied;
        }
    }
    out.extend_from_slice(text.get(copied..).unwrap_or_default());
}

/// Whether the text is `use x` and nothing else.
fn is_use(text: &[u8]) -> bool {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.get(..4).is_some_and(|head| head.eq_ignore_ascii_case(b"use "))
        && text.get(4..).is_some_and(|name| !name.is_empty() && !name.iter().any(|byte| is_perl_space(*byte)))
}

/// Drops a backslash with the character behind it, where that is one of some.
fn drop_pairs(text: &[u8], second: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr(b'\\', rest) {
        out.extend_from_slice(rest.get(..at).unwrap_or_default());
        let is_dropped = rest.get(at + 1).is_some_and(|byte| second.contains(byte));
        if !is_dropped {
            out.push(b'\\');
        }
        rest = rest.get(at + if is_dropped { 2 } else { 1 }..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

/// Drops a backslash and a quote behind a character that is no backslash. That character is used up: it cannot be
/// the quote of the pair before.
fn drop_lone(text: &[u8], quote: u8, out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr(b'\\', rest) {
        let has_before = at > 0 && rest.get(at - 1).is_some_and(|byte| *byte != b'\\');
        if has_before && rest.get(at + 1) == Some(&quote) {
            out.extend_from_slice(rest.get(..at).unwrap_or_default());
            rest = rest.get(at + 2..).unwrap_or_default();
        } else {
            // The backslash may not stand before the next pair, but what follows it may.
            out.extend_from_slice(rest.get(..=at).unwrap_or_default());
            rest = rest.get(at + 1..).unwrap_or_default();
        }
    }
    out.extend_from_slice(rest);
}

/// Strings without escapes become question marks.
fn plain_strings(text: &[u8], quote: u8, out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(open) = memchr(quote, rest) {
        let Some(length) = rest.get(open + 1..).and_then(|inner| memchr(quote, inner)) else { break };
        out.extend_from_slice(rest.get(..open).unwrap_or_default());
        out.push(b'?');
        rest = rest.get(open + length + 2..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

/// Strings become question marks, each with a character before it that is no backslash, and that no string before
/// it used up. An empty string swallows a quote that follows.
fn strings(text: &[u8], quote: u8, out: &mut Vec<u8>) {
    let mut copied = 0;
    let mut at = 1;
    while let Some(found) = text.get(at..).and_then(|rest| memchr(quote, rest)) {
        let open = at + found;
        at = open + 1;
        if text.get(open - 1) == Some(&b'\\') {
            continue;
        }
        let Some(length) = text.get(open + 1..).and_then(|rest| memchr(quote, rest)) else { break };
        let close = open + 1 + length;
        let is_wide =
            (length == 0 || text.get(close - 1) == Some(&b'\\')) && text.get(close + 1) == Some(&quote);
        out.extend_from_slice(text.get(copied..open).unwrap_or_default());
        out.push(b'?');
        copied = close + if is_wide { 2 } else { 1 };
        at = copied + 1;
    }
    out.extend_from_slice(text.get(copied..).unwrap_or_default());
}

/// Whole words, in any case, become question marks.
fn words(text: &[u8], wanted: &[&[u8]], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(first) = rest.first() {
        let length = if is_word(*first) {
            rest.iter().take_while(|byte| is_word(**byte)).count()
        } else {
            rest.iter().take_while(|byte| !is_word(**byte)).count()
        };
        let (word, behind) = rest.split_at(length);
        if wanted.iter().any(|wanted| word.eq_ignore_ascii_case(wanted)) {
            out.push(b'?');
        } else {
            out.extend_from_slice(word);
        }
        rest = behind;
    }
}

fn numbers(text: &[u8], out: &mut Vec<u8>) {
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if begins_number(byte) {
            out.push(b'?');
            while bytes.next_if(|byte| continues_number(*byte)).is_some() {}
        } else {
            out.push(byte);
        }
    }
}

/// A letter of `x'4D'` or `b'1'`, a point or a sign goes with what became a question mark behind it.
fn prefixes(text: &[u8], out: &mut Vec<u8>) {
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if !(matches!(byte, b'x' | b'b' | b'.' | b'+' | b'-') && bytes.peek() == Some(&b'?')) {
            out.push(byte);
        } else {
            out.push(b'?');
            bytes.next();
        }
    }
}

/// No space at the beginning, one newline less at the end, one space for any run of them.
fn spaces(text: &[u8], out: &mut Vec<u8>) {
    let start = text.iter().take_while(|byte| is_perl_space(**byte)).count();
    let text = text.get(start..).unwrap_or_default();
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    for byte in text.iter().copied() {
        if !is_space(byte) {
            out.push(byte);
        } else if out.last() != Some(&b' ') {
            out.push(b' ');
        }
    }
}
