//! What an agent's actions do to the store, its lease and its server, as described in `ha`. Each takes time, can fail,
//! and can be cut short at any moment.

use ha::{Action, Claim, Leader, NodeName, Release, State};

use crate::agent::{Holding, Phase, TIME_LIMIT};
use crate::scenario::RENEW;
use crate::server::Io;
use crate::store::{Basis, Compare, Write};
use crate::world::{Answer, Armed, Ask, World};

/// Writes are opened only with at least this much of the lease left.
const OPEN_WITH_LEFT: u64 = 200;
/// Writes have to close within this, or they are opened again.
const CLOSE_LIMIT: u64 = 1_500;
/// Stages of an action.
const BEGIN: u8 = 0;
const DONE: u8 = 1;
const CLOSING: u8 = 2;
const HANDING: u8 = 3;
const ANSWERING: u8 = 4;

impl World {
    /// Goes on with the actions of a tick.
    pub(crate) fn act(&mut self, node: usize, stage: u8) {
        let Some(action) = self.nodes[node].agent.actions.front().cloned() else {
            return self.acted(node, false);
        };
        if stage == BEGIN {
            let now = self.now;
            self.nodes[node].agent.action_began = now;
            self.nodes[node].agent.effect = None;
            if !matches!(action, Action::Renew) {
                self.say(Some(node), |_| format!("does {}", text(&action)));
            }
        }
        match &action {
            Action::Renew
            | Action::Claim(_)
            | Action::Release { .. }
            | Action::Commit(_)
            | Action::Unfreeze
            | Action::Answer { .. } => self.act_on_store(node, stage, &action),
            Action::AskFailsafe => self.ask_failsafe(node, stage),
            Action::HandOver { to } => self.hand_over(node, stage, to),
            Action::Start(_)
            | Action::Kill { .. }
            | Action::Freeze(_)
            | Action::ApplyReceived
            | Action::Detach
            | Action::Follow { .. }
            | Action::SetAcking(_)
            | Action::SetWaiting(_)
            | Action::Block(_)
            | Action::Unblock(_)
            | Action::Open(_)
            | Action::Reseed { .. } => self.act_on_server(node, stage, &action),
        }
    }

    /// The action is done, or failed: on to the next.
    fn end_action(&mut self, node: usize, done: bool) {
        let agent = &mut self.nodes[node].agent;
        let Some(action) = agent.actions.pop_front() else { return };
        if !done {
            self.say(Some(node), |_| format!("failed: {}", name(&action)));
            return self.acted(node, true);
        }
        let agent = &mut self.nodes[node].agent;
        agent.did |= !matches!(action, Action::Renew | Action::AskFailsafe | Action::ApplyReceived);
        agent.phase = Phase::Acting(BEGIN);
        self.act(node, BEGIN);
    }

    fn act_on_store(&mut self, node: usize, stage: u8, action: &Action) {
        if stage == BEGIN {
            self.nodes[node].agent.phase = Phase::Acting(DONE);
            self.nodes[node].agent.sent = self.nodes[node].local(self.now);
            return match self.request_of(node, action) {
                Request::Nothing => self.end_action(node, true),
                Request::Impossible => self.end_action(node, false),
                Request::Report => {
                    self.nodes[node].agent.frozen = None;
                    let (name, member) = (self.nodes[node].name.clone(), self.member(node));
                    self.send_report(node, name, member);
                }
                Request::Commit(compares, writes) => self.ask_store(node, Ask::Commit(compares, writes)),
            };
        }
        let answer = self.nodes[node].agent.answer.unwrap_or(Answer::Unknown);
        let done = matches!(answer, Answer::Done(_));
        match action {
            Action::Renew => self.renewed(node, answer),
            Action::Claim(claim) => self.claimed(node, claim, answer),
            Action::Release { .. } => self.nodes[node].agent.holding = None,
            Action::Unfreeze => {
                if !self.note_published(node) {
                    let lineage =
                        self.nodes[node].agent.promise_local.as_ref().and_then(|local| local.frozen);
                    self.nodes[node].agent.frozen = lineage;
                }
            }
            _ => {}
        }
        self.end_action(node, done);
    }

