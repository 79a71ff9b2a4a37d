//! Every topology comes up, does what it is for, and leaves nothing behind.

use std::time::Instant;

use flavor::Vendor;
use lab::{NodeRole, ProcessStatus, Topology};
use server::ServerProcess;

use crate::support::{TestLab, root, run, up, value, wait_for};

async fn single(vendor: Vendor) {
    let test = TestLab::new();
    let started = Instant::now();
    let Some(cluster) = up(&test, "one", Topology::Single, vendor, |_| {}).await else { return };
    println!("single {vendor}: {:?} with its template", started.elapsed());
    let node = &cluster.nodes[0];
    let mut connection = root(node).await;
    assert_eq!(connection.flavor().vendor, vendor);
    run(&mut connection, "CREATE DATABASE a").await;
    run(&mut connection, "CREATE TABLE a.t (id INT PRIMARY KEY)").await;

    let facts = server::collect(&mut connection).await.unwrap();
    assert_eq!(facts.flavor, cluster.flavor);
    assert_eq!(facts.port, node.port);
    assert_eq!(facts.socket, node.socket);
    assert_eq!(facts.data_dir.join("x"), node.datadir.join("x"));
    let accounts = facts.accounts.known().expect("root reads accounts");
    let root_account = accounts.iter().find(|account| account.user == "root").unwrap();
    assert_eq!(root_account.host, "localhost");
    assert!(root_account.grants.iter().any(|grant| grant.contains("WITH GRANT OPTION")));
    assert!(accounts.iter().all(|account| !account.user.is_empty() || account.is_role), "{accounts:?}");
    assert!(!accounts.iter().any(|account| account.user == "root" && account.host != "localhost"));
    let databases: Vec<_> = facts.databases.iter().map(|found| (found.name.as_str(), found.tables)).collect();
    assert_eq!(databases, [("a", 1)]);
    let origin = facts.variable_origins.get("innodb_buffer_pool_size").unwrap();
    assert!(origin.ends_with("my.cnf"), "{origin}");
    assert!(facts.galera.is_absent() && facts.replication.known_sources().is_empty() && !facts.read_only);
    connection.close().await;

    let status = test.lab.status("one").await.unwrap();
    assert_eq!(status[0].process, ProcessStatus::Running);
    assert_eq!(status[0].role.known(), Some(&NodeRole::Single));
    test.lab.down("one").await.unwrap();
    assert!(!cluster.folder.exists());
    assert_eq!(ServerProcess::find_all(&cluster.folder).unwrap(), []);
    assert!(test.lab.down("one").await.is_err());

    let started = Instant::now();
    up(&test, "one", Topology::Single, vendor, |_| {}).await.unwrap();
    println!("single {vendor}: {:?} from its template", started.elapsed());
    test.lab.down("one").await.unwrap();
}

async fn replication(vendor: Vendor, semi_sync: bool) {
    let test = TestLab::new();
    let started = Instant::now();
    let cluster =
        up(&test, "three", Topology::Replication, vendor, |options| options.semi_sync = semi_sync).await;
    let Some(cluster) = cluster else { return };
    println!("replication of three {vendor}: {:?} with its template", started.elapsed());
    let mut primary = root(&cluster.nodes[0]).await;
    run(&mut primary, "CREATE DATABASE a").await;
    run(&mut primary, "CREATE TABLE a.t (id INT PRIMARY KEY)").await;
    run(&mut primary, "INSERT INTO a.t VALUES (42)").await;
    for node in &cluster.nodes[1..] {
        let mut replica = root(node).await;
        wait_for(&mut replica, "SELECT id FROM a.t", "42").await;
        assert_eq!(value(&mut replica, "SELECT @@GLOBAL.read_only").await.as_deref(), Some("1"));
        let facts = server::collect(&mut replica).await.unwrap();
        let source = &facts.replication.known_sources()[0];
        assert_eq!((source.port, source.io_running, source.sql_running), (cluster.nodes[0].port, true, true));
        replica.close().await;
    }
    let facts = server::collect(&mut primary).await.unwrap();
    assert_eq!(facts.replication.replicas, 2);
    assert!(!facts.replication.gtid_position.is_empty());
    assert_eq!(facts.replication.semi_sync_ackers.known(), semi_sync.then_some(&2));
    let roles: Vec<_> =
        test.lab.status("three").await.unwrap().iter().map(|node| node.role.known().copied()).collect();
    assert_eq!(roles, [Some(NodeRole::Primary), Some(NodeRole::Replica), Some(NodeRole::Replica)]);
    primary.close().await;
    test.lab.down("three").await.unwrap();
}

#[tokio::test]
async fn a_single_mariadb() {
    single(Vendor::MariaDb).await;
}

#[tokio::test]
async fn a_single_mysql() {
    single(Vendor::MySql).await;
}

#[tokio::test]
async fn replication_of_three_mariadb() {
    replication(Vendor::MariaDb, true).await;
}

#[tokio::test]
async fn replication_of_three_mysql() {
    replication(Vendor::MySql, false).await;
}

#[tokio::test]
async fn semi_sync_replication_of_three_mysql() {
    replication(Vendor::MySql, true).await;
}

#[tokio::test]
async fn galera_of_three() {
    let test = TestLab::new();
    let started = Instant::now();
    let Some(cluster) = up(&test, "g", Topology::Galera, Vendor::MariaDb, |_| {}).await else { return };
    println!("galera of three: {:?} with its template", started.elapsed());
    let mut first = root(&cluster.nodes[0]).await;
    run(&mut first, "CREATE DATABASE a").await;
    first.close().await;
    for node in &cluster.nodes {
        let mut connection = root(node).await;
        wait_for(&mut connection, "SHOW DATABASES LIKE 'a'", "a").await;
        let facts = server::collect(&mut connection).await.unwrap();
        let galera = facts.galera.known().expect("galera is on");
        assert_eq!((galera.cluster_size, galera.ready), (3, true));
        assert_eq!((galera.cluster_status.as_str(), galera.local_state.as_str()), ("Primary", "Synced"));
        connection.close().await;
    }
    // All at once, as by a power loss; then the cluster must be founded anew, with its data.
    test.lab.kill("g", None).await.unwrap();
    let dead = test.lab.status("g").await.unwrap();
    assert!(dead.iter().all(|node| node.process == ProcessStatus::Dead), "{dead:?}");
    test.lab.start("g", None).await.unwrap();
    for node in &cluster.nodes {
        let mut connection = root(node).await;
        wait_for(
            &mut connection,
            "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS \
             WHERE VARIABLE_NAME = 'wsrep_cluster_size'",
            "3",
        )
        .await;
        wait_for(&mut connection, "SHOW DATABASES LIKE 'a'", "a").await;
        connection.close().await;
    }
    test.lab.down("g").await.unwrap();
}

#[tokio::test]
async fn two_clusters_at_once() {
    let test = TestLab::new();
    let (a, b) = tokio::join!(
        up(&test, "a", Topology::Single, Vendor::MariaDb, |_| {}),
        up(&test, "b", Topology::Single, Vendor::MariaDb, |_| {}),
    );
    let (Some(a), Some(b)) = (a, b) else { return };
    assert_ne!(a.nodes[0].port, b.nodes[0].port);
    let names: Vec<String> = test.lab.list().unwrap().into_iter().map(|cluster| cluster.name).collect();
    assert_eq!(names, ["a", "b"]);
    test.lab.down("a").await.unwrap();
    let mut other = root(&b.nodes[0]).await;
    assert_eq!(value(&mut other, "SELECT 1").await.as_deref(), Some("1"));
    other.close().await;
    test.lab.down("b").await.unwrap();
}
