//! Doing what was decided. Each action is done as its description in `ha` says; the first that fails ends the tick.

use std::collections::BTreeSet;
use std::time::Duration;

use flavor::GtidSet;
use ha::{
    Action, Claim, Decision, Epoch, Leader, Local, Millis, NodeName, Release, Shared, StartRole, State,
};
use store::{Committed, Compare};

use crate::accounts::source_digest;
use crate::config::Config;
use crate::database::Database;
use crate::error::AgentError;
use crate::keys::{self, Answer, HistoryEntry};
use crate::lease::Holding;
use crate::node::Node;
use crate::record::Follows;
use crate::time::now;

/// Writes are opened only with at least this much of the lease left.
const OPEN_WITH_LEFT: Millis = 200;
/// Commits that wait this long are helped, and again after a while.
const NUDGE_AFTER: Millis = 200;
const NUDGE_PAUSE: Millis = 1_000;
/// Writes have to close within this, or they are opened again.
const CLOSE_LIMIT: Duration = Duration::from_millis(1_500);

/// What came of a tick's actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Something was done beyond renewing, so it pays to look again at once.
    pub(crate) did: bool,
    /// The server is not as it was looked at.
    pub(crate) changed_server: bool,
}

impl Node {
    /// Does the actions in order.
    pub(crate) async fn act(
        &mut self,
        decision: &Decision,
        shared: Option<&Shared>,
        local: &Local,
    ) -> Outcome {
        let mut outcome = Outcome::NOTHING;
        self.nudge(shared, local);
        for action in &decision.actions {
            let began = now();
            let done = self.act_one(action, shared, local).await;
            if !matches!(action, Action::Renew) {
                self.audit.action(action, &done, now().saturating_sub(began));
                outcome.changed_server |= touches_server(action);
            }
            match done {
                Ok(()) => {
                    outcome.did |=
                        !matches!(action, Action::Renew | Action::AskFailsafe | Action::ApplyReceived);
                }
                Err(error) => {
                    tracing::warn!(%error, ?action, "not done");
                    return Outcome { did: false, ..outcome };
                }
            }
        }
        outcome
    }

    async fn act_one(
        &mut self,
        action: &Action,
        shared: Option<&Shared>,
        local: &Local,
    ) -> Result<(), AgentError> {
        match action {
            Action::Renew => self.renew(shared).await,
            Action::Claim(claim) => self.claim(claim).await,
            Action::Release { reason, to } => self.release(reason, to.clone()).await,
            Action::Commit(state) => self.commit(state, shared).await,
            Action::AskFailsafe => self.ask_failsafe().await,
            Action::HandOver { to } => self.hand_over(to, shared).await,
            Action::Unfreeze => match shared {
                Some(shared) => self.unfreeze(shared).await,
                None => Ok(()),
            },
            Action::Answer { id, done, text } => self.answer(id, *done, text).await,
            Action::Start(role) => self.start(*role).await,
            Action::Kill { why } => self.kill(why).await,
            Action::Freeze(epoch) => self.freeze(*epoch).await,
            Action::ApplyReceived => self.apply_received().await,
            Action::Detach => {
                self.record.change(|kept| kept.follows = None)?;
                Ok(self.database()?.detach().await?)
            }
            Action::Follow { primary, epoch, acking } => {
                self.follow(primary, *epoch, *acking, shared, local).await
            }
            Action::SetAcking(on) => Ok(self.database()?.set_acking(*on).await?),
            Action::SetWaiting(need) => Ok(self.database()?.set_waiting(*need).await?),
            Action::Block(node) => {
                let config = self.config.clone();
                self.database()?.block(&config, node).await
            }
            Action::Unblock(node) => {
                let config = self.config.clone();
                self.database()?.unblock(&config, node).await
            }
            Action::Open(epoch) => self.open(*epoch, shared).await,
            Action::Reseed { donor } => self.reseed(donor).await,
        }
    }

    pub(crate) fn database(&mut self) -> Result<&mut Database, AgentError> {
        self.database.as_mut().ok_or_else(|| AgentError::Refused("a witness has no server".to_owned()))
    }

