//! `mainstay restore` as its user runs it: killed and run again.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::bench::{Bench, servers, write};

/// Rows of the large table, in statements of so many.
const ROWS: u32 = 60_000;
const ROWS_EACH: u32 = 500;

/// A dump with all that a restore does in steps: keys that wait, foreign keys, a table without a key, one without
/// transactions, objects. Statements between rows cut them into many pieces.
fn many_steps() -> String {
    let mut text = "-- MySQL dump 10.13\n/*!40101 SET NAMES utf8mb4 */;\nCREATE DATABASE `shop`;\nUSE `shop`;\n\
        CREATE TABLE `big` (`id` int NOT NULL AUTO_INCREMENT, `a` int, `v` varchar(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci, \
        PRIMARY KEY (`id`), KEY `a` (`a`), KEY `v` (`v`), KEY `av` (`a`,`v`)) ENGINE=InnoDB;\n"
        .to_owned();
    for first in (1..=ROWS).step_by(ROWS_EACH as usize) {
        let rows: Vec<String> = (first..first + ROWS_EACH)
            .map(|id| format!("({id},{},'{}{id}')", id % 97, "filling ".repeat(20)))
            .collect();
        writeln!(text, "INSERT INTO `big` VALUES {};\nCOMMIT;", rows.join(",\n")).unwrap();
    }
    for (table, engine) in [("bare", "InnoDB"), ("isam", "MyISAM")] {
        writeln!(text, "CREATE TABLE `{table}` (`a` int, `b` varchar(40)) ENGINE={engine};").unwrap();
        for first in (0..4_000).step_by(100) {
            let rows: Vec<String> = (first..first + 100).map(|a| format!("({a},'it''s {a};')")).collect();
            writeln!(text, "INSERT INTO `{table}` VALUES {};\nCOMMIT;", rows.join(",")).unwrap();
        }
    }
    text.push_str(
        "CREATE TABLE `child` (`id` int PRIMARY KEY, `big` int, KEY `big` (`big`), \
         CONSTRAINT `fk` FOREIGN KEY (`big`) REFERENCES `big` (`id`)) ENGINE=InnoDB;\n\
         INSERT INTO `child` VALUES (1,1),(2,60000),(3,NULL);\n\
         CREATE VIEW `seen` AS SELECT `id` FROM `big` WHERE `a` = 5;\nDELIMITER ;;\n\
         CREATE TRIGGER `tr` BEFORE INSERT ON `child` FOR EACH ROW SET @seen = 1 ;;\n\
         CREATE PROCEDURE `p`() BEGIN SELECT 1; END ;;\nDELIMITER ;\n-- Dump completed on x\n",
    );
    text
}

/// What is noted of a restore that is under way.
fn notes(bench: &Bench) -> u32 {
    let ran = bench.run(&[
        "lab",
        "shell",
        "t",
        "--execute",
        "SELECT CONCAT('n', COUNT(*)) FROM mainstay_restore.done",
    ]);
    let digits = ran.out.lines().rev().find_map(|line| line.trim().strip_prefix('n')?.parse().ok());
    digits.unwrap_or(0)
}

/// Waits until so much is noted, or the restore has ended; how much is noted then.
fn wait_for_notes(bench: &Bench, child: &mut std::process::Child, wanted: u32) -> u32 {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}: {wanted} notes never came", bench.server);
        let noted = notes(bench);
        if noted >= wanted || child.try_wait().unwrap().is_some() {
            return noted;
        }
    }
}

/// Waits until the server has ended the sessions of a restore that was killed, and with them its last statements.
fn wait_for_sessions_to_end(bench: &Bench) {
    let others = "SELECT CONCAT('others:', COUNT(*)) FROM information_schema.PROCESSLIST \
        WHERE ID <> CONNECTION_ID() AND USER NOT IN ('system user', 'event_scheduler')";
    let begun = Instant::now();
    while !bench.sql(others).contains("others:0") {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}: sessions never ended", bench.server);
    }
}

#[test]
fn real_a_killed_restore_loses_and_doubles_nothing() {
    for server in servers() {
        let bench = Bench::new(server, "");
        let dump = bench.folder.path().join("shop.sql");
        write(&dump, &many_steps());
        let (dump, socket) = (text(&dump), text(&bench.node_path("socket")));
        let restore = ["restore", &dump, "--socket", &socket, "--threads", "2", "--method", "insert"];
        // Tables, pieces of rows; from 204 on all rows are there, and keys are built; at 207 all of them may be.
        let mut killed = Vec::new();
        for wanted in [1, 5, 30, 80, 130, 180, 204] {
            let mut child = bench.start_plain(&restore);
            let noted = wait_for_notes(&bench, &mut child, wanted);
            child.kill().unwrap();
            let ended = child.wait().unwrap();
            if ended.code().is_none() {
                killed.push(noted);
                // The server may still be at the last step of all, and then there is nothing to go on with.
                if !(1..207).contains(&notes(&bench)) {
                    wait_for_sessions_to_end(&bench);
                }
                if !bench.sql("SHOW DATABASES").contains("mainstay_restore") {
                    break;
                }
            } else {
                assert_eq!(ended.code(), Some(0), "{server}: a restore that was not killed ends well");
                break;
            }
        }
        println!("{server}: killed with so many steps noted: {killed:?}");
        assert!(killed.len() >= 4, "{server}: {killed:?}");
        if bench.sql("SHOW DATABASES").contains("mainstay_restore") {
            let done = bench.run(&[&["--json"], &restore[..]].concat()).json(0);
            assert_eq!(done["resumed"], true, "{server}: {done}");
        }
        assert_whole(&bench, &restore);
    }
}

