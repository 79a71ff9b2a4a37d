//! What the disk under a folder can do: space, inodes, synchronous writes a second, time of an fdatasync.
//!
//! Measures with a temporary file that has no name while it is written, so nothing is left also after a crash.
//! Whether the figures are good enough is not decided here.

mod probe;

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use facts::{DiskMeasure, Seen};
use rustix::fs::{AtFlags, CWD, OFlags, StatxAttributes, StatxFlags, fdatasync, statvfs, statx};

use crate::files;
pub use probe::{ProbeState, Probed};

/// How long a measurement takes unless asked otherwise.
pub const TIME_BUDGET_DEFAULT: Duration = Duration::from_secs(2);

/// Size of a write: that of a small log record, and what the cloud manuals' figure counts.
const BLOCK_BYTES: usize = 4096;

/// Size of the file that is written to; larger than the caches of plain disks.
const FILE_BYTES: u64 = 64 << 20;

/// Free space below which nothing is written.
const FREE_BYTES_MIN: u64 = 4 * FILE_BYTES;

/// Threads that write at once: a database commits from several connections.
const THREADS: u64 = 8;

/// Samples of one measurement at most.
const SAMPLES_MAX: usize = 100_000;

/// Why a disk could not be looked at.
#[derive(Debug, thiserror::Error)]
#[error("cannot look at the file system of `{}`", path.display())]
pub struct DiskError {
    /// The folder.
    pub path: PathBuf,
    /// The refusal.
    pub source: io::Error,
}

impl DiskError {
    /// The next thing to do.
    #[must_use]
    pub fn hint(&self) -> String {
        format!("look with `df {}`", self.path.display())
    }
}

/// Space and type of the file system that holds the folder, or will hold it: the nearest folder above that
/// exists is taken. Writes nothing; the measured figures are unknown.
///
/// # Errors
/// The file system cannot be looked at.
pub fn look(folder: &Path) -> Result<DiskMeasure, DiskError> {
    let folder = existing(folder);
    let failed = |source| DiskError { path: folder.to_owned(), source };
    let space = statvfs(folder).map_err(|errno| failed(errno.into()))?;
    let device = std::fs::metadata(folder).map_err(failed)?.dev();
    let unknown = || Seen::Unknown("not measured".to_owned());
    Ok(DiskMeasure {
        free_bytes: space.f_bavail.saturating_mul(space.f_frsize),
        size_bytes: space.f_blocks.saturating_mul(space.f_frsize),
        // btrfs and others have no table of inodes and say 0 of 0.
        free_inodes: if space.f_files == 0 { Seen::Absent } else { Seen::Known(space.f_favail) },
        filesystem: filesystem(folder, device),
        write_iops: unknown(),
        fsync_median_us: unknown(),
        fsync_p99_us: unknown(),
    })
}

/// Whether a file system is mounted on the folder, which then cannot be renamed. One that does not exist is none.
#[must_use]
pub fn is_mount_point(folder: &Path) -> bool {
    let seen = statx(CWD, folder, AtFlags::empty(), StatxFlags::empty());
    // Kernels before 5.8 do not say: there the devices of the folder and of the one above are compared.
    seen.is_ok_and(|seen| {
        if seen.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) {
            return seen.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
        }
        let device = |path: &Path| {
            let seen = statx(CWD, path, AtFlags::empty(), StatxFlags::empty()).ok()?;
            Some((seen.stx_dev_major, seen.stx_dev_minor))
        };
        folder.parent().is_some_and(|above| device(above) != device(folder))
    })
}