    fn request_of(&mut self, node: usize, action: &Action) -> Request {
        match action {
            Action::Renew => self.renewal(node),
            Action::Claim(claim) => self.claim_request(node, claim),
            Action::Release { reason, to } => {
                let host = &mut self.nodes[node];
                let Some(holding) = &host.agent.holding else { return Request::Nothing };
                if host.server.process.is_some() && !host.server.read_only {
                    return Request::Impossible;
                }
                let Some(modified) = holding.modified else { return Request::Impossible };
                let record = released(&host.name, holding, reason, to.clone());
                host.agent.shown = None;
                host.guard = None;
                Request::Commit(vec![Compare::Leader(Some(modified))], vec![Write::Leader(record)])
            }
            Action::Commit(state) => {
                let agent = &self.nodes[node].agent;
                let (Some(holding), Some(seen)) = (&agent.holding, &agent.shared.state) else {
                    return Request::Impossible;
                };
                let compares = vec![Compare::State(Some(seen.modified)), Compare::Leader(holding.modified)];
                Request::Commit(compares, vec![Write::State(state.clone())])
            }
            Action::Unfreeze => Request::Report,
            _ => Request::Commit(Vec::new(), vec![Write::EndRequest]),
        }
    }

    fn renewal(&mut self, node: usize) -> Request {
        let host = &mut self.nodes[node];
        let sent = host.local(self.now);
        let agent = &mut host.agent;
        let seen = agent.shared.leader.as_ref().map(|leader| leader.modified);
        let Some(holding) = &mut agent.holding else { return Request::Impossible };
        if sent < holding.renewed_at + RENEW * 3 / 4 {
            return Request::Nothing;
        }
        let Some(modified) = holding.modified.or(seen) else { return Request::Impossible };
        let beat = holding.beat + 1;
        holding.sent = Some((beat, sent));
        let record =
            Leader { node: host.name.clone(), epoch: holding.epoch, beat, ready: false, released: None };
        Request::Commit(vec![Compare::Leader(Some(modified))], vec![Write::Leader(record)])
    }

    fn lease_ms(&self) -> u64 {
        self.scenario.policy.ttl - self.scenario.policy.margin
    }

    fn renewed(&mut self, node: usize, answer: Answer) {
        let until = self.nodes[node].agent.sent + self.lease_ms();
        let agent = &mut self.nodes[node].agent;
        let (Answer::Done(revision), Some(holding)) = (answer, &mut agent.holding) else { return };
        holding.until = holding.until.max(until);
        holding.modified = Some(revision);
        holding.beat += 1;
        holding.failsafe = false;
        holding.sent = None;
        holding.renewed_at = agent.sent;
        self.extend(node, until);
    }

    /// The lease lasts until then: the guards wait as long.
    pub(crate) fn extend(&mut self, node: usize, until: u64) {
        if let Some(armed) = &mut self.nodes[node].guard {
            armed.deadline = armed.deadline.max(until);
            self.plan_fence(node);
        }
        self.check_primaries(node);
    }

    fn claim_request(&mut self, node: usize, claim: &Claim) -> Request {
        let mut compares =
            vec![Compare::Leader(claim.replaces), Compare::State(claim.state_seen), Compare::NotPaused];
        let examined = claim.examined.iter();
        compares.extend(examined.map(|(name, modified)| Compare::Member(name.clone(), *modified)));
        let name = self.nodes[node].name.clone();
        let record = Leader { node: name, epoch: claim.epoch, beat: 0, ready: claim.ready, released: None };
        // The last primary's report is examined where the loss is judged by it.
        let last = &claim.state.lineage.primary;
        let is_bound = *last != record.node && claim.examined.iter().any(|(name, _)| name == last);
        let basis = if claim.reason.starts_with("an operator decided") {
            Basis::Operator
        } else if is_bound {
            Basis::Bound
        } else {
            Basis::Proof
        };
        let writes = vec![
            Write::Leader(record),
            Write::State(claim.state.clone()),
            Write::Claimed(claim.lost.clone(), basis),
        ];
        Request::Commit(compares, writes)
    }

    fn claimed(&mut self, node: usize, claim: &Claim, answer: Answer) {
        let sent = self.nodes[node].agent.sent;
        let modified = match answer {
            // Not before: an epoch that nobody got would look as if the store had forgotten it.
            Answer::Done(revision) => {
                self.nodes[node].record.epoch = self.nodes[node].record.epoch.max(claim.epoch);
                Some(revision)
            }
            Answer::Unknown => None,
            Answer::Conflict | Answer::Refused | Answer::Read => return,
        };
        self.nodes[node].agent.holding = Some(Holding {
            epoch: claim.epoch,
            until: sent + self.lease_ms(),
            modified,
            beat: 0,
            failsafe: false,
            sent: None,
            renewed_at: sent,
        });
    }

