//! The process of this node's server: started read-only always, ended by SIGKILL.

use std::path::PathBuf;
use std::time::Duration;

use flavor::{Flavor, Vendor};
use ha::StartRole;
use host::files::{self, Ownership};
use host::process::{ProcessId, Signal};
use host::service::{ProcessService, Systemd};
use server::ServerProgram;
use spec::{Node, ServiceManager, Spec};

use crate::error::AgentError;
use crate::swap;

/// How long a killed process may take to be gone.
const GONE: Duration = Duration::from_secs(10);

/// What starts and ends the server.
#[derive(Debug)]
pub(crate) struct Process {
    starter: Starter,
    node: Node,
    data_owner: Option<String>,
}

#[derive(Debug)]
enum Starter {
    /// A process of the agent's own, which outlives the agent.
    Own { service: ProcessService, flavor: Flavor },
    /// A unit of systemd, told by an option file how to start.
    Unit { unit: Systemd, options: PathBuf, vendor: Vendor },
}

impl Process {
    /// For a node of the spec.
    ///
    /// # Errors
    /// The server's program is not found.
    pub(crate) async fn new(spec: &Spec, node: &Node) -> Result<Self, AgentError> {
        let is_unit = match spec.service.manager {
            ServiceManager::Auto => host::service::systemd_runs(),
            ServiceManager::Systemd => true,
            ServiceManager::Process => false,
            ServiceManager::None => {
                return Err(AgentError::config(
                    "`manager = \"none\"` under [service] forbids starting and ending the server",
                    "an agent has to: use \"systemd\" or \"process\"",
                ));
            }
        };
        let data_owner = host::users::is_root().then(|| spec.service.user.clone());
        let starter = if is_unit {
            let folder = spec.config.file.as_ref().and_then(|file| file.parent()).ok_or_else(|| {
                AgentError::config(
                    "`file` under [config] is not set, so there is no folder for the agent's option file",
                    "set it to the drop-in that `mainstay apply` writes",
                )
            })?;
            Starter::Unit {
                unit: Systemd::new(&spec.service.unit),
                options: folder.join("zz-mainstay-agent.cnf"),
                vendor: spec.cluster.server,
            }
        } else {
            let (command, flavor) = command(spec, node).await?;
            let state = &spec.paths.state;
            let service = ProcessService {
                command,
                pid_file: state.join(format!("{}.pid", node.name)),
                log_file: state.join(format!("{}.log", node.name)),
                user: None,
            };
            Starter::Own { service, flavor }
        };
        Ok(Self { starter, node: node.clone(), data_owner })
    }

    /// The server's process, if it runs.
    pub(crate) async fn running(&self) -> Result<Option<ProcessId>, AgentError> {
        match &self.starter {
            Starter::Own { service, .. } => Ok(service.pid()?),
            Starter::Unit { unit, .. } => {
                let state = unit.state().await?;
                Ok(state.main_pid.and_then(|pid| ProcessId::of(pid).ok()))
            }
        }
    }

    /// Starts it read-only, without replication and without semi-sync. Returns once the process is there, long
    /// before it answers.
    pub(crate) async fn start(&self, role: StartRole) -> Result<(), AgentError> {
        if swap::is_incomplete(&self.node.data_dir) {
            let folder = self.node.data_dir.display();
            return Err(AgentError::Refused(format!(
                "a copy was stopped while it was put in place in {folder}"
            )));
        }
        if let Err(error) = server::clear_dead_socket_lock(&self.node.socket) {
            tracing::warn!(socket = %self.node.socket.display(), %error, "a dead server's socket lock stays");
        }
        match &self.starter {
            Starter::Own { service, flavor } => {
                if let Some(folder) = self.node.socket.parent() {
                    let owner = self.data_owner.clone();
                    files::ensure_dir(folder, &Ownership { mode: 0o755, owner, group: None })?;
                }
                service.start_detached_with(&arguments(*flavor, role))?;
                Ok(())
            }
            Starter::Unit { unit, options, vendor } => {
                let flavor = ServerProgram::find(None, *vendor).await?.flavor();
                let lines: Vec<String> = arguments(flavor, role)
                    .iter()
                    .map(|argument| argument.trim_start_matches("--").to_owned())
                    .collect();
                let text = format!(
                    "# Written by mainstay agent before every start.\n[mysqld]\n{}\n",
                    lines.join("\n")
                );
                files::write_atomic(options, text.as_bytes(), &Ownership::mode(0o644))?;
                // The unit starts only by this leave, so that nothing else opens an old primary.
                let permit = std::path::Path::new(plan::START_PERMIT);
                if let Some(folder) = permit.parent() {
                    files::ensure_dir(folder, &Ownership::mode(0o755))?;
                }
                files::write_atomic(permit, b"", &Ownership::mode(0o644))?;
                let started = unit.start().await;
                files::remove(permit)?;
                Ok(started?)
            }
        }
    }

    /// SIGKILL, and waits until the process is gone.
    pub(crate) async fn kill(&self) -> Result<(), AgentError> {
        let Some(process) = self.running().await? else { return Ok(()) };
        process.signal(Signal::KILL).map_err(AgentError::system("killing the server"))?;
        let gone =
            process.wait_end(GONE).await.map_err(AgentError::system("waiting for the server's end"))?;
        if gone { Ok(()) } else { Err(AgentError::Refused(format!("process {} does not end", process.pid))) }
    }

    /// Whom the data belongs to, when this process is root.
    pub(crate) fn data_owner(&self) -> Option<&str> {
        self.data_owner.as_deref()
    }
}

/// Arguments of every start, over whatever the option files say.
fn arguments(flavor: Flavor, role: StartRole) -> Vec<String> {
    let statements = flavor.statements();
    let mut arguments: Vec<String> =
        statements.start_arguments_plugins().iter().map(|&a| a.to_owned()).collect();
    arguments.extend(statements.start_arguments_safe().iter().map(|&a| a.to_owned()));
    if role == StartRole::Replica {
        arguments.extend(statements.start_argument_replica_role().map(str::to_owned));
    }
    arguments
}

/// The server's program with its arguments; its data directory is made first if there is none.
async fn command(spec: &Spec, node: &Node) -> Result<(Vec<String>, Flavor), AgentError> {
    if !spec.service.command.is_empty() {
        let flavor = ServerProgram::flavor_of(&spec.service.command).await?;
        return Ok((spec.service.command.clone(), flavor));
    }
    let program = ServerProgram::find(None, spec.cluster.server).await?;
    if !node.data_dir.join("mysql").exists() && !swap::is_incomplete(&node.data_dir) {
        let owner = host::users::is_root().then(|| spec.service.user.clone());
        files::ensure_dir(&node.data_dir, &Ownership { mode: 0o750, owner, group: None })?;
        program.initialise(&node.data_dir, &spec.service.user).await?;
    }
    let mut command = vec![
        program.path().to_string_lossy().into_owned(),
        format!("--datadir={}", node.data_dir.display()),
        format!("--socket={}", node.socket.display()),
    ];
    if host::users::is_root() {
        command.push(format!("--user={}", spec.service.user));
    }
    Ok((command, program.flavor()))
}
