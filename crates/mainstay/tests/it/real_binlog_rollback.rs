//! `mainstay binlog rollback` and `sql` on real servers: the tables are afterwards what they were before.

use std::path::Path;

use crate::bench::{Bench, Ran, run_with, servers, write};
use crate::real_binlog::{logged, logging};

/// A table with a column of every kind both vendors have, one without a key, and a pair with a foreign key.
const TYPES: &str = "CREATE DATABASE w; CREATE TABLE w.kinds (id BIGINT UNSIGNED PRIMARY KEY, t TINYINT UNSIGNED, \
    m MEDIUMINT, d DECIMAL(20,6), f FLOAT, g DOUBLE, b BIT(13), y YEAR, da DATE, ti TIME(3), dt DATETIME(6), \
    ts TIMESTAMP(2) NULL, c CHAR(10), l VARCHAR(300) CHARACTER SET latin1, u VARCHAR(80) CHARACTER SET utf8mb4, \
    vb VARBINARY(40), bi BINARY(6), tx TEXT, bl BLOB, e ENUM('one','it''s'), s SET('a','b','c'), j JSON, p POINT, \
    gen INT GENERATED ALWAYS AS (t + 1) STORED, vir INT GENERATED ALWAYS AS (m * 2) VIRTUAL) ENGINE=InnoDB; \
    CREATE TABLE w.nokey (a INT, b VARCHAR(20)) ENGINE=InnoDB; \
    CREATE TABLE w.parent (id INT PRIMARY KEY, n INT UNIQUE) ENGINE=InnoDB; \
    CREATE TABLE w.child (id INT PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES w.parent (id)) ENGINE=InnoDB;";

const COLUMNS: &str = "(id,t,m,d,f,g,b,y,da,ti,dt,ts,c,l,u,vb,bi,tx,bl,e,s,j,p)";

/// Rows that are there before.
fn filled() -> String {
    format!(
        "SET NAMES utf8mb4; SET time_zone='+00:00'; INSERT INTO w.kinds {COLUMNS} VALUES \
         (18446744073709551615,200,-8388608,-12345678901234.123456,1.5,-2.25e-300,b'1010101010101',2155,'1000-01-01',\
         '-838:59:59.000','9999-12-31 23:59:59.999999','2038-01-19 03:14:07.25','a b','caf\u{e9}','\u{20ac}\u{1f600}',\
         x'00ff5c27',x'0102','te\\nxt''\\\\',x'00010203','it''s','a,c','{{\"a\": [1, null, \"x\"], \"b\": 1.5}}',\
         ST_GeomFromText('POINT(1 -2)')), \
         (2,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL), \
         (3,0,0,0,0,0,b'0',1901,'0001-02-03','00:00:00.001','2000-02-29 00:00:00.000001','1970-01-01 00:00:01',\
         '','','',x'',x'','','','one','','[]',ST_GeomFromText('POINT(0 0)')); \
         INSERT INTO w.nokey VALUES (1,'x'),(1,'x'),(2,NULL); \
         INSERT INTO w.parent VALUES (1,10),(2,20); INSERT INTO w.child VALUES (1,1),(2,2);"
    )
}

/// Changes of every kind, in several transactions.
const CHANGES: &str = "SET NAMES utf8mb4; DELETE FROM w.kinds WHERE id=2; \
    BEGIN; UPDATE w.kinds SET t=7, u='\u{e4}', j='{\"z\": true}', e='one', dt='2026-01-01', f=0.1, bl=x'ff' WHERE id > 3; \
    UPDATE w.kinds SET id=4, l=NULL, p=NULL WHERE id=3; INSERT INTO w.kinds (id, t) VALUES (3, 1); COMMIT; \
    UPDATE w.kinds SET t=t+1; DELETE FROM w.kinds WHERE id=4; \
    DELETE FROM w.nokey WHERE a=1 LIMIT 1; UPDATE w.nokey SET b='y' WHERE a=2; INSERT INTO w.nokey VALUES (9,'9'); \
    BEGIN; DELETE FROM w.child WHERE id=2; DELETE FROM w.parent WHERE id=2; \
    INSERT INTO w.parent VALUES (3,20); INSERT INTO w.child VALUES (3,3); COMMIT; \
    BEGIN; UPDATE w.parent SET n=0 WHERE id=1; UPDATE w.parent SET n=10 WHERE id=3; UPDATE w.parent SET n=20 WHERE id=1; COMMIT;";

