//! Digests of what real servers of both vendors log and count, beside pt-query-digest where that is installed.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::bench::{Bench, run, servers, tool, write};

/// Statements of many kinds: several rows, quotes, lists, joins, comments, and long ones.
fn workload() -> String {
    let mut sql = "CREATE DATABASE dg; USE dg; CREATE TABLE t1 (id INT PRIMARY KEY AUTO_INCREMENT, a INT, b VARCHAR(200), KEY (a));\n\
        CREATE TABLE t2 (id INT PRIMARY KEY, t1_id INT, c TEXT);\n"
        .to_owned();
    for number in 0..60 {
        sql.push_str(&format!(
            "INSERT INTO t1 (a, b) VALUES ({number}, 'name {number}'), ({number}, 'other');\n"
        ));
        sql.push_str(&format!(
            "INSERT INTO t2 VALUES ({number}, {}, 'x')\n  ON DUPLICATE KEY UPDATE c = 'y';\n",
            number + 1
        ));
        sql.push_str(&format!(
            "SELECT * FROM t1 WHERE id IN ({number}, 2, 3) AND b <> \"none\" ORDER BY a ASC LIMIT 5, 10;\n"
        ));
        sql.push_str(&format!("SELECT /* by id */ b FROM t1 WHERE id = {number};\n"));
    }
    for number in 0..12 {
        sql.push_str(&format!("SELECT t1.a, count(*), max(t2.c) FROM t1 JOIN t2 ON t2.t1_id = t1.id WHERE t1.a > {number} GROUP BY t1.a ORDER BY 2 DESC;\n"));
        sql.push_str(&format!("UPDATE t1 SET b = 'name {number}', a = -{number} WHERE id = {number};\n"));
        sql.push_str(&format!("DELETE FROM t2 WHERE id = {number};\n"));
        sql.push_str("SELECT a FROM t1 WHERE a = 1 UNION ALL SELECT a FROM t1 WHERE a = 2;\n");
        sql.push_str(&format!(
            "INSERT INTO t2 VALUES ({}, NULL, '{}');\n",
            1000 + number,
            "long ".repeat(300)
        ));
    }
    sql.push_str("SELECT sleep(0.2); SET SESSION sort_buffer_size = 262144; SHOW TABLES; BEGIN; COMMIT;\n");
    sql.push_str("SELECT a.id FROM t1 a, t1 b, t1 c WHERE a.id + b.id + c.id = 5 LIMIT 3;\n");
    sql
}

/// A server that logs all it does, its slow log after the work, and its general log.
struct Logged {
    _bench: Bench,
    slow: PathBuf,
    general: PathBuf,
}

fn logged(server: &'static str) -> Logged {
    let bench = Bench::new(server, "");
    let folder = bench.node_path("datadir");
    let all = if server == "mysql" {
        "SET GLOBAL log_slow_extra = ON"
    } else {
        "SET GLOBAL log_slow_verbosity = 'innodb,query_plan,explain,engine'"
    };
    for statement in [
        all,
        "SET GLOBAL long_query_time = 0",
        "SET GLOBAL slow_query_log_file = 'dg-slow.log'",
        "SET GLOBAL general_log_file = 'dg-general.log'",
        "SET GLOBAL slow_query_log = ON",
        "SET GLOBAL general_log = ON",
    ] {
        bench.sql(statement);
    }
    bench.sql(&workload());
    bench.sql("SET GLOBAL slow_query_log = OFF");
    bench.sql("SET GLOBAL general_log = OFF");
    let (slow, general) = (folder.join("dg-slow.log"), folder.join("dg-general.log"));
    Logged { _bench: bench, slow, general }
}

