//! Dumps of replicas that lag, on real servers: they hold back, unless it is the dump that the replica waits for.

use std::sync::Arc;
use std::time::Duration;

use backup::create::{CreateError, CreateOptions, Progress};
use blob::{Address, Place};
use dump::manifest::Manifest;
use flavor::Vendor;
use server::sessions::{running, waits_for_others};
use server::{Connection, Sql};
use tokio::task::JoinHandle;

use crate::archive::{Logged, until};
use crate::create_throttle::start;
use crate::harness::{run, value, vendors};

/// Longest that a dump of these rows takes.
const LIMIT: Duration = Duration::from_secs(60);
const ROWS: u64 = 8192;

/// A primary and a replica that has its rows.
async fn shop(vendor: Vendor) -> (Logged, Connection, Connection) {
    let bench = Logged::up(vendor, 2, &[]).await;
    let (mut primary, mut replica) = (bench.connect(0).await, bench.connect(1).await);
    run(
        &mut primary,
        &[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.a (id INT PRIMARY KEY AUTO_INCREMENT, note VARCHAR(1000))",
            "INSERT INTO shop.a (note) VALUES (REPEAT('a', 1000))",
        ],
    )
    .await;
    for _ in 0..ROWS.ilog2() {
        run(&mut primary, &["INSERT INTO shop.a (note) SELECT note FROM shop.a"]).await;
    }
    until("the replica has the rows", async || rows(&mut replica).await == ROWS.to_string()).await;
    (bench, primary, replica)
}

async fn rows(connection: &mut Connection) -> String {
    let there =
        "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_NAME = 'a' AND TABLE_SCHEMA = 'shop'";
    if value(connection, there).await == "0" {
        return "0".to_owned();
    }
    value(connection, "SELECT COUNT(*) FROM shop.a").await
}

async fn until_it_lags(replica: &mut Connection) {
    let statements = replica.flavor().statements();
    let (status, column) =
        (Sql::plain(statements.replica_status()), statements.replica_columns().seconds_behind);
    until("the replica lags", async || {
        let rows = replica.query(&status).await.unwrap();
        rows[0].parsed::<u64>(column).is_some_and(|lag| lag > 1)
    })
    .await;
}

/// A dump of the replica that is to hold back.
fn dump_of(
    bench: &Logged,
    running_max: Option<u64>,
) -> (JoinHandle<Result<Manifest, CreateError>>, Arc<Progress>) {
    let mut options = CreateOptions::new("lag");
    options.throttle.lag_max = Some(Duration::from_secs(1));
    options.throttle.running_max = running_max;
    let place = Place::open(&Address::Folder(bench.folder.path().join("place")), None).unwrap();
    start(bench.target(1), place, options)
}

#[tokio::test(flavor = "multi_thread")]
async fn real_it_holds_back_while_a_replica_lags() {
    for vendor in vendors().await {
        let (bench, mut primary, mut replica) = shop(vendor).await;
        let mut blocker = bench.connect(1).await;
        run(&mut blocker, &["START TRANSACTION"]).await;
        value(&mut blocker, "SELECT id FROM shop.a WHERE id = 1 FOR UPDATE").await;
        run(&mut primary, &["UPDATE shop.a SET note = 'b' WHERE id = 1"]).await;
        until_it_lags(&mut replica).await;

        let (dump, progress) = dump_of(&bench, None);
        until("it holds back", async || progress.counts().held_back).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let counts = progress.counts();
        assert!(counts.held_back && counts.rows == 0, "{vendor}: {counts:?}");
        run(&mut blocker, &["ROLLBACK"]).await;
        let manifest = tokio::time::timeout(LIMIT, dump).await.unwrap().unwrap().unwrap();
        assert_eq!(manifest.rows(), ROWS, "{vendor}");
        drop((primary, replica, blocker));
        bench.down().await;
    }
}

/// A change of a table that has to wait until the dump has ended, as any has to on MySQL: holding back for it would hold it
/// up. MariaDB lets the change pass until the table is read, and the dump says then that it has changed.
#[tokio::test(flavor = "multi_thread")]
async fn real_it_goes_on_where_the_replica_waits_for_it() {
    if !vendors().await.contains(&Vendor::MySql) {
        return;
    }
    let (bench, mut primary, mut replica) = shop(Vendor::MySql).await;
    let mut other = bench.connect(1).await;
    let other_id = other.connection_id();
    let busy = tokio::spawn(async move {
        // Its end by KILL is an error.
        drop(other.with_limit(LIMIT * 10).query(&Sql::plain("SELECT SLEEP(1000)")).await);
    });
    let (dump, progress) = dump_of(&bench, Some(0));
    until("it holds back", async || progress.counts().held_back && progress.counts().tables_expected == 1)
        .await;
    run(&mut primary, &["ALTER TABLE shop.a ADD COLUMN more INT"]).await;
    until_it_lags(&mut replica).await;
    run(&mut replica, &[&format!("KILL {other_id}")]).await;
    busy.await.unwrap();
    let manifest = tokio::time::timeout(LIMIT, dump).await.unwrap().unwrap().unwrap();
    assert_eq!(manifest.rows(), ROWS);
    drop((primary, replica));
    bench.down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_an_applier_that_waits_for_others_is_seen() {
    for vendor in vendors().await {
        let (bench, mut primary, mut replica) = shop(vendor).await;
        assert!(!waits_for_others(&mut replica).await.unwrap(), "{vendor}");
        assert_eq!(running(&mut replica, &[]).await.unwrap(), 0, "{vendor}: appliers are none of the load");
        let mut reader = bench.connect(1).await;
        run(&mut reader, &["START TRANSACTION"]).await;
        value(&mut reader, "SELECT COUNT(*) FROM shop.a").await;
        run(&mut primary, &["ALTER TABLE shop.a ADD COLUMN more INT"]).await;
        until("the applier waits", async || waits_for_others(&mut replica).await.unwrap()).await;
        run(&mut reader, &["COMMIT"]).await;
        until("it goes on", async || !waits_for_others(&mut replica).await.unwrap()).await;
        drop((primary, replica, reader));
        bench.down().await;
    }
}
