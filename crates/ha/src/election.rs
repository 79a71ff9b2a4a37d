//! Nobody leads: what may be promoted without losing an acknowledged write, and who does it.
//!
//! A node that was a replica first stops taking changes and says so; when enough ackers have, one that holds
//! everything any of them holds takes the lease. The old primary holds everything by itself and may come back.

use flavor::GtidSet;

use crate::action::{Action, Claim, Decision, StartRole, is_following};
use crate::decide::{ineligible, is_blank, is_stuck};
use crate::model::{Ask, Health, Leader, Lineage, Member, NodeName, Request, ServerReport, State};
use crate::policy::Durability;
use crate::view::Seen;

/// Candidates that have fewer transactions to apply go first, by steps of so many: they are applied in less than a
/// second, and both sides of a comparison are reports a moment old.
const BACKLOG_STEP: u64 = 200;

/// What is known of the writes acknowledged in the lineage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// A node that holds this holds them all; what was examined, with how many.
    Holds(GtidSet, String),
    /// Not enough is known, and why. What is known of is the set.
    Unknown(GtidSet, String),
}

pub(crate) fn elect(seen: &mut Seen<'_>, state: &State, leader: Option<&Leader>) -> Decision {
    let lineage = &state.lineage;
    let last = leader.map_or_else(
        || "nobody holds the lease".to_owned(),
        |leader| match &leader.released {
            Some(release) => format!("{} gave the lease up: {}", leader.node, release.reason),
            None => format!("the lease of {} has run out", leader.node),
        },
    );
    if seen.shared.paused {
        return Decision::rest(format!("{last}; paused, so nobody is promoted"));
    }
    // Who gave the lease up does not go on with it, whatever was agreed in that epoch or before.
    let is_given_up =
        leader.is_some_and(|leader| leader.released.is_some() && leader.epoch >= seen.view.local.epoch);
    if let Some(until) = seen.view.local.promised_until.filter(|until| *until > seen.view.now)
        && !is_given_up
    {
        let left = until - seen.view.now;
        return Decision::rest(format!("{last}; this node agreed that it goes on, for {left} ms more"));
    }
    if let Some(work) = &seen.view.local.work {
        return Decision::rest(format!("{last}; busy: {work}"));
    }
    // A person may decide what this node's record speaks against.
    let is_forced = forced(seen, state) == Some(seen.view.me);
    if lineage.primary == *seen.view.me && !is_forced {
        return come_back(seen, state, leader, &last);
    }
    if !seen.runs() {
        return match seen.server().health {
            Health::Down => Decision::act(
                format!("{last}; starting the server here to see what it holds"),
                Action::Start(start_role(seen, lineage)),
            ),
            Health::Starting | Health::Running | Health::Hung => {
                Decision::rest(format!("{last}; the server here does not answer yet"))
            }
        };
    }
    // What was handed over is known exactly, so nothing has to be stopped to be examined.
    let named = leader.and_then(|leader| leader.released.as_ref()).and_then(|release| release.to.as_ref());
    let handed_to_me = lineage.handover.is_some() && named == Some(seen.view.me);
    if let (Some(_), Some(to), false) = (&lineage.handover, named, handed_to_me) {
        let waited = seen.memory.leaderless_for(seen.view.now);
        if waited < seen.policy.patience && seen.view.local.frozen.is_none() {
            return Decision::rest(format!("{last}; {to} is to take it"));
        }
    }
    if !handed_to_me && seen.view.local.frozen != Some(lineage.epoch) {
        return Decision::act(
            format!("{last}; stopping replication here, so that what is held can be compared"),
            Action::Freeze(lineage.epoch),
        );
    }
    compete(seen, state, leader, &last)
}

/// A node that once led, and was replaced, drops what nobody acknowledged; any other keeps what it has.
pub(crate) fn start_role(seen: &Seen<'_>, lineage: &Lineage) -> StartRole {
    match seen.view.local.opened {
        Some(opened) if opened < lineage.epoch && lineage.primary != *seen.view.me => StartRole::Replica,
        Some(_) | None => StartRole::Keep,
    }
}

