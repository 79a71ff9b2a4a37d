//! What must hold at every step of a run, whatever goes wrong. Looks at true state, never at what a node believes.

use std::collections::BTreeMap;

use flavor::GtidSet;
use ha::{Action, Epoch, Health, State};

use crate::scenario::FENCER_AFTER;
use crate::server::Io;
use crate::store::{Basis, Compare, Write};
use crate::world::{Answer, World};

/// A host that stood still ends what it must not do within this long after it goes on.
const RACE: u64 = 30;

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its name.
    pub invariant: &'static str,
    /// When, in true milliseconds.
    pub at: u64,
    /// What was seen.
    pub text: String,
}

/// A claim, as the history has it.
#[derive(Clone, Debug, Default)]
struct Claimed {
    node: usize,
    basis: Basis,
    /// What the history says is lost.
    lost: GtidSet,
    /// What the former primary had last reported.
    reported: GtidSet,
}

/// What is remembered to judge by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checker {
    pub(crate) violation: Option<Violation>,
    claims: BTreeMap<Epoch, Claimed>,
    /// The epoch that began when every other node had yet to take its first copy: its primary is alone until then.
    first_copies: Option<Epoch>,
    /// The newest epoch in which writes were opened, and where.
    opened: Option<(Epoch, usize)>,
    /// The newest epoch in which a write was acknowledged.
    acked_epoch: Epoch,
    pub(crate) acked: u64,
    pub(crate) forgiven: u64,
    pub(crate) wiped: bool,
    pub(crate) restored: bool,
    pub(crate) rolled_back: bool,
    pub(crate) paused_at: Option<u64>,
    pub(crate) quiet_at: u64,
    settled_since: Option<u64>,
    acked_then: u64,
    pub(crate) done: bool,
    /// Everything is as the operator has to see it: the cluster rightly waits for a person.
    pub(crate) waits_for_person: bool,
    pub(crate) opens: u64,
}

impl World {
    /// A commit reaches the store.
    pub(crate) fn commit_store(&mut self, node: usize, compares: &[Compare], writes: Vec<Write>) -> Answer {
        let before = writes
            .iter()
            .any(|write| matches!(write, Write::State(_)))
            .then(|| self.store.shared.state.as_ref().map(|state| state.value.clone()));
        let leads = writes.iter().any(|write| matches!(write, Write::Leader(_)));
        let lost = writes.iter().find_map(|write| match write {
            Write::Claimed(lost, basis) => Some((lost.clone(), *basis)),
            Write::Leader(_) | Write::State(_) | Write::Member(..) | Write::EndRequest => None,
        });
        let wakes = leads || before.is_some();
        let Some(revision) = self.store.commit(compares, writes) else { return Answer::Conflict };
        match (before, lost) {
            (Some(before), Some((lost, basis))) => self.check_claim(node, before.as_ref(), &lost, basis),
            (Some(before), None) if !leads => self.check_state(node, before.as_ref()),
            (Some(_) | None, _) => {}
        }
        if wakes {
            for other in 0..self.nodes.len() {
                if other != node && self.link(self.store_site(), other) {
                    self.wake_agent(other, 12);
                }
            }
        }
        Answer::Done(revision)
    }

    fn check_claim(&mut self, node: usize, before: Option<&State>, lost: &str, basis: Basis) {
        let Some(now) = self.store.shared.state.as_ref().map(|state| state.value.clone()) else { return };
        let shared = &self.store.shared;
        let former = before.and_then(|before| shared.members.get(&before.lineage.primary));
        let reported = former.map(|member| member.value.server.executed.clone()).unwrap_or_default();
        let lost = GtidSet::parse(lost).unwrap_or_default();
        self.check.claims.insert(now.epoch, Claimed { node, basis, lost, reported });
        let forced = basis == Basis::Operator;
        let is_back = before.is_some_and(|before| before.lineage.primary == self.nodes[node].name);
        let tags = &self.nodes[node].agent.tags;
        if !forced && !is_back && before.is_some() && (tags.promotion == 0 || tags.delay_seconds > 0) {
            let text = format!("{} took the lease although it must not: {tags:?}", self.nodes[node].name);
            self.violate("I8", text);
        }
        if shared_older(before, &now) && !self.check.restored {
            self.violate("I6", format!("the claim of epoch {} is not newer", now.epoch));
        }
        self.say(Some(node), |_| format!("has the lease in epoch {}", now.epoch));
    }

