//! A cluster as a scenario sets it up, and what the decisions made in it change.
//!
//! An action has the least effect that lets the next decision see it, at once and without fail: no delays, no lost
//! messages, no log of a server. What those do to a cluster is the simulator's question (crate `sim`).

use std::collections::{BTreeMap, BTreeSet};

use flavor::{Flavor, GtidSet, Vendor, Version};
use ha::{
    Action, Claim, Decision, Durability, Epoch, Following, Health, Held, Leader, Lineage, Local, Member,
    Memory, Millis, NodeName, Policy, Release, ServerReport, Shared, StartRole, State, Sync, Tags, Versioned,
    View,
};

/// Every agent's clock when a scenario begins, and for how long an agreed state has been looked at by then.
pub(crate) const START_MS: u64 = 10_000;

/// How a node reaches the store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Well,
    /// It is read, and writes time out.
    ReadsOnly,
    Not,
}

/// One host: its agent and its server.
pub(crate) struct Node {
    pub(crate) local: Local,
    pub(crate) memory: Memory,
    /// Its agent runs.
    pub(crate) runs: bool,
    /// No other host reaches it.
    pub(crate) is_cut_off: bool,
    pub(crate) reach: Reach,
    /// What its agent told last.
    pub(crate) told: String,
    read: Option<Shared>,
    beat: u64,
}

impl Node {
    pub(crate) fn is_open(&self) -> bool {
        self.local.server.health != Health::Down && !self.local.server.read_only
    }
}

pub(crate) struct World {
    pub(crate) policy: Policy,
    pub(crate) shared: Shared,
    pub(crate) saved: Option<Shared>,
    pub(crate) nodes: BTreeMap<NodeName, Node>,
    pub(crate) flavor: Flavor,
    pub(crate) now: Millis,
    pub(crate) wall_seconds: u64,
}

impl World {
    /// No node yet; the spec's defaults.
    pub(crate) fn new() -> Self {
        let policy = Policy {
            nodes: BTreeSet::new(),
            durability: Durability::Lossless,
            ttl: 3_000,
            margin: 300,
            hang: 2_000,
            stall: 2_000,
            head_start: 3_000,
            patience: 1_500,
            broken: 30_000,
            need: 1,
            failovers_per_hour: 6,
            reseed: true,
        };
        let version = Version { major: 10, minor: 11, patch: 19 };
        Self {
            policy,
            shared: Shared { revision: 100, ..Shared::default() },
            saved: None,
            nodes: BTreeMap::new(),
            flavor: Flavor { vendor: Vendor::MariaDb, version },
            now: START_MS,
            wall_seconds: 1_800_000_000,
        }
    }

    /// A host with an empty server that runs, or without a database.
    pub(crate) fn add(&mut self, name: &str, witness: bool) {
        let name = NodeName::new(name);
        let mut server = ServerReport::unseen();
        if !witness {
            self.policy.nodes.insert(name.clone());
            server =
                ServerReport { health: Health::Running, flavor: Some(self.flavor), incarnation: 1, ..server };
        }
        let local = Local {
            witness,
            server,
            lease: None,
            frozen: None,
            promised_until: None,
            blocked: BTreeSet::new(),
            stalled_for: 0,
            unanswered_for: 0,
            disk_stalled_for: 0,
            tags: Tags::default(),
            work: None,
            epoch: 0,
            version: 0,
            opened: None,
            fresh_cluster: format!("made-by-{name}"),
            trouble: None,
        };
        let node = Node {
            local,
            memory: Memory::default(),
            runs: true,
            is_cut_off: false,
            reach: Reach::Well,
            told: String::new(),
            read: None,
            beat: 0,
        };
        self.nodes.insert(name, node);
    }

