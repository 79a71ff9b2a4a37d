//! Ends sessions by rules: one round ([`kill_round`]) of looking, judging, looking again and killing; and the loop
//! around it on a node whose spec has `[kill]`.
//!
//! Whom to end is decided in `kill`. Nothing is ended that is not in the audit log first, and nobody who has moved on
//! since the judgement.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kill::{Action, Kill, Mode, Policy, Rule, Verdict};
use serde::Serialize;
use server::sessions::{self, Kill as Order};
use server::{Connection, Limits, ServerError};
use spec::KillOn;

use crate::config::Config;
use crate::error::AgentError;
use crate::shown::Shown;

/// The audit log of a state folder.
const FILE: &str = "audit.jsonl";

/// Where kills are written down.
#[derive(Debug)]
pub struct KillLog {
    path: PathBuf,
    node: String,
    run: String,
    /// Victims that the server would not end, and its words: the same refusal, look after look, is written once.
    refused: BTreeMap<u64, String>,
}

/// What came of one victim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome", content = "detail")]
pub enum Ended {
    /// The server has been told to end it.
    Killed,
    /// It has moved on or gone, and was left alone; how.
    LetGo(String),
    /// The server refused; its words.
    Failed(String),
}

/// What one round saw and did.
#[derive(Clone, Debug, Serialize)]
pub struct KillRound {
    /// When it looked.
    pub at: Timestamp,
    /// What it concluded.
    pub verdict: Verdict,
    /// What came of the victims, in their order; nothing in a dry run.
    pub ended: Vec<Ended>,
}

#[derive(Serialize)]
struct Event<'a> {
    at: Timestamp,
    run: &'a str,
    node: &'a str,
    event: &'a str,
    detail: String,
    kill: &'a Kill,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    ended: Option<&'a Ended>,
}

impl KillLog {
    /// The audit log of a state folder, for the kills of one program on one node.
    #[must_use]
    pub fn in_state(state: &Path, node: &str) -> Self {
        Self::at(state.join(FILE), node)
    }

    /// A log of its own.
    #[must_use]
    pub fn at(path: PathBuf, node: &str) -> Self {
        let run = format!("{}-kill", Timestamp::now().as_second());
        Self { path, node: node.to_owned(), run, refused: BTreeMap::new() }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What came of a victim that is in the log already as one to be ended.
    fn write_outcome(&mut self, victim: &Kill, outcome: &Ended) -> Result<(), AgentError> {
        let before = self.refused.remove(&victim.id);
        let refusal = match outcome {
            Ended::Failed(why) => Some(why.clone()),
            Ended::Killed | Ended::LetGo(_) => None,
        };
        if refusal.is_none() || refusal != before {
            self.write("kill-ends", victim, Some(outcome))?;
        }
        self.refused.extend(refusal.map(|why| (victim.id, why)));
        Ok(())
    }

    fn write(&self, event: &str, kill: &Kill, ended: Option<&Ended>) -> Result<(), AgentError> {
        let what = match kill.action {
            Action::Query => "query",
            Action::Connection => "connection",
        };
        let detail = format!("{what} of session {} of {}@{}: {}", kill.id, kill.user, kill.host, kill.reason);
        let event =
            Event { at: Timestamp::now(), run: &self.run, node: &self.node, event, detail, kill, ended };
        let line = serde_json::to_string(&event).map_err(|error| AgentError::Refused(error.to_string()))?;
        self.append(&line).map_err(|error| {
            AgentError::config(
                format!("the audit log {} cannot be written: {error}", self.path.display()),
                "nothing is ended that cannot be recorded; name another file with --log, or mend the folder's rights",
            )
        })
    }

    fn append(&self, line: &str) -> std::io::Result<()> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        host::files::append_line(&self.path, line, 0o640)
    }
}

/// Looks once, and ends whom the rules mean; in a dry run nobody.
///
/// # Errors
/// The server cannot be looked at, or the log cannot be written: then no more is done.
pub async fn kill_round(
    connection: &mut Connection,
    rules: &[Rule],
    policy: &Policy,
    mode: Mode,
    log: &mut KillLog,
) -> Result<KillRound, AgentError> {
    let seen = sessions::observe(connection).await?;
    let at = Timestamp::now();
    let verdict = kill::judge(rules, policy, &seen);
    let mut ended = Vec::new();
    log.refused.retain(|id, _| verdict.kills.iter().any(|victim| victim.id == *id));
    for victim in verdict.orders(mode) {
        if !log.refused.contains_key(&victim.id) {
            log.write("kill-begins", victim, None)?;
        }
        let outcome = end(connection, victim).await?;
        log.write_outcome(victim, &outcome)?;
        ended.push(outcome);
    }
    Ok(KillRound { at, verdict, ended })
}

