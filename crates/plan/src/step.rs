//! Plans, steps, and the actions they consist of.
//!
//! An [`Action`] says exactly what is done, with paths of secrets in place of secrets, so a plan can be
//! printed, stored and read by anyone.

use std::path::PathBuf;

use facts::PackageManager;
use flavor::Flavor;
use serde::{Deserialize, Serialize};

use crate::preflight::Check;

/// What the operator asked of this one plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Databases whose names the operator typed to have them destroyed and made anew.
    pub recreate: Vec<String>,
}

/// The ordered steps that bring one node to its spec, and what was found on the way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The cluster's name.
    pub cluster: String,
    /// The node's name.
    pub node: String,
    /// The server the plan is for, as a person writes it; `None` while it is not known.
    pub server: Option<String>,
    /// When the observation was taken.
    pub observed_at: jiff::Timestamp,
    /// Digest of the observation the plan was made from.
    pub observation: String,
    /// What the host must be able to do, each with its verdict.
    pub preflight: Vec<Check>,
    /// What to do, in order.
    pub steps: Vec<Step>,
    /// What differs and is not Mainstay's to change.
    pub findings: Vec<Finding>,
    /// What the reader should know and need not act on.
    pub notes: Vec<String>,
    /// Why a further plan follows this one; `None` when this one is all.
    pub continues: Option<String>,
}

impl Plan {
    /// The checks that forbid applying.
    pub fn stops(&self) -> impl Iterator<Item = &Check> {
        self.preflight.iter().filter(|check| check.verdict == crate::Verdict::Stop)
    }

    /// Whether anything differs from the spec.
    #[must_use]
    pub fn differs(&self) -> bool {
        !self.steps.is_empty() || self.findings.iter().any(|finding| finding.severity != Severity::Note)
    }
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Unique in the plan and stable between plans, such as `variable/max_connections`.
    pub id: String,
    /// What it does, imperative.
    pub title: String,
    /// Why.
    pub reason: String,
    /// Where the reason comes from.
    pub source: Option<String>,
    /// What can go wrong.
    pub risk: Risk,
    /// Whether the server is restarted.
    pub restarts: bool,
    /// Wanted against found.
    pub changes: Vec<Change>,
    /// What is done.
    pub action: Action,
}

/// What can go wrong with a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Risk {
    /// Nothing that runs notices.
    None,
    /// Clients may notice: new limits, refused logins.
    Clients,
    /// The database is away for some seconds.
    Downtime,
    /// Data is removed.
    DataLoss,
}

/// One value, found and wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What of.
    pub what: String,
    /// What was found; `None` when it was not there.
    pub found: Option<String>,
    /// What is wanted; `None` when it must go.
    pub wanted: Option<String>,
    /// Why, for one value among many; empty when the step says it.
    pub why: String,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Good to know; does not count as a difference.
    Note,
    /// Differs from the spec, and the operator must act.
    Differs,
    /// Planning cannot go on past this.
    Blocks,
}

/// Something that differs and is not Mainstay's to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable id, such as `account/unmanaged`.
    pub id: String,
    /// How much it matters.
    pub severity: Severity,
    /// What is true.
    pub sentence: String,
    /// The next command or edit.
    pub fix: String,
}

/// Whose certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateKind {
    /// `server-cert.pem`.
    Server,
    /// `client-cert.pem`.
    Client,
}

/// One setup file and the content the plan was made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaFile {
    /// File name inside the schema folder.
    pub name: String,
    /// SHA-256 in hex; apply refuses another content.
    pub sha256: String,
}

