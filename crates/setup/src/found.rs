//! What `mainstay init` finds on a host to fill a spec with.

use std::net::IpAddr;
use std::path::PathBuf;

use flavor::Vendor;
use server::ServerProgram;
use spec::Found;

use crate::error::SetupError;

/// Where a management server's package puts its setup scripts, and its configuration.
const SCHEMA_DIR: &str = "/usr/share/cloudstack-management/setup";
const PROPERTIES: &str = "/etc/cloudstack/management/db.properties";

/// Looks at this host.
///
/// # Errors
/// When its own facts cannot be read.
pub async fn find_host() -> Result<Found, SetupError> {
    let host = host::facts::collect().await?;
    let mut installed = None;
    for vendor in [Vendor::MariaDb, Vendor::MySql] {
        if let Ok(program) = ServerProgram::find(None, vendor).await {
            installed = Some((vendor, program.flavor().to_string()));
            break;
        }
    }
    let address = host.addresses.iter().copied().find(|address| outward(*address));
    let there = |path: &str| Some(PathBuf::from(path)).filter(|path| path.exists());
    Ok(Found {
        hostname: host.hostname,
        address,
        vendor: installed.as_ref().map_or(Vendor::MariaDb, |(vendor, _)| *vendor),
        installed: installed.map(|(_, version)| version),
        port: 3306,
        socket: PathBuf::from("/run/mysqld/mysqld.sock"),
        data_dir: PathBuf::from("/var/lib/mysql"),
        memory_bytes: host.memory_bytes,
        cpus: host.cpus,
        network: address.and_then(network_of),
        cloudstack_schema_dir: there(SCHEMA_DIR),
        properties_file: there(PROPERTIES),
    })
}

/// An address that other hosts may know this one by.
fn outward(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local() && !v4.is_unspecified(),
        IpAddr::V6(_) => false,
    }
}

/// A guess at the network clients are in: the 256 addresses around this host's.
fn network_of(address: IpAddr) -> Option<ipnet::IpNet> {
    Some(ipnet::IpNet::new(address, 24).ok()?.trunc())
}
