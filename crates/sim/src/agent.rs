//! The cycle of a node's agent: look at everything, decide, act, report. What an action does is in `act`.

use std::collections::VecDeque;

use flavor::Flavor;
use ha::{
    Action, Epoch, Following, Health, Held, Local, Member, Memory, ReplicationError, ServerReport, Shared,
    Tags, View,
};

use crate::scenario::{TICK, name_of};
use crate::server::Io;
use crate::world::{Answer, Ask, Event, World};

/// A server that answered this long ago is not called hung.
const GRACE: u64 = 700;
/// Requests to the store, and looks at a server that does not answer, take this long.
pub(crate) const TIME_LIMIT: u64 = 1_000;
/// A server that dies this often within the window does not start.
const DEATHS_MAX: usize = 3;
const DEATHS_WINDOW: u64 = 60_000;
const PROVEN: u64 = 20_000;

/// The lease in a node's hands.
#[derive(Clone, Debug)]
pub(crate) struct Holding {
    pub(crate) epoch: Epoch,
    pub(crate) until: u64,
    pub(crate) modified: Option<u64>,
    pub(crate) beat: u64,
    pub(crate) failsafe: bool,
    pub(crate) sent: Option<(u64, u64)>,
    pub(crate) renewed_at: u64,
}

/// What an agent is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Idle,
    Looking,
    /// An action, and how far it is.
    Acting(u8),
    Publishing,
}

/// What was last seen of the server.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    pub(crate) report: ServerReport,
    pub(crate) process: Option<u64>,
    pub(crate) answered_at: Option<u64>,
    began_at: u64,
    stalled: Option<(usize, u64)>,
    deaths: Vec<u64>,
    trouble: Option<String>,
    blocked: std::collections::BTreeSet<ha::NodeName>,
}

/// An agent's process and what it knows.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) alive: bool,
    /// When it began or went on.
    pub(crate) since: u64,
    /// Counts processes of it.
    pub(crate) life: u32,
    /// What it waits for.
    pub(crate) step: u32,
    /// Faults that keep it stopped.
    pub(crate) stops: u32,
    /// Faults that keep it dead.
    pub(crate) dead: u32,
    pub(crate) phase: Phase,
    pub(crate) memory: Memory,
    /// The store as last read, with its own report as it knows better.
    pub(crate) shared: Shared,
    pub(crate) generation: u64,
    /// The last read was answered.
    pub(crate) reached: bool,
    pub(crate) has_read: bool,
    look_at_end: bool,
    pub(crate) look_until: u64,
    pub(crate) answer: Option<Answer>,
    pub(crate) holding: Option<Holding>,
    pub(crate) frozen: Option<Epoch>,
    pub(crate) sight: Sight,
    pub(crate) published: Option<(Member, u64)>,
    pub(crate) pending_report: Option<Member>,
    pub(crate) actions: VecDeque<Action>,
    pub(crate) did: bool,
    pub(crate) changed: bool,
    /// The effect of the action under way, if it happened already.
    pub(crate) effect: Option<bool>,
    pub(crate) action_began: u64,
    pub(crate) sent: u64,
    pub(crate) promised_until: Option<u64>,
    /// What it answers other nodes from.
    pub(crate) promise_local: Option<Local>,
    /// The health endpoint may say that writes are open, in this epoch.
    pub(crate) shown: Option<Epoch>,
    pub(crate) tags: Tags,
    flavor: Flavor,
    pub(crate) sentence: String,
    pub(crate) vetoes: Vec<String>,
}

impl Agent {
    pub(crate) fn new(tags: Tags, flavor: Flavor) -> Self {
        Self {
            alive: false,
            since: 0,
            life: 1,
            step: 0,
            stops: 0,
            dead: 0,
            phase: Phase::Idle,
            memory: Memory::default(),
            shared: Shared::default(),
            generation: 0,
            reached: false,
            has_read: false,
            look_at_end: false,
            look_until: 0,
            answer: None,
            holding: None,
            frozen: None,
            sight: Sight::new(),
            published: None,
            pending_report: None,
            actions: VecDeque::new(),
            did: false,
            changed: false,
            effect: None,
            action_began: 0,
            sent: 0,
            promised_until: None,
            promise_local: None,
            shown: None,
            tags,
            flavor,
            sentence: String::new(),
            vetoes: Vec::new(),
        }
    }

