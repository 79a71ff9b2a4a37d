//! `mainstay backup archive` as its user meets it: killed under load, two at once, a gap, a place that is gone or full.
//!
//! What is in the archive is told by rewinding the table to its end: a row that is missing or double shows.

use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::bench::{Bench, Ran, servers};
use crate::real_binlog::logging;

const LIMIT: Duration = Duration::from_secs(60);
const TABLE: &str = "CREATE DATABASE s; CREATE TABLE s.t (id BIGINT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(200)); \
    INSERT INTO s.t (v) VALUES ('first')";

fn path(bench: &Bench, name: &str) -> String {
    bench.folder.path().join(name).to_string_lossy().into_owned()
}

fn placed<'a>(verb: &[&'a str], place: &'a str, socket: &'a str) -> Vec<&'a str> {
    [verb, &["--place", place, "--socket", socket]].concat()
}

fn on_server(bench: &Bench, verb: &[&str]) -> Ran {
    let (place, socket) = (path(bench, "place"), bench.node_path("socket").to_string_lossy().into_owned());
    bench.run(&placed(verb, &place, &socket))
}

fn start(bench: &Bench, verb: &[&str]) -> Child {
    let (place, socket) = (path(bench, "place"), bench.node_path("socket").to_string_lossy().into_owned());
    bench.start_plain(&placed(verb, &place, &socket))
}

/// A server with a table, a backup of it, and a folder for the archive.
fn begun(server: &'static str) -> Bench {
    let bench = logging(server, "max-binlog-size=256K\n");
    std::fs::create_dir(bench.folder.path().join("place")).unwrap();
    bench.sql(TABLE);
    good(&on_server(&bench, &["backup", "create"]));
    bench
}

fn good(ran: &Ran) {
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

/// Where a rewind can go at most, as it says itself.
fn end(bench: &Bench) -> (Ran, String) {
    let late = on_server(bench, &["rewind", "--table", "s.t", "--to", "2199-01-01 00:00:00"]);
    assert_eq!(late.code, Some(1), "{late:?}");
    let end = late.err.split("--to-position ").nth(1).and_then(|rest| rest.split(';').next());
    let end = end.unwrap_or_else(|| panic!("{late:?}")).to_owned();
    (late, end)
}

/// Rewinds the table to a place; 0 where it is what the live one is.
fn rewound(bench: &Bench, to: &str) -> Ran {
    on_server(bench, &["rewind", "--table", "s.t", "--to-position", to])
}

/// Inserts rows, each a transaction, until told to stop.
struct Load {
    is_over: Arc<AtomicBool>,
    writing: std::thread::JoinHandle<u64>,
}

impl Load {
    fn on(bench: &Bench) -> Self {
        let mut shell = bench.shell("node1");
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let writing = std::thread::spawn(move || {
            let mut input = shell.stdin.take().unwrap();
            let mut count = 0;
            while !over.load(Ordering::Relaxed) {
                input.write_all(b"INSERT INTO s.t (v) VALUES (REPEAT('w', 100));\n").unwrap();
                count += 1;
            }
            drop(input);
            assert!(shell.wait().unwrap().success());
            count
        });
        Self { is_over, writing }
    }

    /// How many rows were inserted, once all of them are.
    fn end(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.writing.join().unwrap()
    }
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9), "it ended by itself");
}

const FOLLOW: [&str; 9] =
    ["backup", "archive", "--follow", "--segment-age", "1s", "--segment-mib", "1", "--lease", "1s"];

#[test]
fn real_an_archiver_killed_under_load_leaves_no_gap_and_nothing_double() {
    for server in servers() {
        let bench = begun(server);
        let load = Load::on(&bench);
        // The moment is what is tried out. One that follows a killed one waits for its lease first, a second or two.
        for moment_ms in [400, 1700, 2500, 1300, 2100] {
            let archiver = start(&bench, &FOLLOW);
            std::thread::sleep(Duration::from_millis(moment_ms));
            kill(archiver);
        }
        let rows = load.end();
        good(&on_server(&bench, &["backup", "archive", "--once"]));
        let status = on_server(&bench, &["--json", "backup", "archive", "--status", "--verify"]).json(0);
        assert_eq!(status["status"]["runs"].as_array().unwrap().len(), 1, "{status}");
        assert_eq!(status["check"]["problems"].as_array().unwrap().len(), 0, "{status}");
        let (_, end) = end(&bench);
        good(&rewound(&bench, &end));
        let count = bench.sql("SELECT CONCAT('n=', COUNT(*)) FROM s.t_rewound");
        assert!(rows > 100 && count.contains(&format!("n={}", rows + 1)), "{server}: {rows} rows, {count}");
        println!("{server}: {rows} rows, equal after 5 archivers were killed");
    }
}

