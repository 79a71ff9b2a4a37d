//! The project's own checks: `cargo xtask tidy` runs them all, and each is also a test of this crate.
//!
//! A check reads the tree and reports what is wrong and what to do instead; it never changes a file. What
//! rustc, clippy and rustfmt already check is left to them.

mod cargo;
mod checks;
mod guards;
#[cfg(test)]
mod scripts;
mod source;
mod spdx;
mod tree;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::checks::CHECKS;
use crate::tree::Tree;

#[derive(Parser)]
#[command(about = "The project's own checks")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Checks crate edges, purity, sizes, module docs, words, dependencies and the changelog.
    Tidy,
    /// Simulates whole clusters from seeds: `simulate --seeds N`; the arguments are those of the program `sim`.
    Simulate {
        /// For the program.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Takes each guard of the decisions away in a copy and shows which invariant catches it.
    Guards {
        /// Only this one.
        only: Option<String>,
    },
    /// Runs a real cluster in network namespaces and breaks it: `chaos --server mariadb --faults N --seed S`, or
    /// `chaos compare` against peers.
    Chaos {
        /// For the program.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// Builds a program of the workspace for release and runs it; this crate stays small and quick to build.
fn program(root: &Path, package: &str, arguments: &[String]) -> Result<ExitCode> {
    let mut words = vec!["run", "--release", "--quiet", "--package", package, "--"];
    words.extend(arguments.iter().map(String::as_str));
    Ok(if cargo::run_shown(root, &words)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `chaos` needs the binary it breaks, and its verb `run` unless another is named.
fn chaos(root: &Path, arguments: &[String]) -> Result<ExitCode> {
    let built = program(root, "mainstay", &["--version".to_owned()])?;
    if built != ExitCode::SUCCESS {
        return Ok(built);
    }
    let verbs = ["run", "compare", "cleanup", "help", "--help"];
    let mut all = arguments.to_vec();
    if !arguments.first().is_some_and(|first| verbs.contains(&first.as_str())) {
        all.insert(0, "run".to_owned());
    }
    if matches!(all.first().map(String::as_str), Some("run" | "compare"))
        && !all.iter().any(|word| word == "--mainstay")
    {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        all.extend(["--mainstay".to_owned(), target.join("release/mainstay").to_string_lossy().into_owned()]);
    }
    program(root, "chaos", &all)
}

/// The folder of the workspace, which holds this crate's folder. Cargo says at run time which one: two checkouts may
/// share a build folder, and so this program.
fn workspace_root() -> Result<PathBuf> {
    let own = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    Path::new(&own).parent().map(Path::to_path_buf).context("this crate is not inside a workspace")
}

#[expect(clippy::print_stdout, reason = "a command of the project's own, with nobody else to print for it")]
fn tidy() -> Result<ExitCode> {
    let tree = Tree::read(&workspace_root()?)?;
    let mut finding_count = 0_usize;
    for check in CHECKS {
        let report = (check.run)(&tree).with_context(|| format!("check `{}` could not run", check.id))?;
        for note in &report.notes {
            println!("{}: note: {note}", check.id);
        }
        if !report.findings.is_empty() {
            println!("{}: it no longer holds that {}:", check.id, check.keeps);
        }
        for finding in &report.findings {
            println!("  {finding}");
        }
        finding_count += report.findings.len();
    }
    if finding_count == 0 {
        println!("tidy: {} checks on {} files, nothing to report", CHECKS.len(), tree.files.len());
        return Ok(ExitCode::SUCCESS);
    }
    println!("tidy: to put right: {finding_count}");
    Ok(ExitCode::FAILURE)
}

fn main() -> Result<ExitCode> {
    match Cli::parse().task {
        Task::Tidy => tidy(),
        Task::Simulate { arguments } => program(&workspace_root()?, "sim", &arguments),
        Task::Guards { only } => guards::run(only.as_deref()),
        Task::Chaos { arguments } => chaos(&workspace_root()?, &arguments),
    }
}
