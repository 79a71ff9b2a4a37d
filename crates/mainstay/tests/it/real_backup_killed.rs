//! Backups that are killed, or whose server is: nothing half made is one, and the next run is whole.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bench::{Bench, Ran, servers};
use crate::real_binlog::logging;

const LIMIT: Duration = Duration::from_secs(60);
const PARTS: u32 = 8;
const ROWS: u64 = 2 * 16_384;

/// A server with two tables of what does not compress well, and a folder for backups.
fn shop(server: &'static str) -> Bench {
    let bench = logging(server, "");
    let mut sql =
        "CREATE DATABASE shop; CREATE TABLE shop.a (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(1000)); \
        INSERT INTO shop.a (v) VALUES (SHA2(RAND(), 512));"
            .to_owned();
    for _ in 0..14 {
        sql.push_str(
            "INSERT INTO shop.a (v) SELECT CONCAT(SHA2(RAND(), 512), SHA2(RAND(), 512)) FROM shop.a;",
        );
    }
    sql.push_str("CREATE TABLE shop.b LIKE shop.a; INSERT INTO shop.b SELECT * FROM shop.a;");
    sql.push_str("ANALYZE TABLE shop.a, shop.b");
    bench.sql(&sql);
    for folder in ["place", "scratch"] {
        fs::create_dir(bench.folder.path().join(folder)).unwrap();
    }
    bench
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn place(bench: &Bench) -> PathBuf {
    bench.folder.path().join("place")
}

fn create(bench: &Bench, label: &str, more: &[&str]) -> Vec<String> {
    let (place, socket) = (text(&place(bench)), text(&bench.node_path("socket")));
    let args =
        ["backup", "create", "--json", "--quiet", "--place", &place, "--socket", &socket, "--label", label];
    args.iter().chain(more).map(|&arg| arg.to_owned()).collect()
}

fn run(bench: &Bench, args: &[String]) -> Ran {
    bench.run(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

fn on_place(bench: &Bench, verb: &[&str]) -> Ran {
    let place = text(&place(bench));
    bench.run(&[verb, &["--place", &place]].concat())
}

/// Whether something in a folder is so. What goes meanwhile is not.
fn has(folder: &Path, is_so: impl Fn(&Path) -> bool) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.any(|it| it.is_ok_and(|it| is_so(&it.path()))))
}

/// Waits until the server has ended a clone whose client was killed, which it goes on with.
fn until_cloned(bench: &Bench) {
    let begun = Instant::now();
    let count = "SELECT CONCAT('n', COUNT(*)) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'CLONE%'";
    while !bench.sql(count).contains("n0") {
        assert!(begun.elapsed() < LIMIT, "the clone does not end");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The backups that are listed, complete or not, by their labels.
fn listed(bench: &Bench) -> Vec<(String, bool)> {
    let report = on_place(bench, &["backup", "list", "--json"]).json(0);
    let line = |line: &Value| {
        let id = line["id"].as_str().unwrap();
        (id.split_once('-').unwrap().1.to_owned(), line["is_complete"].as_bool().unwrap())
    };
    report["backups"].as_array().unwrap().iter().map(line).collect()
}

/// Kills a backup after another part of the time each time that a whole one takes. The labels of those that were killed.
fn killed(bench: &Bench, more: &[&str]) -> BTreeSet<String> {
    let begun = Instant::now();
    run(bench, &create(bench, "timed", more)).json(0);
    let took = begun.elapsed();
    let mut killed = BTreeSet::new();
    for part in 1..=PARTS {
        let label = format!("k{part}");
        let args = create(bench, &label, more);
        let mut child = bench.start_plain(&args.iter().map(String::as_str).collect::<Vec<_>>());
        std::thread::sleep(took * part / PARTS);
        child.kill().unwrap();
        if child.wait().unwrap().signal() == Some(9) {
            killed.insert(label);
        }
    }
    assert!(killed.len() > 2, "{took:?}: {killed:?}");
    killed
}

/// Those that were killed are no backups, and a further one is whole.
fn assert_none_of(bench: &Bench, killed: &BTreeSet<String>, more: &[&str]) {
    let listed = listed(bench);
    for (label, is_complete) in &listed {
        // The last thing that a backup does is to say that it is one: it may have been killed just after.
        if killed.contains(label) && *is_complete {
            let ran = on_place(bench, &["backup", "verify"]);
            assert_eq!(ran.code, Some(0), "{label} claims to be a backup: {ran:?}");
        }
        assert!(killed.contains(label) || *is_complete, "{label}: {listed:?}");
    }
    assert!(listed.iter().any(|(_, is_complete)| !is_complete), "none was hit: {listed:?}");
    let made = run(bench, &create(bench, "again", more)).json(0);
    let id = made["id"].as_str().unwrap();
    let verified = on_place(bench, &["backup", "verify", id]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

/// What was killed goes once it is too old to be under way.
fn assert_pruned(bench: &Bench) {
    let all: Vec<PathBuf> = fs::read_dir(place(bench)).unwrap().map(|it| it.unwrap().path()).collect();
    for (number, path) in all.iter().filter(|path| !path.join("mainstay.json").exists()).enumerate() {
        fs::rename(path, path.with_file_name(format!("20200101T0000{number:02}Z-old"))).unwrap();
    }
    let pruned = on_place(bench, &["backup", "prune", "--yes", "--keep-last", "100"]);
    assert_eq!(pruned.code, Some(0), "{pruned:?}");
    let old = fs::read_dir(place(bench)).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    assert_eq!(old.filter(|name| name.ends_with("-old")).count(), 0, "{pruned:?}");
}

#[test]
fn real_a_dump_that_is_killed_is_no_backup_and_the_next_is_whole() {
    for server in servers() {
        let bench = shop(server);
        let more = ["--threads", "2", "--chunk-mib", "1", "--level", "9"];
        let killed = killed(&bench, &more);
        assert_none_of(&bench, &killed, &more);
        let made = run(&bench, &create(&bench, "last", &more)).json(0);
        assert_eq!(made["rows"].as_u64(), Some(ROWS), "{server}");
        assert_pruned(&bench);
        println!("{server}: killed {}", killed.len());
    }
}

#[test]
fn real_a_physical_backup_that_is_killed_leaves_nothing_for_long() {
    for server in servers() {
        let bench = shop(server);
        let scratch = bench.folder.path().join("scratch");
        let more = ["--physical", "--scratch", &text(&scratch)];
        let locked = |path: &Path| path.join("mainstay.lock").exists();
        // When its folder is there, when there are files of the server in it, and when they are on their way to the place.
        let copied = |path: &Path| path.join(if server == "mysql" { "ibdata1" } else { "log" }).exists();
        let begun = |path: &Path| has(path, |it| text(it).contains("/.mainstay-physical"));
        let moments: [&dyn Fn() -> bool; 3] =
            [&|| has(&scratch, locked), &|| has(&scratch, copied), &|| has(&place(&bench), begun)];
        let mut hit = BTreeSet::new();
        for (number, has_come) in moments.iter().enumerate() {
            let label = format!("k{number}");
            let args = create(&bench, &label, &more);
            let mut child = bench.start_plain(&args.iter().map(String::as_str).collect::<Vec<_>>());
            while !has_come() {
                assert!(child.try_wait().unwrap().is_none(), "{server} {number}: it ended before");
                std::thread::sleep(Duration::from_millis(1));
            }
            child.kill().unwrap();
            assert_eq!(child.wait().unwrap().signal(), Some(9), "{server} {number}");
            assert!(has(&scratch, |_| true), "{server} {number}: nothing left");
            hit.insert(label);
            until_cloned(&bench);
        }
        assert_none_of(&bench, &hit, &more);
        assert!(!has(&scratch, |_| true), "{server}: {:?}", fs::read_dir(&scratch).unwrap().next());
        assert_pruned(&bench);
    }
}

#[test]
fn real_a_server_that_dies_makes_no_backup() {
    for server in servers() {
        let bench = shop(server);
        // One session, and the smallest pieces: most of it is left when the first piece is there.
        let more = ["--threads", "1", "--chunk-mib", "1", "--level", "15"];
        let args = create(&bench, "cut", &more);
        let child = bench.start_piped(&args.iter().map(String::as_str).collect::<Vec<_>>());
        let begun = Instant::now();
        let is_piece = |path: &Path| text(path).contains("/shop.a.00");
        while !has(&place(&bench), |backup| has(backup, is_piece)) {
            assert!(begun.elapsed() < LIMIT, "{server}: no piece");
            std::thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(bench.run(&["lab", "kill", "t"]).code, Some(0));
        let ended = child.wait_with_output().unwrap();
        assert!(begun.elapsed() < LIMIT, "{server}: it took {:?} to notice", begun.elapsed());
        let err = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{server}: {err}");
        let is_clear =
            err.contains("error: cannot ") && err.contains("connection lost") && err.contains("\n  -> ");
        assert!(is_clear, "{server}: {err}");
        assert_eq!(listed(&bench), [("cut".to_owned(), false)], "{server}");
        println!("{server}: {err}");
        assert_eq!(bench.run(&["lab", "start", "t"]).code, Some(0));
        // The lab's server does not wait for its disk: it may have lost the last second.
        let there = bench.sql("SELECT (SELECT COUNT(*) FROM shop.a) + (SELECT COUNT(*) FROM shop.b) AS n");
        let made = run(&bench, &create(&bench, "again", &more)).json(0);
        assert!(there.contains(&made["rows"].to_string()), "{server}: {there}");
    }
}

#[test]
fn a_physical_backup_is_not_held_back() {
    for option in [["--max-lag", "10s"], ["--max-running", "4"]] {
        let args = ["backup", "create", "--place", "/nowhere", "--physical"];
        let ran = crate::bench::run(&[&args[..], &option].concat());
        assert!(ran.err.contains(&format!("'--physical' cannot be used with '{}", option[0])), "{ran:?}");
        assert_ne!(ran.code, Some(0), "{ran:?}");
    }
}
