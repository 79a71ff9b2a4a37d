//! Who may acknowledge, kept true while the primary works.
//!
//! The set in the store is a superset of those that do acknowledge. In: listed first, then it acknowledges. Out: it
//! can no more, then enough of the others hold all it held, then it is struck off.

use crate::action::{Action, is_following};
use crate::decide::is_blank;
use crate::election::is_intact;
use crate::model::{Health, Lineage, Member, NodeName, State};
use crate::policy::Durability;
use crate::view::{Mark, Seen};

/// What has to be done about ackers, and how they are.
pub(crate) struct Changes {
    pub(crate) sentence: String,
    pub(crate) actions: Vec<Action>,
}

pub(crate) fn maintain(seen: &mut Seen<'_>, state: &State) -> Changes {
    let nodes: Vec<NodeName> =
        seen.policy.nodes.iter().filter(|node| *node != seen.view.me).cloned().collect();
    let mut actions = Vec::new();
    let mut next = state.clone();
    if state.lineage.sync.asynchronous {
        return regain(seen, state, &nodes);
    }
    for node in &nodes {
        let listed = state.lineage.sync.ackers.contains_key(node);
        let action = if listed {
            keep_or_strike(seen, state, &mut next, node)
        } else {
            admit(seen, state, &mut next, node)
        };
        actions.extend(action);
    }
    let sync = &next.lineage.sync;
    let intact = intact_count(seen, &state.lineage);
    let need = usize::try_from(sync.need).unwrap_or(usize::MAX);
    let may_go_alone = matches!(seen.policy.durability, Durability::Available { .. });
    if may_go_alone && intact < need && nobody_returns(seen, &nodes, &state.lineage) {
        next.lineage.sync.ackers.clear();
        next.lineage.sync.asynchronous = true;
        actions.retain(|action| matches!(action, Action::Block(_)));
        actions.push(Action::Commit(next));
        actions.push(Action::SetWaiting(None));
        return Changes {
            sentence: "no replica acknowledges: going on alone, as the spec allows".to_owned(),
            actions,
        };
    }
    if next != *state {
        actions.push(Action::Commit(next.clone()));
    }
    let names: Vec<String> = next.lineage.sync.ackers.keys().map(ToString::to_string).collect();
    let sentence = if intact < need {
        "commits wait, since too few replicas acknowledge".to_owned()
    } else {
        format!("acknowledged by {}", names.join(", "))
    };
    Changes { sentence, actions }
}

fn intact_count(seen: &Seen<'_>, lineage: &Lineage) -> usize {
    seen.others().filter(|(name, member)| is_intact(lineage, name, member)).count()
}

/// No other node is about to acknowledge.
fn nobody_returns(seen: &Seen<'_>, nodes: &[NodeName], lineage: &Lineage) -> bool {
    nodes.iter().all(|node| {
        seen.fresh(node)
            .is_none_or(|member| member.server.health != Health::Running || !is_following(member, lineage))
    })
}

/// One that is listed: let in while it is well, struck off when it is gone.
fn keep_or_strike(seen: &mut Seen<'_>, state: &State, next: &mut State, node: &NodeName) -> Vec<Action> {
    let lineage = &state.lineage;
    let listed = lineage.sync.ackers.get(node).copied();
    let is_blocked = seen.view.local.blocked.contains(node);
    let member = seen.fresh(node);
    let wanted = member.is_some_and(|member| {
        member.tags.may_ack() && !seen.in_maintenance(node) && Some(member.server.incarnation) == listed
    });
    if wanted {
        seen.memory.leaving.remove(node);
        return if is_blocked { vec![Action::Unblock(node.clone())] } else { Vec::new() };
    }
    // It cannot acknowledge: it says so in another incarnation, or it is shut out. In the one that is listed it may
    // be about to, whatever it says.
    let says_no =
        member.is_some_and(|member| Some(member.server.incarnation) != listed && !member.server.acks);
    if !says_no && !is_blocked {
        seen.memory.leaving.remove(node);
        return vec![Action::Block(node.clone())];
    }
    let position = &seen.server().position;
    let mark = Mark::reach(&mut seen.memory.leaving, node, listed.unwrap_or_default(), position);
    let has_reached =
        |member: &Member| mark.as_ref().is_some_and(|mark| member.server.position.contains(mark));
    let holding = seen
        .others()
        .filter(|(name, member)| *name != node && is_intact(lineage, name, member) && has_reached(member))
        .filter(|(name, _)| next.lineage.sync.ackers.contains_key(*name))
        .count();
    let need = usize::try_from(lineage.sync.need).unwrap_or(usize::MAX);
    if holding >= need {
        seen.memory.leaving.remove(node);
        seen.memory.joining.remove(node);
        next.lineage.sync.ackers.remove(node);
        return Vec::new();
    }
    // It restarted, and the others are too few to do without it: it has to get in to catch up.
    let may_return = member.is_some_and(|member| {
        member.server.health == Health::Running && member.tags.may_ack() && member.work.is_none()
    });
    if says_no && is_blocked && may_return && !seen.in_maintenance(node) {
        return vec![Action::Unblock(node.clone())];
    }
    relist(seen, state, next, node);
    Vec::new()
}

/// One that restarted and holds everything again, although the others are too few to strike it off first.
fn relist(seen: &mut Seen<'_>, state: &State, next: &mut State, node: &NodeName) {
    let Some(incarnation) = caught_up(seen, state, node) else { return };
    seen.memory.joining.remove(node);
    seen.memory.leaving.remove(node);
    next.lineage.sync.ackers.insert(node.clone(), incarnation);
}

