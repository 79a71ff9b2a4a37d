//! What the agent shows of itself: answered from memory, never from the store or the server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use ha::{Decision, Epoch, Health, Local, Memory, Millis, NodeName, Policy, Shared, View};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::keys;
use crate::node::Node;
use crate::time::now;

/// What a person is told about the last decision.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Explained {
    /// The node that decided.
    pub node: String,
    /// One sentence.
    pub sentence: String,
    /// What it was going to do.
    pub actions: Vec<String>,
    /// What stands against more.
    pub vetoes: Vec<String>,
    /// Settings that an acknowledged write's durability rests on, and are not as they must be.
    pub unsafe_settings: Vec<String>,
    /// Why the store does not answer; none while it does.
    pub store_error: Option<String>,
}

/// What this node agreed to while the store could not be reached, and what it needs to agree.
#[derive(Debug, Default)]
pub(crate) struct Promise {
    /// No part in an election until then.
    pub(crate) until: Option<Millis>,
    local: Option<Local>,
    memory: Memory,
    frozen: Option<Epoch>,
    last: Option<Shared>,
    store_answers: bool,
}

/// Everything that is shown.
#[derive(Debug)]
pub(crate) struct Shown {
    me: NodeName,
    policy: Policy,
    fresh_cluster: String,
    /// Epoch in which writes are open, 0 when they are not.
    open: AtomicU64,
    /// Until when the lease lasts, 0 without one.
    until: AtomicU64,
    seen: RwLock<Seen>,
    promise: Arc<Mutex<Promise>>,
}

#[derive(Debug, Default)]
struct Seen {
    explained: Explained,
    local: Option<Local>,
    at: Millis,
}

/// What this node is to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// It holds the lease and takes writes.
    Primary,
    /// It replicates from the primary.
    Replica,
    /// Neither.
    None,
}

/// The answer to a health check.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HealthReport {
    pub(crate) node: String,
    pub(crate) role: Role,
    pub(crate) epoch: Epoch,
    pub(crate) server: Option<Health>,
    pub(crate) lag_seconds: Option<u64>,
    pub(crate) looked_ms_ago: Millis,
}

impl Shown {
    pub(crate) fn new(me: &NodeName, policy: &Policy, fresh_cluster: String) -> Self {
        Self {
            me: me.clone(),
            policy: policy.clone(),
            fresh_cluster,
            open: AtomicU64::new(0),
            until: AtomicU64::new(0),
            seen: RwLock::default(),
            promise: Arc::default(),
        }
    }

    /// Writes are open in this epoch.
    pub(crate) fn open(&self, epoch: Epoch) {
        self.open.store(epoch, Ordering::SeqCst);
    }

    /// Writes are closed.
    pub(crate) fn close(&self) {
        self.open.store(0, Ordering::SeqCst);
    }

    pub(crate) fn lease_until(&self, until: Option<Millis>) {
        self.until.store(until.unwrap_or(0), Ordering::SeqCst);
    }

    pub(crate) fn fresh_cluster(&self) -> &str {
        &self.fresh_cluster
    }

    pub(crate) fn promise(&self) -> Arc<Mutex<Promise>> {
        self.promise.clone()
    }

    pub(crate) fn store_answers(&self) {
        self.write(|seen| seen.explained.store_error = None);
    }

    pub(crate) fn store_fails(&self, why: &str) {
        self.write(|seen| seen.explained.store_error = Some(why.to_owned()));
    }

    /// Takes in a decision. Whether it says something new.
    pub(crate) fn decide(&self, decision: &Decision) -> bool {
        let mut is_new = false;
        self.write(|seen| {
            is_new = seen.explained.sentence != decision.sentence;
            seen.explained.node = self.me.0.clone();
            seen.explained.sentence.clone_from(&decision.sentence);
            seen.explained.vetoes.clone_from(&decision.vetoes);
            seen.explained.actions = decision.actions.iter().map(action_text).collect();
        });
        is_new
    }

