//! The server's service: a systemd unit, or where there is no systemd a process that Mainstay supervises.
//!
//! Starting, stopping and looking; the loop that restarts a server is [`crate::supervise`]. Whether a service
//! may be restarted is not decided here, and a database is never killed for being slow to stop.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use facts::{Seen, ServiceFacts};

use crate::command::{Command, CommandError};
use crate::files::{self, FileError, Ownership};
use crate::lock::{self, LockError};
use crate::process::{ProcessId, Signal};
use crate::users;

/// Time limit for starting and stopping a unit: a server may recover its log first, or flush its pages.
const UNIT_TIMEOUT: Duration = Duration::from_secs(900);

/// Time limit for asking about a unit.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest pid file.
const PID_BYTES_MAX: usize = 256;

/// Why a service could not be looked at, started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// systemd refused or failed.
    #[error("cannot {operation} the unit `{unit}`")]
    Unit {
        /// What was attempted.
        operation: &'static str,
        /// The unit.
        unit: String,
        /// What `systemctl` said.
        source: CommandError,
    },
    /// `systemctl` answered something unexpected.
    #[error("`systemctl show` of the unit `{unit}` has no {what}")]
    UnitAnswer {
        /// The unit.
        unit: String,
        /// What is missing.
        what: &'static str,
    },
    /// A file of the service cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The supervisor's lock cannot be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The server cannot be started.
    #[error("cannot start the server")]
    Start(#[source] CommandError),
    /// The service has no command to start.
    #[error("the service with pid file `{}` has no command", pid_file.display())]
    NoCommand {
        /// Names the service.
        pid_file: PathBuf,
    },
    /// The host has no such user.
    #[error("the host has no user `{name}` for the server to run as")]
    NoUser {
        /// The user.
        name: String,
    },
    /// A process cannot be signalled or followed.
    #[error("cannot signal or follow process {pid}")]
    Process {
        /// The process.
        pid: u32,
        /// The refusal.
        source: io::Error,
    },
    /// It still runs.
    #[error("process {pid} did not end within {timeout_seconds} s and is still shutting down")]
    StillRunning {
        /// The process.
        pid: u32,
        /// How long was waited.
        timeout_seconds: u64,
    },
    /// The supervisor ended before it had taken its place, or did not take it in time.
    #[error("the supervisor of the server did not start")]
    NoSupervisor {
        /// Where it says why.
        log_file: PathBuf,
    },
    /// It died too often.
    #[error("the server died {deaths} times in {window_seconds} s and is not started again")]
    KeepsDying {
        /// How often.
        deaths: usize,
        /// In how long.
        window_seconds: u64,
        /// Where it says why.
        log_file: PathBuf,
    },
}

impl ServiceError {
    /// The next thing to do.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unit { unit, .. } => {
                format!("look with `systemctl status {unit}` and `journalctl -eu {unit}`")
            }
            Self::UnitAnswer { unit, .. } => format!("look with `systemctl show {unit}`"),
            Self::File(error) => error.hint(),
            Self::Lock(error) => error.hint(),
            Self::Start(error) => error.hint(),
            Self::NoCommand { .. } => "set `command` under `[service]`".to_owned(),
            Self::NoUser { name } => {
                format!("install the server package, or create the user: `useradd --system {name}`")
            }
            Self::Process { pid, .. } => format!("run as root, or look with `ps -fp {pid}`"),
            Self::StillRunning { pid, .. } => {
                format!("follow the server's error log until process {pid} has ended; do not kill it")
            }
            Self::KeepsDying { log_file, .. } | Self::NoSupervisor { log_file } => {
                format!("look with `tail -n 50 {}`", log_file.display())
            }
        }
    }
}

/// `true` where systemd is process 1 (sd_booted(3)).
#[must_use]
pub fn systemd_runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// A systemd unit.
#[derive(Clone, Debug)]
pub struct Systemd {
    unit: String,
    systemctl: PathBuf,
}

