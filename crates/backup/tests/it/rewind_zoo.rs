//! Tables of every type rewound: what a binary log says of a value is the value.
//!
//! Tests fail when one bit of a rewound row differs.

use backup::create::CreateOptions;
use backup::rewind::TableOptions;
use server::Connection;

use crate::create_zoo;
use crate::harness::{Bench, run, value, vendors};
use crate::restore::all;
use crate::rewind::{archive, options, position, rewind};

/// Names of tables that are rewound: not those whose rows are no transaction's, have a history, or hang on others'.
const TABLES: &str = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'zoo' AND TABLE_TYPE = 'BASE TABLE' AND \
    ENGINE = 'InnoDB' AND TABLE_ROWS IS NOT NULL AND TABLE_NAME NOT IN ('parent', 'child', 'log', 'of_seq') ORDER BY 1";

/// A table's columns that hold values of their own.
async fn columns(connection: &mut Connection, table: &str) -> String {
    let sql = format!(
        "SELECT GROUP_CONCAT(CONCAT('`', REPLACE(COLUMN_NAME, '`', '``'), '`') ORDER BY ORDINAL_POSITION) FROM information_schema.COLUMNS \
         WHERE TABLE_SCHEMA = 'zoo' AND TABLE_NAME = {} AND EXTRA NOT LIKE '%VIRTUAL%' AND EXTRA NOT LIKE '%STORED%'",
        sqltext::quote_string(table).unwrap()
    );
    value(connection, &sql).await
}

async fn sum(connection: &mut Connection, table: &str) -> String {
    let name = sqltext::quote_ident(table).unwrap();
    let count = value(connection, &format!("SELECT COUNT(*) FROM zoo.{name}")).await;
    let rows = all(connection, &format!("CHECKSUM TABLE zoo.{name} EXTENDED")).await;
    format!("{count} rows, {}", rows[0][1])
}

#[tokio::test(flavor = "multi_thread")]
async fn real_tables_of_every_type_are_rewound() {
    for vendor in vendors().await {
        let bench = Bench::new(vendor).await;
        let mut connection = bench.connect().await;
        create_zoo::make(&mut connection, Some(vendor)).await;
        // Nobody's triggers fail, and the values of none are meant.
        run(
            &mut connection,
            &[
                "DROP TRIGGER t1",
                "DROP TRIGGER t2",
                "CREATE DATABASE kept",
                "SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
            ],
        )
        .await;
        archive(&bench).await;
        bench.create(&CreateOptions::new("zoo")).await.unwrap();
        let tables: Vec<String> =
            all(&mut connection, TABLES).await.into_iter().map(|row| row[0].clone()).collect();
        assert!(tables.len() > 12, "{vendor}: {tables:?}");
        let mut before = Vec::new();
        for table in &tables {
            // Every value goes, and comes again out of the log.
            let (name, columns) =
                (sqltext::quote_ident(table).unwrap(), columns(&mut connection, table).await);
            run(
                &mut connection,
                &[
                    &format!("CREATE TABLE kept.{name} AS SELECT {columns} FROM zoo.{name}"),
                    &format!("DELETE FROM zoo.{name}"),
                    &format!("INSERT INTO zoo.{name} ({columns}) SELECT {columns} FROM kept.{name}"),
                ],
            )
            .await;
            before.push(sum(&mut connection, table).await);
        }
        let point = position(&mut connection, vendor).await;
        for table in &tables {
            run(&mut connection, &[&format!("DELETE FROM zoo.{}", sqltext::quote_ident(table).unwrap())])
                .await;
        }
        archive(&bench).await;
        let mut differ = Vec::new();
        for (table, before) in tables.iter().zip(&before) {
            let wanted =
                TableOptions { database: "zoo".to_owned(), as_name: "rewound".to_owned(), ..options(table) };
            match rewind(&bench, &point, &wanted).await {
                Ok(_) => {
                    let after = sum(&mut connection, "rewound").await;
                    if after != *before {
                        differ.push(format!("{table}: {before} before, {after} after"));
                    }
                    run(&mut connection, &["DROP TABLE zoo.rewound"]).await;
                }
                Err(error) => differ.push(format!("{table}: {error:?}")),
            }
        }
        assert!(differ.is_empty(), "{vendor}: {differ:#?}");
        drop(connection);
        bench.down().await;
    }
}