    /// A new process: only what is on disk is known.
    fn begin(&mut self) {
        let (life, step) = (self.life, self.step + 1);
        let fresh = Self::new(self.tags.clone(), self.flavor);
        *self = Self {
            alive: true,
            life,
            step,
            stops: self.stops,
            dead: self.dead,
            generation: u64::MAX,
            ..fresh
        };
    }
}

impl Sight {
    fn new() -> Self {
        Self {
            report: ServerReport::unseen(),
            process: None,
            answered_at: None,
            began_at: 0,
            stalled: None,
            deaths: Vec::new(),
            trouble: None,
            blocked: std::collections::BTreeSet::new(),
        }
    }
}

impl World {
    pub(crate) fn agent_start(&mut self, node: usize, life: u32) {
        let host = &mut self.nodes[node];
        if host.agent.life != life || host.agent.alive || host.off > 0 || host.agent.dead > 0 {
            return;
        }
        host.agent.begin();
        host.agent.since = self.now;
        let now = host.local(self.now);
        // A lease that has not run out, by the record that the fencer reads too.
        if let Some(armed) = host.guard.filter(|armed| armed.deadline > now) {
            host.agent.holding = Some(Holding {
                epoch: armed.epoch,
                until: armed.deadline,
                modified: None,
                beat: 0,
                failsafe: false,
                sent: None,
                renewed_at: 0,
            });
        }
        self.say(Some(node), |_| "agent begins".to_owned());
        self.begin_tick(node);
    }

    /// The agent's process is gone.
    pub(crate) fn end_agent(&mut self, node: usize) {
        let agent = &mut self.nodes[node].agent;
        agent.alive = false;
        agent.life += 1;
        agent.shown = None;
        agent.holding = None;
    }

    /// Something happened that an idle agent looks at soon.
    pub(crate) fn wake_agent(&mut self, node: usize, ms: u64) {
        let agent = &self.nodes[node].agent;
        if agent.alive && agent.phase == Phase::Idle {
            let event = Event::Agent { node, life: agent.life, step: agent.step };
            self.after(ms, event);
        }
    }

    pub(crate) fn agent_event(&mut self, node: usize, life: u32, step: u32, event: Event) {
        let host = &mut self.nodes[node];
        if !host.agent.alive || host.agent.life != life || host.agent.step != step {
            return;
        }
        if host.still > 0 || host.agent.stops > 0 {
            host.deferred.push(event);
            return;
        }
        match host.agent.phase {
            Phase::Idle => self.begin_tick(node),
            Phase::Looking => self.decide(node),
            Phase::Acting(stage) => self.act(node, stage),
            Phase::Publishing => self.end_tick(node),
        }
    }

    /// The agent goes on after this long.
    pub(crate) fn agent_after(&mut self, node: usize, ms: u64) {
        let agent = &mut self.nodes[node].agent;
        agent.step += 1;
        let event = Event::Agent { node, life: agent.life, step: agent.step };
        self.after(ms, event);
    }

    fn begin_tick(&mut self, node: usize) {
        let early = self.random.chance(50);
        let takes = self.random.between(1, 6);
        let now = self.now;
        let host = &mut self.nodes[node];
        let agent = &mut host.agent;
        agent.phase = Phase::Looking;
        agent.look_at_end = !early;
        let hangs = host.server.process.is_some() && host.server.stopped;
        agent.look_until = now + if hangs { TIME_LIMIT } else { takes };
        if early {
            self.look(node);
        }
        self.ask_store(node, Ask::Read);
    }

    pub(crate) fn look(&mut self, node: usize) {
        let host = &mut self.nodes[node];
        if host.witness {
            return;
        }
        let now = host.local(self.now);
        if host.server.process != host.agent.sight.process {
            self.note_process(node, now);
        }
        let host = &mut self.nodes[node];
        let sight = &mut host.agent.sight;
        // Whose the data is, is written beside it: it can be read from a server that does not run.
        sight.report.cluster.clone_from(&host.server.cluster);
        if host.server.process.is_none() {
            return;
        }
        if host.server.answers(self.now) {
            self.note_look(node, now);
        } else {
            sight.report.health = match sight.answered_at {
                None => Health::Starting,
                Some(at) if now.saturating_sub(at) < GRACE => Health::Running,
                Some(_) => Health::Hung,
            };
        }
    }

