//! Replication between model servers, and everything that starts, ends and crashes them.

use flavor::Vendor;
use ha::StartRole;

use crate::server::{Dump, Io};
use crate::world::{Event, World};

/// A dead connection is noticed after this long.
const NET_TIMEOUT: u64 = 3_000;
/// Between two tries to connect, and looks at connections.
const RETRY: u64 = 500;

impl World {
    /// Something happens in a server's process: now, or when it goes on.
    fn defers(&mut self, node: usize, event: Event) -> bool {
        let host = &mut self.nodes[node];
        let waits = host.still > 0 || (host.server.process.is_some() && host.server.stopped);
        if waits {
            host.deferred.push(event);
        }
        waits
    }

    /// Everything that waited for a host or its server to go on.
    pub(crate) fn go_on(&mut self, node: usize) {
        for event in std::mem::take(&mut self.nodes[node].deferred) {
            let ms = self.random.between(0, 15);
            self.after(ms, event);
        }
    }

    pub(crate) fn start_server(&mut self, node: usize, role: StartRole) {
        if self.nodes[node].server.process.is_some() {
            return;
        }
        let process = self.fresh_serial();
        let ready_at = self.now
            + match self.nodes[node].server.vendor {
                Vendor::MySql => self.random.between(500, 1_800),
                Vendor::MariaDb => self.random.between(200, 900),
            };
        let dropped = self.nodes[node].server.start(process, ready_at, role, &self.transactions);
        let host = &mut self.nodes[node];
        host.io_lost_since = None;
        if host.bad_starts > 0 {
            host.bad_starts -= 1;
            self.at(ready_at.saturating_sub(100), Event::Dies { node, process });
        }
        self.say(Some(node), |world| {
            let held = &world.nodes[node].server.executed;
            format!("server starts as {role:?}, drops {} transactions, holds {held}", dropped.len())
        });
        self.check_destroyed(node, &dropped, "dropped at the server's start");
    }

    pub(crate) fn dies(&mut self, node: usize, process: u64) {
        if self.nodes[node].server.process == Some(process) {
            self.kill_server(node, "it died by itself");
        }
    }

    /// The process is gone at once; whoever was connected to it is told, where the network lets it.
    pub(crate) fn kill_server(&mut self, node: usize, why: &str) {
        if self.nodes[node].server.process.is_none() {
            return;
        }
        self.say(Some(node), |_| format!("server ends: {why}"));
        self.nodes[node].server.die();
        for replica in 0..self.databases {
            let is_connected = matches!(self.nodes[replica].server.io, Io::Connected(_));
            let is_told =
                self.link(node, replica) && self.nodes[node].off == 0 && self.nodes[replica].off == 0;
            if is_connected && self.nodes[replica].server.source == Some(node) && is_told {
                self.nodes[replica].server.io = Io::Connecting;
            }
        }
        self.wake_agent(node, 2);
    }

    pub(crate) fn lose_power(&mut self, node: usize) {
        self.nodes[node].off += 1;
        if self.nodes[node].off > 1 {
            return;
        }
        self.say(Some(node), |_| "power is lost".to_owned());
        self.nodes[node].server.die();
        let length = self.nodes[node].server.log.len();
        let keep = self.random.index(length + 1);
        let host = &mut self.nodes[node];
        host.server.lose_unsynced(keep, &self.transactions);
        host.server.drop_relay(&self.transactions);
        host.guard = None;
        host.work = None;
        host.deferred.clear();
        self.end_agent(node);
    }

    /// The IO thread begins to connect anew.
    pub(crate) fn restart_io(&mut self, node: usize) {
        self.nodes[node].server.io = Io::Connecting;
        self.nodes[node].io_lost_since = None;
        if let Some(process) = self.nodes[node].server.process {
            let ms = self.random.between(2, 25);
            self.after(ms, Event::Connect { node, process });
        }
    }

