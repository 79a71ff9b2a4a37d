//! A server's process: started in its own process group, found, signalled and watched by pid.
//!
//! It deliberately knows no service manager: servers under systemd belong to `host`. A pid is never trusted
//! alone: the process must also have the server's own defaults file in its command line, or the spec of an agent.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
pub use rustix::process::Signal;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

/// How often a process that is to end is looked at.
const POLL: Duration = Duration::from_millis(20);

/// A server's process, by its pid and the folder that its defaults file is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerProcess {
    /// Process id.
    pub pid: u32,
    /// Its defaults file is in this folder or below.
    pub folder: PathBuf,
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessState {
    /// It runs or sleeps.
    Running,
    /// SIGSTOP holds it.
    Paused,
    /// There is no such process, or another one has its pid.
    Gone,
}

/// Removes the lock file that MySQL keeps beside its socket when the server it names is dead: gone, ending (it has
/// no command line any more), or a zombie that its parent has not waited for, which the server's own check takes for
/// alive. Data is guarded by a lock of its own in the data directory, not by this file.
///
/// # Errors
/// If the file is there and cannot be removed.
pub fn clear_dead_socket_lock(socket: &Path) -> io::Result<()> {
    let mut lock = socket.as_os_str().to_owned();
    lock.push(".lock");
    let Ok(text) = fs::read_to_string(&lock) else { return Ok(()) };
    let alive = |pid: u32| {
        let has_memory = fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty());
        has_memory && stat_state(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
    };
    if text.trim().parse().is_ok_and(alive) { Ok(()) } else { fs::remove_file(&lock) }
}

impl ServerProcess {
    /// Starts `argv` with its output appended to `log`, detached from this process's terminal group. The server
    /// goes on when this process ends.
    ///
    /// # Errors
    /// If the log cannot be opened or the program cannot be started.
    pub async fn spawn(argv: &[String], folder: &Path, log: &Path) -> io::Result<Self> {
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = command(argv)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0).current_dir("/");
        let child = command.spawn()?;
        let pid = child.id().ok_or_else(|| io::Error::other("the process ended at once"))?;
        let process = Self { pid, folder: folder.to_owned() };
        // A new program runs a moment before the kernel shows its command line.
        while !process.is_ours() && stat_state(pid).is_some_and(|state| state != 'Z') {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // The child is dropped without a wait: the runtime reaps it when it ends before this process does.
        Ok(process)
    }