/// Exactly what a step does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Action {
    /// Install packages without starting services.
    InstallPackages {
        /// With which manager.
        manager: PackageManager,
        /// Which.
        names: Vec<String>,
    },
    /// Generate a secret into a new file.
    CreateSecret {
        /// The file.
        path: PathBuf,
    },
    /// Create the private CA.
    CreateCa {
        /// TLS folder.
        dir: PathBuf,
        /// Its common name.
        common_name: String,
        /// Life in days.
        days: u32,
    },
    /// Sign a certificate with the CA in the folder.
    IssueCertificate {
        /// TLS folder.
        dir: PathBuf,
        /// Whose.
        kind: CertificateKind,
        /// Its common name.
        common_name: String,
        /// DNS names and addresses.
        names: Vec<String>,
        /// Life in days.
        days: u32,
        /// Owner of the key file.
        owner: String,
    },
    /// Give the server's key to the user the server runs as.
    OwnKey {
        /// The file.
        path: PathBuf,
        /// Its owner to be.
        owner: String,
    },
    /// Have the running server read its certificates again.
    ReloadTls,
    /// Write the drop-in.
    WriteConfig {
        /// Where.
        path: PathBuf,
        /// Its whole content.
        content: String,
    },
    /// Start at boot.
    EnableService,
    /// Start a server that does not run, creating its data directory if it has none.
    StartService,
    /// Restart a running server.
    RestartService,
    /// Set a variable of the running server.
    SetGlobal {
        /// Its name.
        variable: String,
        /// The value as SQL text.
        value: String,
    },
    /// Remove a persisted variable that would override the drop-in.
    ResetPersist {
        /// Its name.
        variable: String,
    },
    /// Create an account.
    CreateAccount {
        /// User.
        user: String,
        /// Host part.
        host: String,
        /// Authentication plugin.
        plugin: String,
        /// Where its password is.
        password_file: PathBuf,
        /// `REQUIRE SSL`.
        require_tls: bool,
    },
    /// Set an account's password and plugin.
    SetPassword {
        /// User.
        user: String,
        /// Host part.
        host: String,
        /// Authentication plugin.
        plugin: String,
        /// Where the password is.
        password_file: PathBuf,
    },
    /// Change what an account must do to log in.
    AlterAccount {
        /// User.
        user: String,
        /// Host part.
        host: String,
        /// `REQUIRE SSL` or `REQUIRE NONE`; `None` leaves it.
        require_tls: Option<bool>,
        /// Unlock it.
        unlock: bool,
    },
    /// Have an account log in as the OS user of its name, over the socket, and no other way.
    SocketLogin {
        /// User.
        user: String,
        /// Host part.
        host: String,
    },
    /// Drop an account.
    DropAccount {
        /// User.
        user: String,
        /// Host part.
        host: String,
    },
    /// Grant privileges.
    Grant {
        /// User.
        user: String,
        /// Host part.
        host: String,
        /// Privilege names.
        privileges: Vec<String>,
        /// `None`: `*.*`; else that database's objects.
        database: Option<String>,
    },
    /// Revoke privileges.
    Revoke {
        /// User.
        user: String,
        /// Host part.
        host: String,
        /// The statement's middle: privileges and object as `SHOW GRANTS` has them, quoted.
        grant: String,
    },
    /// Create a database.
    CreateDatabase {
        /// Its name.
        name: String,
        /// Default character set.
        charset: String,
        /// Default collation.
        collation: String,
    },
    /// Drop a database and all in it.
    DropDatabase {
        /// Its name.
        name: String,
    },
    /// Run CloudStack's setup files in order.
    LoadSchema {
        /// Folder they are in.
        dir: PathBuf,
        /// The files, in order.
        files: Vec<SchemaFile>,
    },
    /// Write the management key file.
    WriteKeyFile {
        /// The file.
        path: PathBuf,
        /// Where the key is.
        key_from: PathBuf,
        /// Group that may read it.
        group: String,
    },
    /// Rewrite the named keys of `db.properties`.
    WriteProperties {
        /// The file.
        path: PathBuf,
        /// Keys to set.
        keys: Vec<String>,
    },
    /// Replace Mainstay's nftables table.
    ApplyFirewall {
        /// Its whole text.
        ruleset: String,
    },
}

/// The flavor as text for [`Plan::server`].
pub(crate) fn server_text(flavor: Option<Flavor>) -> Option<String> {
    flavor.map(|flavor| flavor.to_string())
}
