//! `restore` on real servers: dumps of both vendors, whole, damaged, abandoned half-way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backup::create::CreateOptions;
use backup::restore::{
    Existing, Method, Profile, Progress, RestoreError, RestoreOptions, Restored, Selection, Source, restore,
};
use backup::seal::Identities;
use dump::fix::Fix;
use dump::tabledef::{TableDef, alter_add};
use flavor::Vendor;
use server::{Connection, Sql, Target};

use crate::harness::{Bench, run, value, vendors};

pub(crate) fn options() -> RestoreOptions {
    RestoreOptions {
        renamed: BTreeMap::new(),
        into: None,
        threads: 3,
        existing: Existing::Refuse,
        fixes: Fix::ALL.into(),
        with_binlog: true,
        method: None,
        with_sums: true,
        profile: Profile::None,
        accounts: None,
        dry_run: false,
        aside_suffix: "_before_x".to_owned(),
    }
}

pub(crate) async fn load(
    bench: &Bench,
    path: &Path,
    selection: Selection,
    options: &RestoreOptions,
) -> Result<Restored, RestoreError> {
    load_to(&bench.target(), path, selection, options, Arc::new(Progress::default())).await
}

/// The same by a target of one's own, watched.
pub(crate) async fn load_to(
    target: &Target,
    path: &Path,
    selection: Selection,
    options: &RestoreOptions,
    progress: Arc<Progress>,
) -> Result<Restored, RestoreError> {
    let path = path.to_owned();
    let survey = tokio::task::spawn_blocking(move || {
        Source::at_path(&path, &Identities::default())?.survey(&selection, 2, false)
    });
    restore(survey.await.unwrap()?, target, options, progress).await
}

pub(crate) async fn load_all(bench: &Bench, path: &Path, options: &RestoreOptions) -> Restored {
    load(bench, path, Selection::default(), options).await.unwrap_or_else(|error| {
        panic!("{error}: {:?}", std::error::Error::source(&error).map(ToString::to_string))
    })
}

/// Third-party dumps beside the project, where they are.
pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let named = std::env::var_os("MAINSTAY_TEST_DATA").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"));
    let path = folder.join(name);
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

