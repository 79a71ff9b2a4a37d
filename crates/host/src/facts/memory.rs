//! How much memory processes here may have: RAM, or the lowest limit of a cgroup above this process.
//!
//! Does not look at what is free: a server is sized by what it may have.

use std::path::Path;

use super::{FactsError, SOURCE_BYTES_MAX};
use crate::files;

/// RAM in bytes, or the cgroup's limit where that is lower.
pub(super) fn memory_bytes(root: &Path) -> Result<u64, FactsError> {
    let path = root.join("proc/meminfo");
    let text = files::read_text(&path, SOURCE_BYTES_MAX)
        .map_err(|source| FactsError::Unreadable { what: "memory", source })?;
    let total = parse_mem_total(&text).ok_or(FactsError::Unexpected { what: "memory", path })?;
    Ok(cgroup_limit(root).map_or(total, |limit| limit.min(total)))
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn parse_mem_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The lowest limit of this process's memory cgroup and those above it; `None` without a limit.
fn cgroup_limit(root: &Path) -> Option<u64> {
    let text = files::read_text(&root.join("proc/self/cgroup"), SOURCE_BYTES_MAX).ok()?;
    let groups = parse_cgroups(&text);
    let mounts = [
        (groups.unified, "sys/fs/cgroup", "memory.max"),
        (groups.memory, "sys/fs/cgroup/memory", "memory.limit_in_bytes"),
    ];
    let limits = mounts.into_iter().filter_map(|(group, mount, file)| {
        let group = group?;
        // A container sees its own group as the root of the mount, so the path may lead nowhere: what is not
        // there sets no limit.
        let within = Path::new(group.trim_start_matches('/'));
        within
            .ancestors()
            .filter_map(|part| {
                files::read_text(&root.join(mount).join(part).join(file), SOURCE_BYTES_MAX).ok()
            })
            .filter_map(|text| parse_limit(&text))
            .min()
    });
    limits.min()
}

struct Cgroups<'a> {
    unified: Option<&'a str>,
    memory: Option<&'a str>,
}

/// `/proc/self/cgroup`, see cgroups(7): `ID:CONTROLLERS:PATH`.
fn parse_cgroups(text: &str) -> Cgroups<'_> {
    let mut groups = Cgroups { unified: None, memory: None };
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        if let (Some(id), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) {
            if id == "0" && controllers.is_empty() {
                groups.unified = Some(path);
            } else if controllers.split(',').any(|controller| controller == "memory") {
                groups.memory = Some(path);
            }
        }
    }
    groups
}

/// A limit in bytes. Version 2 writes `max` for none, version 1 a number near 2^63, which the caller's RAM
/// undercuts.
fn parse_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::files::{Ownership, write_atomic};

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_lowest_limit_wins() {
        let v2 = "0::/user.slice/db.service\n";
        let v1 = "9:name=systemd:/\n4:cpu,memory:/docker/abc\n0::/\n";
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], u64);
        let cases: [Case<'_>; 6] = [
            (v2, &[], 8 * GIB),
            (v2, &[("sys/fs/cgroup/user.slice/db.service/memory.max", "max\n")], 8 * GIB),
            (v2, &[("sys/fs/cgroup/user.slice/db.service/memory.max", "2147483648\n")], 2 * GIB),
            (
                v2,
                &[
                    ("sys/fs/cgroup/user.slice/db.service/memory.max", "4294967296\n"),
                    ("sys/fs/cgroup/user.slice/memory.max", "1073741824\n"),
                ],
                GIB,
            ),
            (v1, &[("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")], 8 * GIB),
            (v1, &[("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "3221225472\n")], 3 * GIB),
        ];
        for (cgroup, limits, wanted) in cases {
            let root = tempfile::tempdir().unwrap();
            let place = |path: &str, text: &str| {
                let path = root.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                write_atomic(&path, text.as_bytes(), &Ownership::mode(0o644)).unwrap();
            };
            place("proc/meminfo", "MemTotal:        8388608 kB\nMemFree:  1 kB\n");
            place("proc/self/cgroup", cgroup);
            for (path, text) in limits {
                place(path, text);
            }
            assert_eq!(memory_bytes(root.path()).unwrap(), wanted, "{limits:?}");
        }
    }

    #[test]
    fn memory_that_cannot_be_seen_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(memory_bytes(root.path()), Err(FactsError::Unreadable { .. })));
        assert_eq!(parse_mem_total("MemFree: 1 kB\n"), None);
        assert_eq!(parse_mem_total("MemTotal: many kB\n"), None);
    }
}
