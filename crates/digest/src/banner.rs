//! The three lines that a server writes when it opens a log, wherever they stand in it. They say nothing of events.

use memchr::memmem;

/// The last of the three lines that a server writes when it opens a log.
const BANNER_END: &[u8] = b"Argument";

/// A statement without the three lines that a server which started behind it has written, and their length.
pub(crate) fn without_banner(body: &[u8]) -> (&[u8], usize) {
    if !body.trim_ascii_end().ends_with(BANNER_END) {
        return (body, 0);
    }
    let starts = memchr::memchr_iter(b'\n', body).map(|newline| newline + 1);
    let banner =
        std::iter::once(0).chain(starts).find(|start| is_banner(body.get(*start..).unwrap_or_default()));
    match banner {
        Some(start) => (body.get(..start).unwrap_or_default(), body.len() - start),
        None => (body, 0),
    }
}

/// Whether a text is what a server writes when it opens a log, once or more.
pub(crate) fn is_banner(text: &[u8]) -> bool {
    let mut lines = text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).peekable();
    if lines.peek().is_none() {
        return false;
    }
    while let Some(line) = lines.next() {
        let is_version =
            memmem::find(line, b", Version: ").is_some() && line.trim_ascii_end().ends_with(b"started with:");
        let is_port = lines
            .next()
            .is_some_and(|line| line.starts_with(b"Tcp port: ") || line.starts_with(b"TCP Port: "));
        let is_title =
            lines.next().is_some_and(|line| line.starts_with(b"Time ") || line.starts_with(b"Time\t"));
        if !(is_version && is_port && is_title) {
            return false;
        }
    }
    true
}
