//! Another node leads: following it, and getting into a condition to.

use flavor::{GtidSet, Vendor};

use crate::action::{Action, Decision, StartRole, is_following};
use crate::decide::fence_if_open;
use crate::election::start_role;
use crate::model::{Ask, Following, Health, Leader, Lineage, Member, NodeName, State};
use crate::view::Seen;

/// How long a report may take to show what the primary has: until then, extra transactions may be the primary's too.
const ERRANT_AFTER: u64 = 3_000;

/// Replication that does not run, or does not get a connection, is started anew this often.
const RESTART_AFTER: u64 = 3_000;

/// So long a replica waits for a primary that was handed all to say that it can be followed.
const EARLY_PATIENCE: u64 = 500;

/// Who connected before the primary took writes, and is not connected so long after, was not let in yet.
const EARLY_RETRY: u64 = 300;

pub(crate) fn follow(seen: &mut Seen<'_>, leader: &Leader, state: &State) -> Decision {
    let lineage = &state.lineage;
    let local = seen.view.local;
    let who = format!("{} leads in epoch {}", leader.node, leader.epoch);
    if let Some(decision) = fence_if_open(local, &who) {
        return decision;
    }
    if let Some(work) = &local.work {
        return Decision::rest(format!("{who}; busy: {work}"));
    }
    if leader.epoch != lineage.epoch {
        return await_promotion(seen, leader, lineage, &who);
    }
    if let Some(decision) = reinit_asked(seen, lineage, &who) {
        return decision;
    }
    match seen.server().health {
        Health::Down => {
            // MySQL is cloned into a server that runs: one that does not start can only be started again.
            let is_mysql = vendor(seen, lineage) == Some(Vendor::MySql);
            let may_copy = seen.policy.reseed && !seen.shared.paused && !is_mysql && is_donor(seen, lineage);
            if let (Some(trouble), true) = (&local.trouble, may_copy) {
                let sentence =
                    format!("{who}; the server here does not start ({trouble}): taking a new copy");
                return Decision::acts(sentence, copy(seen, lineage));
            }
            return Decision::act(
                format!("{who}; starting the server here"),
                Action::Start(role(seen, lineage)),
            );
        }
        Health::Hung if local.unanswered_for >= seen.policy.hang * 5 => {
            let why = format!("the server has not answered for {} ms", local.unanswered_for);
            return Decision::act(format!("{who}; {why}: killing it"), Action::Kill { why });
        }
        Health::Starting | Health::Hung => {
            return Decision::rest(format!("{who}; the server here does not answer yet"));
        }
        Health::Running => {}
    }
    // At once with what follows: until a replica is connected, the new primary's commits wait.
    let mut first = Vec::new();
    if local.frozen.is_some() {
        seen.memory.started_at = None;
        seen.memory.stopped_in = Some(seen.server().incarnation);
        first.push(Action::Unfreeze);
    }
    if seen.server().waits.is_some() {
        first.push(Action::SetWaiting(None));
    }
    let mine = seen.shared.members.get(seen.view.me).map(|member| &member.value);
    let following = seen.server().following.as_ref();
    let is_mine = |following: &Following| {
        following.node.as_ref() == Some(&lineage.primary) && following.epoch == Some(lineage.epoch)
    };
    let mut decision = match following.filter(|following| is_mine(following)) {
        Some(following) => settled(seen, lineage, following, &who),
        None => rejoin(seen, lineage, &who, mine.is_some_and(|member| is_following(member, lineage))),
    };
    decision.actions.splice(0..0, first);
    decision
}

fn role(seen: &Seen<'_>, lineage: &Lineage) -> StartRole {
    start_role(seen, lineage)
}

/// The lease is taken and the history not opened: staying as one is.
fn await_promotion(seen: &mut Seen<'_>, leader: &Leader, lineage: &Lineage, who: &str) -> Decision {
    let is_old_primary = lineage.primary == *seen.view.me;
    if seen.server().health == Health::Down && !is_old_primary {
        return Decision::act(format!("{who}; starting the server here"), Action::Start(role(seen, lineage)));
    }
    if let Some(decision) = follow_early(seen, leader, lineage, who) {
        return decision;
    }
    if may_receive(seen, &leader.node) && seen.runs() && seen.view.local.frozen.is_none() {
        let why = "stopping replication from before here, as it will be from another";
        return Decision::act(format!("{who}; {why}"), Action::Freeze(lineage.epoch));
    }
    Decision::rest(format!("{who}; waiting for {} to open writes", leader.node))
}

