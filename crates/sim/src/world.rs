//! The world of one run: hosts, network, store, time. Events happen in order of true time; what each kind of event
//! does is in the file of its part.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use ha::{Epoch, NodeName};

use crate::agent::Agent;
use crate::check::Violation;
use crate::fault::Site;
use crate::random::Random;
use crate::scenario::{FAULTS_FROM, Scenario};
use crate::server::{Bits, Server, Transaction};
use crate::store::{Compare, Store, Write};

/// Something that happens at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// What an agent waited for is there.
    Agent { node: usize, life: u32, step: u32 },
    /// An agent begins.
    AgentStart { node: usize, life: u32 },
    /// A request reaches the store.
    StoreGets { request: usize },
    /// The store's answer reaches its asker.
    StoreAnswers { request: usize },
    /// A lease may have run out: the agent's own thread looks.
    Fence { node: usize },
    /// The separate fencer looks.
    Fencer { node: usize },
    /// What the primary wrote reaches a replica.
    Deliver { replica: usize, connection: u64 },
    /// An acknowledgement reaches the primary.
    Ack { primary: usize, replica: usize, connection: u64, upto: usize },
    /// Acknowledged commits end.
    Commit { node: usize, process: u64, upto: usize },
    /// A replica executes what it received.
    Apply { node: usize, process: u64 },
    /// A replica tries to connect.
    Connect { node: usize, process: u64 },
    /// A copy of the data is there.
    Reseeded { node: usize, token: u64 },
    /// After a copy, or one that failed.
    WorkEnds { node: usize, token: u64 },
    /// The server dies by itself.
    Dies { node: usize, process: u64 },
    /// Connections are looked after.
    Network,
    /// Proxy and clients do something.
    Clients,
    /// A fault begins.
    Begin { fault: usize },
    /// A fault ends.
    End { fault: usize },
    /// The store's content is kept for a later restore.
    Save,
    /// A disk's content is.
    SaveDisk { node: usize },
    /// A host that stood still goes on: two may take writes for a moment and not longer.
    Resumed { node: usize },
    /// All faults are over.
    Quiet,
}

/// What an agent asks of the store.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// Everything.
    Read,
    /// A commit.
    Commit(Vec<Compare>, Vec<Write>),
}

/// What it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The read is done.
    Read,
    /// The commit is done, at this revision.
    Done(u64),
    /// A condition did not hold.
    Conflict,
    /// Nothing was written.
    Refused,
    /// Whether it was written is not known.
    Unknown,
}

/// A request under way.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) node: usize,
    pub(crate) life: u32,
    pub(crate) step: u32,
    pub(crate) sent: u64,
    pub(crate) ask: Ask,
    pub(crate) answer: Answer,
}

/// The fence record: what kills the server when the lease ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Armed {
    /// By the host's own clock.
    pub(crate) deadline: u64,
    pub(crate) epoch: Epoch,
    pub(crate) process: u64,
}

/// What a node keeps on disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) epoch: Epoch,
    pub(crate) version: u64,
    pub(crate) opened: Option<Epoch>,
    pub(crate) incarnation: u64,
    pub(crate) process: Option<u64>,
    pub(crate) follows: Option<(usize, Epoch)>,
    pub(crate) number_floor: u64,
}

/// A host with its agent and server.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: NodeName,
    pub(crate) witness: bool,
    pub(crate) agent: Agent,
    pub(crate) server: Server,
    pub(crate) record: Record,
    pub(crate) guard: Option<Armed>,
    /// Its clock showed this at true time 0.
    pub(crate) clock: i64,
    pub(crate) skew_ppm: i64,
    pub(crate) wall_ahead: i64,
    /// Faults that keep the power off.
    pub(crate) off: u32,
    /// Faults that make the whole host stand still.
    pub(crate) still: u32,
    pub(crate) resumed_at: u64,
    /// Faults that keep the server stopped.
    pub(crate) stops: u32,
    pub(crate) disk_stalls: u32,
    pub(crate) disk_stalled_since: u64,
    pub(crate) slow: u32,
    pub(crate) bad_starts: u8,
    /// Commits to the store whose answer gets lost.
    pub(crate) unknowns: u8,
    /// The IO thread's connection is dead without knowing.
    pub(crate) io_lost_since: Option<u64>,
    pub(crate) work: Option<(String, u64, usize)>,
    /// Happens when the host goes on.
    pub(crate) deferred: Vec<Event>,
    /// Statements whose answer nobody waits for any more, by the process they were sent to.
    pub(crate) late: Vec<(u64, ha::Action)>,
    /// An earlier content of the disk.
    pub(crate) disk: Option<(Server, Record)>,
}

