//! CHANGELOG.md can be read by people and programs: versions newest first, then kinds of change, then bullets.
//!
//! What is worth an entry is for people to judge.

use anyhow::Result;

use crate::source::numbered;
use crate::tree::{Finding, Report, Tree};

const PAGE: &str = "CHANGELOG.md";
const KINDS: &[&str] = &["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];

pub(super) fn run(tree: &Tree) -> Result<Report> {
    let page = tree.file(PAGE).map(|file| file.text.as_str()).unwrap_or_default();
    Ok(check(page).into())
}

fn check(page: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut versions = 0_usize;
    let mut in_kind = false;
    for (line, text) in numbered(page) {
        let wrong = |advice: &str| Finding::new(PAGE, line, advice);
        if let Some(version) = text.strip_prefix("## ") {
            if versions == 0 && version != "Unreleased" {
                findings.push(wrong("the first version is `## Unreleased`: put new entries under it"));
            }
            if versions > 0 && !is_dated(version) {
                findings.push(wrong("a version is written `## 1.2.3 (2026-01-31)`"));
            }
            versions += 1;
            in_kind = false;
        } else if let Some(kind) = text.strip_prefix("### ") {
            if !KINDS.contains(&kind) {
                findings.push(wrong(
                    "a kind of change is Added, Changed, Deprecated, Removed, Fixed or Security",
                ));
            }
            in_kind = true;
        } else if text.starts_with("- ") && !in_kind {
            findings.push(wrong("an entry stands under a kind: add `### Added` or another above it"));
        } else if text.starts_with("* ") {
            findings.push(wrong("a bullet is written `- `"));
        }
    }
    if versions == 0 {
        findings.push(Finding::new(PAGE, 1, "has no `## Unreleased`: add it"));
    }
    findings
}

/// `1.2.3 (2026-01-31)`.
fn is_dated(version: &str) -> bool {
    let Some((number, date)) = version.split_once(" (") else { return false };
    let numeric = |text: &str, separator: char| {
        let parts: Vec<&str> = text.split(separator).collect();
        parts.len() == 3 && parts.iter().all(|part| part.parse::<u32>().is_ok())
    };
    numeric(number, '.') && date.strip_suffix(')').is_some_and(|date| numeric(date, '-'))
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_good_page_passes() {
        let page =
            "# Changes\n\n## Unreleased\n\n### Added\n- One.\n\n## 0.1.0 (2026-11-21)\n### Fixed\n- Two.\n";
        assert_eq!(check(page), []);
    }

    #[test]
    fn what_is_wrong_is_found_at_its_line() {
        let cases = [
            ("", 1),
            ("## 0.1.0 (2026-11-21)\n", 1),
            ("## Unreleased\n## 0.1.0\n", 2),
            ("## Unreleased\n## v0.1.0 (2026-11-21)\n", 2),
            ("## Unreleased\n- Entry.\n", 2),
            ("## Unreleased\n### New\n", 2),
            ("## Unreleased\n### Added\n* Entry.\n", 3),
        ];
        for (page, line) in cases {
            let told: Vec<String> = check(page).iter().map(ToString::to_string).collect();
            assert_eq!(told.len(), 1, "{page:?}: {told:?}");
            assert!(told[0].starts_with(&format!("CHANGELOG.md:{line}: ")), "{page:?}: {told:?}");
        }
    }
}
