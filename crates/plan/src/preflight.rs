//! What the host must be able to do before anything is touched: each check passes, warns or stops, with its
//! reason.
//!
//! A measurement that could not be made warns and says why; it never counts as passed.

use facts::{SeLinux, Seen, ServerFacts};
use flavor::Support;
use serde::{Deserialize, Serialize};
use spec::{Node, Spec};

use crate::make::joins;
use crate::observation::Observation;
use crate::sizing::{Sizing, SizingError};
use crate::value::bytes_text;

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Good.
    Pass,
    /// Works, and the operator should know.
    Warn,
    /// Apply refuses.
    Stop,
}

/// One check of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Stable id, such as `disk-iops`.
    pub id: String,
    /// The outcome.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// Why it matters, with what is needed.
    pub reason: String,
    /// What to do about it; empty when it passes.
    pub fix: String,
}

fn check(id: &str, verdict: Verdict, found: impl Into<String>, reason: &str, fix: &str) -> Check {
    let fix = if verdict == Verdict::Pass { "" } else { fix };
    Check { id: id.to_owned(), verdict, found: found.into(), reason: reason.to_owned(), fix: fix.to_owned() }
}

fn pass_or(good: bool, otherwise: Verdict) -> Verdict {
    if good { Verdict::Pass } else { otherwise }
}

/// Every check for this node.
pub(crate) fn checks(
    spec: &Spec,
    node: &Node,
    observation: &Observation,
    sizing: Option<&Result<Sizing, SizingError>>,
) -> Vec<Check> {
    let mut checks = vec![server(spec, observation)];
    if let Seen::Known(server) = &observation.state.server {
        checks.push(right_server(node, server));
        let gets_data =
            !server.replication.known_sources().is_empty() || joins(spec, node, observation).is_some();
        if server.read_only && !gets_data {
            checks.push(check(
                "writable",
                Verdict::Stop,
                "read_only is on, and the server is nobody's replica",
                "accounts and schemas are written here",
                "find out who made it read-only, then `SET GLOBAL read_only = OFF`",
            ));
        }
    }
    checks.push(memory(observation, sizing));
    disk(spec, node, observation, &mut checks);
    network(spec, node, observation, &mut checks);
    confinement(spec, observation, &mut checks);
    checks.push(time(observation));
    checks
}

fn server(spec: &Spec, observation: &Observation) -> Check {
    let wanted = spec.cluster.server;
    let reason =
        "MariaDB 10.6 or later, MySQL 8.0 or later; CloudStack's first upgrade step fails on MariaDB 10.5";
    if let Seen::Unknown(why) = &observation.state.server {
        return check(
            "server",
            Verdict::Stop,
            format!("a server runs and cannot be asked: {why}"),
            reason,
            "run `mainstay facts` with the same login until it answers",
        );
    }
    let Some(flavor) = observation.flavor() else {
        let verdict = pass_or(spec.package.install, Verdict::Stop);
        let found = match &observation.state.installed_flavor {
            Seen::Unknown(why) => format!("no server runs, and the package's version is not known: {why}"),
            Seen::Known(_) | Seen::Absent => "no server is installed".to_owned(),
        };
        return check("server", verdict, found, reason, "set `install = true` in [package], or install it");
    };
    if flavor.vendor != wanted {
        return check(
            "server",
            Verdict::Stop,
            format!("{flavor}"),
            &format!("the spec says {wanted}"),
            "set `server` in [cluster] to what runs here, or point the spec at another host",
        );
    }
    match flavor.support() {
        Support::Supported => check("server", Verdict::Pass, format!("{flavor}"), reason, ""),
        Support::Newer { tested } => check(
            "server",
            Verdict::Warn,
            format!("{flavor}"),
            &format!("newer than the {tested} this Mainstay was tested with"),
            "look for a newer Mainstay",
        ),
        Support::TooOld { minimum } => check(
            "server",
            Verdict::Stop,
            format!("{flavor}"),
            reason,
            &format!("upgrade the server to {minimum} or later"),
        ),
    }
}

fn right_server(node: &Node, server: &ServerFacts) -> Check {
    let same = trimmed(&server.data_dir.to_string_lossy()) == trimmed(&node.data_dir.to_string_lossy());
    check(
        "data-directory",
        pass_or(same, Verdict::Stop),
        server.data_dir.display().to_string(),
        &format!("the spec says {}", node.data_dir.display()),
        "set `data_dir` and `socket` of this node to the server that is meant",
    )
}

fn trimmed(path: &str) -> &str {
    path.trim_end_matches('/')
}

fn memory(observation: &Observation, sizing: Option<&Result<Sizing, SizingError>>) -> Check {
    let found = bytes_text(observation.state.host.memory_bytes);
    match sizing {
        None => {
            check("memory", Verdict::Warn, found, "cannot be sized before the server's version is known", "")
        }
        Some(Ok(sizing)) => check(
            "memory",
            Verdict::Pass,
            found,
            &format!(
                "buffer pool {} and {} connections of {} each",
                bytes_text(sizing.pool_bytes),
                sizing.max_connections,
                bytes_text(sizing.per_connection_bytes)
            ),
            "",
        ),
        Some(Err(error)) => check(
            "memory",
            Verdict::Stop,
            found,
            &error.to_string(),
            "give the machine more memory, or lower the clients' pools, or set `max_connections` in [config.variables]",
        ),
    }
}