const CHECKSUMS: &str = "CHECKSUM TABLE w.kinds, w.nokey, w.parent, w.child";

fn rollback(bench: &Bench, log: &Path, more: &[&str]) -> Ran {
    let (log, socket) = (log.to_string_lossy().into_owned(), bench.node_path("socket"));
    let socket = socket.to_string_lossy().into_owned();
    let spool = bench.folder.path().to_string_lossy().into_owned();
    let mut args = vec!["binlog", "rollback", "--socket", &socket, "--spool", &spool];
    args.extend(more);
    args.push(&log);
    bench.run(&args)
}

/// Runs a script with the server's client, which stops at an error.
fn run_script(bench: &Bench, script: &str) -> Ran {
    let lab = bench.folder.path().join("lab").to_string_lossy().into_owned();
    run_with(&["lab", "shell", "t"], script, &[("MAINSTAY_LAB_DIR", &lab)])
}

#[test]
fn real_undoing_restores_the_checksums() {
    for server in servers() {
        // With and without names in the log: without, the server is asked for them.
        for metadata in ["FULL", if server == "mysql" { "MINIMAL" } else { "NO_LOG" }] {
            let bench = logging(server, &format!("binlog-row-metadata={metadata}\n"));
            bench.sql(TYPES);
            bench.sql(&filled());
            let before = bench.sql(CHECKSUMS);
            let log = logged(&bench, CHANGES);
            let after = bench.sql(CHECKSUMS);
            assert_ne!(before, after);

            let checked = rollback(&bench, &log, &["--check"]);
            assert_eq!(checked.code, Some(0), "{server} {metadata}: {checked:?}");
            assert!(checked.out.contains("no conflict: "), "{checked:?}");
            assert_eq!(bench.sql(CHECKSUMS), after, "{server}: --check changed something");

            let applied = rollback(&bench, &log, &["--apply", "--yes"]);
            assert_eq!(applied.code, Some(0), "{server} {metadata}: {applied:?}");
            assert_eq!(bench.sql(CHECKSUMS), before, "{server} {metadata}");

            // A second time, every row is another one than the log left.
            let again = rollback(&bench, &log, &["--apply", "--yes", "--json"]).json(2);
            assert_eq!(again["result"], "conflicts", "{server}: {again}");
            assert_eq!(bench.sql(CHECKSUMS), before, "{server} {metadata}");
        }
    }
}

#[test]
fn real_scripts_undo_and_redo() {
    for server in servers() {
        let bench = logging(server, "");
        bench.sql(TYPES);
        bench.sql(&filled());
        let before = bench.sql(CHECKSUMS);
        let log = logged(&bench, CHANGES);
        let after = bench.sql(CHECKSUMS);
        let schema = bench.folder.path().join("schema.sql");
        write(&schema, &format!("USE w;\n{TYPES}"));

        let undo = rollback(&bench, &log, &["--schema", &schema.to_string_lossy()]);
        assert_eq!(undo.code, Some(0), "{undo:?}");
        let ran = run_script(&bench, &undo.out);
        assert_eq!(ran.code, Some(0), "{server}: {ran:?}\n{}", undo.out);
        assert_eq!(bench.sql(CHECKSUMS), before, "{server}");
        // Again: nothing is as the log left it, and nothing is changed.
        let ran = run_script(&bench, &undo.out);
        assert_ne!(ran.code, Some(0), "{server}: {ran:?}");
        assert_eq!(bench.sql(CHECKSUMS), before, "{server}");

        let redo =
            bench.run(&["binlog", "sql", "--schema", &schema.to_string_lossy(), &log.to_string_lossy()]);
        assert_eq!(redo.code, Some(0), "{redo:?}");
        let ran = run_script(&bench, &redo.out);
        assert_eq!(ran.code, Some(0), "{server}: {ran:?}\n{}", redo.out);
        assert_eq!(bench.sql(CHECKSUMS), after, "{server}");

        let pseudo = bench.run(&["binlog", "sql", "--output", "pseudo", &log.to_string_lossy()]);
        assert_eq!(pseudo.code, Some(0), "{pseudo:?}");
        assert!(pseudo.out.contains("\tQuery\tthread_id="), "{}", pseudo.out);
        assert!(pseudo.out.contains("DELETE FROM `w`.`kinds`"), "{}", pseudo.out);
    }
}

