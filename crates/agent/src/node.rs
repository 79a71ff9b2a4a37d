//! The loop of a node: look at everything once, decide, act, report; then wait for something to happen.
//!
//! What to do is decided in `ha`; how an action is done is in `act`; what the node sees of itself in `look`.

use std::sync::Arc;
use std::time::Duration;

use ha::{Decision, Member, Memory, Shared, View};
use host::fence::Guard;
use host::lock::ApplyLock;
use store::{Committed, Snapshot, Store, StoreError, Watch};
use tokio::sync::{Mutex, Notify};

use crate::act::Outcome;
use crate::audit::Audit;
use crate::config::Config;
use crate::database::Database;
use crate::error::AgentError;
use crate::keys;
use crate::lease::Holding;
use crate::look::Sight;
use crate::process::Process;
use crate::record::Record;
use crate::shown::Shown;

/// Ticks that follow one another closer than this are a busy loop.
const REST: Duration = Duration::from_millis(10);
/// Another agent's reports under this node's name are believed to be gone after this many leases.
const RIVAL_LEASES: u64 = 2;

/// A node's agent.
pub(crate) struct Node {
    pub(crate) config: Arc<Config>,
    pub(crate) store: Store,
    pub(crate) record: Record,
    pub(crate) process: Option<Process>,
    pub(crate) database: Option<Database>,
    pub(crate) guard: Guard,
    pub(crate) audit: Audit,
    pub(crate) shown: Arc<Shown>,
    pub(crate) sight: Sight,
    pub(crate) memory: Memory,
    pub(crate) holding: Option<Holding>,
    pub(crate) frozen: Option<u64>,
    /// The state as this node last wrote it.
    pub(crate) committed: Option<ha::State>,
    pub(crate) work: Arc<Mutex<Option<String>>>,
    pub(crate) wake: Arc<Notify>,
    pub(crate) agent: String,
    published: Option<Published>,
    watch: Option<Watch>,
    compacted_at: u64,
    // Held as long as the agent runs: a second one on this host ends at once.
    _lock: ApplyLock,
}

/// The last report that was written.
struct Published {
    member: Member,
    at: u64,
}

impl Node {
    /// Everything an agent needs, taken in hand.
    pub(crate) async fn new(
        config: Arc<Config>,
        store: Store,
        shown: Arc<Shown>,
        wake: Arc<Notify>,
    ) -> Result<Self, AgentError> {
        let state = &config.spec.paths.state;
        host::files::ensure_dir(state, &host::files::Ownership::mode(0o750))?;
        let lock = ApplyLock::acquire(&config.state_file("agent.lock"), Duration::ZERO)?;
        let record = Record::open(&config.state_file("agent.json"))?;
        let (process, database) = match &config.node {
            Some(node) => {
                let target = target(&config, node);
                (Some(Process::new(&config.spec, node).await?), Some(Database::new(target)))
            }
            None => (None, None),
        };
        let guard = crate::lease::guard(&config)?;
        let audit = Audit::new(config.state_file("history.jsonl"));
        let agent = host::files::sha256_hex(format!("{:?}", host::process::ProcessId::own()).as_bytes());
        let agent = format!("{}-{}", host::users::hostname(), agent.chars().take(12).collect::<String>());
        let holding = crate::lease::resume(&guard);
        Ok(Self {
            config,
            store,
            record,
            process,
            database,
            guard,
            audit,
            shown,
            sight: Sight::default(),
            memory: Memory::default(),
            holding,
            frozen: None,
            committed: None,
            work: Arc::new(Mutex::new(None)),
            wake,
            agent,
            published: None,
            watch: None,
            compacted_at: 0,
            _lock: lock,
        })
    }

