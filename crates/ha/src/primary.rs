//! The lease is this node's and its writes are the cluster's: keeping both true, or giving them up in order.

use crate::ackers;
use crate::action::{Action, Decision};
use crate::decide::{ineligible, is_blank};
use crate::election::{backlog, could_be_replaced, is_intact};
use crate::model::{Ask, Health, Lineage, Member, Millis, NodeName, Request, State};
use crate::view::Seen;

/// A replica that lacks this many transactions is not handed over to: the writes would be closed for too long.
const HANDOVER_LAG_MAX: u64 = 10_000;

/// With more transactions to apply than this, a handover waits: writes would be closed until they are applied.
const HANDOVER_BACKLOG_MAX: u64 = 100;

/// Whoever asked is told after this time that a handover waits in vain; a client asks for a minute.
const HANDOVER_PATIENCE: Millis = 30_000;

/// What an operator's request comes to.
enum Asked {
    Nothing,
    Decides(Decision),
    /// For what, as the end of a sentence.
    Waits(String),
}

pub(crate) fn lead(seen: &mut Seen<'_>, state: &State) -> Decision {
    let lineage = &state.lineage;
    if let Some(decision) = unwell(seen, state) {
        return decision;
    }
    let mut actions = vec![Action::Renew];
    let server = seen.server();
    let silence = match server.health {
        Health::Running => None,
        Health::Hung => {
            Some(format!("the server has not answered for {} ms", seen.view.local.unanswered_for))
        }
        Health::Starting | Health::Down => Some("the server is starting".to_owned()),
    };
    if let Some(silence) = silence {
        return Decision::acts(format!("primary in epoch {}; {silence}", lineage.epoch), actions);
    }
    let asked = asked(seen, state);
    if !matches!(asked, Asked::Waits(_)) {
        seen.memory.handover_since = None;
    }
    let waits = match asked {
        Asked::Decides(decision) => return decision,
        Asked::Waits(what) => format!("; {what}"),
        Asked::Nothing => String::new(),
    };
    // While commits are acknowledged by this node alone, `ackers` knows when they have to wait again.
    if !lineage.sync.asynchronous && server.waits != Some(lineage.sync.need) {
        actions.push(Action::SetWaiting(Some(lineage.sync.need)));
    }
    if server.following.is_some() {
        actions.push(Action::Detach);
    }
    if server.read_only {
        actions.push(Action::Open(lineage.epoch));
        return Decision::acts(format!("primary in epoch {}; opening writes", lineage.epoch), actions);
    }
    let changes = ackers::maintain(seen, state);
    actions.extend(changes.actions);
    let full = full_disks(seen);
    let sentence = format!("primary in epoch {}; {}{full}{waits}", lineage.epoch, changes.sentence);
    Decision::acts(sentence, actions)
}

/// The server died, hangs, or nobody hears it.
fn unwell(seen: &mut Seen<'_>, state: &State) -> Option<Decision> {
    let is_cut_off = is_cut_off(seen, &state.lineage);
    seen.memory.note_cut_off(is_cut_off, seen.view.now);
    let policy = seen.policy;
    let local = seen.view.local;
    let give_up = |why: String, mut actions: Vec<Action>| {
        actions.push(Action::Release { reason: why.clone(), to: None });
        Decision::acts(format!("{why}; giving the lease up"), actions)
    };
    let replaceable = could_be_replaced(seen, state);
    match seen.server().health {
        Health::Down if replaceable || local.trouble.is_some() => {
            return Some(give_up("the server died".to_owned(), Vec::new()));
        }
        Health::Down => {
            let sentence = "the server died and no replica can take over: starting it again";
            return Some(Decision::acts(
                sentence,
                vec![Action::Renew, Action::Start(crate::StartRole::Keep)],
            ));
        }
        Health::Hung if local.unanswered_for >= policy.hang => {
            let why = format!("the server has not answered for {} ms", local.unanswered_for);
            return Some(Decision::acts(
                format!("{why}; killing it"),
                vec![Action::Renew, Action::Kill { why }],
            ));
        }
        Health::Starting | Health::Hung | Health::Running => {}
    }
    if !replaceable {
        return None;
    }
    if local.disk_stalled_for >= policy.hang {
        let why = format!("a write to the data directory has taken {} ms", local.disk_stalled_for);
        return Some(give_up(why.clone(), vec![Action::Kill { why }]));
    }
    let cut_off = local.stalled_for >= policy.stall && seen.memory.cut_off_for(seen.view.now) >= policy.stall;
    cut_off.then(|| {
        let why = format!("commits have had no acknowledgement for {} ms", local.stalled_for);
        give_up(why.clone(), vec![Action::Kill { why }])
    })
}