    /// The state was changed by the holder of the lease.
    fn check_state(&mut self, node: usize, before: Option<&State>) {
        let Some(now) = self.store.shared.state.as_ref().map(|state| state.value.clone()) else { return };
        if before.is_none_or(|before| before.lineage.epoch != now.lineage.epoch) {
            let nothing = crate::server::Bits::default();
            let start = &now.lineage.start;
            let lacks = |tx: &usize| !start.contains(&self.transactions[*tx].exact);
            let missing: Vec<usize> = self.acked.minus(&nothing).filter(lacks).collect();
            // In a store that was put back, one that stood still since then can write what it was about to write. The
            // nodes know of a later epoch and do not believe it; whoever opens writes is judged when it does.
            if !self.check.restored {
                self.check_lineage(node, now.lineage.epoch, &missing);
            }
        }
        if before.is_none_or(|before| before.lineage.sync != now.lineage.sync) {
            self.check_quorum(&now);
        }
    }

    /// A new primary: everything acknowledged is there, or lost as announced.
    fn check_lineage(&mut self, node: usize, epoch: Epoch, missing: &[usize]) {
        let claim = self.check.claims.get(&epoch).cloned().unwrap_or_default();
        if missing.is_empty() {
            return;
        }
        let mut gtids = GtidSet::default();
        missing.iter().for_each(|tx| gtids.extend(&self.transactions[*tx].exact));
        let name = self.nodes[node].name.clone();
        self.say(Some(node), |_| format!("loses {} acknowledged: {gtids}", missing.len()));
        // A primary's old disk, and nothing left of the store that could tell: nobody can know.
        let unknowable = self.check.rolled_back && (self.check.wiped || self.check.restored);
        if claim.basis != Basis::Operator && !unknowable && self.scenario.is_lossless() {
            let text = format!("{name} leads in epoch {epoch} without the acknowledged {gtids}");
            return self.violate("I2", text);
        }
        if claim.basis != Basis::Operator && !unknowable && !self.check.restored {
            self.check_bounded(&claim, missing, epoch);
        }
        self.check.forgiven += u64::try_from(missing.len()).unwrap_or(0);
        missing.iter().for_each(|tx| self.acked.remove(*tx));
    }

    fn check_bounded(&mut self, claim: &Claimed, missing: &[usize], epoch: Epoch) {
        let max = match self.scenario.policy.durability {
            ha::Durability::Lossless => 0,
            ha::Durability::Available { max_loss_transactions } => max_loss_transactions,
        };
        let known = missing.iter().filter(|tx| claim.reported.contains(&self.transactions[**tx].exact));
        let known: Vec<usize> = known.copied().collect();
        if let Some(tx) = known.iter().find(|tx| !claim.lost.contains(&self.transactions[**tx].exact)) {
            let gtid = &self.transactions[*tx].gtid;
            let by = self.nodes[claim.node].name.clone();
            let text = format!(
                "{by} leads in epoch {epoch} without {gtid}, and said it would lose [{}]",
                claim.lost
            );
            return self.violate("I3", text);
        }
        if known.len() > usize::try_from(max).unwrap_or(usize::MAX) {
            self.violate(
                "I3",
                format!("{} transactions are lost in epoch {epoch}, {max} are allowed", known.len()),
            );
        }
    }