fn compete(seen: &mut Seen<'_>, state: &State, leader: Option<&Leader>, last: &str) -> Decision {
    let lineage = &state.lineage;
    let waited = seen.memory.leaderless_for(seen.view.now);
    if let Some(forced) = forced(seen, state) {
        return force(seen, state, leader, forced);
    }
    let proof = prove(seen, lineage);
    let (wanted, how, lost) = match &proof {
        Proof::Holds(wanted, how) => (wanted.clone(), how.clone(), GtidSet::default()),
        Proof::Unknown(known, why) => match acceptable_loss(seen, lineage, known) {
            Ok(lost) => (known.clone(), format!("{why}; accepted, as the spec allows"), lost),
            Err(veto) => {
                let sentence = format!("{last}; nobody is promoted, since acknowledged writes could be lost");
                return Decision::rest(sentence).with_vetoes(vec![why.clone(), veto]);
            }
        },
    };
    let (ranked, vetoes) = candidates(seen, state, leader, &wanted);
    // What was handed over was asked for.
    if state.lineage.handover.is_none()
        && let Some(veto) = flapping(seen, state)
    {
        return Decision::rest(format!("{last}; {veto}")).with_vetoes(vetoes);
    }
    // One more candidate is let in for every span of patience, in case the better ones do not act.
    let turns = usize::try_from(waited / seen.policy.patience.max(1)).unwrap_or(usize::MAX).saturating_add(1);
    let place = ranked.iter().position(|name| *name == seen.view.me);
    match (place, ranked.first()) {
        (Some(place), _) if place < turns => {
            if let Some(veto) = reads_too_short(seen) {
                return Decision::rest(format!("{last}; {veto}")).with_vetoes(vetoes);
            }
            let sentence = format!("{last}; taking it: this node holds everything acknowledged ({how})");
            let mut examined = examined(seen, lineage);
            if let (Proof::Unknown(..), Some(last)) = (&proof, seen.shared.members.get(&lineage.primary)) {
                // What is lost was judged by its last report.
                examined.push((lineage.primary.clone(), last.modified));
            }
            let mut claim = claim(seen, state, leader, examined, lost.to_string(), last.to_owned());
            let mut actions = Vec::new();
            // Those that connect before writes open ask whether commits here wait for them. What is still to be applied
            // would wait as well, and for nodes that have it already and acknowledge nothing.
            claim.ready =
                lineage.handover.is_some() && seen.server().is_applied() && !lineage.sync.asynchronous;
            if claim.ready && seen.server().waits.is_none() {
                actions.push(Action::SetWaiting(Some(seen.policy.need)));
            }
            actions.push(Action::Claim(claim));
            Decision::acts(sentence, actions).with_vetoes(vetoes)
        }
        (_, Some(best)) => {
            Decision::rest(format!("{last}; {best} is the better candidate")).with_vetoes(vetoes)
        }
        (_, None) => Decision::rest(format!("{last}; no node can be promoted")).with_vetoes(vetoes),
    }
}