/// Looks at the disk and measures it for about `time_budget`. Blocks the calling thread for so long; on a disk
/// that stalls, for as long as one write takes.
///
/// # Errors
/// The file system cannot be looked at. A measurement that fails is unknown in the result, with the reason.
pub fn measure(folder: &Path, time_budget: Duration) -> Result<DiskMeasure, DiskError> {
    let mut seen = look(folder)?;
    let refused = if seen.free_bytes < FREE_BYTES_MIN {
        Err(format!("less than {} MiB free, so nothing was written", FREE_BYTES_MIN >> 20))
    } else {
        measure_writes(existing(folder), time_budget).map_err(|error| format!("cannot write there: {error}"))
    };
    match refused {
        Ok(writes) => {
            seen.write_iops = Seen::Known(writes.iops);
            seen.fsync_median_us = percentile(&writes.sync_us, 50);
            seen.fsync_p99_us = percentile(&writes.sync_us, 99);
        }
        Err(why) => {
            seen.write_iops = Seen::Unknown(why.clone());
            seen.fsync_median_us = Seen::Unknown(why.clone());
            seen.fsync_p99_us = Seen::Unknown(why);
        }
    }
    Ok(seen)
}

struct Writes {
    iops: u32,
    /// Sorted.
    sync_us: Vec<u32>,
}

fn measure_writes(folder: &Path, time_budget: Duration) -> io::Result<Writes> {
    let (synchronous, plain) = nameless(folder)?;
    let length = fill(&plain, Instant::now() + time_budget / 4)?;
    let iops = random_writes(&synchronous, length, time_budget * 2 / 5)?;
    let sync_us = appends(plain, length, time_budget / 4)?;
    Ok(Writes { iops, sync_us })
}

/// A file without a name, opened twice: it is gone when closed, whatever becomes of this process. Writes through
/// the first are on the disk when they return (`O_DSYNC`), as a redo log's are; the second is for timing the
/// sync itself.
fn nameless(folder: &Path) -> io::Result<(File, File)> {
    let path = folder.join(format!(".mainstay-measure-{:016x}", rand::random::<u64>()));
    let flags = i32::try_from(OFlags::DSYNC.bits()).unwrap_or_default();
    let plain = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let synchronous = OpenOptions::new().write(true).custom_flags(flags).open(&path);
    std::fs::remove_file(&path)?;
    Ok((synchronous?, plain))
}

/// Writes the file to its full length or until the deadline: blocks that were never written would measure the
/// file system's allocation instead of the disk. Returns the length.
fn fill(file: &File, deadline: Instant) -> io::Result<u64> {
    let chunk = vec![0x5a_u8; 1 << 20];
    let mut length = 0;
    while length < FILE_BYTES && (length == 0 || Instant::now() < deadline) {
        file.write_all_at(&chunk, length)?;
        length += 1 << 20;
    }
    Ok(length)
}

/// Random synchronous writes by several threads; returns how many a second.
fn random_writes(file: &File, length: u64, duration: Duration) -> io::Result<u32> {
    let started = Instant::now();
    let deadline = started + duration;
    let blocks = (length / BLOCK_BYTES as u64).max(1);
    let counts: Vec<io::Result<u64>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(move || -> io::Result<u64> {
                    let block = [0xa5_u8; BLOCK_BYTES];
                    let mut count = 0;
                    while Instant::now() < deadline {
                        let at = rand::random::<u64>() % blocks * BLOCK_BYTES as u64;
                        file.write_all_at(&block, at)?;
                        count += 1;
                    }
                    Ok(count)
                })
            })
            .collect();
        let ended = |_| Err(io::Error::other("a measuring thread ended early"));
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(ended)).collect()
    });
    let mut total: u128 = 0;
    for count in counts {
        total += u128::from(count?);
    }
    let per_second = total * 1_000_000 / started.elapsed().as_micros().max(1);
    Ok(u32::try_from(per_second).unwrap_or(u32::MAX))
}

