//! Starting, restarting and supervising the server: systemd where it runs, a process of Mainstay's elsewhere.

use std::path::{Path, PathBuf};
use std::time::Duration;

use facts::{Seen, ServiceFacts};
use host::files::{self, Ownership};
use host::service::{ProcessService, Systemd};
use host::supervise::{RestartLimit, stop_signal};
use server::{Connection, Limits, ServerError, ServerProgram, Sql};
use spec::{Node, ServiceManager, Spec};

use crate::error::SetupError;
use crate::login::admin_target;

/// How long a supervisor may take until the server's process is there.
const APPEARS_WITHIN: Duration = Duration::from_secs(10);
/// A server may flush gigabytes on shutdown, and recover its redo log on start.
const STOP_LIMIT: Duration = Duration::from_secs(600);
const START_LIMIT: Duration = Duration::from_secs(600);
/// Between two tries to reach a server that starts or stops.
const POLL: Duration = Duration::from_millis(100);

/// What starts and stops this node's server.
pub(crate) struct Driver<'a> {
    spec: &'a Spec,
    node: &'a Node,
    manager: ServiceManager,
}

impl<'a> Driver<'a> {
    /// The spec's manager, with `auto` resolved on this host.
    pub(crate) fn resolve(spec: &'a Spec, node: &'a Node) -> Self {
        let manager = match spec.service.manager {
            ServiceManager::Auto if host::service::systemd_runs() => ServiceManager::Systemd,
            ServiceManager::Auto => ServiceManager::Process,
            named @ (ServiceManager::Systemd | ServiceManager::Process | ServiceManager::None) => named,
        };
        Self { spec, node, manager }
    }

    pub(crate) const fn manager(&self) -> ServiceManager {
        self.manager
    }

    /// The service as planning sees it. A server that answers runs, whoever started it.
    pub(crate) async fn facts(&self, answers: bool) -> Seen<ServiceFacts> {
        match self.manager {
            ServiceManager::Systemd => Systemd::new(&self.spec.service.unit).facts().await,
            ServiceManager::Process | ServiceManager::Auto => match self.process(Vec::new()).facts() {
                Seen::Known(facts) => {
                    Seen::Known(ServiceFacts { running: facts.running || answers, ..facts })
                }
                Seen::Absent if answers => {
                    Seen::Known(ServiceFacts { running: true, enabled: false, program: Seen::Absent })
                }
                other @ (Seen::Absent | Seen::Unknown(_)) => other,
            },
            ServiceManager::None => Seen::Absent,
        }
    }

    /// Has it start at boot.
    pub(crate) async fn enable(&self) -> Result<(), SetupError> {
        if self.manager == ServiceManager::Systemd {
            Systemd::new(&self.spec.service.unit).enable().await?;
        }
        Ok(())
    }

    /// Starts it and waits until it answers.
    pub(crate) async fn start(&self) -> Result<(), SetupError> {
        match self.manager {
            ServiceManager::Systemd => Systemd::new(&self.spec.service.unit).start().await?,
            ServiceManager::Process | ServiceManager::Auto => self.start_process().await?,
            ServiceManager::None => {
                return Err(SetupError::refused(
                    "`manager = \"none\"` forbids starting the server",
                    "start it, then run apply again",
                ));
            }
        }
        self.wait_until_answering().await
    }

    /// Stops it cleanly and starts it again.
    pub(crate) async fn restart(&self) -> Result<(), SetupError> {
        match self.manager {
            ServiceManager::Systemd => {
                Systemd::new(&self.spec.service.unit).restart().await?;
                return self.wait_until_answering().await;
            }
            ServiceManager::Process | ServiceManager::Auto => self.stop_process().await?,
            ServiceManager::None => {}
        }
        self.start().await
    }

