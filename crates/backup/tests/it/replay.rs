//! A whole server rewound into another: equal to the original, also after the replay was killed in the middle.
//!
//! Tests fail when a row differs, a definition differs, or something is applied twice.

use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use backup::archive::{Archive, ArchiveOptions, Purge, archive_once};
use backup::create::CreateOptions;
use backup::replay::{
    Progress, ReplayError, ServerRewind, ServerRewindError, ServerRewindOptions, rewind_server,
};
use backup::repository::Repository;
use backup::restore;
use backup::rewind::{Base, Point, choose};
use dump::fix::Fix;
use flavor::Vendor;
use server::{Connection, Limits, Sql, Target};

use crate::harness::{Bench, run, value, vendors};

pub(crate) const SCHEMA: &[&str] = &[
    "CREATE DATABASE shop CHARACTER SET utf8mb4",
    "USE shop",
    "CREATE TABLE customer (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(100), note TEXT CHARACTER SET latin1)",
    "CREATE TABLE orders (id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, customer INT, amount DECIMAL(20,4), \
     twice DECIMAL(21,4) AS (amount * 2) STORED, at TIMESTAMP(6) NULL, KEY (customer), \
     CONSTRAINT own FOREIGN KEY (customer) REFERENCES customer (id) ON DELETE CASCADE)",
    "CREATE TABLE audit (what VARCHAR(200), n INT)",
    "CREATE TABLE zoo (id INT PRIMARY KEY, b BIT(13), s SET('a','b','c'), e ENUM('x','y'), j JSON, g GEOMETRY, d DATETIME(3), \
     t TIME(2), y YEAR, f FLOAT, dd DOUBLE, bin BINARY(5), vb VARBINARY(300), bl LONGBLOB, u CHAR(3) CHARACTER SET latin1)",
    "CREATE TABLE counter (id INT PRIMARY KEY, n BIGINT NOT NULL)",
    "CREATE TRIGGER noted AFTER INSERT ON orders FOR EACH ROW INSERT INTO audit VALUES ('order', NEW.id)",
    "INSERT INTO customer (name, note) VALUES ('Ada', 'caf\u{e9}'), ('Bob', NULL), ('Cem', ''), ('Dee', 'x')",
    "INSERT INTO orders (customer, amount, at) VALUES (1, 10.5, NOW(6)), (2, 20, NOW(6)), (3, 30, NULL), (4, 1, NULL)",
    "INSERT INTO counter VALUES (1, 0), (2, 0)",
];

/// Rows, DDL, transactions, odd types: everything that a log can hold of them.
pub(crate) async fn work(connection: &mut Connection, round: u32) {
    let from = round * 1000;
    run(connection, &[
        "USE shop",
        "SET SESSION sql_mode = ''",
        &format!("INSERT INTO zoo VALUES ({from}, b'1010101010101', 'a,c', 'y', '{{\"k\": [1, null, \"\u{1F600}\"]}}', POINT(1.5, -2), '0000-00-00', \
          '-838:59:59', 1999, 1e-30, -1.7976931348623157e308, 'ab', x'00ff27', REPEAT(x'00', 70000), 'é')"),
        &format!("INSERT INTO zoo (id, d, t, f) VALUES ({from} + 1, '2024-02-30 00:00:00', '00:00:00.01', -0.0)"),
        &format!("UPDATE zoo SET j = JSON_SET(j, '$.k[0]', 'two'), b = NULL WHERE id = {from}"),
        "INSERT INTO audit VALUES (NULL, 1), (NULL, 1), ('same', 2), ('same', 2)",
        "DELETE FROM audit WHERE what = 'same' LIMIT 1",
        "INSERT INTO customer (name) VALUES ('Eve'), ('Flo')",
        "INSERT INTO orders (customer, amount) SELECT id, 7.25 FROM customer",
        // What the cascade deletes is in no log.
        "DELETE FROM customer WHERE name = 'Eve'",
        "START TRANSACTION",
        "UPDATE counter SET n = n + 1 WHERE id = 1",
        "SAVEPOINT a",
        "UPDATE counter SET n = n + 100 WHERE id = 2",
        "ROLLBACK TO a",
        "UPDATE counter SET n = n + 10 WHERE id = 2",
        "COMMIT",
        "XA START 'x', 'branch', 7",
        "UPDATE counter SET n = n + 1000 WHERE id = 1",
        "XA END 'x', 'branch', 7",
        "XA PREPARE 'x', 'branch', 7",
        "XA COMMIT 'x', 'branch', 7",
        "XA START 'never'",
        &format!("INSERT INTO counter VALUES ({from} + 7, 7)"),
        "XA END 'never'",
        "XA PREPARE 'never'",
        "XA ROLLBACK 'never'",
        &format!("CREATE TABLE made{round} (id INT PRIMARY KEY, v VARCHAR(20) DEFAULT 'it''s') SELECT id, name AS v FROM customer"),
        &format!("ALTER TABLE made{round} ADD COLUMN more DATETIME DEFAULT '2020-01-01', ADD KEY (v)"),
        "CREATE TABLE fresh LIKE counter",
        "INSERT INTO fresh SELECT id, n + 5 FROM counter",
        // Two tables that change places.
        "RENAME TABLE counter TO away, fresh TO counter, away TO fresh",
        "UPDATE counter SET n = n * 2",
        "DROP TABLE counter",
        "RENAME TABLE fresh TO counter",
        &format!("CREATE VIEW seen{round} AS SELECT id FROM orders"),
        &format!("CREATE PROCEDURE p{round}() BEGIN INSERT INTO audit VALUES ('p', 1); SELECT 1; END"),
        &format!("CREATE EVENT e{round} ON SCHEDULE EVERY 1 SECOND DO INSERT INTO shop.audit VALUES ('event', {round})"),
        &format!("CREATE USER u{round}@localhost"),
        &format!("GRANT SELECT ON shop.* TO u{round}@localhost"),
        &format!("CREATE DATABASE other{round} CHARACTER SET latin1"),
        &format!("CREATE TABLE other{round}.t (id INT, v VARCHAR(10))"),
        &format!("INSERT INTO other{round}.t VALUES (1, 'ü'), (1, 'ü'), (2, NULL)"),
        "TRUNCATE TABLE audit",
        "INSERT INTO audit VALUES ('after', 1)",
        "SET SESSION sql_mode = DEFAULT",
    ])
    .await;
}

