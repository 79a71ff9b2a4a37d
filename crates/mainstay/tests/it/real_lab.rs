//! `mainstay lab` from the command line.

use std::path::Path;

use crate::bench::{Bench, run_with, servers};

/// Command lines of the processes that a folder is named in.
fn processes_naming(folder: &Path) -> Vec<String> {
    let folder = folder.to_string_lossy();
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.unwrap().path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&*folder))
        .collect()
}

#[test]
fn real_a_server_that_apply_started_goes_with_its_lab() {
    for server in servers() {
        let bench = Bench::new(server, "");
        assert_eq!(bench.run(&["lab", "stop", "t"]).code, Some(0));
        let ran = bench.on_spec(&["apply", "--yes"]);
        assert_eq!(ran.code, Some(0), "{server}: {ran:?}");
        let folder = bench.folder.path().join("lab/clusters/t");
        assert!(!processes_naming(&folder).is_empty(), "{server}");
        assert_eq!(bench.run(&["lab", "down", "t"]).code, Some(0));
        assert!(!folder.exists(), "{server}");
        assert_eq!(processes_naming(&folder), Vec::<String>::new(), "{server}");
    }
}

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
        let folder = bench.folder.path().join("lab/clusters/t");
        assert!(!processes_naming(&folder).is_empty(), "{server}: no server was found to compare with");
        assert_eq!(bench.run(&["lab", "down", "t"]).code, Some(0));
        assert!(!folder.exists(), "{server}");
        assert_eq!(processes_naming(&folder), Vec::<String>::new(), "{server}");
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

/// Takes the demo's cluster down, also after a failure.
struct Demo(String);

impl Drop for Demo {
    fn drop(&mut self) {
        let ran = run_with(&["lab", "down", "demo"], "", &[("MAINSTAY_LAB_DIR", &self.0)]);
        if !std::thread::panicking() && !servers().is_empty() {
            assert_eq!(ran.code, Some(0), "{ran:?}");
        }
    }
}

#[test]
fn real_the_demo_loses_nothing_and_can_be_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let lab = folder.path().join("lab").to_string_lossy().into_owned();
    let demo = Demo(lab.clone());
    let environment = [("MAINSTAY_LAB_DIR", lab.as_str())];
    for server in servers() {
        let root = crate::bench::mysql_root();
        let mut args = vec!["demo", "--server", server];
        if server == "mysql" {
            args.extend(["--server-root", root.as_deref().and_then(Path::to_str).unwrap()]);
        }
        // The second one finds the first one's cluster.
        let ran = run_with(&args, "", &environment);
        assert_eq!(ran.code, Some(0), "{server}: {ran:?}");
        assert!(ran.out.contains("; 0 of them are missing"), "{server}: {}", ran.out);
        assert!(ran.out.contains("gave the lease up: the server died"), "{server}: {}", ran.out);
    }
    drop(demo);
    assert_eq!(processes_naming(folder.path()), Vec::<String>::new());
}
