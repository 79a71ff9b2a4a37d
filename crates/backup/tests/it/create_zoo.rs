//! Every type and object there is, dumped and loaded again: the same definitions and the same bytes.

use std::collections::BTreeMap;

use backup::create::CreateOptions;
use dump::manifest::ObjectKind;
use flavor::Vendor;
use server::{Connection, Sql};

use crate::harness::{Bench, load, run, vendors};

/// Types that both servers have, with values at their ends.
const TYPES: &[&str] = &[
    "CREATE TABLE numbers (id BIGINT UNSIGNED PRIMARY KEY, t TINYINT, u BIGINT UNSIGNED, m MEDIUMINT, d DECIMAL(65,30), \
     f FLOAT, f2 FLOAT(7,4), g DOUBLE, b1 BIT(1), b64 BIT(64), y YEAR, z INT(6) ZEROFILL, bo BOOLEAN)",
    "INSERT INTO numbers VALUES \
     (0, -128, 0, -8388608, '-99999999999999999999999999999999999.999999999999999999999999999999', -3.402823e38, \
      -999.9999, -1.7976931348623157e308, b'0', b'0', 1901, 0, 0), \
     (18446744073709551615, 127, 18446744073709551615, 8388607, 0.000000000000000000000000000001, 1.17549e-38, 0.1, \
      5e-324, b'1', b'1111111111111111111111111111111111111111111111111111111111111111', 2155, 999999, 1), \
     (7, NULL, NULL, NULL, NULL, 16777217, 1.00005, 0.1, NULL, 5, 0, NULL, NULL), \
     (8, 0, 1, 2, 3, 0.1, 123.4567, 1e23, 1, 255, 2000, 42, 1), (9, 0, 1, 2, 3, 1234567.9, 3.1416, -0e0, 1, 256, 1970, 1, 0)",
    "CREATE TABLE times (id INT PRIMARY KEY, d DATE, t TIME(6), dt DATETIME(6), ts TIMESTAMP(6) NULL)",
    "SET sql_mode = ''",
    "INSERT INTO times VALUES (1, '0000-00-00', '-838:59:59', '0000-00-00 00:00:00', '0000-00-00 00:00:00'), \
     (2, '9999-12-31', '838:59:59', '9999-12-31 23:59:59.999999', '1970-01-01 00:00:01.000001'), \
     (3, '2026-00-00', '00:00:00.000001', '2026-11-21 17:30:00.123456', '2038-01-19 03:14:07.999999'), \
     (4, NULL, NULL, NULL, NULL)",
    "CREATE TABLE texts (k VARCHAR(50) COLLATE utf8mb4_bin PRIMARY KEY, l1 VARCHAR(50) CHARACTER SET latin1, \
     sj VARCHAR(50) CHARACTER SET sjis, gb TEXT CHARACTER SET gbk, u16 VARCHAR(50) CHARACTER SET utf16, \
     u32 VARCHAR(50) CHARACTER SET utf32, u3 TEXT CHARACTER SET utf8mb3, s7 VARCHAR(20) CHARACTER SET swe7, \
     ko VARCHAR(20) CHARACTER SET koi8r, e ENUM('a','ä','it''s','b,c') CHARACTER SET latin1, \
     s SET('x','y','ü') CHARACTER SET utf8mb4, lt LONGTEXT)",
    "INSERT INTO texts VALUES ('', '', '', '', '', '', '', '', '', 'a', '', ''), \
     ('quote '' \\\\ \\0 \\n \\r \\Z \\\" ;', 'ä\\\\', '表示ソ\\\\', '誠\\\\', '😀', '😀', 'ä;\\n', '[]', 'привет', 'ä', 'x,ü', REPEAT('long ;\\n', 1000)), \
     ('NULL', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), \
     ('😀', 'é', 'ｶﾅ', '中文', 'ab', 'ab', 'ü', 'abc', 'ж', 'it''s', 'y', 'x'), ('-- Table `x`', '/* */', '#', ';', '', '', '', '', '', 'b,c', 'x', '')",
    "CREATE TABLE bytes (k VARBINARY(20) PRIMARY KEY, b BINARY(4), bl LONGBLOB, g GEOMETRY, p POINT)",
    "INSERT INTO bytes VALUES (x'', x'00', x'', NULL, NULL), (x'00', x'FF', x'DEADBEEF00', ST_GeomFromText('POINT(1 2)'), \
     ST_GeomFromText('POINT(-1.5 1e10)')), (x'5C27', x'0A0D1A00', REPEAT(x'00FF27', 100000), \
     ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))'), NULL)",
    "CREATE TABLE docs (id INT AUTO_INCREMENT PRIMARY KEY, j JSON, made DATETIME DEFAULT CURRENT_TIMESTAMP, \
     expr VARCHAR(36) DEFAULT (CONCAT('a', 'b')))",
    "INSERT INTO docs (j) VALUES ('{\"a\": [1, 2.5, \"ä\\\\n\\\\\"\"], \"😀\": null}'), ('[]'), (NULL), ('\"\\\\u0000\"')",
    "CREATE TABLE no_key (a INT, b VARCHAR(10))",
    "INSERT INTO no_key VALUES (1, 'x'), (1, 'x'), (NULL, NULL)",
    "CREATE TABLE `we``ird.-- na me;` (`se``lect` INT PRIMARY KEY, `a;b` INT, `größe` INT, KEY `k;` (`a;b`)) COMMENT='it''s; \\n -- x'",
    "INSERT INTO `we``ird.-- na me;` VALUES (1, 2, 3)",
    "CREATE TABLE `t-schema` (id INT PRIMARY KEY)",
    "INSERT INTO `t-schema` VALUES (1)",
    "CREATE TABLE gen (id INT PRIMARY KEY, a INT, v INT GENERATED ALWAYS AS (a + 1) VIRTUAL, s INT GENERATED ALWAYS AS (a * 2) STORED, z INT, KEY (v))",
    "INSERT INTO gen (id, a, z) VALUES (1, 10, 5), (2, NULL, 6)",
    "CREATE TABLE invis (id INT PRIMARY KEY, seen INT, hidden INT INVISIBLE DEFAULT 7)",
    "INSERT INTO invis (id, seen, hidden) VALUES (1, 2, 3), (2, 3, 4)",
    "CREATE TABLE parts (id INT, d DATE, PRIMARY KEY (id, d)) PARTITION BY RANGE (YEAR(d)) \
     (PARTITION p0 VALUES LESS THAN (2000), PARTITION p1 VALUES LESS THAN MAXVALUE)",
    "INSERT INTO parts VALUES (2, '1999-01-01'), (1, '2026-01-01'), (3, '2000-01-01')",
    "CREATE TABLE parent (id INT PRIMARY KEY)",
    "CREATE TABLE child (id INT PRIMARY KEY, p INT, CONSTRAINT fk FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE, CHECK (p > 0))",
    "INSERT INTO parent VALUES (1)",
    "INSERT INTO child VALUES (1, 1), (2, NULL)",
    "CREATE TABLE myisam (id INT PRIMARY KEY, t TEXT, FULLTEXT (t)) ENGINE=MyISAM",
    "INSERT INTO myisam VALUES (1, 'words')",
    "CREATE TABLE enum_key (e ENUM('z','a','m') PRIMARY KEY, n INT)",
    "INSERT INTO enum_key VALUES ('z', 1), ('a', 2), ('m', 3)",
    "CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, what TEXT)",
];