#[test]
fn real_a_second_archiver_is_refused_while_the_first_one_lives() {
    let Some(server) = servers().first().copied() else { return };
    let bench = begun(server);
    let first = start(&bench, &FOLLOW);
    until("the first one archiving", || {
        bench.folder.path().join("place/binlog").read_dir().is_ok_and(|mut runs| runs.next().is_some())
    });
    for verb in [&["backup", "archive", "--once"] as &[&str], &FOLLOW] {
        let second = on_server(&bench, verb);
        assert_eq!(second.code, Some(1), "{second:?}");
        let said = second.err.contains("another archiver writes into") && second.err.contains("process ");
        assert!(said && second.err.contains("--lease"), "{second:?}");
    }
    kill(first);
    let begun = Instant::now();
    let after = on_server(&bench, &["backup", "archive", "--once"]);
    good(&after);
    assert!(
        after.err.contains("may still be archiving") && begun.elapsed() > Duration::from_secs(1),
        "{after:?}"
    );
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LIMIT, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn real_nothing_is_rewound_across_a_gap_and_where_it_can_go_is_said() {
    for server in servers() {
        let bench = begun(server);
        bench.sql("INSERT INTO s.t (v) VALUES ('archived')");
        good(&on_server(&bench, &["backup", "archive", "--once"]));
        bench.sql(
            "CREATE DATABASE model; CREATE TABLE model.t LIKE s.t; INSERT INTO model.t SELECT * FROM s.t",
        );
        good(&on_server(&bench, &["backup", "archive", "--once"]));
        bench.sql("FLUSH BINARY LOGS; INSERT INTO s.t (v) VALUES ('lost'); FLUSH BINARY LOGS");
        let logs = crate::real_binlog::logs(&bench);
        let newest = logs.last().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        // The last archiver's session may still be about to end.
        until("purging", || {
            bench.sql(&format!("PURGE BINARY LOGS TO '{newest}'"));
            crate::real_binlog::logs(&bench).len() == 1
        });
        let refused = on_server(&bench, &["backup", "archive", "--once"]);
        assert!(refused.code == Some(1) && refused.err.contains("there is a gap"), "{refused:?}");
        assert!(refused.err.contains("--accept-gap") && refused.err.contains(&newest), "{refused:?}");
        good(&on_server(&bench, &["backup", "archive", "--once", "--accept-gap"]));
        bench.sql("INSERT INTO s.t (v) VALUES ('behind the gap')");
        good(&on_server(&bench, &["backup", "archive", "--once"]));
        let status = on_server(&bench, &["backup", "archive", "--status"]);
        assert!(status.code == Some(2) && status.out.contains("GAP: "), "{status:?}");

        let (late, to) = end(&bench);
        assert!(late.err.contains("the archive has a gap"), "{late:?}");
        let across = rewound(&bench, &format!("{newest}:100000000"));
        assert_eq!(across.code, Some(1), "{across:?}");
        let into = bench.run(&[
            "rewind",
            "--into",
            "/nowhere.sock",
            "--place",
            &path(&bench, "place"),
            "--to",
            "end",
        ]);
        assert_eq!(into.code, Some(1), "{into:?}");
        println!("{server}: {}\n{}\n{}", late.err, across.err, into.err);
        // To where it says it can go, it goes.
        let done = rewound(&bench, &to);
        assert_eq!(done.code, Some(2), "the live table has more: {done:?}");
        let sum = |table: &str| {
            bench
                .sql(&format!("CHECKSUM TABLE {table} EXTENDED"))
                .split_whitespace()
                .last()
                .unwrap()
                .to_owned()
        };
        assert_eq!(sum("s.t_rewound"), sum("model.t"), "{server}");
        // From a backup behind the gap, everything is in reach again.
        good(&on_server(&bench, &["backup", "create"]));
        bench.sql("DROP TABLE s.t_rewound; INSERT INTO s.t (v) VALUES ('and more')");
        good(&on_server(&bench, &["backup", "archive", "--once"]));
        let (_, to) = end(&bench);
        good(&rewound(&bench, &to));
    }
}