    pub(crate) fn connect(&mut self, node: usize, process: u64, event: Event) {
        let server = &self.nodes[node].server;
        if server.process != Some(process) || server.io != Io::Connecting || self.defers(node, event) {
            return;
        }
        let Some(primary) = self.nodes[node].server.source else { return };
        let source = &self.nodes[primary];
        let is_there = source.server_answers(self.now) && self.both_ways(node, primary);
        if !is_there || source.server.blocked.contains(&node) {
            return;
        }
        let Some(cursor) = self.start_of(node, primary) else {
            self.say(Some(node), |_| {
                "replication is refused: the primary lacks what is held here".to_owned()
            });
            self.nodes[node].server.io = Io::Failed;
            return;
        };
        let connection = self.fresh_serial();
        let replica = &mut self.nodes[node].server;
        replica.io = Io::Connected(connection);
        let (semi, skip) = (replica.acks, replica.position.clone());
        self.nodes[node].io_lost_since = None;
        let dumps = &mut self.nodes[primary].server.dumps;
        dumps.retain(|dump| dump.replica != node);
        dumps.push(Dump { replica: node, connection, semi, cursor, acked: 0, skip });
        self.say(Some(node), |_| format!("connected, acknowledging: {semi}"));
        self.plan_delivery(primary, node, connection);
        if semi {
            // What it holds already needs no sending to be acknowledged.
            let ms = self.random.between(1, 4);
            self.after(ms, Event::Ack { primary, replica: node, connection, upto: cursor });
        }
    }

    /// Where in the primary's log a replica goes on; none when the primary cannot tell.
    fn start_of(&self, node: usize, primary: usize) -> Option<usize> {
        let (replica, source) = (&self.nodes[node].server, &self.nodes[primary].server);
        let all = &self.transactions;
        match replica.vendor {
            Vendor::MySql => {
                let knows = |tx: &usize| source.log.iter().any(|its| all[*its].gtid == all[*tx].gtid);
                let mut held = replica.log.iter().chain(&replica.relay);
                if held.any(|tx| all[*tx].source == source.source_id && !knows(tx)) {
                    return None;
                }
                let first = source.log.iter().position(|tx| !replica.position.contains(&all[*tx].gtid));
                Some(first.unwrap_or(source.log.len()))
            }
            Vendor::MariaDb => {
                let Some(last) = replica.relay.last().or_else(|| replica.log.last()) else { return Some(0) };
                let last = &all[*last];
                let is_it = |tx: &usize| all[*tx].source == last.source && all[*tx].number == last.number;
                source.log.iter().position(is_it).map(|at| at + 1)
            }
        }
    }

    fn plan_delivery(&mut self, primary: usize, replica: usize, connection: u64) {
        let slow = if self.nodes[primary].disk_stalls > 0 { 400 } else { 1 };
        let ms = slow + self.random.between(0, 3);
        self.after(ms, Event::Deliver { replica, connection });
    }

    /// A transaction was written: every replica that is connected gets it.
    pub(crate) fn send_out(&mut self, primary: usize) {
        for index in 0..self.nodes[primary].server.dumps.len() {
            let dump = &self.nodes[primary].server.dumps[index];
            let (replica, connection) = (dump.replica, dump.connection);
            self.plan_delivery(primary, replica, connection);
        }
    }

    pub(crate) fn deliver(&mut self, replica: usize, connection: u64, event: Event) {
        if self.nodes[replica].server.io != Io::Connected(connection) {
            return;
        }
        let Some(primary) = self.nodes[replica].server.source else { return };
        if self.nodes[primary].off > 0 || self.defers(primary, event) || self.defers(replica, event) {
            return;
        }
        if !self.link(primary, replica) {
            self.stuck.push(event);
            return;
        }
        if self.nodes[replica].disk_stalls > 0 {
            self.after(300, event);
            return;
        }
        let source = &mut self.nodes[primary].server;
        let length = source.log.len();
        let Some(dump) = source.dumps.iter_mut().find(|dump| dump.connection == connection) else { return };
        let (from, semi) = (dump.cursor, dump.semi);
        dump.cursor = length;
        if from >= length {
            return;
        }
        let all = &self.transactions;
        let skips = source.vendor == Vendor::MySql;
        let wanted: Vec<usize> = source.log[from..]
            .iter()
            .copied()
            .filter(|tx| !(skips && dump.skip.contains(&all[*tx].gtid)))
            .collect();
        for tx in wanted {
            self.nodes[replica].server.receive(tx, &self.transactions);
        }
        let ms = self.random.between(1, 4);
        if semi {
            self.after(ms, Event::Ack { primary, replica, connection, upto: length });
        }
        self.plan_apply(replica);
    }

    pub(crate) fn plan_apply(&mut self, node: usize) {
        let host = &self.nodes[node];
        let Some(process) = host.server.process else { return };
        let delay = u64::from(host.agent.tags.delay_seconds) * 1_000;
        let slow = if host.slow > 0 { 800 } else { 4 };
        let ms = 1 + delay + self.random.between(0, slow);
        self.after(ms, Event::Apply { node, process });
    }

