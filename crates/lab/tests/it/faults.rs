//! What a lab does after kills, pauses, crashes of its own and refused starts.

use flavor::Vendor;
use lab::{LabError, ProcessStatus, Topology};
use server::ServerProcess;

use crate::support::{TestLab, chain, root, run, server_root, up, value};

async fn process_status(test: &TestLab, name: &str) -> ProcessStatus {
    test.lab.status(name).await.unwrap()[0].process
}

#[tokio::test]
async fn a_node_is_killed_started_paused_and_stopped() {
    let test = TestLab::new();
    let Some(cluster) =
        up(&test, "one", Topology::Single, Vendor::MariaDb, |options| options.durable = true).await
    else {
        return;
    };
    let mut connection = root(&cluster.nodes[0]).await;
    run(&mut connection, "CREATE DATABASE kept").await;
    test.lab.kill("one", Some("node1")).await.unwrap();
    assert_eq!(process_status(&test, "one").await, ProcessStatus::Dead);
    test.lab.start("one", None).await.unwrap();
    let cluster = test.lab.cluster("one").unwrap();
    let mut connection = root(&cluster.nodes[0]).await;
    assert_eq!(value(&mut connection, "SHOW DATABASES LIKE 'kept'").await.as_deref(), Some("kept"));
    connection.close().await;

    test.lab.pause("one", None).await.unwrap();
    assert_eq!(process_status(&test, "one").await, ProcessStatus::Paused);
    test.lab.resume("one", None).await.unwrap();
    assert_eq!(process_status(&test, "one").await, ProcessStatus::Running);
    test.lab.pause("one", None).await.unwrap();
    test.lab.stop("one", Some("node1")).await.unwrap();
    assert_eq!(process_status(&test, "one").await, ProcessStatus::Stopped);
    assert!(matches!(test.lab.stop("one", Some("node9")).await, Err(LabError::NoNode { .. })));
    test.lab.down("one").await.unwrap();
}

#[tokio::test]
async fn down_works_without_the_state() {
    let test = TestLab::new();
    let Some(cluster) = up(&test, "lost", Topology::Single, Vendor::MariaDb, |_| {}).await else { return };
    // As after a crash of `up` between the start of a server and the record of it.
    std::fs::remove_file(cluster.folder.join("state.json")).unwrap();
    assert!(matches!(test.lab.cluster("lost"), Err(LabError::NoCluster { .. })));
    assert_eq!(ServerProcess::find_all(&cluster.folder).unwrap().len(), 1);
    test.lab.down("lost").await.unwrap();
    assert_eq!(ServerProcess::find_all(&cluster.folder).unwrap(), []);
    assert!(!cluster.folder.exists());
}

#[tokio::test]
async fn a_failed_up_says_why_and_leaves_nothing() {
    let test = TestLab::new();
    let Some(server_root) = server_root(Vendor::MariaDb).await else { return };
    let mut options = lab::UpOptions::new("bad", Topology::Single, Vendor::MariaDb);
    options.server_root = server_root;
    options.extra_config = vec!["no-such-option = 1".to_owned()];
    let error = test.lab.up(&options).await.unwrap_err();
    assert!(chain(&error).contains("no-such-option"), "{}", chain(&error));
    assert!(test.lab.list().unwrap().is_empty() && !test.lab.root().join("clusters/bad").exists());

    options.keep_on_failure = true;
    let error = test.lab.up(&options).await.unwrap_err();
    let LabError::NodeDied { log, .. } = &error else { panic!("{error}") };
    assert!(log.is_file());
    assert!(matches!(test.lab.up(&options).await, Err(LabError::NameTaken { .. })));
    test.lab.down("bad").await.unwrap();
    assert!(!log.exists());
}

#[tokio::test]
async fn long_paths_get_short_sockets_that_vanish_too() {
    let outer = TestLab::new();
    let deep = outer.path().join("d".repeat(60)).join("e".repeat(60));
    let lab = lab::Lab::open(&deep).unwrap();
    let Some(server_root) = server_root(Vendor::MariaDb).await else { return };
    let mut options = lab::UpOptions::new("deep", Topology::Single, Vendor::MariaDb);
    options.server_root = server_root;
    let cluster = lab.up(&options).await.unwrap_or_else(|error| panic!("{}", chain(&error)));
    let sockets = cluster.socket_folder.clone().expect("too long a path for a socket");
    assert!(cluster.nodes[0].socket.starts_with(&sockets) && sockets.is_dir());
    root(&cluster.nodes[0]).await.close().await;
    lab.down("deep").await.unwrap();
    assert!(!sockets.exists());
}

#[tokio::test]
async fn a_missing_server_is_named_with_where_it_was_sought() {
    let test = TestLab::new();
    let mut options = lab::UpOptions::new("none", Topology::Single, Vendor::MySql);
    options.server_root = Some(test.path().join("empty-tree"));
    let error = test.lab.up(&options).await.unwrap_err();
    assert!(chain(&error).contains("empty-tree/usr/sbin"), "{}", chain(&error));
    assert!(error.hint().unwrap().contains("--server-root"));
}
