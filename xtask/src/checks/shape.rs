//! Files are short, begin with their duty, and are compiled: no module or test file is forgotten.
//!
//! Lengths of functions are clippy's to check.

use anyhow::Result;

use crate::source::{code, has_word, numbered};
use crate::tree::{File, Finding, Report, Tree};

/// The limit that nothing may cross.
const LINES_MAX: usize = 1000;
/// The length to aim at.
const LINES_AIM: usize = 600;

/// Files longer than the aim, with their length: it may shrink and not grow, and nothing should be added.
const LONG_FILES: &[(&str, usize)] = &[];

pub(super) fn run(tree: &Tree) -> Result<Report> {
    let mut findings = lengths(tree, LONG_FILES);
    findings.extend(duties(tree));
    findings.extend(forgotten(tree));
    Ok(findings.into())
}

fn lengths(tree: &Tree, long_files: &[(&str, usize)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let line_count = file.text.lines().count();
        let known = long_files.iter().find(|(path, _)| *path == file.path).map(|(_, length)| *length);
        let advice = match known {
            _ if line_count > LINES_MAX => {
                format!("has {line_count} lines, {LINES_MAX} is the limit: split it by duty")
            }
            None if line_count > LINES_AIM => {
                format!("has {line_count} lines, the aim is {LINES_AIM}: split it by duty")
            }
            Some(length) if line_count > length => {
                format!("has grown from {length} to {line_count} lines: split it by duty")
            }
            Some(_) if line_count <= LINES_AIM => {
                "is short again: remove it from LONG_FILES in xtask/src/checks/shape.rs".to_owned()
            }
            Some(_) | None => continue,
        };
        findings.push(Finding::new(&file.path, line_count, advice));
    }
    for (path, _) in long_files.iter().filter(|(path, _)| tree.file(path).is_none()) {
        let advice = "is gone: remove it from LONG_FILES in xtask/src/checks/shape.rs";
        findings.push(Finding::new(path, 1, advice));
    }
    findings
}

fn duties(tree: &Tree) -> Vec<Finding> {
    tree.rust()
        .filter(|file| file.path.starts_with("xtask/src/") || file.path.contains("/src/"))
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| {
            let advice = "does not begin with `//!`: say its one duty there, and what it does not do";
            Finding::new(&file.path, 1, advice)
        })
        .collect()
}

/// Files that no `mod` line names.
fn forgotten(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust().filter(|file| file.path.starts_with("crates/") || file.path.starts_with("xtask/"))
    {
        let Some((folder, stem)) = file.path.trim_end_matches(".rs").rsplit_once('/') else { continue };
        if folder.ends_with("/tests") {
            let advice = "is a test binary of its own: move it to tests/it/ and name it in tests/it/main.rs";
            findings.push(Finding::new(&file.path, 1, advice));
            continue;
        }
        let compiled = ["/src", "/src/", "/tests/it"]
            .iter()
            .any(|part| folder.ends_with(part) || folder.contains(&format!("{part}/")));
        if !compiled || matches!(stem, "lib" | "main") || folder.ends_with("/src/bin") {
            continue;
        }
        // A folder's own module file is named by the folder above.
        let (folder, stem) =
            if stem == "mod" { folder.rsplit_once('/').unwrap_or((folder, stem)) } else { (folder, stem) };
        let parents = ["lib.rs", "main.rs", "mod.rs"].map(|name| format!("{folder}/{name}"));
        let parents = parents.into_iter().chain([format!("{folder}.rs")]);
        let declared = parents.filter_map(|path| tree.file(&path)).any(|parent| declares(parent, stem));
        if !declared {
            let advice = format!("is never compiled: add `mod {stem};` to the module above it, or remove it");
            findings.push(Finding::new(&file.path, 1, advice));
        }
    }
    findings
}

fn declares(parent: &File, stem: &str) -> bool {
    let wanted = format!("mod {stem};");
    // `#[path = ...]` hides the file behind another name; what is quoted is looked for as it stands.
    numbered(&code(&parent.text)).any(|(_, line)| has_word(line, &wanted))
        || parent.text.contains(&format!("#[path = \"{stem}.rs\"]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(findings: &[Finding]) -> Vec<String> {
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn long_files_are_found_and_may_only_shrink() {
        let lines = |count: usize| "x\n".repeat(count);
        let tree = |count: usize| Tree::of(&[("crates/a/src/lib.rs", &lines(count))]);
        let cases = [
            (600, None, ""),
            (601, None, "has 601 lines, the aim is 600"),
            (601, Some(700), ""),
            (701, Some(700), "has grown from 700 to 701"),
            (600, Some(700), "is short again"),
            (1001, Some(1001), "1000 is the limit"),
        ];
        for (count, known, wanted) in cases {
            let known: Vec<(&str, usize)> =
                known.map(|length| ("crates/a/src/lib.rs", length)).into_iter().collect();
            let found = told(&lengths(&tree(count), &known));
            assert_eq!(found.len(), usize::from(!wanted.is_empty()), "{count}: {found:?}");
            assert!(found.iter().all(|line| line.contains(wanted)), "{count}: {found:?}");
        }
        assert!(told(&lengths(&Tree::default(), &[("gone.rs", 700)]))[0].contains("is gone"));
    }

    #[test]
    fn a_module_without_its_duty_is_found() {
        let tree = Tree::of(&[
            ("crates/a/src/lib.rs", "//! Its duty.\n"),
            ("crates/a/src/deep/b.rs", "use x;\n//! Too late.\n"),
            ("xtask/src/c.rs", "//!\n"),
            ("crates/a/tests/it/main.rs", "mod d;\n"),
        ]);
        let found = told(&duties(&tree));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].starts_with("crates/a/src/deep/b.rs:1:") && found[1].starts_with("xtask/src/c.rs:1:")
        );
    }

    #[test]
    fn files_that_nothing_names_are_found() {
        let tree = Tree::of(&[
            ("crates/a/src/lib.rs", "mod b;\npub mod c;\n// mod lost;\n#[path = \"e.rs\"]\nmod other;\n"),
            ("crates/a/src/b.rs", "mod deep;\n"),
            ("crates/a/src/b/deep.rs", ""),
            ("crates/a/src/c/mod.rs", "mod inner;\n"),
            ("crates/a/src/c/inner.rs", ""),
            ("crates/a/src/e.rs", ""),
            ("crates/a/src/lost.rs", ""),
            ("crates/a/src/c/astray.rs", ""),
            ("crates/a/tests/it/main.rs", "mod known;\n"),
            ("crates/a/tests/it/known.rs", ""),
            ("crates/a/tests/it/unknown.rs", ""),
            ("crates/a/tests/alone.rs", ""),
            ("crates/a/build.rs", ""),
        ]);
        let found: Vec<String> = forgotten(&tree)
            .iter()
            .map(ToString::to_string)
            .map(|line| line.split(':').next().unwrap().into())
            .collect();
        assert_eq!(
            found,
            [
                "crates/a/src/lost.rs",
                "crates/a/src/c/astray.rs",
                "crates/a/tests/it/unknown.rs",
                "crates/a/tests/alone.rs"
            ]
        );
    }
}