    /// The agreed state: one primary with its lease, all others following and acknowledging.
    pub(crate) fn agree(&mut self, primary: &NodeName, epoch: Epoch, holding: &GtidSet) {
        let mut ackers = BTreeMap::new();
        let until = self.lease_end();
        for (name, node) in self.nodes.iter_mut().filter(|(_, node)| !node.local.witness) {
            let leads = name == primary;
            let local = &mut node.local;
            local.epoch = epoch;
            local.opened = leads.then_some(epoch);
            local.lease = leads.then_some(Held { epoch, until, failsafe: false });
            let server = &mut local.server;
            server.cluster = Some("c1".to_owned());
            server.executed.clone_from(holding);
            server.position.clone_from(holding);
            server.read_only = !leads;
            server.waits = leads.then_some(self.policy.need);
            server.acks = !leads && local.tags.may_ack();
            server.following = (!leads).then(|| following(primary, epoch));
            if server.acks {
                ackers.insert(name.clone(), server.incarnation);
            }
        }
        let sync = Sync { ackers, need: self.policy.need, asynchronous: false };
        let lineage =
            Lineage { epoch, primary: primary.clone(), sync, start: holding.clone(), handover: None };
        self.write_state(State {
            cluster: "c1".to_owned(),
            epoch,
            version: 1,
            lineage,
            failovers: Vec::new(),
        });
        self.write_leader(Leader { node: primary.clone(), epoch, beat: 1, ready: false, released: None });
    }

    /// Every host's wall clock, as Unix seconds.
    pub(crate) fn wall(&self) -> u64 {
        self.wall_seconds + self.now / 1_000
    }

    pub(crate) fn next_revision(&mut self) -> u64 {
        self.shared.revision += 1;
        self.shared.revision
    }

    pub(crate) fn write_leader(&mut self, value: Leader) {
        let modified = self.next_revision();
        self.shared.leader = Some(Versioned { value, modified });
    }

    pub(crate) fn write_state(&mut self, value: State) {
        let modified = self.next_revision();
        self.shared.state = Some(Versioned { value, modified });
    }

    fn lease_end(&self) -> Millis {
        self.now + self.policy.ttl - self.policy.margin
    }

    /// What a node does now. Every agent that runs and reaches the store has reported by then.
    pub(crate) fn decide(&mut self, name: &NodeName) -> Result<Decision, String> {
        self.publish();
        let wall_seconds = self.wall();
        let node = self.nodes.get_mut(name).ok_or_else(|| format!("no node {name}"))?;
        if !node.runs {
            return Err(format!("the agent of {name} does not run, so it decides nothing"));
        }
        if node.reach != Reach::Not {
            learn(name, &mut node.local, &self.shared);
            node.read = Some(self.shared.clone());
        }
        let view = View {
            me: name,
            now: self.now,
            wall_seconds,
            shared: node.read.as_ref().filter(|_| node.reach != Reach::Not),
            local: &node.local,
        };
        Ok(ha::decide(&view, &self.policy, &mut node.memory))
    }

    fn publish(&mut self) {
        let names: Vec<NodeName> = self.nodes.keys().cloned().collect();
        for name in names {
            let (modified, node) = (self.shared.revision + 1, self.nodes.get_mut(&name).unwrap());
            if !node.runs || node.reach != Reach::Well {
                continue;
            }
            node.beat += 1;
            let local = &node.local;
            let value = Member {
                agent: format!("{name}-1"),
                beat: node.beat,
                seen: self.shared.revision,
                witness: local.witness,
                server: local.server.clone(),
                epoch: local.epoch,
                version: local.version,
                opened: local.opened,
                frozen: local.frozen,
                tags: local.tags.clone(),
                work: local.work.clone(),
            };
            self.shared.members.insert(name, Versioned { value, modified });
            self.shared.revision = modified;
        }
    }

