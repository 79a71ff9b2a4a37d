//! Differences of each kind, planted on a replica: each is found, nothing else is, and the repair statements make both
//! sides equal.

use checksum::{Method, Options, Verdict};
use flavor::Vendor;
use lab::Topology;
use server::Connection;

use crate::support::{Bench, Repairs, lines, run, script};

const TABLES: &str = "
    CREATE DATABASE d
    CREATE TABLE d.same (id INT PRIMARY KEY, v INT)
    CREATE TABLE d.zoo (id INT PRIMARY KEY, a VARCHAR(50), z VARCHAR(50), f FLOAT, g DOUBLE, n DECIMAL(10,3), \
        t TIMESTAMP(6) NULL, y DATE, b BLOB, l LONGTEXT, i BIT(5), e ENUM('x','y'), w VARBINARY(9), \
        la VARCHAR(20) CHARACTER SET latin1, v INT AS (id + 1) VIRTUAL)
    CREATE TABLE d.pair (a INT, b VARCHAR(20), v INT, PRIMARY KEY (a, b))
    CREATE TABLE d.bytes (k BINARY(4) PRIMARY KEY, v INT)
    CREATE TABLE d.choice (e ENUM('p','q','r') PRIMARY KEY, v INT)
    CREATE TABLE d.late (v INT, u BIGINT NOT NULL, UNIQUE KEY by_u (u))
    CREATE TABLE d.bare (a INT, b VARCHAR(20))
    CREATE TABLE d.many (id INT AUTO_INCREMENT PRIMARY KEY, v INT NOT NULL, c VARCHAR(30))
    INSERT INTO d.same VALUES (1, 1), (2, NULL)
    INSERT INTO d.zoo (id, a, z, f, g, n, t, y, b, l, i, e, w, la) VALUES \
        (1, 'one', 'x', 0.1, 1e-300, 1.5, '2026-01-01 00:00:00.000001', '2026-01-01', x'00FF', 'long', 3, 'x', x'0001', 'é'), \
        (2, NULL, '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), \
        (3, 'a#b', 'c', 16777216, 0.1, 0, NULL, NULL, '', '', 0, 'y', '', ''), \
        (4, 'same', 'p', 1, 1, 1, NULL, NULL, NULL, NULL, 1, 'x', NULL, NULL), \
        (5, 'same', 'q', 1, 1, 1, NULL, NULL, NULL, NULL, 1, 'x', NULL, NULL), \
        (6, 'left', 'p', 1, 1, 1, NULL, NULL, NULL, NULL, 1, 'x', NULL, NULL), \
        (7, 'right', 'p', 1, 1, 1, NULL, NULL, NULL, NULL, 1, 'x', NULL, NULL)
    INSERT INTO d.pair VALUES (1, 'a', 1), (1, 'b', 2), (2, 'it''s', 3), (3, '', 4)
    INSERT INTO d.bytes VALUES (x'00000001', 1), (x'FF27005C', 2)
    INSERT INTO d.choice VALUES ('p', 1), ('r', 2)
    INSERT INTO d.late VALUES (1, 18446744073), (NULL, -5)
    INSERT INTO d.bare VALUES (1, 'a'), (1, 'a'), (2, NULL)
    INSERT INTO d.many (v, c) VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')
";

/// What is planted, and the line it is to be found as.
const PLANTED: &[(&str, &[&str])] = &[
    ("UPDATE d.zoo SET a = 'One' WHERE id = 1", &["zoo changed 1: a"]),
    ("UPDATE d.zoo SET a = '' WHERE id = 2", &["zoo changed 2: a"]),
    // The same text when put together.
    ("UPDATE d.zoo SET a = 'a', z = 'b#c' WHERE id = 3", &["zoo changed 3: a,z"]),
    // The same change twice: XORed checksums cancel out.
    ("UPDATE d.zoo SET e = 'y' WHERE id IN (4, 5)", &["zoo changed 4: e", "zoo changed 5: e"]),
    // Two rows' values exchanged.
    (
        "UPDATE d.zoo SET a = IF(id = 6, 'right', 'left') WHERE id IN (6, 7)",
        &["zoo changed 6: a", "zoo changed 7: a"],
    ),
    ("INSERT INTO d.zoo (id, f) VALUES (8, 1)", &["zoo extra 8:"]),
    ("DELETE FROM d.pair WHERE a = 2", &["pair missing 2,it's:"]),
    ("UPDATE d.pair SET v = 5 WHERE a = 3", &["pair changed 3,: v"]),
    ("DELETE FROM d.bytes WHERE v = 2", &["bytes missing FF27005C:"]),
    ("UPDATE d.choice SET v = NULL WHERE e = 'r'", &["choice changed r: v"]),
    ("UPDATE d.late SET v = 9 WHERE u = -5", &["late changed -5: v"]),
    // An even number of equal rows is nothing to an XOR.
    ("INSERT INTO d.bare VALUES (7, 'x'), (7, 'x')", &["bare extra : x2"]),
    ("DELETE FROM d.many WHERE id = 20000", &["many missing 20000:"]),
    ("UPDATE d.many SET c = NULL WHERE id = 1", &["many changed 1: c"]),
    ("INSERT INTO d.many VALUES (900000, 1, 'z')", &["many extra 900000:"]),
    ("INSERT INTO d.many VALUES (-7, 1, 'z')", &["many extra -7:"]),
];

/// Differences in a column's last digit, which the servers print as the same, and of each other kind of column.
const LAST_DIGITS: &[(&str, &[&str])] = &[
    ("UPDATE d.zoo SET f = 0.10000001 WHERE id = 1", &["zoo changed 1: f"]),
    ("UPDATE d.zoo SET g = 0.10000000000000002 WHERE id = 3", &["zoo changed 3: g"]),
    ("UPDATE d.zoo SET t = '2026-01-01 00:00:00.000002' WHERE id = 1", &["zoo changed 1: t"]),
    ("UPDATE d.zoo SET w = x'000100' WHERE id = 1", &["zoo changed 1: w"]),
    ("UPDATE d.zoo SET la = 'e' WHERE id = 1", &["zoo changed 1: la"]),
    ("UPDATE d.zoo SET i = 2 WHERE id = 1", &["zoo changed 1: i"]),
    ("UPDATE d.zoo SET l = NULL WHERE id = 3", &["zoo changed 3: l"]),
];

async fn fill(source: &mut Connection) {
    script(source, TABLES).await;
    for _ in 0..13 {
        run(
            source,
            "INSERT INTO d.many (v, c) SELECT v + 1, CONCAT(c, 'x') FROM d.many WHERE LENGTH(c) < 29",
        )
        .await;
    }
}

async fn found(vendor: Vendor) {
    let Some(bench) = Bench::up(vendor, Topology::Replication, 2).await else { return };
    let (mut source, mut replica) = (bench.root(0).await, bench.root(1).await);
    fill(&mut source).await;
    let mut options = Options::new(Method::Optimistic);
    options.shown_max = 100;
    let before = bench.compare(&options).await;
    assert_eq!(lines(&before), Vec::<String>::new(), "{before}");
    assert!(before.is_equal(), "{before}");
    run(&mut replica, "SET SESSION sql_log_bin = 0").await;
    let mut expected = Vec::new();
    for (statement, rows) in PLANTED {
        run(&mut replica, statement).await;
        expected.extend(rows.iter().map(|&row| row.to_owned()));
    }
    expected.sort();
    let repairs = Repairs::default();
    let report = checksum::compare(&bench.login(0), &[bench.login(1)], &options, &repairs).await.unwrap();
    assert_eq!(lines(&report), expected, "{report}");
    assert_eq!(report.count(&Verdict::Equal), 1, "{report}");
    let many = report.tables.iter().find(|table| table.table.table == "many").unwrap();
    assert!(many.rows > 20_000 && many.pieces > 1, "{many:?}");

    let statements = repairs.0.into_inner().unwrap();
    script(&mut replica, &checksum::repair::head("node2", false)).await;
    script(&mut replica, &statements).await;
    let after = bench.compare(&options).await;
    // Rows without a key cannot be named by a statement.
    assert_eq!(lines(&after), ["bare extra : x2"], "{after}\n{statements}");

    // Each alone: were it for the first look, the others in its table would give it away.
    run(&mut replica, "DELETE FROM d.bare WHERE a = 7").await;
    options.method = Method::Static;
    for (statement, expected) in PLANTED.iter().chain(LAST_DIGITS) {
        assert_eq!(bench.compare(&options).await.looked_equal(), 8, "before {statement}");
        run(&mut replica, statement).await;
        let repairs = Repairs::default();
        let report = checksum::compare(&bench.login(0), &[bench.login(1)], &options, &repairs).await.unwrap();
        assert_eq!(lines(&report), *expected, "{statement}: {report}");
        assert_eq!(report.looked_equal(), 7, "{statement}: {report}");
        script(&mut replica, &repairs.0.into_inner().unwrap()).await;
        run(&mut replica, "DELETE FROM d.bare WHERE a = 7").await;
    }
    assert!(bench.compare(&options).await.is_equal());
}

#[tokio::test(flavor = "multi_thread")]
async fn real_planted_differences_are_found_on_mariadb() {
    found(Vendor::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_planted_differences_are_found_on_mysql() {
    found(Vendor::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_tables_and_columns_of_one_side_are_said() {
    let Some(bench) = Bench::up(Vendor::MariaDb, Topology::Replication, 2).await else { return };
    let (mut source, mut replica) = (bench.root(0).await, bench.root(1).await);
    fill(&mut source).await;
    let options = Options::new(Method::Optimistic);
    bench.compare(&options).await;
    run(&mut replica, "SET SESSION sql_log_bin = 0").await;
    script(
        &mut replica,
        "DROP TABLE d.same
         CREATE TABLE d.more (id INT PRIMARY KEY)
         ALTER TABLE d.pair ADD COLUMN w INT, DROP COLUMN v
         ALTER TABLE d.late MODIFY u VARCHAR(30) NOT NULL",
    )
    .await;
    let report = bench.compare(&options).await;
    let told: Vec<String> = report
        .tables
        .iter()
        .filter(|table| table.verdict != Verdict::Equal || table.table.table == "late")
        .map(|table| format!("{} {:?} {}", table.table.table, table.verdict, table.notes.join("; ")))
        .collect();
    assert_eq!(
        told,
        [
            "late Equal column u is bigint(20) on the source and varchar(30) on the target: compared as text; \
             its key has no order that both sides share: summed in one piece",
            "more Differs the source does not have it, or its account sees it not",
            "pair Differs the target has no column v; the source has no column w",
            "same Differs the target does not have it, or its account sees it not",
        ]
    );
    assert!(!report.is_equal());
}