impl Node {
    /// The host's own clock.
    pub(crate) fn local(&self, now: u64) -> u64 {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        u64::try_from(self.clock + now + now * self.skew_ppm / 1_000_000).unwrap_or(0)
    }

    /// True time at which the host's clock has reached a value.
    pub(crate) fn true_time(&self, local: u64) -> u64 {
        let wanted = i64::try_from(local).unwrap_or(i64::MAX) - self.clock;
        let guess = wanted * 1_000_000 / (1_000_000 + self.skew_ppm);
        let mut now = u64::try_from(guess).unwrap_or(0).saturating_sub(1);
        while self.local(now) < local {
            now += 1;
        }
        now
    }

    /// Programs run on this host.
    pub(crate) const fn runs(&self) -> bool {
        self.off == 0 && self.still == 0
    }

    /// The agent's process runs.
    pub(crate) const fn agent_runs(&self) -> bool {
        self.runs() && self.agent.alive && self.agent.stops == 0
    }

    /// The server answers.
    pub(crate) const fn server_answers(&self, now: u64) -> bool {
        self.runs() && self.server.answers(now)
    }
}

/// The world.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) now: u64,
    order: u64,
    queue: BinaryHeap<Reverse<(u64, u64, Event)>>,
    pub(crate) random: Random,
    pub(crate) scenario: Scenario,
    pub(crate) nodes: Vec<Node>,
    /// The first of them that have a database.
    pub(crate) databases: usize,
    pub(crate) store: Store,
    pub(crate) requests: Vec<Request>,
    free: Vec<usize>,
    cuts: Vec<Vec<u32>>,
    /// Messages that wait for the network.
    pub(crate) stuck: Vec<Event>,
    pub(crate) transactions: Vec<Transaction>,
    pub(crate) acked: Bits,
    pub(crate) serial: u64,
    pub(crate) check: crate::check::Checker,
    pub(crate) clients: crate::client::Clients,
    pub(crate) quiet: bool,
    pub(crate) trace: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(scenario: &Scenario, traced: bool) -> Self {
        let mut nodes: Vec<Node> = Vec::new();
        let databases = scenario.hosts.len();
        for (index, host) in scenario.hosts.iter().enumerate() {
            nodes.push(node(host.name.clone(), host, index, false));
        }
        if let (true, Some(host)) = (scenario.witness, scenario.hosts.first()) {
            nodes.push(node(NodeName::new("w"), host, databases, true));
        }
        let sites = nodes.len() + 2;
        let mut world = Self {
            now: 0,
            order: 0,
            queue: BinaryHeap::new(),
            random: Random::new(scenario.seed ^ 0xdead_beef),
            scenario: scenario.clone(),
            databases,
            store: Store::default(),
            requests: Vec::new(),
            free: Vec::new(),
            cuts: vec![vec![0; sites]; sites],
            stuck: Vec::new(),
            transactions: Vec::new(),
            acked: Bits::default(),
            serial: 0,
            check: crate::check::Checker::default(),
            clients: crate::client::Clients::default(),
            quiet: false,
            trace: traced.then(Vec::new),
            nodes,
        };
        world.prepare();
        world
    }

    fn prepare(&mut self) {
        for node in 0..self.nodes.len() {
            let at = self.random.between(0, 250);
            self.at(at, Event::AgentStart { node, life: 1 });
        }
        self.at(0, Event::Network);
        self.at(50, Event::Clients);
        let mut end = FAULTS_FROM;
        for (index, fault) in self.scenario.faults.clone().into_iter().enumerate() {
            self.at(fault.at, Event::Begin { fault: index });
            self.at(fault.end(), Event::End { fault: index });
            end = end.max(fault.end());
            if let crate::fault::Kind::StoreRestore(back) = fault.kind {
                self.at(fault.at.saturating_sub(back), Event::Save);
            }
            if let crate::fault::Kind::Rollback(node, back) = fault.kind {
                self.at(fault.at.saturating_sub(back), Event::SaveDisk { node });
            }
        }
        self.at(end + 1, Event::Quiet);
    }

    /// Plans an event.
    pub(crate) fn at(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.queue.push(Reverse((at.max(self.now), self.order, event)));
    }

    /// Plans an event this much later.
    pub(crate) fn after(&mut self, ms: u64, event: Event) {
        self.at(self.now + ms, event);
    }

    /// Does the next thing. False when there is none.
    pub(crate) fn step(&mut self) -> bool {
        let Some(Reverse((at, _, event))) = self.queue.pop() else { return false };
        self.now = at;
        self.happen(event);
        true
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Agent { node, life, step } => self.agent_event(node, life, step, event),
            Event::AgentStart { node, life } => self.agent_start(node, life),
            Event::StoreGets { request } => self.store_gets(request),
            Event::StoreAnswers { request } => self.store_answers(request),
            Event::Fence { node } => self.fence(node),
            Event::Fencer { node } => self.fencer(node),
            Event::Deliver { replica, connection } => self.deliver(replica, connection, event),
            Event::Ack { primary, replica, connection, upto } => {
                self.ack(primary, replica, connection, upto, event);
            }
            Event::Commit { node, process, upto } => self.commits_end(node, process, upto, event),
            Event::Apply { node, process } => self.apply(node, process, event),
            Event::Connect { node, process } => self.connect(node, process, event),
            Event::Reseeded { node, token } => self.reseeded(node, token, event),
            Event::WorkEnds { node, token } => self.work_ends(node, token),
            Event::Dies { node, process } => self.dies(node, process),
            Event::Network => self.look_after_connections(),
            Event::Clients => self.clients_act(),
            Event::Begin { fault } => self.begin(fault),
            Event::End { fault } => self.end(fault),
            Event::SaveDisk { node } => {
                let host = &mut self.nodes[node];
                host.disk = Some((host.server.clone(), host.record.clone()));
            }
            Event::Save => self.store.saved = Some(self.store.shared.clone()),
            Event::Resumed { node } => self.check_resumed(node),
            Event::Quiet => self.become_quiet(),
        }
    }

    /// A sentence for the trace.
    pub(crate) fn say(&mut self, node: Option<usize>, text: impl FnOnce(&Self) -> String) {
        if self.trace.is_none() {
            return;
        }
        let who = node
            .and_then(|node| self.nodes.get(node))
            .map_or_else(|| "-".to_owned(), |node| node.name.0.clone());
        let line = format!("{:>6} {who:<2} {}", self.now, text(self));
        if let Some(trace) = &mut self.trace {
            trace.push(line);
        }
    }

    /// Something is not as it must be: the run ends.
    pub(crate) fn violate(&mut self, invariant: &'static str, text: String) {
        self.say(None, |_| format!("VIOLATION of {invariant}: {text}"));
        if self.check.violation.is_none() {
            self.check.violation = Some(Violation { invariant, at: self.now, text });
        }
    }

    pub(crate) fn site(&self, site: Site) -> usize {
        match site {
            Site::Node(node) => node.min(self.nodes.len() - 1),
            Site::Store => self.nodes.len(),
            Site::Clients => self.nodes.len() + 1,
        }
    }

    /// A message sent now from one place gets to the other.
    pub(crate) fn link(&self, from: usize, to: usize) -> bool {
        self.cuts[from][to] == 0
    }

    pub(crate) fn both_ways(&self, one: usize, other: usize) -> bool {
        self.link(one, other) && self.link(other, one)
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize, begins: bool) {
        let count = &mut self.cuts[from][to];
        *count = if begins { *count + 1 } else { count.saturating_sub(1) };
        if *count == 0 {
            for event in std::mem::take(&mut self.stuck) {
                let ms = self.random.between(1, 30);
                self.after(ms, event);
            }
        }
    }

    pub(crate) fn store_site(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn clients_site(&self) -> usize {
        self.nodes.len() + 1
    }

    /// Index of a node.
    pub(crate) fn find(&self, name: &NodeName) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == *name)
    }

    pub(crate) fn fresh_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Room for a request.
    pub(crate) fn keep_request(&mut self, request: Request) -> usize {
        if let Some(index) = self.free.pop() {
            self.requests[index] = request;
            return index;
        }
        self.requests.push(request);
        self.requests.len() - 1
    }

    pub(crate) fn free_request(&mut self, index: usize) {
        self.free.push(index);
    }
}

fn node(name: NodeName, host: &crate::scenario::Host, index: usize, witness: bool) -> Node {
    let source_id = u32::try_from(index).unwrap_or(0) + 1;
    Node {
        name,
        witness,
        agent: Agent::new(if witness { ha::Tags::default() } else { host.tags.clone() }, host.flavor),
        server: Server::new(host.flavor.vendor, source_id),
        record: Record::default(),
        guard: None,
        clock: i64::try_from(host.clock).unwrap_or(0),
        skew_ppm: host.skew_ppm,
        wall_ahead: 0,
        off: 0,
        still: 0,
        resumed_at: 0,
        stops: 0,
        disk_stalls: 0,
        disk_stalled_since: 0,
        slow: 0,
        bad_starts: 0,
        unknowns: 0,
        io_lost_since: None,
        work: None,
        deferred: Vec::new(),
        late: Vec::new(),
        disk: None,
    }
}
