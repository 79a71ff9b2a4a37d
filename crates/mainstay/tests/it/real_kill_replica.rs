//! `mainstay kill` on a replica: whoever started replication, its threads are the server's own.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bench::{Bench, servers};

const LIMIT: Duration = Duration::from_secs(60);

fn on(bench: &Bench, node: &str, statement: &str) -> String {
    let ran = bench.run(&["lab", "shell", "t", node, "--execute", statement]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.out
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LIMIT, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn real_kill_leaves_replication_alone() {
    for server in servers() {
        let bench = Bench::up(server, &["--topology", "replication", "--nodes", "2"]);
        // As an operator starts it by hand: as himself.
        let start = if server == "mysql" { "STOP REPLICA; START REPLICA" } else { "STOP SLAVE; START SLAVE" };
        on(&bench, "node2", start);
        on(&bench, "node1", "CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY)");
        let tables =
            "SELECT CONCAT('n=', COUNT(*)) AS it FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop'";
        until("the replica has the table", || on(&bench, "node2", tables).contains("n=1"));

        let mut reader = bench.shell("node2");
        let mut input = reader.stdin.take().unwrap();
        std::io::Write::write_all(&mut input, b"START TRANSACTION;\nSELECT * FROM shop.orders;\n").unwrap();
        std::io::Write::flush(&mut input).unwrap();
        let reading = "SELECT CONCAT('n=', COUNT(*)) AS it FROM information_schema.PROCESSLIST \
            WHERE USER = 'root' AND COMMAND = 'Sleep'";
        until("a reader holds the table", || on(&bench, "node2", reading).contains("n=1"));
        on(&bench, "node1", "ALTER TABLE shop.orders ADD COLUMN v INT");
        let waits = "SELECT CONCAT('n=', COUNT(*)) AS it FROM information_schema.PROCESSLIST \
            WHERE STATE = 'Waiting for table metadata lock'";
        until("the applier waits", || on(&bench, "node2", waits).contains("n=1"));

        let nodes = bench.run(&["lab", "list", "--json"]).json(0);
        let socket = nodes["clusters"][0]["nodes"][1]["socket"].as_str().unwrap().to_owned();
        let report = bench.run(&["kill", "--json", "--socket", &socket, "--match-statement", "ALTER"]);
        let report: Value = serde_json::from_str(&report.out).unwrap();
        let verdict = &report["verdict"];
        assert_eq!(verdict["kills"].as_array().unwrap().len(), 0, "{server}: {report}");
        let spared = verdict["spared"].as_array().unwrap();
        assert_eq!(spared.len(), 1, "{server}: {report}");
        assert_eq!(spared[0]["why"]["kind"], "system", "{server}: {report}");

        drop(input);
        reader.wait().unwrap();
        let altered =
            "SELECT CONCAT('n=', COUNT(*)) AS it FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'shop'";
        until("replication goes on", || on(&bench, "node2", altered).contains("n=2"));
    }
}
