//! What was seen of one node, once: the input of planning.
//!
//! `state` is what steps are derived from, and what the digest covers; `measured` differs each
//! time and only feeds preflight. Passwords never get here: only whether the one in the secret file matches.

use std::collections::BTreeMap;
use std::path::PathBuf;

use facts::{
    CertificateFacts, DiskMeasure, FileFacts, HostFacts, PackageFacts, Seen, ServerFacts, ServiceFacts,
};
use flavor::Flavor;
use serde::Serialize;
use spec::ServiceManager;

/// What was seen of one node.
#[derive(Clone, Debug, Serialize)]
pub struct Observation {
    /// The node's name in the spec.
    pub node: String,
    /// When it was taken.
    pub taken_at: jiff::Timestamp,
    /// What steps are derived from.
    pub state: State,
    /// What was measured.
    pub measured: Measured,
}

/// The part of an observation that steps are derived from.
#[derive(Clone, Debug, Serialize)]
pub struct State {
    /// The host.
    pub host: HostFacts,
    /// Packages the spec names, or the default ones.
    pub packages: Vec<PackageFacts>,
    /// Who starts the server here: the spec's manager with `auto` resolved.
    pub service_manager: ServiceManager,
    /// The service.
    pub service: Seen<ServiceFacts>,
    /// Mainstay runs as the OS's root here.
    pub run_as_root: bool,
    /// The server's program as installed, from `--version` or the package's candidate; what a plan is made for
    /// when the server does not run yet.
    pub installed_flavor: Seen<Flavor>,
    /// The data directory holds a server's data; matters when no server runs.
    pub data_dir_in_use: Seen<bool>,
    /// The agents' mark ([`crate::CLUSTER_FILE`]) is in the data directory: its agent starts and ends this server.
    pub kept_by_agent: bool,
    /// The running server; absent when none runs, unknown when it could not be asked.
    pub server: Seen<ServerFacts>,
    /// Where the drop-in goes.
    pub config_path: PathBuf,
    /// The drop-in's content.
    pub config_content: Seen<String>,
    /// Certificates and keys in the TLS folder; `None` when the spec has no TLS.
    pub tls: Option<TlsFiles>,
    /// Secret files the spec names.
    pub secrets: BTreeMap<PathBuf, SecretSeen>,
    /// For each managed account that exists (`user@host`): whether the password in its file is the server's.
    pub passwords: BTreeMap<String, PasswordMatch>,
    /// Mainstay's nftables table as `nft -s list table` prints it; `None` when the spec has no firewall.
    pub firewall: Option<Seen<String>>,
    /// CloudStack's part; `None` when the spec has none.
    pub cloudstack: Option<CloudStackSeen>,
}

/// Certificates and keys in the TLS folder.
#[derive(Clone, Debug, Serialize)]
pub struct TlsFiles {
    /// `ca.pem`.
    pub ca: Seen<CertificateFacts>,
    /// `ca-key.pem`, only on the node that signs.
    pub ca_key: Seen<FileFacts>,
    /// `server-cert.pem` with `server-key.pem`.
    pub server: Seen<CertificateFacts>,
    /// `client-cert.pem` with `client-key.pem`.
    pub client: Seen<CertificateFacts>,
    /// `server-key.pem` as a file.
    pub server_key: Seen<FileFacts>,
    /// A server certificate was issued, and the server has not read it since.
    pub unread: bool,
}

/// A secret file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretSeen {
    /// It holds a usable secret.
    Present,
    /// There is none.
    Absent,
    /// It is there but must not or cannot be used; why.
    Unusable(String),
}

/// Whether the password in an account's secret file is the one the server checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PasswordMatch {
    /// It is.
    Same,
    /// It is not.
    Differs,
    /// The server stores it in a way that cannot be checked from here.
    Unknown,
}

/// CloudStack's part of an observation.
#[derive(Clone, Debug, Serialize)]
pub struct CloudStackSeen {
    /// Mainstay's own mark of a schema load on this server.
    pub load: Seen<LoadMark>,
    /// Newest row of `cloud.version`: the version, and whether its step is `Complete`.
    pub version: Seen<(String, bool)>,
    /// Setup files found in `schema_dir` with their SHA-256, or why they cannot be used.
    pub schema_files: Seen<Vec<(String, String)>>,
    /// What in `db.properties` differs; empty when nothing does.
    pub properties: Seen<Vec<PropertyChange>>,
    /// Sentences about traps in `db.properties` that Mainstay does not change by itself.
    pub property_warnings: Vec<String>,
    /// Sentences about rows of management servers that are dead or would block an upgrade.
    pub management_servers: Vec<String>,
    /// The key file holds the management key; `None` when the encryption type needs no file.
    pub key_file: Option<Seen<bool>>,
    /// `maxActive` of the pools in `db.properties`: cloud and usage.
    pub pools: Seen<(u32, u32)>,
}

/// Mainstay's mark of a schema load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LoadMark {
    /// Every file was loaded to its end.
    pub finished: bool,
    /// When it was begun or finished, as the server's clock had it.
    pub at: String,
}

/// One property that differs; secrets are masked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PropertyChange {
    /// The key.
    pub key: String,
    /// What the file has, masked; `None` when the key is not there.
    pub found: Option<String>,
    /// What it should have, masked.
    pub wanted: String,
}

/// What was measured; never a reason for a step.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// The data directory's disk.
    pub disk: Seen<DiskMeasure>,
    /// Round trips to the preflight peers, median in microseconds.
    pub round_trips_us: Vec<(String, Seen<u64>)>,
    /// Another process than the server listens on the node's port: its name.
    pub port_taken_by: Seen<String>,
}

impl Observation {
    /// The flavor to plan for: the running server's, else the installed or candidate package's.
    #[must_use]
    pub fn flavor(&self) -> Option<Flavor> {
        match &self.state.server {
            Seen::Known(server) => Some(server.flavor),
            Seen::Unknown(_) | Seen::Absent => self.state.installed_flavor.known().copied(),
        }
    }
}