    fn ask_failsafe(&mut self, node: usize, stage: u8) {
        if stage == BEGIN {
            self.nodes[node].agent.phase = Phase::Acting(DONE);
            self.nodes[node].agent.sent = self.nodes[node].local(self.now);
            let ms = self.random.between(2, 300);
            return self.agent_after(node, ms);
        }
        let Some(holding) = self.nodes[node].agent.holding.clone() else {
            return self.end_action(node, true);
        };
        for other in 0..self.nodes.len() {
            if other != node && !self.agrees(node, other, holding.epoch) {
                return self.end_action(node, false);
            }
        }
        let until = self.nodes[node].agent.sent + self.lease_ms();
        if let Some(holding) = &mut self.nodes[node].agent.holding {
            holding.until = holding.until.max(until);
            holding.failsafe = true;
        }
        self.extend(node, until);
        self.end_action(node, true);
    }

    fn agrees(&mut self, asker: usize, other: usize, epoch: u64) -> bool {
        if !self.both_ways(asker, other) || !self.nodes[other].agent_runs() {
            return false;
        }
        let now = self.nodes[other].local(self.now);
        let host = &self.nodes[other];
        let agent = &host.agent;
        if matches!(agent.phase, Phase::Acting(_)) {
            return false;
        }
        let Some(local) = &agent.promise_local else { return false };
        let last = agent.has_read.then_some(&agent.shared);
        let view =
            ha::View { me: &host.name, now, wall_seconds: 0, shared: last.filter(|_| agent.reached), local };
        let policy = &self.scenario.policy;
        let asker = &self.nodes[asker].name;
        if ha::agree_failsafe(&view, policy, &agent.memory, asker, epoch, last).is_err() {
            return false;
        }
        let until = now + policy.ttl;
        self.nodes[other].agent.promised_until = Some(until);
        self.say(Some(other), |_| "agrees that the primary goes on".to_owned());
        // Answers get lost too.
        !self.random.chance(5)
    }

    fn hand_over(&mut self, node: usize, stage: u8, to: &NodeName) {
        match stage {
            BEGIN => {
                let host = &mut self.nodes[node];
                host.agent.shown = None;
                if !host.server.answers(self.now) {
                    return self.reopened(node);
                }
                host.server.closing = true;
                host.agent.phase = Phase::Acting(CLOSING);
                self.agent_after(node, 5);
            }
            CLOSING => self.closing(node, to),
            HANDING => self.handed(node),
            _ => self.end_action(node, false),
        }
    }

    fn closing(&mut self, node: usize, to: &NodeName) {
        let host = &mut self.nodes[node];
        if !host.server.answers(self.now) {
            return self.reopened(node);
        }
        if host.server.waiting() > 0 {
            if self.now - host.agent.action_began > CLOSE_LIMIT {
                return self.reopened(node);
            }
            return self.agent_after(node, 20);
        }
        host.server.read_only = true;
        host.server.closing = false;
        host.agent.sight.report.read_only = true;
        let position = host.server.executed.clone();
        let (Some(holding), Some(state)) = (&host.agent.holding, &host.agent.shared.state) else {
            return self.reopened(node);
        };
        let mut next: State = state.value.clone();
        next.lineage.handover = Some(position);
        let record = released(&host.name, holding, "handed over, as asked", Some(to.clone()));
        let compares = vec![Compare::State(Some(state.modified)), Compare::Leader(holding.modified)];
        let writes = vec![Write::State(next), Write::Leader(record), Write::EndRequest];
        host.agent.phase = Phase::Acting(HANDING);
        self.ask_store(node, Ask::Commit(compares, writes));
    }

    fn handed(&mut self, node: usize) {
        match self.nodes[node].agent.answer.unwrap_or(Answer::Unknown) {
            Answer::Done(_) => {
                let host = &mut self.nodes[node];
                host.agent.holding = None;
                host.guard = None;
                self.changed_server(node);
                self.end_action(node, true);
            }
            Answer::Conflict => self.reopened(node),
            // It may have happened: writes stay closed until that is known.
            Answer::Unknown | Answer::Refused | Answer::Read => self.end_action(node, false),
        }
    }

