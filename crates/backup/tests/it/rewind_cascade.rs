//! Foreign keys that change rows by themselves: InnoDB logs nothing of it, and a rewind of such a table says so.
//!
//! Tests fail when a rewind is silently wrong, or refused where nothing is missing.

use backup::create::CreateOptions;
use backup::rewind::{RewindError, TableOptions};
use flavor::Vendor;
use server::Connection;

use crate::harness::{Bench, run, vendors};
use crate::rewind::{archive, copy, differences, options, position, rewind};

/// `item` goes with `orders`, which go with their customer; `label` loses its customer; `visit` is never touched.
const SCHEMA: &[&str] = &[
    "CREATE DATABASE shop",
    "CREATE DATABASE model",
    "USE shop",
    "CREATE TABLE customer (id INT PRIMARY KEY, name VARCHAR(20))",
    "CREATE TABLE orders (id INT PRIMARY KEY, customer INT, CONSTRAINT o FOREIGN KEY (customer) REFERENCES customer (id) ON DELETE CASCADE ON UPDATE CASCADE)",
    "CREATE TABLE item (id INT PRIMARY KEY, of_order INT, CONSTRAINT i FOREIGN KEY (of_order) REFERENCES orders (id) ON DELETE CASCADE)",
    "CREATE TABLE visit (id INT PRIMARY KEY, customer INT, CONSTRAINT v FOREIGN KEY (customer) REFERENCES customer (id))",
    "CREATE TABLE late (id INT PRIMARY KEY, customer INT)",
    "INSERT INTO customer VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')",
    "INSERT INTO orders VALUES (10, 1), (20, 2), (30, 3)",
    "INSERT INTO item VALUES (100, 10), (200, 20), (300, 30)",
    "INSERT INTO visit VALUES (1, 1)",
    "INSERT INTO late VALUES (1, 1), (4, 4)",
];

async fn made(vendor: Vendor) -> (Bench, Connection) {
    let bench = Bench::new(vendor).await;
    let mut connection = bench.connect().await;
    run(&mut connection, SCHEMA).await;
    bench.create(&CreateOptions::new("shop")).await.unwrap();
    (bench, connection)
}

fn accepting(table: &str) -> TableOptions {
    TableOptions { accepts_cascades: true, ..options(table) }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_what_foreign_keys_did_unlogged_is_refused_and_named() {
    for vendor in vendors().await {
        let (bench, mut connection) = made(vendor).await;
        // Changes of a parent that no foreign key leads to are no matter.
        run(
            &mut connection,
            &["UPDATE shop.customer SET name = 'x' WHERE id = 1", "INSERT INTO shop.item VALUES (101, 10)"],
        )
        .await;
        archive(&bench).await;
        let point = position(&mut connection, vendor).await;
        for table in ["orders", "item"] {
            copy(&mut connection, table).await;
            let done = rewind(&bench, &point, &options(table)).await.unwrap();
            assert!(done.plan.cascades.is_empty(), "{vendor}: {:?}", done.plan.cascades);
            run(&mut connection, &[&format!("DROP TABLE shop.{table}_rewound, model.{table}")]).await;
        }
        run(
            &mut connection,
            &[
                "DELETE FROM shop.customer WHERE id = 2",
                "UPDATE shop.customer SET id = 33 WHERE id = 3",
                "ALTER TABLE shop.late ADD CONSTRAINT l FOREIGN KEY (customer) REFERENCES customer (id) ON DELETE SET NULL",
                "DELETE FROM shop.customer WHERE id = 4",
            ],
        )
        .await;
        let point = position(&mut connection, vendor).await;
        archive(&bench).await;
        for table in ["orders", "item", "late", "visit"] {
            copy(&mut connection, table).await;
            let done = rewind(&bench, &point, &options(table)).await;
            // MySQL logs what its foreign keys do since 9.6.
            if vendor == Vendor::MySql || table == "visit" {
                done.unwrap();
                let name = format!("{table}_rewound");
                let found = differences(&bench, (&name, table)).await;
                assert!(found.is_same(), "{vendor}: {table}: {found:?}");
                continue;
            }
            let error = done.unwrap_err();
            let RewindError::Cascades { cascades, .. } = &error else { panic!("{vendor}: {table}: {error}") };
            let parent = &cascades[0];
            assert_eq!(cascades.len(), 1, "{cascades:?}");
            let expected = match table {
                "orders" => ("shop.customer", vec!["shop.orders"], 2, 1),
                "item" => ("shop.customer", vec!["shop.orders"], 2, 1),
                _ => ("shop.customer", vec!["shop.late"], 1, 0),
            };
            let found: Vec<&str> = parent.keys.iter().map(String::as_str).collect();
            assert_eq!((parent.parent.as_str(), found, parent.deleted, parent.updated), expected, "{table}");
            assert!(
                error.hint().unwrap().contains("--accept-cascades")
                    && error.to_string().contains(&parent.first)
            );
            let done = rewind(&bench, &point, &accepting(table)).await.unwrap();
            assert!(table == "late" || done.plan.cascades == *cascades, "{done:?}");
            let name = format!("{table}_rewound");
            let left = differences(&bench, (&name, table)).await;
            assert!(
                left.only_rewound + left.different > 0,
                "{table}: what it was refused for did not happen: {left:?}"
            );
        }
        connection.close().await;
        bench.down().await;
    }
}
