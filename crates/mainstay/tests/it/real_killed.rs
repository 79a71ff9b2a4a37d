//! Apply killed at every step, and in the middle of one, completes when it is run again.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use crate::bench::{Bench, servers, write_setup_files};

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
        let (_setup, bench) = bench_with_schema(server);
        let mut child = bench.start(&["apply", "--yes"]);
        // Until the load has made some of its tables.
        let deadline = Instant::now() + Duration::from_secs(60);
        let audit = bench.own("state").join("audit.jsonl");
        loop {
            let begun = std::fs::read_to_string(&audit).unwrap_or_default().contains("cloudstack/schema");
            let tables =
                "SELECT CONCAT('n', COUNT(*)) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'cloud'";
            if begun && !bench.sql(tables).contains("n0") {
                break;
            }
            assert!(Instant::now() < deadline, "{server}: the load did not begin");
            if child.try_wait().unwrap().is_some() {
                break;
            }
        }
        child.kill().unwrap();
        let status = child.wait().unwrap();
        if status.signal().is_none() {
            println!("{server}: the load ended before it could be killed");
        } else {
            assert!(bench.planned().contains(&"database/cloud/drop".to_owned()), "{server}");
        }
        assert_whole(&bench);
    }
}

#[test]
fn real_two_applies_at_once_end_well() {
    for server in servers() {
        let bench = Bench::new(server, "");
        let children = [bench.start(&["apply", "--yes"]), bench.start(&["apply", "--yes"])];
        let ended: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
        let good = ended.iter().filter(|output| output.status.success()).count();
        assert!(good >= 1, "{server}: {ended:?}");
        for output in ended.iter().filter(|output| !output.status.success()) {
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(text.contains("has changed since the plan") || text.contains("lock"), "{server}: {text}");
        }
        assert_eq!(bench.planned(), Vec::<String>::new(), "{server}");
    }
}
