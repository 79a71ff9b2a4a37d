//! A model of the store: revisioned keys, a consistent read, and a commit on conditions. Always right; whether it
//! can be reached, and when, is the network's affair.

use ha::{Leader, Member, NodeName, Shared, State, Versioned};

/// A condition of a commit.
#[derive(Clone, Debug)]
pub(crate) enum Compare {
    /// The lease is as it was seen at this revision; none when it is absent.
    Leader(Option<u64>),
    /// The same of the state.
    State(Option<u64>),
    /// The same of a report.
    Member(NodeName, u64),
    /// Not paused.
    NotPaused,
}

/// What a claim rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Basis {
    /// Everything acknowledged was examined, or is the claimant's own.
    #[default]
    Proof,
    /// Not so, and what the last primary had reported is there, or as much of it as `available` asks for.
    Bound,
    /// A person decided.
    Operator,
}

/// What a commit writes.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    Leader(Leader),
    State(State),
    Member(NodeName, Box<Member>),
    /// The request is answered.
    EndRequest,
    /// The history of a claim: what is lost by it, and what it rests on.
    Claimed(String, Basis),
}

/// The store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    pub(crate) shared: Shared,
    /// Changes when the content goes back in time, where revisions say nothing.
    pub(crate) generation: u64,
    /// Faults that keep it from answering.
    pub(crate) down: u32,
    /// Faults that slow it.
    pub(crate) slow: u32,
    /// What a later restore brings back.
    pub(crate) saved: Option<Shared>,
}

impl Store {
    fn holds(&self, compare: &Compare) -> bool {
        let shared = &self.shared;
        match compare {
            Compare::Leader(seen) => shared.leader.as_ref().map(|leader| leader.modified) == *seen,
            Compare::State(seen) => shared.state.as_ref().map(|state| state.modified) == *seen,
            Compare::Member(node, seen) => {
                shared.members.get(node).map(|member| member.modified) == Some(*seen)
            }
            Compare::NotPaused => !shared.paused,
        }
    }

    /// Writes everything or nothing. The new revision; none on a conflict.
    pub(crate) fn commit(&mut self, compares: &[Compare], writes: Vec<Write>) -> Option<u64> {
        if !compares.iter().all(|compare| self.holds(compare)) {
            return None;
        }
        let shared = &mut self.shared;
        shared.revision += 1;
        let modified = shared.revision;
        for write in writes {
            match write {
                Write::Leader(value) => shared.leader = Some(Versioned { value, modified }),
                Write::State(value) => shared.state = Some(Versioned { value, modified }),
                Write::Member(node, value) => {
                    shared.members.insert(node, Versioned { value: *value, modified });
                }
                Write::EndRequest => shared.request = None,
                Write::Claimed(..) => {}
            }
        }
        Some(modified)
    }

    /// An operator's change of one key.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Shared, u64)) {
        self.shared.revision += 1;
        let revision = self.shared.revision;
        change(&mut self.shared, revision);
    }

    /// Brings a copy up to date, as a read of everything would.
    pub(crate) fn copy_to(&self, copy: &mut Shared, generation: &mut u64) {
        let shared = &self.shared;
        if *generation != self.generation {
            *generation = self.generation;
            copy.clone_from(shared);
            return;
        }
        copy.revision = shared.revision;
        copy.paused = shared.paused;
        if copy.maintenance != shared.maintenance {
            copy.maintenance.clone_from(&shared.maintenance);
        }
        refresh(&mut copy.leader, shared.leader.as_ref());
        refresh(&mut copy.state, shared.state.as_ref());
        refresh(&mut copy.request, shared.request.as_ref());
        for (name, member) in &shared.members {
            match copy.members.get_mut(name) {
                Some(known) if known.modified == member.modified => {}
                Some(known) => known.clone_from(member),
                None => {
                    copy.members.insert(name.clone(), member.clone());
                }
            }
        }
    }
}

fn refresh<T: Clone>(copy: &mut Option<Versioned<T>>, now: Option<&Versioned<T>>) {
    if copy.as_ref().map(|copy| copy.modified) != now.map(|now| now.modified) {
        *copy = now.cloned();
    }
}