/// What systemd says of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitState {
    /// systemd has such a unit.
    pub loaded: bool,
    /// `ActiveState`: `active`, `inactive`, `failed`, `activating`, ...
    pub active: String,
    /// `UnitFileState`: `enabled`, `disabled`, `masked`, ...; empty for none.
    pub enabled: String,
    /// The server's process; `None` when it does not run.
    pub main_pid: Option<u32>,
}

impl Systemd {
    /// The unit of this name.
    #[must_use]
    pub fn new(unit: impl Into<String>) -> Self {
        Self { unit: unit.into(), systemctl: PathBuf::from("systemctl") }
    }

    /// The same unit, asked of another `systemctl`.
    #[must_use]
    pub fn with_program(mut self, systemctl: impl Into<PathBuf>) -> Self {
        self.systemctl = systemctl.into();
        self
    }

    /// What systemd says of the unit.
    ///
    /// # Errors
    /// `systemctl` fails or its answer has no state.
    pub async fn state(&self) -> Result<UnitState, ServiceError> {
        let output = Command::new(&self.systemctl)
            .args(["show", "--property=LoadState,ActiveState,UnitFileState,MainPID", "--"])
            .arg(&self.unit)
            .timeout(ASK_TIMEOUT)
            .run()
            .await
            .map_err(|source| self.failed("look at", source))?;
        parse_unit(&output.stdout_text())
            .map_err(|what| ServiceError::UnitAnswer { unit: self.unit.clone(), what })
    }

    /// The service as planning sees it: absent when systemd has no such unit.
    pub async fn facts(&self) -> Seen<ServiceFacts> {
        match self.state().await {
            Ok(state) if !state.loaded => Seen::Absent,
            Ok(state) => Seen::Known(ServiceFacts {
                // A unit that reloads its configuration runs.
                running: matches!(state.active.as_str(), "active" | "reloading"),
                enabled: matches!(state.enabled.as_str(), "enabled" | "enabled-runtime" | "static" | "alias"),
                program: state.main_pid.map_or(Seen::Absent, program_of),
            }),
            Err(error) => Seen::Unknown(crate::reason(&error)),
        }
    }

    /// Has it started at boot.
    ///
    /// # Errors
    /// systemd refuses.
    pub async fn enable(&self) -> Result<(), ServiceError> {
        self.act("enable").await
    }

    /// Starts it and waits until it says that it is ready.
    ///
    /// # Errors
    /// systemd refuses, or the server does not start.
    pub async fn start(&self) -> Result<(), ServiceError> {
        self.act("start").await
    }

    /// Stops it and waits until it has ended.
    ///
    /// # Errors
    /// systemd refuses, or it does not end in 15 minutes.
    pub async fn stop(&self) -> Result<(), ServiceError> {
        self.act("stop").await
    }

    /// Stops and starts it.
    ///
    /// # Errors
    /// As for [`Self::stop`] and [`Self::start`].
    pub async fn restart(&self) -> Result<(), ServiceError> {
        self.act("restart").await
    }

    async fn act(&self, verb: &'static str) -> Result<(), ServiceError> {
        let command = Command::new(&self.systemctl).args([verb, "--"]).arg(&self.unit).timeout(UNIT_TIMEOUT);
        command.run().await.map(drop).map_err(|source| self.failed(verb, source))
    }

    fn failed(&self, operation: &'static str, source: CommandError) -> ServiceError {
        ServiceError::Unit { operation, unit: self.unit.clone(), source }
    }
}

fn parse_unit(text: &str) -> Result<UnitState, &'static str> {
    let value = |key: &'static str| {
        text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::trim).ok_or(key)
    };
    let main_pid: u32 = value("MainPID")?.parse().map_err(|_| "MainPID")?;
    Ok(UnitState {
        loaded: value("LoadState")? != "not-found",
        active: value("ActiveState")?.to_owned(),
        // A unit that systemd does not know has no such property.
        enabled: value("UnitFileState").unwrap_or_default().to_owned(),
        main_pid: (main_pid != 0).then_some(main_pid),
    })
}