    /// Any so many ackers that are intact hold, between them, every acknowledged write.
    fn check_quorum(&mut self, state: &State) {
        let lineage = &state.lineage;
        if lineage.sync.asynchronous || self.check.restored || lineage.handover.is_some() {
            return;
        }
        let listed: Vec<(usize, u64)> = lineage
            .sync
            .ackers
            .iter()
            .filter_map(|(name, incarnation)| Some((self.find(name)?, *incarnation)))
            .collect();
        let intact: Vec<usize> = listed
            .iter()
            .filter(|(node, listed)| self.is_intact(*node, *listed))
            .map(|(node, _)| *node)
            .collect();
        let need = usize::try_from(lineage.sync.need).unwrap_or(usize::MAX);
        let Some(spare) = listed.len().checked_sub(need) else { return };
        let nothing = crate::server::Bits::default();
        let lost = self.acked.minus(&nothing).find(|tx| {
            let lacking = intact.iter().filter(|node| !self.nodes[**node].server.held.has(*tx)).count();
            lacking > spare && !lineage.start.contains(&self.transactions[*tx].exact)
        });
        if let Some(tx) = lost {
            let gtid = &self.transactions[tx].gtid;
            let text = format!(
                "too many of the intact ackers {:?} lack the acknowledged {gtid}",
                lineage.sync.ackers
            );
            self.violate("I4", text);
        }
    }

    fn is_intact(&self, node: usize, listed: u64) -> bool {
        let host = &self.nodes[node];
        let is_same = host.server.process.is_some() && host.record.process == host.server.process;
        host.record.incarnation == listed && is_same && host.work.is_none()
    }

    /// A replica's acknowledgement is counted.
    pub(crate) fn check_acker(&mut self, primary: usize, replica: usize, connection: u64) {
        // One that the network held back, from a connection that is no more, is no sign of an acker.
        if self.nodes[replica].server.io != Io::Connected(connection) {
            return;
        }
        let Some(state) = &self.store.shared.state else { return };
        let lineage = &state.value.lineage;
        let epoch = self.nodes[primary].server.open_epoch;
        if lineage.epoch != epoch || lineage.sync.asynchronous || self.check.restored || self.check.wiped {
            return;
        }
        if lineage.primary != self.nodes[primary].name || self.nodes[primary].server.read_only {
            return;
        }
        if !lineage.sync.ackers.contains_key(&self.nodes[replica].name) {
            let text =
                format!("{} acknowledges in epoch {epoch} and is not listed", self.nodes[replica].name);
            self.violate("I4", text);
        }
    }

    /// A client was told that its write is done.
    pub(crate) fn check_ack(&mut self, node: usize, tx: usize, alone: bool) {
        let epoch = self.transactions[tx].epoch;
        let races = self.now <= self.nodes[node].resumed_at + RACE;
        // What a host that stood still says at its end is harmless when the new primary holds it.
        let is_held = || self.newest().is_some_and(|(_, primary)| self.nodes[primary].server.held.has(tx));
        if races && !is_held() && self.gives_up(epoch, alone) {
            self.acked.remove(tx);
            self.check.forgiven += 1;
            let later = self.check.claims.range(epoch + 1..).next();
            if let Some((by, claim)) = later.map(|(by, claim)| (*by, claim.clone()))
                && claim.basis != Basis::Operator
            {
                self.check_bounded(&claim, &[tx], by);
            }
        } else if epoch < self.check.acked_epoch && !(races && (alone || is_held())) {
            let text = format!(
                "{} acknowledges {} of epoch {epoch} after one of epoch {}",
                self.nodes[node].name, self.transactions[tx].gtid, self.check.acked_epoch
            );
            self.violate("I1", text);
        }
        self.check.acked_epoch = self.check.acked_epoch.max(epoch);
        let is_first = self.check.first_copies == Some(epoch);
        if alone && self.scenario.is_lossless() && self.scenario.hosts.len() > 1 && !is_first {
            let text = format!("{} acknowledges alone", self.nodes[node].name);
            self.violate("I4", text);
        }
        let state = self.store.shared.state.as_ref().map(|state| state.value.clone());
        if let Some(state) = state.filter(|state| state.lineage.epoch == epoch && !self.check.wiped) {
            self.check_quorum(&state);
        }
    }

