//! `mainstay rewind --into` and `mainstay backup rehearse` from the command line: killed in the middle, and all the way.

use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use crate::bench::{Bench, mysql_root, servers};
use crate::real_binlog::logging;

const LIMIT: Duration = Duration::from_secs(120);
/// The rows of all tables, in order.
const TABLES: &str = "SELECT * FROM shop.item ORDER BY id; SELECT id, what, COUNT(*) FROM shop.log GROUP BY 1, 2 ORDER BY 1, 2; \
    SELECT * FROM shop.late ORDER BY id";

/// A server with a backup in `place`, thousands of transactions after it, and all of it archived.
fn worked(server: &'static str, place: &str) -> Bench {
    let bench = logging(server, "max-binlog-size=1M\n");
    let socket = bench.node_path("socket").to_string_lossy().into_owned();
    bench.sql(
        "CREATE DATABASE shop; CREATE TABLE shop.item (id INT PRIMARY KEY AUTO_INCREMENT, n INT NOT NULL, v VARCHAR(200)); \
         CREATE TABLE shop.log (id INT, what VARCHAR(200)); \
         INSERT INTO shop.item (n, v) VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'); \
         CREATE TRIGGER shop.noted AFTER UPDATE ON shop.item FOR EACH ROW INSERT INTO shop.log VALUES (NEW.id, NEW.v)",
    );
    let ran = bench.run(&["backup", "create", "--place", place, "--socket", &socket, "--quiet"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    // Not idempotent: what is done twice or left out shows.
    let mut statements = String::new();
    for number in 0..3000 {
        statements.push_str(&format!(
            "UPDATE shop.item SET n = n + {number}, v = REPEAT('x', {}) WHERE id = {};",
            number % 190,
            number % 4 + 1
        ));
        if number % 500 == 250 {
            statements.push_str(&format!(
                "ALTER TABLE shop.item ADD COLUMN c{number} INT DEFAULT {number}, ADD KEY (n);"
            ));
        }
    }
    statements.push_str("CREATE TABLE shop.late (id INT PRIMARY KEY) SELECT id FROM shop.item; INSERT INTO shop.late VALUES (99);");
    // By standard input: --execute takes no commands of the client, and not as much.
    let mut shell = bench.shell("node1");
    shell.stdin.take().unwrap().write_all(statements.replace(';', ";\n").as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success(), "{server}: the work was refused");
    let ran = bench.run(&["backup", "archive", "--once", "--place", place, "--socket", &socket]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    bench
}

/// Waits until the replay is well under way, or has ended.
fn wait_for_progress(child: &mut Child, target: &Bench, least: u32) {
    let begun = Instant::now();
    let mut seen = 0;
    let mut last = String::new();
    while seen < least && child.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < LIMIT, "no progress");
        let ran = target.run(&[
            "lab",
            "shell",
            "t",
            "--execute",
            "SELECT log, position, begun_position FROM mainstay_replay.state",
        ]);
        if ran.code == Some(0) && ran.out != last && ran.out.contains("bin.") {
            seen += 1;
            last = ran.out;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn real_a_killed_rewind_of_a_server_goes_on_and_nothing_is_doubled() {
    for server in servers() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().to_string_lossy().into_owned();
        let source = worked(server, &place);
        let target = Bench::new(server, "");
        let socket = target.node_path("socket").to_string_lossy().into_owned();
        let rewind = ["rewind", "--into", &socket, "--place", &place, "--to", "end"];
        let dry = target.run(&[&rewind[..], &["--dry-run", "--json"]].concat()).json(2);
        assert_eq!(dry["tables"], 2, "{dry}");
        assert!(dry["log_bytes"].as_u64().unwrap() > 100_000, "{dry}");
        let mut kills = 0;
        // While it is restored, then while it is replayed.
        for database in ["mainstay_replay", "shop"] {
            let mut child = target.start_plain(&rewind);
            let begun = Instant::now();
            while child.try_wait().unwrap().is_none() && !target.sql("SHOW DATABASES").contains(database) {
                assert!(begun.elapsed() < LIMIT, "{database} does not appear");
            }
            child.kill().unwrap();
            kills += u32::from(child.wait().unwrap().signal() == Some(9));
        }
        let mut is_whole = false;
        for least in [1, 1, 2] {
            let mut child = target.start_plain(&rewind);
            wait_for_progress(&mut child, &target, least);
            child.kill().unwrap();
            // A fast machine may be done before it has shown as much progress.
            is_whole = child.wait().unwrap().signal() != Some(9);
            if is_whole {
                break;
            }
            kills += 1;
        }
        assert!(kills > 1, "{server}: it ended before it was killed");
        if !is_whole {
            let done = target.run(&[&rewind[..], &["--json"]].concat()).json(0);
            assert_eq!(done["replayed"]["resumed"], true, "{done}");
            println!("{server}: killed {kills} times: {}", done["replayed"]);
        }
        assert_eq!(target.sql(TABLES), source.sql(TABLES), "{server}");
        let show = "SHOW CREATE TABLE shop.item";
        assert_eq!(target.sql(show), source.sql(show), "{server}");
        assert_eq!(target.sql("SHOW DATABASES LIKE 'mainstay%'").trim(), "");
        let again = target.run(&rewind);
        assert_eq!(again.code, Some(1), "{again:?}");
        assert!(again.err.contains("the target is not empty: it has shop"), "{again:?}");
    }
}

#[test]
fn real_a_rehearsal_leaves_nothing_and_marks_the_backup() {
    for server in servers() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().to_string_lossy().into_owned();
        let source = worked(server, &place);
        let work_dir = source.folder.path().join("rehearsals").to_string_lossy().into_owned();
        let root = mysql_root().map(|root| root.to_string_lossy().into_owned()).unwrap_or_default();
        let mut rehearse =
            vec!["backup", "rehearse", "--place", &place, "--work-dir", &work_dir, "--memory-mib", "64"];
        if server == "mysql" {
            rehearse.extend(["--server-root", &root]);
        }
        let listed = |bench: &Bench| bench.run(&["backup", "list", "--place", &place]).out;
        assert!(!listed(&source).contains("restored"), "{}", listed(&source));
        let ran = source.run(&rehearse);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        println!("{server}: {}", ran.out);
        assert!(ran.out.contains("recovery time:") && ran.out.ends_with("verified\n"), "{ran:?}");
        assert!(
            Path::new(&place).join("marks").read_dir().unwrap().any(|it| it
                .unwrap()
                .file_name()
                .to_string_lossy()
                .ends_with(".restored.json"))
        );
        rehearse.push("--json");
        let done = source.run(&rehearse).json(0);
        assert_eq!(done["verified"], true, "{done}");
        assert!(done["replayed"]["transactions"].as_u64().unwrap() > 3000, "{done}");
        assert!(
            !Path::new(&work_dir).join("clusters/rehearsal").exists(),
            "the throwaway server's folder stays"
        );
    }
}
