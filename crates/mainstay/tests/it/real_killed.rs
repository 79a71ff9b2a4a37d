//! Apply killed at every step, and in the middle of one, completes when it is run again.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use crate::bench::{Bench, servers, write, write_setup_files};

fn bench_with_schema(server: &'static str) -> (tempfile::TempDir, Bench) {
    let setup = tempfile::tempdir().unwrap();
    write_setup_files(setup.path());
    let bench = Bench::new(server, &format!("schema_dir = {:?}\n", setup.path()));
    (setup, bench)
}

fn assert_whole(bench: &Bench) {
    let ran = bench.on_spec(&["apply", "--yes"]);
    assert_eq!(ran.code, Some(0), "{}: {ran:?}", bench.server);
    assert_eq!(bench.planned(), Vec::<String>::new(), "{}", bench.server);
    let counts = bench
        .sql("SELECT CONCAT('v', COUNT(*)) FROM cloud.version; SELECT CONCAT('x', COUNT(*)) FROM cloud.t1");
    assert!(counts.contains("v1") && counts.contains("x1"), "{}: {counts}", bench.server);
}

#[test]
fn real_apply_killed_at_every_step_completes() {
    for server in servers() {
        let (_setup, bench) = bench_with_schema(server);
        let steps = bench.planned();
        assert!(steps.len() > 20, "{steps:?}");
        for step in &steps {
            let ran = bench.run_env(
                &["apply", "--yes", "--config", &bench.spec().to_string_lossy()],
                &[("MAINSTAY_FAULT_KILL_AT", step)],
            );
            // Dead by a signal, so without an exit code.
            assert_eq!(ran.code, None, "{server}, {step}: {ran:?}");
            let left = bench.planned();
            assert!(left.contains(step), "{server}: {step} was done before it began: {left:?}");
        }
        assert_whole(&bench);
    }
}

#[test]
fn real_apply_killed_inside_the_schema_load_completes() {
    for server in servers() {
        let (setup, bench) = bench_with_schema(server);
        // The load waits where the version table is there and has no row, so that the kill hits it for certain.
        let file = setup.path().join("create-schema.sql");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("INSERT INTO `version`"));
        write(&file, &text.replacen("INSERT INTO `version`", "DO SLEEP(5);\nINSERT INTO `version`", 1));
        let version = bench.node_path("datadir").join("cloud/version.ibd");
        let mut child = bench.start(&["apply", "--yes"]);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !version.exists() {
            assert!(Instant::now() < deadline, "{server}: the load did not begin");
            assert!(child.try_wait().unwrap().is_none(), "{server}: apply ended before the load");
            std::thread::sleep(Duration::from_millis(10));
        }
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9), "{server}: the load ended before it was killed");
        let schema = "cloudstack/schema".to_owned();
        assert_eq!(bench.audited("step-begins").last(), Some(&schema), "{server}");
        assert!(!bench.audited("step-done").contains(&schema), "{server}");
        // What Mainstay began is made anew, and nothing else is left to do.
        assert_eq!(
            bench.planned(),
            [
                "database/cloud/drop",
                "database/cloud_usage/drop",
                "database/cloud/create",
                "database/cloud_usage/create",
                "cloudstack/schema"
            ],
            "{server}"
        );
        assert_whole(&bench);
    }
}

#[test]
fn real_two_applies_at_once_end_well() {
    for server in servers() {
        let bench = Bench::new(server, "");
        let mut wanted = bench.planned();
        wanted.sort();
        let children = [bench.start(&["apply", "--yes"]), bench.start(&["apply", "--yes"])];
        let ended: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
        let good = ended.iter().filter(|output| output.status.success()).count();
        assert!(good >= 1, "{server}: {ended:?}");
        for output in ended.iter().filter(|output| !output.status.success()) {
            let text = String::from_utf8_lossy(&output.stderr);
            let held = text.contains("error: process ") && text.contains("holds the lock");
            assert!(held || text.contains("has changed since the plan"), "{server}: {text}");
            assert!(text.contains("  -> "), "{server}: no hint: {text}");
        }
        // Every step was done, and none by both.
        let mut done = bench.audited("step-done");
        done.sort();
        assert_eq!(done, wanted, "{server}");
        assert_eq!(bench.planned(), Vec::<String>::new(), "{server}");
    }
}