    /// The newest lineage and its primary: by the store, or, where it forgot, by who opened writes.
    fn newest(&self) -> Option<(Epoch, usize)> {
        let state = self.store.shared.state.as_ref().map(|state| &state.value.lineage);
        let stored = state.and_then(|lineage| Some((lineage.epoch, self.find(&lineage.primary)?)));
        stored.into_iter().chain(self.check.opened).max()
    }

    /// What a primary of this epoch tells a client now, having stood still, was given up before: by an operator, or in
    /// `available`, documented as lost beyond the number, while the primary was alone or too few could be examined.
    fn gives_up(&self, epoch: Epoch, alone: bool) -> bool {
        let later =
            |basis: Basis| self.check.claims.range(epoch + 1..).any(|(_, claim)| claim.basis == basis);
        let is_succeeded = self.newest().is_some_and(|(newest, _)| newest > epoch);
        let is_bounded = is_succeeded && (alone || later(Basis::Bound));
        later(Basis::Operator) || (is_bounded && !self.scenario.is_lossless())
    }

    /// Writes are taken under a valid lease only, by the node's own clock.
    pub(crate) fn check_write(&mut self, node: usize) {
        let host = &self.nodes[node];
        if self.now <= host.resumed_at + RACE {
            return;
        }
        let now = host.local(self.now);
        // An agent that has only begun, or gone on, leaves what is overdue to the fencer.
        let is_new = self.now < host.agent.since + 2 * FENCER_AFTER;
        let limit = if host.agent_runs() && !is_new { 2 } else { FENCER_AFTER + 2 };
        let valid = host.guard.is_some_and(|armed| now <= armed.deadline + limit);
        if !valid {
            let text = format!("{} takes a write at its {now} under {:?}", host.name, host.guard);
            self.violate("I5", text);
        }
    }

    /// Writes were opened.
    pub(crate) fn check_open(&mut self, node: usize, epoch: Epoch) {
        self.check.opens += 1;
        self.check.opened = self.check.opened.max(Some((epoch, node)));
        self.check_only_writer(node);
        self.check_primaries(node);
        let state = self.store.shared.state.as_ref().map(|state| &state.value);
        let is_named = state.is_some_and(|state| {
            state.lineage.epoch == epoch && state.lineage.primary == self.nodes[node].name
        });
        let newer = state.is_some_and(|state| state.lineage.epoch > epoch);
        if newer || (!is_named && !self.check.wiped && !self.check.restored) {
            let text =
                format!("{} opens writes in epoch {epoch}, the store says {state:?}", self.nodes[node].name);
            self.violate("I6", text);
        }
        let missing: Vec<usize> = self.acked.minus(&self.nodes[node].server.held).collect();
        self.check_lineage(node, epoch, &missing);
    }

    fn check_only_writer(&mut self, node: usize) {
        for other in 0..self.databases {
            let host = &self.nodes[other];
            let races = host.still > 0 || self.now <= host.resumed_at + RACE;
            if other != node && host.off == 0 && !races && host.server.is_open(self.now) {
                let text = format!("{} and {} take writes", self.nodes[node].name, host.name);
                return self.violate("I1", text);
            }
        }
    }

    pub(crate) fn check_resumed(&mut self, node: usize) {
        let host = &self.nodes[node];
        if host.runs() && self.now > host.resumed_at + RACE && host.server.is_open(self.now) {
            self.check_only_writer(node);
        }
    }

    /// At most one node says that it is the primary.
    pub(crate) fn check_primaries(&mut self, node: usize) {
        if !self.is_primary(node) {
            return;
        }
        if let Some(other) = (0..self.databases).find(|other| *other != node && self.is_primary(*other)) {
            let text = format!(
                "{} and {} both say they are the primary",
                self.nodes[node].name, self.nodes[other].name
            );
            self.violate("I7", text);
        }
    }

