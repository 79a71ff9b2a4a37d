//! Facts of this host, read from `/proc`, `/sys`, `/etc/os-release` and the clock's keeper.
//!
//! Each source has a pure parser, tested on recorded text. What a host does not show is unknown with the reason,
//! or absent; only memory and CPUs have no such answer, because nothing can be planned without them. Measuring
//! is not done here: see [`crate::disk`] and [`crate::net`].

mod addresses;
mod clock;
mod memory;
mod security;

use std::path::{Path, PathBuf};

use facts::{HostFacts, PackageManager, Seen};

use crate::command::find_program;
use crate::files::{self, FileError};
use crate::users;

/// Limit for files of `/proc` and `/sys`.
const SOURCE_BYTES_MAX: usize = 4 << 20;

/// Why a host's facts cannot be collected.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// A source without which nothing can be planned cannot be read.
    #[error("cannot see the host's {what}")]
    Unreadable {
        /// What would have been read there.
        what: &'static str,
        /// The refusal.
        source: FileError,
    },
    /// A source has none of what it should have.
    #[error("`{}` does not show the host's {what}", path.display())]
    Unexpected {
        /// What is missing.
        what: &'static str,
        /// The source.
        path: PathBuf,
    },
    /// The kernel refused to say which CPUs there are.
    #[error("cannot see the host's CPUs")]
    Cpus(#[source] std::io::Error),
}

impl FactsError {
    /// The next thing to do.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unreadable { .. } | Self::Unexpected { .. } | Self::Cpus(_) => {
                "is /proc mounted? `findmnt /proc`; in a container, mount it".to_owned()
            }
        }
    }
}

/// Collects the facts of this host.
///
/// # Errors
/// Memory or CPUs cannot be seen.
pub async fn collect() -> Result<HostFacts, FactsError> {
    let root = Path::new("/");
    let cpus = rustix::thread::sched_getaffinity(None)
        .map_err(|errno| FactsError::Cpus(errno.into()))?
        .count()
        .max(1);
    let os = os_release(root);
    let systemd = root.join("run/systemd/system").is_dir();
    Ok(HostFacts {
        hostname: users::hostname(),
        os_id: os.id,
        os_version: os.version,
        os_name: os.name,
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        cpus,
        memory_bytes: memory::memory_bytes(root)?,
        systemd,
        package_manager: package_manager(),
        selinux: security::selinux(root),
        apparmor: security::apparmor(root),
        time_synchronised: clock::synchronised(systemd).await,
        addresses: addresses::addresses(root),
    })
}

fn package_manager() -> Seen<PackageManager> {
    if find_program("apt-get").is_some() {
        Seen::Known(PackageManager::Apt)
    } else if find_program("dnf").is_some() {
        Seen::Known(PackageManager::Dnf)
    } else {
        Seen::Absent
    }
}

/// The system's name, from os-release(5).
#[derive(Debug, PartialEq, Eq)]
struct OsRelease {
    id: String,
    version: String,
    name: String,
}

fn os_release(root: &Path) -> OsRelease {
    let text = ["etc/os-release", "usr/lib/os-release"]
        .iter()
        .find_map(|path| files::read_text(&root.join(path), SOURCE_BYTES_MAX).ok());
    parse_os_release(&text.unwrap_or_default())
}

/// What is not set has the value that os-release(5) gives it: `linux`, nothing, `Linux`.
fn parse_os_release(text: &str) -> OsRelease {
    let value = |key: &str| {
        let found = text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='));
        found.map(unquote)
    };
    OsRelease {
        id: value("ID").unwrap_or_else(|| "linux".to_owned()),
        version: value("VERSION_ID").unwrap_or_default(),
        name: value("PRETTY_NAME").unwrap_or_else(|| "Linux".to_owned()),
    }
}

/// A value as a shell would take it: quotes off, backslashes resolved.
fn unquote(value: &str) -> String {
    let value = value.trim();
    let inner = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    let mut out = String::new();
    let mut chars = inner.unwrap_or(value).chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_of_several_systems() {
        let cases = [
            (
                "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n",
                ("debian", "12", "Debian GNU/Linux 12 (bookworm)"),
            ),
            (
                "NAME=\"Rocky Linux\"\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nVERSION_ID='9.4'\nPRETTY_NAME=\"Rocky \\\"Blue\\\" 9\"\n",
                ("rocky", "9.4", "Rocky \"Blue\" 9"),
            ),
            ("", ("linux", "", "Linux")),
        ];
        for (text, (id, version, name)) in cases {
            let wanted = OsRelease { id: id.into(), version: version.into(), name: name.into() };
            assert_eq!(parse_os_release(text), wanted);
        }
    }

    #[tokio::test]
    async fn this_host_has_facts() {
        let facts = collect().await.unwrap();
        assert!(facts.cpus >= 1);
        assert!(facts.memory_bytes > 64 << 20, "{}", facts.memory_bytes);
        assert!(facts.addresses.iter().any(std::net::IpAddr::is_loopback), "{:?}", facts.addresses);
        assert!(!facts.kernel.is_empty() && !facts.hostname.is_empty());
    }
}