/// The node whose writes the history is: it holds all it acknowledged. It comes back when no other takes over.
fn come_back(seen: &mut Seen<'_>, state: &State, leader: Option<&Leader>, last: &str) -> Decision {
    let waited = seen.memory.leaderless_for(seen.view.now);
    let named = leader.and_then(|leader| leader.released.as_ref()).and_then(|release| release.to.as_ref());
    let asked = named == Some(seen.view.me)
        || request(seen)
            .is_some_and(|asked| matches!(&asked.ask, Ask::Failover { to } if to == seen.view.me));
    if waited < seen.policy.head_start && !asked && could_be_replaced(seen, state) {
        let left = seen.policy.head_start - waited;
        return Decision::rest(format!("{last}; others may take over, for {left} ms more"));
    }
    let is_handed = state
        .lineage
        .handover
        .as_ref()
        .is_some_and(|all| seen.runs() && seen.server().position.contains(all));
    // It may have ended between writing the state and opening writes, when its record tells of the epoch and not of
    // writes: then none were taken.
    let may_be_unused = seen.view.local.epoch >= state.lineage.epoch
        && seen.view.local.opened.is_none_or(|opened| opened < state.lineage.epoch);
    if may_be_unused && seen.server().health == Health::Down {
        let sentence = format!("{last}; starting the server here to see what it holds");
        return Decision::act(sentence, Action::Start(StartRole::Keep));
    }
    let is_unused = may_be_unused && seen.runs() && seen.server().position.contains(&state.lineage.start);
    if !is_handed && !is_unused && seen.view.local.opened != Some(state.lineage.epoch) {
        let veto = format!(
            "this node's own record does not say that it opened epoch {}: its disk is not the one that did",
            state.lineage.epoch
        );
        return Decision::rest(format!("{last}; not taking it back")).with_vetoes(vec![veto]);
    }
    if seen.in_maintenance(seen.view.me) {
        return Decision::rest(format!("{last}; in maintenance, so not taking it back"));
    }
    // Having been the only one to hold it all, it may be missing something only if its data is not its data.
    let ahead = seen.others().find(|(name, other)| {
        seen.runs()
            && other.frozen == Some(state.lineage.epoch)
            && is_intact(&state.lineage, name, other)
            && !seen.server().position.contains(&other.server.position)
    });
    if let Some((other, _)) = ahead {
        let veto = format!("{other} holds transactions that this node, the last primary, lacks");
        return Decision::rest(format!("{last}; not taking it back")).with_vetoes(vec![veto]);
    }
    if seen.runs() && is_stuck(seen.server()) {
        let veto = "the server here cannot apply what it received".to_owned();
        return Decision::rest(format!("{last}; not taking it back")).with_vetoes(vec![veto]);
    }
    match (&seen.view.local.trouble, seen.server().health) {
        (Some(trouble), Health::Down) => {
            let sentence =
                format!("{last}; trying to start the server here before taking it back ({trouble})");
            return Decision::act(sentence, Action::Start(StartRole::Keep));
        }
        (Some(_), Health::Starting | Health::Hung) => {
            return Decision::rest(format!("{last}; the server here does not answer yet"));
        }
        (Some(_), Health::Running) | (None, _) => {}
    }
    if let Some(veto) = reads_too_short(seen) {
        return Decision::rest(format!("{last}; {veto}"));
    }
    let sentence = format!("{last}; taking it back: this node wrote the history and nobody else took over");
    let claim = claim(seen, state, leader, Vec::new(), String::new(), last.to_owned());
    Decision::act(sentence, Action::Claim(claim))
}

/// Why the lease is not taken yet, although it could be by what the store says.
fn reads_too_short(seen: &Seen<'_>) -> Option<String> {
    let reads = seen.memory.contact_for(seen.view.now);
    let left = seen.policy.ttl.saturating_sub(reads);
    (left > 0).then(|| format!("the store is read again only since {reads} ms, so waiting {left} ms more"))
}

/// Whether the ackers that report could be enough once they have stopped.
pub(crate) fn could_be_replaced(seen: &Seen<'_>, state: &State) -> bool {
    let lineage = &state.lineage;
    if seen.shared.paused || flapping(seen, state).is_some() {
        return false;
    }
    let able = |name: &NodeName, member: &Member| ineligible(seen, name, member, state).is_none();
    if !seen.others().any(|(name, member)| able(name, member)) {
        return false;
    }
    if lineage.handover.is_some() {
        return true;
    }
    let reporting = seen.others().filter(|(name, member)| is_intact(lineage, name, member)).count();
    !lineage.sync.asynchronous && reporting >= lineage.sync.quorum().max(1)
}

/// An acker in the incarnation it was listed with: what it acknowledged, it still holds.
pub(crate) fn is_intact(lineage: &Lineage, name: &NodeName, member: &Member) -> bool {
    let listed = lineage.sync.ackers.get(name);
    listed == Some(&member.server.incarnation)
        && member.server.health == Health::Running
        && member.work.is_none()
}