    fn note_process(&mut self, node: usize, now: u64) {
        let host = &mut self.nodes[node];
        let sight = &mut host.agent.sight;
        if sight.process.is_some() {
            sight.deaths.retain(|at| now.saturating_sub(*at) < DEATHS_WINDOW);
            sight.deaths.push(now);
            if sight.deaths.len() >= DEATHS_MAX && now.saturating_sub(sight.began_at) < DEATHS_WINDOW {
                sight.trouble = Some("it ended too often".to_owned());
            }
        }
        sight.process = host.server.process;
        sight.answered_at = None;
        sight.stalled = None;
        sight.began_at = now;
        let report = &mut sight.report;
        report.following = None;
        report.acks = false;
        report.waits = None;
        match host.server.process {
            None => {
                report.health = Health::Down;
                report.read_only = true;
            }
            Some(process) => {
                report.health = Health::Starting;
                if host.record.process != Some(process) {
                    host.record.process = Some(process);
                    host.record.incarnation += 1;
                }
                report.incarnation = host.record.incarnation;
            }
        }
    }

    fn note_look(&mut self, node: usize, now: u64) {
        let flavor = self.nodes[node].agent.flavor;
        let host = &mut self.nodes[node];
        let server = &host.server;
        let following = server.source.map(|source| {
            let error = if server.broken && !server.sql {
                Some((1062, true))
            } else if server.io == Io::Failed {
                Some((1236, true))
            } else {
                None
            };
            Following {
                node: Some(ha::NodeName::new(name_of(source))),
                epoch: host.record.follows.filter(|(node, _)| *node == source).map(|(_, epoch)| epoch),
                io: matches!(server.io, Io::Connected(_)),
                sql: server.sql,
                error: error.map(|(code, fatal)| ReplicationError {
                    code,
                    text: "stopped".to_owned(),
                    fatal,
                }),
                lag_seconds: None,
            }
        });
        let sight = &mut host.agent.sight;
        sight.answered_at = Some(now);
        if now.saturating_sub(sight.began_at) > PROVEN {
            sight.trouble = None;
            sight.deaths.clear();
        }
        sight.stalled = match sight.stalled {
            _ if server.waiting() == 0 || server.waits.is_none() => None,
            Some((done, since)) if done == server.committed => Some((done, since)),
            Some(_) | None => Some((server.committed, now)),
        };
        sight.blocked = server.blocked.iter().map(|node| ha::NodeName::new(name_of(*node))).collect();
        let report = &mut sight.report;
        report.health = Health::Running;
        report.flavor = Some(flavor);
        report.incarnation = host.record.incarnation;
        report.cluster.clone_from(&server.cluster);
        report.executed.clone_from(&server.executed);
        report.position.clone_from(&server.position);
        report.read_only = server.read_only || server.closing;
        report.following = following;
        report.acks = server.acks;
        report.waits = server.waits;
    }

    fn local_of(&self, node: usize) -> Local {
        let host = &self.nodes[node];
        let agent = &host.agent;
        let sight = &agent.sight;
        let now = host.local(self.now);
        let holding = agent.holding.as_ref();
        Local {
            witness: host.witness,
            server: sight.report.clone(),
            lease: holding.map(|held| Held { epoch: held.epoch, until: held.until, failsafe: held.failsafe }),
            frozen: agent.frozen,
            promised_until: agent.promised_until,
            blocked: sight.blocked.clone(),
            stalled_for: sight.stalled.map_or(0, |(_, since)| now.saturating_sub(since)),
            unanswered_for: match sight.process.and(sight.answered_at) {
                Some(at) => now.saturating_sub(at),
                None => 0,
            },
            disk_stalled_for: if host.disk_stalls > 0 { self.now - host.disk_stalled_since } else { 0 },
            tags: agent.tags.clone(),
            work: host.work.as_ref().map(|(text, ..)| text.clone()),
            epoch: host.record.epoch,
            version: host.record.version,
            opened: host.record.opened,
            fresh_cluster: format!("cluster-{}", host.name),
            trouble: sight.trouble.clone(),
        }
    }

    /// Brings what the agent thinks of its lease in line with the store.
    fn adopt(&mut self, node: usize) {
        let lease = self.scenario.policy.ttl - self.scenario.policy.margin;
        let host = &mut self.nodes[node];
        let Some(holding) = &mut host.agent.holding else { return };
        let record = host.agent.shared.leader.as_ref().filter(|leader| {
            let value = &leader.value;
            value.node == host.name && value.epoch == holding.epoch && value.released.is_none()
        });
        let Some(leader) = record else {
            host.agent.holding = None;
            return;
        };
        let mut extended = None;
        if let Some((beat, sent)) = holding.sent
            && beat == leader.value.beat
        {
            holding.until = holding.until.max(sent + lease);
            holding.renewed_at = sent;
            holding.sent = None;
            extended = Some(holding.until);
        }
        holding.beat = leader.value.beat;
        holding.modified = Some(leader.modified);
        if let Some(until) = extended {
            self.extend(node, until);
        }
    }