/// Objects that both servers have.
const OBJECTS: &[&str] = &[
    "SET sql_mode = 'STRICT_TRANS_TABLES'",
    "CREATE VIEW v1 AS SELECT id, a, v FROM gen WHERE a > 1",
    "CREATE ALGORITHM = MERGE SQL SECURITY INVOKER VIEW a_view_of_a_view AS SELECT v1.id AS `we``ird`, 'ä;' AS text FROM v1 WITH CASCADED CHECK OPTION",
    "CREATE DEFINER = nobody@`10.%` TRIGGER t1 BEFORE INSERT ON docs FOR EACH ROW BEGIN\n  DECLARE x INT;\n  SET x = 1; \n  SET @y = 'a;\nb';\nEND",
    "CREATE TRIGGER t2 BEFORE INSERT ON docs FOR EACH ROW FOLLOWS t1 SET @z = 'ä'",
    "CREATE FUNCTION f1(a INT, s VARCHAR(10)) RETURNS INT DETERMINISTIC COMMENT 'it''s' BEGIN\n  -- a comment;\n  RETURN a + 1;\nEND",
    "CREATE PROCEDURE p1(OUT o INT) SQL SECURITY INVOKER BEGIN\n  SELECT ';' INTO @x;\n  SET o = 1;\nEND",
    "SET sql_mode = 'ANSI_QUOTES'",
    "CREATE PROCEDURE p2() SELECT \"id\" FROM \"gen\"",
    "SET sql_mode = '', time_zone = '+02:00'",
    "CREATE EVENT e1 ON SCHEDULE EVERY 1 DAY STARTS '2031-05-01 12:00:00' ON COMPLETION PRESERVE DISABLE COMMENT 'c' DO BEGIN\n  DELETE FROM zoo.log;\nEND",
    "SET time_zone = '+00:00'",
];

