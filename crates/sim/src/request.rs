//! What an agent asks of the store, and what it reports there.

use ha::Member;

use crate::agent::{Phase, TIME_LIMIT};
use crate::scenario::RENEW;
use crate::store::Write;
use crate::world::{Answer, Ask, Event, Request, World};

impl World {
    /// Sends a request to the store; the agent goes on with its answer.
    pub(crate) fn ask_store(&mut self, node: usize, ask: Ask) {
        let agent = &mut self.nodes[node].agent;
        agent.step += 1;
        agent.answer = None;
        let (life, step) = (agent.life, agent.step);
        let is_read = matches!(ask, Ask::Read);
        let sent = self.now;
        let mut request = Request { node, life, step, sent, ask, answer: Answer::Unknown };
        let site = self.store_site();
        if !self.link(node, site) || self.store.down > 0 {
            let is_refused = self.store.down > 0 && self.random.chance(50);
            if is_refused || is_read {
                request.answer = Answer::Refused;
            }
            let index = self.keep_request(request);
            self.after(if is_refused { 3 } else { TIME_LIMIT }, Event::StoreAnswers { request: index });
            return;
        }
        let slow = if self.store.slow > 0 { 700 } else { 3 };
        let ms = 1 + self.random.between(0, slow);
        let index = self.keep_request(request);
        self.after(ms, Event::StoreGets { request: index });
    }

    pub(crate) fn store_gets(&mut self, index: usize) {
        let site = self.store_site();
        let node = self.requests[index].node;
        let lost = !self.link(node, site) || self.store.down > 0;
        if !lost {
            let ask = std::mem::replace(&mut self.requests[index].ask, Ask::Read);
            self.requests[index].answer = match ask {
                Ask::Read => self.read_store(index),
                Ask::Commit(compares, writes) => self.commit_store(node, &compares, writes),
            };
        }
        let is_commit = self.requests[index].answer != Answer::Read;
        let host = &mut self.nodes[node];
        let forgotten = is_commit && host.unknowns > 0;
        if forgotten {
            host.unknowns -= 1;
        }
        let slow = if self.store.slow > 0 { 700 } else { 3 };
        let ms = 1 + self.random.between(0, slow);
        let back = self.link(site, node);
        let request = &mut self.requests[index];
        let late = self.now + ms > request.sent + TIME_LIMIT;
        let at = if lost || forgotten || late || !back {
            request.answer = Answer::Unknown;
            request.sent + TIME_LIMIT
        } else {
            self.now + ms
        };
        self.at(at, Event::StoreAnswers { request: index });
    }

    fn read_store(&mut self, index: usize) -> Answer {
        let Request { node, life, .. } = self.requests[index];
        let agent = &mut self.nodes[node].agent;
        if agent.life == life {
            self.store.copy_to(&mut agent.shared, &mut agent.generation);
        }
        Answer::Read
    }

    pub(crate) fn store_answers(&mut self, index: usize) {
        let Request { node, life, step, answer, .. } = self.requests[index];
        self.free_request(index);
        let agent = &mut self.nodes[node].agent;
        if agent.alive && agent.life == life && agent.step == step {
            agent.answer = Some(answer);
            let at = agent.look_until.max(self.now);
            self.at(at, Event::Agent { node, life, step });
        }
    }

    pub(crate) fn member(&self, node: usize) -> Member {
        let host = &self.nodes[node];
        Member {
            agent: format!("{}-{}", host.name, host.agent.life),
            beat: host.agent.published.as_ref().map_or(0, |(last, _)| last.beat + 1),
            seen: host.agent.shared.revision,
            witness: host.witness,
            server: host.agent.sight.report.clone(),
            epoch: host.record.epoch,
            version: host.record.version,
            opened: host.record.opened,
            frozen: host.agent.frozen,
            tags: host.agent.tags.clone(),
            work: host.work.as_ref().map(|(text, ..)| text.clone()),
        }
    }

    pub(crate) fn publish(&mut self, node: usize, at_once: bool) {
        let member = self.member(node);
        let now = self.nodes[node].local(self.now);
        if let Some((last, at)) = &self.nodes[node].agent.published
            && !at_once
            && now.saturating_sub(*at) < RENEW
            && is_same_but_positions(last, &member)
        {
            return self.end_tick(node);
        }
        let name = self.nodes[node].name.clone();
        self.nodes[node].agent.phase = Phase::Publishing;
        self.send_report(node, name, member);
    }

    /// Writes a report; whether it was written is known at the next step.
    pub(crate) fn send_report(&mut self, node: usize, name: ha::NodeName, member: Member) {
        let now = self.nodes[node].local(self.now);
        self.nodes[node].agent.sent = now;
        self.ask_store(node, Ask::Commit(Vec::new(), vec![Write::Member(name, Box::new(member.clone()))]));
        // Kept aside until the answer.
        self.nodes[node].agent.pending_report = Some(member);
    }

    /// The report was written.
    pub(crate) fn note_published(&mut self, node: usize) -> bool {
        let agent = &mut self.nodes[node].agent;
        let member = agent.pending_report.take();
        let done = matches!(agent.answer, Some(Answer::Done(_)));
        if let (true, Some(member)) = (done, member) {
            agent.published = Some((member, agent.sent));
        }
        done
    }
}

/// Nothing differs but what moves all the time.
fn is_same_but_positions(before: &Member, now: &Member) -> bool {
    let (one, other) = (&before.server, &now.server);
    before.agent == now.agent
        && before.epoch == now.epoch
        && before.opened == now.opened
        && before.frozen == now.frozen
        && before.work == now.work
        && one.health == other.health
        && one.incarnation == other.incarnation
        && one.cluster == other.cluster
        && one.read_only == other.read_only
        && one.following == other.following
        && one.acks == other.acks
        && one.waits == other.waits
}