    fn decide(&mut self, node: usize) {
        let reached = self.nodes[node].agent.answer == Some(Answer::Read);
        if self.nodes[node].agent.look_at_end {
            self.look(node);
        }
        self.nodes[node].agent.reached = reached;
        self.nodes[node].agent.did = false;
        self.nodes[node].agent.changed = false;
        if reached {
            self.take_in(node);
            if self.nodes[node].agent.published.is_none() {
                self.nodes[node].agent.did = true;
                return self.publish(node, true);
            }
        }
        let local = self.local_of(node);
        let wall_seconds =
            u64::try_from(1_800_000_000 + self.nodes[node].wall_ahead).unwrap_or(0) + self.now / 1_000;
        let host = &mut self.nodes[node];
        let agent = &mut host.agent;
        let clock = i64::try_from(self.now).unwrap_or(i64::MAX);
        let now = u64::try_from(host.clock + clock + clock * host.skew_ppm / 1_000_000).unwrap_or(0);
        let view = View {
            me: &host.name,
            now,
            wall_seconds,
            shared: reached.then_some(&agent.shared),
            local: &local,
        };
        let decision = ha::decide(&view, &self.scenario.policy, &mut agent.memory);
        let is_new = agent.sentence != decision.sentence;
        agent.sentence = decision.sentence;
        agent.vetoes = decision.vetoes;
        agent.actions = decision.actions.into();
        agent.promise_local = Some(local);
        agent.phase = Phase::Acting(0);
        if is_new {
            self.say(Some(node), |world| world.told(node));
        }
        self.check_decision(node);
        self.act(node, 0);
    }

    fn told(&self, node: usize) -> String {
        let agent = &self.nodes[node].agent;
        let mut text = format!("[{}] {}", self.nodes[node].local(self.now), agent.sentence);
        for veto in &agent.vetoes {
            text.push_str(&format!(" ({veto})"));
        }
        text
    }

    /// What a read of the store tells.
    fn take_in(&mut self, node: usize) {
        let host = &mut self.nodes[node];
        host.agent.has_read = true;
        if let Some(state) = host.agent.shared.state.as_ref().map(|state| &state.value) {
            // A disk that does not know that this node led is another one, or an old copy.
            let forgot = state.lineage.primary == host.name && host.record.epoch < state.lineage.epoch;
            if !forgot {
                host.record.epoch = host.record.epoch.max(state.epoch);
                host.record.version = host.record.version.max(state.version);
            }
        }
        if let Some(mine) = host.agent.shared.members.get_mut(&host.name) {
            mine.value.server.clone_from(&host.agent.sight.report);
        }
        self.adopt(node);
    }

    /// The actions are done, or one failed.
    pub(crate) fn acted(&mut self, node: usize, failed: bool) {
        let agent = &mut self.nodes[node].agent;
        agent.actions.clear();
        if failed {
            agent.did = false;
        }
        let (frozen, holds) = (agent.frozen, agent.holding.is_some());
        if let Some(local) = &mut agent.promise_local {
            local.frozen = frozen;
            local.lease = local.lease.filter(|_| holds);
        }
        if agent.changed {
            self.look(node);
        }
        let agent = &self.nodes[node].agent;
        if agent.reached {
            let at_once = agent.changed;
            self.publish(node, at_once);
        } else {
            self.end_tick(node);
        }
    }

    pub(crate) fn end_tick(&mut self, node: usize) {
        if self.nodes[node].agent.phase == Phase::Publishing {
            self.note_published(node);
        }
        let host = &mut self.nodes[node];
        let agent = &mut host.agent;
        agent.phase = Phase::Idle;
        let is_open = agent.holding.as_ref().filter(|holding| {
            agent.sight.process.is_some()
                && !agent.sight.report.read_only
                && host.record.opened == Some(holding.epoch)
        });
        agent.shown = is_open.map(|holding| holding.epoch);
        let ms = if agent.did { 1 } else { TICK };
        if self.nodes[node].agent.shown.is_some() {
            self.check_primaries(node);
        }
        self.agent_after(node, ms);
    }
}
