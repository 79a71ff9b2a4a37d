//! What the node sees of itself each tick: its process, its server, its disk.

use std::collections::BTreeSet;
use std::time::Duration;

use ha::{Following, Health, Local, Millis, NodeName, ReplicationError, ServerReport};
use host::process::ProcessId;
use server::ServerError;

use crate::config::Config;
use crate::database::{Look, SourceLook};
use crate::node::Node;
use crate::record::Follows;
use crate::time::now;

/// A server that answered this long ago is not called hung for one look that failed.
const GRACE: Millis = 700;
/// A server that dies this often within a minute of its starts does not start.
const DEATHS_MAX: usize = 3;
const DEATHS_WINDOW: Millis = 60_000;
/// Running for so long, it starts after all.
const PROVEN: Millis = 20_000;
/// File in the data directory that says which cluster the data belongs to.
const CLUSTER_BYTES_MAX: usize = 1_024;

/// Errors after which starting replication again cannot help: the source has purged what is needed, or knows nothing
/// of what this replica has (1236); rows differ (1032, 1062, 1146, 1950); positions are refused (1945, 1955, 13114, 13121).
const FATAL: &[u32] = &[1236, 1032, 1062, 1146, 1945, 1950, 1955, 13_114, 13_121, 13_122];

/// What was last seen.
#[derive(Debug)]
pub(crate) struct Sight {
    pub(crate) report: ServerReport,
    pub(crate) process: Option<ProcessId>,
    pub(crate) admitted: BTreeSet<String>,
    pub(crate) unsafe_settings: Vec<String>,
    pub(crate) trouble: Option<String>,
    answered_at: Option<Millis>,
    began_at: Millis,
    stalled: Option<(u64, Millis)>,
    pub(crate) nudged_at: Millis,
    deaths: Vec<Millis>,
    disk: host::disk::ProbeState,
}

impl Default for Sight {
    fn default() -> Self {
        Self {
            report: ServerReport::unseen(),
            process: None,
            admitted: BTreeSet::new(),
            unsafe_settings: Vec::new(),
            trouble: None,
            answered_at: None,
            began_at: 0,
            stalled: None,
            nudged_at: 0,
            deaths: Vec::new(),
            disk: host::disk::ProbeState::default(),
        }
    }
}

impl Sight {
    /// Forgets that the server did not start.
    pub(crate) fn starts_anew(&mut self) {
        self.trouble = None;
        self.deaths.clear();
    }
}

impl Node {
    /// Looks at the process and the server, each look within about a second.
    pub(crate) async fn look(&mut self) {
        let Some(process) = &self.process else { return };
        match process.running().await {
            Ok(running) => self.note_process(running),
            Err(error) => tracing::warn!(%error, "whether the server runs is not known"),
        }
        if self.sight.process.is_none() {
            return;
        }
        let busy = self.work.lock().await.is_some();
        if let Some(node) = &self.config.node {
            self.sight.disk.probe(&node.data_dir);
        }
        let Some(database) = &mut self.database else { return };
        let look = match database.look().await {
            // A session that the server ended says nothing about the server.
            Err(error) if error.code().is_none() && !matches!(error, ServerError::Timeout { .. }) => {
                database.forget();
                database.look().await
            }
            other => other,
        };
        match look {
            Ok(look) => self.note_look(look),
            // It answers, if only to say that it is full: the one reserved connection is somebody's.
            Err(error) if error.code() == Some(TOO_MANY_CONNECTIONS) && self.sight.answered_at.is_some() => {
                self.sight.answered_at = Some(now());
            }
            Err(error) => {
                tracing::debug!(%error, busy, "the server does not answer");
                self.note_silence();
            }
        }
    }

    pub(crate) fn note_process(&mut self, running: Option<ProcessId>) {
        let now = now();
        if running == self.sight.process {
            return;
        }
        if self.sight.process.is_some() {
            tracing::warn!("the server's process ended");
            // One that answered did start, whatever ended it.
            if self.sight.answered_at.is_none() {
                self.sight.deaths.retain(|at| now.saturating_sub(*at) < DEATHS_WINDOW);
                self.sight.deaths.push(now);
            }
            if self.sight.deaths.len() >= DEATHS_MAX {
                self.sight.trouble = Some(format!("it ended {DEATHS_MAX} times before it answered"));
            }
        }
        self.sight.process = running;
        self.sight.answered_at = None;
        self.sight.stalled = None;
        self.sight.began_at = now;
        if let Some(database) = &mut self.database {
            database.forget();
        }
        let report = &mut self.sight.report;
        report.following = None;
        report.acks = false;
        report.waits = None;
        match running {
            None => {
                report.health = Health::Down;
                report.read_only = true;
            }
            Some(process) => {
                report.health = Health::Starting;
                let name = process.to_string();
                let kept = self.record.kept();
                if kept.process.as_deref() != Some(&name)
                    && let Err(error) = self.record.change(|kept| {
                        // Never one of before, even if the record was lost.
                        kept.incarnation = (kept.incarnation + 1).max(crate::time::wall_seconds());
                        kept.process = Some(name);
                    })
                {
                    tracing::error!(%error, "the node's record cannot be written");
                }
                self.sight.report.incarnation = self.record.kept().incarnation;
            }
        }
    }