    /// Runs until told to stop. The server is left as it is, and so is the lease, which runs out unless an agent
    /// takes it up again.
    pub(crate) async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), AgentError> {
        tokio::pin!(stop);
        self.refuse_rival().await?;
        loop {
            // A tick is large: it lives on the heap, one at a time.
            let acted = Box::pin(self.tick()).await;
            let pause = if acted { Duration::ZERO } else { self.config.tick() };
            tokio::select! {
                () = &mut stop => return self.leave().await,
                () = self.next(pause) => {}
            }
        }
    }

    /// What could make the next decision another one.
    async fn next(&mut self, pause: Duration) {
        if pause.is_zero() {
            return tokio::task::yield_now().await;
        }
        let process = self.sight.process;
        let died = async move {
            match process {
                Some(process) if process.ended().await.is_ok() => {}
                Some(_) | None => std::future::pending().await,
            }
        };
        let watch = &mut self.watch;
        let changed = async move {
            match watch {
                Some(changes) => {
                    if changes.changed().await.is_err() {
                        *watch = None;
                        std::future::pending::<()>().await;
                    }
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = died => {}
            () = changed => tokio::time::sleep(REST).await,
            () = self.wake.notified() => {}
        }
    }

    /// Looks, decides, acts, reports. Whether something was done, so that it pays to look again at once.
    async fn tick(&mut self) -> bool {
        let store = self.store.clone();
        let (snapshot, ()) = tokio::join!(store.snapshot(), self.look());
        let shared = self.shared(snapshot);
        if let Some(shared) = &shared {
            self.know(shared);
            self.adopt(shared);
            if self.watch.is_none() {
                self.watch = self.store.watch(shared.revision).await.ok();
            }
            if self.published.is_none() {
                // A report first: what an earlier agent promised is taken back before anything is done against it.
                self.publish(shared, true).await;
                return true;
            }
        }
        let promise = self.shown.promise();
        let mut promise = promise.lock().await;
        let local = self.local(promise.until).await;
        let decision = {
            let view = View {
                me: &self.config.me,
                now: crate::time::now(),
                wall_seconds: crate::time::wall_seconds(),
                shared: shared.as_ref(),
                local: &local,
            };
            ha::decide(&view, &self.config.policy, &mut self.memory)
        };
        self.say(&decision, &local, shared.as_ref());
        let acted = self.act(&decision, shared.as_ref(), &local).await;
        promise.update(&local, &self.memory, self.frozen, self.holding.is_some(), shared.as_ref());
        drop(promise);
        if acted.changed_server {
            self.look().await;
        }
        if let Some(shared) = &shared {
            self.publish(shared, acted.changed_server).await;
            self.compact(shared).await;
        }
        self.show();
        acted.did
    }

    fn shared(&mut self, snapshot: Result<Snapshot, StoreError>) -> Option<Shared> {
        let read = snapshot.map_err(AgentError::from).and_then(|snapshot| Ok(keys::read(&snapshot)?));
        match read {
            Ok(mut shared) => {
                // Of itself a node knows more than it last wrote.
                if let Some(member) = shared.members.get_mut(&self.config.me) {
                    member.value.server = self.sight.report.clone();
                }
                self.shown.store_answers();
                Some(shared)
            }
            Err(error) => {
                tracing::warn!(%error, "the store does not answer");
                self.shown.store_fails(&error.to_string());
                None
            }
        }
    }

    /// Writes down the highest epoch heard of, and the highest version of the state.
    fn know(&mut self, shared: &Shared) {
        let Some(state) = &shared.state else { return };
        let (epoch, version) = (state.value.epoch, state.value.version);
        if let Err(error) = self.record.change(|kept| {
            kept.epoch = kept.epoch.max(epoch);
            kept.version = kept.version.max(version);
        }) {
            tracing::error!(%error, "the node's record cannot be written");
        }
    }

    /// Reports, when something but the position changed or the last report grows old.
    async fn publish(&mut self, shared: &Shared, at_once: bool) {
        let now = crate::time::now();
        let mut member = self.member(shared).await;
        if let Some(last) = &self.published {
            member.beat = last.member.beat;
            let is_same = same_but_positions(&last.member, &member);
            let is_young = now.saturating_sub(last.at) < self.config.renew();
            if is_same && is_young && !at_once {
                return;
            }
            member.beat += 1;
        }
        let Ok(write) = keys::put(keys::member(&self.config.me), &member) else { return };
        match self.store.commit(&[], &[write]).await {
            Ok(Committed::Done { .. }) => self.published = Some(Published { member, at: now }),
            Ok(Committed::Conflict) => {}
            Err(error) => tracing::warn!(%error, "the report was not written"),
        }
    }

    async fn member(&self, shared: &Shared) -> Member {
        Member {
            agent: self.agent.clone(),
            beat: 0,
            seen: shared.revision,
            witness: self.config.node.is_none(),
            server: self.sight.report.clone(),
            epoch: self.record.kept().epoch,
            version: self.record.kept().version,
            opened: self.record.kept().opened,
            frozen: self.frozen,
            tags: self.config.tags(),
            work: self.work.lock().await.clone(),
        }
    }

    /// Writes the report with replication's promise taken back, before replication starts again.
    pub(crate) async fn unfreeze(&mut self, shared: &Shared) -> Result<(), AgentError> {
        let before = self.frozen.take();
        let mut member = self.member(shared).await;
        member.beat = self.published.as_ref().map_or(0, |last| last.member.beat + 1);
        let write = keys::put(keys::member(&self.config.me), &member)?;
        match self.store.commit(&[], &[write]).await {
            Ok(_) => {
                self.published = Some(Published { member, at: crate::time::now() });
                Ok(())
            }
            Err(error) => {
                self.frozen = before;
                Err(error.into())
            }
        }
    }

    /// Drops revisions of the store that nobody needs: every renewal makes one.
    async fn compact(&mut self, shared: &Shared) {
        const KEEP: u64 = 2_000;
        let holds = self.holding.is_some();
        if !holds || shared.revision < self.compacted_at + 2 * KEEP {
            return;
        }
        self.compacted_at = shared.revision;
        if let Err(error) = self.store.compact(shared.revision.saturating_sub(KEEP)).await {
            tracing::debug!(%error, "the store was not compacted");
        }
    }

    /// Two agents under one name would undo each other's work: the one that comes second ends.
    async fn refuse_rival(&mut self) -> Result<(), AgentError> {
        let ttl = self.config.policy.ttl;
        let began = crate::time::now();
        let mut first: Option<(String, u64)> = None;
        while crate::time::now() < began + ttl * RIVAL_LEASES {
            let Ok(snapshot) = self.store.snapshot().await else { return Ok(()) };
            let shared = keys::read(&snapshot)?;
            let Some(member) = shared.members.get(&self.config.me) else { return Ok(()) };
            let seen = (member.value.agent.clone(), member.value.beat);
            // This host's lock says that no other agent runs here; one on another host has another name before the dash.
            let is_here = seen.0.starts_with(&format!("{}-", host::users::hostname()));
            if is_here {
                return Ok(());
            }
            match &first {
                None => first = Some(seen),
                Some(before) if before.0 == seen.0 && before.1 != seen.1 => {
                    return Err(AgentError::config(
                        format!("another agent runs as {}: {}", self.config.me, seen.0),
                        "give this node a name of its own in the spec, or stop the other agent",
                    ));
                }
                Some(_) => {}
            }
            tokio::time::sleep(self.config.tick()).await;
        }
        Ok(())
    }

    fn say(&mut self, decision: &Decision, local: &ha::Local, shared: Option<&Shared>) {
        let is_new = self.shown.decide(decision);
        if is_new {
            tracing::info!(vetoes = ?decision.vetoes, "{}", decision.sentence);
        }
        if !decision.actions.iter().all(|action| matches!(action, ha::Action::Renew)) {
            self.audit.decision(decision, local, shared);
        }
    }

    async fn leave(self) -> Result<(), AgentError> {
        tracing::info!("the agent ends; the server goes on as it is");
        Ok(())
    }
}

/// Nothing differs but what moves all the time.
fn same_but_positions(before: &Member, now: &Member) -> bool {
    let still = |member: &Member| {
        let mut member = member.clone();
        member.beat = 0;
        member.seen = 0;
        member.server.executed = flavor::GtidSet::default();
        member.server.position = flavor::GtidSet::default();
        if let Some(following) = &mut member.server.following {
            following.lag_seconds = None;
        }
        member
    };
    still(before) == still(now)
}

/// How the agent logs in on its own node.
pub(crate) fn target(config: &Config, node: &spec::Node) -> server::Target {
    server::Target::socket(&node.socket, &config.spec.accounts.admin_user)
}

impl Outcome {
    /// Nothing was done.
    pub(crate) const NOTHING: Self = Self { did: false, changed_server: false };
}
