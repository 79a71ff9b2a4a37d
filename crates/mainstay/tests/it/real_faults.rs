//! Worlds that are not as the spec thinks: each ends with a clear message, and with nothing done.

use std::os::unix::fs::PermissionsExt;

use crate::bench::{Bench, servers, write, write_secret, write_setup_files};

fn replace(bench: &Bench, from: &str, to: &str) {
    let text = std::fs::read_to_string(bench.spec()).unwrap();
    assert!(text.contains(from), "{from} is not in the spec");
    write(&bench.spec(), &text.replace(from, to));
}

/// A refused apply: exit 1, the words, a next command; and nothing was done.
fn assert_refused(bench: &Bench, args: &[&str], words: &str) {
    let ran = bench.on_spec(args);
    assert_eq!(ran.code, Some(1), "{words}: {ran:?}");
    assert!(ran.err.contains(words), "expected {words:?} in: {}", ran.err);
    assert!(ran.err.contains("  -> "), "no hint: {}", ran.err);
    assert!(!bench.own("state").join("audit.jsonl").exists(), "{words}: something was done");
}

#[test]
fn real_wrong_worlds_are_refused() {
    for server in servers() {
        let bench = Bench::new(server, "");
        let spec = std::fs::read_to_string(bench.spec()).unwrap();
        let other = if server == "mariadb" { "mysql" } else { "mariadb" };

        replace(&bench, &format!("server = \"{server}\""), &format!("server = \"{other}\""));
        assert_refused(&bench, &["apply", "--yes"], "preflight check server stops");
        write(&bench.spec(), &spec);

        replace(&bench, "/data\"", "/elsewhere\"");
        assert_refused(&bench, &["apply", "--yes"], "preflight check data-directory stops");
        write(&bench.spec(), &spec);

        replace(&bench, "memory = \"2G\"", "memory = \"512M\"");
        assert_refused(&bench, &["apply", "--yes"], "preflight check memory stops");
        write(&bench.spec(), &spec);

        let file = bench.own("secrets").join("cloud");
        write_secret(&file, "exposed-Secret-1");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_refused(&bench, &["apply", "--yes"], "cannot be used");
        assert_refused(&bench, &["apply", "--yes"], &format!("chmod 0600 {}", file.display()));
        std::fs::remove_file(&file).unwrap();

        bench.sql("CREATE DATABASE cloud; CREATE TABLE cloud.precious (id int primary key)");
        assert_refused(&bench, &["apply", "--yes"], "not a CloudStack database");
        assert_refused(&bench, &["apply"], "not a CloudStack database");
        assert_refused(&bench, &["apply", "--recreate", "cloud,cloud_usage"], "not confirmed");
        let ran = bench.on_spec(&["apply", "--recreate", "cloud,cloud_usage", "--yes"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(!bench.sql("SHOW TABLES IN cloud").contains("precious"));
    }
}

#[test]
fn real_a_socket_where_nothing_listens_is_refused() {
    for server in servers() {
        let bench = Bench::new(server, "");
        let socket = bench.node_path("socket").display().to_string();
        replace(&bench, &format!("socket = {socket:?}"), "socket = \"/nonexistent/mysqld.sock\"");
        // With nothing on the port the server is taken to be stopped, and starting it is not ours.
        replace(&bench, "manager = \"process\"", "manager = \"none\"");
        // The server that runs holds the port, which is the first thing to be wrong.
        assert_refused(&bench, &["apply", "--yes"], "preflight check port stops");
        assert_eq!(bench.run(&["lab", "stop", "t"]).code, Some(0));
        let shown = bench.on_spec(&["plan", "--no-measure"]);
        assert_eq!(shown.code, Some(2), "{shown:?}");
        assert!(shown.out.contains("the server does not run"), "{shown:?}");
        assert_refused(&bench, &["apply", "--yes"], "`manager = \"none\"` says that it is not started here");
    }
}

#[test]
fn real_without_a_terminal_nothing_is_done_unasked() {
    for server in servers() {
        let bench = Bench::new(server, "");
        assert_refused(&bench, &["apply"], "there is no terminal to ask on");
    }
}

#[test]
fn real_setup_files_cut_short_are_refused() {
    let Some(server) = servers().first().copied() else { return };
    let setup = tempfile::tempdir().unwrap();
    write_setup_files(setup.path());
    let bench = Bench::new(server, &format!("schema_dir = {:?}\n", setup.path()));
    let path = setup.path().join("create-schema.sql");
    let text = std::fs::read_to_string(&path).unwrap();
    // Cut in the middle of a statement, and of that statement's own first line.
    let start = text.find("CREATE TABLE `cloud`.`t7`").unwrap();
    write(&path, text.get(..start + 40).unwrap());
    let line = text.get(..start).unwrap().matches('\n').count() + 1;
    assert_refused(&bench, &["apply", "--yes"], &format!("create-schema.sql:{line}: the file is cut short"));
    assert!(!bench.sql("SHOW DATABASES").contains("cloud"));
    std::fs::remove_file(&path).unwrap();
    assert_refused(&bench, &["apply", "--yes"], "create-schema.sql");
}

#[test]
fn real_a_plan_of_yesterday_is_refused() {
    for server in servers() {
        let bench = Bench::new(server, "");
        let file = bench.folder.path().join("plan.json").to_string_lossy().into_owned();
        assert_eq!(bench.on_spec(&["plan", "--out", &file]).code, Some(2));
        bench.sql("SET GLOBAL max_connections = 77");
        let ran = bench.on_spec(&["apply", "--yes", "--plan", &file]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.err.contains("has changed since the plan"), "{}", ran.err);
        assert_eq!(bench.on_spec(&["plan", "--out", &file]).code, Some(2));
        let ran = bench.on_spec(&["apply", "--yes", "--plan", &file]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
}

#[test]
fn real_a_stopped_server_is_started_and_then_planned_whole() {
    for server in servers() {
        let bench = Bench::new(server, "");
        assert_eq!(bench.run(&["lab", "stop", "t"]).code, Some(0));
        let plan = bench.on_spec(&["plan"]);
        assert!(plan.out.contains("A further plan follows"), "{plan:?}");
        let ran = bench.on_spec(&["apply", "--yes"]);
        assert_eq!(ran.code, Some(0), "{server}: {ran:?}");
        assert_eq!(bench.planned(), Vec::<String>::new(), "{server}");
        let status = bench.on_spec(&["status", "--json"]).json(0);
        assert_eq!(status["nodes"][0]["differences"]["known"], 0, "{status}");
    }
}

#[test]
fn real_a_server_that_dies_in_the_middle_leaves_a_plan() {
    for server in servers() {
        let bench = Bench::new(server, "");
        let child = bench.start(&["apply", "--yes"]);
        assert_eq!(bench.run(&["lab", "kill", "t"]).code, Some(0));
        let output = child.wait_with_output().unwrap();
        // Killed before, during or after the restart that apply does: it fails with a hint, or starts it itself.
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(text.contains("error: "), "{server}: {text}");
        }
        let ran = bench.on_spec(&["apply", "--yes"]);
        assert_eq!(ran.code, Some(0), "{server}: {ran:?}");
        assert_eq!(bench.planned(), Vec::<String>::new(), "{server}");
    }
}