/// One that is not listed: let in to catch up, then listed.
fn admit(seen: &mut Seen<'_>, state: &State, next: &mut State, node: &NodeName) -> Vec<Action> {
    seen.memory.leaving.remove(node);
    let state_modified = seen.shared.state.as_ref().map_or(u64::MAX, |state| state.modified);
    if seen.view.local.blocked.contains(node) {
        // It has seen the state in which it is not listed, and says that it does not acknowledge.
        let knows = seen
            .fresh(node)
            .is_some_and(|member| member.server.cannot_ack() && member.seen >= state_modified);
        return if knows { vec![Action::Unblock(node.clone())] } else { Vec::new() };
    }
    let incarnation = caught_up(seen, state, node).or_else(|| needed_now(seen, state, node));
    if let Some(incarnation) = incarnation {
        seen.memory.joining.remove(node);
        next.lineage.sync.ackers.insert(node.clone(), incarnation);
    }
    Vec::new()
}

/// Commits wait for want of ackers: a node that holds nothing else is listed before it has caught up, so that it
/// acknowledges from the first event on. It is safe at any time, since more ackers only mean that more are examined.
fn needed_now(seen: &Seen<'_>, state: &State, node: &NodeName) -> Option<u64> {
    let need = usize::try_from(state.lineage.sync.need).unwrap_or(usize::MAX);
    if state.lineage.sync.asynchronous || intact_count(seen, &state.lineage) >= need {
        return None;
    }
    let member = seen.fresh(node)?;
    let ready = member.tags.may_ack()
        && member.server.health == Health::Running
        && member.server.cannot_ack()
        && member.work.is_none()
        && !seen.in_maintenance(node)
        && !is_blank(&member.server, &state.lineage)
        && seen.server().position.contains(&member.server.position);
    ready.then_some(member.server.incarnation)
}

/// The incarnation of a node that follows, does not acknowledge yet, and holds everything this primary held at a
/// moment after that incarnation was first seen.
fn caught_up(seen: &mut Seen<'_>, state: &State, node: &NodeName) -> Option<u64> {
    let member = seen.fresh(node)?;
    let ready = member.tags.may_ack()
        && member.server.health == Health::Running
        && !member.server.acks
        && member.work.is_none()
        && !seen.in_maintenance(node)
        && is_following(member, &state.lineage)
        && member.server.following.as_ref().is_some_and(|following| following.io);
    if !ready {
        seen.memory.joining.remove(node);
        return None;
    }
    let incarnation = member.server.incarnation;
    let position = &seen.server().position;
    let mark = Mark::reach(&mut seen.memory.joining, node, incarnation, position)?;
    member.server.position.contains(&mark).then_some(incarnation)
}

/// Commits are acknowledged by the primary alone. In this phase the order is the other way round (as in Patroni's
/// quorum commit): first it acknowledges, then it holds everything, then it counts.
fn regain(seen: &mut Seen<'_>, state: &State, nodes: &[NodeName]) -> Changes {
    let need = usize::try_from(state.lineage.sync.need).unwrap_or(usize::MAX);
    let alone = "acknowledged by this node alone".to_owned();
    if nodes.len() < need || nodes.is_empty() {
        return Changes { sentence: alone, actions: Vec::new() };
    }
    let mut next = state.clone();
    let mut actions = Vec::new();
    for node in nodes {
        if next.lineage.sync.ackers.contains_key(node) {
            let listed = next.lineage.sync.ackers.get(node).copied();
            let here = seen.fresh(node).is_some_and(|member| {
                Some(member.server.incarnation) == listed && is_following(member, &state.lineage)
            });
            if !here {
                next.lineage.sync.ackers.remove(node);
            }
        } else {
            actions.extend(admit(seen, state, &mut next, node));
        }
    }
    // Only those that already say they acknowledge, and hold what the primary held, count from here on.
    let mine = &seen.server().position;
    let proven = seen.others().filter(|(name, member)| {
        next.lineage.sync.ackers.get(*name) == Some(&member.server.incarnation) && member.server.acks
    });
    let proven = proven.filter(|(name, member)| {
        let mark = seen.memory.leaving.get(*name);
        mark.is_some_and(|mark| mark.is_in(&member.server.position))
    });
    let proven = proven.count();
    let acking: Vec<NodeName> = seen
        .others()
        .filter(|(name, member)| next.lineage.sync.ackers.contains_key(*name) && member.server.acks)
        .map(|(name, _)| name.clone())
        .collect();
    let waits = seen.server().waits.is_some();
    if acking.len() >= need && !waits {
        actions.push(Action::SetWaiting(Some(state.lineage.sync.need)));
    }
    if !waits {
        // Marks are of a time when commits waited already: the server may have begun anew since.
        seen.memory.leaving.clear();
    }
    if acking.len() < need && waits {
        seen.memory.leaving.clear();
        actions.push(Action::SetWaiting(None));
    } else if waits && proven >= need && proven == next.lineage.sync.ackers.len() {
        // From here on only those that are listed may acknowledge.
        let unlisted: Vec<Action> = nodes
            .iter()
            .filter(|node| {
                !next.lineage.sync.ackers.contains_key(*node) && !seen.view.local.blocked.contains(*node)
            })
            .filter(|node| seen.fresh(node).is_none_or(|member| !member.server.cannot_ack()))
            .map(|node| Action::Block(node.clone()))
            .collect();
        if unlisted.is_empty() {
            next.lineage.sync.asynchronous = false;
            seen.memory.leaving.clear();
        }
        actions.extend(unlisted);
    } else if waits {
        for node in acking {
            seen.memory.leaving.entry(node).or_insert_with(|| Mark::at(mine.clone()));
        }
    }
    if next != *state {
        actions.push(Action::Commit(next));
    }
    Changes { sentence: alone, actions }
}