/// What can be known of the acknowledged writes from those that have stopped.
pub(crate) fn prove(seen: &Seen<'_>, lineage: &Lineage) -> Proof {
    if let Some(position) = &lineage.handover {
        return Proof::Holds(position.clone(), format!("{} handed over in order", lineage.primary));
    }
    if !lineage.sync.suffices() {
        let why =
            format!("with fewer ackers than needed, nothing was acknowledged in epoch {}", lineage.epoch);
        return Proof::Holds(lineage.start.clone(), why);
    }
    let mut known = lineage.start.clone();
    let mut stopped = 0_usize;
    let mut missing = Vec::new();
    for (name, member) in frozen(seen, lineage) {
        // What one holds that took nothing from this primary is left from before, and was dropped by the others.
        if is_intact(lineage, name, member) {
            stopped += 1;
            known.extend(&member.server.position);
        } else if is_following(member, lineage) {
            known.extend(&member.server.position);
        }
    }
    for (name, incarnation) in &lineage.sync.ackers {
        let Some(member) = seen.fresh(name) else {
            missing.push(format!("{name} does not report"));
            continue;
        };
        if member.server.incarnation != *incarnation {
            missing.push(format!("{name} restarted since it was last known to hold everything"));
        } else if member.frozen != Some(lineage.epoch) {
            missing.push(format!("{name} has not stopped replication yet"));
        } else if let Some(work) = &member.work {
            missing.push(format!("{name} is busy: {work}"));
        } else if member.server.health != Health::Running {
            missing.push(format!("the server of {name} does not answer"));
        }
    }
    let quorum = lineage.sync.quorum().max(1);
    if lineage.sync.asynchronous {
        return Proof::Unknown(known, format!("{} went on without ackers", lineage.primary));
    }
    if stopped >= quorum {
        return Proof::Holds(
            known,
            format!("{stopped} of {} ackers examined, {quorum} needed", lineage.sync.ackers.len()),
        );
    }
    let why = format!(
        "{stopped} of {} ackers examined, {quorum} needed: {}",
        lineage.sync.ackers.len(),
        missing.join(", ")
    );
    Proof::Unknown(known, why)
}

/// Fresh reports, this node's own with them, that have stopped for this lineage.
fn frozen<'a>(seen: &'a Seen<'_>, lineage: &'a Lineage) -> impl Iterator<Item = (&'a NodeName, &'a Member)> {
    let nodes = seen.policy.nodes.iter();
    nodes.filter_map(|name| Some((name, seen.fresh(name)?))).filter(move |(name, member)| {
        // What the old primary holds beyond the others was acknowledged to nobody.
        member.frozen == Some(lineage.epoch) && **name != lineage.primary
    })
}

fn examined(seen: &Seen<'_>, lineage: &Lineage) -> Vec<(NodeName, u64)> {
    if lineage.handover.is_some() {
        return Vec::new();
    }
    let names = frozen(seen, lineage).map(|(name, _)| name);
    names.filter_map(|name| Some((name.clone(), seen.shared.members.get(name)?.modified))).collect()
}

/// The nodes that could be promoted, best first, and why the others could not.
fn candidates<'a>(
    seen: &'a Seen<'_>,
    state: &State,
    leader: Option<&Leader>,
    wanted: &GtidSet,
) -> (Vec<&'a NodeName>, Vec<String>) {
    let mut vetoes = Vec::new();
    let mut able = Vec::new();
    for name in &seen.policy.nodes {
        if *name == state.lineage.primary {
            continue;
        }
        let Some(member) = seen.fresh(name) else {
            vetoes.push(format!("{name} does not report"));
            continue;
        };
        if let Some(veto) = ineligible(seen, name, member, state) {
            vetoes.push(veto);
        } else if !member.server.position.contains(wanted) {
            vetoes.push(format!("{name} lacks {}", wanted.subtract(&member.server.position)));
        } else {
            able.push((name, member));
        }
    }
    let named = leader.and_then(|leader| leader.released.as_ref()).and_then(|release| release.to.as_ref());
    able.sort_by_key(|(name, member)| {
        let is_acker = state.lineage.sync.ackers.contains_key(*name);
        let order = u32::MAX - member.tags.promotion;
        (named != Some(*name), !is_acker, order, backlog(&member.server) / BACKLOG_STEP, (*name).clone())
    });
    (able.into_iter().map(|(name, _)| name).collect(), vetoes)
}

/// Transactions received and not yet executed: writes stay closed until they are.
pub(crate) fn backlog(server: &ServerReport) -> u64 {
    server.position.subtract(&server.executed).count()
}

