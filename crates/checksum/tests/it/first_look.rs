//! The first look by `CHECKSUM TABLE`: when it is taken, when not, and what it must not make of what it cannot know.

use std::time::{Duration, Instant};

use checksum::{Method, Options, Report, Verdict, Way};
use flavor::Vendor;
use lab::Topology;
use server::Connection;

use crate::support::{Bench, lines, run, script, value, wait_for};

const TABLES: &str = "
    CREATE DATABASE d
    CREATE TABLE d.small (id INT PRIMARY KEY, a VARCHAR(20), b VARCHAR(20))
    CREATE TABLE d.empty (id INT PRIMARY KEY)
    CREATE TABLE d.bare (a INT, j JSON, f FLOAT)
    CREATE TABLE d.plain (id INT PRIMARY KEY, v INT) ENGINE=MyISAM CHECKSUM=1
    CREATE TABLE d.large (id INT AUTO_INCREMENT PRIMARY KEY, c VARCHAR(200))
    INSERT INTO d.small VALUES (1, 'ab', 'c'), (2, NULL, '')
    INSERT INTO d.bare VALUES (1, '{\"a\": 1}', 0.1), (1, '{\"a\": 1}', 0.1), (NULL, NULL, NULL)
    INSERT INTO d.plain VALUES (1, 1)
    INSERT INTO d.large (c) VALUES (REPEAT('x', 150)), (REPEAT('y', 150))
";

/// Two servers, the second with everything of the first, and sessions of both.
async fn filled(vendor: Vendor) -> Option<(Bench, Connection, Connection)> {
    let bench = Bench::up(vendor, Topology::Replication, 2).await?;
    let (mut source, mut replica) = (bench.root(0).await, bench.root(1).await);
    script(&mut source, TABLES).await;
    // MySQL remembers what it told, for a day.
    let estimate = "SELECT TABLE_ROWS FROM information_schema.TABLES WHERE TABLE_NAME = 'large'";
    value(&mut source, estimate).await;
    for _ in 0..13 {
        run(&mut source, "INSERT INTO d.large (c) SELECT c FROM d.large").await;
    }
    wait_for(&mut replica, "SELECT COUNT(*) FROM d.large", "16384").await;
    run(&mut replica, "SET SESSION sql_log_bin = 0").await;
    Some((bench, source, replica))
}

/// `name way`, of all tables in order.
fn ways(report: &Report) -> Vec<String> {
    report.tables.iter().map(|table| format!("{} {:?}", table.table.table, table.way.unwrap())).collect()
}

fn all(way: Way) -> Vec<String> {
    ["bare", "empty", "large", "plain", "small"].map(|name| format!("{name} {way:?}")).to_vec()
}

