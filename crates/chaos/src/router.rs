//! MySQL Router on the client's host, in front of a group, as its own bootstrap configures it.
//!
//! It also makes the part of the InnoDB Cluster metadata that Router reads, which otherwise MySQL Shell makes;
//! Debian has no MySQL Shell.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use host::process::ProcessId;

use crate::hosts::Host;

/// Port of the read-write endpoint that bootstrapping chooses.
pub const PORT: u16 = 6446;

/// The account Router is bootstrapped with.
const ACCOUNT: &str = "routersetup";

const BOOTSTRAP_LIMIT: Duration = Duration::from_secs(60);

const SCHEMA_NAME: &str = "mysql_innodb_cluster_metadata";

/// Tables and views that Router asks, by the names and columns it asks for.
const METADATA: [&str; 13] = [
    "CREATE DATABASE mysql_innodb_cluster_metadata",
    "CREATE TABLE {m}.schema_version (major INT, minor INT, patch INT, PRIMARY KEY (major, minor, patch))",
    "CREATE TABLE {m}.clusters (cluster_id CHAR(36) PRIMARY KEY, cluster_name VARCHAR(63), \
     group_name CHAR(36), cluster_type VARCHAR(8), router_options JSON)",
    "CREATE TABLE {m}.v2_instances (instance_id INT PRIMARY KEY, cluster_id CHAR(36), label VARCHAR(255), \
     mysql_server_uuid CHAR(36), address VARCHAR(255), endpoint VARCHAR(255), xendpoint VARCHAR(255), \
     attributes JSON)",
    "CREATE TABLE {m}.routers (router_id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, router_name VARCHAR(255), \
     product_name VARCHAR(128), address VARCHAR(255), version VARCHAR(12), last_check_in TIMESTAMP NULL, \
     attributes JSON, cluster_id CHAR(36), options JSON, clusterset_id CHAR(36), UNIQUE (address, router_name))",
    "CREATE TABLE {m}.v2_cs_members (cluster_id CHAR(36) PRIMARY KEY, clusterset_id CHAR(36), \
     member_role VARCHAR(8), invalidated INT)",
    "CREATE TABLE {m}.v2_cs_clustersets (clusterset_id CHAR(36) PRIMARY KEY, view_id INT, domain_name VARCHAR(63))",
    "CREATE TABLE {m}.v2_router_rest_accounts (cluster_id CHAR(36), user VARCHAR(255), authentication_method \
     VARCHAR(64), authentication_string TEXT, privileges JSON, PRIMARY KEY (cluster_id, user))",
    "CREATE VIEW {m}.v2_routers AS SELECT * FROM {m}.routers",
    "CREATE VIEW {m}.v2_router_options AS SELECT router_id, cluster_id, clusterset_id, \
     CAST('{}' AS JSON) AS router_options FROM {m}.routers",
    "CREATE VIEW {m}.v2_clusters AS SELECT * FROM {m}.clusters",
    "CREATE VIEW {m}.v2_gr_clusters AS SELECT * FROM {m}.clusters",
    "CREATE VIEW {m}.v2_this_instance AS SELECT c.cluster_id, i.instance_id, c.cluster_name, c.cluster_type \
     FROM {m}.v2_instances i JOIN {m}.clusters c USING (cluster_id) \
     WHERE i.mysql_server_uuid = (SELECT variable_value FROM performance_schema.global_variables \
     WHERE variable_name = 'server_uuid')",
];

/// A member as the metadata names it.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its `server_uuid`.
    pub uuid: String,
    /// Its address.
    pub address: Ipv4Addr,
}

/// The statements that make the metadata and the account for bootstrapping, on the group's primary.
#[must_use]
pub fn metadata(group_name: &str, members: &[Member]) -> Vec<String> {
    let mut statements: Vec<String> =
        METADATA.iter().map(|statement| statement.replace("{m}", SCHEMA_NAME)).collect();
    statements.push(format!("INSERT INTO {SCHEMA_NAME}.schema_version VALUES (2, 2, 0)"));
    statements.push(format!(
        "INSERT INTO {SCHEMA_NAME}.clusters VALUES ('{group_name}', 'chaos', '{group_name}', 'gr', '{{}}')"
    ));
    for (id, Member { uuid, address }) in (1..).zip(members) {
        statements.push(format!(
            "INSERT INTO {SCHEMA_NAME}.v2_instances VALUES ({id}, '{group_name}', '{address}:3306', '{uuid}', \
             '{address}:3306', '{address}:3306', NULL, '{{}}')"
        ));
    }
    statements.push(format!("CREATE USER '{ACCOUNT}'@'%' IDENTIFIED BY ''"));
    statements.push(format!("GRANT ALL ON *.* TO '{ACCOUNT}'@'%' WITH GRANT OPTION"));
    statements
}

/// Where Router is: a tree that `scripts/mysql-router.sh` made, beside that of the server.
#[derive(Clone, Debug)]
pub struct RouterProgram {
    tree: PathBuf,
    launcher: Vec<String>,
}

impl RouterProgram {
    /// Finds it.
    ///
    /// # Errors
    /// If there is none.
    pub fn find(tree: &Path, server_tree: &Path) -> Result<Self> {
        let program = tree.join("usr/bin/mysqlrouter");
        ensure!(program.is_file(), "no {} (scripts/mysql-router.sh makes it)", program.display());
        let arch = std::env::consts::ARCH;
        let loader = format!("usr/lib64/ld-linux-{}.so.2", arch.replace('_', "-"));
        let loaders = [server_tree.join(loader), server_tree.join(format!("usr/lib/ld-linux-{arch}.so.1"))];
        let loader = loaders.iter().find(|path| path.is_file()).context("the server's tree has no loader")?;
        let libraries =
            [server_tree.join(format!("usr/lib/{arch}-linux-gnu")), tree.join("usr/lib/mysql-router")]
                .map(|path| path.display().to_string())
                .join(":");
        let launcher = vec![
            loader.display().to_string(),
            "--library-path".to_owned(),
            libraries,
            program.display().to_string(),
        ];
        Ok(Self { tree: tree.to_owned(), launcher })
    }

    /// Bootstraps it from the group's primary and starts it.
    ///
    /// # Errors
    /// If Router refuses.
    pub async fn start(&self, host: &Host, folder: &Path, primary: Ipv4Addr) -> Result<ProcessId> {
        let folder = folder.join("router");
        let plugins = self.tree.join("usr/lib/mysqlrouter/plugin");
        let options = [
            "--bootstrap".to_owned(),
            format!("{ACCOUNT}@{primary}:3306"),
            "--directory".to_owned(),
            folder.display().to_string(),
            "--user=root".to_owned(),
            "--report-host=client".to_owned(),
            "--conf-bind-address=127.0.0.1".to_owned(),
            "--disable-rest".to_owned(),
            "--account-host=%".to_owned(),
            format!("--conf-set-option=DEFAULT.plugin_folder={}", plugins.display()),
        ];
        let bootstrap = host.command(&[self.launcher.clone(), options.to_vec()].concat())?;
        // It asks for the account's password.
        bootstrap.stdin("\n").timeout(BOOTSTRAP_LIMIT).run().await?;
        let file = folder.join("mysqlrouter.conf").display().to_string();
        let run =
            [self.launcher.clone(), vec!["--config".to_owned(), file, "--user=root".to_owned()]].concat();
        Ok(host.command(&run)?.start_detached(&folder.join("output.log"))?)
    }
}
