//! Takes the guards of high availability away, one at a time, and has the simulator find what goes wrong without; where
//! that takes more than some ten thousand runs, the scenarios of `ha` have to tell the difference.
//!
//! Works on a copy of the crates under `target/guards`; the project's own files are never changed.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};

/// A guard: text of the sources whose absence some invariant has to notice.
struct Guard {
    name: &'static str,
    file: &'static str,
    /// Occurs once in the file.
    find: &'static str,
    replace: &'static str,
    /// Invariants that are expected to notice.
    expected: &'static [&'static str],
}

/// Seeds that are tried before a guard counts as not noticed.
const SEEDS: u64 = 60_000;

/// Crates that are copied.
const CRATES: &[&str] = &["flavor", "ha", "sim"];

const GUARDS: &[Guard] = &[
    Guard {
        name: "a quorum of the ackers is examined",
        file: "crates/ha/src/model.rs",
        find: "(self.ackers.len() + 1).saturating_sub(need)",
        replace: "self.ackers.len().min(1).min(need)",
        expected: &["I2", "I3"],
    },
    Guard {
        name: "an acker counts only in the incarnation it was listed with",
        file: "crates/ha/src/election.rs",
        find: "listed == Some(&member.server.incarnation)",
        replace: "listed.is_some()",
        expected: &["I2", "I4"],
    },
    Guard {
        name: "the candidate holds all that was examined",
        file: "crates/ha/src/election.rs",
        find: "} else if !member.server.position.contains(wanted) {",
        replace: "} else if false {",
        expected: &["I2"],
    },
    Guard {
        name: "a lease of another is waited out",
        file: "crates/ha/src/view.rs",
        find: "if self.memory.leader_age(self.view.now) >= self.policy.ttl {",
        replace: "if self.memory.leader_age(self.view.now) >= self.policy.ttl / 4 {",
        expected: &["I1", "I7"],
    },
    Guard {
        name: "the store is read for the length of a lease before one is taken",
        file: "crates/ha/src/election.rs",
        find: "let left = seen.policy.ttl.saturating_sub(reads);",
        replace: "let left = reads.min(0);",
        expected: &["I1", "I7"],
    },
    Guard {
        name: "the server ends with the lease (the agent's fence)",
        file: "crates/sim/src/act.rs",
        find: "host.guard = Some(Armed { deadline: holding.until, epoch, process });",
        replace: "host.guard = Some(Armed { deadline: holding.until + 60_000, epoch, process });",
        expected: &["I1", "I5", "I7"],
    },
    Guard {
        name: "a claim rests on reports that have not changed",
        file: "crates/ha/src/election.rs",
        find: "let mut examined = examined(seen, lineage);",
        replace: "let mut examined: Vec<(NodeName, u64)> = examined(seen, lineage).into_iter().take(0).collect();",
        expected: &["I2", "I3"],
    },
    Guard {
        name: "an acker is shut out before it is struck off",
        file: "crates/ha/src/ackers.rs",
        find: "if !says_no && !is_blocked {",
        replace: "if false {",
        expected: &["I4"],
    },
    Guard {
        name: "the others hold everything before an acker is struck off",
        file: "crates/ha/src/ackers.rs",
        find: "mark.as_ref().is_some_and(|mark| member.server.position.contains(mark))",
        replace: "mark.as_ref().is_none_or(|_| !member.agent.is_empty())",
        expected: &["I2", "I4"],
    },
    Guard {
        name: "an acker is listed before it acknowledges",
        file: "crates/ha/src/replica.rs",
        find: "let listed = lineage.sync.ackers.get(seen.view.me) == Some(&seen.server().incarnation);",
        replace: "let listed = true;",
        expected: &["I4"],
    },
    Guard {
        name: "a node that is silent may still acknowledge",
        file: "crates/ha/src/model.rs",
        find: "Health::Starting | Health::Hung => false,",
        replace: "Health::Starting | Health::Hung => true,",
        expected: &["I4"],
    },
    Guard {
        name: "the candidate holds what the last primary began with",
        file: "crates/ha/src/decide.rs",
        find: "if !server.position.contains(&state.lineage.start) {",
        replace: "if false {",
        expected: &["I2"],
    },
    Guard {
        name: "data of another cluster is left alone",
        file: "crates/ha/src/decide.rs",
        find: "local.server.cluster.as_deref().filter(|cluster| *cluster != state.cluster)",
        replace: "local.server.cluster.as_deref().filter(|cluster| cluster.is_empty() && state.cluster.is_empty())",
        expected: &["I8", "I10"],
    },
    Guard {
        name: "a store that is older than the nodes is not believed",
        file: "crates/ha/src/decide.rs",
        find: "if newest > state.epoch || opened > state.lineage.epoch {",
        replace: "if newest == 0 && opened > 0 {",
        expected: &["I1", "I2", "I6"],
    },
    Guard {
        name: "a cluster is founded only when every node reports",
        file: "crates/ha/src/found.rs",
        find: "if !vetoes.is_empty() {",
        replace: "if reports.is_empty() {",
        expected: &["I2"],
    },
    Guard {
        name: "nobody is promoted while paused",
        file: "crates/ha/src/election.rs",
        find: "if seen.shared.paused {",
        replace: "if seen.policy.ttl == 0 {",
        expected: &["I13"],
    },
    Guard {
        name: "a node with promotion = 0 is never promoted",
        file: "crates/ha/src/decide.rs",
        find: "if tags.promotion == 0 {",
        replace: "if tags.promotion == 1 {",
        expected: &["I8"],
    },
    Guard {
        name: "a node that lags on purpose is never promoted",
        file: "crates/ha/src/decide.rs",
        find: "if tags.delay_seconds > 0 {",
        replace: "if tags.delay_seconds > 1_000 {",
        expected: &["I8"],
    },
    Guard {
        name: "only the disk that led comes back",
        file: "crates/ha/src/election.rs",
        find: "if !is_handed && !is_unused && seen.view.local.opened != Some(state.lineage.epoch) {",
        replace: "if !is_handed && !is_unused && seen.policy.ttl == 0 {",
        expected: &["I2", "I10"],
    },
    Guard {
        name: "every node agrees before a lease goes on without the store",
        file: "crates/sim/src/act.rs",
        find: "if other != node && !self.agrees(node, other, holding.epoch) {",
        replace: "if other != node && !self.agrees(node, other, holding.epoch) && self.nodes.len() == 1 {",
        expected: &["I1", "I7"],
    },
    Guard {
        name: "who agreed takes no part in an election",
        file: "crates/ha/src/election.rs",
        find: "promised_until.filter(|until| *until > seen.view.now)",
        replace: "promised_until.filter(|until| *until < seen.view.now && *until > seen.view.now)",
        expected: &["I1", "I7"],
    },
    Guard {
        name: "writes are opened only when everything is applied",
        file: "crates/ha/src/promotion.rs",
        find: "if !server.is_applied() {",
        replace: "if !server.is_applied() && epoch == 0 {",
        expected: &["I2"],
    },
    Guard {
        name: "commits wait for acknowledgements",
        file: "crates/ha/src/promotion.rs",
        find: "asynchronous: are_new || seen.policy.nodes.len() < 2 };",
        replace: "asynchronous: true };",
        expected: &["I4"],
    },
    Guard {
        name: "what a node holds beyond the lineage's start is not the primary's",
        file: "crates/ha/src/replica.rs",
        find: "if extra.is_empty() || was_following {",
        replace: "if extra.is_empty() || was_following || seen.policy.ttl > 0 {",
        expected: &["I12"],
    },
    Guard {
        name: "who connects before writes open holds nothing beyond what was handed over",
        file: "crates/ha/src/replica.rs",
        find: " && all.contains(&seen.server().position);",
        replace: ";",
        expected: &["I12"],
    },
];

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("make {}", to.display()))?;
    for entry in std::fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)
                .with_context(|| format!("copy {}", entry.path().display()))?;
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a scratch copy, made anew each time")]
fn put(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

fn text_of(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

/// A workspace of the few crates, as they are now.
fn prepare(root: &Path) -> Result<PathBuf> {
    let folder = root.join("target").join("guards");
    let crates = folder.join("crates");
    if crates.exists() {
        std::fs::remove_dir_all(&crates).with_context(|| format!("remove {}", crates.display()))?;
    }
    for name in CRATES {
        copy_tree(&root.join("crates").join(name), &crates.join(name))?;
    }
    let manifest = text_of(&root.join("Cargo.toml"))?;
    let members = "members = [\"crates/*\", \"xtask\"]";
    ensure!(manifest.contains(members), "the workspace's members are not as expected");
    put(&folder.join("Cargo.toml"), &manifest.replace(members, "members = [\"crates/*\"]"))?;
    std::fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")).context("copy Cargo.lock")?;
    Ok(folder)
}

#[expect(clippy::disallowed_methods, reason = "the product's command runner is no dependency of the checks")]
fn cargo(folder: &Path, arguments: &[&str]) -> Result<std::process::Output> {
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    Command::new(program)
        .current_dir(folder)
        .args(arguments)
        .args(["--quiet", "--offline", "--config", "profile.release.lto=false"])
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env("RUSTFLAGS", "-A warnings")
        .output()
        .context("start cargo")
}

fn build(folder: &Path) -> Result<()> {
    let output = cargo(folder, &["build", "--release", "-p", "sim"])?;
    if !output.status.success() {
        bail!(
            "the crates do not build without the guard: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// What the simulator finds: the first line that tells of a violation, if any.
#[expect(clippy::disallowed_methods, reason = "the product's command runner is no dependency of the checks")]
fn simulate(folder: &Path, seeds: u64) -> Result<Option<String>> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let output = Command::new(folder.join("target/release/sim"))
        .args([
            "--until-violation",
            "--show",
            "0",
            "--seeds",
            &seeds.to_string(),
            "--threads",
            &threads.to_string(),
        ])
        .output()
        .context("start sim")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        text.contains("simulated "),
        "the simulator ended early: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(text.lines().find(|line| line.starts_with("seed ")).map(str::to_owned))
}

/// The scenarios of `ha` that no longer go as they are written down.
fn differing(folder: &Path) -> Result<Vec<String>> {
    let output = cargo(folder, &["test", "-p", "ha", "--test", "it", "--no-fail-fast"])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        text.contains("test result:"),
        "the scenarios were not run: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let scenarios = folder.join("crates/ha/tests/it/scenarios");
    let is_scenario = |name: &String| scenarios.join(format!("{name}.txt")).exists();
    Ok(failed(&text).into_iter().filter(is_scenario).collect())
}

/// Names below `failures:`, without their module.
fn failed(text: &str) -> Vec<String> {
    let names = text.rsplit_once("failures:").map_or("", |(_, names)| names).lines();
    let names = names.filter_map(|line| line.trim().strip_prefix("golden::"));
    names.map(str::to_owned).collect()
}

/// `seed 7: I2 at 9 ms: ...` as seed, invariant and sentence.
fn parts(line: &str) -> (String, String, String) {
    let rest = line.trim_start_matches("seed ");
    let (seed, rest) = rest.split_once(": ").unwrap_or((rest, ""));
    let (invariant, sentence) = rest.split_once(' ').unwrap_or((rest, ""));
    (seed.to_owned(), invariant.to_owned(), sentence.chars().take(70).collect())
}

/// Takes each guard away. The table says which invariant noticed, and at which seed.
#[expect(clippy::print_stdout, reason = "a command of the project's own, with nobody else to print for it")]
pub(crate) fn run(only: Option<&str>) -> Result<ExitCode> {
    let folder = prepare(&crate::workspace_root()?)?;
    build(&folder)?;
    let clean = simulate(&folder, 2_000)?;
    ensure!(clean.is_none(), "a violation with every guard in place: {}", clean.unwrap_or_default());
    println!("| guard | noticed by | expected | first seed | what was seen |\n|---|---|---|---|---|");
    let mut missed = Vec::new();
    for guard in GUARDS.iter().filter(|guard| only.is_none_or(|only| guard.name.contains(only))) {
        let path = folder.join(guard.file);
        let original = text_of(&path)?;
        let count = original.matches(guard.find).count();
        ensure!(count == 1, "{}: the guard's text occurs {count} times: {}", guard.file, guard.find);
        put(&path, &original.replace(guard.find, guard.replace))?;
        let found = build(&folder).and_then(|()| simulate(&folder, SEEDS));
        let found = found.with_context(|| guard.name)?;
        let differing = if found.is_none() { differing(&folder) } else { Ok(Vec::new()) };
        put(&path, &original)?;
        let differing = differing.with_context(|| guard.name)?;
        match found {
            Some(line) => {
                let (seed, invariant, sentence) = parts(&line);
                println!(
                    "| {} | {invariant} | {} | {seed} | {sentence} |",
                    guard.name,
                    guard.expected.join(", ")
                );
            }
            None if !differing.is_empty() => {
                let (count, first) = (differing.len(), differing.iter().take(3).cloned().collect::<Vec<_>>());
                let which = if count == 1 { "scenario" } else { "scenarios" };
                println!(
                    "| {} | {count} {which}; no invariant in {SEEDS} runs | {} | | {} |",
                    guard.name,
                    guard.expected.join(", "),
                    first.join(", ")
                );
            }
            None => {
                println!("| {} | nothing in {SEEDS} runs | {} | | |", guard.name, guard.expected.join(", "));
                missed.push(guard.name);
            }
        }
    }
    if missed.is_empty() { Ok(ExitCode::SUCCESS) } else { Ok(ExitCode::FAILURE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guard_is_found_once() {
        let root = crate::workspace_root().unwrap();
        for guard in GUARDS {
            let text = text_of(&root.join(guard.file)).unwrap();
            assert_eq!(text.matches(guard.find).count(), 1, "{}: {}", guard.name, guard.find);
            assert_ne!(guard.find, guard.replace);
        }
    }

    #[test]
    fn differing_scenarios_are_read() {
        let text = "test golden::a ... FAILED\n\nfailures:\n\n---- golden::a stdout ----\nx\n\nfailures:\n    \
                    golden::a\n    golden::b\n\ntest result: FAILED. 1 passed";
        assert_eq!(failed(text), ["a", "b"]);
        assert!(failed("test result: ok. 2 passed").is_empty());
    }

    #[test]
    fn a_violation_is_read() {
        let line = "seed 7: I2 at 9 ms: a leads";
        assert_eq!(parts(line), ("7".to_owned(), "I2".to_owned(), "at 9 ms: a leads".to_owned()));
    }
}