    /// Data was dropped: nothing acknowledged may have been there only.
    pub(crate) fn check_destroyed(&mut self, node: usize, dropped: &[usize], why: &str) {
        let held = |tx: usize| (0..self.databases).any(|other| self.nodes[other].server.held.has(tx));
        if let Some(tx) = dropped.iter().find(|tx| self.acked.has(**tx) && !held(**tx)) {
            let gtid = self.transactions[*tx].gtid.clone();
            let text =
                format!("the only copy of the acknowledged {gtid}, on {}, was {why}", self.nodes[node].name);
            self.violate("I10", text);
        }
    }

    pub(crate) fn check_reseed(&mut self, node: usize) {
        let host = &self.nodes[node];
        if host.server.is_open(self.now) {
            let text = format!("{} replaces its data while it takes writes", host.name);
            self.violate("I10", text);
        }
    }

    /// What was decided about another cluster's data, and under a pause.
    pub(crate) fn check_decision(&mut self, node: usize) {
        let agent = &self.nodes[node].agent;
        let replaces = agent.actions.iter().any(|action| matches!(action, Action::Reseed { .. }));
        if replaces && agent.sight.report.cluster.as_deref() == Some("another") {
            let text = format!("another cluster's data on {} is to be replaced", self.nodes[node].name);
            return self.violate("I10", text);
        }
        let begins_alone = agent.actions.iter().find_map(|action| match action {
            Action::Commit(state) if state.lineage.sync.asynchronous => Some(state.lineage.epoch),
            _ => None,
        });
        if begins_alone.is_some() && self.are_others_new(node) {
            self.check.first_copies = begins_alone;
        }
        let agent = &self.nodes[node].agent;
        if !agent.reached || !agent.shared.paused {
            return;
        }
        // Who has the lease goes on to open writes, and stops its own replication for that.
        let is_elected = agent.holding.is_some();
        let changes_roles = |action: &Action| match action {
            Action::Freeze(_) => !is_elected,
            action => matches!(action, Action::Claim(_) | Action::HandOver { .. } | Action::Reseed { .. }),
        };
        let asked = agent.shared.request.is_some();
        if let Some(action) = agent.actions.iter().find(|action| changes_roles(action)).filter(|_| !asked) {
            let text = format!("{} does {action:?} while paused", self.nodes[node].name);
            self.violate("I13", text);
        }
    }

    /// Every other node says that it has yet to take its first copy.
    fn are_others_new(&self, node: usize) -> bool {
        let members = &self.nodes[node].agent.shared.members;
        let is_new = |server: &ha::ServerReport| server.cluster.is_none() && server.position.is_empty();
        (0..self.databases).filter(|other| *other != node).all(|other| {
            members.get(&self.nodes[other].name).is_some_and(|member| is_new(&member.value.server))
        })
    }

    /// After the faults: everything has to be as declared, in time.
    pub(crate) fn check_settled(&mut self) {
        let problem = self.unsettled();
        if problem.is_some() {
            self.check.settled_since = None;
            self.clients.stopped_at = None;
        } else if self.check.settled_since.is_none() {
            self.check.settled_since = Some(self.now);
            self.check.acked_then = self.check.acked;
        }
        if let Some(since) = self.check.settled_since {
            let is_calm = self.now > since + 800 && self.check.acked > self.check.acked_then;
            if is_calm && self.clients.stopped_at.is_none() {
                self.clients.stopped_at = Some(self.now);
            }
        }
        if self.clients.stopped_at.is_some_and(|at| self.now > at + 300) && self.is_same_everywhere() {
            self.check.done = true;
            return;
        }
        if self.now > self.check.quiet_at + self.scenario.bound_ms {
            self.judge_unsettled(problem);
        }
    }

    fn is_same_everywhere(&self) -> bool {
        let Some(primary) = (0..self.databases).find(|node| self.is_primary(*node)) else { return false };
        let theirs = &self.nodes[primary].server;
        (0..self.databases).all(|node| {
            let server = &self.nodes[node].server;
            server.relay.is_empty()
                && server.held.minus(&theirs.held).next().is_none()
                && theirs.held.minus(&server.held).next().is_none()
        })
    }