    fn write(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn read<T>(&self, read: impl FnOnce(&Seen) -> T) -> T {
        read(&self.seen.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The last decision.
    pub(crate) fn explained(&self) -> Explained {
        self.read(|seen| seen.explained.clone())
    }

    /// The lease is valid this moment and writes are open under it.
    pub(crate) fn is_primary(&self) -> bool {
        self.open.load(Ordering::SeqCst) != 0 && self.until.load(Ordering::SeqCst) > now()
    }

    /// The node is left alone, as far as this agent has heard.
    pub(crate) async fn in_maintenance(&self) -> bool {
        let promise = self.promise.lock().await;
        promise.last.as_ref().is_some_and(|shared| shared.maintenance.contains(&self.me))
    }

    pub(crate) fn health(&self) -> HealthReport {
        let is_primary = self.is_primary();
        self.read(|seen| {
            let local = seen.local.as_ref();
            let following = local.and_then(|local| local.server.following.as_ref());
            let replicates = local.is_some_and(|local| local.server.health == Health::Running)
                && following.is_some_and(|following| following.epoch.is_some() && following.sql);
            HealthReport {
                node: self.me.0.clone(),
                role: match (is_primary, replicates) {
                    (true, _) => Role::Primary,
                    (false, true) => Role::Replica,
                    (false, false) => Role::None,
                },
                epoch: local.map_or(0, |local| local.epoch),
                server: local.map(|local| local.server.health),
                lag_seconds: following.and_then(|following| following.lag_seconds),
                looked_ms_ago: now().saturating_sub(seen.at),
            }
        })
    }

    /// Another node asks whether its lease may go on without the store.
    pub(crate) async fn agree(&self, asker: &NodeName, epoch: Epoch) -> Result<(), String> {
        let promise = self.promise();
        let mut promise = promise.lock().await;
        let Some(local) = promise.local.clone() else { return Err(format!("{} has only begun", self.me)) };
        let local = Local { frozen: promise.frozen, ..local };
        let view = View {
            me: &self.me,
            now: now(),
            wall_seconds: 0,
            shared: promise.last.as_ref().filter(|_| promise.store_answers),
            local: &local,
        };
        ha::agree_failsafe(&view, &self.policy, &promise.memory, asker, epoch, promise.last.as_ref())?;
        promise.until = Some(now() + self.policy.ttl);
        Ok(())
    }
}

impl Promise {
    /// What is needed to agree, as of the tick that ends.
    pub(crate) fn update(
        &mut self,
        local: &Local,
        memory: &Memory,
        frozen: Option<Epoch>,
        holds: bool,
        shared: Option<&Shared>,
    ) {
        self.local = Some(Local { lease: local.lease.filter(|_| holds), ..local.clone() });
        self.memory = memory.clone();
        self.frozen = frozen;
        self.store_answers = shared.is_some();
        if let Some(shared) = shared {
            self.last = Some(shared.clone());
        }
    }
}

impl Node {
    /// Shows how this node is now.
    pub(crate) fn show(&self) {
        let holding = self.holding.as_ref();
        self.shown.lease_until(holding.map(|holding| holding.until));
        let open = holding.filter(|holding| {
            self.sight.process.is_some()
                && !self.sight.report.read_only
                && self.record.kept().opened == Some(holding.epoch)
        });
        match open {
            Some(holding) => self.shown.open(holding.epoch),
            None => self.shown.close(),
        }
        let unsafe_settings = self.sight.unsafe_settings.clone();
        let local = self.shown_local();
        self.shown.write(|seen| {
            seen.local = Some(local);
            seen.explained.unsafe_settings = unsafe_settings;
            seen.at = now();
        });
    }
}

fn action_text(action: &ha::Action) -> String {
    serde_json::to_string(action).unwrap_or_else(|_| format!("{action:?}"))
}

/// The store's view as JSON for people and programs.
#[derive(Debug, Serialize)]
pub(crate) struct ClusterView {
    pub(crate) leader: Option<ha::Leader>,
    pub(crate) state: Option<ha::State>,
    pub(crate) members: std::collections::BTreeMap<NodeName, ha::Member>,
    pub(crate) paused: bool,
    pub(crate) maintenance: Vec<NodeName>,
    pub(crate) request: Option<ha::Request>,
    pub(crate) history: Vec<keys::HistoryEntry>,
    pub(crate) answer: Option<keys::Answer>,
}