    /// Does one thing that was decided.
    ///
    /// # Errors
    /// What it met, when it is not done: those after it are not done either.
    pub(crate) fn act(&mut self, name: &NodeName, action: &Action) -> Result<(), String> {
        match action {
            Action::Renew => {
                let node = self.writer(name)?;
                let held = node.local.lease.ok_or("holds no lease")?;
                let (until, leader) = (self.lease_end(), self.shared.leader.clone().ok_or("no lease")?.value);
                if leader.node != *name || leader.epoch != held.epoch || leader.released.is_some() {
                    return Err("conflict: the lease is another's".to_owned());
                }
                self.write_leader(Leader { beat: leader.beat + 1, ready: false, ..leader });
                self.local(name).lease = Some(Held { until, failsafe: false, ..held });
            }
            Action::Claim(claim) => self.claim(name, claim)?,
            Action::Release { reason, to } => self.release(name, reason, to.clone())?,
            Action::Commit(state) => {
                self.writer(name)?.local.lease.ok_or("holds no lease")?;
                self.write_state(state.clone());
            }
            Action::AskFailsafe => self.ask_failsafe(name)?,
            Action::HandOver { to } => self.hand_over(name, to)?,
            Action::Answer { .. } => {
                self.writer(name)?;
                self.shared.request = None;
            }
            Action::Unfreeze => {
                self.writer(name)?.local.frozen = None;
            }
            Action::Start(role) => {
                let local = self.local(name);
                if local.trouble.is_some() {
                    return Err("it ends again".to_owned());
                }
                start(&mut local.server, *role);
            }
            Action::Kill { .. } => stop(&mut self.local(name).server),
            Action::Freeze(epoch) => {
                let local = self.local(name);
                local.frozen = Some(*epoch);
                local.server.following.iter_mut().for_each(|following| following.io = false);
            }
            Action::ApplyReceived => {
                let server = &mut self.local(name).server;
                server.executed.clone_from(&server.position);
            }
            Action::Detach => {
                let server = &mut self.local(name).server;
                (server.following, server.acks) = (None, false);
            }
            Action::Follow { primary, epoch, acking } => self.follow(name, primary, *epoch, *acking),
            Action::SetAcking(on) => self.local(name).server.acks = *on,
            Action::SetWaiting(need) => self.local(name).server.waits = *need,
            Action::Block(other) => self.block(name, other, true),
            Action::Unblock(other) => self.block(name, other, false),
            Action::Open(epoch) => self.open(name, *epoch)?,
            Action::Reseed { donor } => {
                let local = self.local(name);
                local.work = Some(format!("taking a copy of {donor}"));
                local.server.incarnation += 1;
                stop(&mut local.server);
            }
        }
        Ok(())
    }

    pub(crate) fn local(&mut self, name: &NodeName) -> &mut Local {
        &mut self.nodes.get_mut(name).unwrap().local
    }

    fn writer(&mut self, name: &NodeName) -> Result<&mut Node, String> {
        let node = self.nodes.get_mut(name).ok_or("no such node")?;
        if node.reach == Reach::Well { Ok(node) } else { Err("the store did not take it".to_owned()) }
    }

    fn claim(&mut self, name: &NodeName, claim: &Claim) -> Result<(), String> {
        self.writer(name)?;
        let modified = |key: Option<u64>, seen: Option<u64>, what: &str| {
            if key == seen { Ok(()) } else { Err(format!("conflict: {what} changed")) }
        };
        modified(self.shared.leader.as_ref().map(|key| key.modified), claim.replaces, "the lease")?;
        modified(self.shared.state.as_ref().map(|key| key.modified), claim.state_seen, "the state")?;
        for (node, seen) in &claim.examined {
            modified(self.shared.members.get(node).map(|key| key.modified), Some(*seen), "a report")?;
        }
        self.write_leader(Leader {
            node: name.clone(),
            epoch: claim.epoch,
            beat: 0,
            ready: claim.ready,
            released: None,
        });
        self.write_state(claim.state.clone());
        let until = self.lease_end();
        let local = self.local(name);
        local.epoch = local.epoch.max(claim.epoch);
        local.lease = Some(Held { epoch: claim.epoch, until, failsafe: false });
        Ok(())
    }

    fn release(&mut self, name: &NodeName, reason: &str, to: Option<NodeName>) -> Result<(), String> {
        let node = self.writer(name)?;
        if node.is_open() {
            return Err("FORBIDDEN: gives the lease up with writes open".to_owned());
        }
        node.local.lease.take().ok_or("holds no lease")?;
        let leader = self.shared.leader.clone().ok_or("no lease")?.value;
        let released = Some(Release { reason: reason.to_owned(), to });
        self.write_leader(Leader { released, ..leader });
        Ok(())
    }

    fn hand_over(&mut self, name: &NodeName, to: &NodeName) -> Result<(), String> {
        let server = &mut self.writer(name)?.local.server;
        server.read_only = true;
        let all = server.executed.clone();
        let mut state = self.shared.state.clone().ok_or("no state")?.value;
        state.lineage.handover = Some(all);
        self.write_state(state);
        self.shared.request = None;
        self.release(name, "handed over, as asked", Some(to.clone()))
    }