    /// Handing over failed: writes are opened again, the request is answered.
    fn reopened(&mut self, node: usize) {
        let host = &mut self.nodes[node];
        if host.server.answers(self.now) && host.guard.is_some() {
            host.server.read_only = false;
            host.server.closing = false;
            host.agent.shown = host.agent.holding.as_ref().map(|holding| holding.epoch);
        }
        host.agent.phase = Phase::Acting(ANSWERING);
        self.changed_server(node);
        self.ask_store(node, Ask::Commit(Vec::new(), vec![Write::EndRequest]));
    }

    pub(crate) fn changed_server(&mut self, node: usize) {
        self.nodes[node].agent.changed = true;
    }

    fn act_on_server(&mut self, node: usize, stage: u8, action: &Action) {
        if stage == BEGIN {
            self.changed_server(node);
            self.nodes[node].agent.phase = Phase::Acting(DONE);
            let early = self.random.chance(50);
            if early {
                let effect = self.server_action(node, action);
                self.nodes[node].agent.effect = effect;
            }
            let ms = self.random.between(1, 15);
            return self.agent_after(node, ms);
        }
        let effect = match self.nodes[node].agent.effect.take() {
            Some(effect) => Some(effect),
            None => self.server_action(node, action),
        };
        match effect {
            Some(done) => self.end_action(node, done),
            None => {
                // No answer within the limit. It may still be done when the server goes on.
                self.nodes[node].agent.effect = Some(false);
                if self.random.chance(30) {
                    self.do_late(node, action);
                }
                self.agent_after(node, TIME_LIMIT);
            }
        }
    }

    /// Does it; none when the server does not answer.
    pub(crate) fn server_action(&mut self, node: usize, action: &Action) -> Option<bool> {
        match action {
            Action::Start(role) => {
                self.start_server(node, *role);
                return Some(true);
            }
            Action::Kill { why } => {
                self.nodes[node].agent.shown = None;
                self.nodes[node].guard = None;
                self.kill_server(node, why);
                return Some(true);
            }
            Action::Reseed { donor } => return Some(self.reseed(node, donor)),
            _ => {}
        }
        let server = &self.nodes[node].server;
        if server.process.is_none() || server.ready_at > self.now {
            return Some(false);
        }
        if server.stopped {
            // The guard is armed before the statement is sent.
            if let Action::Open(epoch) = action
                && self.arm(node, *epoch).is_none()
            {
                return Some(false);
            }
            return None;
        }
        Some(self.sql_action(node, action))
    }

    pub(crate) fn sql_action(&mut self, node: usize, action: &Action) -> bool {
        match action {
            Action::Freeze(epoch) => {
                let host = &mut self.nodes[node];
                host.server.io = Io::Off;
                host.server.acks = false;
                host.agent.frozen = Some(*epoch);
                true
            }
            Action::ApplyReceived => {
                self.nodes[node].server.sql = true;
                self.plan_apply(node);
                true
            }
            Action::Detach => self.detach(node),
            Action::Follow { primary, epoch, acking } => self.follow(node, primary, *epoch, *acking),
            Action::SetAcking(on) => {
                self.nodes[node].server.acks = *on;
                if self.nodes[node].server.source.is_some() {
                    self.restart_io(node);
                }
                true
            }
            Action::SetWaiting(need) => {
                let server = &mut self.nodes[node].server;
                server.waits = *need;
                if need.is_some() {
                    // What it leads with survives a loss of power from here on.
                    server.synced = server.log.len();
                }
                self.release_waiters(node);
                true
            }
            Action::Block(other) => {
                let Some(other) = self.find(other) else { return false };
                let server = &mut self.nodes[node].server;
                server.blocked.insert(other);
                server.dumps.retain(|dump| dump.replica != other);
                if self.both_ways(node, other) && self.nodes[other].server.source == Some(node) {
                    let io = &mut self.nodes[other].server.io;
                    if matches!(io, Io::Connected(_)) {
                        *io = Io::Connecting;
                    }
                }
                true
            }
            Action::Unblock(other) => {
                let Some(other) = self.find(other) else { return false };
                self.nodes[node].server.blocked.remove(&other);
                true
            }
            Action::Open(epoch) => self.open(node, *epoch),
            _ => true,
        }
    }

