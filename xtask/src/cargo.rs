//! What cargo knows of the workspace: its crates, their edges, and the packages that are built.
//!
//! Asks cargo offline first, since everything is fetched once anything was built; judges nothing.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// The part of `cargo metadata` the checks read.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    /// `None` for a crate of the workspace.
    pub(crate) source: Option<String>,
    pub(crate) dependencies: Vec<Dependency>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` for a normal dependency, else `dev` or `build`.
    pub(crate) kind: Option<String>,
}

impl Dependency {
    pub(crate) fn is_dev(&self) -> bool {
        self.kind.as_deref() == Some("dev")
    }
}

/// The crates of the workspace and what their manifests name.
pub(crate) fn workspace(root: &Path) -> Result<Metadata> {
    let text = cargo(root, &["metadata", "--format-version", "1", "--no-deps", "--offline"])?;
    serde_json::from_str(&text).context("cargo metadata is not as expected")
}

/// Every package that is resolved for this platform.
pub(crate) fn resolved(root: &Path) -> Result<Metadata> {
    let platform = host_platform(root)?;
    let text = offline_first(root, &["metadata", "--format-version", "1", "--filter-platform", &platform])?;
    serde_json::from_str(&text).context("cargo metadata is not as expected")
}

/// `name version` of every package that is compiled for this platform, once each, sorted. The lock file also names
/// packages behind features that nothing switches on; these are not here.
pub(crate) fn built(root: &Path) -> Result<Vec<(String, String)>> {
    let text = offline_first(root, &["tree", "--workspace", "--prefix", "none", "--format", "{p}"])?;
    let mut built: Vec<(String, String)> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?.to_owned(), words.next()?.trim_start_matches('v').to_owned()))
        })
        .collect();
    built.sort();
    built.dedup();
    Ok(built)
}

fn offline_first(root: &Path, arguments: &[&str]) -> Result<String> {
    let offline: Vec<&str> = arguments.iter().copied().chain(["--offline"]).collect();
    cargo(root, &offline).or_else(|_| cargo(root, arguments))
}

fn host_platform(root: &Path) -> Result<String> {
    let text = run(root, "rustc", &["-vV"])?;
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("rustc -vV does not name its host")
}

fn cargo(root: &Path, arguments: &[&str]) -> Result<String> {
    // Under cargo, the cargo that runs us.
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    run(root, &program, arguments)
}

/// Runs cargo with its output on this terminal. Whether it ended well.
#[expect(clippy::disallowed_methods, reason = "the product's command runner is no dependency of the checks")]
pub(crate) fn run_shown(root: &Path, arguments: &[&str]) -> Result<bool> {
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let status = Command::new(&program).current_dir(root).args(arguments).status();
    Ok(status.with_context(|| format!("start {program}"))?.success())
}

#[expect(clippy::disallowed_methods, reason = "the product's command runner is no dependency of the checks")]
fn run(root: &Path, program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .current_dir(root)
        .args(arguments)
        .output()
        .with_context(|| format!("start {program}"))?;
    if !output.status.success() {
        bail!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{program} printed what is not UTF-8"))
}