    fn ask_failsafe(&mut self, name: &NodeName) -> Result<(), String> {
        let (now, until) = (self.now, self.lease_end());
        let held = self.local(name).lease.ok_or("holds no lease")?;
        for (other, node) in self.nodes.iter_mut().filter(|(other, _)| *other != name) {
            if !node.runs {
                return Err(format!("{other} does not answer"));
            }
            let last = node.read.as_ref();
            let shared = last.filter(|_| node.reach != Reach::Not);
            let view = View { me: other, now, wall_seconds: 0, shared, local: &node.local };
            ha::agree_failsafe(&view, &self.policy, &node.memory, name, held.epoch, last)?;
            node.local.promised_until = Some(now + self.policy.ttl);
        }
        self.local(name).lease = Some(Held { until, failsafe: true, ..held });
        Ok(())
    }

    /// The whole connection anew: what the primary holds is here at once, where it lets this node. An error stays.
    fn follow(&mut self, name: &NodeName, primary: &NodeName, epoch: Epoch, acking: bool) {
        let cluster = self.shared.state.as_ref().map(|state| state.value.cluster.clone());
        let source = self.nodes.get(primary).filter(|source| {
            let local = &source.local;
            local.server.health == Health::Running && !local.blocked.contains(name) && !source.is_cut_off
        });
        let theirs = source.map(|source| source.local.server.position.clone());
        let server = &mut self.local(name).server;
        server.cluster = cluster;
        server.acks = acking;
        let error = server.following.take().and_then(|before| before.error);
        let (io, sql) = (theirs.is_some(), error.is_none());
        server.following = Some(Following { io, sql, error, ..following(primary, epoch) });
        server.position.extend(&theirs.unwrap_or_default());
        if sql {
            server.executed.clone_from(&server.position);
        }
    }

    fn block(&mut self, name: &NodeName, other: &NodeName, shut: bool) {
        let blocked = &mut self.local(name).blocked;
        if shut {
            blocked.insert(other.clone())
        } else {
            blocked.remove(other)
        };
        let theirs = self.nodes.get_mut(other).and_then(|node| node.local.server.following.as_mut());
        if let Some(following) = theirs.filter(|following| following.node.as_ref() == Some(name)) {
            following.io = !shut;
        }
    }

    fn open(&mut self, name: &NodeName, epoch: Epoch) -> Result<(), String> {
        let now = self.now;
        let holds = |local: &Local| local.lease.is_some_and(|held| held.until > now);
        let local = self.local(name);
        if !holds(local) || local.lease.is_some_and(|held| held.epoch != epoch) {
            return Err("FORBIDDEN: opens writes without the lease".to_owned());
        }
        (local.opened, local.frozen, local.server.read_only) = (Some(epoch), None, false);
        let cluster = self.shared.state.as_ref().map(|state| state.value.cluster.clone());
        self.local(name).server.cluster = cluster;
        let writers = self.nodes.iter().filter(|(_, node)| node.is_open() && holds(&node.local));
        let writers: Vec<String> = writers.map(|(name, _)| name.to_string()).collect();
        if writers.len() > 1 {
            return Err(format!("FORBIDDEN: writes are open under a lease on {}", writers.join(" and ")));
        }
        Ok(())
    }

    /// A copy that was under way is there.
    pub(crate) fn end_copy(&mut self, name: &NodeName, donor: &NodeName) {
        let (cluster, all) = {
            let donor = &self.local(donor).server;
            (donor.cluster.clone(), donor.executed.clone())
        };
        let local = self.local(name);
        local.work = None;
        let server = &mut local.server;
        start(server, StartRole::Keep);
        server.following = None;
        (server.cluster, server.executed, server.position) = (cluster, all.clone(), all);
    }
}

pub(crate) fn following(primary: &NodeName, epoch: Epoch) -> Following {
    let node = Some(primary.clone());
    Following { node, epoch: Some(epoch), io: true, sql: true, error: None, lag_seconds: Some(0) }
}

