//! Physical backups of real servers, put back by hand into a server of their own.

use std::process::Command;
use std::sync::Arc;

use backup::create::{CreateOptions, Progress};
use dump::manifest::{BackupKind, FileRole};
use flavor::Vendor;
use server::Limits;

use crate::harness::{Bench, run, value, vendors};

#[expect(clippy::disallowed_methods, reason = "what a person would type to put a backup back")]
fn shell(script: &str) -> std::process::Output {
    Command::new("sh").args(["-ec", script]).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn real_the_servers_files_come_back() {
    for vendor in vendors().await {
        let bench = Bench::new(vendor).await;
        let mut connection = bench.connect().await;
        run(
            &mut connection,
            &[
                "CREATE DATABASE shop",
                "CREATE TABLE shop.t (id INT PRIMARY KEY)",
                "INSERT INTO shop.t VALUES (1), (2), (3)",
            ],
        )
        .await;
        let position = connection.flavor().statements().gtid_position_query();
        let gtid = value(&mut connection, position).await;
        let scratch = bench.folder.path().join("scratch");
        std::fs::create_dir(&scratch).unwrap();
        let progress = Arc::new(Progress::default());
        let options = CreateOptions::new("files");
        let (target, place) = (bench.target(), bench.place());
        let manifest =
            backup::physical::create(&target, &Limits::default(), &place, &options, &scratch, &progress)
                .await
                .unwrap();
        assert_eq!(manifest.kind, BackupKind::Physical);
        assert_eq!(manifest.coordinates.as_ref().unwrap().gtid, gtid);
        assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0);
        let stored = manifest.files.iter().find(|file| file.role == FileRole::Physical).unwrap();
        assert_eq!(stored.name, "mainstay-physical.zst");
        let data = bench.folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let (file, data) = (bench.place_path().join(&manifest.id).join(&stored.name), data.display());
        let script = match vendor {
            Vendor::MariaDb => format!(
                "zstdcat {} | mbstream -x -C {data} && mariadb-backup --prepare --target-dir={data} 2>&1",
                file.display()
            ),
            Vendor::MySql => format!("zstdcat {} | tar -x -C {data}", file.display()),
        };
        let ran = shell(&script);
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
        assert!(bench.folder.path().join("data/shop/t.ibd").metadata().unwrap().len() > 0);
        assert!(bench.folder.path().join("data/ibdata1").exists());
        bench.down().await;
    }
}