/// After a handover it is known exactly what the new history begins with, so an acker that holds nothing else connects
/// before writes open there, and is not waited for when they do: as soon as commits there wait for it. One that has
/// stopped has promised to stay so.
fn follow_early(seen: &mut Seen<'_>, leader: &Leader, lineage: &Lineage, who: &str) -> Option<Decision> {
    let all = lineage.handover.as_ref()?;
    let local = seen.view.local;
    let is_old_primary = lineage.primary == *seen.view.me;
    let may = may_ack(seen, lineage) && all.contains(&seen.server().position);
    let is_asked = seen.memory.early.is_some_and(|(epoch, _)| epoch == leader.epoch);
    if is_old_primary || is_asked || !may || !seen.runs() || local.frozen.is_some() || seen.shared.paused {
        return None;
    }
    let is_ready = |member: &Member| member.server.is_applied() && member.server.waits.is_some();
    if !leader.ready && !seen.fresh(&leader.node).is_some_and(is_ready) {
        let is_soon = seen.memory.leader_age(seen.view.now) < EARLY_PATIENCE;
        return is_soon.then(|| Decision::rest(format!("{who}; waiting for {} to get ready", leader.node)));
    }
    seen.memory.early = Some((leader.epoch, seen.view.now));
    seen.memory.started_at = Some(seen.view.now);
    let primary = leader.node.clone();
    let sentence = format!("{who}; replicating from {primary}, which was handed all that is here");
    Some(Decision::act(sentence, Action::Follow { primary, epoch: leader.epoch, acking: true }))
}

/// Something may yet come from another node than this: what was seen to be held here may not be all. Under a pause
/// nothing is stopped.
fn may_receive(seen: &Seen<'_>, primary: &NodeName) -> bool {
    let from = seen.server().following.as_ref().map(|following| following.node.as_ref());
    let is_stopped = seen.memory.stopped_in == Some(seen.server().incarnation);
    from.is_some_and(|from| from != Some(primary)) && !is_stopped && !seen.shared.paused
}

fn reinit_asked(seen: &mut Seen<'_>, lineage: &Lineage, who: &str) -> Option<Decision> {
    let request = &seen.shared.request.as_ref()?.value;
    match &request.ask {
        Ask::Reinit { node } if node == seen.view.me => {
            let text = format!("{node} takes a new copy of {}", lineage.primary);
            let answer = Action::Answer { id: request.id.clone(), done: true, text: text.clone() };
            let mut actions = copy(seen, lineage);
            actions.insert(actions.len().saturating_sub(1), answer);
            Some(Decision::acts(format!("{who}; {text}, as asked"), actions))
        }
        Ask::Reinit { .. } | Ask::Switchover { .. } | Ask::Failover { .. } => None,
    }
}

/// Whose server this is: the primary's, where this one has not answered yet.
fn vendor(seen: &Seen<'_>, lineage: &Lineage) -> Option<Vendor> {
    let theirs = seen.shared.members.get(&lineage.primary).and_then(|member| member.value.server.flavor);
    seen.server().flavor.or(theirs).map(|flavor| flavor.vendor)
}

/// What is here is a copy of this lineage's primary.
fn is_copy(seen: &Seen<'_>, lineage: &Lineage) -> bool {
    let copied = seen.memory.copied;
    copied.is_some_and(|(epoch, before)| epoch == lineage.epoch && seen.server().incarnation > before + 1)
}

/// What this node holds and the primary does not seem to. Before it follows a primary for the first time it can
/// hold nothing beyond what that one began with; that the primary has the same GTIDs by now proves nothing, since a
/// server that dropped transactions uses their numbers again. Only a copy of the primary brings more.
fn errant(seen: &Seen<'_>, lineage: &Lineage) -> GtidSet {
    let mut theirs = lineage.start.clone();
    let is_copy = is_copy(seen, lineage);
    if let Some(primary) = seen.shared.members.get(&lineage.primary).filter(|_| is_copy) {
        theirs.extend(&primary.value.server.executed);
        theirs.extend(&primary.value.server.position);
    }
    seen.server().position.subtract(&theirs)
}

fn rejoin(seen: &mut Seen<'_>, lineage: &Lineage, who: &str, was_following: bool) -> Decision {
    // Never a member, and without a transaction: what the primary held before its log began would never come here.
    let is_blank = seen.server().cluster.is_none() && seen.server().position.is_empty();
    if is_blank && !was_following && !lineage.start.is_empty() {
        return reseed(seen, lineage, &format!("{who}; this node holds nothing yet"));
    }
    if may_receive(seen, &lineage.primary) {
        let why = "stopping replication from before, to see all that is held here";
        return Decision::act(format!("{who}; {why}"), Action::Freeze(lineage.epoch));
    }
    let extra = errant(seen, lineage);
    let primary = lineage.primary.clone();
    if extra.is_empty() || was_following {
        seen.memory.errant_since = None;
        seen.memory.started_at = Some(seen.view.now);
        seen.memory.stopped_in = None;
        return Decision::act(
            format!("{who}; replicating from {primary}"),
            Action::Follow { primary, epoch: lineage.epoch, acking: may_ack(seen, lineage) },
        );
    }
    let since = *seen.memory.errant_since.get_or_insert(seen.view.now);
    if is_copy(seen, lineage) && seen.view.now.saturating_sub(since) < ERRANT_AFTER {
        return Decision::rest(format!(
            "{who}; this node holds {extra}, which {primary} does not report yet"
        ));
    }
    reseed(seen, lineage, &format!("{who}; only this node holds {extra}"))
}