/// In `available`, what may be lost when it cannot be proven that nothing is.
fn acceptable_loss(seen: &Seen<'_>, lineage: &Lineage, known: &GtidSet) -> Result<GtidSet, String> {
    let max = match seen.policy.durability {
        Durability::Lossless => {
            return Err("durability = \"lossless\": a person has to decide (mainstay failover)".to_owned());
        }
        Durability::Available { max_loss_transactions } => max_loss_transactions,
    };
    let waited = seen.memory.leaderless_for(seen.view.now);
    if seen.fresh(&lineage.primary).is_some() && waited < seen.policy.head_start * 2 {
        return Err(format!("{} reports and may come back without any loss", lineage.primary));
    }
    let Some(last) = seen.shared.members.get(&lineage.primary) else {
        return Err(format!("{} left no report, so what would be lost is unknown", lineage.primary));
    };
    let lost = last.value.server.executed.subtract(known);
    let count = lost.count();
    if count > max {
        return Err(format!(
            "{count} transactions would be lost ({lost}), more than max_loss_transactions = {max}"
        ));
    }
    Ok(lost)
}

fn request<'a>(seen: &Seen<'a>) -> Option<&'a Request> {
    seen.shared.request.as_ref().map(|request| &request.value)
}

/// A person has said whom to promote.
pub(crate) fn forced<'a>(seen: &Seen<'a>, state: &State) -> Option<&'a NodeName> {
    let request = request(seen).filter(|request| request.epoch == state.epoch)?;
    match &request.ask {
        Ask::Failover { to } => Some(to),
        Ask::Switchover { .. } | Ask::Reinit { .. } => None,
    }
}

fn force(seen: &mut Seen<'_>, state: &State, leader: Option<&Leader>, to: &NodeName) -> Decision {
    if to != seen.view.me {
        return Decision::rest(format!("{to} is promoted by an operator's decision"));
    }
    if let (true, Some(request)) = (is_blank(seen.server(), &state.lineage), request(seen)) {
        let text = format!("{to} holds no data of this cluster: it is not promoted");
        let id = request.id.clone();
        return Decision::act(text.clone(), Action::Answer { id, done: false, text });
    }
    if let Some(veto) = reads_too_short(seen) {
        return Decision::rest(format!("an operator decided to promote {to}; {veto}"));
    }
    let lost = would_be_lost(seen, &state.lineage);
    let reason = format!("an operator decided to promote {to}");
    let mut claim = claim(seen, state, leader, Vec::new(), lost.to_string(), reason.clone());
    // Without what was handed over, as a person has decided: the promotion does not wait for it.
    let holds = |all: &GtidSet| seen.server().position.contains(all);
    claim.state.lineage.handover = claim.state.lineage.handover.filter(holds);
    Decision::act(reason, Action::Claim(claim))
}

/// What is known of that this node lacks: from the last report of each node, however old.
pub(crate) fn would_be_lost(seen: &Seen<'_>, lineage: &Lineage) -> GtidSet {
    let mut known = lineage.start.clone();
    for member in seen.shared.members.values() {
        known.extend(&member.value.server.position);
    }
    known.subtract(&seen.server().position)
}

/// Too many failovers in the last hour, unless a person asked.
pub(crate) fn flapping(seen: &Seen<'_>, state: &State) -> Option<String> {
    let since = seen.view.wall_seconds.saturating_sub(3600);
    let recent = state.failovers.iter().filter(|at| **at > since && **at <= seen.view.wall_seconds).count();
    let limit = usize::try_from(seen.policy.failovers_per_hour).unwrap_or(usize::MAX).max(1);
    (recent >= limit).then(|| {
        format!("{recent} failovers in the last hour, as many as failovers_per_hour allows: a person has to decide")
    })
}

pub(crate) fn claim(
    seen: &Seen<'_>,
    state: &State,
    leader: Option<&Leader>,
    examined: Vec<(NodeName, u64)>,
    lost: String,
    reason: String,
) -> Claim {
    let epoch = state.epoch + 1;
    let mut next = State { epoch, ..state.clone() };
    let day = seen.view.wall_seconds.saturating_sub(86_400);
    next.failovers.retain(|at| *at > day);
    let planned = state.lineage.handover.is_some() || forced(seen, state).is_some();
    if !planned && state.lineage.primary != *seen.view.me {
        next.failovers.push(seen.view.wall_seconds);
    }
    Claim {
        epoch,
        replaces: leader.and(seen.shared.leader.as_ref()).map(|leader| leader.modified),
        state: next,
        state_seen: seen.shared.state.as_ref().map(|state| state.modified),
        examined,
        lost,
        reason,
        ready: false,
    }
}