    fn note_silence(&mut self) {
        let answered = self.sight.answered_at;
        self.sight.report.health = match answered {
            None => Health::Starting,
            Some(at) if now().saturating_sub(at) < GRACE => Health::Running,
            Some(_) => Health::Hung,
        };
    }

    fn note_look(&mut self, look: Look) {
        let now = now();
        let following =
            look.source.map(|source| following(&self.config, self.record.kept().follows.as_ref(), source));
        let sight = &mut self.sight;
        sight.answered_at = Some(now);
        if now.saturating_sub(sight.began_at) > PROVEN {
            sight.starts_anew();
        }
        // Progress is an acknowledgement more than before, or nobody waiting.
        sight.stalled = match sight.stalled {
            _ if look.waiting == 0 => None,
            Some((acked, since)) if acked == look.acked => Some((acked, since)),
            Some(_) | None => Some((look.acked, now)),
        };
        sight.admitted = look.admitted;
        sight.unsafe_settings = look.unsafe_settings;
        let cluster = self.config.node.as_ref().and_then(|node| cluster_of(&node.data_dir));
        sight.report = ServerReport {
            health: Health::Running,
            flavor: Some(look.flavor),
            incarnation: sight.report.incarnation,
            cluster,
            executed: look.executed,
            position: look.position,
            read_only: look.read_only,
            following,
            acks: look.acks,
            waits: look.waits,
            disk_full: sight.disk.is_full(),
        };
    }

    /// This node as decisions see it.
    pub(crate) async fn local(&self, promised_until: Option<Millis>) -> Local {
        let work = self.work.lock().await.clone();
        self.local_with(promised_until, work)
    }

    fn local_with(&self, promised_until: Option<Millis>, work: Option<String>) -> Local {
        let now = now();
        let sight = &self.sight;
        let hosts = self.config.policy.nodes.iter();
        let blocked: BTreeSet<NodeName> = hosts
            .filter(|node| {
                **node != self.config.me && !sight.admitted.contains(&plan::agent_account(&node.0))
            })
            .cloned()
            .collect();
        let age = |at: Option<Millis>| at.map_or(0, |at| now.saturating_sub(at));
        Local {
            witness: self.config.node.is_none(),
            server: sight.report.clone(),
            lease: self.holding.as_ref().map(crate::lease::Holding::held),
            frozen: self.frozen,
            promised_until,
            blocked,
            stalled_for: sight.stalled.map_or(0, |(_, since)| now.saturating_sub(since)),
            unanswered_for: if sight.process.is_some() { age(sight.answered_at) } else { 0 },
            disk_stalled_for: millis(sight.disk.stalled_for()),
            tags: self.config.tags(),
            work,
            epoch: self.record.kept().epoch,
            version: self.record.kept().version,
            opened: self.record.kept().opened,
            fresh_cluster: self.shown.fresh_cluster().to_owned(),
            trouble: sight.trouble.clone(),
        }
    }

    /// What health checks are answered from.
    pub(crate) fn shown_local(&self) -> ha::Local {
        self.local_with(None, None)
    }

    /// Says in the data itself whose it is.
    pub(crate) fn mark_data(&mut self, cluster: &str) {
        let Some(node) = &self.config.node else { return };
        if self.sight.report.cluster.as_deref() == Some(cluster) {
            return;
        }
        let owner = self.process.as_ref().and_then(|process| process.data_owner()).map(str::to_owned);
        let ownership = host::files::Ownership { mode: 0o640, owner, group: None };
        let path = node.data_dir.join(plan::CLUSTER_FILE);
        match host::files::write_atomic(&path, format!("{cluster}\n").as_bytes(), &ownership) {
            Ok(()) => self.sight.report.cluster = Some(cluster.to_owned()),
            Err(error) => tracing::error!(%error, "the data cannot be marked as the cluster's"),
        }
    }
}

/// ER_CON_COUNT_ERROR.
const TOO_MANY_CONNECTIONS: u16 = 1040;

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

fn cluster_of(data_dir: &std::path::Path) -> Option<String> {
    let text = host::files::read_text(&data_dir.join(plan::CLUSTER_FILE), CLUSTER_BYTES_MAX).ok()?;
    Some(text.trim().to_owned())
}

/// Whose server the source is: by the node's record when it was set up by the agent, else by its address.
fn following(config: &Config, follows: Option<&Follows>, source: SourceLook) -> Following {
    let node = config.spec.nodes.iter().find(|node| {
        node.port == source.port && node.address.to_string() == source.host && node.name != config.me.0
    });
    let node = node.map(|node| NodeName::new(&node.name));
    let epoch = follows.filter(|follows| Some(&follows.node) == node.as_ref()).map(|follows| follows.epoch);
    let fatal = |code: u32| FATAL.contains(&code);
    let error = |(code, text): (u32, String)| ReplicationError { code, text, fatal: fatal(code) };
    let io_stopped = source.io == "No" && source.io_error.0 != 0;
    let sql_stopped = !source.sql && source.sql_error.0 != 0;
    let error = if sql_stopped {
        Some(error(source.sql_error))
    } else if io_stopped {
        Some(error(source.io_error))
    } else {
        None
    };
    Following { node, epoch, io: source.io == "Yes", sql: source.sql, error, lag_seconds: source.lag_seconds }
}
