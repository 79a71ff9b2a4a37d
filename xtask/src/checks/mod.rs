//! The table of checks. A row has an id, what it keeps true, and the function that looks.

mod changelog;
mod edges;
mod homes;
mod packages;
mod purity;
mod shape;
mod words;

use anyhow::Result;

use crate::tree::{Report, Tree};

/// One check.
pub(crate) struct Check {
    pub(crate) id: &'static str,
    /// What is true when the check reports nothing.
    pub(crate) keeps: &'static str,
    pub(crate) run: fn(&Tree) -> Result<Report>,
}

/// Every check, in the order they are run.
pub(crate) const CHECKS: &[Check] = &[
    Check { id: "edges", keeps: "crates use one another as ARCHITECTURE.md allows", run: edges::run },
    Check { id: "purity", keeps: "pure crates reach nothing outside", run: purity::run },
    Check { id: "homes", keeps: "each power has one home", run: homes::run },
    Check { id: "shape", keeps: "files are short, documented and compiled", run: shape::run },
    Check { id: "words", keeps: "no unfinished work, vague names or places of one machine", run: words::run },
    Check { id: "packages", keeps: "dependencies are allowed and permissively licensed", run: packages::run },
    Check { id: "changelog", keeps: "CHANGELOG.md can be read by people and programs", run: changelog::run },
];

/// The crates that have no clock, socket, file, async or randomness.
pub(crate) const PURE: &[&str] =
    &["binlog", "cloudstack", "dump", "facts", "flavor", "kill", "plan", "spec", "sqltext"];

#[cfg(test)]
mod tests {
    use super::CHECKS;
    use crate::tree::Tree;

    fn passes(id: &str) {
        let check = CHECKS.iter().find(|check| check.id == id).unwrap();
        let tree = Tree::read(&crate::workspace_root().unwrap()).unwrap();
        let report = (check.run)(&tree).unwrap();
        let told: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        assert!(told.is_empty(), "it no longer holds that {}:\n{}", check.keeps, told.join("\n"));
    }

    macro_rules! the_project_passes {
        ($($id:ident),*) => {
            $(#[test] fn $id() { passes(stringify!($id)); })*

            #[test]
            fn every_check_is_a_test() {
                let ids: Vec<&str> = CHECKS.iter().map(|check| check.id).collect();
                assert_eq!(ids, [$(stringify!($id)),*]);
            }
        };
    }

    the_project_passes!(edges, purity, homes, shape, words, packages, changelog);
}
