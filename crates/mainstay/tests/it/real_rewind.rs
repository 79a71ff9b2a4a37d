//! The story: a backup, an archive, a day's work, a table dropped by mistake; found in the logs, and brought back to just
//! before, equal to the copy that the server made of it at that moment.

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use crate::bench::{Bench, Ran, servers};
use crate::real_binlog::logging;

const TABLE: &str = "CREATE DATABASE shop; CREATE DATABASE model; USE shop; \
    CREATE TABLE orders (id INT PRIMARY KEY AUTO_INCREMENT, customer INT, state VARCHAR(20), amount DECIMAL(10,2), \
    note TEXT, KEY (customer)); \
    INSERT INTO orders (customer, state, amount, note) VALUES (1,'new',1.5,'a'),(2,'new',2.5,NULL),(3,'paid',3.5,'ü'); \
    INSERT INTO orders (customer, state, amount, note) SELECT customer + 3, state, amount, note FROM orders; \
    INSERT INTO orders (customer, state, amount, note) SELECT customer + 6, state, amount, note FROM orders; \
    INSERT INTO orders (customer, state, amount, note) SELECT customer + 12, state, amount, note FROM orders;";

const WORK: &str = "USE shop; UPDATE orders SET state='paid' WHERE id % 2 = 0; DELETE FROM orders WHERE id = 5; \
    INSERT INTO orders (customer, state, amount, note) VALUES (99,'new',9.99,'later'); \
    ALTER TABLE orders ADD COLUMN paid_at DATETIME NULL; UPDATE orders SET paid_at='2026-11-21 18:00:00' WHERE state='paid'; \
    UPDATE orders SET amount = amount + 1 WHERE customer < 7;";

fn path(bench: &Bench, name: &str) -> String {
    bench.folder.path().join(name).to_string_lossy().into_owned()
}

fn socket(bench: &Bench) -> String {
    bench.node_path("socket").to_string_lossy().into_owned()
}

fn on_server(bench: &Bench, verb: &[&str]) -> Ran {
    let (place, socket) = (path(bench, "place"), socket(bench));
    let mut args = verb.to_vec();
    args.extend(["--place", &place, "--socket", &socket]);
    bench.run(&args)
}

fn checksum(bench: &Bench, table: &str) -> String {
    let told = bench.sql(&format!("CHECKSUM TABLE {table} EXTENDED"));
    told.split_whitespace().last().unwrap_or_default().to_owned()
}

#[test]
fn real_a_dropped_table_is_found_and_comes_back_as_it_was() {
    for server in servers() {
        let bench = logging(server, "");
        std::fs::create_dir(bench.folder.path().join("place")).unwrap();
        bench.sql(TABLE);
        assert_eq!(on_server(&bench, &["backup", "archive", "--once"]).code, Some(0));
        let created = on_server(&bench, &["backup", "create"]);
        assert_eq!(created.code, Some(0), "{created:?}");
        bench.sql(WORK);
        bench.sql(
            "CREATE TABLE model.orders LIKE shop.orders; INSERT INTO model.orders SELECT * FROM shop.orders",
        );
        bench.sql("DROP TABLE shop.orders; CREATE TABLE shop.after (id INT PRIMARY KEY)");
        assert_eq!(on_server(&bench, &["backup", "archive", "--once"]).code, Some(0));

        let socket = socket(&bench);
        let find = [
            "--json",
            "binlog",
            "find",
            "--from-server",
            "--socket",
            &socket,
            "--table",
            "shop.orders",
            "--action",
            "drop",
        ];
        let found = bench.run(&find).json(0);
        let before = found["matches"][0]["stop_before"].as_str().unwrap().to_owned();

        let rewind = ["rewind", "--table", "shop.orders", "--before", &before];
        let dry = on_server(&bench, &[&rewind[..], &["--dry-run"]].concat());
        assert_eq!(dry.code, Some(2), "{dry:?}");
        assert!(dry.out.contains("nothing was changed"), "{dry:?}");
        killed_midway(&bench, &rewind);
        let done = on_server(&bench, &rewind);
        assert_eq!(done.code, Some(2), "the live table is gone: {done:?}");
        assert!(
            done.out.contains("shop.orders is not there") && done.out.contains("ALTER TABLE orders"),
            "{done:?}"
        );
        let model = checksum(&bench, "model.orders");
        assert_eq!(checksum(&bench, "shop.orders_rewound"), model, "{server}");

        let unasked = on_server(&bench, &[&rewind[..], &["--swap"]].concat());
        assert!(unasked.code == Some(1) && unasked.err.contains("--yes"), "{unasked:?}");
        let swapped = on_server(&bench, &[&rewind[..], &["--swap", "--yes"]].concat());
        assert_eq!(swapped.code, Some(0), "{swapped:?}");
        assert_eq!(checksum(&bench, "shop.orders"), model, "{server}");
        assert!(!bench.sql("SHOW DATABASES").contains("mainstay"));

        // A moment that the archive does not have is refused, with where it can go.
        let late = on_server(&bench, &["rewind", "--table", "shop.orders", "--to", "2199-01-01 00:00:00"]);
        assert!(late.code == Some(1) && late.err.contains("it can go to --to-position"), "{late:?}");
        let none = on_server(&bench, &["rewind", "--table", "shop.nothing", "--before", &before]);
        assert!(none.code == Some(1) && none.err.contains("is not there at that point"), "{none:?}");
    }
}

