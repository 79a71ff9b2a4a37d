//! Parts of a host beside agent and server: the guards that end a lease, copies of the data, and commits that come
//! late.

use flavor::Vendor;
use ha::{Action, NodeName};

use crate::scenario::FENCER_AFTER;
use crate::world::{Event, World};

/// After a copy that failed.
const PAUSE: u64 = 3_000;

impl World {
    pub(crate) fn plan_fence(&mut self, node: usize) {
        let host = &self.nodes[node];
        let Some(armed) = host.guard else { return };
        let at = host.true_time(armed.deadline);
        self.at(at, Event::Fence { node });
    }

    /// The agent's own thread, which needs nothing but its process.
    pub(crate) fn fence(&mut self, node: usize) {
        let host = &self.nodes[node];
        let Some(armed) = host.guard else { return };
        if host.local(self.now) < armed.deadline || host.off > 0 {
            return;
        }
        if host.agent_runs() {
            return self.fence_now(node, "the lease has run out");
        }
        let at = host.true_time(armed.deadline + FENCER_AFTER);
        self.at(at, Event::Fencer { node });
    }

    pub(crate) fn fencer(&mut self, node: usize) {
        let host = &self.nodes[node];
        let Some(armed) = host.guard else { return };
        if host.runs() && host.local(self.now) >= armed.deadline + FENCER_AFTER {
            self.fence_now(node, "the lease has run out, says the fencer");
        }
    }

    fn fence_now(&mut self, node: usize, why: &str) {
        let Some(armed) = self.nodes[node].guard.take() else { return };
        self.nodes[node].agent.shown = None;
        if self.nodes[node].server.process == Some(armed.process) {
            self.kill_server(node, why);
        }
    }

    /// A statement that was sent and not answered: done when the server goes on, if that ever happens.
    pub(crate) fn do_late(&mut self, node: usize, action: &Action) {
        if let Some(process) = self.nodes[node].server.process {
            self.nodes[node].late.push((process, action.clone()));
        }
    }

    pub(crate) fn late_statements(&mut self, node: usize) {
        for (process, action) in std::mem::take(&mut self.nodes[node].late) {
            if self.nodes[node].server.process != Some(process) {
                continue;
            }
            self.say(Some(node), |_| format!("a statement sent before is done now: {action:?}"));
            let server = &mut self.nodes[node].server;
            match action {
                // The guard was armed before it was sent.
                Action::Open(epoch) => {
                    server.read_only = false;
                    server.open_epoch = epoch;
                }
                Action::Freeze(_) => {
                    server.io = crate::server::Io::Off;
                    server.acks = false;
                }
                Action::SetAcking(_) | Action::SetWaiting(_) | Action::Unblock(_) | Action::Block(_) => {
                    self.sql_action(node, &action);
                }
                _ => {}
            }
        }
    }

    /// Begins a copy.
    pub(crate) fn reseed(&mut self, node: usize, donor: &NodeName) -> bool {
        let Some(donor) = self.find(donor) else { return false };
        let host = &self.nodes[node];
        let is_clone = host.server.vendor == Vendor::MySql;
        if host.agent.holding.is_some() || donor == node || (is_clone && !host.server_answers(self.now)) {
            return false;
        }
        // Whose the data is may have changed since that was decided.
        if self.is_foreign(node) {
            return false;
        }
        self.check_reseed(node);
        let host = &mut self.nodes[node];
        host.record.opened = None;
        host.record.follows = None;
        // From here on the data is nobody's proof of anything.
        host.record.incarnation += 1;
        let token = self.fresh_serial();
        self.nodes[node].work = Some(("taking a copy".to_owned(), token, donor));
        self.say(Some(node), |_| "takes a copy, saving what only it has".to_owned());
        let copies = self.nodes[donor].server_answers(self.now) && self.both_ways(node, donor);
        if is_clone && copies {
            // The clone plugin drops what is there before it copies.
            self.drop_data(node);
        }
        let ms = if copies { self.random.between(1_500, 5_000) } else { 100 };
        self.after(ms, Event::Reseeded { node, token });
        true
    }

    fn drop_data(&mut self, node: usize) {
        let held: Vec<usize> = self.nodes[node].server.log.clone();
        self.nodes[node].server.replace(Vec::new(), &self.transactions);
        self.nodes[node].server.cluster = None;
        self.nodes[node].server.io = crate::server::Io::Off;
        self.check_destroyed(node, &held, "dropped for a copy");
    }

    pub(crate) fn reseeded(&mut self, node: usize, token: u64, event: Event) {
        let host = &mut self.nodes[node];
        if host.still > 0 || host.agent.stops > 0 {
            host.deferred.push(event);
            return;
        }
        let Some((_, current, donor)) = host.work.clone() else { return };
        if current != token {
            return;
        }
        let source = &self.nodes[donor];
        let answers = source.server_answers(self.now) && self.both_ways(node, donor);
        // Whose the data is, is looked at once more before it is replaced.
        let done = answers && !self.random.chance(5) && !self.is_foreign(node);
        let vendor = self.nodes[node].server.vendor;
        let was_running = self.nodes[node].server.process.is_some();
        if !done {
            self.say(Some(node), |_| "the copy failed".to_owned());
            if vendor == Vendor::MySql && self.nodes[node].server.log.is_empty() {
                self.kill_server(node, "the copy failed");
            }
            if let Some((text, ..)) = &mut self.nodes[node].work {
                "waiting after a copy failed".clone_into(text);
            }
            return self.after(PAUSE, Event::WorkEnds { node, token });
        }
        let source = &self.nodes[donor].server;
        let log = source.log[..source.committed].to_vec();
        let (cluster, blocked) = (source.cluster.clone(), source.blocked.clone());
        self.kill_server(node, "its data is replaced by the copy");
        let held = self.nodes[node].server.log.clone();
        let source_id = u32::try_from(self.fresh_serial()).unwrap_or(0) + 100;
        let server = &mut self.nodes[node].server;
        server.replace(log, &self.transactions);
        server.cluster = cluster;
        server.blocked = blocked;
        if vendor == Vendor::MySql {
            // Numbers that the old identity used are never used again.
            server.source_id = source_id;
        }
        self.say(Some(node), |world| format!("the copy holds {}", world.nodes[node].server.position));
        self.check_destroyed(node, &held, "replaced by a copy");
        if vendor == Vendor::MariaDb || !was_running {
            self.start_server(node, ha::StartRole::Keep);
        }
        self.after(20, Event::WorkEnds { node, token });
    }

    pub(crate) fn work_ends(&mut self, node: usize, token: u64) {
        if self.nodes[node].work.as_ref().is_some_and(|(_, current, _)| *current == token) {
            self.nodes[node].work = None;
            self.wake_agent(node, 2);
        }
    }
}
