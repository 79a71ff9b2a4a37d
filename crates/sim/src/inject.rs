//! What each fault does to the world when it begins and when it ends.

use ha::{Ask, NodeName, Request, Versioned};

use crate::fault::{Kind, Site};
use crate::world::{Event, World};

impl World {
    pub(crate) fn begin(&mut self, fault: usize) {
        let Some(fault) = self.scenario.faults.get(fault).copied() else { return };
        self.say(None, |_| format!("FAULT {:?} for {} ms", fault.kind, fault.ms));
        match fault.kind {
            Kind::KillServer(node) => self.kill_server(node, "SIGKILL"),
            Kind::BadStarts(node, count) => {
                self.nodes[node].bad_starts = count;
                self.kill_server(node, "SIGKILL");
            }
            Kind::CrashAgent(node) => {
                self.nodes[node].agent.dead += 1;
                self.crash_agent(node);
            }
            Kind::PauseAgent(node) => self.nodes[node].agent.stops += 1,
            Kind::StopServer(node) => {
                self.nodes[node].stops += 1;
                if self.nodes[node].server.process.is_some() {
                    self.nodes[node].server.stopped = true;
                }
            }
            Kind::PauseHost(node) => self.nodes[node].still += 1,
            Kind::PowerLoss(node) => self.lose_power(node),
            Kind::PowerLossAll => (0..self.databases).for_each(|node| self.lose_power(node)),
            Kind::Rollback(node, _) => {
                self.lose_power(node);
                self.roll_back(node);
            }
            Kind::Cut(from, to) => self.cut(self.site(from), self.site(to), true),
            Kind::Isolate(site) => self.isolate(site, true),
            Kind::StoreDown | Kind::StoreRestore(_) => self.store.down += 1,
            Kind::StoreSlow => self.store.slow += 1,
            Kind::StoreWipe => {
                self.check.wiped = true;
                self.store.generation += 1;
                let revision = self.store.shared.revision;
                // A new store counts from the beginning.
                self.store.shared = ha::Shared { revision: revision.min(1), ..ha::Shared::default() };
            }
            Kind::Unknown(node, count) => self.nodes[node].unknowns += count,
            Kind::ForeignData(node) => self.put_foreign(node),
            Kind::StallDisk(node) => {
                self.nodes[node].disk_stalls += 1;
                if self.nodes[node].disk_stalls == 1 {
                    self.nodes[node].disk_stalled_since = self.now;
                }
            }
            Kind::SlowServer(node) => self.nodes[node].slow += 1,
            Kind::BreakReplication(node) => self.break_replication(node),
            Kind::WallJump(node, hours) => self.nodes[node].wall_ahead += hours * 3_600,
            Kind::Switchover(to) => {
                let to = to.map(|to| self.nodes[to].name.clone());
                self.request(Ask::Switchover { to });
            }
            Kind::Failover(to) => self.request(Ask::Failover { to: self.nodes[to].name.clone() }),
            Kind::Reinit(node) => self.request(Ask::Reinit { node: self.nodes[node].name.clone() }),
            Kind::Pause => {
                self.check.paused_at = Some(self.now);
                self.store.change(|shared, _| shared.paused = true);
            }
            Kind::Maintenance(node) => {
                let name = self.nodes[node].name.clone();
                self.store.change(|shared, _| {
                    shared.maintenance.insert(name);
                });
            }
        }
    }

    pub(crate) fn end(&mut self, fault: usize) {
        let Some(fault) = self.scenario.faults.get(fault).copied() else { return };
        match fault.kind {
            Kind::CrashAgent(node) => {
                let agent = &mut self.nodes[node].agent;
                agent.dead -= 1;
                let life = agent.life;
                self.at(self.now + 100, Event::AgentStart { node, life });
            }
            Kind::PauseAgent(node) => {
                self.nodes[node].agent.stops -= 1;
                self.nodes[node].agent.since = self.now;
                self.go_on(node);
                self.after(1, Event::Fence { node });
            }
            Kind::StopServer(node) => {
                let host = &mut self.nodes[node];
                host.stops -= 1;
                if host.stops == 0 && host.server.stopped {
                    host.server.stopped = false;
                    self.late_statements(node);
                    self.go_on(node);
                }
            }
            Kind::PauseHost(node) => self.resume_host(node),
            Kind::PowerLoss(node) | Kind::Rollback(node, _) => self.power_on(node),
            Kind::PowerLossAll => (0..self.databases).for_each(|node| self.power_on(node)),
            Kind::Cut(from, to) => self.cut(self.site(from), self.site(to), false),
            Kind::Isolate(site) => self.isolate(site, false),
            Kind::StoreDown => self.store.down -= 1,
            Kind::StoreRestore(_) => {
                self.store.down -= 1;
                self.restore();
            }
            Kind::StoreSlow => self.store.slow -= 1,
            Kind::StallDisk(node) => self.nodes[node].disk_stalls -= 1,
            Kind::SlowServer(node) => self.nodes[node].slow -= 1,
            Kind::ForeignData(node) => self.take_foreign(node),
            Kind::Pause => self.resume_automation(),
            Kind::Maintenance(node) => {
                let name = self.nodes[node].name.clone();
                self.store.change(|shared, _| {
                    shared.maintenance.remove(&name);
                });
            }
            Kind::KillServer(_)
            | Kind::BadStarts(..)
            | Kind::StoreWipe
            | Kind::Unknown(..)
            | Kind::BreakReplication(_)
            | Kind::WallJump(..)
            | Kind::Switchover(_)
            | Kind::Failover(_)
            | Kind::Reinit(_) => {}
        }
    }

    fn resume_automation(&mut self) {
        self.check.paused_at = None;
        self.store.change(|shared, _| shared.paused = false);
    }