/// Statements that are logged as text, with what they need.
async fn as_text(connection: &mut Connection) {
    run(
        connection,
        &[
            "USE shop",
            "SET SESSION binlog_format = STATEMENT",
            "SET @name = 'from a variable', @n = -5, @f = 2.5e0",
            "INSERT INTO customer (name) VALUES (@name), (CONCAT(@n, '/', @f))",
            "INSERT INTO orders (customer, amount, at) VALUES (LAST_INSERT_ID(), 99, NOW(6))",
            "UPDATE counter SET n = n + 3",
            "SET SESSION binlog_format = ROW",
        ],
    )
    .await;
}

pub(crate) async fn archive(bench: &Bench) {
    let options = ArchiveOptions {
        target: bench.target(),
        limits: Limits::default(),
        server_id: 0x8000_0001,
        segment_age: Duration::from_millis(50),
        segment_bytes: 256 << 10,
        accepts_gap: false,
        purge: Purge::Watch,
        lease: Duration::from_secs(1),
    };
    archive_once(&Archive::new(bench.place()), &options, &mut |_| {}).await.unwrap();
}

pub(crate) fn options() -> ServerRewindOptions {
    ServerRewindOptions {
        threads: 2,
        with_binlog: false,
        with_sums: true,
        fixes: Fix::ALL.into_iter().collect(),
    }
}

async fn base(bench: &Bench, point: &Point) -> Base {
    choose(&Repository::new(bench.place()), point, None, |_| Ok(())).await.unwrap()
}

async fn rewind(bench: &Bench, base: &Base, target: &Target) -> Result<ServerRewind, ServerRewindError> {
    let (restoring, replaying) = (Arc::new(restore::Progress::default()), Arc::new(Progress::default()));
    rewind_server(&Repository::new(bench.place()), base, target, &options(), &restoring, &replaying).await
}

