//! The decision of one node in one tick: which of the situations below it is in. The rules of each situation are in
//! the file named after it.

use crate::action::{Action, Claim, Decision};
use crate::model::{Epoch, Health, Lineage, Member, NodeName, ServerReport, Shared, State};
use crate::policy::Policy;
use crate::view::{Lease, Local, Memory, Seen, View};
use crate::{election, found, primary, promotion, replica};

/// What `view.me` does now. The same arguments give the same answer.
pub fn decide(view: &View<'_>, policy: &Policy, memory: &mut Memory) -> Decision {
    memory.note(view, policy);
    let Some(shared) = view.shared else { return without_store(view, policy) };
    let mut seen = Seen { view: *view, shared, policy, memory };
    if view.local.witness {
        return Decision::rest(witness_sentence(&seen));
    }
    let mut decision = with_store(&mut seen);
    let version = seen.newest_version() + 1;
    for action in &mut decision.actions {
        if let Action::Commit(state) | Action::Claim(Claim { state, .. }) = action {
            state.version = version;
        }
    }
    if matches!(seen.lease(), Lease::Nobody(_) | Lease::MineLost(_)) {
        seen.memory.leaderless_since.get_or_insert(view.now);
    } else {
        seen.memory.leaderless_since = None;
    }
    decision
}

fn with_store(seen: &mut Seen<'_>) -> Decision {
    let Some(state) = &seen.shared.state else {
        return fence_if_open(seen.view.local, "the store knows no cluster")
            .unwrap_or_else(|| found::found(seen, None));
    };
    let newest = newest_epoch(seen.shared, seen.view.local, &state.value.cluster);
    let state_modified = state.modified;
    let state = &state.value;
    if let Some(foreign) = foreign_data(seen.view.local, state) {
        let why = format!("the data here belongs to another cluster, {foreign}, not to {}", state.cluster);
        return fence_if_open(seen.view.local, &why)
            .unwrap_or_else(|| Decision::rest(format!("{why}; leaving it alone")));
    }
    let opened = newest_opened(seen.shared, seen.view.local, &state.cluster);
    if newest > state.epoch || opened > state.lineage.epoch {
        let why = format!(
            "the store is older than the nodes (epoch {}, opened {} there, {newest} and {opened} here)",
            state.epoch, state.lineage.epoch
        );
        return fence_if_open(seen.view.local, &why)
            .unwrap_or_else(|| found::found(seen, Some((state_modified, state))));
    }
    if is_list_old(seen, state) {
        return fence_if_open(seen.view.local, "the store is an old copy of this epoch")
            .unwrap_or_else(|| found::found(seen, Some((state_modified, state))));
    }
    seen.memory.outdated_since = None;
    if seen.in_maintenance(seen.view.me) && !matches!(seen.lease(), Lease::Mine(_)) {
        return fence_if_open(seen.view.local, "this node is in maintenance and not the primary")
            .unwrap_or_else(|| Decision::rest("in maintenance: left alone"));
    }
    match seen.lease() {
        Lease::Mine(leader)
            if leader.epoch == state.lineage.epoch && state.lineage.primary == *seen.view.me =>
        {
            primary::lead(seen, state)
        }
        Lease::Mine(leader) => promotion::promote(seen, leader, state),
        Lease::MineLost(leader) => fence_if_open(seen.view.local, "the lease here has run out")
            .unwrap_or_else(|| election::elect(seen, state, Some(leader))),
        Lease::Theirs(leader) => replica::follow(seen, leader, state),
        Lease::Nobody(leader) => fence_if_open(seen.view.local, "the lease here is gone")
            .unwrap_or_else(|| election::elect(seen, state, leader)),
    }
}

/// The store was put back to an older state of this epoch: who may acknowledge by that one is not who may have
/// acknowledged. Nobody leads or is promoted by it. Who wrote the history may come back all the same, and whoever
/// follows goes on.
fn is_list_old(seen: &Seen<'_>, state: &State) -> bool {
    if seen.newest_version() <= state.version {
        return false;
    }
    match seen.lease() {
        Lease::Mine(_) => true,
        Lease::Theirs(_) => false,
        Lease::MineLost(_) | Lease::Nobody(_) => {
            state.lineage.primary != *seen.view.me && election::forced(seen, state).is_none()
        }
    }
}

/// The store cannot be reached: the holder goes on to its deadline, and beyond it if every node agrees; nobody
/// else changes anything.
fn without_store(view: &View<'_>, policy: &Policy) -> Decision {
    let local = view.local;
    match local.lease {
        Some(held) if held.until > view.now => {
            let left = held.until - view.now;
            let sentence = format!("the store cannot be reached; the lease lasts {left} ms more");
            // Asked while there is still time for the answers.
            if left < policy.ttl * 2 / 3 {
                return Decision::act(format!("{sentence}; asking every node to agree"), Action::AskFailsafe);
            }
            Decision::rest(sentence)
        }
        Some(_) | None => fence_if_open(local, "the store cannot be reached and the lease has run out")
            .unwrap_or_else(|| Decision::rest("the store cannot be reached: changing nothing")),
    }
}