#[test]
fn real_conflicts_ddl_and_triggers_are_refused() {
    for server in servers() {
        let bench = logging(server, "");
        bench.sql(
            "CREATE DATABASE w; CREATE TABLE w.a (id INT PRIMARY KEY, v INT) ENGINE=InnoDB; \
            CREATE TABLE w.other LIKE w.a; INSERT INTO w.a VALUES (1,1),(2,2),(3,3)",
        );
        let log = logged(
            &bench,
            "UPDATE w.a SET v=v+10; DELETE FROM w.a WHERE id=3; INSERT INTO w.other VALUES (1,1)",
        );
        bench.sql("UPDATE w.a SET v=99 WHERE id=2");
        let before = bench.sql("SELECT * FROM w.a ORDER BY id");
        let refused = rollback(&bench, &log, &["--apply", "--yes"]);
        assert_eq!(refused.code, Some(2), "{server}: {refused:?}");
        assert!(refused.out.contains("1 conflicts in 5 rows"), "{server}: {refused:?}");
        assert!(refused.out.contains("`w`.`a`"), "{server}: {refused:?}");
        assert_eq!(bench.sql("SELECT * FROM w.a ORDER BY id"), before, "{server}");

        let script = rollback(&bench, &log, &[]);
        assert_eq!(script.code, Some(0), "{server}: {script:?}");
        let ran = run_script(&bench, &script.out);
        assert_ne!(ran.code, Some(0), "{server}: {ran:?}");
        assert!(ran.err.contains("not committed: rows changed since: 1"), "{server}: {ran:?}");
        assert_eq!(bench.sql("SELECT * FROM w.a ORDER BY id"), before, "{server}");

        // Other rows, chosen by value, can still be undone.
        let chosen = rollback(&bench, &log, &["--apply", "--yes", "--where", "id = 3", "--table", "w.a"]);
        assert_eq!(chosen.code, Some(0), "{server}: {chosen:?}");
        assert!(bench.sql("SELECT v FROM w.a WHERE id=3").contains('3'), "{server}");

        bench.sql("CREATE TRIGGER w.tr AFTER INSERT ON w.other FOR EACH ROW SET @x=1");
        let triggered = rollback(&bench, &log, &["--apply", "--yes", "--table", "w.other"]);
        assert_eq!(triggered.code, Some(1), "{server}: {triggered:?}");
        assert!(triggered.err.contains("trigger `tr`"), "{server}: {triggered:?}");

        let ddl = logged(&bench, "INSERT INTO w.a VALUES (50,50); TRUNCATE TABLE w.a");
        let refused = rollback(&bench, &ddl, &["--check"]);
        assert_eq!(refused.code, Some(1), "{server}: {refused:?}");
        assert!(refused.err.contains("cannot be undone") && refused.err.contains("TRUNCATE"), "{refused:?}");
        let unasked = rollback(&bench, &log, &["--apply", "--table", "w.a", "--where", "id = 1"]);
        assert_eq!(unasked.code, Some(1), "{unasked:?}");
        assert!(unasked.err.contains("--yes"), "{unasked:?}");
    }
}
