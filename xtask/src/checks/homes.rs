//! Each power has one home: SQL in `server`, commands in the crates that run them, printing at the edge, version
//! differences in `flavor`.
//!
//! A table of what may be mentioned where. Tests are free to start what they need.

use anyhow::Result;

use crate::source::{has_word, numbered, production_code};
use crate::tree::{File, Finding, Report, Tree};

/// One power: the words that use it and the places that may.
struct Home {
    words: &'static [&'static str],
    /// Beginnings of paths.
    places: &'static [&'static str],
    instead: &'static str,
}

const HOMES: &[Home] = &[
    Home {
        words: &["mysql_async", "mysql_common"],
        places: &["crates/server/"],
        instead: "only `server` sends SQL: add what you need to its connection",
    },
    Home {
        words: &["process::Command", "tokio::process"],
        places: &["crates/host/", "crates/server/", "crates/lab/", "xtask/"],
        instead: "only `host`, `server` and `lab` start processes: use host::command",
    },
    Home {
        words: &["print!", "println!", "eprint!", "eprintln!", "dbg!"],
        places: &["crates/mainstay/src/output.rs", "xtask/"],
        instead: "return a value that renders as text and JSON; only the output module of the binary prints",
    },
    Home {
        words: &[
            "Version::new(",
            "version >=",
            "version <=",
            "version >",
            "version <",
            "version() >=",
            "version() <",
        ],
        places: &["crates/flavor/"],
        instead: "version differences live in `flavor` alone: ask it for a capability, name or statement",
    },
];

pub(super) fn run(tree: &Tree) -> Result<Report> {
    Ok(check(tree).into())
}

fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust().filter(|file| !file.is_test_code() && file.name() != "build.rs") {
        for (line, text) in numbered(&production_code(&file.text)) {
            for home in HOMES.iter().filter(|home| !lives(file, home)) {
                if let Some(word) = home.words.iter().find(|word| uses(text, word)) {
                    let advice = format!("mentions `{word}`: {}", home.instead);
                    findings.push(Finding::new(&file.path, line, advice));
                }
            }
        }
    }
    findings
}

fn lives(file: &File, home: &Home) -> bool {
    home.places.iter().any(|place| file.path.starts_with(place))
}

/// Sees through `use std::process::{Command, Stdio}`, as rustfmt writes it on one line.
fn uses(line: &str, word: &str) -> bool {
    has_word(line, word)
        || word.rsplit_once("::").is_some_and(|(module, name)| {
            line.split_once(&format!("{module}::{{"))
                .and_then(|(_, group)| group.split('}').next())
                .is_some_and(|group| has_word(group, name))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[(path, text)])).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_power_is_found_away_from_home() {
        let cases = [
            ("use mysql_async::Conn;", "crates/lab/src/a.rs", "crates/server/src/a.rs"),
            ("use std::process::Command;", "crates/setup/src/a.rs", "crates/host/src/a.rs"),
            ("use std::process::{Command, Stdio};", "crates/setup/src/a.rs", "crates/lab/src/a.rs"),
            (
                "let c = tokio::process::Command::new(x);",
                "crates/mainstay/src/a.rs",
                "crates/server/src/a.rs",
            ),
            ("println!(\"x\");", "crates/mainstay/src/a.rs", "crates/mainstay/src/output.rs"),
            ("if self.version >= V { f() }", "crates/plan/src/a.rs", "crates/flavor/src/a.rs"),
            ("let v = Version::new(8, 0, 0);", "crates/plan/src/a.rs", "crates/flavor/src/a.rs"),
        ];
        for (text, away, home) in cases {
            let found = told(away, text);
            assert_eq!(found.len(), 1, "{text} in {away}");
            assert!(found[0].starts_with(&format!("{away}:1: mentions")), "{found:?}");
            assert!(told(home, text).is_empty(), "{text} in {home}");
            assert!(told("crates/plan/tests/it/a.rs", text).is_empty(), "{text} in a test");
        }
    }

    #[test]
    fn what_only_looks_alike_passes() {
        for text in [
            "use std::process::{ExitCode, exit};",
            "// println!(x)",
            "writeln!(out, \"version >= 8\")",
            "conversion >= 1",
        ] {
            assert!(told("crates/plan/src/a.rs", text).is_empty(), "{text}");
        }
    }
}