/// Every value with the path to it, of what both are to say alike.
fn flat(path: &str, value: &Value, values: &mut Vec<(String, String)>) {
    // It rewrites statements for EXPLAIN, and takes the moments that MySQL logs for words.
    if ["/as_select", "/Start", "/End", "/files"].iter().any(|end| path.ends_with(end)) {
        return;
    }
    // It names a table that is created twice, once with its digits, and says nothing of `use`.
    let is_other = |item: &str| item.starts_with("CREATE TABLE") || item.is_empty() || item == "USE";
    if path.ends_with("/distillate") && value.as_str().is_some_and(is_other) {
        return;
    }
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| flat(&format!("{path}/{key}"), value, values));
        }
        Value::Array(list) => {
            for (at, value) in list.iter().enumerate() {
                // It puts classes that took the same time in any order: the times at each rank are compared, and each class
                // wherever it stands.
                match value["checksum"].as_str() {
                    Some(checksum) => {
                        let time = &value["metrics"]["Query_time"]["sum"];
                        values.push((format!("{path}/{at}"), time.to_string()));
                        flat(&format!("{path}/{checksum}"), value, values);
                    }
                    None => flat(&format!("{path}/{at}"), value, values),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            values.push((path.to_owned(), value.to_string()));
        }
    }
}

/// Whether both say the same. It adds up seconds as floating-point numbers, so that a mean that lies between two
/// millionths may be rounded the other way.
fn is_same((path, value): &(String, String), (other_path, other): &(String, String)) -> bool {
    let micros = |text: &str| text.trim_matches('"').parse::<f64>().map(|number| number * 1e6);
    path == other_path
        && (value == other
            || path.ends_with("_time/avg")
                && matches!((micros(value), micros(other)), (Ok(one), Ok(two)) if (one - two).abs() < 1.01))
}

/// The programs to compare with, and whose fingerprints they make.
fn peers() -> Vec<(String, &'static str)> {
    let named =
        std::env::var("MAINSTAY_TEST_PT_QUERY_DIGEST").unwrap_or_else(|_| "pt-query-digest".to_owned());
    let peers = named.split_whitespace().filter_map(|program| {
        let version = tool(program, &["--version"]).filter(|ran| ran.code == Some(0))?;
        let is_old =
            ["3.0.", "3.1.", "3.2.", "3.3."].iter().any(|old| version.out.contains(&format!(" {old}")));
        Some((program.to_owned(), if is_old { "pt-3.2" } else { "pt-3.7" }))
    });
    let peers: Vec<_> = peers.collect();
    if peers.is_empty() {
        println!("skipped: pt-query-digest is not installed, so real logs are not compared with it");
    }
    peers
}

#[test]
fn real_slow_logs_have_the_numbers_of_pt_query_digest() {
    let peers = peers();
    for server in servers() {
        let logged = logged(server);
        let file = logged.slow.to_string_lossy().into_owned();
        let report = run(&["digest", "slow", "--json", "--limit", "100%", &file]).json(0);
        assert_eq!(report["skipped"]["records"], 0, "{server}: {}", report["skipped"]);
        let classes = report["classes"].as_array().unwrap();
        let class = |key: &str| {
            classes.iter().find(|class| class["key"] == key).unwrap_or_else(|| panic!("{server}: {key}"))
        };
        assert_eq!(class("select b from t? where id = ?")["events"], 60);
        assert_eq!(class("delete from t? where id = ?")["metrics"]["Query_time"]["count"], 12);
        assert!(class("select sleep(?)")["metrics"]["Query_time"]["sum"].as_f64().unwrap() >= 0.2);
        if server == "mysql" {
            assert!(report["total"]["metrics"]["Bytes_sent"]["sum"].as_u64().unwrap() > 0);
        } else {
            assert!(report["total"]["flags"]["Full_scan"]["yes"].as_u64().unwrap() > 0);
        }
        for (program, compat) in &peers {
            let theirs =
                tool(program, &["--no-version-check", "--limit", "100%", "--output", "json", &file]).unwrap();
            assert_eq!(theirs.code, Some(0), "{theirs:?}");
            let ours =
                run(&["digest", "slow", "--limit", "100%", "--output", "pt-json", "--compat", compat, &file]);
            let (mut expected, mut found) = (Vec::new(), Vec::new());
            flat("", &theirs.json(0), &mut expected);
            flat("", &ours.json(0), &mut found);
            let differing: Vec<_> =
                expected.iter().filter(|pair| !found.iter().any(|it| is_same(pair, it))).collect();
            let surplus: Vec<_> =
                found.iter().filter(|pair| !expected.iter().any(|it| is_same(pair, it))).collect();
            assert!(expected.len() > 1000, "{server}: {} values are compared", expected.len());
            assert!(
                differing.is_empty() && surplus.is_empty(),
                "{server} {program}: theirs {differing:#?}\nours {surplus:#?}"
            );
            println!("{server}: {} values of {program} are ours", expected.len());
        }
    }
}

