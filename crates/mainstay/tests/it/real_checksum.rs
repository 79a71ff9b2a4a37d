//! `mainstay checksum` as its user meets it: exit codes, what is shown, the repair file.

use std::path::Path;

use serde_json::Value;

use crate::bench::{Ran, mysql_root, run_with, servers};

/// A primary and a replica, taken down when dropped.
struct Two {
    folder: tempfile::TempDir,
    lab: String,
    sockets: [String; 2],
}

impl Two {
    fn up(server: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lab = folder.path().join("lab").to_string_lossy().into_owned();
        let root = mysql_root().map(|root| root.to_string_lossy().into_owned()).unwrap_or_default();
        let mut args = vec!["lab", "up", "--name", "t", "--server", server, "--topology", "replication"];
        args.extend(["--nodes", "2", "--json"]);
        if server == "mysql" {
            args.extend(["--server-root", &root]);
        }
        let up = run_with(&args, "", &[("MAINSTAY_LAB_DIR", &lab)]).json(0);
        let socket = |at: usize| up["nodes"][at]["socket"].as_str().unwrap().to_owned();
        let sockets = [socket(0), socket(1)];
        Self { folder, lab, sockets }
    }

    fn run(&self, args: &[&str]) -> Ran {
        run_with(args, "", &[("MAINSTAY_LAB_DIR", &self.lab)])
    }

    fn sql(&self, node: &str, statement: &str) {
        let ran = self.run(&["lab", "shell", "t", node, "--execute", statement]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }

    fn checksum(&self, flags: &[&str]) -> Ran {
        let mut args = vec!["checksum", "--source", &self.sockets[0], "--target", &self.sockets[1]];
        args.extend(flags);
        self.run(&args)
    }
}

impl Drop for Two {
    fn drop(&mut self) {
        let ran = self.run(&["lab", "down", "t"]);
        if !std::thread::panicking() {
            assert_eq!(ran.code, Some(0), "{ran:?}");
        }
    }
}

fn verdicts(report: &Value) -> Vec<(String, String)> {
    let of = |table: &Value| {
        (table["table"]["table"].as_str().unwrap().to_owned(), table["verdict"].as_str().unwrap().to_owned())
    };
    report["tables"].as_array().unwrap().iter().map(of).collect()
}

#[test]
fn real_checksum_names_rows_and_writes_their_repair() {
    for server in servers() {
        let two = Two::up(server);
        two.sql(
            "node1",
            "CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY, note VARCHAR(20)); \
             CREATE TABLE shop.other (id INT PRIMARY KEY); \
             INSERT INTO shop.orders VALUES (1, 'a'), (2, NULL), (3, 'it''s')",
        );
        let equal = two.checksum(&[]);
        assert_eq!(equal.code, Some(0), "{server}: {equal:?}");
        assert!(equal.out.contains("2 tables equal, 0 differ"), "{}", equal.out);
        assert!(equal.out.contains("2 of the equal tables by CHECKSUM TABLE"), "{}", equal.out);
        let thorough = two.checksum(&["--thorough"]);
        assert_eq!(thorough.code, Some(0), "{server}: {thorough:?}");
        assert!(!thorough.out.contains("CHECKSUM TABLE"), "{}", thorough.out);
        two.sql(
            "node2",
            "SET sql_log_bin = 0; UPDATE shop.orders SET note = '' WHERE id = 2; \
             DELETE FROM shop.orders WHERE id = 3; INSERT INTO shop.orders VALUES (9, 'z')",
        );
        let file = two.folder.path().join("repair.sql");
        let repair = file.to_string_lossy().into_owned();
        let differs = two.checksum(&["--repair-sql", &repair]);
        assert_eq!(differs.code, Some(2), "{server}: {differs:?}");
        for said in [
            "differs    shop.orders",
            "1 missing, 1 extra, 1 changed",
            "changed id \"2\"",
            "note: NULL on the source, \"\" on the target",
            "1 tables equal, 1 differ",
        ] {
            assert!(differs.out.contains(said), "{server}: {said}: {}", differs.out);
        }
        // Never over what another comparison wrote.
        let again = two.checksum(&["--repair-sql", &repair]);
        assert_eq!(again.code, Some(1), "{server}: {again:?}");
        assert!(again.err.contains("repair statements"), "{}", again.err);
        mode_is_private(&file);
        let json = two.checksum(&["--json", "--databases", "shop"]).json(2);
        let expected =
            [("orders", "differs"), ("other", "equal")].map(|(table, is)| (table.to_owned(), is.to_owned()));
        assert_eq!(verdicts(&json), expected, "{server}");
        let ways: Vec<_> = json["tables"].as_array().unwrap().iter().map(|table| &table["way"]).collect();
        assert_eq!(ways, ["pieces", "checksum_table"], "{server}");

        let statements = std::fs::read_to_string(&file).unwrap();
        let lab = [("MAINSTAY_LAB_DIR", two.lab.as_str())];
        let ran = run_with(&["lab", "shell", "t", "node2"], &statements, &lab);
        assert_eq!(ran.code, Some(0), "{server}: {ran:?}");
        let repaired = two.checksum(&[]);
        assert_eq!(repaired.code, Some(0), "{server}: {repaired:?}");
        let missing = two.checksum(&["--table", "shop.nowhere"]);
        assert_eq!(missing.code, Some(1), "{server}: {missing:?}");
        assert!(missing.out.contains("neither side has it"), "{}", missing.out);
    }
}

fn mode_is_private(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_server_that_is_none_is_said() {
    let ran = run_with(&["checksum", "--source", "db1:port", "--target", "db2"], "", &[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("`db1:port` is no server's address"), "{ran:?}");
    let ran = run_with(&["checksum", "--source", "/nowhere/a.sock", "--target", "/nowhere/b.sock"], "", &[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("/nowhere/a.sock") && ran.err.contains("  -> "), "{ran:?}");
}