/// Every table with its definition and the sum of its rows; every other object by name.
pub(crate) async fn content(connection: &mut Connection) -> Vec<String> {
    let own = "('mysql', 'sys', 'information_schema', 'performance_schema')";
    let mut all = Vec::new();
    // Views show their tables with the database unless it is the default one.
    run(connection, &["USE mysql"]).await;
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA NOT IN {own} ORDER BY 1, 2"
    );
    for table in connection.query(&Sql::plain(sql)).await.unwrap() {
        let name = format!("`{}`.`{}`", table.text_at(0).unwrap(), table.text_at(1).unwrap());
        let rows = connection.query(&Sql::plain(format!("SHOW CREATE TABLE {name}"))).await.unwrap();
        let create = rows[0].text_at(1).unwrap();
        let create: Vec<&str> =
            create.split(' ').filter(|word| !word.starts_with("AUTO_INCREMENT=")).collect();
        let sum =
            if table.text_at(2) == Some("BASE TABLE") { sum(connection, &name).await } else { String::new() };
        // Rows of small tables, so that a difference can be read.
        let rows = connection.query(&Sql::plain(format!("SELECT * FROM {name} LIMIT 40"))).await.unwrap();
        let cells = |row: &server::Row| {
            (0..5)
                .map(|at| row.text_at(at).unwrap_or("-").chars().take(30).collect::<String>())
                .collect::<Vec<_>>()
                .join(",")
        };
        let mut rows: Vec<String> =
            if rows.len() < 40 { rows.iter().map(cells).collect() } else { Vec::new() };
        rows.sort();
        all.push(format!("{name} {sum} {} {}", create.join(" "), rows.join("; ")));
    }
    for sql in [
        format!(
            "SELECT 'routine', ROUTINE_SCHEMA, ROUTINE_NAME, ROUTINE_DEFINITION FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA NOT IN {own} ORDER BY 2, 3"
        ),
        format!(
            "SELECT 'trigger', TRIGGER_SCHEMA, TRIGGER_NAME, ACTION_STATEMENT FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA NOT IN {own} ORDER BY 2, 3"
        ),
        format!(
            "SELECT 'event', EVENT_SCHEMA, EVENT_NAME, EVENT_DEFINITION FROM information_schema.EVENTS WHERE EVENT_SCHEMA NOT IN {own} ORDER BY 2, 3"
        ),
        format!(
            "SELECT 'database', SCHEMA_NAME, DEFAULT_COLLATION_NAME, '' FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN {own} ORDER BY 2"
        ),
    ] {
        for row in connection.query(&Sql::plain(sql)).await.unwrap() {
            all.push((0..4).map(|at| row.text_at(at).unwrap_or("NULL")).collect::<Vec<_>>().join(" "));
        }
    }
    all
}

/// The sum of a table's rows: `CHECKSUM TABLE` also sums what happens to be in a row's unused bytes.
async fn sum(connection: &mut Connection, name: &str) -> String {
    let columns = connection.query(&Sql::plain(format!("SHOW COLUMNS FROM {name}"))).await.unwrap();
    let texts =
        columns.iter().map(|row| format!("COALESCE(HEX(CONCAT(`{}`, '')), '-')", row.text_at(0).unwrap()));
    let all = texts.collect::<Vec<_>>().join(", ");
    let sql = format!(
        "SELECT CONCAT_WS(' ', COUNT(*), SUM(CRC32(CONCAT_WS('#', {all}))), BIT_XOR(CRC32(SHA2(CONCAT_WS('#', {all}), 256)))) FROM {name}"
    );
    value(connection, &sql).await
}

pub(crate) fn assert_same(left: &[String], right: &[String]) {
    for (left, right) in left.iter().zip(right) {
        assert_eq!(left, right);
    }
    assert_eq!(left.len(), right.len());
}

/// A server with a backup, work after it, and all of it archived.
async fn worked(vendor: Vendor, lines: &[&str]) -> Bench {
    let mut all = vec![
        "log-bin = binlog",
        "binlog-format = ROW",
        "server-id = 1",
        "max-binlog-size = 1M",
        "event-scheduler = OFF",
    ];
    if vendor == Vendor::MySql {
        all.extend(["gtid-mode = ON", "enforce-gtid-consistency = ON"]);
    }
    all.extend(lines);
    let source = Bench::with(vendor, &all).await;
    let mut connection = source.connect().await;
    run(&mut connection, SCHEMA).await;
    work(&mut connection, 1).await;
    source.create(&CreateOptions::new("shop")).await.unwrap();
    work(&mut connection, 2).await;
    as_text(&mut connection).await;
    // Larger than what is given out whole.
    run(
        &mut connection,
        &[
            "CREATE TABLE shop.large (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(1000))",
            "INSERT INTO shop.large (v) VALUES (REPEAT('a', 900)), (REPEAT('b', 900))",
        ],
    )
    .await;
    for _ in 0..12 {
        run(&mut connection, &["INSERT INTO shop.large (v) SELECT REVERSE(v) FROM shop.large"]).await;
    }
    for number in 0..40 {
        run(
            &mut connection,
            &[&format!("UPDATE shop.large SET v = 'changed {number}' WHERE id % 40 = {number}")],
        )
        .await;
    }
    work(&mut connection, 3).await;
    archive(&source).await;
    source
}

