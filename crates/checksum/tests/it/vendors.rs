//! MariaDB against MySQL, with nobody writing: what a dump and restore across vendors is checked by.

use checksum::{Method, Options, Verdict};
use flavor::Vendor;
use lab::Topology;

use crate::support::{Bench, lines, run, script};

const TABLES: &str = "
    CREATE DATABASE d
    CREATE TABLE d.plain (id INT PRIMARY KEY, f FLOAT, g DOUBLE, n DECIMAL(20,6), t TIMESTAMP(3) NULL, \
        dt DATETIME, tm TIME(6), y YEAR, b BLOB, i BIT(9), e ENUM('x','é'), s SET('p','q'), w VARBINARY(9), \
        l3 VARCHAR(20) CHARACTER SET utf8mb3, l4 VARCHAR(20) CHARACTER SET utf8mb4, \
        l1 VARCHAR(20) CHARACTER SET latin1, p POINT)
    CREATE TABLE d.named (k VARCHAR(20) CHARACTER SET utf8mb4 PRIMARY KEY, v INT)
    CREATE TABLE d.doc (id BIGINT PRIMARY KEY, j JSON, v INT)
    CREATE TABLE d.bare (a INT, b DOUBLE)
    INSERT INTO d.plain VALUES \
        (1, 0.1, 1e-300, 12345678901234.123456, '2026-01-01 00:00:00.001', '0000-00-00 00:00:00', '-838:59:59.000000', \
        1901, x'00FF', 511, 'é', 'p,q', x'000100', 'é', '😀', 'ÿ', ST_GeomFromText('POINT(1 2)')), \
        (2, 16777216, 1.7976931348623157e308, -0.000001, NULL, '9999-12-31 23:59:59', '00:00:00.000001', \
        NULL, '', 0, 'x', '', '', '', '', '', NULL), \
        (3, -3.4e38, 123456789.12345678, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), \
        (4, 1e-40, 1e15, 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), \
        (5, 1e10, 1e17, 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)
    INSERT INTO d.named VALUES ('a', 1), ('B', 2), ('ö', 3), ('z ', 4), ('_', 5)
    INSERT INTO d.doc VALUES (1, '{\"b\": 1, \"a\": [1, 2]}', 1)
    INSERT INTO d.bare VALUES (1, 0.1), (1, 0.1), (NULL, NULL)
";

#[tokio::test(flavor = "multi_thread")]
async fn real_mariadb_and_mysql_hold_the_same() {
    let Some(mariadb) = Bench::up(Vendor::MariaDb, Topology::Single, 1).await else { return };
    let Some(mysql) = Bench::up(Vendor::MySql, Topology::Single, 1).await else { return };
    let (mut one, mut other) = (mariadb.root(0).await, mysql.root(0).await);
    for connection in [&mut one, &mut other] {
        run(connection, "SET SESSION sql_mode = ''").await;
        script(connection, TABLES).await;
    }
    let mut options = Options::new(Method::Static);
    let source = mariadb.login(0);
    let targets = [mysql.login(0)];
    let report = checksum::compare(&source, &targets, &options, &checksum::Silent).await.unwrap();
    assert_eq!(lines(&report), Vec::<String>::new(), "{report}");
    assert!(report.is_equal(), "{report}");
    // The vendors' own sums are of other things.
    assert_eq!(report.looked_equal(), 0, "{report}");
    let notes: Vec<String> = report.tables.iter().flat_map(|table| table.notes.clone()).collect();
    assert!(notes.iter().any(|note| note.contains("column j is JSON")), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("no order")), "{notes:?}");

    for statement in [
        "UPDATE d.plain SET f = 0.10000001 WHERE id = 1",
        "UPDATE d.plain SET l1 = 'y' WHERE id = 1",
        "UPDATE d.plain SET g = 1e16 WHERE id = 4",
        "DELETE FROM d.named WHERE k = 'B'",
        "UPDATE d.doc SET v = 2",
        "DELETE FROM d.bare WHERE a IS NULL",
    ] {
        run(&mut other, statement).await;
    }
    let report = checksum::compare(&source, &targets, &options, &checksum::Silent).await.unwrap();
    assert_eq!(
        lines(&report),
        [
            "bare missing :",
            "doc changed 1: v",
            "named missing B:",
            "plain changed 1: f,l1",
            "plain changed 4: g",
        ],
        "{report}"
    );

    options.method = Method::Optimistic;
    let refused = checksum::compare(&source, &targets, &options, &checksum::Silent).await.unwrap_err();
    assert!(refused.hint().unwrap().contains("--static"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn real_a_table_is_compared_with_one_of_another_name() {
    let Some(bench) = Bench::up(Vendor::MariaDb, Topology::Single, 1).await else { return };
    let mut connection = bench.root(0).await;
    script(
        &mut connection,
        "CREATE DATABASE d
         CREATE TABLE d.t (id INT PRIMARY KEY, v INT)
         INSERT INTO d.t VALUES (1, 1), (2, 2)
         CREATE TABLE d.t_rewound AS SELECT id, v FROM d.t WHERE id = 1
         ALTER TABLE d.t_rewound ADD PRIMARY KEY (id)",
    )
    .await;
    let mut options = Options::new(Method::Static);
    options.tables = vec!["d.t".parse().unwrap()];
    options.renamed = vec![("d.t".parse().unwrap(), "d.t_rewound".parse().unwrap())];
    let report =
        checksum::compare(&bench.login(0), &[bench.login(0)], &options, &checksum::Silent).await.unwrap();
    assert_eq!(report.tables.len(), 1, "{report}");
    assert_eq!(report.tables[0].verdict, Verdict::Differs);
    assert_eq!(lines(&report), ["t missing 2:"], "{report}");
}
