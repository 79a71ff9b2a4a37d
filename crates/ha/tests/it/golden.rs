//! Each file of `scenarios/` as a test: what its commands lead to is what it says. With `MAINSTAY_BLESS=1` the files
//! are rewritten to say what happens; read the difference before you keep it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::script;

fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn path(name: &str) -> PathBuf {
    home().join("tests/it/scenarios").join(format!("{name}.txt"))
}

fn play(name: &str) {
    let wanted = fs::read_to_string(path(name)).unwrap();
    let found = script::run(&format!("{name}.txt"), &wanted).unwrap_or_else(|why| panic!("{why}"));
    if found != wanted {
        assert!(std::env::var_os("MAINSTAY_BLESS").is_some(), "{}", first_difference(name, &wanted, &found));
        replace(&path(name), &found);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a file of the working copy, which its owner is about to look at"
)]
fn replace(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

/// Where a file and what happened part, with what follows in both.
fn first_difference(name: &str, wanted: &str, found: &str) -> String {
    let (wanted, found): (Vec<&str>, Vec<&str>) = (wanted.lines().collect(), found.lines().collect());
    let same = wanted.iter().zip(&found).take_while(|(wanted, found)| wanted == found).count();
    let part = |lines: &[&str]| lines.iter().skip(same).take(6).map(|line| format!("    {line}\n")).collect();
    let (wanted, found): (String, String) = (part(&wanted), part(&found));
    let place = format!("{name}.txt:{}", same + 1);
    format!("{place}: the file says\n{wanted}  and what happens is\n{found}  (MAINSTAY_BLESS=1 rewrites it)")
}

macro_rules! scenarios {
    ($($name:ident)*) => {
        $(#[test] fn $name() { play(stringify!($name)); })*
        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

scenarios! {
    ackers_join_and_leave
    acks_false
    agent_paused
    agent_paused_alone
    all_agents_paused
    all_read_only
    another_clusters_data
    another_clusters_data_and_epoch
    another_clusters_data_on_the_primary
    available_bounded_loss
    available_goes_on_alone
    available_primary_reports
    best_candidate_least_to_apply
    best_candidate_mariadb
    best_candidate_mysql
    best_candidate_none
    better_candidate_does_not_act
    clock_moved
    commits_wait
    cut_off_from_etcd
    cut_off_from_replicas
    disk_full
    disk_full_on_replicas
    disk_stalled
    disk_stalled_alone
    errant_transactions
    errant_transactions_of_a_stranger
    etcd_lost
    etcd_lost_one_disagrees
    etcd_lost_while_examined
    etcd_restored
    etcd_restored_in_one_epoch
    etcd_slow
    etcd_wiped
    etcd_wiped_replica_ahead
    failover_asked
    failover_asked_in_an_old_epoch
    failover_asked_of_a_primary
    failovers_limit
    failovers_limit_passes
    founding
    founding_refused
    founding_with_data
    host_gone
    hung_replica_at_a_switchover
    maintenance
    maintenance_of_the_primary
    never_promoted
    newer_version
    newer_version_nothing_else
    newer_version_switchover
    old_disk_on_a_replica
    paused
    power_loss
    power_loss_another_disk
    promoted_applies_first
    promotion_interrupted
    promotion_interrupted_agent
    promotion_refused
    promotion_refused_then_not
    rejoin_subset
    rejoin_tail_mariadb
    rejoin_tail_mysql
    replica_gone_under_load
    replication_broken
    replication_broken_and_primary_gone
    reseed_forbidden
    reseed_without_donor
    server_does_not_start
    server_hung
    server_killed
    server_killed_alone
    switchover
    switchover_after_etcd_was_away
    switchover_errant
    switchover_waits_for_the_store
    switchover_nobody_takes
    switchover_refused
    switchover_target_dies
    switchover_target_restarts
    switchover_waits
    switchover_waits_in_vain
    two_agents
    two_nodes_and_a_witness
    wait_for_two
    writes_opened_by_hand
}

#[test]
fn every_file_is_a_test() {
    let files = fs::read_dir(home().join("tests/it/scenarios")).unwrap();
    let files = files.map(|file| file.unwrap().path()).filter(|path| path.extension().unwrap() == "txt");
    let files: BTreeSet<String> =
        files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(files, NAMES.iter().map(ToString::to_string).collect());
}

/// Situations whose outcome is decided elsewhere than in this crate.
const ELSEWHERE: &[&str] = &[
    "It has too many connections",
    "The store holds something else",
    "Its certificate has expired",
    "A hook hangs",
];

#[test]
fn every_scenario_is_documented_and_every_situation_has_one() {
    let mut named = BTreeSet::new();
    for name in NAMES {
        let text = fs::read_to_string(path(name)).unwrap();
        let first = text.lines().next().and_then(|line| line.strip_prefix("# docs: "));
        let (page, heading) = first.and_then(|line| line.split_once(": ")).unwrap_or_else(|| {
            panic!("{name}.txt:1: expected `# docs: PAGE: HEADING`");
        });
        let page_text = fs::read_to_string(home().join(format!("../../docs/{page}.md"))).unwrap();
        let is_there = page_text.lines().any(|line| line.trim_start_matches('#').trim() == heading);
        assert!(is_there, "{name}.txt:1: docs/{page}.md has no heading `{heading}`");
        named.insert(heading.to_owned());
    }
    named.extend(ELSEWHERE.iter().map(ToString::to_string));
    let situations = fs::read_to_string(home().join("../../docs/ha-what-if.md")).unwrap();
    for situation in situations.lines().filter_map(|line| line.strip_prefix("### ")) {
        assert!(named.contains(situation), "docs/ha-what-if.md: no scenario shows `{situation}`");
    }
}

#[test]
fn a_script_that_is_wrong_is_told_with_its_place() {
    let agreed = "nodes a b\nagreed: a leads epoch 7 holding 0-1-1\n";
    for (wrong, what) in [
        ("nodes a b\ntick z", "x.txt:2: no node z: tick z"),
        ("nodes a\n\n# words\nfnord", "x.txt:4: unknown command: fnord"),
        ("nodes a\nnode a: sleepy", "x.txt:2: unknown property `sleepy`: node a: sleepy"),
        ("nodes a\nnode a: holds 0-1", "x.txt:2: no GTIDs: \"0-1\": node a: holds 0-1"),
        ("nodes a\nnode a: unanswered long", "x.txt:2: no number `long`: node a: unanswered long"),
        ("nodes a\nat 5\nat 5", "x.txt:3: not later, or by more than 60000 ms: at 5"),
        ("nodes a\nrun to 60001", "x.txt:2: not later, or by more than 60000 ms: run to 60001"),
        ("nodes a\nnode a: io off", "x.txt:2: follows nobody: node a: io off"),
        (
            "nodes a\nnode a: silent\ntick a",
            "x.txt:3: the agent of a does not run, so it decides nothing: tick a",
        ),
        ("nodes a\nask failover to a", "x.txt:2: no state: ask failover to a"),
    ] {
        assert_eq!(script::run("x.txt", wrong), Err(what.to_owned()));
    }
    let twice = format!("{agreed}agreed: b leads epoch 8 holding 0-1-1");
    assert!(script::run("x.txt", &twice).unwrap_err().starts_with("x.txt:3: only at the beginning"));
    assert!(script::run("x.txt", &"#\n".repeat(40_000)).is_err());
}

/// What a file says does not count for what happens.
#[test]
fn a_wrong_expectation_is_found() {
    let right = "nodes a b\nagreed: a leads epoch 7 holding 0-1-1\ntick b\n\
                 > b: a leads in epoch 7; replicating and acknowledging\n";
    assert_eq!(script::run("x.txt", right).as_deref(), Ok(right));
    for wrong in
        [right.replace("epoch 7;", "epoch 8;"), right.replace("> b", ">   - renew\n> b"), String::new()]
    {
        let script: String = right.lines().take(3).map(|line| format!("{line}\n")).collect();
        let rest = wrong.strip_prefix(&script).unwrap_or_default();
        let found = script::run("x.txt", &format!("{script}{rest}")).unwrap();
        assert_eq!(found, right);
        assert!(first_difference("x", &wrong, &found).contains("the file says"));
    }
}