async fn target(vendor: Vendor) -> Bench {
    Bench::with(vendor, &["server-id = 9", "local-infile = ON"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn real_a_rewound_server_is_equal_to_the_original() {
    for vendor in vendors().await {
        let lines: &[&str] =
            if vendor == Vendor::MySql { &["binlog-transaction-compression = ON"] } else { &[] };
        for lines in [&["binlog-row-metadata = FULL"] as &[&str], lines] {
            let source = worked(vendor, lines).await;
            let original = content(&mut source.connect().await).await;
            let other = target(vendor).await;
            let base = base(&source, &Point::End).await;
            let done = rewind(&source, &base, &other.target()).await.unwrap();
            assert_same(&content(&mut other.connect().await).await, &original);
            assert!(done.replayed.transactions > 50 && done.replayed.ddl > 20, "{done:?}");
            assert!(done.replayed.counts.account_statements >= 4, "{done:?}");
            assert!(done.replayed.counts.statements_as_text >= 3, "{done:?}");
            println!("{vendor}: {done:?}");
            // A server that has something is left alone.
            let again = rewind(&source, &base, &other.target()).await.unwrap_err();
            assert!(matches!(again, ServerRewindError::NotEmpty { .. }), "{again}");
            other.down().await;
            source.down().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_a_replay_that_is_ended_anywhere_goes_on() {
    for vendor in vendors().await {
        let source = worked(vendor, &[]).await;
        let original = content(&mut source.connect().await).await;
        let other = target(vendor).await;
        let base = base(&source, &Point::End).await;
        let (mut ends, mut count) = (0_u32, 2);
        let begun = Instant::now();
        loop {
            let target = other.target();
            match steps(rewind(&source, &base, &target), count).await {
                Some(Ok(done)) => {
                    assert!(done.replayed.resumed || ends == 0, "{done:?}");
                    break;
                }
                Some(Err(error)) => {
                    panic!("after {ends} ends: {error} {:?}", std::error::Error::source(&error))
                }
                None => ends += 1,
            }
            assert!(begun.elapsed() < Duration::from_secs(300), "it does not get on");
            count += count / 3 + 1;
            gone(&other).await;
        }
        assert!(ends > 3, "it ended before it was killed: {ends}");
        println!("{vendor}: ended {ends} times");
        assert_same(&content(&mut other.connect().await).await, &original);
        other.down().await;
        source.down().await;
    }
}

/// Lets something go on for so many steps, each from one wait to the next; none if it has not ended then, however fast
/// the machine.
async fn steps<T>(work: impl Future<Output = T>, count: u64) -> Option<T> {
    let (mut work, mut left) = (std::pin::pin!(work), count);
    std::future::poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// Waits until the server has ended what the one that is gone had begun.
async fn gone(bench: &Bench) {
    let mut connection = bench.connect().await;
    let begun = Instant::now();
    let sql = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND USER = 'root' AND COMMAND <> 'Daemon'";
    while value(&mut connection, sql).await != "0" {
        assert!(begun.elapsed() < Duration::from_secs(30), "a session stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_a_point_between_two_transactions_is_met() {
    for vendor in vendors().await {
        let source = Bench::new(vendor).await;
        let mut connection = source.connect().await;
        run(&mut connection, SCHEMA).await;
        source.create(&CreateOptions::new("shop")).await.unwrap();
        work(&mut connection, 1).await;
        let status = connection.query(&Sql::plain("SHOW MASTER STATUS")).await;
        let status = match status {
            Ok(status) => status,
            Err(_) => connection.query(&Sql::plain("SHOW BINARY LOG STATUS")).await.unwrap(),
        };
        let at = format!("{}:{}", status[0].text_at(0).unwrap(), status[0].text_at(1).unwrap());
        let original = content(&mut connection).await;
        run(&mut connection, &["DROP TABLE shop.orders", "DELETE FROM shop.zoo"]).await;
        archive(&source).await;
        let other = target(vendor).await;
        let base = base(&source, &Point::before(&at).unwrap()).await;
        rewind(&source, &base, &other.target()).await.unwrap();
        assert_same(&content(&mut other.connect().await).await, &original);
        other.down().await;
        source.down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_what_cannot_be_replayed_is_named() {
    for vendor in vendors().await {
        let source = Bench::new(vendor).await;
        let mut connection = source.connect().await;
        run(&mut connection, SCHEMA).await;
        source.create(&CreateOptions::new("shop")).await.unwrap();
        run(
            &mut connection,
            &[
                "USE shop",
                "UPDATE counter SET n = 5 WHERE id = 1",
                "SET SESSION binlog_format = STATEMENT",
                "SET @name = 'caf\u{e9}'",
                "INSERT INTO customer (name) VALUES (@name)",
            ],
        )
        .await;
        archive(&source).await;
        let other = target(vendor).await;
        let base = base(&source, &Point::End).await;
        let error = rewind(&source, &base, &other.target()).await.unwrap_err();
        assert!(
            matches!(&error, ServerRewindError::Replay(ReplayError::Obstacle(it)) if it.problem.contains("@name")),
            "{vendor}: {error:?}"
        );
        // What is before it is there.
        assert_eq!(value(&mut other.connect().await, "SELECT n FROM shop.counter WHERE id = 1").await, "5");
        other.down().await;
        source.down().await;
    }
}