fn disk(spec: &Spec, node: &Node, observation: &Observation, checks: &mut Vec<Check>) {
    let place = node.data_dir.display();
    let measure = match &observation.measured.disk {
        Seen::Known(measure) => measure,
        Seen::Unknown(why) => {
            checks.push(check(
                "disk",
                Verdict::Warn,
                format!("{place}: {why}"),
                "the disk could not be looked at",
                "mend it and plan again",
            ));
            return;
        }
        // Nobody asked for the disk to be looked at this time.
        Seen::Absent => return,
    };
    let needed = spec.preflight.disk_free_min_bytes;
    let free = measure.free_bytes;
    let verdict = if free >= needed {
        Verdict::Pass
    } else if free >= needed / 10 {
        Verdict::Warn
    } else {
        Verdict::Stop
    };
    checks.push(check(
        "disk-free",
        verdict,
        format!("{} free on {place} ({})", bytes_text(free), measure.filesystem),
        &format!("{} are wanted; a full disk stops the control plane", bytes_text(needed)),
        "free some, or lower `disk_free_min` in [preflight]",
    ));
    if let Seen::Known(inodes) = &measure.free_inodes {
        checks.push(check(
            "disk-inodes",
            pass_or(*inodes >= 10_000, Verdict::Stop),
            format!("{inodes} free"),
            "each table is a file",
            "remove small files, or make the file system anew with more inodes",
        ));
    }
    let wanted = spec.preflight.iops_min;
    checks.push(match &measure.write_iops {
        Seen::Known(iops) => check(
            "disk-iops",
            pass_or(*iops >= wanted, Verdict::Warn),
            format!("{iops} synchronous writes/s"),
            &format!("{wanted} are wanted (CloudStack manual)"),
            "use faster storage, or lower `iops_min` in [preflight]",
        ),
        Seen::Unknown(why) => {
            check("disk-iops", Verdict::Warn, why.clone(), "could not be measured", "see the reason")
        }
        Seen::Absent => {
            check("disk-iops", Verdict::Warn, "not measured", "`measure_disk = false`", "set it to true once")
        }
    });
    if let (Seen::Known(median), Seen::Known(p99)) = (&measure.fsync_median_us, &measure.fsync_p99_us) {
        checks.push(check("disk-fsync", pass_or(*p99 <= 20_000, Verdict::Warn), format!("median {median} us, 99 % within {p99} us"),
            "every commit waits for two of these; above 20 ms the steady load of a large zone does not keep up", "use storage with a write cache that survives power loss"));
    }
}

fn network(spec: &Spec, node: &Node, observation: &Observation, checks: &mut Vec<Check>) {
    let local = observation.state.host.addresses.contains(&node.address) || node.address.is_loopback();
    checks.push(check(
        "address",
        pass_or(local, Verdict::Warn),
        if local {
            format!("{} is on this host", node.address)
        } else {
            format!("{} is not on this host", node.address)
        },
        "clients and other nodes reach the server there",
        "set `address` of this node, or run on the right host",
    ));
    if let Seen::Known(owner) = &observation.measured.port_taken_by {
        checks.push(check(
            "port",
            Verdict::Stop,
            format!("{owner} listens on {}", node.port),
            "the server needs it",
            // It may be the node's own server behind another socket: stopping that would be the accident.
            "if it is this node's own server, set `socket` to the one it has; if not, set another `port` or stop it",
        ));
    }
    let limit = spec.preflight.round_trip_max_us;
    for (peer, seen) in &observation.measured.round_trips_us {
        let reason = format!("under {limit} us is wanted: an API call makes hundreds of round trips");
        checks.push(match seen {
            Seen::Known(us) => check(
                "round-trip",
                pass_or(*us <= u64::from(limit), Verdict::Warn),
                format!("{peer}: {us} us"),
                &reason,
                "put the database nearer to the management servers",
            ),
            Seen::Unknown(why) => check(
                "round-trip",
                Verdict::Warn,
                format!("{peer}: {why}"),
                &reason,
                "check the address and the route",
            ),
            Seen::Absent => check(
                "round-trip",
                Verdict::Warn,
                format!("{peer}: no answer"),
                &reason,
                "check the address and the route",
            ),
        });
    }
}

fn confinement(spec: &Spec, observation: &Observation, checks: &mut Vec<Check>) {
    let host = &observation.state.host;
    if let Seen::Known(mode) = &host.selinux {
        let enforcing = *mode == SeLinux::Enforcing;
        checks.push(check("selinux", pass_or(!enforcing, Verdict::Warn), if enforcing { "enforcing" } else { "not enforcing" },
            "the server may read only files with its label", "label the TLS folder: `semanage fcontext -a -t mysqld_etc_t '/etc/mainstay/tls(/.*)?' && restorecon -R /etc/mainstay/tls`"));
    }
    if let Seen::Known(mode) = &host.apparmor {
        let in_the_way = mode == "enforce" && spec.tls.is_some();
        checks.push(check(
            "apparmor",
            pass_or(!in_the_way, Verdict::Warn),
            format!("the server's profile is in mode {mode}"),
            "the server may read only the paths its profile names",
            "add `/etc/mainstay/tls/* r,` to /etc/apparmor.d/local/usr.sbin.mysqld and reload the profile",
        ));
    }
}

fn time(observation: &Observation) -> Check {
    let reason = "management servers fence themselves when clocks are 150 s apart; certificates and logs need the time";
    let fix = "install chrony, or run `timedatectl set-ntp true`";
    match &observation.state.host.time_synchronised {
        Seen::Known(true) => check("time", Verdict::Pass, "synchronised", reason, fix),
        Seen::Known(false) => check("time", Verdict::Warn, "not synchronised", reason, fix),
        Seen::Unknown(why) => check("time", Verdict::Warn, why.clone(), reason, fix),
        Seen::Absent => check("time", Verdict::Warn, "nothing here synchronises the clock", reason, fix),
    }
}
