//! The last rules of a fingerprint, on text in lower case with single spaces: lists, repeated unions, limits and
//! ascending order.

use memchr::memmem;

use super::is_word;

/// Bytes compared in search of repeated unions before the search is given up: real statements need a few
/// thousand, and made-up ones would need their length squared.
const UNION_BYTES_COMPARED_MAX: usize = 4 << 20;

/// Whether a word ends before, and begins at, an offset.
fn is_boundary(text: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| text.get(before)).is_some_and(|byte| is_word(*byte));
    let after = text.get(at).is_some_and(|byte| is_word(*byte));
    before != after
}

fn starts_with(text: &[u8], at: usize, prefix: &[u8]) -> bool {
    text.get(at..).is_some_and(|rest| rest.starts_with(prefix))
}

/// `in (?, ?), (?)` becomes `in(?+)`, and so with `value` and `values`.
pub(super) fn lists(text: &mut Vec<u8>, spare: &mut Vec<u8>) {
    let Some(mut found) = next_list(text, 0) else { return };
    spare.clear();
    let mut copied = 0;
    loop {
        let (word_end, list_end) = found;
        spare.extend_from_slice(text.get(copied..word_end).unwrap_or_default());
        spare.extend_from_slice(b"(?+)");
        copied = list_end;
        match next_list(text, copied) {
            Some(next) => found = next,
            None => break,
        }
    }
    spare.extend_from_slice(text.get(copied..).unwrap_or_default());
    std::mem::swap(text, spare);
}

/// The end of the word before the next list at or after an offset, and the list's end.
fn next_list(text: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut at = from;
    loop {
        // A list's parenthesis comes behind its word, and is rarer than letters.
        let paren = at + memchr::memchr(b'(', text.get(at..)?)?;
        let mut word_end = paren;
        while word_end > from && text.get(word_end - 1).is_some_and(|byte| parts_list(*byte)) {
            word_end -= 1;
        }
        if let (true, Some(end)) = (ends_in_list_word(text, from, word_end), list_end(text, word_end)) {
            return Some((word_end, end));
        }
        at = paren + 1;
    }
}

fn ends_in_list_word(text: &[u8], from: usize, end: usize) -> bool {
    [&b"in"[..], b"values", b"value"].iter().any(|word| {
        end.checked_sub(word.len())
            .is_some_and(|start| start >= from && starts_with(text, start, word) && is_boundary(text, start))
    })
}

/// The end of one or more `, (?, ?)` that begin at an offset; `None` without any.
fn list_end(text: &[u8], from: usize) -> Option<usize> {
    let mut end = None;
    let mut at = from;
    loop {
        at += run(text, at, parts_list);
        if text.get(at) != Some(&b'(') {
            return end;
        }
        at += 1;
        at += run(text, at, |byte| parts_list(byte) || byte == b'?');
        if text.get(at) != Some(&b')') {
            return end;
        }
        at += 1;
        end = Some(at);
    }
}

/// What stands between the parts of a list. The vertical tab is the one space that is not yet made plain.
const fn parts_list(byte: u8) -> bool {
    matches!(byte, b' ' | b',' | b'\x0b')
}

fn run(text: &[u8], from: usize, matches: impl Fn(u8) -> bool) -> usize {
    text.get(from..).unwrap_or_default().iter().take_while(|byte| matches(**byte)).count()
}

/// `select a union select a` becomes `select a /*repeat union*/`. With `whole_words`, the repetition has to end
/// where a word does.
pub(super) fn unions(text: &mut Vec<u8>, spare: &mut Vec<u8>, whole_words: bool) {
    if memmem::find(text, b" union ").is_none() {
        return;
    }
    spare.clear();
    let mut budget = UNION_BYTES_COMPARED_MAX;
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = memmem::find(text.get(at..).unwrap_or_default(), b"select ") {
        let start = at + found;
        at = start + 1;
        if !is_boundary(text, start) {
            continue;
        }
        if let Some((first_end, joint, end)) = repetition(text, start, whole_words, &mut budget) {
            spare.extend_from_slice(text.get(copied..first_end).unwrap_or_default());
            spare.extend_from_slice(b" /*repeat");
            spare.extend_from_slice(joint);
            spare.extend_from_slice(b"*/");
            copied = end;
            at = end;
        }
    }
    spare.extend_from_slice(text.get(copied..).unwrap_or_default());
    std::mem::swap(text, spare);
}

