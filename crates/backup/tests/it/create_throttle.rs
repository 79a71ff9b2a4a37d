//! Dumps that hold back on real servers: while others are at work, and never because of themselves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backup::create::{CreateError, CreateOptions, Progress, create};
use blob::Place;
use dump::manifest::Manifest;
use flavor::Vendor;
use server::{Connection, Limits, Sql, Target};
use tokio::task::JoinHandle;

use crate::harness::{Bench, run, value, vendors};

const LIMIT: Duration = Duration::from_secs(60);
/// Marks the statement of somebody else.
const OTHER: &str = "SELECT SLEEP(1000) AS other";

/// More rows than fit on the way from the server: a reader that waits is in the middle of its result.
async fn shop(bench: &Bench) -> Connection {
    let mut connection = bench.connect().await;
    run(
        &mut connection,
        &[
            "CREATE DATABASE shop",
            "CREATE TABLE shop.a (id INT PRIMARY KEY AUTO_INCREMENT, note VARCHAR(1000))",
            "INSERT INTO shop.a (note) VALUES (REPEAT('a', 1000))",
        ],
    )
    .await;
    for _ in 0..13 {
        run(&mut connection, &["INSERT INTO shop.a (note) SELECT note FROM shop.a"]).await;
    }
    run(&mut connection, &["CREATE TABLE shop.b LIKE shop.a", "INSERT INTO shop.b SELECT * FROM shop.a"])
        .await;
    connection
}

/// With nobody else at work allowed.
fn alone(label: &str) -> CreateOptions {
    let mut options = CreateOptions::new(label);
    options.threads = 4;
    options.throttle.running_max = Some(0);
    // A primary has no lag.
    options.throttle.lag_max = Some(Duration::ZERO);
    options
}

/// A statement of somebody else that is running.
async fn other(bench: &Bench, connection: &mut Connection) -> JoinHandle<()> {
    let mut busy = bench.connect().await;
    let asked = tokio::spawn(async move {
        // Its end by KILL is an answer on one server and an error on the other.
        drop(busy.with_limit(LIMIT * 10).query(&Sql::plain(OTHER)).await);
    });
    until("somebody else is at work", async || others(connection).await.len() == 1).await;
    asked
}

async fn others(connection: &mut Connection) -> Vec<u64> {
    let sql = format!("SELECT ID AS id FROM information_schema.PROCESSLIST WHERE INFO = '{OTHER}'");
    let rows = connection.query(&Sql::plain(sql)).await.unwrap();
    rows.iter().map(|row| row.parsed("id").unwrap()).collect()
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < LIMIT, "not in {LIMIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A dump under way, and how far it is.
pub(crate) fn start(
    target: Target,
    place: Place,
    options: CreateOptions,
) -> (JoinHandle<Result<Manifest, CreateError>>, Arc<Progress>) {
    let progress = Arc::new(Progress::default());
    let shown = Arc::clone(&progress);
    let dump =
        tokio::spawn(async move { create(&target, &Limits::default(), &place, &options, &shown).await });
    (dump, progress)
}

#[tokio::test(flavor = "multi_thread")]
async fn real_its_own_sessions_never_hold_it_back() {
    for vendor in vendors().await {
        let bench = Bench::new(vendor).await;
        let _idle = shop(&bench).await;
        let manifest = tokio::time::timeout(LIMIT, bench.create(&alone("idle"))).await;
        let manifest = manifest.unwrap_or_else(|_| panic!("{vendor}: held back by nobody")).unwrap();
        assert_eq!(manifest.rows(), 2 * 8192, "{vendor}");
        bench.down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_it_waits_for_others_and_goes_on_looking_when_its_session_is_lost() {
    for vendor in vendors().await {
        let bench = Bench::new(vendor).await;
        let mut connection = shop(&bench).await;
        let busy = other(&bench, &mut connection).await;
        let (dump, progress) = start(bench.target(), bench.place(), alone("busy"));
        until("it holds back", async || {
            progress.counts().held_back && progress.counts().tables_expected == 2
        })
        .await;
        // The last one to log in is the one that looks.
        let last = "SELECT MAX(ID) FROM information_schema.PROCESSLIST";
        let looks = value(&mut connection, last).await;
        run(&mut connection, &[&format!("KILL {looks}")]).await;
        until("it looks by another session", async || {
            let now = value(&mut connection, last).await;
            now.parse::<u64>().unwrap() > looks.parse().unwrap()
        })
        .await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(
            progress.counts().held_back && progress.counts().rows == 0,
            "{vendor}: {:?}",
            progress.counts()
        );
        for id in others(&mut connection).await {
            run(&mut connection, &[&format!("KILL {id}")]).await;
        }
        busy.await.unwrap();
        let manifest = tokio::time::timeout(LIMIT, dump).await.unwrap().unwrap().unwrap();
        assert_eq!(manifest.rows(), 2 * 8192, "{vendor}");
        bench.down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_who_may_not_see_others_is_told_so() {
    for vendor in vendors().await {
        let bench = Bench::new(vendor).await;
        let mut connection = shop(&bench).await;
        let own = match vendor {
            Vendor::MariaDb => ", BINLOG MONITOR, SLAVE MONITOR",
            Vendor::MySql => ", BACKUP_ADMIN, REPLICATION SLAVE, SHOW_ROUTINE",
        };
        let grant = format!(
            "GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, RELOAD, REPLICATION CLIENT{own} ON *.* TO shy@localhost"
        );
        run(&mut connection, &["CREATE USER shy@localhost IDENTIFIED BY 'x'", &grant]).await;
        let target = Target { user: "shy".to_owned(), password: Some("x".into()), ..bench.target() };
        let progress = Arc::new(Progress::default());
        let refused = create(&target, &Limits::default(), &bench.place(), &alone("shy"), &progress).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.to_string(), "cannot see how busy the server is, to hold back", "{vendor}");
        let CreateError::Server { source, .. } = &refused else { panic!("{refused:?}") };
        assert!(source.to_string().contains("PROCESS"), "{vendor}: {source}");
        bench.down().await;
    }
}
