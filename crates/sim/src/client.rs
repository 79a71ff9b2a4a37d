//! The proxy, which sends clients to the node that says it is the primary, and clients, which count what was
//! acknowledged. Some clients stay on an old connection for as long as it lasts.

use crate::server::{Transaction, exact, gtid};
use crate::world::{Event, World};

/// The proxy asks this often.
const POLL: u64 = 100;
/// More writes than this do not wait on one server at a time.
const WAITING_MAX: usize = 6;

/// Proxy and clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clients {
    /// Where the proxy sends to.
    target: Option<usize>,
    misses: u8,
    /// A connection beside the proxy, to one process.
    old: Option<(usize, u64)>,
    turn: u64,
    /// Clients have stopped, for everything to come to rest.
    pub(crate) stopped_at: Option<u64>,
}

impl World {
    pub(crate) fn clients_act(&mut self) {
        self.after(POLL, Event::Clients);
        self.clients.turn += 1;
        self.poll();
        if self.clients.stopped_at.is_none() && self.clients.turn.is_multiple_of(2) {
            self.write_something();
        }
        if self.quiet {
            self.check_settled();
        }
    }

    /// What the health endpoint of a node says.
    pub(crate) fn is_primary(&self, node: usize) -> bool {
        let host = &self.nodes[node];
        let now = host.local(self.now);
        host.agent_runs()
            && host.agent.shown.is_some()
            && host.agent.holding.as_ref().is_some_and(|holding| holding.until > now)
    }

    fn poll(&mut self) {
        let clients = self.clients_site();
        let answers = |world: &Self, node: usize| world.both_ways(clients, node) && world.is_primary(node);
        if let Some(target) = self.clients.target {
            if answers(self, target) {
                self.clients.misses = 0;
                return;
            }
            self.clients.misses += 1;
            if self.clients.misses < 2 {
                return;
            }
        }
        self.clients.misses = 0;
        self.clients.target = (0..self.databases).find(|node| answers(self, *node));
    }

    fn write_something(&mut self) {
        let old =
            self.clients.old.filter(|(node, process)| self.nodes[*node].server.process == Some(*process));
        self.clients.old = old.or_else(|| {
            let node = self.clients.target?;
            Some((node, self.nodes[node].server.process?))
        });
        let beside = self.random.chance(30);
        let anyone = self.random.chance(10);
        let any = self.random.index(self.databases);
        let node = match (self.clients.old, beside, anyone) {
            (_, _, true) => Some(any),
            (Some((node, _)), true, false) => Some(node),
            (_, _, false) => self.clients.target,
        };
        if let Some(node) = node {
            self.write(node);
        }
    }

    /// A client writes at a node.
    pub(crate) fn write(&mut self, node: usize) {
        let clients = self.clients_site();
        let host = &self.nodes[node];
        let takes = host.server_answers(self.now) && host.server.is_open(self.now) && !host.server.closing;
        if !takes || !self.both_ways(clients, node) {
            return;
        }
        self.check_write(node);
        let host = &self.nodes[node];
        if host.disk_stalls > 0 || host.server.waiting() >= WAITING_MAX {
            return;
        }
        let server = &mut self.nodes[node].server;
        let (source, number) = (server.source_id, server.next_number(&self.transactions));
        let gtid = gtid(server.vendor, source, number);
        let exact = exact(server.vendor, source, number);
        let tx = self.transactions.len();
        server.append(tx, &gtid);
        let epoch = server.open_epoch;
        self.transactions.push(Transaction { gtid, exact, source, number, epoch, acked_at: None });
        self.send_out(node);
        self.release_waiters(node);
    }

    /// The server tells a client that its write is done.
    pub(crate) fn client_is_told(&mut self, node: usize, tx: usize, alone: bool) {
        let transaction = &mut self.transactions[tx];
        if transaction.acked_at.is_some() {
            return;
        }
        transaction.acked_at = Some(self.now);
        self.acked.insert(tx);
        self.check.acked += 1;
        self.say(Some(node), |world| format!("acknowledges {}", world.transactions[tx].gtid));
        self.check_ack(node, tx, alone);
    }
}
