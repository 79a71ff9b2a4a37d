//! The lease is this node's and its writes are not open yet: everything between taking the lease and the first write.

use std::collections::BTreeMap;

use flavor::GtidSet;

use crate::action::{Action, Decision};
use crate::decide::is_stuck;
use crate::election::start_role;
use crate::model::{Health, Leader, Lineage, Member, NodeName, ServerReport, State, Sync};
use crate::policy::Durability;
use crate::view::Seen;

pub(crate) fn promote(seen: &mut Seen<'_>, leader: &Leader, state: &State) -> Decision {
    let epoch = leader.epoch;
    let server = seen.server();
    let mut actions = vec![Action::Renew];
    let with = |mut actions: Vec<Action>, action: Action| {
        actions.push(action);
        actions
    };
    match server.health {
        Health::Down if state.lineage.primary == *seen.view.me || state.lineage.handover.is_some() => {
            if let Some(trouble) = &seen.view.local.trouble {
                let reason = format!("the server here does not start: {trouble}");
                actions = vec![Action::Release { reason: reason.clone(), to: None }];
                return Decision::acts(format!("{reason}; giving the lease up"), actions);
            }
            let role = start_role(seen, &state.lineage);
            return Decision::acts(
                format!("leading in epoch {epoch}; starting the server"),
                with(actions, Action::Start(role)),
            );
        }
        Health::Down => {
            let reason = "the server here died before its writes were open".to_owned();
            return Decision::act(
                format!("{reason}; giving the lease up"),
                Action::Release { reason, to: None },
            );
        }
        Health::Starting => {
            return Decision::acts(format!("leading in epoch {epoch}; the server is starting"), actions);
        }
        Health::Hung => {
            let why = "the server does not answer while it is being promoted".to_owned();
            return Decision::acts(format!("{why}; killing it"), with(actions, Action::Kill { why }));
        }
        Health::Running => {}
    }
    if !server.read_only {
        let why = "writes are open although the promotion is not done".to_owned();
        return Decision::act(format!("{why}: fencing"), Action::Kill { why });
    }
    if let Some(lost) = lost_since_handover(server, &state.lineage) {
        let reason = format!("the server here does not hold any more what was handed over: {lost}");
        return Decision::act(format!("{reason}; giving the lease up"), Action::Release { reason, to: None });
    }
    if is_stuck(server) {
        let reason = "the server here cannot apply what it received".to_owned();
        return Decision::act(format!("{reason}; giving the lease up"), Action::Release { reason, to: None });
    }
    if !server.is_applied() {
        let left = server.position.subtract(&server.executed);
        let sentence = format!("leading in epoch {epoch}; applying {} received transactions", left.count());
        // What is applied is committed: it would wait for nodes that have it already and acknowledge nothing.
        if server.waits.is_some() {
            actions.push(Action::SetWaiting(None));
        }
        return Decision::acts(sentence, with(actions, Action::ApplyReceived));
    }
    open(seen, state, epoch, actions)
}

/// What was handed over and is not here: received when the lease was taken, and thrown away with the relay log by a
/// server that began anew before it had applied it.
fn lost_since_handover(server: &ServerReport, lineage: &Lineage) -> Option<GtidSet> {
    let lost = lineage.handover.as_ref()?.subtract(&server.position);
    (!lost.is_empty()).then_some(lost)
}

/// All is applied: the state is written with those who may acknowledge, everybody else is shut out, then writes open.
fn open(seen: &Seen<'_>, state: &State, epoch: u64, mut actions: Vec<Action>) -> Decision {
    let sync = first_sync(seen, &state.lineage);
    // Forgetting where it came from takes the server several synced writes, and has time until writes are open. One that
    // leads alone does it first: for the others, waiting for acknowledgements sees to it that what it leads with is
    // on the disk.
    // Who handed over takes no writes since, so nothing can come from there.
    let is_complete = seen.view.local.frozen == Some(state.lineage.epoch) || state.lineage.handover.is_some();
    match seen.server().following {
        Some(_) if sync.asynchronous => actions.push(Action::Detach),
        Some(_) if !is_complete => actions.push(Action::Freeze(state.lineage.epoch)),
        Some(_) | None => {}
    }
    for node in seen.policy.nodes.iter().filter(|node| *node != seen.view.me) {
        let listed = sync.ackers.contains_key(node);
        match (listed, seen.view.local.blocked.contains(node)) {
            (true, true) => actions.push(Action::Unblock(node.clone())),
            // One that does not report cannot have said that it does not acknowledge.
            (false, false) if seen.fresh(node).is_none_or(|member| !member.server.cannot_ack()) => {
                actions.push(Action::Block(node.clone()));
            }
            (true, false) | (false, _) => {}
        }
    }
    actions.push(Action::SetWaiting((!sync.asynchronous).then_some(sync.need)));
    let names: Vec<String> = sync.ackers.keys().map(ToString::to_string).collect();
    let lineage = Lineage {
        epoch,
        primary: seen.view.me.clone(),
        sync,
        start: seen.server().executed.clone(),
        handover: None,
    };
    actions.push(Action::Commit(State { lineage, ..state.clone() }));
    actions.push(Action::Open(epoch));
    let ackers = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
    Decision::acts(format!("leading in epoch {epoch}; opening writes, acknowledged by {ackers}"), actions)
}

/// Who may acknowledge from the start: those that report, hold nothing else and were let to.
///
/// Where a cluster is founded and every other node has yet to take its first copy, this one begins alone, whatever the
/// durability: commits that waited would keep the copies from being taken. No other node can be promoted until they
/// have been.
fn first_sync(seen: &Seen<'_>, before: &Lineage) -> Sync {
    let mine = &seen.server().executed;
    let is_new = |member: &Member| {
        member.server.cluster.is_none() && member.server.position.is_empty() && !mine.is_empty()
    };
    let mut others = seen.policy.nodes.iter().filter(|node| *node != seen.view.me);
    let is_founded = before.primary == *seen.view.me && before.handover.is_some();
    let are_new = is_founded && others.all(|node| seen.fresh(node).is_some_and(is_new));
    let may_ack = |name: &NodeName, member: &Member| {
        member.tags.may_ack()
            && member.server.health == Health::Running
            && member.work.is_none()
            && !seen.in_maintenance(name)
            && !is_new(member)
            && mine.contains(&member.server.position)
    };
    let ackers: BTreeMap<_, _> = seen
        .others()
        .filter(|(name, member)| may_ack(name, member))
        .map(|(name, member)| (name.clone(), member.server.incarnation))
        .collect();
    let mut sync =
        Sync { ackers, need: seen.policy.need, asynchronous: are_new || seen.policy.nodes.len() < 2 };
    if let Durability::Available { .. } = seen.policy.durability {
        sync.asynchronous = !sync.suffices();
    }
    if sync.asynchronous {
        sync.ackers.clear();
    }
    sync
}
