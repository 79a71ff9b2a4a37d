//! Processes of this host, named so that a recycled process id is never mistaken for them.
//!
//! A process is its id and the tick it was started at; signals go through a pidfd opened before that is
//! checked, so between check and signal nobody else can take the id. Starting processes is
//! [`crate::command`]'s.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use rustix::process::{
    DumpableBehavior, Pid, PidfdFlags, WaitOptions, pidfd_open, pidfd_send_signal, set_dumpable_behavior,
    waitpid,
};
use tokio::io::unix::AsyncFd;

pub use rustix::process::Signal;

use crate::files;

/// Keeps this process's memory, and the secrets in it, out of core files and away from other processes of the same
/// user. A program that it starts is not affected.
///
/// # Errors
/// The kernel refuses.
pub fn forbid_core_dump() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Limit for files of `/proc` about one process.
const PROC_BYTES_MAX: usize = 64 << 10;

/// One process, as long as it lives: another one with the same id is not equal to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessId {
    /// Process id.
    pub pid: u32,
    /// Clock ticks after boot at which it was started.
    pub start_ticks: u64,
}

/// Written as `PID START_TICKS`: the form of Mainstay's pid files.
impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.start_ticks)
    }
}

/// The text is not `PID START_TICKS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a process id and its start tick")]
pub struct ParseProcessIdError;

impl FromStr for ProcessId {
    type Err = ParseProcessIdError;

    fn from_str(text: &str) -> Result<Self, ParseProcessIdError> {
        let (pid, ticks) = text.trim().split_once(' ').ok_or(ParseProcessIdError)?;
        Ok(Self {
            pid: pid.parse().map_err(|_| ParseProcessIdError)?,
            start_ticks: ticks.parse().map_err(|_| ParseProcessIdError)?,
        })
    }
}

impl ProcessId {
    /// The process that has this id now.
    ///
    /// # Errors
    /// There is none, or `/proc` cannot be read.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = read_stat(pid)?;
        Ok(Self { pid, start_ticks: stat.start_ticks })
    }

    /// The process this code runs in.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn own() -> io::Result<Self> {
        Self::of(std::process::id())
    }

    /// `true` if it runs. One that has ended and waits for its parent to notice does not run.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        read_stat(self.pid).is_ok_and(|stat| stat.start_ticks == self.start_ticks && !stat.ended)
    }

    /// `true` if it is there and held by SIGSTOP or a debugger: it neither answers nor ends by itself.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        read_stat(self.pid).is_ok_and(|stat| stat.start_ticks == self.start_ticks && stat.stopped)
    }

    /// Its program on disk.
    ///
    /// # Errors
    /// It has ended, or belongs to another user.
    pub fn program(&self) -> io::Result<PathBuf> {
        let path = std::fs::read_link(format!("/proc/{}/exe", self.pid))?;
        if self.is_alive() { Ok(path) } else { Err(ended()) }
    }

    /// Sends it a signal. `false` if it has ended already.
    ///
    /// # Errors
    /// It belongs to another user.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        let Some(fd) = self.open()? else { return Ok(false) };
        match pidfd_send_signal(&fd, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits until it has ended; `false` when it still runs after `timeout`. If it is a child of this process,
    /// its end is also taken note of, so that it leaves no zombie.
    ///
    /// # Errors
    /// The kernel has no pidfd (before Linux 5.3).
    pub async fn wait_end(&self, timeout: Duration) -> io::Result<bool> {
        match tokio::time::timeout(timeout, self.ended()).await {
            Ok(ended) => ended.map(|_| true),
            Err(_) => Ok(false),
        }
    }

    /// Waits until it has ended, however long that takes. The exit code is known only of a child of this process
    /// that ended by itself.
    ///
    /// # Errors
    /// The kernel has no pidfd (before Linux 5.3).
    pub async fn ended(&self) -> io::Result<Option<i32>> {
        if let Some(fd) = self.open()? {
            #[expect(
                deprecated,
                reason = "its successor is unsafe code; it is unsound for types whose descriptor changes, and that of an \
                          OwnedFd does not"
            )]
            let fd = AsyncFd::new(fd)?;
            drop(fd.readable().await?);
        }
        Ok(self.reap())
    }

    fn reap(&self) -> Option<i32> {
        let reaped = waitpid(self.as_pid(), WaitOptions::NOHANG);
        // It is mostly not a child of ours; then there is nothing to take note of.
        reaped.ok().flatten().and_then(|(_, status)| status.exit_status())
    }

    fn as_pid(self) -> Option<Pid> {
        i32::try_from(self.pid).ok().and_then(Pid::from_raw)
    }

    fn open(&self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = self.as_pid() else { return Ok(None) };
        match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(fd) => Ok(self.is_alive().then_some(fd)),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

struct Stat {
    ended: bool,
    stopped: bool,
    start_ticks: u64,
}

fn read_stat(pid: u32) -> io::Result<Stat> {
    let path = PathBuf::from(format!("/proc/{pid}/stat"));
    let bytes = files::read_bounded(&path, PROC_BYTES_MAX).map_err(io::Error::other)?;
    parse_stat(&String::from_utf8_lossy(&bytes))
        .ok_or_else(|| io::Error::other("/proc/PID/stat is not as expected"))
}

/// `/proc/PID/stat`, see proc(5). The name in parentheses may hold anything, also parentheses and spaces.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let start_ticks = fields.nth(18)?.parse().ok()?;
    Some(Stat { ended: matches!(state, "Z" | "X"), stopped: matches!(state, "T" | "t"), start_ticks })
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the process has ended")
}