/// Nothing is lost or doubled, as against a restore that nobody disturbed.
fn assert_whole(bench: &Bench, restore: &[&str]) {
    let server = bench.server;
    assert!(!bench.sql("SHOW DATABASES").contains("mainstay_restore"), "{server}");

    let whole = bench.run(&[restore, &["--rename-database", "shop=model"]].concat());
    assert_eq!(whole.code, Some(0), "{whole:?}");
    let counts = bench.sql("SELECT CONCAT(COUNT(*), ':', SUM(id)) FROM shop.big; SELECT COUNT(*) FROM shop.seen; \
         SELECT CONCAT(COUNT(*), ':', SUM(a)) FROM shop.bare; SELECT CONCAT(COUNT(*), ':', SUM(a)) FROM shop.isam");
    for expected in ["60000:1800030000", "4000:7998000"] {
        assert!(counts.contains(expected), "{server}: {counts}");
    }
    assert_eq!(counts.matches("4000:7998000").count(), 2, "{server}: {counts}");
    for table in ["big", "bare", "isam", "child"] {
        let told = |sql: &str| bench.sql(sql).replace("model", "shop");
        for verb in ["SHOW CREATE TABLE", "CHECKSUM TABLE"] {
            let of = |database: &str| told(&format!("{verb} {database}.{table}"));
            assert_eq!(of("shop"), of("model"), "{server}");
        }
    }
    bench.sql("CALL shop.p(); SHOW CREATE TRIGGER shop.tr");
}

/// SIGKILL of the server, at several steps: the restore ends with an error, and the same command goes on once the server
/// is back.
#[test]
fn real_a_restore_outlives_its_server() {
    for server in servers() {
        let bench = Bench::new(server, "");
        let dump = bench.folder.path().join("shop.sql");
        write(&dump, &many_steps());
        let (dump, socket) = (text(&dump), text(&bench.node_path("socket")));
        let restore = ["restore", &dump, "--socket", &socket, "--threads", "2", "--method", "insert"];
        let mut killed = Vec::new();
        for wanted in [2, 20, 90, 180, 204] {
            let mut child = bench.start_plain(&restore);
            let noted = wait_for_notes(&bench, &mut child, wanted);
            let ran = bench.run(&["lab", "kill", "t"]);
            assert_eq!(ran.code, Some(0), "{server}: {ran:?}");
            let ended = child.wait().unwrap();
            let ran = bench.run(&["lab", "start", "t"]);
            assert_eq!(ran.code, Some(0), "{server}: {ran:?}");
            if ended.code() == Some(0) {
                // It had ended before the server was killed.
                break;
            }
            assert_eq!(ended.code(), Some(1), "{server}: it ends with an error after {noted} notes");
            killed.push(noted);
        }
        println!("{server}: killed with so many steps noted: {killed:?}");
        assert!(killed.len() >= 3, "{server}: {killed:?}");
        if bench.sql("SHOW DATABASES").contains("mainstay_restore") {
            let done = bench.run(&[&["--json"], &restore[..]].concat()).json(0);
            assert_eq!(done["resumed"], true, "{server}: {done}");
        }
        assert_whole(&bench, &restore);
    }
}

#[test]
fn what_cannot_be_written_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("d.sql");
    write(
        &dump,
        "CREATE DATABASE `a`;\nUSE `a`;\nCREATE TABLE `t` (`id` int);\nINSERT INTO `t` VALUES (1);\n",
    );
    let (dump, missing) = (text(&dump), text(&folder.path().join("no/such/folder/t.sql")));
    let ran = crate::bench::run(&["extract", &dump, "--table", "a.t", "--output", &missing]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.err.contains("t.sql cannot be written") && ran.err.contains("make the folder first"),
        "{ran:?}"
    );
    // A device is written to, and stays what it is: this one is a disk that is full.
    let full = folder.path().join("full.sql");
    std::os::unix::fs::symlink("/dev/full", &full).unwrap();
    let ran = crate::bench::run(&["extract", &dump, "--table", "a.t", "--output", &text(&full)]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("full.sql cannot be written") && ran.err.contains("make room"), "{ran:?}");
    assert!(std::fs::symlink_metadata(&full).unwrap().is_symlink());
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
