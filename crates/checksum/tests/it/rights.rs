//! What the account needs: SELECT, and nothing else.

use checksum::{ChecksumError, Login, Method, Options};
use flavor::Vendor;
use lab::Topology;
use server::Target;

use crate::support::{Bench, lines, run, script, value, wait_for};

async fn only_select(vendor: Vendor) {
    let Some(bench) = Bench::up(vendor, Topology::Replication, 2).await else { return };
    let (mut source, mut replica) = (bench.root(0).await, bench.root(1).await);
    script(
        &mut source,
        "CREATE DATABASE d
         CREATE TABLE d.t (id INT PRIMARY KEY, v INT)
         INSERT INTO d.t VALUES (1, 1), (2, 2)
         CREATE TABLE d.u AS SELECT * FROM d.t
         CREATE USER checker@localhost IDENTIFIED BY 'only-for-this-test'
         GRANT SELECT ON *.* TO checker@localhost
         CREATE USER nobody@localhost IDENTIFIED BY 'only-for-this-test'",
    )
    .await;
    let users = "SELECT COUNT(*) FROM mysql.user WHERE user = 'nobody'";
    assert_eq!(value(&mut source, users).await, "1");
    wait_for(&mut replica, users, "1").await;
    run(&mut replica, "SET SESSION sql_log_bin = 0").await;
    run(&mut replica, "UPDATE d.t SET v = 3 WHERE id = 2").await;
    let login = |at: usize, user: &str| Login {
        name: format!("n{at}"),
        target: Target::socket(bench.node(at).socket.clone(), user)
            .with_password("only-for-this-test".to_owned().into()),
    };
    let options = Options::new(Method::Optimistic);
    let report = checksum::compare(&login(0, "checker"), &[login(1, "checker")], &options, &checksum::Silent)
        .await
        .unwrap();
    assert_eq!((lines(&report), report.looked_equal()), (vec!["t changed 2: v".to_owned()], 1), "{report}");
    let refused = checksum::compare(&login(0, "nobody"), &[login(1, "nobody")], &options, &checksum::Silent)
        .await
        .unwrap_err();
    assert!(matches!(refused, ChecksumError::NothingSeen { .. }), "{refused}");
    assert!(refused.hint().unwrap().contains("SELECT"), "{:?}", refused.hint());
    let exact = Options::new(Method::Exact);
    let refused = checksum::compare(&login(0, "checker"), &[login(1, "checker")], &exact, &checksum::Silent)
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, ChecksumError::Server { source, .. } if source.is_missing_privilege()),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn real_select_is_enough_on_mariadb() {
    only_select(Vendor::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_select_is_enough_on_mysql() {
    only_select(Vendor::MySql).await;
}