    /// Every process whose defaults file is in `folder` or below, agents with their spec (`--config=FILE`) there, and the helpers that Galera starts for a
    /// state transfer there.
    ///
    /// # Errors
    /// If /proc cannot be read.
    pub fn find_all(folder: &Path) -> io::Result<Vec<Self>> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let process = Self { pid, folder: folder.to_owned() };
            if process.state() != ProcessState::Gone {
                found.push(process);
            }
        }
        Ok(found)
    }

    /// What the process does now.
    #[must_use]
    pub fn state(&self) -> ProcessState {
        if !self.is_ours() {
            return ProcessState::Gone;
        }
        match stat_state(self.pid) {
            Some('T' | 't') => ProcessState::Paused,
            Some('Z' | 'X') | None => ProcessState::Gone,
            Some(_) => ProcessState::Running,
        }
    }

    /// Sends a signal; `false` if the process is gone. A pid taken over by another process is never hit: the
    /// process is held by a descriptor before its command line is read.
    ///
    /// # Errors
    /// If the kernel refuses, such as for another user's process.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(false) };
        let held = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(held) => held,
            Err(rustix::io::Errno::SRCH) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        if !self.is_ours() {
            return Ok(false);
        }
        match pidfd_send_signal(&held, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until the process is gone, with all it held open; `false` if it is still there after `limit`.
    pub async fn wait_gone(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let held = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        // One that is ending shows no command line a moment before its files and locks are free.
        let held = held.filter(|_| self.state() != ProcessState::Gone);
        while held.as_ref().is_some_and(|held| !has_ended(held)) {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
        true
    }

    fn is_ours(&self) -> bool {
        let Ok(line) = fs::read(format!("/proc/{}/cmdline", self.pid)) else { return false };
        let mut arguments = line.split(|byte| *byte == 0).filter(|argument| !argument.is_empty());
        let is_transfer = arguments.clone().take(2).any(is_transfer_program);
        arguments.any(|argument| match file_named(argument) {
            Some(path) => Path::new(OsStr::from_bytes(path)).starts_with(&self.folder),
            None => is_transfer && mentions(argument, &self.folder),
        })
    }
}

/// The file that a server or an agent was started with.
fn file_named(argument: &[u8]) -> Option<&[u8]> {
    argument.strip_prefix(b"--defaults-file=").or_else(|| argument.strip_prefix(b"--config="))
}

/// The descriptor of a process is readable when the process has ended. A zombie has.
fn has_ended(process: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(process, PollFlags::IN)];
    poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// The kernel's letter for what a process does.
fn stat_state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it, in parentheses, may hold anything; the state follows the last one.
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Programs that a Galera node starts to send or receive a full copy.
fn is_transfer_program(argument: &[u8]) -> bool {
    let name = argument.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    name.starts_with(b"wsrep_sst_") || [&b"rsync"[..], b"mariabackup", b"mariadb-backup"].contains(&name)
}

fn mentions(argument: &[u8], folder: &Path) -> bool {
    let mut wanted = folder.as_os_str().as_bytes().to_vec();
    wanted.push(b'/');
    argument.windows(wanted.len()).any(|window| window == wanted)
}

/// A command for `argv`, in the C locale: messages are read by people and tests.
pub(crate) fn command(argv: &[String]) -> io::Result<tokio::process::Command> {
    let (program, arguments) =
        argv.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program"))?;
    #[expect(
        clippy::disallowed_methods,
        reason = "only this crate starts servers, and it stands below `host`"
    )]
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).env("LC_ALL", "C");
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ended with the test, also with one that fails.
    struct Waiter(ServerProcess);

    impl Drop for Waiter {
        fn drop(&mut self) {
            let _ = self.0.signal(Signal::KILL);
        }
    }

    /// A process that waits, by itself, for a pipe that nobody opens.
    async fn waiter(folder: &Path) -> Waiter {
        let pipe = folder.join("pipe");
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, rustix::fs::Mode::RUSR, 0).unwrap();
        let option = format!("--defaults-file={}/my.cnf", folder.display());
        let pipe = pipe.display().to_string();
        let argv = ["/bin/sh", "-c", "read line < \"$1\"", "sh", &pipe, &option].map(str::to_owned);
        Waiter(ServerProcess::spawn(&argv, folder, &folder.join("log")).await.unwrap())
    }

    #[tokio::test]
    async fn a_process_is_found_paused_and_ended_by_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let waiter = waiter(folder.path()).await;
        let process = waiter.0.clone();
        assert_eq!(process.state(), ProcessState::Running);
        assert_eq!(ServerProcess::find_all(folder.path()).unwrap(), vec![process.clone()]);
        assert!(process.signal(Signal::STOP).unwrap());
        while process.state() != ProcessState::Paused {
            tokio::time::sleep(POLL).await;
        }
        assert!(!process.wait_gone(Duration::from_millis(50)).await);
        assert!(process.signal(Signal::KILL).unwrap());
        assert!(process.wait_gone(Duration::from_secs(5)).await);
        assert!(!process.signal(Signal::KILL).unwrap());
    }

    #[tokio::test]
    async fn another_process_with_the_pid_is_never_hit() {
        let folder = tempfile::tempdir().unwrap();
        let waiter = waiter(folder.path()).await;
        let process = waiter.0.clone();
        let stranger = ServerProcess { pid: process.pid, folder: folder.path().join("other") };
        assert_eq!(stranger.state(), ProcessState::Gone);
        assert!(!stranger.signal(Signal::KILL).unwrap());
        assert_eq!(process.state(), ProcessState::Running);
        process.signal(Signal::KILL).unwrap();
        assert!(process.wait_gone(Duration::from_secs(5)).await);
    }
}
