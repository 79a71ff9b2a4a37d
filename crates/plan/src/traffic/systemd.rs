//! systemd's units: the agent, its fencer, a drop-in that leaves starting the server to the agent, and with them those
//! of backups, which are text of `backup_units`.
//!
//! They are hardened as far as starting, filling and killing a server allows; a server that the agent starts as a
//! process lives in the agent's unit and its limits.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use spec::{Ha, HaStore, Node, ServiceManager, Spec};

use super::backup_units::backup_units;
use super::{Installed, RenderedFile, TrafficError, agents, header, word};

/// The file without which the server's unit refuses to start: the agent makes it before each start, and removes it
/// after.
pub const START_PERMIT: &str = "/run/mainstay/start-permit";

/// What all units hold to; no program of theirs needs any of it.
pub(super) const HARDENING: &str = "NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictNamespaces=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
DevicePolicy=closed
UMask=0077
LimitCORE=0
";

/// The units of the node or witness of this name: of its agent, of its backups, or of both, as the spec has them.
///
/// # Errors
/// Where there are no agents or nobody of this name, or a path has characters that a unit cannot hold.
pub fn systemd(spec: &Spec, member: &str, installed: &Installed) -> Result<Vec<RenderedFile>, TrafficError> {
    let backups = |node: &Node| match &spec.backup {
        Some(backup) => backup_units(spec, backup, node, installed),
        None => Ok(Vec::new()),
    };
    if let (None, Some(_)) = (&spec.ha, &spec.backup) {
        let node = spec.node(member).ok_or_else(|| TrafficError::NoMember(member.to_owned()))?;
        return backups(node);
    }
    let ha = agents(spec)?;
    let Some(node) = spec.node(member) else {
        if !ha.witnesses.iter().any(|witness| witness.name == member) {
            return Err(TrafficError::NoMember(member.to_owned()));
        }
        return Ok(vec![witness(spec, member, installed)?]);
    };
    let mut units =
        vec![agent(spec, ha, node, installed)?, fencer(spec, ha, node, installed)?, server(spec, node)?];
    units.extend(backups(node)?);
    Ok(units)
}

pub(super) fn unit(name: &str, text: String) -> RenderedFile {
    RenderedFile { path: Path::new("/etc/systemd/system").join(name), text }
}

pub(super) fn head(spec: &Spec, member: &str) -> String {
    header(spec, &format!("systemd on {member}"), &format!("mainstay render systemd --node {member}"))
}

fn agent(spec: &Spec, ha: &Ha, node: &Node, installed: &Installed) -> Result<RenderedFile, TrafficError> {
    let writable = writable(spec, ha, node)?;
    let text = format!(
        "{head}
[Unit]
Description=Mainstay agent of node {name}, cluster {cluster}
Documentation=man:mainstay(1)
Wants=network-online.target mainstay-fencer.service
After=network-online.target mainstay-fencer.service time-sync.target
# It is tried for ever: a node without an agent is no node.
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={program} agent --config {spec_file} --node {name}
Restart=always
RestartSec=1
# The server goes on when the agent is stopped or updated; only the lease's end takes it away.
KillMode=process
TimeoutStopSec=30
OOMScoreAdjust=-900
# The addresses, the raw packets that announce them, killing and starting the server, its files and its user, and not
# being paged out or kept waiting.
CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_KILL CAP_SYS_NICE CAP_IPC_LOCK CAP_SETUID CAP_SETGID CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET
LimitMEMLOCK=infinity
# For a server that the agent starts as a process.
LimitNOFILE=65536
TasksMax=infinity
RuntimeDirectory=mainstay
RuntimeDirectoryPreserve=yes
{HARDENING}ReadWritePaths={writable}

[Install]
WantedBy=multi-user.target
",
        head = head(spec, &node.name),
        name = node.name,
        cluster = spec.cluster.name,
        program = word(&installed.program)?,
        spec_file = word(&installed.spec_file)?,
    );
    Ok(unit("mainstay-agent.service", text))
}