const MARIADB: &[&str] = &[
    "CREATE TABLE nets (id UUID PRIMARY KEY, a INET6, b INET4)",
    "INSERT INTO nets VALUES ('123e4567-e89b-12d3-a456-426655440000', '::ffff:1.2.3.4', '10.0.0.1'), (UUID(), NULL, NULL)",
    "CREATE SEQUENCE seq START WITH 100 INCREMENT BY 10 MAXVALUE 100000 CACHE 5",
    "DO NEXTVAL(seq)",
    "CREATE TABLE of_seq (id INT PRIMARY KEY DEFAULT NEXTVAL(seq))",
    "CREATE TABLE comp (id INT PRIMARY KEY, t TEXT COMPRESSED)",
    "INSERT INTO comp VALUES (1, REPEAT('abc', 1000))",
    "CREATE TABLE versioned (id INT PRIMARY KEY, n INT) WITH SYSTEM VERSIONING",
    "INSERT INTO versioned VALUES (1, 1)",
    "UPDATE versioned SET n = 2",
    "SET sql_mode = ORACLE",
    "CREATE PACKAGE pk AS\n  FUNCTION f RETURN INT;\nEND",
    "CREATE PACKAGE BODY pk AS\n  FUNCTION f RETURN INT AS\n  BEGIN\n    RETURN 1;\n  END;\nEND",
    "SET sql_mode = ''",
    "CREATE TABLE aria (id INT PRIMARY KEY) ENGINE=Aria",
    "INSERT INTO aria VALUES (1)",
];

const MYSQL: &[&str] = &[
    "CREATE TABLE vectors (id INT PRIMARY KEY, v VECTOR(3))",
    "INSERT INTO vectors VALUES (1, STRING_TO_VECTOR('[1.5, -2e-10, 3]')), (2, NULL)",
    "CREATE TABLE functional (id INT PRIMARY KEY, a VARCHAR(20), KEY ((LOWER(a))), KEY d (a DESC) INVISIBLE)",
    "INSERT INTO functional VALUES (1, 'A')",
    "CREATE TABLE srid (id INT PRIMARY KEY, p POINT NOT NULL SRID 4326, SPATIAL KEY (p))",
    "INSERT INTO srid VALUES (1, ST_GeomFromText('POINT(52 13)', 4326))",
    "SET sql_generate_invisible_primary_key = ON",
    "CREATE TABLE gipk (a INT)",
    "INSERT INTO gipk VALUES (5)",
    "SET sql_generate_invisible_primary_key = OFF",
];