/// Ends one victim, if it is still what it was.
async fn end(connection: &mut Connection, victim: &Kill) -> Result<Ended, AgentError> {
    let now = sessions::observe_one(connection, victim.id).await?;
    if let Err(changed) = victim.is_still(now.as_ref()) {
        return Ok(Ended::LetGo(changed.to_string()));
    }
    let order = match victim.action {
        Action::Query => Order::Query { session: victim.id, statement: victim.identity.statement_id() },
        Action::Connection => Order::Connection { session: victim.id },
    };
    match sessions::kill(connection, order).await {
        Ok(true) => Ok(Ended::Killed),
        Ok(false) => Ok(Ended::LetGo("it has ended by itself".to_owned())),
        Err(error) if error.is_connection_gone() => Err(error.into()),
        Err(error) => Ok(Ended::Failed(error.to_string())),
    }
}

/// Looks again and again on this node, as its spec says.
pub(crate) async fn watch(config: Arc<Config>, shown: Arc<Shown>) {
    let (Some(settings), Some(node)) = (&config.spec.kill, &config.node) else { return };
    let mode = if settings.dry_run { Mode::DryRun } else { Mode::Kill };
    let mut log = KillLog::in_state(&config.spec.paths.state, &config.me.0);
    let target = crate::node::target(&config, node);
    let mut connection: Option<Connection> = None;
    let mut told = String::new();
    loop {
        tokio::time::sleep(Duration::from_secs(u64::from(settings.interval_seconds))).await;
        let is_meant = match settings.on {
            KillOn::Primary => shown.is_primary(),
            KillOn::Replicas => !shown.is_primary(),
            KillOn::All => true,
        };
        if !is_meant || shown.in_maintenance().await {
            connection = None;
            continue;
        }
        let round = async {
            let mut open = match connection.take() {
                Some(open) => open,
                None => Connection::open(&target, &LOOK).await?,
            };
            let round = kill_round(&mut open, &settings.rules, &settings.policy, mode, &mut log).await?;
            connection = Some(open);
            Ok::<_, AgentError>(round)
        };
        match round.await {
            Ok(round) => tell(&round, mode, &mut told),
            // The server may just be down, which others see to.
            Err(AgentError::Server(error)) if is_absence(&error) => {
                tracing::debug!(%error, "no sessions to look at");
            }
            Err(error) => tracing::warn!(%error, "sessions were not looked at"),
        }
    }
}

const LOOK: Limits = Limits { connect: Duration::from_secs(2), statement: Duration::from_secs(10) };

fn is_absence(error: &ServerError) -> bool {
    error.is_connection_gone()
        || matches!(
            error,
            ServerError::NoSocket { .. } | ServerError::ConnectRefused { .. } | ServerError::Timeout { .. }
        )
}

/// Says what was done; what would be in a dry run, or what the server refuses, once as long as it stays the same.
fn tell(round: &KillRound, mode: Mode, told: &mut String) {
    let victims = round.verdict.kills.iter().map(|kill| format!("{} {}", kill.id, kill.rule));
    let now = victims.collect::<Vec<_>>().join(", ");
    let is_done = round.ended.iter().any(|ended| matches!(ended, Ended::Killed | Ended::LetGo(_)));
    if now == *told && (mode == Mode::DryRun || !is_done) {
        return;
    }
    *told = now;
    for (at, kill) in round.verdict.kills.iter().enumerate() {
        let (rule, reason, query_id) = (&kill.rule, &kill.reason, kill.query_id.as_deref().unwrap_or("-"));
        match round.ended.get(at) {
            Some(ended) => {
                tracing::info!(session = kill.id, user = %kill.user, rule, reason, query_id, ?ended, "by [kill]");
            }
            None => {
                tracing::info!(session = kill.id, user = %kill.user, rule, reason, query_id, "[kill] would end it");
            }
        }
    }
}
