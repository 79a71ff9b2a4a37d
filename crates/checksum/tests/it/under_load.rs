//! Comparisons while the source is written to: no difference that is none, and those that are one.

use std::time::Duration;

use checksum::{Method, Options, Verdict};
use flavor::Vendor;
use lab::Topology;

use crate::support::{Bench, Writers, lines, run, script, value, wait_for};

const TABLES: &str = "
    CREATE DATABASE d
    CREATE TABLE d.hot (id INT PRIMARY KEY, v BIGINT NOT NULL, c VARCHAR(40))
    CREATE TABLE d.cold (id INT PRIMARY KEY, v BIGINT NOT NULL)
    INSERT INTO d.hot VALUES (1, 0, 'a'), (2, 0, 'b'), (3, 0, 'c'), (4, 0, 'd')
    INSERT INTO d.cold VALUES (1, 1), (2, 2)
";
/// Rows that writers never touch.
const QUIET: u64 = 2_000;

/// Changes, inserts and deletes rows beyond the quiet ones, a few of them over and over.
fn write(number: u64) -> String {
    let row = QUIET + 1 + number % 7;
    match number % 5 {
        0 => format!("REPLACE INTO d.hot VALUES ({}, {number}, 'new')", 10_000 + number % 50),
        1 => format!("DELETE FROM d.hot WHERE id = {}", 10_000 + number % 50),
        _ => format!("UPDATE d.hot SET v = {number} WHERE id = {row}"),
    }
}

async fn filled(vendor: Vendor) -> Option<Bench> {
    let bench = Bench::up(vendor, Topology::Replication, 2).await?;
    let mut source = bench.root(0).await;
    script(&mut source, TABLES).await;
    for power in 2..12 {
        let rows = 1 << power;
        run(
            &mut source,
            &format!("INSERT INTO d.hot SELECT id + {rows}, 0, c FROM d.hot WHERE id <= {rows}"),
        )
        .await;
    }
    Some(bench)
}

