//! The story: a backup, an archive, a day's work, a table dropped by mistake; found in the logs, and brought back to just
//! before, equal to the copy that the server made of it at that moment.

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
