//! A program that runs on a host until it is ended, and can be started again as it was.
//!
//! Database servers are not among them: they are `node`'s.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use host::process::{ProcessId, Signal};

use crate::hosts::Host;

/// How long a killed program may take to go.
const GONE_LIMIT: Duration = Duration::from_secs(10);

/// A program with its arguments, on its host.
#[derive(Debug)]
pub struct Daemon {
    host: Host,
    words: Vec<String>,
    log: PathBuf,
    process: Mutex<Option<ProcessId>>,
}

impl Daemon {
    /// A program that is not started yet; its output is appended to `log`.
    #[must_use]
    pub fn new(host: &Host, words: Vec<String>, log: &Path) -> Self {
        Self { host: host.clone(), words, log: log.to_owned(), process: Mutex::new(None) }
    }

    /// Its host.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// Starts it, unless it runs.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(&self) -> Result<()> {
        let mut process = self.process();
        if !process.is_some_and(|process| process.is_alive()) {
            *process = Some(self.host.command(&self.words)?.start_detached(&self.log)?);
        }
        Ok(())
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.process().is_some_and(|process| process.is_alive())
    }

    /// Where it writes what it has to say.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Sends it a signal; nothing if it does not run.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if let Some(process) = *self.process() {
            process.signal(signal)?;
        }
        Ok(())
    }

    /// Kills it and waits until it is gone.
    ///
    /// # Errors
    /// If it does not go.
    pub async fn kill(&self) -> Result<()> {
        self.signal(Signal::KILL)?;
        let process = *self.process();
        if let Some(process) = process {
            ensure!(process.wait_end(GONE_LIMIT).await?, "process {} does not end", process.pid);
        }
        Ok(())
    }

    fn process(&self) -> MutexGuard<'_, Option<ProcessId>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
