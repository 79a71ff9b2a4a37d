//! CloudStack's own scripts and schema, where they are at hand.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use server::Sql;
use sqltext::Splitter;

use crate::harness::{Bench, CLOUDSTACK, vendors};

/// The setup folder of a CloudStack source tree or an unpacked management server.
fn setup_folder() -> Option<PathBuf> {
    let folder = std::env::var_os("MAINSTAY_TEST_CLOUDSTACK_SETUP").map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: MAINSTAY_TEST_CLOUDSTACK_SETUP does not name CloudStack's setup/db folder");
    }
    folder
}

#[tokio::test]
async fn real_base_scripts_load() {
    let Some(folder) = setup_folder() else { return };
    for vendor in vendors().await {
        let bench = Bench::new(vendor, &format!("{CLOUDSTACK}schema_dir = {folder:?}\n")).await;
        bench.converge().await;
        let mut connection = bench.connection().await;
        let count = "SELECT COUNT(*) AS count FROM information_schema.TABLES WHERE TABLE_SCHEMA IN ('cloud', 'cloud_usage')";
        let rows = connection.query(&Sql::plain(count)).await.unwrap();
        assert_eq!(rows[0].text("count"), Some("151"), "{vendor}");
        connection.close().await;
        bench.down().await;
    }
}

#[tokio::test]
async fn real_whole_schema_dump_loads_and_is_left_alone() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data/cloudstack-4.23-mariadb10.11.sql.gz");
    let Ok(bytes) = std::fs::read(&path) else {
        println!("skipped: {} is not here", path.display());
        return;
    };
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap();
    for vendor in vendors().await {
        let bench = Bench::new(vendor, CLOUDSTACK).await;
        bench.converge().await;
        let mut connection = bench.connection().await;
        let mut statements = 0;
        for statement in Splitter::new(&text) {
            let statement = statement.unwrap();
            let mut limited = connection.with_limit(Duration::from_secs(120));
            limited
                .execute(&Sql::plain(statement.text))
                .await
                .unwrap_or_else(|error| panic!("{vendor}, line {}: {error}", statement.line));
            statements += 1;
        }
        assert!(statements > 1000, "{vendor}: {statements} statements");
        connection.close().await;
        let plan = bench.plan().await;
        assert!(!plan.differs(), "{vendor}: {plan}");
        bench.down().await;
    }
}
