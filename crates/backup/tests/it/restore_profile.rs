//! What a control plane needs after a restore: management servers that were up when the backup was taken are down after.

use std::path::{Path, PathBuf};

use backup::create::CreateOptions;
use backup::restore::{Profile, RestoreOptions, Selection};

use crate::harness::{Bench, run, value, vendors};
use crate::restore::{all, load, load_all, options};

/// `mshost` with the columns that CloudStack 4.23 has.
const MSHOST: &str = "CREATE TABLE `mshost` (`id` bigint unsigned NOT NULL AUTO_INCREMENT, `msid` bigint unsigned NOT NULL, \
    `runid` bigint NOT NULL DEFAULT 0, `name` varchar(255) DEFAULT NULL, `uuid` varchar(40) DEFAULT NULL, \
    `state` varchar(25) DEFAULT NULL, `version` varchar(255) DEFAULT NULL, `service_ip` char(40) NOT NULL, \
    `service_port` int NOT NULL, `last_update` datetime DEFAULT NULL, `removed` datetime DEFAULT NULL, \
    `alert_count` int NOT NULL DEFAULT 0, PRIMARY KEY (`id`), UNIQUE KEY `msid` (`msid`), KEY `removed` (`removed`)) \
    ENGINE=InnoDB DEFAULT CHARSET=utf8mb3";
const ROWS: &str = "INSERT INTO `mshost` VALUES \
    (1,101,1,'ms1','u1','Up','4.23.0.0','10.0.0.1',9090,'2026-11-21 01:00:00',NULL,0),\n\
    (2,102,1,'ms2','u2','Up','4.23.0.0','10.0.0.2',9090,'2026-11-21 01:00:01',NULL,0),\n\
    (3,103,1,'ms3','u3','Down','4.22.0.0','10.0.0.3',9090,'2026-10-01 00:00:00','2026-10-02 00:00:00',1)";
const STATES: &str = "SELECT GROUP_CONCAT(state ORDER BY id) FROM cloud.mshost";

/// A dump in which, after the management servers, another table's rows come in two pieces.
fn dump(folder: &Path, last: &str) -> PathBuf {
    let text = format!(
        "-- MySQL dump 10.13\n/*!40101 SET NAMES utf8mb4 */;\nCREATE DATABASE `cloud`;\nUSE `cloud`;\n{MSHOST};\n{ROWS};\n\
         CREATE TABLE `version` (`id` int NOT NULL, PRIMARY KEY (`id`)) ENGINE=InnoDB;\n\
         INSERT INTO `version` VALUES (1),(2);\nCOMMIT;\nINSERT INTO `version` VALUES (3),({last});\n-- Dump completed on x\n"
    );
    let path = folder.join("cloud.sql");
    let mut file = std::fs::File::create(&path).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    path
}

fn cloud() -> RestoreOptions {
    RestoreOptions { profile: Profile::CloudStack, threads: 1, ..options() }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_management_servers_are_down_after_a_restore() {
    for vendor in vendors().await {
        let bench = Bench::with(vendor, &["local-infile = ON"]).await;
        let mut connection = bench.connect().await;
        let path = dump(bench.folder.path(), "4");
        assert_eq!(load_all(&bench, &path, &options()).await.profile, Vec::<String>::new());
        assert_eq!(value(&mut connection, STATES).await, "Up,Up,Down", "{vendor}: without the profile");
        run(&mut connection, &["DROP DATABASE cloud"]).await;

        // The key that is there twice ends it after the management servers were loaded.
        let broken = dump(bench.folder.path(), "1");
        load(&bench, &broken, Selection::default(), &cloud()).await.unwrap_err();
        assert_eq!(value(&mut connection, STATES).await, "Up,Up,Down", "{vendor}: half a restore");
        let path = dump(bench.folder.path(), "4");
        let done = load_all(&bench, &path, &cloud()).await;
        assert!(done.resumed, "{vendor}: {done:?}");
        assert_eq!(done.profile, ["2 management servers in cloud.mshost marked as Down"], "{vendor}");
        assert_eq!(value(&mut connection, STATES).await, "Down,Down,Down", "{vendor}");
        let kept = "SELECT GROUP_CONCAT(name, version, last_update, IFNULL(removed, '-') ORDER BY id) FROM cloud.mshost";
        assert_eq!(
            value(&mut connection, kept).await,
            "ms14.23.0.02026-11-21 01:00:00-,ms24.23.0.02026-11-21 01:00:01-,ms34.22.0.02026-10-01 00:00:002026-10-02 00:00:00",
            "{vendor}: nothing else is changed"
        );
        drop(connection);
        bench.down().await;
    }
}

/// Of a backup with sums the rows are compared before they are changed, and not once more by the run that goes on.
#[tokio::test(flavor = "multi_thread")]
async fn real_a_restore_that_stopped_while_marking_servers_goes_on() {
    for vendor in vendors().await {
        let bench = Bench::logging(vendor, &["local-infile = ON"]).await;
        let mut connection = bench.connect().await;
        for database in ["cloud", "later"] {
            let (create, use_it) = (format!("CREATE DATABASE {database}"), format!("USE {database}"));
            run(&mut connection, &[&create, &use_it, MSHOST, ROWS]).await;
        }
        // Refuses what is done for the second database, once the first is done.
        let refusing = "ALTER TABLE later.mshost ADD CONSTRAINT stays CHECK (msid > 102 OR state <> 'Down')";
        run(&mut connection, &[refusing]).await;
        let manifest = bench.create(&CreateOptions::new("cloud")).await.unwrap();
        let folder = bench.place_path().join(&manifest.id);
        run(&mut connection, &["DROP DATABASE cloud", "DROP DATABASE later"]).await;

        let error = load(&bench, &folder, Selection::default(), &cloud()).await.unwrap_err();
        assert!(error.to_string().contains("marking management servers"), "{vendor}: {error}");
        assert_eq!(value(&mut connection, STATES).await, "Down,Down,Down", "{vendor}: the first is done");
        run(&mut connection, &["ALTER TABLE later.mshost DROP CONSTRAINT stays"]).await;
        let done = load_all(&bench, &folder, &cloud()).await;
        assert!(done.resumed && done.tables_verified == 2, "{vendor}: {done:?}");
        let states = all(&mut connection, "SELECT DISTINCT state FROM later.mshost").await;
        assert_eq!(states, [["Down"]], "{vendor}");
        drop(connection);
        bench.down().await;
    }
}
