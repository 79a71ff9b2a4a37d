//! Configuration that other programs work with: a proxy, a floating address, units of the service manager.
//!
//! Text comes out; nothing is written, installed or reloaded here. The same spec gives the same text, byte for byte.

mod backup_units;
mod haproxy;
mod keepalived;
mod pacemaker;
mod systemd;

use std::path::{Path, PathBuf};

use spec::{FloatingAddress, Ha, OutsideKeeper, Spec};
use thiserror::Error;

pub use haproxy::haproxy;
pub use keepalived::keepalived;
pub use pacemaker::pacemaker;
pub use systemd::{START_PERMIT, systemd};

/// Why a spec has no such configuration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TrafficError {
    /// Everything here follows the agents.
    #[error("the spec has no [ha]: without agents there is nothing to follow")]
    NoAgents,
    /// A name that is nobody's.
    #[error("the spec has no node and no witness named {0}")]
    NoMember(String),
    /// A witness has no database to send clients to.
    #[error("{0} is a witness: it has no database, and so no floating address")]
    Witness(String),
    /// There is no address that this keeper is to move.
    #[error(
        "the spec has no [ha.address] with keeper = \"{0}\": the agents move the address themselves unless it says so"
    )]
    NotTheKeeper(&'static str),
    /// VRRP speaks about addresses of the family that it speaks over.
    #[error("the floating address {address} and node {node} are not of one family")]
    Families {
        /// The floating address.
        address: std::net::IpAddr,
        /// Name of the node.
        node: String,
    },
    /// The file formats have no quoting that both sides read alike.
    #[error("{} cannot be written into that configuration: it holds blanks, quotes or the like", .0.display())]
    Unquotable(PathBuf),
}

/// Where Mainstay is on the hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The program, absolute.
    pub program: PathBuf,
    /// The spec, absolute.
    pub spec_file: PathBuf,
}

impl Default for Installed {
    /// Where packages put them.
    fn default() -> Self {
        Self { program: "/usr/bin/mainstay".into(), spec_file: "/etc/mainstay/mainstay.toml".into() }
    }
}

/// One file of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedFile {
    /// Where it belongs, absolute.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

fn agents(spec: &Spec) -> Result<&Ha, TrafficError> {
    spec.ha.as_ref().ok_or(TrafficError::NoAgents)
}

/// The address that this keeper is to move.
fn kept_by(ha: &Ha, keeper: OutsideKeeper) -> Result<&FloatingAddress, TrafficError> {
    let name = match keeper {
        OutsideKeeper::Keepalived => "keepalived",
        OutsideKeeper::Pacemaker => "pacemaker",
    };
    let outside = ha.outside_address.as_ref().filter(|outside| outside.keeper == keeper);
    outside.map(|outside| &outside.address).ok_or(TrafficError::NotTheKeeper(name))
}

/// The first lines of a file: what made it, and that it is made again whole.
fn header(spec: &Spec, what: &str, command: &str) -> String {
    format!(
        "# {what} for cluster {}. Written by `{command}`.\n# Edit mainstay.toml and write it again: changes made here are lost.\n",
        spec.cluster.name
    )
}

/// A path as a word that systemd, keepalived and a shell read alike.
fn word(path: &Path) -> Result<&str, TrafficError> {
    path.to_str()
        .filter(|text| text.chars().all(|c| c.is_ascii_alphanumeric() || "/-_.+@:,".contains(c)))
        .ok_or_else(|| TrafficError::Unquotable(path.to_path_buf()))
}