/// Kills a rewind with SIGKILL once it has begun to make the table.
fn killed_midway(bench: &Bench, rewind: &[&str]) {
    let (place, socket) = (path(bench, "place"), socket(bench));
    let mut child = bench.start_plain(&[rewind, &["--place", &place, "--socket", &socket]].concat());
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        if bench.sql("SHOW DATABASES").contains("mainstay_rewind") || child.try_wait().unwrap().is_some() {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // Too late: it is whole, which the next run would take as it is.
    bench.sql("DROP TABLE IF EXISTS shop.orders_rewound");
}

/// Rows enough that a kill meets the restore or the replay, and changes of all of them.
const LARGE: &str = "CREATE DATABASE shop; CREATE DATABASE model; USE shop; \
    CREATE TABLE orders (id INT PRIMARY KEY AUTO_INCREMENT, n INT NOT NULL, note VARCHAR(100), KEY (n)); \
    INSERT INTO orders (n, note) VALUES (1, REPEAT('a', 90)), (2, REPEAT('b', 90)), (3, NULL), (4, '');";

#[test]
fn real_a_rewind_killed_at_any_moment_starts_over() {
    for server in servers() {
        let bench = logging(server, "");
        std::fs::create_dir(bench.folder.path().join("place")).unwrap();
        let mut rows = LARGE.to_owned();
        for _ in 0..12 {
            rows.push_str("INSERT INTO orders (n, note) SELECT n + 1, note FROM orders;");
        }
        bench.sql(&rows);
        assert_eq!(on_server(&bench, &["backup", "create"]).code, Some(0));
        let mut changes = "USE shop;".to_owned();
        for number in 0..20 {
            changes.push_str(&format!("UPDATE orders SET n = n + {number} WHERE id % 20 >= {number};"));
        }
        changes.push_str("DELETE FROM orders WHERE id % 7 = 0; CREATE TABLE model.orders LIKE orders; INSERT INTO model.orders SELECT * FROM orders");
        bench.sql(&changes);
        assert_eq!(on_server(&bench, &["backup", "archive", "--once"]).code, Some(0));
        let late = on_server(&bench, &["rewind", "--table", "shop.orders", "--to", "2199-01-01 00:00:00"]);
        let end = late.err.split("--to-position ").nth(1).and_then(|rest| rest.split(';').next());
        let end = end.unwrap_or_else(|| panic!("{late:?}")).to_owned();
        let rewind = ["rewind", "--table", "shop.orders", "--to-position", &end, "--no-diff"];

        let begun = Instant::now();
        let whole = on_server(&bench, &[&rewind[..], &["--as", "orders_unhurried"]].concat());
        assert_eq!(whole.code, Some(0), "{whole:?}");
        let (whole, mut kills) = (begun.elapsed(), 0);
        // As long as it takes is known now: each kill meets another part of it, on any machine.
        for part in 1..8 {
            let (place, socket) = (path(&bench, "place"), socket(&bench));
            let mut child =
                bench.start_plain(&[&rewind[..], &["--place", &place, "--socket", &socket]].concat());
            std::thread::sleep(whole * part / 8);
            child.kill().unwrap();
            kills += u32::from(child.wait().unwrap().signal() == Some(9));
            let half_made = bench.sql("SHOW TABLES FROM shop").contains("orders_rewound");
            if half_made {
                // It was whole before the kill: what has the name is never half of it.
                assert_eq!(
                    checksum(&bench, "shop.orders_rewound"),
                    checksum(&bench, "model.orders"),
                    "{server}"
                );
                bench.sql("DROP TABLE shop.orders_rewound");
            }
        }
        assert!(kills > 2, "{server}: it ended before it was killed");
        let done = on_server(&bench, &rewind);
        assert_eq!(done.code, Some(0), "{done:?}");
        assert_eq!(checksum(&bench, "shop.orders_rewound"), checksum(&bench, "model.orders"), "{server}");
        assert!(!bench.sql("SHOW DATABASES").contains("mainstay"));
        println!("{server}: {whole:?}, killed {kills} times");
    }
}
