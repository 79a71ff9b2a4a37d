//! Looking at a node: one pass over host, files and server, into one immutable observation.
//!
//! What cannot be seen becomes unknown with its reason and never stops the look. Nothing is changed, except that
//! measuring the disk writes and removes a temporary file when asked.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use facts::{AccountFacts, HostFacts, PackageFacts, Seen, ServerFacts};
use flavor::Flavor;
use host::firewall::Nftables;
use host::packages::Packages;
use host::{disk, files, net, pki, secrets};
use plan::{Measured, Observation, PasswordMatch, SecretSeen, State, TlsFiles, WantedAccount};
use server::{Connection, Limits, ServerError, ServerProgram};
use spec::{Node, Spec};

use crate::cloudstack_files;
use crate::error::SetupError;
use crate::login::admin_target;
use crate::service::Driver;

/// How to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observe {
    /// Measure disk and network too; takes some seconds.
    pub measure: bool,
}

/// An option file of Mainstay's is some 10 KiB.
const CONFIG_BYTES_MAX: usize = 1 << 20;
const DISK_BUDGET: Duration = Duration::from_secs(2);
const ROUND_TRIPS: u32 = 5;
const ROUND_TRIP_LIMIT: Duration = Duration::from_secs(1);
/// In the state folder from before a server certificate is issued until the server has read it. A server tells its
/// certificate's dates to TLS connections only (MariaDB), and apply comes over the socket.
pub(crate) const CERTIFICATE_UNREAD: &str = "certificate-unread";
/// What a peer is asked at when the spec names no port: a closed port answers too.
const PEER_PORT: u16 = 22;

/// Looks at `node`.
///
/// # Errors
/// When not even the host's own facts can be read.
pub async fn observe(spec: &Spec, node: &Node, how: &Observe) -> Result<Observation, SetupError> {
    let host = host::facts::collect().await?;
    let driver = Driver::resolve(spec, node);
    let mut connection = connect(spec, node).await;
    let server = match &mut connection {
        Ok(connection) => Seen::from_result(server::collect(connection).await),
        Err(ServerError::NoSocket { .. } | ServerError::ConnectRefused { .. }) => Seen::Absent,
        Err(error) => Seen::Unknown(error.to_string()),
    };
    let packages = packages(spec, &host).await;
    let installed_flavor = installed_flavor(spec, &server, &packages).await;
    let flavor = server.known().map(|server| server.flavor).or_else(|| installed_flavor.known().copied());
    let wanted = flavor.and_then(|flavor| plan::wanted_accounts(spec, flavor).ok()).unwrap_or_default();
    let secrets = secret_files(spec, &wanted);
    let cloudstack = match &spec.cloudstack {
        Some(cloudstack) => {
            Some(cloudstack_files::observe(spec, cloudstack, node, connection.as_mut().ok()).await)
        }
        None => None,
    };
    let config_path =
        spec.config.file.clone().unwrap_or_else(|| plan::default_config_file(spec.cluster.server, &host));
    let state = State {
        service_manager: driver.manager(),
        service: driver.facts(connection.is_ok()).await,
        run_as_root: host::users::is_root(),
        data_dir_in_use: data_dir_in_use(&node.data_dir),
        kept_by_agent: spec.ha.is_some() && node.data_dir.join(plan::CLUSTER_FILE).exists(),
        passwords: passwords(&server, &wanted),
        firewall: match spec.firewall {
            Some(_) => Some(Nftables::default().current_table().await),
            None => None,
        },
        tls: spec.tls.as_ref().map(|tls| tls_files(&tls.dir, &spec.paths.state)),
        config_content: config_content(&config_path),
        host,
        packages,
        installed_flavor,
        server,
        config_path,
        secrets,
        cloudstack,
    };
    if let Ok(connection) = connection {
        connection.close().await;
    }
    let measured = measure(spec, node, how, &state).await;
    Ok(Observation { node: node.name.clone(), taken_at: jiff::Timestamp::now(), state, measured })
}

async fn connect(spec: &Spec, node: &Node) -> Result<Connection, ServerError> {
    let target = admin_target(spec, node).map_err(|error| ServerError::Other(error.to_string()))?;
    Connection::open(&target, &Limits::default()).await
}

async fn packages(spec: &Spec, host: &HostFacts) -> Vec<PackageFacts> {
    let Seen::Known(manager) = host.package_manager else { return Vec::new() };
    if !spec.package.install {
        return Vec::new();
    }
    let names = plan::wanted_packages(spec, manager);
    match Packages::for_manager(manager).facts(&names).await {
        Ok(facts) => facts,
        Err(error) => names
            .into_iter()
            .map(|name| PackageFacts {
                name,
                installed: Seen::Unknown(error.to_string()),
                candidate: Seen::Unknown(error.to_string()),
            })
            .collect(),
    }
}

/// What is installed, or would be: only asked for while no server answers.
async fn installed_flavor(
    spec: &Spec,
    server: &Seen<ServerFacts>,
    packages: &[PackageFacts],
) -> Seen<Flavor> {
    if server.known().is_some() {
        return Seen::Absent;
    }
    if !spec.service.command.is_empty() {
        return Seen::from_result(ServerProgram::flavor_of(&spec.service.command).await);
    }
    if let Ok(program) = ServerProgram::find(None, spec.cluster.server).await {
        return Seen::Known(program.flavor());
    }
    let Some(package) = packages.first() else { return Seen::Absent };
    match &package.candidate {
        Seen::Known(version) => Seen::from_result(Flavor::from_package(spec.cluster.server, version)),
        Seen::Unknown(why) => Seen::Unknown(why.clone()),
        Seen::Absent => Seen::Unknown(format!("no repository of this host has {}", package.name)),
    }
}