/// The answer to a primary that cannot reach the store and asks to go on for one more lease. Whoever says yes takes
/// no part in an election until that lease has run out by its own clock.
///
/// # Errors
/// Why not, as a sentence.
pub fn agree_failsafe(
    view: &View<'_>,
    policy: &Policy,
    memory: &Memory,
    asker: &NodeName,
    epoch: Epoch,
    last: Option<&Shared>,
) -> Result<(), String> {
    if view.local.frozen == Some(epoch) {
        return Err(format!("{} has stopped replication to be examined", view.me));
    }
    if view.local.epoch > epoch {
        return Err(format!("{} knows of epoch {}", view.me, view.local.epoch));
    }
    if view.local.lease.is_some() {
        return Err(format!("{} holds a lease itself", view.me));
    }
    let leader = last.and_then(|shared| shared.leader.as_ref());
    let Some(leader) = leader.map(|leader| &leader.value) else {
        return Err(format!("{} knows no lease of {asker}", view.me));
    };
    if leader.node != *asker || leader.epoch != epoch || leader.released.is_some() {
        return Err(format!("{} knows the lease of {} in epoch {}", view.me, leader.node, leader.epoch));
    }
    if view.shared.is_some() && memory.leader_age(view.now) >= policy.ttl {
        return Err(format!("{} reaches the store, and the lease there has run out", view.me));
    }
    Ok(())
}

/// A server that takes writes here without the right to is killed, not asked.
pub(crate) fn fence_if_open(local: &Local, why: &str) -> Option<Decision> {
    let open = local.server.health != Health::Down && !local.server.read_only;
    open.then(|| {
        Decision::act(format!("{why}, yet writes are open: fencing"), Action::Kill { why: why.to_owned() })
    })
}

fn foreign_data<'a>(local: &'a Local, state: &State) -> Option<&'a str> {
    local.server.cluster.as_deref().filter(|cluster| *cluster != state.cluster)
}

/// The highest epoch that any node of the cluster says it has heard of: one with another's data counts another's.
fn newest_epoch(shared: &Shared, local: &Local, cluster: &str) -> Epoch {
    let members = shared.members.values().filter(|member| is_ours(&member.value, cluster));
    let members = members.map(|member| member.value.epoch);
    members.max().unwrap_or(0).max(local.epoch)
}

/// A report of this cluster's data, or of none.
pub(crate) fn is_ours(member: &Member, cluster: &str) -> bool {
    member.server.cluster.as_deref().is_none_or(|theirs| theirs == cluster)
}

/// The highest epoch in which any node says it opened writes: the state is written before that is done.
fn newest_opened(shared: &Shared, local: &Local, cluster: &str) -> Epoch {
    let members = shared.members.values().filter(|member| is_ours(&member.value, cluster));
    let members = members.filter_map(|member| member.value.opened);
    members.max().max(local.opened).unwrap_or(0)
}

fn witness_sentence(seen: &Seen<'_>) -> String {
    match seen.lease() {
        Lease::Mine(leader) | Lease::MineLost(leader) | Lease::Theirs(leader) => {
            format!("witness: {} leads in epoch {}", leader.node, leader.epoch)
        }
        Lease::Nobody(_) => "witness: nobody leads".to_owned(),
    }
}

/// Why a node cannot be promoted by itself; none when it can.
pub(crate) fn ineligible(seen: &Seen<'_>, node: &NodeName, member: &Member, state: &State) -> Option<String> {
    let tags = &member.tags;
    let server = &member.server;
    if member.witness {
        return Some(format!("{node} has no database"));
    }
    if tags.promotion == 0 {
        return Some(format!("{node} is never to be promoted (promotion = 0)"));
    }
    if tags.delay_seconds > 0 {
        return Some(format!("{node} lags on purpose by {} s", tags.delay_seconds));
    }
    if seen.in_maintenance(node) {
        return Some(format!("{node} is in maintenance"));
    }
    if let Some(work) = &member.work {
        return Some(format!("{node} is busy: {work}"));
    }
    if server.health != Health::Running {
        return Some(format!("the server of {node} does not answer"));
    }
    if !server.read_only {
        return Some(format!("{node} takes writes outside any lease"));
    }
    if server.disk_full {
        return Some(format!("the disk of {node} is full"));
    }
    if is_stuck(server) {
        return Some(format!("{node} cannot apply what it received"));
    }
    if server.cluster.as_ref().is_some_and(|cluster| *cluster != state.cluster) {
        return Some(format!("{node} has another cluster's data"));
    }
    if !server.position.contains(&state.lineage.start) {
        return Some(format!(
            "{node} lacks what {} held when epoch {} began",
            state.lineage.primary, state.lineage.epoch
        ));
    }
    newer_version(seen, node, member, &state.lineage)
}

/// Replication stopped with an error while something received is not applied: it never will be.
pub(crate) fn is_stuck(server: &ServerReport) -> bool {
    let failed =
        server.following.as_ref().is_some_and(|following| !following.sql && following.error.is_some());
    failed && !server.is_applied()
}

/// The data was never this cluster's, or was dropped for a copy that failed, and the cluster has some.
pub(crate) fn is_blank(server: &ServerReport, lineage: &Lineage) -> bool {
    server.cluster.is_none() && !lineage.start.is_empty()
}

/// A newer server must not become the source of an older one. The primary that is left is no reason: upgrading ends
/// with it.
fn newer_version(seen: &Seen<'_>, node: &NodeName, member: &Member, lineage: &Lineage) -> Option<String> {
    let flavor = member.server.flavor?;
    let nodes = seen.policy.nodes.iter().filter(|name| *name != node && **name != lineage.primary);
    let older = nodes.filter_map(|name| Some((name, seen.fresh(name)?))).find(|(_, other)| {
        other.tags.promotion > 0
            && other.server.flavor.is_some_and(|theirs| !theirs.can_replicate_from(flavor))
    });
    older.map(|(other, _)| {
        format!("{node} runs a newer server than {other}, which could not replicate from it")
    })
}
