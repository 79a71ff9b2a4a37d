//! A table rewound to just before a mistake, on real servers: equal to a copy that the server made itself at that moment.
//!
//! Tests fail when a row differs, when something of after the point is there, or when what is not ours is touched.

use std::time::Duration;

use backup::archive::{Archive, ArchiveOptions, Purge, archive_once};
use backup::create::CreateOptions;
use backup::repository::Repository;
use backup::rewind::{
    CopyOptions, Point, RewindError, Rewound, TableDiff, TableOptions, TableProgress, build, copy_back, diff,
    plan_copy, plan_swap, prepare, swap,
};
use flavor::Vendor;
use server::{Connection, Limits, Loader, Sql};

use crate::harness::{Bench, run, value, vendors};

/// `shop.orders` with a key and every sort of column, a child of another table and with a trigger; `shop.log` without
/// a key.
const SCHEMA: &[&str] = &[
    "CREATE DATABASE shop CHARACTER SET utf8mb4",
    "CREATE DATABASE model",
    "USE shop",
    "CREATE TABLE customers (id INT PRIMARY KEY, name VARCHAR(50))",
    "CREATE TABLE orders (id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, customer INT NOT NULL, code CHAR(8), \
     note TEXT, amount DECIMAL(12,2), payload BLOB, doc JSON, state ENUM('new','paid','gone'), flags SET('a','b'), \
     made DATETIME(6), touched TIMESTAMP NULL, twice DECIMAL(13,2) AS (amount * 2) VIRTUAL, \
     UNIQUE KEY (code), KEY (customer, made), CONSTRAINT has_code CHECK (code <> 'none'), \
     CONSTRAINT of_customer FOREIGN KEY (customer) REFERENCES customers (id)) COMMENT 'what was bought'",
    "CREATE TABLE log (line VARCHAR(100), n INT)",
    "CREATE TABLE audit (n INT PRIMARY KEY AUTO_INCREMENT, order_id BIGINT)",
    "CREATE TRIGGER orders_log AFTER INSERT ON orders FOR EACH ROW INSERT INTO audit (order_id) VALUES (NEW.id)",
    "INSERT INTO customers VALUES (1, 'Ann'), (2, 'Bö'), (3, '漢字')",
];

async fn insert(connection: &mut Connection, from: u32, count: u32) {
    for id in from..from + count {
        let sql = format!(
            "INSERT INTO shop.orders (id, customer, code, note, amount, payload, doc, state, flags, made, touched) VALUES \
             ({id}, {}, 'C{id}', IF({id} % 5 = 0, NULL, 'it''s \\\\ {id} ö 漢'), {id} / 7, UNHEX(SHA2({id}, 256)), \
             JSON_OBJECT('n', {id}, 't', 'x\"y'), 'new', 'a,b', '2026-11-21 17:00:00.000001' + INTERVAL {id} SECOND, NOW())",
            id % 3 + 1
        );
        run(connection, &[&sql]).await;
    }
}

/// Changes of every kind, in many transactions.
async fn work(connection: &mut Connection) {
    insert(connection, 301, 40).await;
    run(
        connection,
        &[
            "UPDATE shop.orders SET state = 'paid', amount = amount + 1 WHERE id % 2 = 0",
            "UPDATE shop.orders SET state = 'gone', note = NULL WHERE id % 10 = 0",
            "DELETE FROM shop.orders WHERE id % 17 = 0",
            "UPDATE shop.orders SET id = id + 100000 WHERE id BETWEEN 20 AND 25",
            // Unique values that change places.
            "UPDATE shop.orders SET code = 'tmp' WHERE id = 1",
            "UPDATE shop.orders SET code = 'C1' WHERE id = 2",
            "UPDATE shop.orders SET code = 'C2' WHERE id = 1",
            "INSERT INTO shop.orders (id, customer, code) VALUES (900, 1, 'X')",
            "DELETE FROM shop.orders WHERE id = 900",
            "START TRANSACTION",
            "INSERT INTO shop.orders (id, customer, code) VALUES (901, 1, 'never')",
            "ROLLBACK",
            "INSERT INTO shop.log VALUES ('a', 1), ('a', 1), (NULL, 2), ('b', 3)",
            "DELETE FROM shop.log WHERE n = 1 LIMIT 1",
            "UPDATE shop.log SET line = 'c' WHERE n = 2",
        ],
    )
    .await;
}