/// Lines of numbers of pt-query-digest's report, as they are printed.
fn number_lines(report: &str) -> Vec<&str> {
    // Moments that MySQL logs are words to it, and of hosts, users and databases it tells ways of its own.
    let starts = [
        "# Overall",
        "# Query ",
        "# This item",
        "# Scores",
        "# Count",
        "# Exec time",
        "# Lock time",
        "# Rows ",
        "# Bytes sent",
        "# Query size",
    ];
    report.lines().filter(|line| starts.iter().any(|start| line.starts_with(start))).collect()
}

#[test]
fn real_slow_logs_are_printed_as_pt_query_digest_prints_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("slow.log").to_string_lossy().into_owned();
    // It adds up binary fractions, so that of a half in millionths it makes 49 of 100.
    write(Path::new(&file), &crate::digest::log(0..8, 1).replace("Lock_time: 0.000001", "Lock_time: 0.25"));
    for (program, compat) in peers() {
        let theirs = tool(&program, &["--no-version-check", "--limit", "100%", &file]).unwrap();
        let ours =
            run(&["digest", "slow", "--limit", "100%", "--output", "pt-text", "--compat", compat, &file]);
        assert_eq!((theirs.code, ours.code), (Some(0), Some(0)), "{theirs:?} {ours:?}");
        let (theirs, ours) = (number_lines(&theirs.out), number_lines(&ours.out));
        assert!(theirs.len() > 20, "{theirs:#?}");
        assert_eq!(ours, theirs);
    }
}

#[test]
fn real_general_logs_count_what_was_run() {
    for server in servers() {
        let logged = logged(server);
        let report =
            run(&["digest", "general", "--json", "--limit", "100%", &logged.general.to_string_lossy()])
                .json(0);
        assert_eq!(report["skipped"]["records"], 0, "{server}: {}", report["skipped"]);
        let classes = report["classes"].as_array().unwrap();
        let count = |key: &str| {
            classes
                .iter()
                .find(|class| class["key"] == key)
                .map_or(0, |class| class["events"].as_u64().unwrap())
        };
        assert_eq!(count("select b from t? where id = ?"), 60, "{server}");
        assert_eq!(count("update t? set b = ?, a = ? where id = ?"), 12, "{server}");
        assert_eq!(classes[0]["events"], 60, "{server}: the most frequent come first");
        assert_eq!(classes[0]["words"]["user"][0]["value"], "root", "{server}: {}", classes[0]);
        assert_eq!(classes[0]["words"]["db"][0]["value"], "dg", "{server}: {}", classes[0]);
    }
}

#[test]
fn real_binary_logs_tell_statements_and_rows() {
    for server in servers() {
        let bench = Bench::new(server, "");
        // A lab's single server has no binary log until it is set up.
        let ran = bench.on_spec(&["apply", "--yes"]);
        assert_eq!(ran.code, Some(0), "{server}: {ran:?}");
        let option =
            if server == "mysql" { "binlog_rows_query_log_events" } else { "binlog_annotate_row_events" };
        let file = bench
            .sql("SHOW BINARY LOGS")
            .lines()
            .last()
            .unwrap()
            .split_whitespace()
            .next()
            .unwrap()
            .to_owned();
        let file = bench.node_path("datadir").join(file).to_string_lossy().into_owned();
        for (is_on, key) in [("ON", "delete from t where a < ?"), ("OFF", "delete from dg.t")] {
            bench.sql("DROP DATABASE IF EXISTS dg");
            bench.sql("CREATE DATABASE dg; CREATE TABLE dg.t (a INT PRIMARY KEY)");
            let before = std::fs::metadata(&file).unwrap().len();
            bench.sql(&format!(
                "SET SESSION binlog_format = ROW; SET SESSION {option} = {is_on}; USE dg; INSERT INTO t VALUES (1), (2), (3), (4); DELETE FROM t WHERE a < 4"
            ));
            let report = run(&["digest", "binlog", "--json", "--limit", "100%", &file]).json(0);
            let classes = report["classes"].as_array().unwrap();
            let class = classes
                .iter()
                .find(|class| class["key"] == key)
                .unwrap_or_else(|| panic!("{server} {key}: {report:#}"));
            assert_eq!(class["metrics"]["Rows_affected"]["sum"], 3, "{server}");
            assert_eq!(class["words"]["db"][0]["value"], "dg", "{server}");
            assert!(std::fs::metadata(&file).unwrap().len() > before);
        }
    }
}

