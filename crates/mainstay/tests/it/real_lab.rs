//! `mainstay lab` from the command line.

use crate::bench::{Bench, servers};

#[test]
fn real_lab_verbs_do_what_they_say() {
    for server in servers() {
        let bench = Bench::new(server, "");
        let listed = bench.run(&["lab", "list", "--json"]).json(0);
        let node = &listed["clusters"][0]["nodes"][0];
        for key in ["name", "host", "port", "socket", "datadir", "pid"] {
            assert!(!node[key].is_null(), "{key} in {node}");
        }
        let state = |bench: &Bench| {
            bench.run(&["lab", "status", "t", "--json"]).json(0)["nodes"][0]["process"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(state(&bench), "running");
        for (verb, after) in [
            ("pause", "paused"),
            ("resume", "running"),
            ("kill", "dead"),
            ("start", "running"),
            ("stop", "stopped"),
            ("start", "running"),
        ] {
            let ran = bench.run(&["lab", verb, "t"]);
            assert_eq!(ran.code, Some(0), "{server} {verb}: {ran:?}");
            assert_eq!(state(&bench), after, "{server} after {verb}");
        }
        assert!(bench.sql("SELECT 40 + 2").contains("42"));
        let missing = bench.run(&["lab", "down", "nosuch"]);
        assert_eq!(missing.code, Some(1));
        assert!(missing.err.contains("nosuch"), "{missing:?}");
    }
}

#[test]
fn real_replication_lab_takes_the_profile() {
    if !servers().contains(&"mariadb") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let lab = folder.path().to_string_lossy().into_owned();
    let environment = [("MAINSTAY_LAB_DIR", lab.as_str())];
    let run = |args: &[&str]| crate::bench::run_with(args, "", &environment);
    run(&["lab", "up", "--name", "r", "--topology", "replication", "--nodes", "2", "--json"]).json(0);
    let text = run(&["lab", "spec", "r", "--cloud", "none"]).out;
    let spec = folder.path().join("r.toml");
    crate::bench::write(&spec, &text);
    let status = run(&["status", "--json", "--config", &spec.to_string_lossy()]);
    let json: serde_json::Value = serde_json::from_str(&status.out).unwrap();
    assert_eq!(json["nodes"][0]["role"]["known"], "primary", "{json}");
    assert_eq!(json["nodes"][1]["role"]["known"], "replica", "{json}");
    assert_eq!(json["nodes"][1]["read_only"]["known"], true, "{json}");
    let down = run(&["lab", "down", "r"]);
    assert_eq!(down.code, Some(0), "{down:?}");
    assert!(run(&["lab", "list"]).out.contains("No clusters"));
}