/// The server's own copy of a table, now.
pub(crate) async fn copy(connection: &mut Connection, table: &str) {
    let make = format!("CREATE TABLE model.{table} LIKE shop.{table}");
    let columns = value(
        connection,
        &format!(
            "SELECT GROUP_CONCAT(COLUMN_NAME ORDER BY ORDINAL_POSITION) FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA = 'shop' AND TABLE_NAME = '{table}' AND EXTRA NOT LIKE '%GENERATED%' AND EXTRA NOT LIKE '%VIRTUAL%'"
        ),
    )
    .await;
    let fill = format!("INSERT INTO model.{table} ({columns}) SELECT {columns} FROM shop.{table}");
    run(connection, &[&make, &fill]).await;
}

/// Where the server's log stands.
pub(crate) async fn position(connection: &mut Connection, vendor: Vendor) -> Point {
    let sql = if vendor == Vendor::MySql { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" };
    let rows = connection.query(&Sql::plain(sql)).await.unwrap();
    let (file, at) = (rows[0].text("File").unwrap(), rows[0].text("Position").unwrap());
    Point::before(&format!("{file}:{at}")).unwrap()
}

pub(crate) async fn archive(bench: &Bench) {
    let options = ArchiveOptions {
        target: bench.target(),
        limits: Limits::default(),
        server_id: 0x8000_0001,
        segment_age: Duration::from_millis(50),
        segment_bytes: 64 << 10,
        accepts_gap: false,
        purge: Purge::Watch,
        lease: Duration::from_secs(1),
    };
    archive_once(&Archive::new(bench.place()), &options, &mut |_| {}).await.unwrap();
}

pub(crate) fn options(table: &str) -> TableOptions {
    TableOptions {
        database: "shop".to_owned(),
        table: table.to_owned(),
        as_name: format!("{table}_rewound"),
        threads: 2,
        memory_bytes: 64 << 20,
        with_binlog: true,
        accepts_cascades: false,
    }
}

pub(crate) async fn rewind(
    bench: &Bench,
    point: &Point,
    options: &TableOptions,
) -> Result<Rewound, RewindError> {
    let repository = Repository::new(bench.place());
    let mut prepared = prepare(&repository, &bench.target(), (point, None), options).await?;
    build(&mut prepared, &bench.target(), options, &TableProgress::default()).await
}

async fn loader(bench: &Bench) -> Loader {
    Loader::open(&bench.target(), &Limits::default(), Duration::from_secs(60)).await.unwrap()
}

pub(crate) async fn differences(bench: &Bench, tables: (&str, &str)) -> TableDiff {
    let mut loader = loader(bench).await;
    let found = diff(&mut loader, "shop", tables).await.unwrap();
    loader.close().await;
    found
}

async fn checksum(connection: &mut Connection, table: &str) -> String {
    let rows = connection.query(&Sql::plain(format!("CHECKSUM TABLE {table} EXTENDED"))).await.unwrap();
    rows[0].text_at(1).unwrap_or("none").to_owned()
}

async fn assert_same(connection: &mut Connection, model: &str, rewound: &str) {
    let counts =
        format!("SELECT CONCAT((SELECT COUNT(*) FROM {model}), '/', (SELECT COUNT(*) FROM {rewound}))");
    let counts = value(connection, &counts).await;
    let (left, right) = (checksum(connection, model).await, checksum(connection, rewound).await);
    assert_eq!(left, right, "{model} and {rewound} differ: {counts} rows");
    assert_ne!(counts, "0/0");
}

/// A server with the schema, 300 orders, a backup, and an archive.
async fn begun(vendor: Vendor) -> (Bench, Connection) {
    let bench = Bench::new(vendor).await;
    let mut connection = bench.connect().await;
    run(&mut connection, SCHEMA).await;
    insert(&mut connection, 1, 300).await;
    run(&mut connection, &["INSERT INTO shop.log VALUES ('a', 1), ('x', 7)"]).await;
    archive(&bench).await;
    bench.create(&CreateOptions::new("shop")).await.unwrap();
    (bench, connection)
}

#[tokio::test(flavor = "multi_thread")]
async fn real_a_table_comes_back_as_it_was_before_a_mass_delete_and_before_a_drop() {
    for vendor in vendors().await {
        let (bench, mut connection) = begun(vendor).await;
        work(&mut connection).await;
        copy(&mut connection, "orders").await;
        copy(&mut connection, "log").await;
        let before_delete = position(&mut connection, vendor).await;
        run(
            &mut connection,
            &[
                "DELETE FROM shop.orders WHERE customer = 2",
                "UPDATE shop.orders SET note = 'new' WHERE id = 9",
            ],
        )
        .await;
        insert(&mut connection, 500, 3).await;
        archive(&bench).await;

        let rewound = rewind(&bench, &before_delete, &options("orders")).await.unwrap();
        assert_eq!(rewound.restored_rows, 300);
        assert!(
            rewound.replayed.changes > 200 && rewound.replayed.rows < rewound.replayed.changes,
            "{rewound:?}"
        );
        assert!(rewound.left_out.iter().any(|it| it.contains("orders_log")), "{:?}", rewound.left_out);
        assert_same(&mut connection, "model.orders", "shop.orders_rewound").await;
        // A table without a key, change by change.
        let log = rewind(&bench, &before_delete, &options("log")).await.unwrap();
        assert!(log.replayed.is_sequential);
        assert_same(&mut connection, "model.log", "shop.log_rewound").await;
        // Nothing of the work is left, and triggers did not fire.
        let left = "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'mainstay%'";
        assert_eq!(value(&mut connection, left).await, "0");

        let found = differences(&bench, ("orders_rewound", "orders")).await;
        let gone: u64 = value(&mut connection, "SELECT COUNT(*) FROM model.orders WHERE customer = 2")
            .await
            .parse()
            .unwrap();
        assert_eq!((found.only_rewound, found.only_live, found.different), (gone, 3, 1), "{found:?}");
        assert_eq!(found.first_different, ["id=9: note"]);

        // The same again is there already; another point is not put over it.
        let again = rewind(&bench, &before_delete, &options("orders")).await.unwrap();
        assert!(again.plan.is_there && again.replayed.stretches == 0);
        let other = rewind(&bench, &Point::End, &options("orders")).await;
        assert!(matches!(&other, Err(RewindError::Refused { .. })), "{other:?}");

        // Rows copied back; those that came since stay.
        let choice = CopyOptions { only_missing: true, with_triggers: true, ..CopyOptions::default() };
        let mut writer = loader(&bench).await;
        let tables = ("orders_rewound", "orders");
        assert!(
            plan_copy(&mut writer, "shop", tables, &CopyOptions::default()).await.is_err(),
            "triggers are told"
        );
        let plan = plan_copy(&mut writer, "shop", tables, &choice).await.unwrap();
        assert_eq!((plan.missing, plan.different), (gone, 0));
        copy_back(&mut writer, "shop", tables, &choice, &plan).await.unwrap();
        let stale = copy_back(&mut writer, "shop", tables, &choice, &plan).await;
        assert!(stale.is_err(), "the same rows are not missing twice");
        writer.close().await;
        let found = differences(&bench, tables).await;
        assert_eq!((found.only_rewound, found.only_live, found.different), (0, 3, 1), "{found:?}");

        // The mistake that takes everything.
        run(&mut connection, &["DROP TABLE model.orders"]).await;
        copy(&mut connection, "orders").await;
        let before_drop = position(&mut connection, vendor).await;
        run(&mut connection, &["DROP TABLE shop.orders_rewound", "DROP TABLE shop.orders"]).await;
        archive(&bench).await;
        rewind(&bench, &before_drop, &options("orders")).await.unwrap();
        assert_same(&mut connection, "model.orders", "shop.orders_rewound").await;
        assert!(!differences(&bench, tables).await.is_live_there);
        connection.close().await;
        bench.down().await;
    }
}

/// A table whose structure changes between backup and point, read in the smallest stretches.
#[tokio::test(flavor = "multi_thread")]
async fn real_ddl_in_between_is_done_again_and_little_memory_is_enough() {
    for vendor in vendors().await {
        let (bench, mut connection) = begun(vendor).await;
        work(&mut connection).await;
        run(
            &mut connection,
            &[
                "ALTER TABLE shop.orders ADD COLUMN paid_at DATETIME DEFAULT '2026-01-01' AFTER code, DROP COLUMN flags",
                "USE shop",
                "UPDATE orders SET paid_at = '2026-11-21 18:00:00' WHERE id % 3 = 0",
                "CREATE INDEX by_state ON orders (state)",
                "UPDATE orders SET state = 'paid' WHERE id % 4 = 0",
            ],
        )
        .await;
        copy(&mut connection, "orders").await;
        let before_truncate = position(&mut connection, vendor).await;
        run(
            &mut connection,
            &["TRUNCATE TABLE orders", "INSERT INTO orders (id, customer, code) VALUES (5, 1, 'five')"],
        )
        .await;
        let after_truncate = position(&mut connection, vendor).await;
        run(&mut connection, &["DROP TABLE orders, log", "INSERT INTO customers VALUES (9, 'later')"]).await;
        let after_drop = position(&mut connection, vendor).await;
        archive(&bench).await;

        let mut small = options("orders");
        small.memory_bytes = 20_000;
        let rewound = rewind(&bench, &before_truncate, &small).await.unwrap();
        assert_eq!(rewound.replayed.ddl.len(), 2, "{:?}", rewound.replayed.ddl);
        assert!(rewound.replayed.stretches > 5, "{rewound:?}");
        assert_same(&mut connection, "model.orders", "shop.orders_rewound").await;
        run(&mut connection, &["DROP TABLE shop.orders_rewound"]).await;
        rewind(&bench, &after_truncate, &options("orders")).await.unwrap();
        assert_eq!(
            value(&mut connection, "SELECT GROUP_CONCAT(code) FROM shop.orders_rewound").await,
            "five"
        );
        run(&mut connection, &["DROP TABLE shop.orders_rewound"]).await;
        let gone = rewind(&bench, &after_drop, &options("orders")).await.unwrap_err();
        assert!(gone.to_string().contains("is not there at that point"), "{gone}");
        connection.close().await;
        bench.down().await;
    }
}

/// What a killed run leaves is removed by the next one; what is not ours never is. A point that the archive does not
/// reach is refused, and said where it can go.
#[tokio::test(flavor = "multi_thread")]
async fn real_a_rewind_starts_over_and_refuses_what_it_cannot_reach() {
    for vendor in vendors().await {
        let (bench, mut connection) = begun(vendor).await;
        work(&mut connection).await;
        let unarchived = position(&mut connection, vendor).await;
        let late = rewind(&bench, &unarchived, &options("orders")).await.unwrap_err();
        assert!(matches!(&late, RewindError::NoBackup { instead: Some(_), .. }), "{late:?}");
        copy(&mut connection, "orders").await;
        archive(&bench).await;

        // A run that ends in the middle.
        let repository = Repository::new(bench.place());
        let (target, wanted) = (bench.target(), options("orders"));
        let mut prepared = prepare(&repository, &target, (&unarchived, None), &wanted).await.unwrap();
        let progress = TableProgress::default();
        let half = build(&mut prepared, &target, &wanted, &progress);
        let is_restored = async {
            let left = "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'mainstay%'";
            while value(&mut connection, left).await == "0" {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            done = half => panic!("it was done too soon: {done:?}"),
            () = is_restored => {}
        }
        rewind(&bench, &unarchived, &wanted).await.unwrap();
        assert_same(&mut connection, "model.orders", "shop.orders_rewound").await;
        let left = "SELECT GROUP_CONCAT(SCHEMA_NAME) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'mainstay%'";
        assert_eq!(value(&mut connection, left).await, "NULL");

        // A table of that name that is somebody else's.
        run(
            &mut connection,
            &["DROP TABLE shop.orders_rewound", "CREATE TABLE shop.orders_rewound (mine INT)"],
        )
        .await;
        let refused = rewind(&bench, &unarchived, &wanted).await.unwrap_err();
        assert!(matches!(&refused, RewindError::Refused { .. }), "{refused:?}");
        assert_eq!(value(&mut connection, "SELECT COUNT(*) FROM shop.orders_rewound").await, "0");
        connection.close().await;
        bench.down().await;
    }
}

/// The rewound table in the live one's place: its triggers and foreign keys, and those that lead to it, go with the name.
#[tokio::test(flavor = "multi_thread")]
async fn real_a_swap_takes_triggers_and_foreign_keys_over() {
    for vendor in vendors().await {
        let (bench, mut connection) = begun(vendor).await;
        run(
            &mut connection,
            &[
                "CREATE TABLE shop.items (id INT PRIMARY KEY, order_id BIGINT UNSIGNED, \
                 CONSTRAINT of_order FOREIGN KEY (order_id) REFERENCES shop.orders (id))",
                "INSERT INTO shop.items VALUES (1, 1)",
            ],
        )
        .await;
        copy(&mut connection, "orders").await;
        let point = position(&mut connection, vendor).await;
        run(&mut connection, &["UPDATE shop.orders SET note = 'oops'"]).await;
        archive(&bench).await;
        let (repository, target, wanted) =
            (Repository::new(bench.place()), bench.target(), options("orders"));
        let mut prepared = prepare(&repository, &target, (&point, None), &wanted).await.unwrap();
        build(&mut prepared, &target, &wanted, &TableProgress::default()).await.unwrap();
        let mut writer = loader(&bench).await;
        let plan = plan_swap(&mut writer, "shop", ("orders_rewound", "orders"), prepared.definitions())
            .await
            .unwrap();
        assert_eq!(
            (plan.triggers.len(), plan.foreign_keys.len(), plan.leading_here.len()),
            (1, 1, 1),
            "{plan:?}"
        );
        swap(&mut writer, &plan).await.unwrap();
        writer.close().await;
        assert_same(&mut connection, "model.orders", "shop.orders").await;
        let oops = "SELECT COUNT(*) FROM shop.orders_before_rewind WHERE note = 'oops'";
        assert_eq!(value(&mut connection, oops).await, "300");
        let comment = "SELECT TABLE_COMMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop' AND TABLE_NAME = 'orders'";
        assert_eq!(value(&mut connection, comment).await, "what was bought");
        // The trigger acts, and both keys hold.
        let audit = "SELECT COUNT(*) FROM shop.audit WHERE order_id = 7000";
        run(&mut connection, &["INSERT INTO shop.orders (id, customer, code) VALUES (7000, 1, 'z')"]).await;
        assert_eq!(value(&mut connection, audit).await, "1");
        for refused in
            ["DELETE FROM shop.orders WHERE id = 1", "UPDATE shop.orders SET customer = 99 WHERE id = 2"]
        {
            assert!(connection.execute(&Sql::plain(refused)).await.is_err(), "{refused}");
        }
        run(&mut connection, &["DROP TABLE shop.orders_before_rewind"]).await;
        connection.close().await;
        bench.down().await;
    }
}
