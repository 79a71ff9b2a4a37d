//! What one node sees in one tick, and what it remembers of earlier ones.

use std::collections::{BTreeMap, BTreeSet};

use flavor::GtidSet;

use crate::decide::is_ours;
use crate::model::{
    Epoch, Health, Incarnation, Leader, Member, Millis, NodeName, ServerReport, Shared, Tags,
};
use crate::policy::Policy;

/// What one node sees: complete for deciding, nothing else is looked at.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// This node.
    pub me: &'a NodeName,
    /// Its monotonic clock.
    pub now: Millis,
    /// Its wall clock as Unix seconds. Only failovers an hour are counted with it.
    pub wall_seconds: u64,
    /// The store; none while it cannot be reached.
    pub shared: Option<&'a Shared>,
    /// This node itself.
    pub local: &'a Local,
}

/// A node as it sees itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// A host without a database.
    pub witness: bool,
    /// Its server.
    pub server: ServerReport,
    /// The lease it holds by its own clock; none when it ended.
    pub lease: Option<Held>,
    /// The promise it has published: see [`Member::frozen`].
    pub frozen: Option<Epoch>,
    /// It agreed that the primary goes on without the store: no part in an election until then.
    pub promised_until: Option<Millis>,
    /// Nodes that cannot take changes from here.
    pub blocked: BTreeSet<NodeName>,
    /// How long commits have been waiting for acknowledgements without any coming.
    pub stalled_for: Millis,
    /// How long the server, which runs, has not answered.
    pub unanswered_for: Millis,
    /// How long a small write to the data directory's disk has been under way.
    pub disk_stalled_for: Millis,
    /// What the operator allows.
    pub tags: Tags,
    /// Long work under way.
    pub work: Option<String>,
    /// The highest epoch ever heard of. Where this node itself is the lineage's primary, that is not learned from the
    /// store: a disk that does not know of the epoch is not the one that led in it.
    pub epoch: Epoch,
    /// The highest [`State::version`](crate::State::version) ever read, kept on disk. Learned as the epoch is.
    pub version: u64,
    /// The last epoch in which it opened writes.
    pub opened: Option<Epoch>,
    /// An identity for a cluster, should one be founded.
    pub fresh_cluster: String,
    /// Why the last tries to start or reseed failed; none after a success.
    pub trouble: Option<String>,
}

/// A lease held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its epoch.
    pub epoch: Epoch,
    /// When the right to write ends, by the node's own clock.
    pub until: Millis,
    /// It was last prolonged by the agreement of all nodes, not by the store.
    pub failsafe: bool,
}

/// When a revision of a key was first seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sighting {
    modified: u64,
    at: Millis,
}

/// Reads of the store, one soon after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Contact {
    since: Millis,
    last: Millis,
    revision: u64,
}

/// A position of the primary that an acker has to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) incarnation: Incarnation,
    /// None in the tick that asks for it: the server was looked at before the store answered, and may have gone on
    /// until what the store tells happened.
    position: Option<GtidSet>,
}

impl Mark {
    /// A position that is known at once.
    pub(crate) fn at(position: GtidSet) -> Self {
        Self { incarnation: 0, position: Some(position) }
    }

    /// What has to be reached for a node in this incarnation: the position of the first look after it was asked for.
    pub(crate) fn reach(
        marks: &mut BTreeMap<NodeName, Self>,
        node: &NodeName,
        incarnation: Incarnation,
        position: &GtidSet,
    ) -> Option<GtidSet> {
        match marks.get_mut(node) {
            Some(mark) if mark.incarnation == incarnation => {
                Some(mark.position.get_or_insert_with(|| position.clone()).clone())
            }
            Some(_) | None => {
                marks.insert(node.clone(), Self { incarnation, position: None });
                None
            }
        }
    }

    /// It is reached.
    pub(crate) fn is_in(&self, position: &GtidSet) -> bool {
        self.position.as_ref().is_some_and(|mark| position.contains(mark))
    }
}

/// What a node remembers between ticks. Lost when its agent ends, which costs time and never safety.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    leader: Option<Sighting>,
    /// Since when the store has been read without a gap and without its going back in time, and the last read.
    contact: Option<Contact>,
    members: BTreeMap<NodeName, Sighting>,
    /// Marks that joining ackers have to reach.
    pub(crate) joining: BTreeMap<NodeName, Mark>,
    /// Marks that the others have to reach before an acker is struck off.
    pub(crate) leaving: BTreeMap<NodeName, Mark>,
    /// Since when nobody leads.
    pub(crate) leaderless_since: Option<Millis>,
    /// Since when replication is broken here.
    pub(crate) broken_since: Option<Millis>,
    /// Since when this node holds transactions that the primary seems to lack.
    pub(crate) errant_since: Option<Millis>,
    /// The run of the server in which replication was stopped and not started again.
    pub(crate) stopped_in: Option<Incarnation>,
    /// When replication that does not run, without an error, was last started.
    pub(crate) started_at: Option<Millis>,
    /// The epoch whose primary this node was told to follow before it opened writes, and when.
    pub(crate) early: Option<(Epoch, Millis)>,
    /// The epoch in which this node was last told to take a copy of the primary, with its incarnation then. Telling
    /// it makes a new one, and beginning on the copy another.
    pub(crate) copied: Option<(Epoch, Incarnation)>,
    /// Since when a handover waits for its target.
    pub(crate) handover_since: Option<Millis>,
    /// Since when commits wait although the ackers are well.
    cut_off_since: Option<Millis>,
    /// Since when the store knows less than the nodes.
    pub(crate) outdated_since: Option<Millis>,
}