async fn no_false_difference(vendor: Vendor) {
    let Some(bench) = filled(vendor).await else { return };
    let writers = Writers::start(&bench, 4, write).await;
    let mut options = Options::new(Method::Optimistic);
    let (mut looked_at_again, mut looked_equal) = (0, 0);
    for round in 0..8 {
        options.thorough = round % 2 == 1;
        let report = bench.compare(&options).await;
        assert_eq!(lines(&report), Vec::<String>::new(), "{report}");
        assert!(report.is_equal(), "{report}");
        looked_at_again += report.tables.iter().map(|table| table.looked_at_again).sum::<u64>();
        looked_equal += report.looked_equal();
    }
    // The table that nobody writes to.
    assert!(looked_equal >= 4, "{looked_equal}");
    // Without the second look, each of these had been told as a difference.
    assert!(looked_at_again > 0, "the load was none");

    let mut replica = bench.root(1).await;
    run(&mut replica, "SET SESSION sql_log_bin = 0").await;
    run(&mut replica, "UPDATE d.hot SET c = NULL WHERE id = 5").await;
    run(&mut replica, "INSERT INTO d.hot VALUES (900000, 1, 'z')").await;
    for round in 0..4 {
        options.thorough = round % 2 == 1;
        let report = bench.compare(&options).await;
        let found: Vec<String> =
            lines(&report).iter().map(|line| line.split(':').next().unwrap().to_owned()).collect();
        assert_eq!(found, ["hot changed 5", "hot extra 900000"], "{report}");
    }
    assert!(writers.stop().await > 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn real_writes_make_no_false_difference_on_mariadb() {
    no_false_difference(Vendor::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_writes_make_no_false_difference_on_mysql() {
    no_false_difference(Vendor::MySql).await;
}

async fn exact(vendor: Vendor) {
    let Some(bench) = filled(vendor).await else { return };
    let writers = Writers::start(&bench, 4, write).await;
    let mut options = Options::new(Method::Exact);
    for round in 0..4 {
        options.thorough = round % 2 == 1;
        let report = bench.compare(&options).await;
        assert!(report.is_equal(), "{report}");
        // CHECKSUM TABLE reads the snapshot too: the table that is written to is the same on both sides.
        assert_eq!(report.looked_equal(), if options.thorough { 0 } else { 2 }, "{report}");
        // Both sides stand still: nothing differs even for a moment.
        assert!(report.tables.iter().all(|table| table.looked_at_again == 0), "{report}");
    }
    let mut replica = bench.root(1).await;
    run(&mut replica, "SET SESSION sql_log_bin = 0").await;
    run(&mut replica, "UPDATE d.hot SET c = NULL WHERE id = 5").await;
    let report = bench.compare(&options).await;
    assert_eq!(lines(&report), ["hot changed 5: c"], "{report}");
    writers.stop().await;
    // The replica replicates on.
    let mut source = bench.root(0).await;
    run(&mut source, "INSERT INTO d.cold VALUES (77, 77)").await;
    wait_for(&mut replica, "SELECT v FROM d.cold WHERE id = 77", "77").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_snapshots_of_one_gtid_are_exact_on_mariadb() {
    exact(Vendor::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_snapshots_of_one_gtid_are_exact_on_mysql() {
    exact(Vendor::MySql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_a_replica_that_stands_still_is_waited_for_and_then_named() {
    let Some(bench) = filled(Vendor::MariaDb).await else { return };
    let (mut source, mut replica) = (bench.root(0).await, bench.root(1).await);
    let last = value(&mut source, "SELECT MAX(id) FROM d.hot").await;
    wait_for(&mut replica, "SELECT MAX(id) FROM d.hot", &last).await;
    run(&mut replica, "STOP SLAVE SQL_THREAD").await;
    run(&mut source, "INSERT INTO d.cold VALUES (9, 9)").await;
    let mut options = Options::new(Method::Optimistic);
    options.lag_limit = Duration::from_secs(2);
    // Also where the table at hand is the same: it is so as of now only once the target is there.
    options.tables = vec!["d.hot".parse().unwrap()];
    let failed =
        checksum::compare(&bench.login(0), &[bench.login(1)], &options, &checksum::Silent).await.unwrap_err();
    assert!(failed.to_string().starts_with("node2 did not reach '0-"), "{failed}");
    assert!(failed.hint().unwrap().contains("--static"), "{:?}", failed.hint());
    // One that comes along is waited for.
    options.lag_limit = Duration::from_secs(60);
    let (one, other) = (bench.login(0), [bench.login(1)]);
    let comparing = checksum::compare(&one, &other, &options, &checksum::Silent);
    let starting = async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        run(&mut replica, "START SLAVE SQL_THREAD").await;
    };
    let (report, ()) = tokio::join!(comparing, starting);
    assert!(report.unwrap().is_equal());
}

#[tokio::test(flavor = "multi_thread")]
async fn real_galera_nodes_are_compared_under_load() {
    let Some(bench) = Bench::up(Vendor::MariaDb, Topology::Galera, 2).await else { return };
    let mut source = bench.root(0).await;
    script(&mut source, TABLES).await;
    let writers = Writers::start(&bench, 2, write).await;
    let options = Options::new(Method::Galera);
    for _ in 0..3 {
        let report = bench.compare(&options).await;
        assert_eq!(report.count(&Verdict::Differs), 0, "{report}");
        assert!(report.looked_equal() > 0, "{report}");
    }
    let mut other = bench.root(1).await;
    run(&mut other, "SET SESSION wsrep_on = OFF").await;
    run(&mut other, "UPDATE d.cold SET v = 5 WHERE id = 2").await;
    let report = bench.compare(&options).await;
    assert_eq!(lines(&report), ["cold changed 2: v"], "{report}");
    writers.stop().await;
    assert_eq!(lines(&bench.compare(&options).await), ["cold changed 2: v"]);
}

/// Changes a table's structure again and again.
fn alter(number: u64) -> String {
    let verb = if number.is_multiple_of(2) { "ADD COLUMN extra INT" } else { "DROP COLUMN extra" };
    format!("ALTER TABLE d.cold {verb}")
}

async fn ddl_meanwhile(vendor: Vendor) {
    let Some(bench) = filled(vendor).await else { return };
    let writers = Writers::start(&bench, 1, alter).await;
    let mut options = Options::new(Method::Optimistic);
    for round in 0..10 {
        options.thorough = round % 2 == 1;
        // What becomes of the table is a matter of luck; the others are compared all the same.
        let report = bench.compare(&options).await;
        let hot = report.tables.iter().find(|table| table.table.table == "hot").unwrap();
        assert_eq!(hot.verdict, Verdict::Equal, "{report}");
        assert!(!options.thorough || hot.rows == 4_096, "{report}");
    }
    assert!(writers.stop().await > 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn real_a_table_that_is_altered_keeps_no_other_from_being_compared() {
    ddl_meanwhile(Vendor::MariaDb).await;
    ddl_meanwhile(Vendor::MySql).await;
}
