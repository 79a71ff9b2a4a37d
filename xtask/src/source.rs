//! Rust source without what must not be searched: comments, text in quotes, and code compiled only for tests.
//!
//! A lexer just good enough for that; it does not parse. What is removed becomes spaces, so that line numbers
//! and columns stay true.

/// `text` with comments and the insides of string and character literals blanked.
pub(crate) fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (kept, length) = match first {
            '/' if rest.starts_with("//") => (false, rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => (false, block_comment_length(rest)),
            '"' => (false, string_length(rest)),
            'r' | 'b' | 'c' if !ends_in_word(&out) => match prefixed_string_length(rest) {
                Some(length) => (false, length),
                None => (true, first.len_utf8()),
            },
            '\'' => match char_length(rest) {
                Some(length) => (false, length),
                None => (true, 1),
            },
            _ => (true, first.len_utf8()),
        };
        let (piece, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        if kept {
            out.push_str(piece);
        } else {
            blank(piece, &mut out);
        }
        rest = after;
    }
    out
}

/// [`code`] without items marked `#[cfg(test)]`.
pub(crate) fn production_code(text: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let masked = code(text);
    let mut out = String::with_capacity(masked.len());
    let mut rest = masked.as_str();
    while let Some(at) = rest.find(MARK) {
        let (before, item) = rest.split_at(at);
        out.push_str(before);
        let (item, after) = item.split_at_checked(item_length(item)).unwrap_or((item, ""));
        blank(item, &mut out);
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Lines with their numbers from 1.
pub(crate) fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

/// Whether `word` stands in `line` with no letter, digit or underscore on either side.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|text| text.chars().next());
        let apart = |edge: Option<char>, neighbour: Option<char>| {
            !(edge.is_some_and(is_word) && neighbour.is_some_and(is_word))
        };
        apart(word.chars().next(), before) && apart(word.chars().next_back(), after)
    })
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn ends_in_word(out: &str) -> bool {
    out.chars().next_back().is_some_and(is_word)
}

fn blank(piece: &str, out: &mut String) {
    for character in piece.chars() {
        out.push(if character == '\n' { '\n' } else { ' ' });
    }
}

/// Rust's block comments nest.
fn block_comment_length(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut skip = false;
    let bytes = text.as_bytes();
    for (at, pair) in bytes.windows(2).enumerate() {
        if skip {
            skip = false;
            continue;
        }
        match pair {
            b"/*" => (depth, skip) = (depth + 1, true),
            b"*/" => {
                (depth, skip) = (depth.saturating_sub(1), true);
                if depth == 0 {
                    return at + 2;
                }
            }
            _ => {}
        }
    }
    text.len()
}

/// From the opening quote to after the closing one.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// `r"..."`, `r#"..."#`, `b"..."`, `br"..."`, `c"..."`; `None` where the letter begins a name.
fn prefixed_string_length(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r", "b", "c"].into_iter().find(|prefix| {
        text.strip_prefix(prefix).is_some_and(|rest| rest.trim_start_matches('#').starts_with('"'))
    })?;
    let rest = text.strip_prefix(prefix)?;
    let quoted = rest.trim_start_matches('#');
    let hashes = rest.len() - quoted.len();
    if !prefix.contains('r') {
        return (hashes == 0).then(|| prefix.len() + string_length(rest));
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let opened = prefix.len() + hashes + 1;
    let body = text.get(opened..)?;
    Some(body.find(&end).map_or(text.len(), |at| opened + at + end.len()))
}

/// A character literal; `None` for a lifetime or label.
fn char_length(text: &str) -> Option<usize> {
    let mut characters = text.char_indices().skip(1);
    let (_, first) = characters.next()?;
    if first == '\\' {
        // The escaped character itself may be a quote.
        characters.next()?;
        return characters.find(|(_, character)| *character == '\'').map(|(at, _)| at + 1);
    }
    let (at, second) = characters.next()?;
    (second == '\'').then_some(at + 1)
}

/// From an attribute to the end of the item it is on: a `;` or the closing brace that matches the first.
fn item_length(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut brackets = 0_usize;
    for (at, character) in text.char_indices() {
        match character {
            '[' | '(' => brackets += 1,
            ']' | ')' => brackets = brackets.saturating_sub(1),
            ';' if depth == 0 && brackets == 0 => return at + 1,
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_text_are_blanked_and_lines_kept() {
        let cases = [
            ("a // std::fs\nb", "a           \nb"),
            ("a /* x /* y */ z */ b", "a                   b"),
            (r#"f("std::fs \" x", y)"#, "f(              , y)"),
            (r##"f(r#"a " b"#, y)"##, "f(          , y)"),
            (r#"f(b"x", 'c', '\'', '"')"#, "f(    ,    ,     ,    )"),
            ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
            ("r#type + car\"x\"", "r#type + car   "),
            ("\"open", "     "),
        ];
        for (text, wanted) in cases {
            assert_eq!(code(text), wanted, "of {text}");
        }
    }

    #[test]
    fn test_items_are_blanked() {
        let text = "use a;\n#[cfg(test)]\nuse std::fs;\nfn f() {}\n#[cfg(test)]\nmod tests {\n fn g() { x(\"}\") }\n}\nlast";
        let left = production_code(text);
        assert!(!left.contains("std::fs") && !left.contains("mod tests") && !left.contains("fn g"));
        assert!(left.contains("fn f() {}") && left.ends_with("\nlast"));
        assert_eq!(left.lines().count(), text.lines().count());
    }

    #[test]
    fn words_have_edges() {
        assert!(has_word("a cat slept", "cat"));
        assert!(!has_word("cats and concat", "cat"));
        assert!(has_word("x(std::fs)", "std::fs"));
        assert!(!has_word("std::fs_extra", "std::fs"));
        assert!(has_word("a.println!(x)", "println!"));
        assert!(!has_word("eprintln!(x)", "println!"));
    }
}
