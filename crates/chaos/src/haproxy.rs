//! HAProxy on the client's host: one writer endpoint on loopback, and its runtime commands.
//!
//! Which server it should choose is said by what answers its checks, not here.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use host::command::Command;
use host::files::{Ownership, ensure_dir, write_atomic};
use host::process::{ProcessId, Signal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::hosts::Host;
use crate::node::POLL;

/// Port of the writer endpoint on the client's loopback.
pub const PORT: u16 = 3306;

const START_LIMIT: Duration = Duration::from_secs(20);
const STOP_LIMIT: Duration = Duration::from_secs(5);
const COMMAND_LIMIT: Duration = Duration::from_secs(5);

/// How fast a proxy notices, and whether it ends the sessions of a server that it gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    /// Milliseconds between checks.
    pub interval_ms: u32,
    /// Failed checks in a row until a server is given up.
    pub fall: u32,
    /// `on-marked-down shutdown-sessions`.
    pub ends_sessions: bool,
}

impl Checks {
    /// As often recommended for Galera: given up after ten seconds.
    pub const USUAL: Self = Self { interval_ms: 2000, fall: 5, ends_sessions: false };
    /// The best settings measured for the peers.
    pub const TUNED: Self = Self { interval_ms: 500, fall: 2, ends_sessions: true };
}

/// A running HAProxy.
#[derive(Debug)]
pub struct Haproxy {
    process: ProcessId,
    socket: PathBuf,
}

impl Haproxy {
    /// Starts it with a whole configuration file, whose `stats socket` must be `FOLDER/haproxy/stats.sock`.
    ///
    /// # Errors
    /// If HAProxy is not installed, refuses the file or does not open its socket.
    pub async fn start(host: &Host, folder: &Path, configuration: &str) -> Result<Self> {
        let folder = folder.join("haproxy");
        ensure_dir(&folder, &Ownership::mode(0o700))?;
        let file = folder.join("haproxy.cfg");
        write_atomic(&file, configuration.as_bytes(), &Ownership::mode(0o600))?;
        let file = file.display().to_string();
        Command::new("haproxy").args(["-c", "-q", "-f", &file]).run().await?;
        let words = ["haproxy", "-db", "-f", &file].map(str::to_owned);
        let process = host.command(&words)?.start_detached(&folder.join("log"))?;
        let haproxy = Self { process, socket: socket(&folder) };
        let deadline = Instant::now() + START_LIMIT;
        while !haproxy.socket.exists() {
            ensure!(haproxy.process.is_alive() && Instant::now() < deadline, "HAProxy does not start");
            tokio::time::sleep(POLL).await;
        }
        Ok(haproxy)
    }

    /// Gives one command on the runtime socket; what it answers.
    ///
    /// # Errors
    /// If HAProxy does not answer.
    pub async fn tell(&self, command: &str) -> Result<String> {
        let work = async {
            let mut stream = UnixStream::connect(&self.socket).await?;
            stream.write_all(format!("{command}\n").as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<String, std::io::Error>(answer)
        };
        let answer = tokio::time::timeout(COMMAND_LIMIT, work).await.context("HAProxy does not answer")??;
        Ok(answer.trim().to_owned())
    }

    /// Gives a command that answers nothing when it worked.
    ///
    /// # Errors
    /// If HAProxy refuses it.
    pub async fn order(&self, command: &str) -> Result<()> {
        let answer = self.tell(command).await?;
        if !answer.is_empty() {
            bail!("HAProxy to {command:?}: {answer}");
        }
        Ok(())
    }

    /// Ends it.
    ///
    /// # Errors
    /// If it does not end.
    pub async fn stop(&self) -> Result<()> {
        self.process.signal(Signal::KILL)?;
        ensure!(self.process.wait_end(STOP_LIMIT).await?, "HAProxy does not end");
        Ok(())
    }
}

/// A configuration with one writer: the first of `servers` whose check on `check_port` is answered well.
#[must_use]
pub fn single_writer(folder: &Path, servers: &[Host], check_port: u16, checks: Checks) -> String {
    let mut text = format!(
        "global\n  stats socket {} level admin\n\
         defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
         listen writer\n  bind 127.0.0.1:{PORT}\n  option httpchk\n  default-server inter {} fall {} port {check_port}{}\n",
        socket(&folder.join("haproxy")).display(),
        checks.interval_ms,
        checks.fall,
        if checks.ends_sessions { " on-marked-down shutdown-sessions" } else { "" },
    );
    for (index, host) in servers.iter().enumerate() {
        let backup = if index == 0 { "" } else { " backup" };
        text.push_str(&format!("  server {} {}:3306 check{backup}\n", host.name, host.address));
    }
    text
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("stats.sock")
}
