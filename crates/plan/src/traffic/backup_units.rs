//! systemd's units for backups: one every night, the archive of binary logs, and a rehearsal of the newest backup.
//!
//! They run beside an ordinary server as well as beside agents. Any node may have them: one archiver at a time writes
//! into a place, and backups are best taken on a replica.

use std::path::Path;

use spec::{Backup, Node, Spec};

use super::systemd::{HARDENING, head, unit};
use super::{Installed, RenderedFile, TrafficError, word};

/// What they hold to beyond [`HARDENING`]. They read the server's socket, the spec and its secrets, and write to the
/// place.
const OWN: &str = "CapabilityBoundingSet=CAP_DAC_OVERRIDE CAP_FOWNER
PrivateDevices=yes
PrivateTmp=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
# A server that serves comes first.
Nice=10
IOSchedulingClass=idle
";

/// Folder of the throwaway server, below `/var/lib`.
const REHEARSAL: &str = "mainstay-rehearsal";

/// The units of a node, where the spec names a place for backups.
pub(super) fn backup_units(
    spec: &Spec,
    backup: &Backup,
    node: &Node,
    installed: &Installed,
) -> Result<Vec<RenderedFile>, TrafficError> {
    let texts = Texts {
        head: head(spec, &node.name),
        cluster: &spec.cluster.name,
        program: word(&installed.program)?,
        spec_file: word(&installed.spec_file)?,
        socket: word(&node.socket)?,
        writable: writable(backup)?,
    };
    let password_file = spec.paths.secrets.join("mainstay_backup");
    let account = format!("--user mainstay_backup --password-file {}", word(&password_file)?);
    let archiver = match backup.archive_purge_seconds {
        // Purging the server's logs is for its administrator.
        Some(_) => format!("--user {}", word(Path::new(&spec.accounts.admin_user))?),
        None => account.clone(),
    };
    Ok(vec![
        unit("mainstay-backup.service", texts.backup(&account)),
        unit("mainstay-backup.timer", texts.timer("Every night a backup", "01:30")),
        unit("mainstay-archive.service", texts.archive(&archiver)),
        unit("mainstay-rehearse.service", texts.rehearse()),
        unit("mainstay-rehearse.timer", texts.timer("Every night a rehearsal of the newest backup", "04:00")),
    ])
}

/// What stands in several of the units.
struct Texts<'a> {
    head: String,
    cluster: &'a str,
    program: &'a str,
    spec_file: &'a str,
    socket: &'a str,
    writable: String,
}

impl Texts<'_> {
    fn backup(&self, account: &str) -> String {
        let Self { head, cluster, program, spec_file, socket, writable } = self;
        format!(
            "{head}
[Unit]
Description=A backup of cluster {cluster}, and the removal of those that no rule keeps
Documentation=man:mainstay(1)
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart={program} backup create --config {spec_file} --socket {socket} {account} --quiet
# Only reached once the new backup has read back well.
ExecStart={program} backup prune --config {spec_file} --yes
{OWN}{HARDENING}{writable}"
        )
    }

    fn archive(&self, account: &str) -> String {
        let Self { head, cluster, program, spec_file, socket, writable } = self;
        format!(
            "{head}
[Unit]
Description=The archive of binary logs of cluster {cluster}
Documentation=man:mainstay(1)
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={program} backup archive --follow --config {spec_file} --socket {socket} {account}
# On another node one is refused while this one is at work, and takes over once it is gone.
Restart=always
RestartSec=15
{OWN}{HARDENING}{writable}
[Install]
WantedBy=multi-user.target
"
        )
    }

    fn rehearse(&self) -> String {
        let Self { head, cluster, program, spec_file, writable, .. } = self;
        format!(
            "{head}
[Unit]
Description=A rehearsal of the newest backup of cluster {cluster}
Documentation=man:mainstay(1)
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart={program} backup rehearse --config {spec_file} --work-dir /var/lib/{REHEARSAL}
StateDirectory={REHEARSAL}
StateDirectoryMode=0700
{OWN}{HARDENING}{writable}"
        )
    }

    fn timer(&self, what: &str, at: &str) -> String {
        let Self { head, cluster, .. } = self;
        format!(
            "{head}
[Unit]
Description={what}, cluster {cluster}

[Timer]
OnCalendar={at}
RandomizedDelaySec=30min
Persistent=true

[Install]
WantedBy=timers.target
"
        )
    }
}

/// A place that is a folder is written to; of a store, nothing here is.
fn writable(backup: &Backup) -> Result<String, TrafficError> {
    if backup.place.starts_with('/') {
        return Ok(format!("ReadWritePaths={}\n", word(Path::new(&backup.place))?));
    }
    Ok(String::new())
}