fn secret_files(spec: &Spec, wanted: &[WantedAccount]) -> BTreeMap<PathBuf, SecretSeen> {
    let accounts = wanted.iter().map(|account| account.password_file.clone());
    let keys = spec.cloudstack.iter().filter_map(|cloudstack| cloudstack.properties.as_ref()).flat_map(
        |properties| [properties.management_key_file.clone(), properties.database_key_file.clone()],
    );
    accounts
        .chain(keys)
        .chain(plan::agent_secrets(spec))
        .map(|path| {
            let seen = match secrets::read(&path) {
                Ok(_) => SecretSeen::Present,
                Err(error) if error.is_missing() => SecretSeen::Absent,
                Err(error) => SecretSeen::Unusable(error.to_string()),
            };
            (path, seen)
        })
        .collect()
}

fn passwords(server: &Seen<ServerFacts>, wanted: &[WantedAccount]) -> BTreeMap<String, PasswordMatch> {
    let Seen::Known(ServerFacts { accounts: Seen::Known(found), .. }) = server else {
        return BTreeMap::new();
    };
    wanted
        .iter()
        .filter_map(|account| {
            let seen = found.iter().find(|seen| seen.user == account.user && seen.host == account.host)?;
            Some((format!("{}@{}", account.user, account.host), password_match(seen, &account.password_file)))
        })
        .collect()
}

fn password_match(seen: &AccountFacts, file: &Path) -> PasswordMatch {
    match secrets::read(file) {
        Ok(password) => plan::password::matches(&seen.plugin, seen.auth.expose(), &password),
        Err(_) => PasswordMatch::Unknown,
    }
}

fn data_dir_in_use(data_dir: &Path) -> Seen<bool> {
    match std::fs::read_dir(data_dir.join("mysql")) {
        Ok(_) => Seen::Known(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Seen::Known(false),
        Err(error) => Seen::Unknown(error.to_string()),
    }
}

fn tls_files(dir: &Path, state: &Path) -> TlsFiles {
    let ca = dir.join("ca.pem");
    let pair = |stem: &str| {
        pki::facts(&dir.join(format!("{stem}-cert.pem")), &dir.join(format!("{stem}-key.pem")), &ca)
    };
    TlsFiles {
        ca: pki::facts(&ca, &dir.join("ca-key.pem"), &ca),
        ca_key: files::facts(&dir.join("ca-key.pem")),
        server: pair("server"),
        client: pair("client"),
        server_key: files::facts(&dir.join("server-key.pem")),
        unread: state.join(CERTIFICATE_UNREAD).exists(),
    }
}

fn config_content(path: &Path) -> Seen<String> {
    match files::read_text(path, CONFIG_BYTES_MAX) {
        Ok(text) => Seen::Known(text),
        Err(error) if error.is_missing() => Seen::Absent,
        Err(error) => Seen::Unknown(error.to_string()),
    }
}

async fn measure(spec: &Spec, node: &Node, how: &Observe, state: &State) -> Measured {
    let running = state.server.known().is_some();
    let port_taken_by = if running { Seen::Absent } else { port_owner(node.port) };
    if !how.measure {
        return Measured { disk: Seen::Absent, round_trips_us: Vec::new(), port_taken_by };
    }
    let data_dir = node.data_dir.clone();
    let measure_disk = spec.preflight.measure_disk;
    let disk = tokio::task::spawn_blocking(move || {
        if measure_disk { disk::measure(&data_dir, DISK_BUDGET) } else { disk::look(&data_dir) }
    })
    .await;
    let mut round_trips_us = Vec::new();
    for peer in &spec.preflight.peers {
        round_trips_us.push((peer.clone(), round_trip(peer).await));
    }
    Measured {
        disk: match disk {
            Ok(result) => Seen::from_result(result),
            Err(error) => Seen::Unknown(error.to_string()),
        },
        round_trips_us,
        port_taken_by,
    }
}

fn port_owner(port: u16) -> Seen<String> {
    match net::port_owner(port) {
        Seen::Known(owner) => Seen::Known(owner.program.display().to_string()),
        Seen::Unknown(why) => Seen::Unknown(why),
        Seen::Absent => Seen::Absent,
    }
}

async fn round_trip(peer: &str) -> Seen<u64> {
    let named = peer.parse::<SocketAddr>().ok().map(|address| vec![address]);
    let name = peer.to_owned();
    let addresses = match named {
        Some(addresses) => addresses,
        None => {
            let resolved = tokio::task::spawn_blocking(move || {
                let with_port = (name.as_str(), PEER_PORT).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
                with_port.or_else(|_| name.to_socket_addrs().map(Iterator::collect::<Vec<_>>))
            })
            .await;
            match resolved {
                Ok(Ok(addresses)) => addresses,
                Ok(Err(error)) => return Seen::Unknown(error.to_string()),
                Err(error) => return Seen::Unknown(error.to_string()),
            }
        }
    };
    match addresses.first() {
        Some(address) => net::round_trip(*address, ROUND_TRIPS, ROUND_TRIP_LIMIT).await,
        None => Seen::Absent,
    }
}