/// Times of fdatasync after appends, in microseconds, sorted.
fn appends(mut file: File, length: u64, duration: Duration) -> io::Result<Vec<u32>> {
    file.seek(SeekFrom::Start(length))?;
    let block = [0xa5_u8; BLOCK_BYTES];
    let deadline = Instant::now() + duration;
    let mut times_us = Vec::new();
    while times_us.is_empty() || (Instant::now() < deadline && times_us.len() < SAMPLES_MAX) {
        file.write_all(&block)?;
        let started = Instant::now();
        fdatasync(&file)?;
        times_us.push(u32::try_from(started.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    times_us.sort_unstable();
    Ok(times_us)
}

fn percentile(sorted: &[u32], percent: usize) -> Seen<u32> {
    let at = sorted.len().saturating_sub(1) * percent / 100;
    sorted.get(at).map_or_else(|| Seen::Unknown("no sample".to_owned()), |value| Seen::Known(*value))
}

fn existing(folder: &Path) -> &Path {
    folder.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"))
}

/// Type of the file system with this device number, from the kernel's table of mounts.
fn filesystem(folder: &Path, device: u64) -> String {
    let table = files::read_text(Path::new("/proc/self/mountinfo"), 16 << 20).unwrap_or_default();
    let number = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    parse_mountinfo(&table, &number, &real).unwrap_or("unknown").to_owned()
}

/// The type of the mount a path is on, in `/proc/self/mountinfo` (see proc_pid_mountinfo(5)): by device, or,
/// where the file system gives files a device of their own (btrfs, overlay), by the longest mount point above.
fn parse_mountinfo<'a>(table: &'a str, device: &str, path: &Path) -> Option<&'a str> {
    let mut by_path: Option<(usize, &str)> = None;
    for line in table.lines() {
        let Some((head, tail)) = line.split_once(" - ") else { continue };
        let mut fields = head.split(' ').skip(2);
        let (Some(number), Some(_), Some(point)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let Some(kind) = tail.split(' ').next() else { continue };
        if number == device {
            return Some(kind);
        }
        let point = point.replace("\\040", " ");
        // Of two mounts on one point the later one covers the earlier.
        if path.starts_with(&point) && by_path.is_none_or(|(length, _)| point.len() >= length) {
            by_path = Some((point.len(), kind));
        }
    }
    by_path.map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_known() {
        assert!(is_mount_point(Path::new("/proc")));
        assert!(!is_mount_point(Path::new("/proc/self")));
        assert!(!is_mount_point(Path::new("/nowhere")));
    }

    #[test]
    fn a_disk_is_measured_within_its_time_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let started = Instant::now();
        let seen = measure(&folder.path().join("not/yet/there"), Duration::from_millis(400)).unwrap();
        assert!(started.elapsed() < Duration::from_secs(20));
        assert!(matches!(seen.write_iops, Seen::Known(iops) if iops > 0), "{seen:?}");
        let (Seen::Known(median), Seen::Known(p99)) = (&seen.fsync_median_us, &seen.fsync_p99_us) else {
            panic!("{seen:?}")
        };
        assert!(median <= p99);
        assert!(seen.size_bytes >= seen.free_bytes && seen.free_bytes > 0);
        assert_ne!(seen.filesystem, "unknown");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_unknown_with_the_reason() {
        // Nobody, root included, creates files in /proc.
        let seen = measure(Path::new("/proc"), Duration::from_millis(50)).unwrap();
        assert!(matches!(seen.write_iops, Seen::Unknown(_)), "{seen:?}");
        assert_eq!(seen.filesystem, "proc");
    }

    #[test]
    fn recorded_mounts() {
        let table = "22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 27 0:35 /@db /var/lib/my\\040sql rw - btrfs /dev/vdb rw
41 27 8:1 / /srv rw - xfs /dev/sda1 rw
";
        assert_eq!(parse_mountinfo(table, "254:0", Path::new("/etc")), Some("ext4"));
        assert_eq!(parse_mountinfo(table, "8:1", Path::new("/srv/x")), Some("xfs"));
        assert_eq!(parse_mountinfo(table, "0:77", Path::new("/var/lib/my sql/data")), Some("btrfs"));
        assert_eq!(parse_mountinfo(table, "0:77", Path::new("/var/lib")), Some("ext4"));
        assert_eq!(parse_mountinfo("", "0:77", Path::new("/")), None);
    }

    #[test]
    fn percentiles() {
        let sorted: Vec<u32> = (0..=100).collect();
        assert_eq!(percentile(&sorted, 50), Seen::Known(50));
        assert_eq!(percentile(&sorted, 99), Seen::Known(99));
        assert_eq!(percentile(&[7], 99), Seen::Known(7));
        assert!(matches!(percentile(&[], 50), Seen::Unknown(_)));
    }
}
