//! Facts of a host.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Seen;

/// What a host is. Nothing here changes from one minute to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// The host's name.
    pub hostname: String,
    /// `ID` of os-release, such as `debian`.
    pub os_id: String,
    /// `VERSION_ID` of os-release, such as `12`.
    pub os_version: String,
    /// `PRETTY_NAME` of os-release.
    pub os_name: String,
    /// Kernel release.
    pub kernel: String,
    /// Logical CPUs this process may run on.
    pub cpus: u32,
    /// RAM in bytes, or the cgroup's limit where that is lower.
    pub memory_bytes: u64,
    /// systemd is process 1.
    pub systemd: bool,
    /// Which package manager the host has.
    pub package_manager: Seen<PackageManager>,
    /// SELinux.
    pub selinux: Seen<SeLinux>,
    /// AppArmor's mode (`enforce`, `complain`) for the server's program.
    pub apparmor: Seen<String>,
    /// The clock is synchronised, and by what.
    pub time_synchronised: Seen<bool>,
    /// Addresses of the host's interfaces, loopback included.
    pub addresses: Vec<std::net::IpAddr>,
}

/// Package managers Mainstay can drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PackageManager {
    /// Debian, Ubuntu.
    Apt,
    /// RHEL and its rebuilds.
    Dnf,
}

/// SELinux's mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeLinux {
    /// Policy is enforced.
    Enforcing,
    /// Policy is only logged.
    Permissive,
    /// Built in, switched off.
    Disabled,
}

/// A package as the package manager knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageFacts {
    /// Its name.
    pub name: String,
    /// Version installed.
    pub installed: Seen<String>,
    /// Version that would be installed.
    pub candidate: Seen<String>,
}

/// The server's service as the host knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceFacts {
    /// The server's process runs.
    pub running: bool,
    /// It starts at boot (systemd), or is supervised (process).
    pub enabled: bool,
    /// The server's program on disk, when found.
    pub program: Seen<PathBuf>,
}

/// A file's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// SHA-256 of the content, in hex.
    pub sha256: String,
    /// Permission bits.
    pub mode: u32,
    /// Owner's name, or number where it has none.
    pub owner: String,
    /// Group's name, or number where it has none.
    pub group: String,
    /// Length in bytes.
    pub length_bytes: u64,
}

/// An X.509 certificate on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateFacts {
    /// Seconds since 1970 from which it is valid.
    pub not_before_epoch_seconds: i64,
    /// Seconds since 1970 until which it is valid.
    pub not_after_epoch_seconds: i64,
    /// Subject common name.
    pub common_name: String,
    /// DNS names and addresses it is for.
    pub names: Vec<String>,
    /// X.509 version, 3 for all that Mainstay makes.
    pub version: u32,
    /// Its signature verifies under the CA certificate beside it, and its key file matches.
    pub valid_under_ca: bool,
}

/// What was measured of a disk. Measurements differ each time: a plan's steps never come from them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskMeasure {
    /// Bytes a non-root user may still write.
    pub free_bytes: u64,
    /// Size of the file system in bytes.
    pub size_bytes: u64,
    /// Inodes free; absent on file systems that have no fixed number.
    pub free_inodes: Seen<u64>,
    /// File system type, such as `ext4`.
    pub filesystem: String,
    /// Synchronous 4 KiB random writes a second, from the measured queue of threads.
    pub write_iops: Seen<u32>,
    /// fdatasync after a 4 KiB append: median, microseconds.
    pub fsync_median_us: Seen<u32>,
    /// fdatasync after a 4 KiB append: 99th percentile, microseconds.
    pub fsync_p99_us: Seen<u32>,
}
