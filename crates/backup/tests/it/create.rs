//! `backup create` on real servers: what it takes, and what it refuses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backup::create::{CreateError, CreateOptions};
use backup::seal::Identities;
use dump::layout::Compression;
use dump::manifest::{MANIFEST_NAME, Manifest, SnapshotMethod};
use flavor::Vendor;
use server::{Connection, Limits, Sql, Target};

use crate::harness::{Bench, load, read, run, value, vendors};

/// Rows of a table, in SQL that both servers know.
async fn fill(connection: &mut Connection, table: &str, rows: u32) {
    run(connection, &[&format!("INSERT INTO {table} (id, note) VALUES (1, 'first')")]).await;
    let mut have = 1;
    while have < rows {
        let more = have.min(rows - have);
        let sql = format!(
            "INSERT INTO {table} (id, note) SELECT id + {have}, CONCAT('row ', id + {have}) FROM {table} \
             ORDER BY id LIMIT {more}"
        );
        run(connection, &[&sql]).await;
        have += more;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_a_dump_loads_by_hand_and_is_equal() {
    for vendor in vendors().await {
        for (compression, encrypted) in
            [(Compression::Zstd, false), (Compression::Gzip, false), (Compression::None, true)]
        {
            let bench = Bench::new(vendor).await;
            let mut connection = bench.connect().await;
            run(&mut connection, &[
                "CREATE DATABASE shop",
                "CREATE TABLE shop.orders (id INT PRIMARY KEY, note VARCHAR(100), KEY (note))",
                "CREATE TABLE shop.pairs (a INT, b VARCHAR(20) CHARACTER SET latin1, note INT, PRIMARY KEY (a, b))",
                "INSERT INTO shop.pairs VALUES (1, 'ä', 1), (1, 'b', 2), (2, '', 3), (2, 'x''y', 4)",
                "CREATE TABLE shop.empty (id INT PRIMARY KEY)",
            ])
            .await;
            fill(&mut connection, "shop.orders", 5000).await;
            // Ranges follow from the statistics, which are otherwise some seconds late.
            connection.query(&Sql::plain("ANALYZE TABLE shop.orders, shop.pairs")).await.unwrap();
            let mut options = CreateOptions::new("shop");
            options.compression = compression;
            // Small enough that both tables are cut, and statements too.
            options.chunk_bytes = 40_000;
            options.statement_bytes = 10_000;
            let identities = encrypted.then(Identities::generate);
            options.recipients = identities.as_ref().map(Identities::recipients).unwrap_or_default();
            let properties = bench.folder.path().join("db.properties");
            std::fs::File::create(&properties).unwrap();
            options.control_plane_files = vec![properties.clone()];
            if !encrypted {
                let refused = bench.create(&options).await.unwrap_err();
                assert!(matches!(refused, CreateError::RecipientNeeded), "{refused}");
                options.control_plane_files.clear();
            }
            let manifest = bench.create(&options).await.unwrap();
            let folder = bench.place_path().join(&manifest.id);
            assert_eq!(
                Manifest::read(&std::fs::read(folder.join(MANIFEST_NAME)).unwrap()).unwrap(),
                manifest
            );
            assert_eq!(manifest.rows(), 5004);
            assert!(manifest.coordinates.as_ref().unwrap().position > 4);
            let orders = manifest.tables.iter().find(|table| table.name == "orders").unwrap();
            assert!(orders.chunks.len() > 2, "{orders:?}");
            assert_eq!(manifest.recipients, options.recipients.names());
            if let Some(identities) = &identities {
                let kept = manifest.files.iter().find(|file| file.origin.is_some()).unwrap();
                assert_eq!(kept.origin.as_ref().unwrap().path, properties.to_string_lossy());
                assert_eq!(read(&folder, &kept.name, Some(identities)), "");
                let stored = std::fs::read(folder.join(&orders.chunks[0].file)).unwrap();
                assert!(!stored.windows(6).any(|bytes| bytes == b"INSERT"));
            }
            let first = read(&folder, &orders.chunks[0].file, identities.as_ref());
            assert!(
                first.matches("INSERT INTO `orders` (`id`,`note`) VALUES\n(").count() > 1,
                "{first:.300}"
            );

            let sums = "CHECKSUM TABLE shop.orders, shop.pairs, shop.empty";
            let before = connection.query(&Sql::plain(sums)).await.unwrap();
            run(&mut connection, &["DROP DATABASE shop"]).await;
            load(&mut connection, &folder, identities.as_ref()).await;
            let after = connection.query(&Sql::plain(sums)).await.unwrap();
            for (before, after) in before.iter().zip(&after) {
                assert_eq!(before.text("Checksum"), after.text("Checksum"), "{vendor} {before:?}");
            }
            let mut again = CreateOptions::new("again");
            again.threads = 1;
            let again = bench.create(&again).await.unwrap();
            for (table, other) in manifest.tables.iter().zip(&again.tables) {
                assert_eq!((&table.name, &table.digest), (&other.name, &other.digest));
            }
            bench.down().await;
        }
    }
}

/// Commits the same number of rows to two tables, over and over.
async fn write_until(target: Target, stop: Arc<AtomicBool>) -> u64 {
    let mut connection = Connection::open(&target, &Limits::default()).await.unwrap();
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        run(
            &mut connection,
            &["BEGIN", "INSERT INTO shop.a VALUES ()", "INSERT INTO shop.b VALUES ()", "COMMIT"],
        )
        .await;
        count += 1;
    }
    count
}

/// Number of the last transaction in a GTID position of one server.
fn last_number(gtid: &str) -> u64 {
    gtid.rsplit(['-', ':']).next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn real_all_sessions_see_the_moment_of_the_coordinates_under_load() {
    for vendor in vendors().await {
        let bench = Bench::new(vendor).await;
        let mut connection = bench.connect().await;
        run(
            &mut connection,
            &[
                "CREATE DATABASE shop",
                "CREATE TABLE shop.a (id INT AUTO_INCREMENT PRIMARY KEY)",
                "CREATE TABLE shop.b (id INT AUTO_INCREMENT PRIMARY KEY)",
            ],
        )
        .await;
        let position = bench.connect().await.flavor().statements().gtid_position_query();
        let begun = last_number(&value(&mut connection, position).await);
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> =
            (0..3).map(|_| tokio::spawn(write_until(bench.target(), Arc::clone(&stop)))).collect();
        let mut methods = Vec::new();
        let mut last = 0;
        for turn in 0..6 {
            let mut options = CreateOptions::new(format!("load-{turn}"));
            options.threads = 4;
            let manifest = bench.create(&options).await.unwrap();
            let rows: Vec<u64> = manifest.tables.iter().map(|table| table.rows).collect();
            assert_eq!(rows[0], rows[1], "{vendor} {:?}", manifest.method);
            let coordinates = manifest.coordinates.unwrap();
            // Every transaction has one GTID and one row in each table: the position is exactly that of the rows.
            assert_eq!(last_number(&coordinates.gtid), begun + rows[0], "{vendor} {:?}", manifest.method);
            assert!(rows[0] >= last);
            last = rows[0];
            methods.push(manifest.method);
        }
        stop.store(true, Ordering::Relaxed);
        let mut written = 0;
        for writer in writers {
            written += writer.await.unwrap();
        }
        assert!(written > last && last > 0, "{vendor}: {written} {last}");
        println!("{vendor}: {written} transactions, methods {methods:?}");
        bench.down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_a_schema_change_during_the_dump_is_held_off_or_noticed() {
    for vendor in vendors().await {
        let bench = Bench::new(vendor).await;
        let mut connection = bench.connect().await;
        run(
            &mut connection,
            &[
                "CREATE DATABASE shop",
                "CREATE TABLE shop.big (id INT PRIMARY KEY, note VARCHAR(200))",
                "CREATE TABLE shop.small (id INT PRIMARY KEY)",
                "INSERT INTO shop.small VALUES (1), (2)",
            ],
        )
        .await;
        fill(&mut connection, "shop.big", 200_000).await;
        let mut options = CreateOptions::new("ddl");
        options.threads = 1;
        options.level = 12;
        let changing = async {
            // The dump has begun when its first file is there.
            let folder = bench.place_path();
            for _ in 0..2000 {
                if std::fs::read_dir(&folder).unwrap().next().is_some() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            connection.execute(&Sql::plain("ALTER TABLE shop.small ADD COLUMN more INT DEFAULT 7")).await
        };
        let (dumped, changed) = tokio::join!(bench.create(&options), changing);
        changed.unwrap();
        match vendor {
            // LOCK INSTANCE FOR BACKUP made the change wait.
            Vendor::MySql => assert_eq!(dumped.unwrap().rows(), 200_002),
            Vendor::MariaDb => {
                let refused = dumped.unwrap_err();
                let CreateError::DefinitionsChanged { names } = refused else { panic!("{refused}") };
                assert_eq!(names, ["shop.small"]);
            }
        }
        bench.down().await;
    }
}

/// Where the server's binary log stands.
async fn log_position(connection: &mut Connection) -> (String, u64) {
    let sql = Sql::plain(connection.flavor().statements().binlog_status());
    let rows = connection.query(&sql).await.unwrap();
    (rows[0].text("File").unwrap().to_owned(), rows[0].parsed("Position").unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn real_what_is_made_until_the_snapshot_is_in_the_dump() {
    made_meanwhile(Duration::from_millis(300), 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_a_schema_that_never_rests_is_held_for_the_snapshot() {
    made_meanwhile(Duration::from_millis(20), 2).await;
}

/// A server may have no definition of a table to show while it is changed. Here a file is what cannot be shown.
#[tokio::test(flavor = "multi_thread")]
async fn real_what_cannot_be_shown_is_looked_at_again() {
    if !vendors().await.contains(&Vendor::MariaDb) {
        return;
    }
    let bench = Bench::new(Vendor::MariaDb).await;
    let mut connection = bench.connect().await;
    run(&mut connection, &["CREATE DATABASE shop", "CREATE TABLE shop.a (id INT PRIMARY KEY)"]).await;
    let broken = bench.cluster.nodes[0].datadir.join("shop/broken.frm");
    std::fs::File::create(&broken).and_then(|mut file| std::io::Write::write_all(&mut file, b"no")).unwrap();
    let error = bench.create(&CreateOptions::new("never")).await.unwrap_err();
    assert!(error.to_string().contains("shop.broken"), "{error}");
    let mended = async {
        tokio::time::sleep(Duration::from_millis(1200)).await;
        std::fs::remove_file(&broken).unwrap();
    };
    let options = CreateOptions::new("soon");
    let (manifest, ()) = tokio::join!(bench.create(&options), mended);
    assert!(manifest.unwrap().tables.iter().all(|table| table.name == "a"));
    drop(connection);
    bench.down().await;
}

/// Dumps a server some times while a table is made after every `pause`.
async fn made_meanwhile(pause: Duration, dumps: usize) {
    for vendor in vendors().await {
        let bench = Bench::new(vendor).await;
        let mut connection = bench.connect().await;
        run(&mut connection, &["CREATE DATABASE shop"]).await;
        // Looking at all of these takes longer than a snapshot.
        for number in 0..150 {
            run(&mut connection, &[&format!("CREATE TABLE shop.of_old_{number} (id INT PRIMARY KEY)")]).await;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let making = {
            let stop = Arc::clone(&stop);
            tokio::spawn(async move {
                let mut made = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let name = format!("new_{}", made.len());
                    let table = format!("CREATE TABLE shop.{name} (id INT PRIMARY KEY)");
                    let row = format!("INSERT INTO shop.{name} VALUES (1)");
                    run(&mut connection, &[&table, &row]).await;
                    made.push((name, log_position(&mut connection).await));
                    tokio::time::sleep(pause).await;
                }
                made
            })
        };
        let mut manifests = Vec::new();
        for turn in 0..dumps {
            let mut options = CreateOptions::new(format!("made-{turn}"));
            options.threads = 1;
            manifests.push(bench.create(&options).await.unwrap());
        }
        stop.store(true, Ordering::Relaxed);
        let made = making.await.unwrap();
        for manifest in manifests {
            let coordinates = manifest.coordinates.unwrap();
            let taken = (coordinates.file, coordinates.position);
            let missing: Vec<_> = made
                .iter()
                .filter(|(_, at)| *at <= taken)
                .filter(|(name, _)| {
                    !manifest.tables.iter().any(|table| table.name == *name && table.rows == 1)
                })
                .collect();
            assert!(missing.is_empty(), "{vendor}: {missing:?} before {taken:?}");
        }
        bench.down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_without_binary_logs_it_takes_a_word() {
    for vendor in vendors().await {
        let off = if vendor == Vendor::MySql { "skip-log-bin" } else { "skip-log-bin = 1" };
        let bench = Bench::with(vendor, &[off]).await;
        let mut connection = bench.connect().await;
        run(&mut connection, &["CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)"]).await;
        let mut options = CreateOptions::new("shop");
        let refused = bench.create(&options).await.unwrap_err();
        assert!(matches!(refused, CreateError::NoCoordinates), "{refused}");
        assert!(refused.hint().unwrap().contains("--without-coordinates"));
        options.without_coordinates = true;
        let manifest = bench.create(&options).await.unwrap();
        assert_eq!(manifest.coordinates, None);
        assert_ne!(manifest.method, SnapshotMethod::Optimistic);
        bench.down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_what_is_not_there_is_refused_by_name() {
    for vendor in vendors().await {
        let bench = Bench::new(vendor).await;
        let mut options = CreateOptions::new("x");
        assert!(matches!(bench.create(&options).await.unwrap_err(), CreateError::Nothing));
        run(&mut bench.connect().await, &["CREATE DATABASE shop", "CREATE TABLE shop.t (id INT)"]).await;
        options.databases = vec!["shop".to_owned(), "shoq".to_owned()];
        assert_eq!(bench.create(&options).await.unwrap_err().to_string(), "there is no database shoq");
        options.databases.clear();
        options.tables = vec![("shop".to_owned(), "u".to_owned())];
        assert_eq!(bench.create(&options).await.unwrap_err().to_string(), "there is no table shop.u");
        bench.down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_a_row_of_64_megabytes_comes_back() {
    for vendor in vendors().await {
        let log = "innodb-log-file-size = 256M";
        let log = if vendor == Vendor::MySql { "innodb-redo-log-capacity = 1G" } else { log };
        let bench =
            Bench::with(vendor, &["log-bin = binlog", "server-id = 1", "max-allowed-packet = 256M", log])
                .await;
        let mut connection = bench.connect().await;
        run(&mut connection, &[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.t (id INT PRIMARY KEY, b LONGBLOB, t LONGTEXT)",
            "INSERT INTO shop.t VALUES (1, 'small', 'small'), (2, REPEAT(x'00FF', 20000000), REPEAT('ab\\n', 10000000)), \
             (3, 'small', NULL)",
            "SET GLOBAL max_allowed_packet = 16777216",
        ])
        .await;
        let manifest = bench.create(&CreateOptions::new("wide")).await.unwrap();
        assert_eq!(manifest.rows(), 3);
        let folder = bench.place_path().join(&manifest.id);
        let text: String =
            manifest.tables[0].chunks.iter().map(|chunk| read(&folder, &chunk.file, None)).collect();
        assert_eq!(text.len() as u64, manifest.tables[0].sql_bytes);
        assert!(text.contains(&"00FF".repeat(20_000_000)) && text.contains(&"ab\\n".repeat(10_000_000)));
        bench.down().await;
    }
}
