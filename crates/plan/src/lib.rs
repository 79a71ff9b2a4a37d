//! From what is wanted and what was seen to the ordered steps that close the gap.
//!
//! [`make`] is the whole of it: `(Spec, Observation) -> Plan`. It is pure: the clock, secrets and every fact
//! come in as values, and a [`Plan`] is complete, so carrying it out leaves nothing to decide. It deliberately
//! does nothing itself and never sees a password, only whether one matches.

mod account_steps;
mod accounts;
mod config_file;
mod databases;
mod essence;
mod firewall;
mod lint;
mod make;
mod observation;
mod packages;
pub mod password;
mod preflight;
mod render;
mod settings;
mod sizing;
mod step;
mod tls;
mod traffic;
mod value;

pub use accounts::{GrantObjectWanted, WantedAccount, agent_account, agent_secrets, wanted_accounts};
pub use config_file::{HEADER, default_config_file};
pub use firewall::{TABLE, ruleset, same_rules};
pub use lint::{Violation, lint};
pub use make::{CLUSTER_FILE, REPLICA_ID_BIT, make};
pub use observation::{
    CloudStackSeen, LoadMark, Measured, Observation, PasswordMatch, PropertyChange, SecretSeen, State,
    TlsFiles,
};
pub use packages::wanted_packages;
pub use preflight::{Check, Verdict};
pub use settings::{Origin, WantedSetting, wanted_settings};
pub use sizing::{Demand, Sizing, SizingError, demand, size};
pub use step::{Action, CertificateKind, Change, Finding, Options, Plan, Risk, SchemaFile, Severity, Step};
pub use tls::{openssl_time, server_names};
pub use traffic::{
    Installed, RenderedFile, START_PERMIT, TrafficError, haproxy, keepalived, pacemaker, systemd,
};