    /// Commits wait although an acker has them: it had them before it acknowledged, and says nothing about what it
    /// has already. One more commit is acknowledged, and those before it with it. In the background, as it waits too.
    fn nudge(&mut self, shared: Option<&Shared>, local: &Local) {
        let now = now();
        if local.stalled_for < NUDGE_AFTER
            || now < self.sight.nudged_at + NUDGE_PAUSE
            || self.holding.is_none()
        {
            return;
        }
        let heard = shared.iter().flat_map(|shared| shared.members.values()).any(|member| {
            let server = &member.value.server;
            server.acks && server.position.contains(&local.server.executed)
        });
        let Some(node) = self.config.node.as_ref().filter(|_| heard) else { return };
        self.sight.nudged_at = now;
        let mut database = Database::new(crate::node::target(&self.config, node));
        tokio::spawn(async move {
            if let Err(error) = database.nudge().await {
                tracing::debug!(%error, "the nudge was not acknowledged");
            }
        });
    }

    fn lease_ms(&self) -> Millis {
        self.config.policy.ttl - self.config.policy.margin
    }

    async fn renew(&mut self, shared: Option<&Shared>) -> Result<(), AgentError> {
        let (renew, lease) = (self.config.renew(), self.lease_ms());
        let Some(holding) = &mut self.holding else { return Err(lost()) };
        let sent = now();
        // Half a tick early rather than a whole one late.
        if sent < holding.renewed_at + renew * 3 / 4 {
            return Ok(());
        }
        let modified =
            holding.modified.or_else(|| Some(shared?.leader.as_ref()?.modified)).ok_or_else(lost)?;
        let beat = holding.beat + 1;
        let record =
            Leader { node: self.config.me.clone(), epoch: holding.epoch, beat, ready: false, released: None };
        holding.sent = Some((beat, sent));
        let write = keys::put(keys::LEADER, &record)?;
        let compare = Compare::Modified(keys::LEADER.to_owned(), modified);
        match self.store.commit(&[compare], &[write]).await? {
            Committed::Done { revision } => {
                let until = sent + lease;
                if let Some(holding) = &mut self.holding {
                    *holding = Holding {
                        until: holding.until.max(until),
                        modified: Some(revision),
                        beat,
                        failsafe: false,
                        sent: None,
                        renewed_at: sent,
                        epoch: holding.epoch,
                    };
                }
                self.extend(until);
                Ok(())
            }
            Committed::Conflict => Err(AgentError::Refused("the lease was changed by another".to_owned())),
        }
    }

    async fn claim(&mut self, claim: &Claim) -> Result<(), AgentError> {
        let mut compares = vec![
            compare(keys::LEADER, claim.replaces),
            compare(keys::STATE, claim.state_seen),
            Compare::Absent(keys::PAUSE.to_owned()),
        ];
        compares.extend(
            claim.examined.iter().map(|(node, modified)| Compare::Modified(keys::member(node), *modified)),
        );
        let record = Leader {
            node: self.config.me.clone(),
            epoch: claim.epoch,
            beat: 0,
            ready: claim.ready,
            released: None,
        };
        let history = HistoryEntry {
            epoch: claim.epoch,
            at: jiff::Timestamp::now(),
            primary: self.config.me.0.clone(),
            before: claim.state.lineage.primary.0.clone(),
            reason: claim.reason.clone(),
            examined: claim.examined.iter().map(|(node, _)| node.0.clone()).collect(),
            position: self.sight.report.position.to_string(),
            lost: claim.lost.clone(),
        };
        let writes = [
            keys::put(keys::LEADER, &record)?,
            keys::put(keys::STATE, &claim.state)?,
            keys::put(keys::history(claim.epoch), &history)?,
        ];
        let sent = now();
        let holding = Holding {
            epoch: claim.epoch,
            until: sent + self.lease_ms(),
            modified: None,
            beat: 0,
            failsafe: false,
            sent: None,
            renewed_at: sent,
        };
        match self.store.commit(&compares, &writes).await {
            Ok(Committed::Done { revision }) => {
                // Not before: an epoch that nobody got would look as if the store had forgotten it.
                self.record.change(|kept| kept.epoch = kept.epoch.max(claim.epoch))?;
                self.holding = Some(Holding { modified: Some(revision), ..holding });
                Ok(())
            }
            Ok(Committed::Conflict) => Err(AgentError::Refused("what was examined has changed".to_owned())),
            Err(error) => {
                // Whether it is held is seen with the next look at the store.
                if !error.wrote_nothing() {
                    self.holding = Some(holding);
                }
                Err(error.into())
            }
        }
    }

