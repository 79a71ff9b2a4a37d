//! `restore` of rows of 64 MB, and of rows that the target does not take.

use backup::create::CreateOptions;
use backup::restore::{Method, RestoreError, RestoreOptions, Selection};
use flavor::Vendor;

use crate::harness::{Bench, run, value, vendors};
use crate::restore::{all, load, load_all, options};

const SUMS: &str = "SELECT GROUP_CONCAT(id, ':', IFNULL(LENGTH(b), '-'), ':', IFNULL(SHA2(b, 256), '-'), ':', IFNULL(LENGTH(t), '-'), ':', \
    IFNULL(SHA2(t, 256), '-') ORDER BY id) FROM ";

#[tokio::test(flavor = "multi_thread")]
async fn real_a_row_of_64_mb_comes_back() {
    for vendor in vendors().await {
        let log = match vendor {
            Vendor::MariaDb => "innodb-log-file-size = 1G",
            Vendor::MySql => "innodb-redo-log-capacity = 1G",
        };
        let lines = ["local-infile = ON", "max-allowed-packet = 128M", log];
        let bench = Bench::logging(vendor, &lines).await;
        let mut connection = bench.connect().await;
        run(
            &mut connection,
            &[
                "CREATE DATABASE big",
                "CREATE TABLE big.t (id INT PRIMARY KEY, b LONGBLOB, t LONGTEXT CHARACTER SET utf8mb4)",
                "INSERT INTO big.t VALUES (1, REPEAT(X'00FF275C0A', 13421773), NULL)",
                "INSERT INTO big.t VALUES (2, NULL, REPEAT('text''\\\\\n\t\u{fc}', 838861))",
                "INSERT INTO big.t VALUES (3, 'small', 'small')",
            ],
        )
        .await;
        let before = value(&mut connection, &format!("{SUMS} big.t")).await;
        assert!(before.starts_with("1:67108865:") && before.contains(",2:-:-:8388610:"), "{before}");
        let manifest = bench.create(&CreateOptions::new("big")).await.unwrap();
        let folder = bench.place_path().join(&manifest.id);
        let renamed = |to: &str| [("big".to_owned(), to.to_owned())].into();
        let done = load_all(&bench, &folder, &RestoreOptions { renamed: renamed("copy"), ..options() }).await;
        assert_eq!((done.tables_verified, done.method), (1, "load-data"), "{vendor}");
        assert_eq!(value(&mut connection, &format!("{SUMS} copy.t")).await, before, "{vendor}");
        drop(connection);
        bench.down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_a_row_longer_than_the_target_takes_is_refused_before_anything() {
    for vendor in vendors().await {
        let bench = Bench::logging(vendor, &["local-infile = ON", "max-allowed-packet = 32M"]).await;
        let mut connection = bench.connect().await;
        run(&mut connection, &[
            "CREATE DATABASE big",
            "CREATE TABLE big.a (id INT PRIMARY KEY)",
            "INSERT INTO big.a VALUES (1)",
            "CREATE TABLE big.t (id INT PRIMARY KEY, b LONGBLOB, t LONGTEXT)",
            "INSERT INTO big.t VALUES (1, NULL, REPEAT('0123456789', 1200000)), (2, REPEAT('\n', 9000000), NULL)",
            "CREATE TABLE big.m (id INT PRIMARY KEY, t LONGTEXT) ENGINE=MyISAM",
            "INSERT INTO big.m VALUES (1, REPEAT('a', 6000000))",
        ])
        .await;
        let before = value(&mut connection, &format!("{SUMS} big.t")).await;
        let manifest = bench.create(&CreateOptions::new("big")).await.unwrap();
        let folder = bench.place_path().join(&manifest.id);
        run(&mut connection, &["SET GLOBAL max_allowed_packet = 4194304"]).await;
        let copy = RestoreOptions { renamed: [("big".to_owned(), "copy".to_owned())].into(), ..options() };
        let there = "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME IN ('copy', 'mainstay_restore')";
        for dry_run in [true, false] {
            let tried = RestoreOptions { dry_run, ..copy.clone() };
            let error = load(&bench, &folder, Selection::default(), &tried).await.unwrap_err();
            let RestoreError::RowTooLong { table, row_bytes, packet_bytes } = &error else {
                panic!("{vendor}: {error:?}")
            };
            assert_eq!((table.as_str(), *packet_bytes), ("copy.m", 4 << 20), "{vendor}");
            assert!((6_000_000..6_000_100).contains(row_bytes), "{vendor}: {row_bytes}");
            assert_eq!(value(&mut connection, there).await, "0", "{vendor}: nothing was loaded");
        }
        // What goes as a file goes in pieces, whatever the limit is.
        let only = Selection {
            databases: Vec::new(),
            tables: vec![Selection::name("big.a"), Selection::name("big.t")],
        };
        let done = load(&bench, &folder, only.clone(), &copy)
            .await
            .unwrap_or_else(|error| panic!("{vendor}: {error:?}"));
        assert_eq!(done.tables_verified, 2, "{vendor}");
        assert_eq!(value(&mut connection, &format!("{SUMS} copy.t")).await, before, "{vendor}");
        let insert = RestoreOptions {
            method: Some(Method::Insert),
            renamed: [("big".to_owned(), "third".to_owned())].into(),
            ..options()
        };
        let error = load(&bench, &folder, only.clone(), &insert).await.unwrap_err();
        assert!(error.to_string().contains("third.t has a row"), "{vendor}: {error}");
        let names = all(&mut connection, "SHOW DATABASES LIKE 'third'").await;
        assert!(names.is_empty(), "{vendor}: {names:?}");
        assert!(error.hint().unwrap().contains("max_allowed_packet = 33554432"), "{error}");
        run(&mut connection, &["SET GLOBAL max_allowed_packet = 33554432"]).await;
        let done = load(&bench, &folder, only, &insert).await.unwrap();
        assert!(!done.resumed && done.method == "insert", "{vendor}: nothing was begun: {done:?}");
        assert_eq!(value(&mut connection, &format!("{SUMS} third.t")).await, before, "{vendor}");
        drop(connection);
        bench.down().await;
    }
}
