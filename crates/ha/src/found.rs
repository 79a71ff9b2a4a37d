//! A cluster that the store does not know: a new one, or one whose store was wiped or restored from an old copy.
//!
//! Nothing is founded on part of the evidence: every node of the spec has to report, and one of them has to hold
//! everything that any of them holds.

use std::collections::BTreeMap;

use crate::action::{Action, Claim, Decision, StartRole};
use crate::decide::is_stuck;
use crate::model::{Health, Lineage, Member, NodeName, State, Sync};
use crate::view::Seen;

pub(crate) fn found(seen: &mut Seen<'_>, old: Option<(u64, &State)>) -> Decision {
    let what = if old.is_some() { "the store is an old copy" } else { "the store knows no cluster" };
    if seen.shared.paused {
        return Decision::rest(format!("{what}; paused, so none is founded"));
    }
    // A lease from before may still be valid, and reports that came with an old copy look new at first.
    let since = *seen.memory.outdated_since.get_or_insert(seen.view.now);
    let waited = seen.view.now.saturating_sub(since).min(seen.memory.contact_for(seen.view.now));
    if seen.server().health == Health::Down && seen.view.local.work.is_none() {
        return Decision::act(
            format!("{what}; starting the server to see what it holds"),
            Action::Start(StartRole::Keep),
        );
    }
    if waited < seen.policy.ttl {
        let left = seen.policy.ttl - waited;
        return Decision::rest(format!(
            "{what}; waiting for any lease from before to run out, {left} ms more"
        ));
    }
    let mut reports: BTreeMap<&NodeName, &Member> = BTreeMap::new();
    let mut vetoes = Vec::new();
    for name in &seen.policy.nodes {
        match seen.fresh(name) {
            Some(member) if member.server.health == Health::Running => {
                reports.insert(name, member);
            }
            Some(_) => vetoes.push(format!("the server of {name} does not answer yet")),
            None => vetoes.push(format!("{name} does not report")),
        }
    }
    if !vetoes.is_empty() {
        return Decision::rest(format!("{what}; waiting for every node")).with_vetoes(vetoes);
    }
    let mut identities: Vec<&String> =
        reports.values().filter_map(|member| member.server.cluster.as_ref()).collect();
    identities.sort_unstable();
    identities.dedup();
    if identities.len() > 1 {
        let vetoes = vec![format!("the nodes have data of different clusters: {identities:?}")];
        return Decision::rest(format!("{what}; refusing to choose")).with_vetoes(vetoes);
    }
    let Some(best) = founder(&reports) else {
        return Decision::rest(format!("{what}; refusing to choose")).with_vetoes(differences(&reports));
    };
    if best != seen.view.me {
        return Decision::rest(format!("{what}; {best} founds it"));
    }
    let identity =
        identities.first().map_or_else(|| seen.view.local.fresh_cluster.clone(), |id| (*id).clone());
    let claim = claim(seen, old, &reports, identity);
    let sentence = format!("{what}; founding {} in epoch {}", claim.state.cluster, claim.epoch);
    Decision::act(sentence, Action::Claim(claim))
}

/// The node that wrote last, if any did; else the preferred one. It must hold what every other holds.
fn founder<'a>(reports: &BTreeMap<&'a NodeName, &Member>) -> Option<&'a NodeName> {
    let holds_all = |candidate: &Member| {
        reports.values().all(|other| candidate.server.position.contains(&other.server.position))
    };
    let last_opened = reports.values().filter_map(|member| member.opened).max();
    let mut able: Vec<_> = reports
        .iter()
        .filter(|(_, member)| member.opened == last_opened && member.tags.promotion > 0)
        .filter(|(_, member)| member.tags.delay_seconds == 0 && holds_all(member))
        .filter(|(_, member)| !is_stuck(&member.server))
        .collect();
    able.sort_by_key(|(name, member)| (u32::MAX - member.tags.promotion, **name));
    able.first().map(|(name, _)| **name)
}

fn differences(reports: &BTreeMap<&NodeName, &Member>) -> Vec<String> {
    let mut vetoes = vec!["no node that may be promoted, and that wrote last, holds everything".to_owned()];
    for (name, member) in reports {
        if is_stuck(&member.server) {
            vetoes.push(format!("{name} cannot apply what it received"));
        }
        let others = reports.iter().filter(|(other, _)| other != &name);
        let mut rest = flavor::GtidSet::default();
        for (_, other) in others {
            rest.extend(&other.server.position);
        }
        let only_here = member.server.position.subtract(&rest);
        if !only_here.is_empty() {
            vetoes.push(format!("only {name} holds {only_here}"));
        }
    }
    vetoes
}

fn claim(
    seen: &Seen<'_>,
    old: Option<(u64, &State)>,
    reports: &BTreeMap<&NodeName, &Member>,
    cluster: String,
) -> Claim {
    let newest = reports.values().map(|member| member.epoch).max().unwrap_or(0);
    let stored = old.map_or(0, |(_, state)| state.epoch);
    let epoch = newest.max(stored).max(seen.view.local.epoch) + 1;
    // As if handed over: whoever holds this holds everything, since every node was heard.
    let lineage = Lineage {
        epoch: epoch - 1,
        primary: seen.view.me.clone(),
        sync: Sync { ackers: BTreeMap::new(), need: seen.policy.need, asynchronous: false },
        start: seen.server().position.clone(),
        handover: Some(seen.server().position.clone()),
    };
    Claim {
        epoch,
        replaces: seen.shared.leader.as_ref().map(|leader| leader.modified),
        state: State { cluster, epoch, version: 0, lineage, failovers: Vec::new() },
        state_seen: old.map(|(modified, _)| modified),
        examined: reports
            .keys()
            .filter_map(|name| Some(((*name).clone(), seen.shared.members.get(name)?.modified)))
            .collect(),
        lost: String::new(),
        reason: "the cluster is founded".to_owned(),
        ready: false,
    }
}