fn program_of(pid: u32) -> Seen<PathBuf> {
    Seen::from_result(ProcessId::of(pid).and_then(|process| process.program()))
}

/// A server that Mainstay runs itself, where there is no systemd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessService {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Mainstay's own pid file (`PID START_TICKS`); not the one that the server writes.
    pub pid_file: PathBuf,
    /// Where the output of the server and of its supervisor is appended.
    pub log_file: PathBuf,
    /// Whom the server runs as, when Mainstay is root.
    pub user: Option<String>,
}

impl ProcessService {
    /// The server's process; `None` when it does not run.
    ///
    /// # Errors
    /// The pid file is there and cannot be read.
    pub fn pid(&self) -> Result<Option<ProcessId>, ServiceError> {
        let text = match files::read_text(&self.pid_file, PID_BYTES_MAX) {
            Ok(text) => text,
            Err(error) if error.is_missing() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // A pid file that is not as written names no process that could safely be signalled.
        Ok(text.parse().ok().filter(ProcessId::is_alive))
    }

    /// `true` if the server's process runs.
    ///
    /// # Errors
    /// As [`Self::pid`].
    pub fn is_running(&self) -> Result<bool, ServiceError> {
        Ok(self.pid()?.is_some())
    }

    /// The supervisor's process; `None` when the server is not supervised.
    ///
    /// # Errors
    /// The supervisor's lock cannot be read.
    pub fn supervisor(&self) -> Result<Option<ProcessId>, ServiceError> {
        Ok(lock::holder(&self.supervisor_file())?.map(|holder| holder.process))
    }

    /// The service as planning sees it.
    #[must_use]
    pub fn facts(&self) -> Seen<ServiceFacts> {
        let seen = || -> Result<ServiceFacts, ServiceError> {
            let process = self.pid()?;
            Ok(ServiceFacts {
                running: process.is_some(),
                enabled: self.supervisor()?.is_some(),
                program: process.map_or(Seen::Absent, |process| Seen::from_result(process.program())),
            })
        };
        match seen() {
            Ok(facts) => Seen::Known(facts),
            Err(error) => Seen::Unknown(crate::reason(&error)),
        }
    }

    /// Starts the server without a supervisor; one that runs already is returned as it is.
    ///
    /// # Errors
    /// The user does not exist, or the server cannot be started.
    pub fn start_detached(&self) -> Result<ProcessId, ServiceError> {
        self.start_detached_with(&[])
    }

    /// As [`Self::start_detached`], with more arguments for this start.
    ///
    /// # Errors
    /// The user does not exist, or the server cannot be started.
    pub fn start_detached_with(&self, arguments: &[String]) -> Result<ProcessId, ServiceError> {
        if let Some(process) = self.pid()? {
            return Ok(process);
        }
        let no_command = || ServiceError::NoCommand { pid_file: self.pid_file.clone() };
        let mut command = Command::from_words(&self.command).ok_or_else(no_command)?.args(arguments);
        if let Some(name) = &self.user {
            let user = users::user(name)?.ok_or_else(|| ServiceError::NoUser { name: name.clone() })?;
            command = command.user(&user);
        }
        let process = command.start_detached(&self.log_file).map_err(ServiceError::Start)?;
        self.write_pid(process)?;
        Ok(process)
    }

    /// Starts a supervisor (a command that ends in [`crate::supervise::supervise`] for this service), which
    /// starts the server. Returns once it has taken its place, or at once when there is one already.
    ///
    /// # Errors
    /// It cannot be started, or ends at once; the log says why.
    pub async fn start_supervised(&self, supervisor: &[String]) -> Result<ProcessId, ServiceError> {
        if let Some(running) = self.supervisor()? {
            return Ok(running);
        }
        let no_command = || ServiceError::NoCommand { pid_file: self.pid_file.clone() };
        let command = Command::from_words(supervisor).ok_or_else(no_command)?;
        let started = command.start_detached(&self.log_file).map_err(ServiceError::Start)?;
        let deadline = Instant::now() + ASK_TIMEOUT;
        loop {
            // Between taking its lock and saying who it is, a supervisor is there without a name.
            match self.supervisor() {
                Ok(Some(process)) => return Ok(process),
                Ok(None) | Err(ServiceError::Lock(LockError::Held { .. })) => {}
                Err(error) => return Err(error),
            }
            if !started.is_alive() || Instant::now() > deadline {
                let log_file = self.log_file.clone();
                return Err(ServiceError::NoSupervisor { log_file });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops the supervisor first, so that it does not start the server again, then the server. Neither is ever
    /// killed.
    ///
    /// # Errors
    /// One of them still runs after `timeout`.
    pub async fn stop(&self, timeout: Duration) -> Result<(), ServiceError> {
        let deadline = Instant::now() + timeout;
        if let Some(supervisor) = self.supervisor()? {
            end(supervisor, deadline, timeout).await?;
        }
        if let Some(server) = self.pid()? {
            end(server, deadline, timeout).await?;
        }
        files::remove(&self.pid_file)?;
        Ok(())
    }

    pub(crate) fn write_pid(&self, process: ProcessId) -> Result<(), ServiceError> {
        Ok(files::write_atomic(&self.pid_file, format!("{process}\n").as_bytes(), &Ownership::mode(0o644))?)
    }

    /// The supervisor's lock and pid file.
    pub(crate) fn supervisor_file(&self) -> PathBuf {
        let mut name = self.pid_file.file_name().unwrap_or_default().to_owned();
        name.push(".supervisor");
        self.pid_file.parent().unwrap_or(Path::new(".")).join(name)
    }
}

async fn end(process: ProcessId, deadline: Instant, timeout: Duration) -> Result<(), ServiceError> {
    let lost = |source| ServiceError::Process { pid: process.pid, source };
    process.signal(Signal::TERM).map_err(lost)?;
    let left = deadline.saturating_duration_since(Instant::now());
    if process.wait_end(left).await.map_err(lost)? {
        Ok(())
    } else {
        Err(ServiceError::StillRunning { pid: process.pid, timeout_seconds: timeout.as_secs() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(folder: &Path) -> ProcessService {
        ProcessService {
            command: vec!["sleep".into(), "100".into()],
            pid_file: folder.join("server.pid"),
            log_file: folder.join("server.log"),
            user: None,
        }
    }

    #[test]
    fn recorded_units() {
        let running =
            parse_unit("MainPID=812\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n").unwrap();
        assert_eq!(
            running,
            UnitState {
                loaded: true,
                active: "active".into(),
                enabled: "enabled".into(),
                main_pid: Some(812)
            }
        );
        let missing =
            parse_unit("LoadState=not-found\nActiveState=inactive\nUnitFileState=\nMainPID=0\n").unwrap();
        assert!(!missing.loaded && missing.main_pid.is_none());
        assert_eq!(parse_unit("LoadState=loaded\nMainPID=0\n"), Err("ActiveState"));
    }

    #[tokio::test]
    async fn systemd_is_asked_with_the_right_words() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("systemctl");
        let script = "#!/bin/sh
echo \"$@\" >> \"${0%/*}/calls\"
case $1 in
show) printf 'MainPID=0\\nLoadState=loaded\\nActiveState=inactive\\nUnitFileState=disabled\\n' ;;
start) echo 'Job for mariadb.service failed.' >&2; exit 1 ;;
esac
";
        files::write_atomic(&program, script.as_bytes(), &Ownership::mode(0o755)).unwrap();
        let unit = Systemd::new("mariadb").with_program(&program);
        let facts = unit.facts().await;
        assert_eq!(
            facts,
            Seen::Known(ServiceFacts { running: false, enabled: false, program: Seen::Absent })
        );
        unit.enable().await.unwrap();
        let error = unit.start().await.unwrap_err();
        assert_eq!(error.to_string(), "cannot start the unit `mariadb`");
        assert!(crate::reason(&error).contains("Job for mariadb.service failed."));
        assert!(error.hint().contains("journalctl -eu mariadb"));
        let calls = std::fs::read_to_string(folder.path().join("calls")).unwrap();
        assert_eq!(
            calls,
            "show --property=LoadState,ActiveState,UnitFileState,MainPID -- mariadb\nenable -- mariadb\nstart -- mariadb\n"
        );
    }

    #[tokio::test]
    async fn a_process_is_started_once_and_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let service = sleeper(folder.path());
        assert!(!service.is_running().unwrap());
        let process = service.start_detached().unwrap();
        assert_eq!(service.start_detached().unwrap(), process, "a second start changes nothing");
        let Seen::Known(facts) = service.facts() else { panic!("{:?}", service.facts()) };
        assert!(facts.running && !facts.enabled);
        service.stop(Duration::from_secs(10)).await.unwrap();
        assert!(!process.is_alive() && !service.is_running().unwrap());
        service.stop(Duration::from_secs(10)).await.unwrap();
    }

    #[tokio::test]
    async fn more_arguments_are_for_one_start() {
        let folder = tempfile::tempdir().unwrap();
        let mut service = sleeper(folder.path());
        let script = "echo \"$@\"; exec sleep 100";
        service.command = vec!["sh".into(), "-c".into(), script.into(), "sh".into(), "--always".into()];
        let extra = ["--read-only=1".to_owned(), "--init-rpl-role=SLAVE".to_owned()];
        let first = service.start_detached_with(&extra).unwrap();
        assert_eq!(service.start_detached_with(&[]).unwrap(), first, "one that runs is adopted");
        wait_log(&service, "--always --read-only=1 --init-rpl-role=SLAVE\n").await;
        service.stop(Duration::from_secs(10)).await.unwrap();
        service.start_detached().unwrap();
        wait_log(&service, "SLAVE\n--always\n").await;
        service.stop(Duration::from_secs(10)).await.unwrap();
    }

    async fn wait_log(service: &ProcessService, end: &str) {
        let began = Instant::now();
        while !std::fs::read_to_string(&service.log_file).is_ok_and(|log| log.ends_with(end)) {
            assert!(began.elapsed() < Duration::from_secs(5), "{end}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    #[tokio::test]
    async fn a_server_that_takes_long_to_stop_is_reported_and_not_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut service = sleeper(folder.path());
        let ready = folder.path().join("ready");
        let script = "trap '' TERM; : > \"$0\"; while :; do sleep 0.1; done";
        service.command = vec!["sh".into(), "-c".into(), script.into(), ready.display().to_string()];
        let process = service.start_detached().unwrap();
        while !ready.exists() {
            assert!(process.is_alive());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let error = service.stop(Duration::from_millis(100)).await.unwrap_err();
        assert!(matches!(error, ServiceError::StillRunning { pid, .. } if pid == process.pid), "{error}");
        assert!(process.is_alive() && service.is_running().unwrap());
        process.signal(Signal::KILL).unwrap();
        assert!(process.wait_end(Duration::from_secs(5)).await.unwrap());
    }

    #[tokio::test]
    async fn a_pid_file_that_names_another_process_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let service = sleeper(folder.path());
        let own = ProcessId::own().unwrap();
        service.write_pid(ProcessId { start_ticks: own.start_ticks + 1, ..own }).unwrap();
        assert!(!service.is_running().unwrap());
        // Were it believed, this would end the test.
        service.stop(Duration::from_secs(1)).await.unwrap();

        let bare = ProcessService { user: Some("no-such-user".into()), ..sleeper(folder.path()) };
        assert!(matches!(bare.start_detached(), Err(ServiceError::NoUser { .. })));
    }
}
