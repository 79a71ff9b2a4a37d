//! No unfinished work without an issue, no vague names, and nothing that is true on one machine only.
//!
//! This file names the words it bans and is the one file it does not read. Spelling is not checked.

use anyhow::Result;

use crate::source::{code, has_word, numbered};
use crate::tree::{File, Finding, Report, Tree};

const OWN_PATH: &str = "xtask/src/checks/words.rs";

/// A word and what to do instead.
struct Ban {
    word: &'static str,
    instead: &'static str,
}

const UNFINISHED: &str = "finish it, or name the issue as in `(#12)`";
const TOOL: &str = "say what the code does, not which tool wrote it";
const HOST: &str =
    "no host of a registry or mirror in the project: take it from the machine's own configuration";
const PLACE: &str = "a path of one machine: take it from the environment, an argument or a temporary folder";

const ANYWHERE: &[Ban] = &[
    Ban { word: "Claude", instead: TOOL },
    Ban { word: "ChatGPT", instead: TOOL },
    Ban { word: "Copilot", instead: TOOL },
    Ban { word: "LLM", instead: TOOL },
    Ban { word: "AI agent", instead: TOOL },
    Ban { word: "AI assistant", instead: TOOL },
    Ban { word: "deb.debian.org", instead: HOST },
    Ban { word: "crates.io", instead: HOST },
    Ban { word: "pypi.org", instead: HOST },
    Ban { word: "registry.npmjs.org", instead: HOST },
];

const UNFINISHED_WORDS: &[&str] = &["TODO", "FIXME", "todo!", "unimplemented!", "fixme", "HACK"];

const VAGUE: &[&str] = &["Manager", "Helper", "Helpers", "Util", "Utils"];

/// Names that hold a vague word and are what operators call the thing: apt, systemd.
const DOMAIN_NAMES: &[&str] = &["PackageManager", "ServiceManager"];

pub(super) fn run(tree: &Tree) -> Result<Report> {
    Ok(tree.files.iter().flat_map(check).collect::<Vec<_>>().into())
}

fn check(file: &File) -> Vec<Finding> {
    if file.path == OWN_PATH || matches!(file.name(), "Cargo.lock" | "package-lock.json" | "LICENSE") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    if let Some(part) = vague_part(file.name().split('.').next().unwrap_or_default()) {
        let advice = format!("`{part}` says nothing: name the file for the thing it is about");
        findings.push(Finding::new(&file.path, 1, advice));
    }
    for (line, text) in numbered(&file.text) {
        for ban in ANYWHERE.iter().filter(|ban| has_word(text, ban.word)) {
            findings.push(Finding::new(&file.path, line, format!("`{}`: {}", ban.word, ban.instead)));
        }
        if let Some(word) = UNFINISHED_WORDS.iter().find(|word| has_word(text, word))
            && !text.contains("(#")
        {
            findings.push(Finding::new(&file.path, line, format!("`{word}`: {UNFINISHED}")));
        }
        if let Some(place) = place(file, text) {
            findings.push(Finding::new(&file.path, line, format!("`{place}`: {PLACE}")));
        }
    }
    if file.is_rust() {
        findings.extend(vague_names(file));
    }
    findings
}

/// A path that exists on one machine only. `/root/.my.cnf` and the like are facts about every machine; a test may use
/// data that lies beside the checkout, and is to skip without it.
fn place<'a>(file: &File, text: &'a str) -> Option<&'a str> {
    let starts = |at: usize| {
        let before = text.get(..at).and_then(|text| text.chars().next_back());
        !before.is_some_and(|before| before.is_alphanumeric() || matches!(before, '_' | '-' | '.' | '/'))
    };
    let found = text.match_indices("/work/").find(|(at, _)| starts(*at)).or_else(|| {
        text.match_indices("/root/").find(|(at, word)| {
            let after = text.get(at + word.len()..).unwrap_or_default();
            starts(*at) && (!after.starts_with('.') || after.starts_with(".cargo"))
        })
    });
    let beside = || if file.is_rust() { None } else { text.match_indices("../shared").next() };
    let beside_in_code = || {
        let in_tests = file.is_test_code() || file.text.contains("#[cfg(test)]");
        if in_tests { None } else { text.match_indices("../shared").next() }
    };
    found.or_else(beside).or_else(beside_in_code).map(|(_, word)| word)
}

fn vague_names(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, text) in numbered(&code(&file.text)) {
        let mut words =
            text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
        while let Some(word) = words.next() {
            if matches!(word, "struct" | "enum" | "trait" | "type" | "mod")
                && let Some(name) = words.next()
                && !DOMAIN_NAMES.contains(&name)
                && let Some(part) = vague_part(name)
            {
                let advice = format!("`{name}`: `{part}` says nothing; name it for the thing it is or does");
                findings.push(Finding::new(&file.path, line, advice));
            }
        }
    }
    findings
}

/// The vague word in a name of any style.
fn vague_part(name: &str) -> Option<&'static str> {
    let mut parts: Vec<String> = Vec::new();
    for character in name.chars() {
        if character.is_uppercase() || parts.is_empty() || !character.is_alphanumeric() {
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut().filter(|_| character.is_alphanumeric()) {
            part.extend(character.to_lowercase());
        }
    }
    VAGUE.iter().copied().find(|vague| parts.iter().any(|part| part.eq_ignore_ascii_case(vague)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &str, text: &str) -> Vec<String> {
        check(&File { path: path.into(), text: text.into() }).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_banned_word_is_found() {
        for word in ANYWHERE.iter().map(|ban| ban.word).chain(UNFINISHED_WORDS.iter().copied()) {
            let found = told("docs/a.md", &format!("first\nthe {word} here"));
            assert_eq!(found.len(), 1, "{word}: {found:?}");
            assert!(found[0].starts_with("docs/a.md:2: "), "{found:?}");
            assert!(told("Cargo.lock", word).is_empty());
        }
    }

    #[test]
    fn unfinished_work_with_its_issue_passes() {
        assert!(told("docs/a.md", "TODO(#12): later").is_empty());
    }

    #[test]
    fn vague_names_are_found() {
        for text in ["pub struct LeaseManager {", "enum Helper {", "mod utils;", "trait PathUtil {}"] {
            assert_eq!(told("crates/a/src/b.rs", text).len(), 1, "{text}");
        }
        for text in [
            "struct ManagementServer;",
            "enum PackageManager {",
            "struct Utilization;",
            "// struct Manager",
            "fn manager() {}",
        ] {
            assert!(told("crates/a/src/b.rs", text).is_empty(), "{text}");
        }
        for path in ["crates/a/src/utils.rs", "scripts/apt-helper.sh", "web/NodeManager.ts"] {
            assert_eq!(told(path, "").len(), 1, "{path}");
        }
    }

    #[test]
    fn places_of_one_machine_are_found() {
        for text in ["cd /work/main", "\"/root/data\"", "/root/.cargo/bin", "see ../shared/a.md"] {
            assert_eq!(told("docs/a.md", text).len(), 1, "{text}");
        }
        for text in ["/root/.my.cnf", "/srv/work/x", "network/work/x"] {
            assert!(told("docs/a.md", text).is_empty(), "{text}");
        }
        assert!(told("crates/a/tests/it/b.rs", "../shared/data").is_empty());
        assert_eq!(told("crates/a/src/b.rs", "../shared/data").len(), 1);
    }
}