fn fencer(spec: &Spec, ha: &Ha, node: &Node, installed: &Installed) -> Result<RenderedFile, TrafficError> {
    let text = format!(
        "{head}
[Unit]
Description=Kills the server of node {name} when its agent hangs, cluster {cluster}
Documentation=man:mainstay(1)
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={program} fencer --config {spec_file} --node {name}
Restart=always
RestartSec=100ms
# The last process that the kernel may kill when memory is short.
OOMScoreAdjust=-1000
CapabilityBoundingSet=CAP_KILL CAP_SYS_NICE CAP_IPC_LOCK CAP_NET_ADMIN CAP_DAC_OVERRIDE
RestrictAddressFamilies=AF_UNIX AF_NETLINK
LimitMEMLOCK=infinity
RuntimeDirectory=mainstay
RuntimeDirectoryPreserve=yes
{HARDENING}{device}ReadWritePaths=-{state}

[Install]
WantedBy=multi-user.target
",
        head = head(spec, &node.name),
        name = node.name,
        cluster = spec.cluster.name,
        program = word(&installed.program)?,
        spec_file = word(&installed.spec_file)?,
        device = device(ha)?,
        state = word(&spec.paths.state)?,
    );
    Ok(unit("mainstay-fencer.service", text))
}

fn witness(spec: &Spec, name: &str, installed: &Installed) -> Result<RenderedFile, TrafficError> {
    let text = format!(
        "{head}
[Unit]
Description=Mainstay witness {name}, cluster {cluster}
Documentation=man:mainstay(1)
Wants=network-online.target
After=network-online.target time-sync.target
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={program} agent --config {spec_file} --node {name}
Restart=always
RestartSec=1
# It has no server, and so needs nothing of the host but the network and to read its files.
CapabilityBoundingSet=CAP_DAC_OVERRIDE
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
StateDirectory=mainstay
RuntimeDirectory=mainstay
PrivateTmp=yes
{HARDENING}ReadWritePaths=-{state}

[Install]
WantedBy=multi-user.target
",
        head = head(spec, name),
        cluster = spec.cluster.name,
        program = word(&installed.program)?,
        spec_file = word(&installed.spec_file)?,
        state = word(&spec.paths.state)?,
    );
    Ok(unit("mainstay-agent.service", text))
}

/// The drop-in of the server's own unit. A server that started by itself would be read-only, as every start is; but
/// one that was fenced must stay down, and Debian's and upstream's units start it again.
fn server(spec: &Spec, node: &Node) -> Result<RenderedFile, TrafficError> {
    let name = spec.service.unit.trim_end_matches(".service");
    let owner = match spec.service.manager {
        ServiceManager::Auto | ServiceManager::Systemd => {
            "The agent\n# makes this file, starts the unit and removes the file."
        }
        ServiceManager::Process | ServiceManager::None => {
            "The agent\n# starts it as a process: this unit never runs."
        }
    };
    let text = format!(
        "{head}
[Unit]
# Nobody but the agent of this node starts the server: not the boot, not a package's update. {owner}
# To start it by hand: `mainstay pause`, then touch that file.
AssertPathExists={START_PERMIT}
StartLimitIntervalSec=0

[Service]
# A server that was killed stays down until the agent has looked at it.
Restart=no
# Writing a core of the whole buffer pool would hold the data directory for minutes.
LimitCORE=0
",
        head = head(spec, &node.name),
    );
    if name.contains('/') {
        return Err(TrafficError::Unquotable(name.into()));
    }
    Ok(unit(&format!("{}.service.d/mainstay.conf", word(Path::new(name))?), text))
}

/// What the agent and a server that it starts write. `-` is for what may not be there.
fn writable(spec: &Spec, ha: &Ha, node: &Node) -> Result<String, TrafficError> {
    let mut paths: BTreeSet<PathBuf> =
        ["/tmp", "/var/tmp", "/var/log/mysql", "/var/log/mariadb"].map(PathBuf::from).into();
    paths.extend([spec.paths.state.clone(), node.data_dir.clone()]);
    paths.extend(node.socket.parent().map(|folder| {
        // Folders in /run come and go with the server's own unit, and a mount on one that is gone is lost.
        if folder.starts_with("/run") { PathBuf::from("/run") } else { folder.to_path_buf() }
    }));
    match spec.config.file.as_deref().and_then(Path::parent) {
        Some(folder) => paths.extend([folder.to_path_buf()]),
        None => paths.extend(["/etc/mysql", "/etc/my.cnf.d"].map(PathBuf::from)),
    }
    if let HaStore::File { path } = &ha.store {
        paths.extend(path.parent().map(Path::to_path_buf));
    }
    let words: Result<Vec<String>, TrafficError> =
        paths.iter().map(|path| Ok(format!("-{}", word(path)?))).collect();
    Ok(words?.join(" "))
}

/// `DeviceAllow=` for the watchdog, where there is one.
fn device(ha: &Ha) -> Result<String, TrafficError> {
    ha.watchdog
        .as_deref()
        .map_or(Ok(String::new()), |device| Ok(format!("DeviceAllow={} rw\n", word(device)?)))
}