/// Commits wait, and those that acknowledge are well, by the store, and do not hear this primary. One that is shut
/// out from here, is only about to acknowledge, or has no room for more, says nothing; nor does one that may have gone when commits began to
/// wait, and whose last report is of before.
fn is_cut_off(seen: &Seen<'_>, lineage: &Lineage) -> bool {
    if seen.view.local.stalled_for == 0 || lineage.sync.asynchronous {
        return false;
    }
    let mine = &seen.server().position;
    let mut acking = seen
        .others()
        .filter(|(name, member)| is_intact(lineage, name, member) && member.server.acks)
        .filter(|(_, member)| !member.server.disk_full)
        .filter(|(name, _)| !seen.view.local.blocked.contains(*name))
        .filter(|(name, _)| was_heard_since(seen, name, seen.view.local.stalled_for))
        .peekable();
    let hears = |member: &Member| {
        member.server.following.as_ref().is_some_and(|following| following.io)
            && member.server.position.contains(mine)
    };
    acking.peek().is_some() && !acking.any(|(_, member)| hears(member))
}

/// Names the nodes whose disks are full: commits wait for them.
fn full_disks(seen: &Seen<'_>) -> String {
    let own = seen.server().disk_full.then_some(seen.view.me);
    let others = seen.others().filter(|(_, member)| member.server.disk_full).map(|(name, _)| name);
    let names: Vec<String> = own.into_iter().chain(others).map(ToString::to_string).collect();
    if names.is_empty() { String::new() } else { format!("; no room on the disk of {}", names.join(", ")) }
}

/// A node has reported well after something began that has been going on for this long.
fn was_heard_since(seen: &Seen<'_>, node: &NodeName, going_on_for: u64) -> bool {
    let age = seen.memory.member_age(node, seen.view.now);
    age.is_some_and(|age| age + seen.policy.stall / 2 <= going_on_for)
}

/// What an operator asks the primary.
fn asked(seen: &mut Seen<'_>, state: &State) -> Asked {
    let Some(request) = seen.shared.request.as_ref().map(|request| &request.value) else {
        return Asked::Nothing;
    };
    if let Ask::Switchover { to } = &request.ask
        && request.epoch == state.epoch
    {
        return hand_over(seen, state, request, to.as_ref());
    }
    answered(seen, state, request).map_or(Asked::Nothing, Asked::Decides)
}

fn hand_over(seen: &mut Seen<'_>, state: &State, request: &Request, to: Option<&NodeName>) -> Asked {
    let refused = |text: String| {
        let answer = Action::Answer { id: request.id.clone(), done: false, text: text.clone() };
        Asked::Decides(Decision::acts(text, vec![Action::Renew, answer]))
    };
    let (to, backlog) = match handover_target(seen, state, to) {
        Ok(target) => target,
        Err(why) => return refused(why),
    };
    // Nobody takes a lease who has not read the store for the length of one: after an outage, writes stay open until
    // the others have too.
    let reads = seen.memory.contact_for(seen.view.now);
    if reads < seen.policy.ttl {
        let left = seen.policy.ttl - reads;
        return Asked::Waits(format!("handing over when the store has been read for {left} ms more"));
    }
    if backlog <= HANDOVER_BACKLOG_MAX {
        let sentence = format!("an operator asked to hand over to {to}");
        return Asked::Decides(Decision::acts(sentence, vec![Action::Renew, Action::HandOver { to }]));
    }
    let since = *seen.memory.handover_since.get_or_insert(seen.view.now);
    if seen.view.now.saturating_sub(since) >= HANDOVER_PATIENCE {
        return refused(format!(
            "{to} has had more than {HANDOVER_BACKLOG_MAX} transactions to apply for {} s (now {backlog}), and writes would be \
             closed until it has: ask again when less is written",
            HANDOVER_PATIENCE / 1000
        ));
    }
    Asked::Waits(format!("handing over when {to} has applied {backlog} transactions"))
}

