//! `mainstay binlog` on the logs of real servers: counts, streams, undoing, and files it refuses.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::bench::{Bench, Ran, servers, write, write_secret};

/// A server that logs rows with their columns' names, and what else its configuration says.
pub(crate) fn logging(server: &'static str, more: &str) -> Bench {
    let bench = Bench::new(server, "");
    let gtids = if server == "mysql" { "gtid-mode=ON\nenforce-gtid-consistency=ON\n" } else { "" };
    let conf = format!(
        "[mysqld]\nlog-bin=bin\nserver-id=7\nbinlog-format=ROW\nbinlog-row-metadata=FULL\n{gtids}{more}"
    );
    write(&bench.node_path("datadir").parent().unwrap().join("conf.d/binlog.cnf"), &conf);
    for verb in ["stop", "start"] {
        let ran = bench.run(&["lab", verb, "t"]);
        assert_eq!(ran.code, Some(0), "{server} {verb}: {ran:?}");
    }
    bench
}

/// The server's logs, oldest first.
pub(crate) fn logs(bench: &Bench) -> Vec<PathBuf> {
    let folder = bench.node_path("datadir");
    let mut logs: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.strip_prefix("bin.").is_some_and(|number| number.parse::<u32>().is_ok())
        })
        .collect();
    logs.sort();
    logs
}

