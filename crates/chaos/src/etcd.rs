//! The store: one etcd member on each database host. What is kept there is not looked at.

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context as _, Result};
use host::files::{Ownership, ensure_dir};

use crate::daemon::Daemon;
use crate::hosts::Host;

/// Port for clients.
const CLIENT_PORT: u16 = 2379;
/// Port for the other members.
const PEER_PORT: u16 = 2380;

/// An etcd cluster without authentication: its members hear only the run's own hosts.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<Daemon>,
}

impl Etcd {
    /// Starts a member on each host.
    ///
    /// # Errors
    /// If etcd is not installed or a folder cannot be made.
    pub fn start(hosts: &[Host], folder: &Path) -> Result<Self> {
        let program = host::command::find_program("etcd").context("etcd is not installed")?;
        let peers: Vec<String> =
            hosts.iter().map(|host| format!("{}={}", host.name, url(host.address, PEER_PORT))).collect();
        let mut members = Vec::new();
        for host in hosts {
            let own = folder.join(&host.name);
            ensure_dir(&own, &Ownership::mode(0o700))?;
            let client = url(host.address, CLIENT_PORT);
            let peer = url(host.address, PEER_PORT);
            let words = [
                program.display().to_string(),
                format!("--name={}", host.name),
                format!("--data-dir={}", own.join("etcd").display()),
                // As the documentation advises on a LAN: losing etcd's leader must not outlast a lease.
                "--heartbeat-interval=50".to_owned(),
                "--election-timeout=500".to_owned(),
                format!("--listen-client-urls={client},{}", url(Ipv4Addr::LOCALHOST, CLIENT_PORT)),
                format!("--advertise-client-urls={client}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster={}", peers.join(",")),
                "--initial-cluster-state=new".to_owned(),
            ];
            let member = Daemon::new(host, words.to_vec(), &own.join("etcd.log"));
            member.start()?;
            members.push(member);
        }
        Ok(Self { members })
    }

    /// Where clients reach the members.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| url(member.host().address, CLIENT_PORT)).collect()
    }

    /// Kills the members on these hosts.
    ///
    /// # Errors
    /// If one does not end.
    pub async fn kill(&self, hosts: &[Host]) -> Result<()> {
        for member in self.members.iter().filter(|member| hosts.contains(member.host())) {
            member.kill().await?;
        }
        Ok(())
    }

    /// Starts the members that are down, with the data they had.
    ///
    /// # Errors
    /// If one cannot be started.
    pub fn start_all(&self) -> Result<()> {
        self.members.iter().try_for_each(Daemon::start)
    }
}

fn url(address: Ipv4Addr, port: u16) -> String {
    format!("http://{address}:{port}")
}