    async fn release(&mut self, reason: &str, to: Option<NodeName>) -> Result<(), AgentError> {
        let Some(holding) = self.holding.clone() else { return Ok(()) };
        if self.sight.process.is_some() && !self.sight.report.read_only {
            return Err(AgentError::Refused("writes may be open: the lease is kept".to_owned()));
        }
        self.stand_down().await;
        let record = released(&self.config, &holding, reason, to);
        let modified = holding.modified.ok_or_else(lost)?;
        let write = keys::put(keys::LEADER, &record)?;
        let compare = Compare::Modified(keys::LEADER.to_owned(), modified);
        let outcome = self.store.commit(&[compare], &[write]).await;
        self.holding = None;
        outcome?;
        self.hook("demoted", reason);
        Ok(())
    }

    async fn commit(&mut self, state: &State, shared: Option<&Shared>) -> Result<(), AgentError> {
        let seen = shared.and_then(|shared| shared.state.as_ref()).ok_or_else(lost)?;
        let holding = self.holding.as_ref().ok_or_else(lost)?;
        let compares = [compare(keys::STATE, Some(seen.modified)), compare(keys::LEADER, holding.modified)];
        match self.store.commit(&compares, &[keys::put(keys::STATE, state)?]).await? {
            Committed::Done { .. } => {
                self.committed = Some(state.clone());
                Ok(())
            }
            Committed::Conflict => Err(AgentError::Refused("state or lease has changed".to_owned())),
        }
    }