/// Runs statements and returns the log that has them and nothing else.
pub(crate) fn logged(bench: &Bench, statements: &str) -> PathBuf {
    bench.sql("FLUSH BINARY LOGS");
    let log = logs(bench).pop().unwrap();
    bench.sql(statements);
    bench.sql("FLUSH BINARY LOGS");
    log
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn stats(bench: &Bench, args: &[&str]) -> Value {
    let mut all = vec!["binlog", "stats", "--json"];
    all.extend(args);
    bench.run(&all).json(0)
}

fn rows_of(stats: &Value, table: &str) -> [u64; 4] {
    let tables = stats["tables"].as_array().unwrap();
    let row = tables.iter().find(|it| it["table"] == table).unwrap_or_else(|| panic!("{table} in {stats}"));
    ["transactions", "rows_inserted", "rows_updated", "rows_deleted"].map(|key| row[key].as_u64().unwrap())
}

fn socket(bench: &Bench) -> String {
    text(&bench.node_path("socket"))
}

/// 1 to N as the column `n`, on both vendors.
fn series(last: u32) -> String {
    format!("WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM s WHERE n < {last}) SELECT n")
}

const TABLES: &str = "CREATE DATABASE w; CREATE TABLE w.a (id INT PRIMARY KEY, v VARCHAR(40), k INT NOT NULL) ENGINE=InnoDB; \
    CREATE TABLE w.b LIKE w.a; CREATE TABLE w.gone (id INT PRIMARY KEY) ENGINE=InnoDB;";

/// What it does: a: 900 inserted, 300 updated, 100 deleted, in 4 transactions; b: 250 inserted, 5 updated, in 6.
fn workload() -> String {
    let big = series(900);
    let small = series(250);
    let mut statements = format!(
        "INSERT INTO w.a {big}, CONCAT('v', n), n FROM s; UPDATE w.a SET v='x' WHERE id % 3 = 0; \
         DELETE FROM w.a WHERE id % 9 = 0; \
         BEGIN; INSERT INTO w.a VALUES (5000, 'never', 1); ROLLBACK; \
         BEGIN; INSERT INTO w.b {small}, NULL, n FROM s; UPDATE w.a SET k=k WHERE id=1; COMMIT; \
         UPDATE w.a SET v='y' WHERE id = 90000; \
         BEGIN; UPDATE w.a SET v='z' WHERE id IN (1, 2); UPDATE w.a SET v='w' WHERE id IN (1, 2); COMMIT; "
    );
    for id in 1..=5 {
        statements.push_str(&format!("UPDATE w.b SET v='u' WHERE id={id}; "));
    }
    statements.push_str("DROP TABLE w.gone; TRUNCATE TABLE w.b;");
    statements
}

fn assert_workload(stats: &Value, what: &str) {
    assert_eq!(rows_of(stats, "a"), [4, 900, 304, 100], "{what}: {stats}");
    assert_eq!(rows_of(stats, "b"), [6, 250, 5, 0], "{what}: {stats}");
    let total = &stats["total"];
    assert_eq!(total["rows_inserted"], 1150, "{what}");
    assert_eq!(total["rows_updated"], 309, "{what}");
    assert_eq!(total["rows_deleted"], 100, "{what}");
    assert_eq!(total["transactions"], 12, "{what}: {total}");
    assert_eq!(total["ddl"], 2, "{what}");
    assert_eq!(stats["damages"]["count"], 0, "{what}");
}

#[test]
fn real_counts_are_the_truth_from_files_and_from_the_server() {
    for server in servers() {
        let bench = logging(server, "");
        bench.sql(TABLES);
        let log = logged(&bench, &workload());
        let name = log.file_name().unwrap().to_string_lossy().into_owned();
        let from_file = stats(&bench, &[&text(&log)]);
        assert_workload(&from_file, server);

        let streamed = stats(&bench, &["--from-server", "--socket", &socket(&bench), &name]);
        assert_workload(&streamed, server);
        for key in ["position", "gtid", "rows", "bytes"] {
            let told = |stats: &Value| stats["largest"][0][key].clone();
            assert!(!told(&from_file).is_null(), "{key} in {from_file}");
            assert_eq!(told(&streamed), told(&from_file), "{server} {key}");
        }
        // All logs together have the tables' making too.
        let all = stats(&bench, &["--from-server", "--socket", &socket(&bench)]);
        assert_eq!(rows_of(&all, "a")[1], 900, "{server}");
        assert!(all["files"].as_array().unwrap().len() >= 3, "{server}: {}", all["files"]);

        let gtid = from_file["ddl"][0]["gtid"].as_str().unwrap().to_owned();
        let after = match gtid.rsplit_once(':') {
            Some((source, last)) => format!("{source}:1-{last}"),
            None => gtid.clone(),
        };
        let late = stats(&bench, &["--from-server", "--socket", &socket(&bench), "--after-gtid", &after]);
        assert_eq!(late["total"]["transactions"], 1, "{server} after {after}: {late}");
        assert_eq!(late["ddl"][0]["position"], from_file["ddl"][1]["position"], "{server}");

        let missing =
            bench.run(&["binlog", "stats", "--from-server", "--socket", &socket(&bench), "bin.999999"]);
        assert_eq!(missing.code, Some(1));
        assert!(missing.err.contains("no binary log bin.999999"), "{missing:?}");

        // The same, compressed: transactions by MySQL, statements and rows by MariaDB.
        let turn_on = match server {
            "mysql" => "SET SESSION binlog_transaction_compression=ON; ",
            _ => "SET GLOBAL log_bin_compress=ON; SET GLOBAL log_bin_compress_min_len=10; ",
        };
        bench.sql("DROP DATABASE w");
        bench.sql(TABLES);
        let packed = logged(&bench, &format!("{turn_on}{}", workload()));
        assert!(packed.metadata().unwrap().len() < log.metadata().unwrap().len(), "{server}");
        assert_workload(&stats(&bench, &[&text(&packed)]), server);
        let name = packed.file_name().unwrap().to_string_lossy().into_owned();
        let streamed = stats(&bench, &["--from-server", "--socket", &socket(&bench), &name]);
        assert_workload(&streamed, server);
    }
}

#[test]
fn real_a_stream_over_tcp_is_encrypted_and_needs_its_privilege() {
    if !servers().contains(&"mysql") {
        return;
    }
    let bench = logging("mysql", "");
    bench.sql(
        "CREATE USER r@'%' IDENTIFIED BY 'a-Secret-1' REQUIRE SSL; \
         GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO r@'%'; \
         CREATE USER poor@'%' IDENTIFIED BY 'a-Secret-1'; CREATE DATABASE x;",
    );
    let password = bench.folder.path().join("password");
    write_secret(&password, "a-Secret-1");
    let port = bench.node()["port"].to_string();
    let run = |user: &str, more: &[&str]| {
        let mut args =
            vec!["binlog", "stats", "--json", "--from-server", "--host", "127.0.0.1", "--port", &port];
        let password = text(&password);
        args.extend(["--user", user, "--password-file", &password]);
        args.extend(more);
        bench.run(&args)
    };
    let good = run("r", &["--tls-insecure"]).json(0);
    assert!(good["total"]["ddl"].as_u64().unwrap() >= 4, "{good}");
    let plain = run("r", &["--no-tls"]);
    assert_eq!(plain.code, Some(1), "{plain:?}");
    let unverified = run("r", &[]);
    assert_eq!(unverified.code, Some(1), "{unverified:?}");
    assert!(unverified.err.contains("TLS"), "{unverified:?}");
    let poor = run("poor", &["--tls-insecure"]);
    assert_eq!(poor.code, Some(1), "{poor:?}");
    assert!(poor.err.contains("privilege"), "{poor:?}");
}

fn find(bench: &Bench, args: &[&str]) -> (Option<i32>, Value) {
    let mut all = vec!["binlog", "find", "--json"];
    all.extend(args);
    let ran = bench.run(&all);
    (ran.code, serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}")))
}

#[test]
fn real_what_did_it_is_found() {
    for server in servers() {
        let bench = logging(server, if server == "mysql" { "binlog-rows-query-log-events=ON\n" } else { "" });
        bench.sql(TABLES);
        let log = text(&logged(&bench, &workload()));
        let (code, found) = find(&bench, &[&log]);
        assert_eq!(code, Some(0));
        // Nothing was changed by the thousand: the two statements of DDL are left.
        let actions: Vec<&str> =
            found["matches"].as_array().unwrap().iter().map(|it| it["action"].as_str().unwrap()).collect();
        assert_eq!(actions, ["drop", "truncate"], "{server}: {found}");
        let drop = &found["matches"][0];
        assert_eq!(drop["tables"][0], "w.gone", "{server}");
        assert!(drop["gtid"].is_string() && drop["time_local"].is_string(), "{server}: {drop}");
        assert!(drop["statement"].as_str().unwrap().contains("DROP TABLE"), "{server}: {drop}");

        let (_, found) = find(&bench, &["--action", "delete", "--table", "w.a", &log]);
        let delete = &found["matches"][0];
        assert_eq!(delete["rows"], 100, "{server}: {found}");
        assert!(delete["statement"].as_str().unwrap().contains("DELETE FROM w.a"), "{server}: {delete}");
        let (_, found) = find(&bench, &["--where", "id = 9 and v = 'x'", "--table", "w.a", &log]);
        let rows: Vec<_> = found["matches"].as_array().unwrap().iter().map(|it| &it["rows"]).collect();
        assert_eq!(rows, [1, 1], "{server}: {found}");
        let (code, found) = find(&bench, &["--where", "id = 123456", "--table", "w.*", &log]);
        assert_eq!((code, found["matches"].as_array().unwrap().len()), (Some(1), 0), "{server}");
    }
}

/// A damaged copy of a log: the byte before a rows event's checksum is another.
fn damaged(bench: &Bench, log: &Path) -> (PathBuf, u64) {
    let mut bytes = std::fs::read(log).unwrap();
    let mut at = 4;
    loop {
        let length = u32::from_le_bytes(bytes[at + 9..at + 13].try_into().unwrap());
        let end = at + usize::try_from(length).unwrap();
        // Rows that are updated, in both vendors' versions.
        if matches!(bytes[at + 4], 24 | 31) {
            bytes[end - 5] ^= 1;
            break;
        }
        at = end;
    }
    let path = bench.folder.path().join("damaged.000001");
    put(&path, bytes);
    (path, u64::try_from(at).unwrap())
}

#[test]
fn real_damage_is_told_with_its_offset() {
    for server in servers() {
        let bench = logging(server, "");
        bench.sql(TABLES);
        let log = logged(&bench, &workload());
        let (path, offset) = damaged(&bench, &log);
        let path = text(&path);
        let passed = bench.run(&["binlog", "stats", "--json", &path]).json(2);
        assert_eq!(passed["damages"]["count"], 1, "{server}");
        assert_eq!(passed["damages"]["first"][0]["offset"], offset, "{server}");
        assert_eq!(passed["total"]["rows_deleted"], 100, "{server}");
        for verb in ["stats", "find", "sql", "rollback"] {
            let ran = bench.run(&["binlog", verb, "--on-damage", "stop", &path]);
            assert_eq!(ran.code, Some(1), "{server} {verb}: {ran:?}");
            assert!(ran.err.contains(&format!("damaged at {offset}: ")), "{server} {verb}: {ran:?}");
            assert!(ran.err.contains("--on-damage skip"), "{server} {verb}: {ran:?}");
        }
        let whole = std::fs::read(&log).unwrap();
        let cut = bench.folder.path().join("cut.000001");
        put(&cut, &whole[..whole.len() - 60]);
        let ran: Ran = bench.run(&["binlog", "stats", &text(&cut)]);
        assert_eq!(ran.code, Some(2), "{server}: {ran:?}");
        assert!(ran.err.contains("ends inside an event"), "{server}: {ran:?}");
    }
}

#[test]
fn real_encrypted_logs_are_refused_and_streams_of_them_are_read() {
    let plugin = Path::new("/usr/lib/mysql/plugin/file_key_management.so");
    if !servers().contains(&"mariadb") || !plugin.exists() {
        println!("skipped: MariaDB's file_key_management is not installed");
        return;
    }
    let keys = tempfile::NamedTempFile::new().unwrap();
    put(keys.path(), format!("1;{}\n", "a7".repeat(32)));
    let more = format!(
        "plugin-load-add=file_key_management\nfile-key-management-filename={}\nencrypt-binlog=ON\n",
        keys.path().display()
    );
    let bench = logging("mariadb", &more);
    bench.sql(TABLES);
    let log = logged(&bench, &workload());
    let refused = bench.run(&["binlog", "stats", &text(&log)]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("encrypted by MariaDB"), "{refused:?}");
    let name = log.file_name().unwrap().to_string_lossy().into_owned();
    assert_workload(&stats(&bench, &["--from-server", "--socket", &socket(&bench), &name]), "encrypted");
}

#[test]
fn real_what_is_no_log_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        put(&path, content);
        text(&path)
    };
    let index = path("binlog.index", b"./binlog.000001\n");
    let encrypted = path("binlog.000001", &[b"\xfdbin", &[7; 508][..]].concat());
    let empty = path("empty", b"");
    for (file, said) in [
        (index.as_str(), "not a binary log"),
        (&encrypted, "encrypted by MySQL"),
        (&empty, "not a binary log"),
        ("/nonexistent/binlog.000001", "/nonexistent/binlog.000001"),
    ] {
        let ran = crate::bench::run(&["binlog", "stats", file]);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.err.contains(said) && ran.err.contains(file), "{ran:?}");
        assert!(ran.err.contains("  -> "), "{ran:?}");
    }
    assert_eq!(crate::bench::run(&["binlog", "stats"]).code, Some(2));
}

/// A file for the binary to read.
fn put(path: impl AsRef<std::path::Path>, bytes: impl AsRef<[u8]>) {
    use std::io::Write as _;
    std::fs::File::create(path).unwrap().write_all(bytes.as_ref()).unwrap();
}