pub(crate) async fn all(connection: &mut Connection, sql: &str) -> Vec<Vec<String>> {
    let rows = connection.query(&Sql::plain(sql)).await.unwrap_or_else(|error| panic!("{error}\n{sql}"));
    let row = |row: &server::Row| {
        (0..row.columns().len()).map(|at| row.text_at(at).unwrap_or("NULL").to_owned()).collect()
    };
    rows.iter().map(row).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn real_edge_samples_restore_on_both_servers() {
    for vendor in vendors().await {
        for name in ["edge-mariadb1011.sql", "edge-mysql97.sql"] {
            let Some(path) = shared(&format!("dump-samples/{name}")) else { return };
            for method in [Method::Load, Method::Insert] {
                let bench = Bench::with(vendor, &["local-infile = ON"]).await;
                let options = RestoreOptions { method: Some(method), ..options() };
                let done = load_all(&bench, &path, &options).await;
                assert_eq!((done.tables, done.objects, done.rows), (2, 5, 2), "{name} on {vendor}");
                let mut connection = bench.connect().await;
                let rows = all(&mut connection, "SELECT id, v, HEX(b), j FROM ed.t1 ORDER BY id").await;
                assert_eq!(
                    rows,
                    [
                        [
                            "1",
                            "a;b\nINSERT INTO `t1` VALUES (1)",
                            "00FF27",
                            "{\"k\": \"-- Table structure for table `x`\"}"
                        ],
                        ["2", "it's", "5C", "NULL"],
                    ],
                    "{name} on {vendor}"
                );
                run(&mut connection, &["INSERT INTO ed.t1 (v) VALUES ('low')"]).await;
                assert_eq!(value(&mut connection, "SELECT v FROM ed.v1 WHERE id = 3").await, "LOW");
                assert_eq!(value(&mut connection, "SELECT ed.f1(1)").await, "2");
                assert_eq!(all(&mut connection, "SELECT * FROM ed.`we``ird.-- Table`").await.len(), 0);
                let events = "SELECT COUNT(*) FROM information_schema.EVENTS WHERE EVENT_NAME = 'e1'";
                assert_eq!(value(&mut connection, events).await, "1");
                let notes =
                    "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'mainstay_restore'";
                assert_eq!(value(&mut connection, notes).await, "0");
                drop(connection);
                bench.down().await;
            }
        }
    }
}

/// Tables whose definitions have every clause that a dump can have.
fn zoo(vendor: Vendor) -> Vec<String> {
    let mut tables = vec![
        "CREATE TABLE zoo.parent (id INT NOT NULL, n INT, PRIMARY KEY (id), UNIQUE KEY u (n), KEY two (n, id)) ENGINE=InnoDB".to_owned(),
        "CREATE TABLE zoo.child (id INT NOT NULL AUTO_INCREMENT, p INT, q INT, v VARCHAR(50) COMMENT 'a, (b) KEY', PRIMARY KEY (id), \
         KEY fk_p (p), KEY fk_q (q), CONSTRAINT fk_p FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE, \
         CONSTRAINT fk_q FOREIGN KEY (q) REFERENCES parent (n) ON DELETE SET NULL, CONSTRAINT chk CHECK (p > 0)) ENGINE=InnoDB"
            .to_owned(),
        "CREATE TABLE zoo.texts (id INT PRIMARY KEY, a TEXT, b VARCHAR(90), g POINT NOT NULL, FULLTEXT KEY fa (a), FULLTEXT KEY fb (b), \
         KEY pre (b(10)) COMMENT 'x, (y)', SPATIAL KEY sp (g), UNIQUE KEY ub (b)) ENGINE=InnoDB"
            .to_owned(),
        "CREATE TABLE zoo.late (a INT NOT NULL, i INT NOT NULL AUTO_INCREMENT, PRIMARY KEY (a, i), KEY x (a), KEY i (i), KEY y (a)) ENGINE=InnoDB".to_owned(),
        "CREATE TABLE zoo.nopk (a INT, b INT NOT NULL, c INT, KEY c (c), UNIQUE KEY n (a), UNIQUE KEY u (b), KEY z (c, a)) ENGINE=InnoDB".to_owned(),
        "CREATE TABLE zoo.gen (id INT PRIMARY KEY, a INT, v INT GENERATED ALWAYS AS (a + 1) VIRTUAL, s INT GENERATED ALWAYS AS (a * 2) STORED, \
         KEY v (v), KEY s (s, v)) ENGINE=InnoDB"
            .to_owned(),
        "CREATE TABLE zoo.parts (id INT NOT NULL, k INT, PRIMARY KEY (id), KEY k (k)) ENGINE=InnoDB PARTITION BY RANGE (id) \
         (PARTITION p0 VALUES LESS THAN (100), PARTITION p1 VALUES LESS THAN MAXVALUE)"
            .to_owned(),
        "CREATE TABLE zoo.floats (id INT PRIMARY KEY, f FLOAT)".to_owned(),
        "CREATE TABLE zoo.isam (id INT AUTO_INCREMENT, k INT, PRIMARY KEY (id), KEY k (k)) ENGINE=MyISAM".to_owned(),
    ];
    if vendor == Vendor::MySql {
        tables.push("CREATE TABLE zoo.fun (id INT PRIMARY KEY, a VARCHAR(9), h INT INVISIBLE, KEY k (a), KEY f ((lower(a))), KEY d (a DESC) INVISIBLE)".to_owned());
    } else {
        tables.push("CREATE TABLE zoo.hist (id INT PRIMARY KEY, a INT, h INT INVISIBLE, KEY k (a)) WITH SYSTEM VERSIONING".to_owned());
        tables.push(
            "CREATE TABLE zoo.ign (id INT PRIMARY KEY, a INT, u UUID, i INET6, KEY k (a) IGNORED, KEY u (u))"
                .to_owned(),
        );
    }
    tables
}

#[tokio::test(flavor = "multi_thread")]
async fn real_definitions_are_the_same_when_keys_come_after() {
    for vendor in vendors().await {
        let bench = Bench::new(vendor).await;
        let mut connection = bench.connect().await;
        run(&mut connection, &["CREATE DATABASE zoo", "CREATE DATABASE again", "SET foreign_key_checks = 0"])
            .await;
        for table in zoo(vendor) {
            run(&mut connection, &[&table]).await;
        }
        let names: Vec<String> = all(&mut connection, "SHOW TABLES IN zoo").await.concat();
        let mut waited = 0;
        for name in &names {
            let original = all(&mut connection, &format!("SHOW CREATE TABLE zoo.{name}")).await[0][1].clone();
            let def = TableDef::parse(&original).unwrap();
            let quoted = format!("again.`{name}`");
            run(&mut connection, &[&def.create_bare(&quoted)]).await;
            for group in def.waiting_keys() {
                waited += group.len();
                run(&mut connection, &[&alter_add(&quoted, &group)]).await;
            }
        }
        for name in &names {
            let original = all(&mut connection, &format!("SHOW CREATE TABLE zoo.{name}")).await[0][1].clone();
            let def = TableDef::parse(&original).unwrap();
            if !def.foreign_keys().is_empty() {
                run(&mut connection, &[&alter_add(&format!("again.`{name}`"), &def.foreign_keys())]).await;
            }
            let made = all(&mut connection, &format!("SHOW CREATE TABLE again.{name}")).await[0][1].clone();
            assert_eq!(made, original, "{vendor}");
        }
        assert!(waited >= 12, "{waited} keys waited on {vendor}");
        drop(connection);
        bench.down().await;
    }
}

/// A dump of rows in many pieces: what stands between statements ends a piece.
pub(crate) fn pieces(folder: &Path, tables: u32, pieces: u32) -> PathBuf {
    let mut text =
        "-- MySQL dump 10.13\n/*!40101 SET NAMES utf8mb4 */;\nCREATE DATABASE `many`;\nUSE `many`;\n"
            .to_owned();
    for table in 0..tables {
        text.push_str(&format!(
            "CREATE TABLE `t{table}` (`id` int NOT NULL, `v` varchar(40) DEFAULT NULL, PRIMARY KEY (`id`), KEY `v` (`v`)) ENGINE=InnoDB;\n"
        ));
        for piece in 0..pieces {
            let rows: Vec<String> =
                (0..50).map(|row| format!("({},'r''{table};{row}')", piece * 50 + row)).collect();
            text.push_str(&format!("INSERT INTO `t{table}` VALUES {};\nCOMMIT;\n", rows.join(",\n")));
        }
    }
    text.push_str("-- Dump completed on x\n");
    let path = folder.join("many.sql");
    std::fs::File::create(&path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
        .unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn real_what_is_damaged_or_in_the_way_is_refused() {
    for vendor in vendors().await {
        let bench = Bench::with(vendor, &["local-infile = ON"]).await;
        let path = pieces(bench.folder.path(), 1, 2);
        let text = std::fs::read(&path).unwrap();
        let cut = bench.folder.path().join("cut.sql");
        for end in [text.len() - 30, text.len() / 2] {
            std::fs::File::create(&cut)
                .and_then(|mut file| std::io::Write::write_all(&mut file, &text[..end]))
                .unwrap();
            let error = load(&bench, &cut, Selection::default(), &options()).await.unwrap_err();
            assert!(
                matches!(error, RestoreError::Damaged { .. }) && error.to_string().contains("cut.sql"),
                "{error}"
            );
        }
        std::fs::File::create(&cut).unwrap();
        let error = load(&bench, &cut, Selection::default(), &options()).await.unwrap_err();
        assert!(error.to_string().contains("no database, table or other object"), "{error}");
        let mut connection = bench.connect().await;
        let databases = "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME IN ('many', 'mainstay_restore')";
        assert_eq!(value(&mut connection, databases).await, "0", "nothing was done");
        let dry = RestoreOptions { dry_run: true, ..options() };
        assert!(load_all(&bench, &path, &dry).await.dry_run);
        assert_eq!(value(&mut connection, databases).await, "0", "a dry run does nothing");
        let elsewhere = RestoreOptions { into: Some("other".to_owned()), ..options() };
        let error = load(&bench, &path, Selection::default(), &elsewhere).await.unwrap_err();
        assert!(error.to_string().contains("--rename-database many=other"), "{error}");
        assert_eq!(value(&mut connection, databases).await, "0", "it goes nowhere else");

        load_all(&bench, &path, &options()).await;
        let error = load(&bench, &path, Selection::default(), &options()).await.unwrap_err();
        assert!(matches!(&error, RestoreError::NotEmpty { names } if names == &["many.t0"]), "{error}");
        let beside = RestoreOptions { existing: Existing::LetBe, ..options() };
        assert!(load(&bench, &path, Selection::default(), &beside).await.is_err());
        run(&mut connection, &["DELETE FROM many.t0 WHERE id < 99"]).await;
        let aside = RestoreOptions { existing: Existing::Rename, ..options() };
        let done = load_all(&bench, &path, &aside).await;
        assert_eq!(done.renamed["many.t0"], "t0_before_x");
        assert_eq!(value(&mut connection, "SELECT COUNT(*) FROM many.t0").await, "100");
        assert_eq!(value(&mut connection, "SELECT COUNT(*) FROM many.t0_before_x").await, "1");

        let renamed =
            RestoreOptions { renamed: [("many".to_owned(), "other".to_owned())].into(), ..options() };
        load_all(&bench, &path, &renamed).await;
        assert_eq!(value(&mut connection, "SELECT COUNT(*) FROM other.t0").await, "100");
        let missing = Selection { databases: Vec::new(), tables: vec![Selection::name("many.nothing")] };
        let error = load(&bench, &path, missing, &options()).await.unwrap_err();
        assert!(error.to_string().contains("many.nothing"), "{error}");
        drop(connection);
        bench.down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_what_was_created_is_restored_and_equal() {
    for vendor in vendors().await {
        let mut lines = vec!["local-infile = ON", "log-bin = binlog", "server-id = 1"];
        if vendor == Vendor::MySql {
            lines.extend(["gtid-mode = ON", "enforce-gtid-consistency = ON"]);
        }
        let bench = Bench::with(vendor, &lines).await;
        let mut connection = bench.connect().await;
        run(&mut connection, &["CREATE DATABASE zoo", "SET foreign_key_checks = 0"]).await;
        for table in zoo(vendor) {
            run(&mut connection, &[&table]).await;
        }
        run(&mut connection, &[
            "INSERT INTO zoo.parent VALUES (1, 10), (2, NULL)",
            "INSERT INTO zoo.child (p, q, v) VALUES (1, 10, 'ä''\\\\\\t'), (2, NULL, NULL)",
            "INSERT INTO zoo.texts VALUES (1, 'text\\n', '', ST_GeomFromText('POINT(1 2)'))",
            "INSERT INTO zoo.gen (id, a) VALUES (1, 5), (2, NULL)",
            "INSERT INTO zoo.floats VALUES (1, -0e0), (2, 0), (3, 16777217), (4, 1.17549e-38)",
            "INSERT INTO zoo.isam (k) VALUES (1), (2)",
            "INSERT INTO zoo.parts VALUES (1, 1), (100, 2)",
            "CREATE VIEW zoo.v1 AS SELECT id FROM zoo.parent",
            "CREATE VIEW zoo.a_first AS SELECT id FROM zoo.v1",
            "CREATE TRIGGER zoo.tr BEFORE INSERT ON zoo.parent FOR EACH ROW BEGIN SET @a = ';'; SET NEW.n = NEW.n + 1; END",
            "CREATE FUNCTION zoo.f(a INT) RETURNS INT DETERMINISTIC RETURN a + 1",
        ])
        .await;
        let manifest = bench.create(&CreateOptions::new("zoo")).await.unwrap();
        let folder = bench.place_path().join(&manifest.id);
        let renamed = RestoreOptions { renamed: [("zoo".to_owned(), "copy".to_owned())].into(), ..options() };
        let done = load_all(&bench, &folder, &renamed).await;
        assert_eq!(done.tables_verified, manifest.tables.len(), "{done:?}");
        for table in &manifest.tables {
            let name = &table.name;
            let sums = all(&mut connection, &format!("CHECKSUM TABLE zoo.{name}, copy.{name}")).await;
            assert_eq!(sums[0][1], sums[1][1], "{name} on {vendor}");
            let made = |rows: Vec<Vec<String>>| rows[0][1].clone();
            let before = made(all(&mut connection, &format!("SHOW CREATE TABLE zoo.{name}")).await);
            let after = made(all(&mut connection, &format!("SHOW CREATE TABLE copy.{name}")).await);
            assert_eq!(after, before, "{vendor}");
        }
        assert_eq!(value(&mut connection, "SELECT COUNT(*) FROM copy.a_first").await, "2");
        assert_eq!(value(&mut connection, "SELECT copy.f(1)").await, "2");
        run(&mut connection, &["INSERT INTO copy.parent VALUES (7, 70)"]).await;
        assert_eq!(value(&mut connection, "SELECT n FROM copy.parent WHERE id = 7").await, "71");

        // A file that is another than it was: it is named, and nothing is loaded.
        let rows = &manifest.tables.iter().find(|table| table.rows > 0).unwrap().chunks[0].file;
        let path = folder.join(rows);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::File::create(&path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, &bytes))
            .unwrap();
        let again = RestoreOptions { renamed: [("zoo".to_owned(), "third".to_owned())].into(), ..options() };
        let error = load(&bench, &folder, Selection::default(), &again).await.unwrap_err();
        assert!(error.to_string().contains(rows.as_str()), "{error}");
        let third = "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'third'";
        assert_eq!(value(&mut connection, third).await, "0");
        drop(connection);
        bench.down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_fixes_are_refused_unless_allowed() {
    for vendor in vendors().await {
        let bench = Bench::with(vendor, &["local-infile = ON"]).await;
        let (collation, kept) = match vendor {
            Vendor::MariaDb => ("utf8mb4_0900_ai_ci", "utf8mb4"),
            Vendor::MySql => ("utf8mb4_uca1400_ai_ci", "utf8mb4_0900_ai_ci"),
        };
        let path = bench.folder.path().join("foreign.sql");
        let text = format!(
            "CREATE DATABASE `f`;\nUSE `f`;\nCREATE TABLE `t` (`a` varchar(9)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE={collation};\n\
             INSERT INTO `t` VALUES ('x');\nCREATE DEFINER=`nobody`@`nowhere` VIEW `v` AS SELECT `a` FROM `t`;\n"
        );
        std::fs::File::create(&path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .unwrap();
        let strict = RestoreOptions { fixes: BTreeSet::new(), ..options() };
        let error = load(&bench, &path, Selection::default(), &strict).await.unwrap_err();
        let RestoreError::NeedsFixes { names, changes } = &error else { panic!("{error}") };
        assert_eq!(names, &["collation", "definer"], "{changes:?}");
        assert!(error.hint().unwrap().contains("--fix collation,definer"));
        let done = load_all(&bench, &path, &options()).await;
        assert_eq!(done.changes.len(), 2, "{done:?}");
        let mut connection = bench.connect().await;
        assert_eq!(value(&mut connection, "SELECT a FROM f.v").await, "x");
        let used = value(&mut connection, "SELECT COLLATION_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'f' AND TABLE_NAME = 't'").await;
        assert!(used.starts_with(kept), "{used}");
        drop(connection);
        bench.down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_a_cloudstack_dump_is_fit_to_start_on() {
    let Some(path) = shared("cloudstack-4.23-mariadb10.11.sql.gz") else { return };
    for vendor in vendors().await {
        let bench = Bench::with(vendor, &["local-infile = ON"]).await;
        let cloud = RestoreOptions { profile: Profile::CloudStack, ..options() };
        let done = load_all(&bench, &path, &cloud).await;
        println!("{vendor}: {} tables, {} objects, {} rows", done.tables, done.objects, done.rows);
        assert!(done.tables >= 375 && done.objects >= 60, "{done:?}");
        assert_eq!(done.profile.len(), 1, "{done:?}");
        let mut connection = bench.connect().await;
        let foreign = "SELECT COUNT(*) FROM information_schema.TABLE_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = 'cloud' AND CONSTRAINT_TYPE = 'FOREIGN KEY'";
        assert_eq!(value(&mut connection, foreign).await, "489", "{vendor}");
        drop(connection);
        bench.down().await;
    }
}