    fn detach(&mut self, node: usize) -> bool {
        let host = &mut self.nodes[node];
        host.record.follows = None;
        host.server.io = Io::Off;
        host.server.sql = false;
        host.server.acks = false;
        host.server.source = None;
        // What it leads with survives a loss of power from here on.
        host.server.synced = host.server.log.len();
        host.server.drop_relay(&self.transactions);
        true
    }

    fn follow(&mut self, node: usize, primary: &NodeName, epoch: u64, acking: bool) -> bool {
        let Some(source) = self.find(primary) else { return false };
        let host = &mut self.nodes[node];
        if host.server.cluster.as_deref() == Some("another") {
            self.violate(
                "I8",
                format!("another cluster's data on {} is made to follow", self.nodes[node].name),
            );
            return false;
        }
        let is_set_up = host.server.source == Some(source) && host.record.follows.is_some();
        let server = &mut host.server;
        server.acks = acking;
        server.sql = !server.broken;
        if !is_set_up {
            server.source = Some(source);
            server.drop_relay(&self.transactions);
        }
        let host = &mut self.nodes[node];
        host.record.follows = Some((source, epoch));
        if let Some(state) = &host.agent.shared.state {
            host.server.cluster = Some(state.value.cluster.clone());
        }
        self.restart_io(node);
        self.plan_apply(node);
        true
    }

    /// Everything before the statement that opens writes: the record, then the guard.
    fn arm(&mut self, node: usize, epoch: u64) -> Option<()> {
        let host = &mut self.nodes[node];
        let now = host.local(self.now);
        let holding = host.agent.holding.as_ref().filter(|holding| holding.epoch == epoch)?;
        let process = host.agent.sight.process?;
        if holding.until < now + OPEN_WITH_LEFT {
            return None;
        }
        host.record.opened = Some(epoch);
        host.record.follows = None;
        if let Some(state) = &host.agent.shared.state {
            host.server.cluster = Some(state.value.cluster.clone());
        }
        host.guard = Some(Armed { deadline: holding.until, epoch, process });
        self.plan_fence(node);
        (self.nodes[node].server.process == Some(process)).then_some(())
    }

    fn open(&mut self, node: usize, epoch: u64) -> bool {
        if self.arm(node, epoch).is_none() {
            return false;
        }
        let host = &mut self.nodes[node];
        host.server.read_only = false;
        host.server.closing = false;
        host.server.open_epoch = epoch;
        host.server.synced = host.server.log.len();
        if host.server.vendor == flavor::Vendor::MariaDb {
            // Numbers of transactions that were dropped at a start are never used again.
            let floor = self.now.max(host.record.number_floor + 1_000);
            host.record.number_floor = floor;
            host.server.number_floor = floor;
        }
        host.agent.frozen = None;
        host.agent.sight.report.read_only = false;
        host.agent.shown = Some(epoch);
        self.say(Some(node), |world| {
            format!("writes are open, holding {}", world.nodes[node].server.position)
        });
        self.check_open(node, epoch);
        true
    }
}

/// What an action asks of the store.
enum Request {
    /// It is not needed.
    Nothing,
    /// It cannot be.
    Impossible,
    /// This node's report.
    Report,
    Commit(Vec<Compare>, Vec<Write>),
}

fn released(node: &NodeName, holding: &Holding, reason: &str, to: Option<NodeName>) -> Leader {
    let release = Release { reason: reason.to_owned(), to };
    Leader {
        node: node.clone(),
        epoch: holding.epoch,
        beat: holding.beat + 1,
        ready: false,
        released: Some(release),
    }
}

fn name(action: &Action) -> String {
    let text = format!("{action:?}");
    text.split([' ', '(']).next().unwrap_or_default().to_owned()
}

fn text(action: &Action) -> String {
    match action {
        Action::Claim(claim) => {
            format!("Claim of epoch {} on {:?}, losing [{}]", claim.epoch, claim.examined, claim.lost)
        }
        Action::Commit(state) => {
            format!("Commit of {:?}, async: {}", state.lineage.sync.ackers, state.lineage.sync.asynchronous)
        }
        other => format!("{other:?}"),
    }
}