#[test]
fn real_servers_are_digested_live() {
    for server in servers() {
        let bench = Bench::new(server, "");
        let socket = bench.node_path("socket").to_string_lossy().into_owned();
        let password = bench.run(&["lab", "shell", "t", "--execute", "SELECT 1"]);
        assert_eq!(password.code, Some(0));
        let live = |source: &str, seconds: &str, work: &str| -> Value {
            std::thread::scope(|scope| {
                let watching = scope.spawn(|| {
                    run(&[
                        "digest",
                        "live",
                        "--json",
                        "--limit",
                        "100%",
                        "--interval",
                        seconds,
                        "--source",
                        source,
                        "--socket",
                        &socket,
                    ])
                    .json(0)
                });
                // Work goes on until the watching has ended, whenever that began.
                while !watching.is_finished() {
                    bench.sql(work);
                }
                watching.join().unwrap()
            })
        };
        let report = live("processlist", "2", "SELECT sleep(0.4), 'processlist'");
        let class = &report["classes"][0];
        assert_eq!(class["key"], "select sleep(?), ?", "{server}: {report:#}");
        let mean = class["metrics"]["Query_time"]["mean"].as_f64().unwrap();
        assert!((0.05..0.9).contains(&mean), "{server}: {mean}");
        if bench.sql("SELECT @@performance_schema").contains('1') {
            let report = live("statements", "2", "SELECT sleep(0.1), 'statements'");
            let classes = report["classes"].as_array().unwrap();
            let class = classes
                .iter()
                .find(|class| class["key"].as_str().unwrap().starts_with("select sleep"))
                .unwrap();
            let time = &class["metrics"]["Query_time"];
            let (count, sum) = (time["count"].as_u64().unwrap(), time["sum"].as_f64().unwrap());
            assert!(
                count > 0 && (0.09..0.4).contains(&(sum / f64::from(u32::try_from(count).unwrap()))),
                "{server}: {class:#}"
            );
        } else {
            println!("skipped for {server}: performance_schema is off");
        }
    }
}

#[test]
fn real_history_is_kept_and_what_was_reviewed_is_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("slow.log").to_string_lossy().into_owned();
    write(Path::new(&file), &crate::digest::log(0..2, 1));
    for server in servers() {
        let bench = Bench::new(server, "");
        let socket = bench.node_path("socket").to_string_lossy().into_owned();
        let keep = |more: &[&str]| {
            let args = [
                "digest",
                "slow",
                "--json",
                "--limit",
                "100%",
                "--history",
                "dg`kept",
                "--socket",
                &socket,
                &file,
            ];
            run(&[&args, more].concat()).json(0)["classes"].as_array().unwrap().len()
        };
        assert_eq!(keep(&[]), 2, "{server}");
        // The same log again is the same rows.
        assert_eq!(keep(&["--unreviewed"]), 2, "{server}");
        let rows = bench.sql("SELECT count(*), sum(ts_cnt), round(sum(Query_time_sum) * 1000000), min(ts_min) FROM `dg``kept`.query_history");
        // 40 updates of 1.5 s; 40 selects of 1 ms and, twice, 0 to 19 more microseconds.
        assert!(rows.contains("2\t80\t60040380\t2026-11-21 00:00:00"), "{server}: {rows}");
        let rows = bench
            .sql("SELECT fingerprint, last_seen FROM `dg``kept`.query_review WHERE sample LIKE 'update%'");
        assert!(rows.contains("update volumes set size = ?\t2026-11-21 01:00:19"), "{server}: {rows}");
        bench.sql("UPDATE `dg``kept`.query_review SET reviewed_by = 'me' WHERE sample LIKE 'update%'");
        assert_eq!(keep(&["--unreviewed"]), 1, "{server}");
        assert_eq!(keep(&[]), 2, "{server}");
    }
}