fn answered(seen: &Seen<'_>, state: &State, request: &Request) -> Option<Decision> {
    let answer = |done: bool, text: String| {
        let id = request.id.clone();
        Decision::acts(text.clone(), vec![Action::Renew, Action::Answer { id, done, text }])
    };
    if request.epoch != state.epoch {
        let (done, text) = outdated(request, seen.view.me, state);
        return Some(answer(done, text));
    }
    match &request.ask {
        Ask::Failover { to } if to == seen.view.me => {
            Some(answer(true, format!("{to} is the primary already")))
        }
        Ask::Failover { to } if is_blank_node(seen, to, &state.lineage) => {
            Some(answer(false, format!("{to} holds no data of this cluster: it is not promoted")))
        }
        Ask::Failover { to } => {
            let why = format!("an operator decided to promote {to}");
            let actions = vec![
                Action::Kill { why: why.clone() },
                Action::Release { reason: why.clone(), to: Some(to.clone()) },
            ];
            Some(Decision::acts(why, actions))
        }
        Ask::Reinit { node } if node == seen.view.me => {
            Some(answer(false, format!("{node} is the primary: its data is the cluster's")))
        }
        Ask::Reinit { .. } | Ask::Switchover { .. } => None,
    }
}

fn is_blank_node(seen: &Seen<'_>, node: &NodeName, lineage: &Lineage) -> bool {
    seen.fresh(node).is_some_and(|member| is_blank(&member.server, lineage))
}

/// A request made in an earlier epoch has either led to this one or is void.
fn outdated(request: &Request, me: &NodeName, state: &State) -> (bool, String) {
    let epoch = state.epoch;
    match &request.ask {
        Ask::Failover { to } if to == me => (true, format!("{me} is the primary in epoch {epoch}")),
        Ask::Failover { .. } | Ask::Switchover { .. } | Ask::Reinit { .. } => {
            (false, format!("asked in epoch {}, now it is {epoch}: look again and ask again", request.epoch))
        }
    }
}

/// Whom to hand over to, and how many transactions it has to apply.
///
/// # Errors
/// Why not.
fn handover_target(seen: &Seen<'_>, state: &State, to: Option<&NodeName>) -> Result<(NodeName, u64), String> {
    if to == Some(seen.view.me) {
        return Err(format!("{} is the primary already", seen.view.me));
    }
    if seen.shared.paused {
        return Err("paused: nothing is handed over (mainstay resume)".to_owned());
    }
    let ready =
        |name: &NodeName, member: &Member| ready_for_handover(seen, &state.lineage, name, member, state);
    if let Some(to) = to {
        let Some(member) = seen.fresh(to).filter(|_| seen.policy.nodes.contains(to)) else {
            return Err(format!("{to} does not report, or is no node of this cluster"));
        };
        return ready(to, member).map(|()| (to.clone(), backlog(&member.server)));
    }
    let mut vetoes = Vec::new();
    let mut able: Vec<(&NodeName, &Member)> = Vec::new();
    for (name, member) in seen.others() {
        match ready(name, member) {
            Ok(()) => able.push((name, member)),
            Err(veto) => vetoes.push(veto),
        }
    }
    able.sort_by_key(|(name, member)| {
        let has_to_apply = backlog(&member.server) > HANDOVER_BACKLOG_MAX;
        (has_to_apply, u32::MAX - member.tags.promotion, (*name).clone())
    });
    let best = able.first().map(|(name, member)| ((*name).clone(), backlog(&member.server)));
    best.ok_or_else(|| format!("nobody can take over: {}", vetoes.join("; ")))
}

fn ready_for_handover(
    seen: &Seen<'_>,
    lineage: &Lineage,
    name: &NodeName,
    member: &Member,
    state: &State,
) -> Result<(), String> {
    if let Some(veto) = ineligible(seen, name, member, state) {
        return Err(veto);
    }
    let follows = crate::action::is_following(member, lineage);
    let runs = member.server.following.as_ref().is_some_and(|following| following.io && following.sql);
    if !follows || !runs {
        return Err(format!("{name} does not replicate from {}", lineage.primary));
    }
    let lacks = seen.server().executed.subtract(&member.server.executed).count();
    if lacks > HANDOVER_LAG_MAX {
        return Err(format!("{name} is {lacks} transactions behind, more than {HANDOVER_LAG_MAX}"));
    }
    Ok(())
}