/// What an agent takes over from the store before it decides.
fn learn(name: &NodeName, local: &mut Local, shared: &Shared) {
    if let Some(state) = shared.state.as_ref().map(|state| &state.value) {
        let is_another_disk = state.lineage.primary == *name && local.epoch < state.lineage.epoch;
        if !is_another_disk {
            local.epoch = local.epoch.max(state.epoch);
            local.version = local.version.max(state.version);
        }
    }
    let record = shared.leader.as_ref().map(|leader| &leader.value);
    local.lease = local.lease.filter(|held| {
        record.is_some_and(|record| {
            record.node == *name && record.epoch == held.epoch && record.released.is_none()
        })
    });
}

/// Read-only, in a new incarnation, replication not begun. A replica's relay log is not kept; a former primary
/// commits what was in its binlog only, or drops it where that was asked and can be done.
fn start(server: &mut ServerReport, role: StartRole) {
    let vendor = server.flavor.map(|flavor| flavor.vendor);
    match (role, vendor, &mut server.following) {
        (StartRole::Replica, Some(Vendor::MariaDb), _) | (_, _, Some(_)) => {
            server.position.clone_from(&server.executed);
        }
        (StartRole::Keep | StartRole::Replica, _, None) => server.executed.clone_from(&server.position),
    }
    server.health = Health::Running;
    server.incarnation += 1;
}

pub(crate) fn stop(server: &mut ServerReport) {
    (server.health, server.read_only, server.acks, server.waits) = (Health::Down, true, false, None);
    if let Some(following) = &mut server.following {
        (following.io, following.sql) = (false, false);
    }
}

/// An action for a reader: without revisions, which are of no interest.
pub(crate) fn describe(action: &Action) -> String {
    match action {
        Action::Renew => "renew".to_owned(),
        Action::Claim(claim) => {
            let examined: Vec<String> = claim.examined.iter().map(|(name, _)| name.to_string()).collect();
            let lost = if claim.lost.is_empty() { "nothing" } else { &claim.lost };
            let failovers = claim.state.failovers.len();
            let examined = examined.join(" ");
            format!("claim epoch {}: examined [{examined}], lost {lost}, {failovers} failovers", claim.epoch)
        }
        Action::Release { reason, to: None } => format!("release: {reason}"),
        Action::Release { reason, to: Some(to) } => format!("release for {to}: {reason}"),
        Action::Commit(state) => {
            let lineage = &state.lineage;
            let ackers = lineage.sync.ackers.iter().map(|(name, run)| format!("{name}#{run}"));
            let ackers = ackers.collect::<Vec<_>>().join(" ");
            let alone = if lineage.sync.asynchronous { ", asynchronous" } else { "" };
            format!("commit epoch {} of {}: ackers [{ackers}]{alone}", lineage.epoch, lineage.primary)
        }
        Action::AskFailsafe => "ask every node".to_owned(),
        Action::HandOver { to } => format!("hand over to {to}"),
        Action::Unfreeze => "unfreeze".to_owned(),
        Action::Answer { done, text, .. } => {
            format!("answer {}: {text}", if *done { "done" } else { "refused" })
        }
        Action::Start(StartRole::Keep) => "start, keeping everything".to_owned(),
        Action::Start(StartRole::Replica) => {
            "start as a replica, dropping what nobody acknowledged".to_owned()
        }
        Action::Kill { .. } => "kill".to_owned(),
        Action::Freeze(epoch) => format!("freeze for epoch {epoch}"),
        Action::ApplyReceived => "apply what was received".to_owned(),
        Action::Detach => "detach".to_owned(),
        Action::Follow { primary, epoch, acking } => {
            format!("follow {primary} of epoch {epoch}{}", if *acking { ", acknowledging" } else { "" })
        }
        Action::SetAcking(on) => format!("acknowledge: {}", if *on { "yes" } else { "no" }),
        Action::SetWaiting(need) => {
            need.map_or("wait for nobody".to_owned(), |need| format!("wait for {need}"))
        }
        Action::Block(node) => format!("block {node}"),
        Action::Unblock(node) => format!("unblock {node}"),
        Action::Open(epoch) => format!("open writes in epoch {epoch}"),
        Action::Reseed { donor } => format!("reseed from {donor}"),
    }
}