    pub(crate) fn apply(&mut self, node: usize, process: u64, event: Event) {
        let server = &self.nodes[node].server;
        if server.process != Some(process) || !server.sql || server.broken || server.relay.is_empty() {
            return;
        }
        if self.defers(node, event) {
            return;
        }
        // What is applied is committed, and commits wait for acknowledgements here. Those that could give one may have it
        // already, and then give none.
        if self.nodes[node].disk_stalls > 0 || self.nodes[node].server.waits.is_some() {
            self.after(300, event);
            return;
        }
        self.nodes[node].server.apply(&self.transactions);
        // A replica of a replica is never set up, but one may be left over from an earlier epoch.
        self.send_out(node);
    }

    pub(crate) fn ack(&mut self, primary: usize, replica: usize, connection: u64, upto: usize, event: Event) {
        let known = |dump: &Dump| dump.connection == connection;
        if !self.nodes[primary].server.dumps.iter().any(known) || self.defers(primary, event) {
            return;
        }
        if !self.link(replica, primary) {
            // Sent again when the network is back, if the sender's host is there to do it.
            if self.nodes[replica].off == 0 {
                self.stuck.push(event);
            }
            return;
        }
        let server = &mut self.nodes[primary].server;
        let Some(dump) = server.dumps.iter_mut().find(|dump| dump.connection == connection) else { return };
        let before = dump.acked;
        dump.acked = dump.acked.max(upto);
        if before < dump.acked && server.waits.is_some() && server.committing < dump.acked {
            self.check_acker(primary, replica, connection);
        }
        self.release_waiters(primary);
    }

    /// Commits that have enough acknowledgements end in a moment.
    pub(crate) fn release_waiters(&mut self, node: usize) {
        let server = &self.nodes[node].server;
        let Some(process) = server.process else { return };
        let mut upto = server.committing;
        let early = u32::from(self.scenario.acks_early);
        match server.waits.map(|need| need.saturating_sub(early)) {
            None => upto = server.log.len(),
            Some(need) => {
                while upto < server.log.len() {
                    let acks = server.dumps.iter().filter(|dump| dump.semi && dump.acked > upto).count();
                    if acks < usize::try_from(need).unwrap_or(usize::MAX) {
                        break;
                    }
                    upto += 1;
                }
            }
        }
        if upto > server.committing {
            self.nodes[node].server.committing = upto;
            let slow = if self.nodes[node].slow > 0 { 600 } else { 3 };
            let ms = self.random.between(0, slow);
            self.after(ms, Event::Commit { node, process, upto });
        }
    }

    pub(crate) fn commits_end(&mut self, node: usize, process: u64, upto: usize, event: Event) {
        let server = &self.nodes[node].server;
        if server.process != Some(process) || upto <= server.committed {
            return;
        }
        if self.nodes[node].off > 0 || self.defers(node, event) {
            return;
        }
        let from = self.nodes[node].server.committed;
        self.nodes[node].server.commit(upto, &self.transactions);
        let acked: Vec<usize> = self.nodes[node].server.log[from..upto].to_vec();
        let alone = self.nodes[node].server.waits.is_none();
        for tx in acked {
            self.client_is_told(node, tx, alone);
        }
    }

    /// Connections that are dead are noticed, and those that are not there are tried again.
    pub(crate) fn look_after_connections(&mut self) {
        self.after(RETRY, Event::Network);
        for node in 0..self.databases {
            let host = &self.nodes[node];
            let (Some(process), Some(primary)) = (host.server.process, host.server.source) else { continue };
            if !host.server_answers(self.now) {
                continue;
            }
            match host.server.io {
                Io::Off | Io::Failed => {}
                Io::Connecting => self.connect(node, process, Event::Connect { node, process }),
                Io::Connected(connection) => {
                    let source = &self.nodes[primary];
                    let known = source.server.dumps.iter().any(|dump| dump.connection == connection);
                    if known && source.off == 0 && self.both_ways(node, primary) {
                        self.nodes[node].io_lost_since = None;
                        continue;
                    }
                    let since = *self.nodes[node].io_lost_since.get_or_insert(self.now);
                    if self.now - since >= NET_TIMEOUT || (!known && self.both_ways(node, primary)) {
                        self.nodes[node].server.io = Io::Connecting;
                        self.nodes[node].io_lost_since = None;
                    }
                }
            }
        }
    }
}