impl Memory {
    /// Takes in the store's newest revisions.
    pub(crate) fn note(&mut self, view: &View<'_>, policy: &Policy) {
        let Some(shared) = view.shared else { return };
        let now = view.now;
        // A gap of up to a lease, such as an election in etcd, does not begin the reads anew. Putting back an old copy
        // stops the store for longer: it would not be noticed where the revision overtakes what was read before.
        let goes_on = self.contact.filter(|contact| {
            shared.revision >= contact.revision && now.saturating_sub(contact.last) <= policy.ttl
        });
        let since = goes_on.map_or(now, |contact| contact.since);
        self.contact = Some(Contact { since, last: now, revision: shared.revision });
        let keep = |seen: Option<&Sighting>, modified: u64| match seen {
            Some(seen) if seen.modified == modified => *seen,
            Some(_) | None => Sighting { modified, at: now },
        };
        self.leader = shared.leader.as_ref().map(|leader| keep(self.leader.as_ref(), leader.modified));
        let members = shared.members.iter();
        self.members = members
            .map(|(name, member)| (name.clone(), keep(self.members.get(name), member.modified)))
            .collect();
    }

    /// Takes in whether the ackers hear this primary.
    pub(crate) fn note_cut_off(&mut self, is_cut_off: bool, now: Millis) {
        self.cut_off_since = if is_cut_off { self.cut_off_since.or(Some(now)) } else { None };
    }

    /// How long no acker has heard this primary.
    pub(crate) fn cut_off_for(&self, now: Millis) -> Millis {
        self.cut_off_since.map_or(0, |since| now.saturating_sub(since))
    }

    /// How long nobody has led.
    pub(crate) fn leaderless_for(&self, now: Millis) -> Millis {
        self.leaderless_since.map_or(0, |since| now.saturating_sub(since))
    }

    /// How long the store has been read. A store that was put back to an earlier time is seen as such only by who read
    /// it before and after; a lease from before has run out when it has been read for the length of one.
    pub(crate) fn contact_for(&self, now: Millis) -> Millis {
        self.contact.map_or(0, |contact| now.saturating_sub(contact.since))
    }

    /// How long the lease has been as it is.
    pub(crate) fn leader_age(&self, now: Millis) -> Millis {
        self.leader.map_or(0, |seen| now.saturating_sub(seen.at))
    }

    /// How long a report has been as it is; none when there is none.
    pub(crate) fn member_age(&self, node: &NodeName, now: Millis) -> Option<Millis> {
        self.members.get(node).map(|seen| now.saturating_sub(seen.at))
    }
}

/// The lease as one node judges it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lease<'a> {
    /// It is this node's, and this node knows it holds it.
    Mine(&'a Leader),
    /// It names this node, which does not hold it: it was lost, or the agent began anew.
    MineLost(&'a Leader),
    /// Another node's, and it may be valid.
    Theirs(&'a Leader),
    /// Nobody's: given up, run out, or never taken.
    Nobody(Option<&'a Leader>),
}

/// The store with the judgement of one node on it.
pub(crate) struct Seen<'a> {
    pub(crate) view: View<'a>,
    pub(crate) shared: &'a Shared,
    pub(crate) policy: &'a Policy,
    pub(crate) memory: &'a mut Memory,
}

impl<'a> Seen<'a> {
    pub(crate) fn lease(&self) -> Lease<'a> {
        let Some(leader) = &self.shared.leader else { return Lease::Nobody(None) };
        let record = &leader.value;
        if record.released.is_some() {
            return Lease::Nobody(Some(record));
        }
        if record.node == *self.view.me {
            let held = self
                .view
                .local
                .lease
                .is_some_and(|held| held.epoch == record.epoch && held.until > self.view.now);
            return if held { Lease::Mine(record) } else { Lease::MineLost(record) };
        }
        if self.memory.leader_age(self.view.now) >= self.policy.ttl {
            return Lease::Nobody(Some(record));
        }
        Lease::Theirs(record)
    }

    /// A node's report, if it is young enough to speak for the node.
    pub(crate) fn fresh(&self, node: &NodeName) -> Option<&'a Member> {
        let age = self.memory.member_age(node, self.view.now)?;
        if age >= self.policy.ttl {
            return None;
        }
        self.shared.members.get(node).map(|member| &member.value)
    }

    /// Fresh reports of the other nodes that have a database.
    pub(crate) fn others(&self) -> impl Iterator<Item = (&'a NodeName, &'a Member)> + '_ {
        let shared = self.shared;
        shared.members.keys().filter_map(move |name| {
            let member = self.fresh(name)?;
            (name != self.view.me && self.policy.nodes.contains(name)).then_some((name, member))
        })
    }

    /// The highest version of the state that is there or that any node of the cluster says it has read.
    pub(crate) fn newest_version(&self) -> u64 {
        let state = self.shared.state.as_ref().map(|state| &state.value);
        let members = self.shared.members.values().map(|member| &member.value);
        let ours = members.filter(|member| state.is_none_or(|state| is_ours(member, &state.cluster)));
        let stored = state.map_or(0, |state| state.version);
        ours.map(|member| member.version).max().unwrap_or(0).max(self.view.local.version).max(stored)
    }

    pub(crate) fn server(&self) -> &'a ServerReport {
        &self.view.local.server
    }

    pub(crate) fn runs(&self) -> bool {
        self.server().health == Health::Running
    }

    pub(crate) fn in_maintenance(&self, node: &NodeName) -> bool {
        self.shared.maintenance.contains(node)
    }
}