    fn crash_agent(&mut self, node: usize) {
        if !self.nodes[node].agent.alive {
            return;
        }
        self.say(Some(node), |_| "agent ends".to_owned());
        self.end_agent(node);
        // A copy ends with the agent that made it, and leaves nothing where the old data was dropped already.
        let host = &mut self.nodes[node];
        if host.work.take().is_some() && host.server.log.is_empty() {
            self.kill_server(node, "its copy ended half way");
        }
    }

    fn resume_host(&mut self, node: usize) {
        let host = &mut self.nodes[node];
        host.still -= 1;
        if host.still > 0 {
            return;
        }
        host.resumed_at = self.now;
        self.go_on(node);
        for (low, high) in [(0, 12), (12, 20)] {
            let ms = self.random.between(low, high);
            self.after(ms, if low == 0 { Event::Fence { node } } else { Event::Fencer { node } });
        }
        self.after(250, Event::Resumed { node });
    }

    fn power_on(&mut self, node: usize) {
        let host = &mut self.nodes[node];
        host.off -= 1;
        if host.off > 0 {
            return;
        }
        // The monotonic clock counts from the boot.
        host.clock = 1_000 - i64::try_from(self.now).unwrap_or(0) * (1_000_000 + host.skew_ppm) / 1_000_000;
        let life = host.agent.life;
        let ms = self.random.between(300, 2_500);
        self.after(ms, Event::AgentStart { node, life });
    }

    /// The disk is as it was before this node led. Only that of the lineage's primary: what others hold counts by
    /// incarnations, which a disk put back would use again; and within its epoch nobody but the ackers could tell.
    fn roll_back(&mut self, node: usize) {
        let state = self.store.shared.state.as_ref().map(|state| &state.value);
        let led = state.filter(|state| state.lineage.primary == self.nodes[node].name);
        let led = led.map(|state| state.lineage.epoch);
        let host = &mut self.nodes[node];
        if let Some((mut server, record)) =
            host.disk.take().filter(|(_, kept)| led.is_some() && kept.epoch < led.unwrap_or(0))
        {
            server.die();
            server.drop_relay(&self.transactions);
            let incarnation = host.record.incarnation;
            host.server = server;
            host.record = record;
            host.record.incarnation = incarnation;
            self.check.rolled_back = true;
            self.say(Some(node), |world| {
                format!("its disk is an old one, with {}", world.nodes[node].server.position)
            });
        }
    }

    /// Not on the primary, whose data could be the only copy.
    fn put_foreign(&mut self, node: usize) {
        let state = self.store.shared.state.as_ref().map(|state| &state.value);
        let Some(state) = state else { return };
        let held = self.nodes[node].server.held.clone();
        let needed = (0..self.databases)
            .all(|other| other == node || self.nodes[other].server.held.minus(&held).next().is_none());
        if state.lineage.primary == self.nodes[node].name || needed || state.lineage.epoch != state.epoch {
            return;
        }
        self.kill_server(node, "its data is another cluster's");
        let (source, number) = (900, 7);
        let vendor = self.nodes[node].server.vendor;
        let (gtid, exact) =
            (crate::server::gtid(vendor, source, number), crate::server::exact(vendor, source, number));
        let tx = self.transactions.len();
        self.transactions.push(crate::server::Transaction {
            gtid,
            exact,
            source,
            number,
            epoch: 0,
            acked_at: None,
        });
        let server = &mut self.nodes[node].server;
        server.replace(vec![tx], &self.transactions);
        server.cluster = Some("another".to_owned());
        self.nodes[node].record.follows = None;
        self.nodes[node].record.opened = None;
    }

    fn take_foreign(&mut self, node: usize) {
        if self.is_foreign(node) {
            self.kill_server(node, "a person takes the other cluster's data away");
            let server = &mut self.nodes[node].server;
            server.replace(Vec::new(), &self.transactions);
            server.cluster = None;
        }
    }

    /// The data is another cluster's.
    pub(crate) fn is_foreign(&self, node: usize) -> bool {
        self.nodes[node].server.cluster.as_deref() == Some("another")
    }

    fn isolate(&mut self, site: Site, begins: bool) {
        let site = self.site(site);
        for other in 0..self.nodes.len() + 2 {
            if other != site {
                self.cut(site, other, begins);
                self.cut(other, site, begins);
            }
        }
    }

    fn restore(&mut self) {
        let Some(saved) = self.store.saved.clone() else { return };
        self.check.restored = true;
        self.store.generation += 1;
        self.store.shared = saved;
    }

    fn break_replication(&mut self, node: usize) {
        let server = &mut self.nodes[node].server;
        if server.process.is_some() && server.source.is_some() {
            server.broken = true;
            server.sql = false;
        }
    }

    fn request(&mut self, ask: Ask) {
        let serial = self.fresh_serial();
        let epoch = self.store.shared.state.as_ref().map_or(0, |state| state.value.epoch);
        self.store.change(|shared, modified| {
            let value = Request { id: format!("r{serial}"), by: "operator".to_owned(), epoch, ask };
            shared.request = Some(Versioned { value, modified });
        });
    }

    /// All faults are over: whatever an operator had ordered is taken back, and everything has to become well.
    pub(crate) fn become_quiet(&mut self) {
        self.say(None, |_| "all faults are over".to_owned());
        self.quiet = true;
        self.check.quiet_at = self.now;
        for host in &mut self.nodes {
            host.unknowns = 0;
            host.bad_starts = 0;
        }
        let names: Vec<NodeName> = self.store.shared.maintenance.iter().cloned().collect();
        if self.store.shared.paused || !names.is_empty() {
            self.resume_automation();
            self.store.change(|shared, _| shared.maintenance.clear());
        }
    }
}
