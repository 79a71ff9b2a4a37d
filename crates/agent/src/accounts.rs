//! Who may log in where: the account of each node, and how a replica logs in at its source.
//!
//! Texts of statements only; `database` sends them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use flavor::{Flavor, Source, SourceTls, Vendor};
use ha::NodeName;
use secrecy::ExposeSecret as _;
use server::Sql;

use crate::config::{Config, HEARTBEAT_MS};
use crate::error::AgentError;

pub(crate) fn quoted(literal: Result<String, sqltext::QuoteError>) -> Result<String, AgentError> {
    literal.map_err(|error| AgentError::Refused(error.to_string()))
}

/// The literals of a connection to a source.
pub(crate) struct SourceParts {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    host: String,
    user: String,
    password: secrecy::SecretString,
    ca: Option<String>,
    delay_seconds: u32,
}

impl SourceParts {
    pub(crate) fn new(config: &Config, primary: &NodeName) -> Result<Self, AgentError> {
        let node = config
            .spec
            .node(&primary.0)
            .ok_or_else(|| AgentError::Refused(format!("the spec has no node {primary}")))?;
        let ca = match &config.spec.tls {
            Some(tls) => Some(quoted(sqltext::quote_string(&tls.dir.join("ca.pem").to_string_lossy()))?),
            None => None,
        };
        let password = config.replication_password()?;
        Ok(Self {
            address: node.address,
            port: node.port,
            host: quoted(sqltext::quote_string(&node.address.to_string()))?,
            user: quoted(sqltext::quote_string(&plan::agent_account(&config.me.0)))?,
            password: quoted(sqltext::quote_string(password.expose_secret()))?.into(),
            ca,
            delay_seconds: config.tags().delay_seconds,
        })
    }

    pub(crate) fn source(&self) -> Source<'_> {
        Source {
            host: &self.host,
            port: self.port,
            user: &self.user,
            password: self.password.expose_secret(),
            tls: self.ca.as_ref().map_or(SourceTls::Off, |ca_file| SourceTls::Verified { ca_file }),
            heartbeat_ms: HEARTBEAT_MS,
            connect_retry_seconds: 1,
            delay_seconds: self.delay_seconds,
        }
    }
}

/// The statement that points this server at a primary, and how it is shown.
pub(crate) fn change_source(
    config: &Config,
    primary: &NodeName,
    flavor: Flavor,
) -> Result<(String, String), AgentError> {
    let parts = SourceParts::new(config, primary)?;
    Ok((flavor.statements().change_source(&parts.source()), format!("CHANGE SOURCE TO {primary} ...")))
}

/// A digest of that statement, to notice when it would be another.
pub(crate) fn source_digest(
    config: &Config,
    primary: &NodeName,
    flavor: Flavor,
) -> Result<String, AgentError> {
    let (statement, _) = change_source(config, primary, flavor)?;
    Ok(host::files::sha256_hex(statement.as_bytes()))
}

pub(crate) fn account(config: &Config, node: &NodeName) -> Result<String, AgentError> {
    let address = config.hosts.get(node).map(|address| account_host(*address)).unwrap_or_default();
    quoted(sqltext::quote_account(&plan::agent_account(&node.0), &address))
}

/// On one host, connections to any loopback address come from the first.
fn account_host(address: IpAddr) -> String {
    if address.is_loopback() { "127.0.0.1".to_owned() } else { address.to_string() }
}

/// The accounts of the other nodes that are not there yet, each from its own address only.
pub(crate) fn accounts(
    config: &Config,
    flavor: Flavor,
    there: &BTreeSet<&str>,
    admit: &BTreeSet<NodeName>,
) -> Result<Vec<Sql>, AgentError> {
    let password = config.replication_password()?;
    let password = quoted(sqltext::quote_string(password.expose_secret()))?;
    let require = if config.spec.tls.is_some() { "REQUIRE SSL" } else { "REQUIRE NONE" };
    let privileges = match flavor.vendor {
        // Cloning needs BACKUP_ADMIN at the donor.
        Vendor::MySql => "REPLICATION SLAVE, BACKUP_ADMIN",
        Vendor::MariaDb => "REPLICATION SLAVE",
    };
    let mut statements = Vec::new();
    for node in config.policy.nodes.iter().filter(|node| **node != config.me) {
        if there.contains(plan::agent_account(&node.0).as_str()) {
            continue;
        }
        let account = account(config, node)?;
        let lock = if admit.contains(node) { "ACCOUNT UNLOCK" } else { "ACCOUNT LOCK" };
        let create = format!("CREATE USER {account} IDENTIFIED BY {password} {require} {lock}");
        statements.push(Sql::secret(create, format!("CREATE USER {account} ...")));
        statements.push(Sql::plain(format!("GRANT {privileges} ON *.* TO {account}")));
    }
    Ok(statements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_addresses_are_one_host() {
        assert_eq!(account_host("127.0.0.3".parse().unwrap()), "127.0.0.1");
        assert_eq!(account_host("10.0.0.3".parse().unwrap()), "10.0.0.3");
    }
}