fn reseed(seen: &mut Seen<'_>, lineage: &Lineage, why: &str) -> Decision {
    let primary = &lineage.primary;
    let veto = if seen.shared.paused {
        Some("paused".to_owned())
    } else if !seen.policy.reseed {
        Some("the spec does not allow it (reseed = false)".to_owned())
    } else if !is_donor(seen, lineage) {
        Some(format!("{primary} does not report that it takes writes and holds what it began with"))
    } else {
        None
    };
    match veto {
        Some(veto) => {
            Decision::rest(format!("{why}; it needs a new copy of {primary}")).with_vetoes(vec![veto])
        }
        None => Decision::acts(format!("{why}; taking a new copy of {primary}"), copy(seen, lineage)),
    }
}

/// Takes a copy. The server may go on replicating meanwhile, but acknowledges nothing: how it was set up is forgotten,
/// so what it receives is thrown away with its relay log when it follows again after a copy that failed.
fn copy(seen: &mut Seen<'_>, lineage: &Lineage) -> Vec<Action> {
    seen.memory.copied = Some((lineage.epoch, seen.server().incarnation));
    let stop = (seen.runs() && seen.server().acks).then_some(Action::SetAcking(false));
    if stop.is_some() {
        seen.memory.stopped_in = None;
    }
    stop.into_iter().chain([Action::Reseed { donor: lineage.primary.clone() }]).collect()
}

/// The primary is well: what it holds may replace what is here.
fn is_donor(seen: &Seen<'_>, lineage: &Lineage) -> bool {
    seen.fresh(&lineage.primary).is_some_and(|member| {
        let server = &member.server;
        server.health == Health::Running && !server.read_only && server.position.contains(&lineage.start)
    })
}

/// This run of this server is listed, and the operator lets it.
fn may_ack(seen: &Seen<'_>, lineage: &Lineage) -> bool {
    let listed = lineage.sync.ackers.get(seen.view.me) == Some(&seen.server().incarnation);
    listed && seen.view.local.tags.may_ack() && !seen.in_maintenance(seen.view.me)
}

fn settled(seen: &mut Seen<'_>, lineage: &Lineage, following: &Following, who: &str) -> Decision {
    seen.memory.errant_since = None;
    seen.memory.stopped_in = None;
    if let Some(error) = &following.error {
        let since = *seen.memory.broken_since.get_or_insert(seen.view.now);
        let broken_for = seen.view.now.saturating_sub(since);
        let why = format!("{who}; replication stopped with error {}: {}", error.code, error.text);
        if error.fatal || broken_for >= seen.policy.broken {
            return reseed(seen, lineage, &why);
        }
        return Decision::act(
            format!("{why}; trying again"),
            Action::Follow {
                primary: lineage.primary.clone(),
                epoch: lineage.epoch,
                acking: may_ack(seen, lineage),
            },
        );
    }
    seen.memory.broken_since = None;
    // It may have been too early: the primary lets in whom it lists when it opens writes.
    let early = seen.memory.early.filter(|(epoch, _)| *epoch == lineage.epoch);
    let was_early = early.is_some_and(|(_, at)| seen.view.now.saturating_sub(at) >= EARLY_RETRY);
    if was_early || following.io {
        seen.memory.early = None;
    }
    if following.io && following.sql {
        seen.memory.started_at = None;
    } else if was_early
        || seen.memory.started_at.is_none_or(|at| seen.view.now.saturating_sub(at) >= RESTART_AFTER)
    {
        // After a start of the server nothing runs, after a promise taken back nothing is received.
        seen.memory.started_at = Some(seen.view.now);
        return Decision::act(
            format!("{who}; starting replication, which does not run"),
            Action::Follow {
                primary: lineage.primary.clone(),
                epoch: lineage.epoch,
                acking: may_ack(seen, lineage),
            },
        );
    }
    let may = may_ack(seen, lineage);
    if may != seen.server().acks {
        seen.memory.started_at = Some(seen.view.now);
        let what = if may { "acknowledging from now on" } else { "not acknowledging any more" };
        return Decision::act(format!("{who}; {what}"), Action::SetAcking(may));
    }
    let how = match (following.io, following.sql, may) {
        (true, true, true) => "replicating and acknowledging",
        (true, true, false) => "replicating",
        (false, _, _) => "connecting to it",
        (true, false, _) => "receiving and not applying",
    };
    Decision::rest(format!("{who}; {how}"))
}
