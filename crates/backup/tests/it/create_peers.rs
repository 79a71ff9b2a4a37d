//! What is dumped here is restored by `myloader`.

use std::process::{Command, Output};

use backup::create::CreateOptions;
use dump::layout::Compression;
use server::{Endpoint, Sql, Target};

use crate::harness::{Bench, run, vendors};

#[expect(clippy::disallowed_methods, reason = "the peer is run as its user runs it")]
fn myloader(target: &Target, folder: &std::path::Path) -> Option<Output> {
    let Endpoint::Socket(socket) = &target.endpoint else { panic!("a lab's root has a socket") };
    let mut command = Command::new("myloader");
    command.arg("-S").arg(socket).args(["-u", "root", "-t", "2", "-e", "-d"]).arg(folder);
    command.output().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn real_myloader_restores_a_dump() {
    for vendor in vendors().await {
        for compression in [Compression::Gzip, Compression::None] {
            let bench = Bench::new(vendor).await;
            let mut connection = bench.connect().await;
            run(&mut connection, &[
                "CREATE DATABASE shop CHARACTER SET utf8mb4",
                "USE shop",
                "CREATE TABLE t (id INT PRIMARY KEY, b BLOB, s VARCHAR(100), f FLOAT, l VARCHAR(9) CHARACTER SET latin1)",
                "INSERT INTO t VALUES (1, x'00FF0A27', 'a;\\nb''\\\\ 😀', 0.1, 'ä'), (2, NULL, NULL, -0e0, '')",
                "CREATE TABLE u (id INT PRIMARY KEY, s INT AS (id * 2) STORED)",
                "INSERT INTO u (id) SELECT id FROM t",
                "CREATE VIEW v AS SELECT id FROM t",
                "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW BEGIN\n SET @a = 1;\n SET @b = 2;\nEND",
                "CREATE PROCEDURE p() BEGIN\n SELECT 1;\n SELECT 2;\nEND",
            ])
            .await;
            let mut options = CreateOptions::new("peer");
            options.compression = compression;
            options.accounts = false;
            let manifest = bench.create(&options).await.unwrap();
            let sums = "CHECKSUM TABLE shop.t, shop.u";
            let before = connection.query(&Sql::plain(sums)).await.unwrap();
            run(&mut connection, &["DROP DATABASE shop"]).await;
            let Some(ran) = myloader(&bench.target(), &bench.place_path().join(&manifest.id)) else {
                println!("skipped: myloader is not installed (Debian's package mydumper)");
                bench.down().await;
                return;
            };
            let said = String::from_utf8_lossy(&ran.stderr).into_owned();
            assert!(ran.status.success() && !said.contains("CRITICAL"), "{vendor}: {said}");
            let after = connection.query(&Sql::plain(sums)).await.unwrap();
            for (before, after) in before.iter().zip(&after) {
                assert_eq!(before.text("Checksum"), after.text("Checksum"), "{vendor} {before:?}");
            }
            let view = connection.query(&Sql::plain("SELECT id FROM shop.v ORDER BY id")).await.unwrap();
            assert_eq!(view.len(), 2);
            run(&mut connection, &["SHOW CREATE TRIGGER shop.tr", "CALL shop.p()"]).await;
            bench.down().await;
        }
    }
}