    async fn hand_over(&mut self, to: &NodeName, shared: Option<&Shared>) -> Result<(), AgentError> {
        let request = shared.and_then(|shared| shared.request.as_ref()).ok_or_else(lost)?;
        let id = request.value.id.clone();
        match self.try_hand_over(to, &id, shared).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let text = format!("not handed over, writes are open again: {error}");
                self.answer(&id, false, &text).await?;
                Err(error)
            }
        }
    }

    async fn try_hand_over(
        &mut self,
        to: &NodeName,
        id: &str,
        shared: Option<&Shared>,
    ) -> Result<(), AgentError> {
        let state = shared.and_then(|shared| shared.state.as_ref()).ok_or_else(lost)?;
        let holding = self.holding.clone().ok_or_else(lost)?;
        self.shown.close();
        let position = match self.database()?.close_writes(CLOSE_LIMIT).await {
            Ok(position) => position,
            Err(error) => {
                self.shown.open(holding.epoch);
                return Err(error);
            }
        };
        self.sight.report.read_only = true;
        let config = self.config.clone();
        let departure = match crate::lease::floating(&config) {
            Some(address) => {
                let departure = address
                    .depart()
                    .inspect_err(|error| tracing::warn!(%error, "the address's clients will not be told"));
                address.remove().await.map_err(|error| AgentError::Refused(error.to_string()))?;
                departure.ok()
            }
            None => None,
        };
        let reason = format!("handed over to {to}, as asked");
        let mut next = state.value.clone();
        next.lineage.handover = Some(position);
        let record = released(&config, &holding, &reason, Some(to.clone()));
        let answer = Answer { id: id.to_owned(), done: true, text: format!("{} {reason}", config.me) };
        let compares = [compare(keys::STATE, Some(state.modified)), compare(keys::LEADER, holding.modified)];
        let writes = [
            keys::put(keys::STATE, &next)?,
            keys::put(keys::LEADER, &record)?,
            keys::put(keys::ANSWER, &answer)?,
            store::Write::Delete(keys::REQUEST.to_owned()),
        ];
        match self.store.commit(&compares, &writes).await {
            Ok(Committed::Done { .. }) => {
                self.holding = None;
                self.guard.disarm();
                if let Some(departure) = departure {
                    tell_clients(departure, config.node.as_ref().map_or(0, |node| node.port)).await;
                }
                // Proxies and pools notice by this that the primary is another.
                if let Err(error) = self.database()?.end_clients(&config).await {
                    tracing::warn!(%error, "clients' connections were not ended");
                }
                self.hook("demoted", &reason);
                Ok(())
            }
            Ok(Committed::Conflict) => {
                self.database()?.reopen_writes().await?;
                self.shown.open(holding.epoch);
                Err(AgentError::Refused("state or lease has changed".to_owned()))
            }
            // It may have happened: writes stay closed until that is known.
            Err(error) => Err(error.into()),
        }
    }

    async fn answer(&mut self, id: &str, done: bool, text: &str) -> Result<(), AgentError> {
        let answer = Answer { id: id.to_owned(), done, text: text.to_owned() };
        let writes = [keys::put(keys::ANSWER, &answer)?, store::Write::Delete(keys::REQUEST.to_owned())];
        self.store.commit(&[], &writes).await?;
        Ok(())
    }

    async fn start(&mut self, role: StartRole) -> Result<(), AgentError> {
        let Some(process) = &self.process else { return Ok(()) };
        if let Err(error) = process.start(role).await {
            self.sight.trouble = Some(error.to_string());
            return Err(error);
        }
        Ok(())
    }

    async fn kill(&mut self, why: &str) -> Result<(), AgentError> {
        self.shown.close();
        let Some(process) = &self.process else { return Ok(()) };
        let killed = process.kill().await;
        self.stand_down().await;
        killed?;
        // What is done next in this tick rests on its end.
        self.note_process(None);
        self.hook("fenced", why);
        Ok(())
    }

    /// No proxy and no address leads here any more.
    async fn stand_down(&mut self) {
        self.shown.close();
        self.guard.disarm();
        if let Some(address) = crate::lease::floating(&self.config)
            && let Err(error) = address.remove().await
        {
            tracing::error!(%error, "the floating address was not removed");
        }
    }

    async fn freeze(&mut self, epoch: Epoch) -> Result<(), AgentError> {
        self.database()?.freeze().await?;
        self.frozen = Some(epoch);
        Ok(())
    }

    /// Applies, and waits a little: most often it is done in a moment.
    async fn apply_received(&mut self) -> Result<(), AgentError> {
        const LOOKS: u32 = 20;
        self.database()?.apply_received().await?;
        for _ in 0..LOOKS {
            let look = self.database()?.look().await?;
            if look.executed.contains(&look.position) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    async fn follow(
        &mut self,
        primary: &NodeName,
        epoch: Epoch,
        acking: bool,
        shared: Option<&Shared>,
        local: &Local,
    ) -> Result<(), AgentError> {
        let config = self.config.clone();
        let flavor =
            local.server.flavor.ok_or_else(|| AgentError::Refused("the server was not seen".to_owned()))?;
        let digest = source_digest(&config, primary, flavor)?;
        let follows = Follows { node: primary.clone(), epoch, digest };
        let is_set_up =
            local.server.following.as_ref().is_some_and(|following| following.node.as_ref() == Some(primary))
                && self.record.kept().follows.as_ref().is_some_and(|kept| kept.digest == follows.digest);
        self.database()?.follow(&config, primary, is_set_up, acking).await?;
        self.record.change(|kept| kept.follows = Some(follows))?;
        if let Some(state) = shared.and_then(|shared| shared.state.as_ref()) {
            self.mark_data(&state.value.cluster);
        }
        Ok(())
    }

    async fn open(&mut self, epoch: Epoch, shared: Option<&Shared>) -> Result<(), AgentError> {
        let holding = self.holding.clone().filter(|holding| holding.epoch == epoch).ok_or_else(lost)?;
        if holding.until < now() + OPEN_WITH_LEFT {
            return Err(AgentError::Refused("the lease is about to run out".to_owned()));
        }
        let process =
            self.sight.process.ok_or_else(|| AgentError::Refused("the server does not run".to_owned()))?;
        self.record.change(|kept| {
            kept.opened = Some(epoch);
            kept.follows = None;
        })?;
        if let Some(state) = shared.and_then(|shared| shared.state.as_ref()) {
            self.mark_data(&state.value.cluster);
        }
        // Armed first: from here on the server ends with the lease, whatever becomes of this process.
        self.guard
            .arm(Duration::from_millis(holding.until), epoch, process)
            .map_err(AgentError::system("arming the fence"))?;
        let config = self.config.clone();
        // Whoever reports that it does not acknowledge may come in, to catch up.
        let mut admit: BTreeSet<NodeName> = shared
            .iter()
            .flat_map(|shared| &shared.members)
            .filter(|(_, member)| !member.value.server.acks)
            .map(|(name, _)| name.clone())
            .collect();
        admit.extend(self.committed.iter().flat_map(|state| state.lineage.sync.ackers.keys().cloned()));
        self.database()?.open_writes(&config, &admit).await?;
        self.frozen = None;
        self.sight.report.read_only = false;
        self.shown.open(epoch);
        if let Some(address) = crate::lease::floating(&config) {
            address.add().await.map_err(|error| AgentError::Refused(error.to_string()))?;
            tokio::spawn(async move {
                if let Err(error) = address.announce(ANNOUNCEMENTS).await {
                    tracing::warn!(%error, "the floating address was not announced");
                }
            });
        }
        self.hook("promoted", &format!("primary in epoch {epoch}"));
        Ok(())
    }

    fn hook(&self, which: &'static str, why: &str) {
        crate::hooks::run(&self.config, which, why, self.record.kept().epoch);
    }

    /// The primary's position when writes were last seen, for tests and the status.
    pub(crate) fn executed(&self) -> &GtidSet {
        &self.sight.report.executed
    }
}

/// Notes the clients of an address that has left, and tells them, aside, once its new host announces it.
async fn tell_clients(mut departure: host::address::Departure, port: u16) {
    let noted =
        tokio::task::spawn_blocking(move || departure.note_clients(port).map(|clients| (clients, departure)));
    let (clients, departure) = match noted.await.unwrap_or_else(|lost| Err(std::io::Error::other(lost))) {
        Ok(noted) => noted,
        Err(error) => {
            tracing::warn!(%error, "the address's clients are not known");
            return;
        }
    };
    tokio::task::spawn_blocking(move || match departure.tell(ANNOUNCED_WITHIN) {
        Ok(told) => tracing::info!(clients, told, "clients were told that the address has moved"),
        Err(error) => tracing::warn!(clients, %error, "clients were not told that the address has moved"),
    });
}

/// A new primary that takes longer has failed, and clients have noticed by themselves.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(5);

/// How often the address is announced after it moved.
const ANNOUNCEMENTS: u32 = 5;

fn touches_server(action: &Action) -> bool {
    match action {
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
        | Action::Unfreeze
        | Action::HandOver { .. }
        | Action::Reseed { .. } => true,
        Action::Renew
        | Action::Claim(_)
        | Action::Release { .. }
        | Action::Commit(_)
        | Action::AskFailsafe
        | Action::Answer { .. } => false,
    }
}

fn lost() -> AgentError {
    AgentError::Refused("this node does not hold the lease".to_owned())
}

fn compare(key: &str, modified: Option<u64>) -> Compare {
    match modified {
        Some(modified) => Compare::Modified(key.to_owned(), modified),
        None => Compare::Absent(key.to_owned()),
    }
}

fn released(config: &Config, holding: &Holding, reason: &str, to: Option<NodeName>) -> Leader {
    Leader {
        node: config.me.clone(),
        epoch: holding.epoch,
        beat: holding.beat + 1,
        ready: false,
        released: Some(Release { reason: reason.to_owned(), to }),
    }
}