/// Ids of all processes the host shows.
pub(crate) fn all() -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir(Path::new("/proc")) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;

    #[test]
    fn stat_is_read_whatever_the_name() {
        let stat =
            parse_stat("42 (a) Z (b)) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 10 11 12 13\n")
                .unwrap();
        assert_eq!(stat.start_ticks, 987_654);
        assert!(!stat.ended && !stat.stopped);
        assert!(parse_stat("42 (zombie) Z 1 42").is_none());
    }

    #[tokio::test]
    async fn a_stopped_process_is_alive_and_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let process = Command::new("sleep").arg("100").start_detached(&folder.path().join("log")).unwrap();
        assert!(!process.is_stopped());
        process.signal(Signal::STOP).unwrap();
        let began = std::time::Instant::now();
        while !process.is_stopped() {
            assert!(began.elapsed() < Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(process.is_alive());
        assert!(!ProcessId { start_ticks: process.start_ticks - 1, ..process }.is_stopped());
        process.signal(Signal::KILL).unwrap();
        assert!(process.wait_end(Duration::from_secs(5)).await.unwrap(), "SIGKILL ends a stopped process");
        assert!(!process.is_stopped());
    }

    #[tokio::test]
    async fn a_recycled_id_is_another_process() {
        let folder = tempfile::tempdir().unwrap();
        let process = Command::new("sleep").arg("100").start_detached(&folder.path().join("log")).unwrap();
        let before = ProcessId { start_ticks: process.start_ticks - 1, ..process };
        assert!(process.is_alive() && !before.is_alive());
        assert!(!before.signal(Signal::KILL).unwrap(), "the earlier owner of the id has ended");
        assert!(process.is_alive(), "its successor must not get the signal");
        assert!(before.wait_end(Duration::from_secs(1)).await.unwrap());
        assert!(!process.wait_end(Duration::from_millis(20)).await.unwrap());
        assert!(process.program().unwrap().to_string_lossy().contains("sleep"));

        assert!(process.signal(Signal::KILL).unwrap());
        assert!(process.wait_end(Duration::from_secs(5)).await.unwrap());
        assert!(!process.is_alive());
        assert!(!process.signal(Signal::KILL).unwrap());
    }

    #[tokio::test]
    async fn the_exit_code_of_a_child_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let process =
            Command::new("sh").args(["-c", "exit 7"]).start_detached(&folder.path().join("log")).unwrap();
        assert_eq!(process.ended().await.unwrap(), Some(7));
        assert_eq!(process.to_string().parse(), Ok(process));
    }
}