async fn when(vendor: Vendor) {
    let Some((bench, mut source, mut replica)) = filled(vendor).await else { return };
    for method in [Method::Optimistic, Method::Static, Method::Exact] {
        let mut options = Options::new(method);
        let report = bench.compare(&options).await;
        assert!(report.is_equal(), "{report}");
        assert_eq!(ways(&report), all(Way::ChecksumTable), "{report}");
        assert!(report.tables.iter().all(|table| table.pieces == 0), "{report:?}");
        // The server's own estimate. FLUSH TABLES, which MySQL's snapshot needs, makes it forget what it counted.
        let rows = report.tables.iter().find(|table| table.table.table == "large").unwrap().rows;
        assert!(method == Method::Exact || (8_000..32_000).contains(&rows), "{rows}: {report}");
        let told = report.to_string();
        assert!(told.contains("5 of the equal tables by CHECKSUM TABLE"), "{told}");

        options.thorough = true;
        let report = bench.compare(&options).await;
        assert!(report.is_equal(), "{report}");
        assert_eq!(ways(&report), all(Way::Pieces), "{report}");
        assert_eq!(report.tables.iter().map(|table| table.rows).sum::<u64>(), 16_384 + 6, "{report}");
        assert!(!report.to_string().contains("CHECKSUM TABLE"), "{report}");
    }
    for session in [&mut source, &mut replica] {
        run(session, "ANALYZE LOCAL TABLE d.large").await;
    }
    // Half a MiB can be read in a millisecond, and it has two.
    let mut options = Options::new(Method::Optimistic);
    options.chunk_ms = 1;
    options.tables = vec!["d.large".parse().unwrap()];
    let report = bench.compare(&options).await;
    assert_eq!((ways(&report), report.is_equal()), (vec!["large Pieces".to_owned()], true), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn real_equal_tables_are_found_so_as_a_whole_on_mariadb() {
    when(Vendor::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_equal_tables_are_found_so_as_a_whole_on_mysql() {
    when(Vendor::MySql).await;
}

/// What docs/checksum.md says of it: where one text ends and the next begins is not in the sum.
async fn blind(vendor: Vendor) {
    let Some((bench, _source, mut replica)) = filled(vendor).await else { return };
    run(&mut replica, "UPDATE d.small SET a = 'a', b = 'bc' WHERE id = 1").await;
    let mut options = Options::new(Method::Optimistic);
    let report = bench.compare(&options).await;
    assert!(report.is_equal(), "docs/checksum.md says too little of it: {report}");
    options.thorough = true;
    let report = bench.compare(&options).await;
    assert_eq!(lines(&report), ["small changed 1: a,b"], "{report}");
    // NULLs are.
    run(&mut replica, "UPDATE d.small SET a = 'ab', b = 'c' WHERE id = 1").await;
    run(&mut replica, "UPDATE d.small SET a = '' WHERE id = 2").await;
    options.thorough = false;
    let report = bench.compare(&options).await;
    assert_eq!(lines(&report), ["small changed 2: a"], "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn real_the_first_look_misses_what_the_docs_say_on_mariadb() {
    blind(Vendor::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_the_first_look_misses_what_the_docs_say_on_mysql() {
    blind(Vendor::MySql).await;
}

/// Neither side can read the table: MySQL sums it to 0 all the same.
async fn unreadable(vendor: Vendor) {
    let Some((bench, mut source, mut replica)) = filled(vendor).await else { return };
    run(&mut source, "SET SESSION sql_log_bin = 0").await;
    for session in [&mut source, &mut replica] {
        run(session, "ALTER TABLE d.small DISCARD TABLESPACE").await;
    }
    let report = bench.compare(&Options::new(Method::Optimistic)).await;
    let small = report.tables.iter().find(|table| table.table.table == "small").unwrap();
    assert_eq!(small.verdict, Verdict::Failed, "{report}");
    assert_eq!(report.count(&Verdict::Equal), 4, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn real_a_table_that_cannot_be_read_is_not_equal_on_mariadb() {
    unreadable(Vendor::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_a_table_that_cannot_be_read_is_not_equal_on_mysql() {
    unreadable(Vendor::MySql).await;
}

/// A look that takes many times as long as it should is given up, and the table goes in pieces.
async fn given_up(vendor: Vendor) {
    let Some((bench, mut source, _replica)) = filled(vendor).await else { return };
    let mut watching = bench.root(0).await;
    run(&mut source, "LOCK TABLES d.small WRITE").await;
    let mut options = Options::new(Method::Static);
    options.chunk_ms = 10;
    options.tables = vec!["d.small".parse().unwrap()];
    let (one, other) = (bench.login(0), [bench.login(1)]);
    let comparing = checksum::compare(&one, &other, &options, &checksum::Silent);
    let unlocking = async {
        let running = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '";
        wait_for(&mut watching, &format!("{running}CHECKSUM TABLE%'"), "1").await;
        let began = Instant::now();
        // The pieces' first question waits for the lock as well.
        wait_for(&mut watching, &format!("{running}SELECT MIN%'"), "1").await;
        assert_eq!(value(&mut watching, &format!("{running}CHECKSUM TABLE%'")).await, "0");
        // Not at the end of the time for which locks are waited for, 3 s.
        assert!(began.elapsed() < Duration::from_millis(2_500), "{:?}", began.elapsed());
        run(&mut source, "UNLOCK TABLES").await;
    };
    let (report, ()) = tokio::join!(comparing, unlocking);
    let report = report.unwrap();
    assert_eq!((ways(&report), report.is_equal()), (vec!["small Pieces".to_owned()], true), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn real_a_look_that_takes_too_long_is_given_up_on_mariadb() {
    given_up(Vendor::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_a_look_that_takes_too_long_is_given_up_on_mysql() {
    given_up(Vendor::MySql).await;
}