    fn differences(&self) -> String {
        let gtids = |items: Vec<usize>| {
            let mut set = GtidSet::default();
            items.iter().for_each(|tx| set.extend(&self.transactions[*tx].exact));
            set
        };
        let mut text = "not all hold the same".to_owned();
        for one in self.nodes.iter().take(self.databases) {
            for other in self.nodes.iter().take(self.databases) {
                let lacks = gtids(one.server.held.minus(&other.server.held).collect());
                if !lacks.is_empty() {
                    text.push_str(&format!(", {} lacks {lacks} of {}", other.name, one.name));
                }
            }
        }
        text
    }

    /// What is not as declared; none when all is well.
    fn unsettled(&self) -> Option<String> {
        let mut primaries = (0..self.databases).filter(|node| self.is_primary(*node));
        let Some(primary) = primaries.next() else { return Some("nobody leads".to_owned()) };
        let state = self.store.shared.state.as_ref().map(|state| &state.value)?;
        if state.lineage.primary != self.nodes[primary].name || !self.nodes[primary].server.is_open(self.now)
        {
            return Some(format!("{} leads and does not write", self.nodes[primary].name));
        }
        for (node, host) in self.nodes.iter().enumerate().take(self.databases) {
            if node == primary {
                continue;
            }
            let server = &host.server;
            let connected = matches!(server.io, Io::Connected(_));
            if !server.answers(self.now) || server.source != Some(primary) || !connected || !server.sql {
                return Some(format!("{} does not replicate from {}", host.name, self.nodes[primary].name));
            }
            if host.agent.frozen.is_some() || host.work.is_some() || !server.read_only {
                return Some(format!("{} is not at rest", host.name));
            }
            let counts = state.lineage.sync.ackers.contains_key(&host.name) && server.acks;
            if host.agent.tags.may_ack() && !counts {
                return Some(format!("{} does not acknowledge", host.name));
            }
        }
        state
            .lineage
            .sync
            .asynchronous
            .then(|| "commits are acknowledged by the primary alone".to_owned())
            .filter(|_| self.able_ackers(primary) >= state.lineage.sync.need)
    }

    fn able_ackers(&self, primary: usize) -> u32 {
        let able =
            (0..self.databases).filter(|node| *node != primary && self.nodes[*node].agent.tags.may_ack());
        u32::try_from(able.count()).unwrap_or(0)
    }

    fn judge_unsettled(&mut self, problem: Option<String>) {
        let databases = self.nodes.iter().take(self.databases);
        let said: Vec<String> = databases
            .clone()
            .map(|host| format!("{}: {} {:?}", host.name, host.agent.sentence, host.agent.vetoes))
            .collect();
        let is_refusal = |text: &str| text.contains("refusing to choose");
        let refuses = databases.clone().any(|host| is_refusal(&host.agent.sentence));
        let is_flapping = |text: &str| text.contains("failovers in the last hour");
        let flaps = databases.clone().any(|host| is_flapping(&host.agent.sentence));
        let rolls = self.check.rolled_back
            && databases.clone().any(|host| host.agent.sentence.contains("not taking it back"));
        let all_up = databases.clone().all(|host| host.agent.sight.report.health == Health::Running);
        if rolls || (all_up && ((refuses && (self.check.wiped || self.check.restored)) || flaps)) {
            self.check.waits_for_person = true;
            self.check.done = true;
            return;
        }
        let problem = problem.unwrap_or_else(|| self.differences());
        let text =
            format!("{problem}, {} ms after the last fault; {}", self.scenario.bound_ms, said.join("; "));
        self.violate("I12", text);
    }
}

fn shared_older(before: Option<&State>, now: &State) -> bool {
    before.is_some_and(|before| before.epoch >= now.epoch)
}
