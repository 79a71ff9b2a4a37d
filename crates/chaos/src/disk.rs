//! Small disks, so that one can be full: a tmpfs over a node's folder.
//!
//! What a tmpfs costs in realism is time: nothing waits for a disk. Only runs that ask for it have any.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use host::command::Command;
use host::files::{Ownership, ensure_dir};

/// Room for a server's files and some hours of binlog.
const SIZE: &str = "2G";

const FILLER: &str = "filler";

const LIMIT: Duration = Duration::from_secs(20);

/// Puts a small disk at `folder`.
///
/// # Errors
/// If it cannot be mounted.
pub async fn mount(folder: &Path) -> Result<()> {
    ensure_dir(folder, &Ownership::mode(0o700))?;
    let size = format!("size={SIZE},mode=0700");
    let command = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "mchaos"]).arg(folder);
    command.timeout(LIMIT).run().await?;
    Ok(())
}

/// Leaves no room on the disk that `folder` is on.
///
/// # Errors
/// If writing fails for any other reason than a full disk.
pub fn fill(folder: &Path) -> Result<()> {
    let path = folder.join(FILLER);
    let mut file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    for size in [1 << 20, 4 << 10] {
        let block = vec![0; size];
        loop {
            match file.write_all(&block) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => return Err(error).context("cannot fill the disk"),
            }
        }
    }
    Ok(())
}

/// Gives the room back.
///
/// # Errors
/// If the filler cannot be removed.
pub fn free(folder: &Path) -> Result<()> {
    Ok(host::files::remove(&folder.join(FILLER))?)
}

/// Takes away every disk below `folder`.
///
/// # Errors
/// If one cannot be unmounted.
pub async fn unmount_below(folder: &Path) -> Result<()> {
    let mounts = host::files::read_text(Path::new("/proc/self/mounts"), 1 << 20)?;
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    for point in points.filter(|point| point.starts_with(folder) && point != folder) {
        Command::new("umount").arg("--lazy").arg(&point).timeout(LIMIT).run().await?;
    }
    Ok(())
}
