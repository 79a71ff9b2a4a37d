//! The one adapter that touches a host: files, processes, `/proc`, addresses, firewall, packages, services.
//!
//! Every outside thing has one module, every call is bounded in time and size, and what cannot be seen comes
//! back as `Seen::Unknown` with its reason. Nothing here decides what a host should be (that is planning),
//! sends SQL, or prints.

pub mod address;
pub mod binlog_files;
pub mod clock;
pub mod command;
pub mod disk;
pub mod facts;
pub mod fence;
pub mod files;
pub mod firewall;
pub mod lock;
pub mod logs;
pub mod net;
pub mod packages;
pub mod pki;
pub mod process;
pub mod secrets;
pub mod service;
pub mod stream;
pub mod supervise;
pub mod users;
pub mod watchdog;

/// An error and its sources on one line.
#[must_use]
pub fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