const JOINTS: [&[u8]; 2] = [b" union all", b" union"];

/// For a select that is repeated: where its first occurrence ends, what joins the last, and where that ends.
fn repetition(
    text: &[u8],
    start: usize,
    whole_words: bool,
    budget: &mut usize,
) -> Option<(usize, &'static [u8], usize)> {
    let mut from = start + b"select ".len();
    loop {
        let first_end = from + memmem::find(text.get(from..)?, b" union")?;
        let first = text.get(start..first_end)?;
        let mut last = None;
        let mut end = first_end;
        while let Some((joint, next)) = joined(text, end, first, whole_words, budget) {
            last = Some(joint);
            end = next;
        }
        if let Some(joint) = last {
            return Some((first_end, joint, end));
        }
        if *budget == 0 {
            return None;
        }
        from = first_end + 1;
    }
}

/// What joins another occurrence of a select that follows at once, and where that ends.
fn joined(
    text: &[u8],
    at: usize,
    first: &[u8],
    whole_words: bool,
    budget: &mut usize,
) -> Option<(&'static [u8], usize)> {
    JOINTS.into_iter().find_map(|joint| {
        if !starts_with(text, at, joint) || text.get(at + joint.len()) != Some(&b' ') {
            return None;
        }
        let begin = at + joint.len() + 1;
        let again = text.get(begin..begin + first.len())?;
        let same = again.iter().zip(first).take_while(|(one, other)| one == other).count();
        *budget = budget.saturating_sub(same);
        let end = begin + first.len();
        let is_whole = !whole_words || !text.get(end).is_some_and(|byte| is_word(*byte));
        (same == first.len() && is_whole && *budget > 0).then_some((joint, end))
    })
}

const SECOND_LIMITS: [&[u8]; 3] = [b",?", b", ?", b" offset ?"];

/// The first `limit ?, ?` or `limit ? offset ?` becomes `limit ?`.
pub(super) fn limit(text: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(found) = memmem::find(text.get(at..).unwrap_or_default(), b"limit ?") {
        let start = at + found;
        at = start + b"limit ?".len();
        if !is_boundary(text, start) {
            continue;
        }
        let rest = text.get(at..).unwrap_or_default();
        if let Some(tail) = SECOND_LIMITS.iter().find(|tail| rest.starts_with(tail)) {
            text.drain(at..at + tail.len());
        }
        return;
    }
}

/// After the first `order by `, every ` asc` goes. With `whole_words`, only where it is a word.
pub(super) fn ascending(text: &mut Vec<u8>, whole_words: bool) {
    let mut at = 0;
    let behind = loop {
        let Some(found) = memmem::find(text.get(at..).unwrap_or_default(), b"order by ") else { return };
        if is_boundary(text, at + found) {
            break at + found + b"order by ".len();
        }
        at += found + 1;
    };
    let mut read = behind;
    let mut write = behind;
    // What is removed has at least one byte before it since the last.
    let mut from = read + 1;
    while let Some(found) = text.get(from..).and_then(|rest| memmem::find(rest, b" asc")) {
        let start = from + found;
        let end = start + b" asc".len();
        if whole_words && text.get(end).is_some_and(|byte| is_word(*byte)) {
            from = end;
            continue;
        }
        text.copy_within(read..start, write);
        write += start - read;
        read = end;
        from = end + 1;
    }
    text.drain(write..read);
}
