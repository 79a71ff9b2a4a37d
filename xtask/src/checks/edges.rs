//! Crates use one another only as the table in ARCHITECTURE.md allows.
//!
//! The table is `| from | may use | in tests also |`; a test may also use any pure crate. Every crate has a row and
//! every row a crate. What a crate takes from outside the workspace is not looked at here.

use anyhow::Result;

use super::PURE;
use crate::cargo::{self, Metadata};
use crate::source::numbered;
use crate::tree::{Finding, Report, Tree};

const PAGE: &str = "ARCHITECTURE.md";

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    line: usize,
    from: String,
    may_use: Vec<String>,
    in_tests: Vec<String>,
}

pub(super) fn run(tree: &Tree) -> Result<Report> {
    let metadata = cargo::workspace(&tree.root)?;
    let page = tree.file(PAGE).map(|file| file.text.as_str()).unwrap_or_default();
    Ok(check(page, &metadata).into())
}

fn check(page: &str, metadata: &Metadata) -> Vec<Finding> {
    let rows = table(page);
    if rows.is_empty() {
        return vec![Finding::new(PAGE, 1, "has no table `| from | may use | in tests also |`: write it")];
    }
    let exists = |name: &str| metadata.packages.iter().any(|package| package.name == name);
    let mut findings = Vec::new();
    for row in &rows {
        for name in std::iter::once(&row.from).chain(&row.may_use).chain(&row.in_tests) {
            if !exists(name) {
                let advice = format!("names `{name}`, which is no crate: remove it from the table");
                findings.push(Finding::new(PAGE, row.line, advice));
            }
        }
    }
    for package in &metadata.packages {
        let Some(row) = rows.iter().find(|row| row.from == package.name) else {
            let advice =
                format!("has no row for the crate `{}`: add one to the table of edges", package.name);
            findings.push(Finding::new(PAGE, 1, advice));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|dependency| exists(&dependency.name)) {
            let to = &dependency.name;
            let in_tests = dependency.is_dev() && (row.in_tests.contains(to) || PURE.contains(&to.as_str()));
            if !row.may_use.contains(to) && !in_tests {
                let kind = if dependency.is_dev() { "in tests " } else { "" };
                let advice = format!(
                    "`{}` {kind}uses `{to}`, which the table does not allow: pass the value in from a crate \
                     that may use both, or change the table and say why",
                    package.name
                );
                findings.push(Finding::new(PAGE, row.line, advice));
            }
        }
    }
    findings
}

fn table(page: &str) -> Vec<Row> {
    numbered(page)
        .skip_while(|(_, line)| !line.trim_start().starts_with("| from | may use |"))
        .skip(2)
        .take_while(|(_, line)| line.trim_start().starts_with('|'))
        .filter_map(|(line, text)| {
            let mut cells = text.trim().trim_matches('|').split('|');
            let from = names(cells.next()?).pop()?;
            let may_use = names(cells.next()?);
            Some(Row { line, from, may_use, in_tests: cells.next().map(names).unwrap_or_default() })
        })
        .collect()
}

fn names(cell: &str) -> Vec<String> {
    cell.split(',')
        .map(|name| name.trim().trim_matches('`').to_owned())
        .filter(|name| !matches!(name.as_str(), "" | "nothing"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::{Dependency, Package};

    const PAGE_TEXT: &str = "# Title\n\n| from | may use | in tests also |\n|---|---|---|\n\
        | flavor | nothing | |\n| host | flavor | |\n| lab | `host`, flavor | spec |\n\nafter | it |";

    fn package(name: &str, uses: &[(&str, Option<&str>)]) -> Package {
        let dependencies = uses
            .iter()
            .map(|(name, kind)| Dependency { name: (*name).into(), kind: kind.map(str::to_owned) })
            .collect();
        Package { name: name.into(), version: "0.1.0".into(), license: None, source: None, dependencies }
    }

    fn told(packages: Vec<Package>) -> Vec<String> {
        check(PAGE_TEXT, &Metadata { packages }).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn allowed_edges_pass() {
        let packages = vec![
            package("flavor", &[("serde", None)]),
            package("host", &[("flavor", None), ("tokio", None)]),
            package("lab", &[("host", None), ("flavor", None), ("spec", Some("dev"))]),
        ];
        // `spec` stands in the table, and there is no such crate.
        assert_eq!(
            told(packages),
            ["ARCHITECTURE.md:7: names `spec`, which is no crate: remove it from the table"]
        );
    }

    #[test]
    fn a_pure_crate_may_be_used_in_tests_and_no_other() {
        let packages = vec![
            package("flavor", &[("lab", Some("dev"))]),
            package("host", &[("spec", Some("dev"))]),
            package("lab", &[]),
            package("spec", &[]),
        ];
        let told = told(packages);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("ARCHITECTURE.md:5: `flavor` in tests uses `lab`"), "{told:?}");
        assert!(told[1].contains("no row for the crate `spec`"), "{told:?}");
    }

    #[test]
    fn a_forbidden_edge_is_found() {
        let packages = vec![
            package("flavor", &[("host", None)]),
            package("host", &[]),
            package("lab", &[("spec", None)]),
        ];
        let told = told(packages);
        assert!(
            told.iter().any(|line| line.starts_with("ARCHITECTURE.md:5: `flavor` uses `host`")),
            "{told:?}"
        );
    }

    #[test]
    fn a_page_without_the_table_is_found() {
        assert_eq!(check("# Title", &Metadata::default()).len(), 1);
    }
}