/// Makes the database `zoo`, with what only the vendor has where one is named.
pub(crate) async fn make(connection: &mut Connection, own_of: Option<Vendor>) {
    run(connection, &["CREATE DATABASE zoo CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "USE zoo"]).await;
    run(connection, TYPES).await;
    match own_of {
        Some(Vendor::MariaDb) => run(connection, MARIADB).await,
        Some(Vendor::MySql) => run(connection, MYSQL).await,
        None => {}
    }
    run(connection, OBJECTS).await;
}

/// Definitions of everything, and what the rows add up to.
pub(crate) async fn look(connection: &mut Connection) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    run(connection, &["USE zoo", "SET sql_mode = ''"]).await;
    let mut lists = Vec::new();
    for (kind, sql) in [
        (
            "TABLE",
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'zoo' AND table_type <> 'SEQUENCE'",
        ),
        ("TRIGGER", "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = 'zoo'"),
        ("EVENT", "SELECT event_name FROM information_schema.events WHERE event_schema = 'zoo'"),
    ] {
        lists.push((kind.to_owned(), connection.query(&Sql::plain(sql)).await.unwrap()));
    }
    let sql =
        "SELECT routine_name, routine_type FROM information_schema.routines WHERE routine_schema = 'zoo'";
    for row in connection.query(&Sql::plain(sql)).await.unwrap() {
        lists.push((row.text_at(1).unwrap().to_owned(), vec![row]));
    }
    for (kind, rows) in lists {
        for row in rows {
            let name = row.text_at(0).unwrap().replace('`', "``");
            let shown = connection.query(&Sql::plain(format!("SHOW CREATE {kind} `{name}`"))).await.unwrap();
            let made = |column: &String| column != "Created" && column != "sql_mode";
            let text: Vec<&str> = (0..shown[0].columns().len())
                .filter(|&at| made(&shown[0].columns()[at]))
                .map(|at| shown[0].text_at(at).unwrap_or("NULL"))
                .collect();
            // MySQL says the same character set once more after an ALTER or an expression as default.
            let text = text.join("\n").replace(" CHARACTER SET utf8mb4 COLLATE", " COLLATE");
            seen.insert(format!("{kind} {name}"), text);
            // The sum of a versioned table is over the times of its rows too, which are of the server.
            if kind == "TABLE" && name != "versioned" {
                let sum = connection.query(&Sql::plain(format!("CHECKSUM TABLE `{name}`"))).await.unwrap();
                seen.insert(format!("rows of {name}"), sum[0].text("Checksum").unwrap_or("NULL").to_owned());
            }
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn real_every_type_and_object_comes_back() {
    for vendor in vendors().await {
        let bench = Bench::new(vendor).await;
        let mut connection = bench.connect().await;
        make(&mut connection, Some(vendor)).await;
        run(
            &mut connection,
            &[
                "CREATE USER 'o''neil'@'10.%' IDENTIFIED BY 'secret word'",
                "GRANT SELECT ON zoo.* TO 'o''neil'@'10.%'",
            ],
        )
        .await;
        let before = look(&mut connection).await;
        let manifest = bench.create(&CreateOptions::new("zoo")).await.unwrap();
        let count = |kind| manifest.objects.iter().filter(|object| object.kind == kind).count();
        assert_eq!(count(ObjectKind::View), 2);
        assert_eq!(count(ObjectKind::Trigger), 2);
        assert_eq!(count(ObjectKind::Event), 1);
        let definer = manifest.objects.iter().find(|object| object.name == "t1").unwrap().definer.clone();
        assert_eq!(definer.as_deref(), Some("nobody@10.%"));
        assert!(
            manifest.left_out.iter().any(|left_out| left_out.what == "zoo.myisam"),
            "{:?}",
            manifest.left_out
        );
        run(&mut connection, &["DROP DATABASE zoo", "DROP USER 'o''neil'@'10.%'"]).await;
        // A session of its own: nothing is to depend on what was set here.
        let mut other = bench.connect().await;
        load(&mut other, &bench.place_path().join(&manifest.id), None).await;
        let after = look(&mut connection).await;
        for (what, definition) in &before {
            assert_eq!(after.get(what), Some(definition), "{vendor}: {what}");
        }
        assert_eq!(before.len(), after.len());
        // CHECKSUM TABLE knows nothing of the last digits of floats; the rows themselves do.
        let again = bench.create(&CreateOptions::new("again")).await.unwrap();
        for (table, other) in manifest.tables.iter().zip(&again.tables) {
            assert_eq!((&table.name, &table.digest), (&other.name, &other.digest), "{vendor}");
        }
        let grants = connection.query(&Sql::plain("SHOW GRANTS FOR 'o''neil'@'10.%'")).await.unwrap();
        assert!(grants.iter().any(|row| row.text_at(0).unwrap().contains("SELECT ON `zoo`")), "{grants:?}");
        bench.down().await;
    }
}