    async fn stop_process(&self) -> Result<(), SetupError> {
        let service = self.process(Vec::new());
        if service.is_running()? {
            service.stop(STOP_LIMIT).await?;
            return Ok(());
        }
        // Somebody else started it: it is asked to end itself.
        let target = admin_target(self.spec, self.node)?;
        let mut connection = Connection::open(&target, &Limits::default()).await?;
        let pid_file = pid_file_of(&mut connection).await?;
        match connection.execute(&Sql::plain("SHUTDOWN")).await {
            Ok(_) | Err(ServerError::ConnectionLost { .. } | ServerError::ServerShutdown) => {}
            Err(error) => return Err(error.into()),
        }
        let deadline = std::time::Instant::now() + STOP_LIMIT;
        // The server removes its pid file last, after the data files are closed.
        while pid_file.exists() {
            if std::time::Instant::now() > deadline {
                return Err(SetupError::refused(
                    "the server does not end",
                    format!("look at {}", pid_file.display()),
                ));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    async fn start_process(&self) -> Result<(), SetupError> {
        let command = self.command().await?;
        let service = self.process(command.clone());
        if let Err(error) = server::clear_dead_socket_lock(&self.node.socket) {
            tracing::warn!(socket = %self.node.socket.display(), %error, "a dead server's socket lock stays");
        }
        files::ensure_dir(&self.spec.paths.state, &Ownership::mode(0o750))?;
        if !self.spec.service.supervise {
            service.start_detached()?;
            return Ok(());
        }
        let me = std::env::current_exe().map_err(|error| {
            SetupError::refused(
                format!("this program's own path is not known: {error}"),
                "run it by its full path",
            )
        })?;
        let mut supervisor = vec![me.to_string_lossy().into_owned(), "supervise".to_owned()];
        supervisor.extend(["--state".to_owned(), self.spec.paths.state.to_string_lossy().into_owned()]);
        supervisor.extend(["--node".to_owned(), self.node.name.clone()]);
        supervisor.push("--".to_owned());
        supervisor.extend(command);
        service.start_supervised(&supervisor).await?;
        Ok(())
    }

    /// The server's program and arguments, making its data directory first if it has none.
    async fn command(&self) -> Result<Vec<String>, SetupError> {
        if !self.spec.service.command.is_empty() {
            return Ok(self.spec.service.command.clone());
        }
        let program = ServerProgram::find(None, self.spec.cluster.server).await?;
        let data_dir = &self.node.data_dir;
        let user = self.spec.service.user.clone();
        if !data_dir.join("mysql").exists() {
            let owner = self.user();
            files::ensure_dir(data_dir, &Ownership { mode: 0o750, owner, group: None })?;
            program.initialise(data_dir, &user).await?;
        }
        if let Some(folder) = self.node.socket.parent() {
            files::ensure_dir(folder, &Ownership { mode: 0o755, owner: self.user(), group: None })?;
        }
        let mut command = vec![program.path().to_string_lossy().into_owned()];
        command.push(format!("--datadir={}", data_dir.display()));
        command.push(format!("--socket={}", self.node.socket.display()));
        if host::users::is_root() {
            command.push(format!("--user={user}"));
        }
        Ok(command)
    }

    fn process(&self, command: Vec<String>) -> ProcessService {
        process_service(&self.spec.paths.state, &self.node.name, command)
    }

    fn user(&self) -> Option<String> {
        host::users::is_root().then(|| self.spec.service.user.clone())
    }

    async fn wait_until_answering(&self) -> Result<(), SetupError> {
        let began = std::time::Instant::now();
        let deadline = began + START_LIMIT;
        let target = admin_target(self.spec, self.node)?;
        let mut was_there = false;
        loop {
            match Connection::open(&target, &Limits::default()).await {
                Ok(connection) => {
                    connection.close().await;
                    return Ok(());
                }
                Err(error @ (ServerError::NoSocket { .. } | ServerError::ConnectRefused { .. })) => {
                    let runs =
                        self.manager != ServiceManager::Process || self.process(Vec::new()).is_running()?;
                    was_there |= runs;
                    // A supervisor that has just taken its place starts the server a moment later.
                    let gone = !runs && (was_there || began.elapsed() > APPEARS_WITHIN);
                    if gone || std::time::Instant::now() > deadline {
                        let log = self.process(Vec::new()).log_file;
                        return Err(SetupError::refused(
                            format!("the server does not come up: {error}"),
                            format!(
                                "read its error log, or {}; the option file is {}",
                                log.display(),
                                self.config_hint()
                            ),
                        ));
                    }
                }
                Err(
                    ServerError::Timeout { .. }
                    | ServerError::ConnectionLost { .. }
                    | ServerError::ServerShutdown,
                ) if std::time::Instant::now() < deadline => {}
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn config_hint(&self) -> String {
        self.spec
            .config
            .file
            .as_ref()
            .map_or_else(|| "Mainstay's drop-in".to_owned(), |file| file.display().to_string())
    }
}

async fn pid_file_of(connection: &mut Connection) -> Result<PathBuf, SetupError> {
    let rows = connection.query(&Sql::plain("SELECT @@pid_file AS path, @@datadir AS folder")).await?;
    let row = rows.first();
    let path = PathBuf::from(row.and_then(|row| row.text("path")).unwrap_or_default());
    let folder = PathBuf::from(row.and_then(|row| row.text("folder")).unwrap_or_default());
    Ok(folder.join(path))
}

/// The files of a node's process in Mainstay's state folder.
fn process_service(state: &Path, node: &str, command: Vec<String>) -> ProcessService {
    ProcessService {
        command,
        pid_file: state.join(format!("{node}.pid")),
        log_file: state.join(format!("{node}.log")),
        // The server drops to its user itself (`--user`), so that it can still read what only root may.
        user: None,
    }
}

/// Keeps a server running until told to stop; what `mainstay supervise` does.
///
/// # Errors
/// When another supervisor is there, the server cannot be started, or it dies too often.
pub async fn supervise(state: &Path, node: &str, command: &[String]) -> Result<(), SetupError> {
    let service = process_service(state, node, command.to_vec());
    let stop = stop_signal().map_err(|error| {
        SetupError::refused(format!("signals cannot be listened to: {error}"), "look at the log")
    })?;
    host::supervise::supervise(&service, &RestartLimit::default(), stop).await?;
    Ok(())
}
