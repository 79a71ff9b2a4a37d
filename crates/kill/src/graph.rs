//! Who waits for whom, directly and through others: how many a session holds up, and who is at the root.
//!
//! A graph of sessions with an edge from each waiter to each one in its way. Cycles that no server resolves, since they
//! go through locks of two kinds, are one knot with one root.

use std::collections::{BTreeMap, BTreeSet};

use facts::{Seen, Sessions};

use crate::metadata;
use crate::protect::is_idle;
use crate::rule::Locks;

/// Who waits for whom at one moment.
#[derive(Clone, Debug, Default)]
pub struct WaitGraph {
    places: BTreeMap<u64, usize>,
    nodes: Vec<Node>,
    knots: Vec<Knot>,
}

#[derive(Clone, Debug)]
struct Node {
    session: u64,
    /// How long it has been waiting; none while it waits for nobody.
    waiting_ms: Option<u64>,
    age_ms: u64,
    ahead: BTreeSet<usize>,
    knot: usize,
}

/// Sessions that all wait for one another; nearly always a single one.
#[derive(Clone, Debug, Default)]
struct Knot {
    members: Vec<usize>,
    /// Nodes that wait for it, also through others, as bits; itself only where it has several members.
    behind: Vec<u64>,
    /// Nodes that it waits for in the end.
    roots: BTreeSet<usize>,
}

impl WaitGraph {
    /// Nobody waits.
    #[must_use]
    pub const fn empty() -> Self {
        Self { places: BTreeMap::new(), nodes: Vec::new(), knots: Vec::new() }
    }

    /// From a look at a server, by locks of one kind or both.
    #[must_use]
    pub fn new(seen: &Sessions, locks: Locks) -> Self {
        let mut graph = Self::default();
        // InnoDB tells what it knew a moment ago: who runs nothing waits no more.
        let idle: BTreeSet<u64> =
            seen.sessions.iter().filter(|session| is_idle(session)).map(|session| session.id).collect();
        let ages: BTreeMap<u64, (u64, u64, Option<u64>)> = seen
            .sessions
            .iter()
            .map(|session| {
                let transaction = session.transaction.as_ref();
                let age_ms = transaction.map_or(0, |transaction| transaction.age_ms);
                let waiting_ms = transaction.and_then(|transaction| transaction.waiting_ms);
                (session.id, (age_ms, session.time_ms, waiting_ms))
            })
            .collect();
        if locks != Locks::Metadata {
            for wait in
                seen.row_waits.known().into_iter().flatten().filter(|wait| !idle.contains(&wait.waiter))
            {
                let (_, time_ms, waiting_ms) = ages.get(&wait.waiter).copied().unwrap_or_default();
                // InnoDB counts in whole seconds: nobody has waited longer than its statement has run.
                graph.edge(wait.waiter, wait.holder, waiting_ms.map_or(time_ms, |ms| ms.min(time_ms)));
            }
        }
        if locks != Locks::Rows {
            for (waiter, holder) in metadata::edges(seen) {
                // Servers do not say since when: a statement has waited no longer than it has run.
                let (_, time_ms, _) = ages.get(&waiter).copied().unwrap_or_default();
                graph.edge(waiter, holder, time_ms);
            }
        }
        for session in seen.sessions.iter().filter(|session| !is_idle(session)) {
            let waits_for_row = !matches!(seen.row_waits, Seen::Known(_))
                && session.transaction.as_ref().is_some_and(|transaction| transaction.waiting_ms.is_some());
            if (locks != Locks::Metadata && waits_for_row)
                || (locks != Locks::Rows && metadata::is_waiting(session))
            {
                graph.wait(session.id, session.time_ms);
            }
        }
        for node in &mut graph.nodes {
            node.age_ms = ages.get(&node.session).map_or(0, |(age_ms, _, _)| *age_ms);
        }
        graph.tie();
        graph.count();
        graph
    }

    fn edge(&mut self, waiter: u64, holder: u64, waiting_ms: u64) {
        if waiter == holder {
            return;
        }
        let (from, to) = (self.place(waiter), self.place(holder));
        if let Some(node) = self.nodes.get_mut(from) {
            node.ahead.insert(to);
            node.waiting_ms = Some(node.waiting_ms.unwrap_or(0).max(waiting_ms));
        }
    }

    /// Somebody waits, whether or not it is known for whom.
    fn wait(&mut self, waiter: u64, waiting_ms: u64) {
        let place = self.place(waiter);
        if let Some(node) = self.nodes.get_mut(place) {
            node.waiting_ms = node.waiting_ms.or(Some(waiting_ms));
        }
    }

    fn place(&mut self, session: u64) -> usize {
        if let Some(place) = self.places.get(&session) {
            return *place;
        }
        let place = self.nodes.len();
        self.places.insert(session, place);
        self.nodes.push(Node { session, waiting_ms: None, age_ms: 0, ahead: BTreeSet::new(), knot: 0 });
        place
    }

    /// Finds the knots, those that wait for nobody first (Tarjan's algorithm, with a stack of its own: a chain of
    /// waiters may be longer than a thread's).
    fn tie(&mut self) {
        let count = self.nodes.len();
        let mut walk = Walk { order: vec![None; count], low: vec![0; count], ..Walk::default() };
        for start in 0..count {
            walk.search(start, &mut self.nodes, &mut self.knots);
        }
    }

    fn count(&mut self) {
        let words = self.nodes.len().div_ceil(64);
        for knot in &mut self.knots {
            knot.behind = vec![0; words];
            if knot.members.len() > 1 {
                set(&mut knot.behind, &knot.members);
            }
        }
        // From the last waiters on, each hands everybody behind it to those ahead.
        for at in (0..self.knots.len()).rev() {
            let ahead = self.ahead(at);
            let Some(knot) = self.knots.get(at) else { continue };
            let (mut bits, members) = (knot.behind.clone(), knot.members.clone());
            set(&mut bits, &members);
            for next in ahead {
                if let Some(knot) = self.knots.get_mut(next) {
                    knot.behind.iter_mut().zip(&bits).for_each(|(to, from)| *to |= from);
                }
            }
        }
        for at in 0..self.knots.len() {
            let roots: BTreeSet<usize> = self
                .ahead(at)
                .into_iter()
                .filter_map(|next| self.knots.get(next))
                .flat_map(|knot| knot.roots.clone())
                .collect();
            let root = self.root_of(at);
            if let Some(knot) = self.knots.get_mut(at) {
                knot.roots = if roots.is_empty() { root.into_iter().collect() } else { roots };
            }
        }
    }

    /// Of sessions that wait for one another, ending the one with the youngest transaction costs least.
    fn root_of(&self, knot: usize) -> Option<usize> {
        let members = self.knots.get(knot)?.members.iter().copied();
        members.min_by_key(|place| {
            self.nodes.get(*place).map_or((u64::MAX, 0), |node| (node.age_ms, u64::MAX - node.session))
        })
    }

    /// Knots that a knot waits for.
    fn ahead(&self, knot: usize) -> BTreeSet<usize> {
        let members = self.knots.get(knot).into_iter().flat_map(|knot| &knot.members);
        let nodes = members.filter_map(|place| self.nodes.get(*place)).flat_map(|node| &node.ahead);
        nodes
            .filter_map(|place| self.nodes.get(*place))
            .map(|node| node.knot)
            .filter(|next| *next != knot)
            .collect()
    }

    fn node(&self, session: u64) -> Option<&Node> {
        self.nodes.get(*self.places.get(&session)?)
    }

    fn knot(&self, session: u64) -> Option<&Knot> {
        self.knots.get(self.node(session)?.knot)
    }

    /// How long a session has been waiting, in milliseconds; none if it waits for nobody.
    #[must_use]
    pub fn waiting_ms(&self, session: u64) -> Option<u64> {
        self.node(session)?.waiting_ms
    }

    /// How many sessions wait for this one, directly or through others, and how long the longest of them has, in
    /// milliseconds.
    #[must_use]
    pub fn blocked(&self, session: u64) -> (u64, u64) {
        let Some(knot) = self.knot(session) else { return (0, 0) };
        let behind = self.nodes.iter().enumerate().filter(|(place, node)| {
            node.session != session
                && knot.behind.get(place / 64).is_some_and(|word| (word >> (place % 64)) & 1 == 1)
        });
        behind.fold((0, 0), |(count, longest), (_, node)| {
            (count + 1, longest.max(node.waiting_ms.unwrap_or(0)))
        })
    }

    /// The sessions that everything a session waits for comes down to; itself if it waits for nobody and others wait
    /// for it. 0 stands for a prepared transaction without a session.
    #[must_use]
    pub fn roots(&self, session: u64) -> BTreeSet<u64> {
        let roots = self.knot(session).into_iter().flat_map(|knot| &knot.roots);
        roots.filter_map(|place| self.nodes.get(*place)).map(|node| node.session).collect()
    }

    /// Whether a session waits, and it is not known for whom.
    #[must_use]
    pub fn is_in_the_dark(&self, session: u64) -> bool {
        self.node(session).is_some_and(|node| node.waiting_ms.is_some() && node.ahead.is_empty())
    }

    /// Sessions that wait.
    #[must_use]
    pub fn waiters(&self) -> usize {
        self.nodes.iter().filter(|node| node.waiting_ms.is_some()).count()
    }
}

fn set(bits: &mut [u64], places: &[usize]) {
    for place in places {
        if let Some(word) = bits.get_mut(place / 64) {
            *word |= 1 << (place % 64);
        }
    }
}

/// The state of the search for knots.
#[derive(Default)]
struct Walk {
    order: Vec<Option<usize>>,
    low: Vec<usize>,
    open: Vec<usize>,
    is_open: BTreeSet<usize>,
    next: usize,
}

impl Walk {
    fn search(&mut self, start: usize, nodes: &mut [Node], knots: &mut Vec<Knot>) {
        if self.is_seen(start) {
            return;
        }
        let mut calls = vec![self.enter(start, nodes)];
        while let Some((place, rest)) = calls.last_mut() {
            let place = *place;
            if let Some(next) = rest.pop() {
                if !self.is_seen(next) {
                    let call = self.enter(next, nodes);
                    calls.push(call);
                } else if self.is_open.contains(&next) {
                    let order = self.order.get(next).copied().flatten().unwrap_or(usize::MAX);
                    self.lower(place, order);
                }
                continue;
            }
            calls.pop();
            let low = self.low.get(place).copied().unwrap_or(0);
            if let Some((caller, _)) = calls.last() {
                self.lower(*caller, low);
            }
            if self.order.get(place).copied().flatten() == Some(low) {
                self.close(place, nodes, knots);
            }
        }
    }

    fn is_seen(&self, place: usize) -> bool {
        self.order.get(place).copied().flatten().is_some()
    }

    fn enter(&mut self, place: usize, nodes: &[Node]) -> (usize, Vec<usize>) {
        if let (Some(order), Some(low)) = (self.order.get_mut(place), self.low.get_mut(place)) {
            *order = Some(self.next);
            *low = self.next;
        }
        self.next += 1;
        self.open.push(place);
        self.is_open.insert(place);
        (place, nodes.get(place).map(|node| node.ahead.iter().copied().collect()).unwrap_or_default())
    }

    fn lower(&mut self, place: usize, to: usize) {
        if let Some(low) = self.low.get_mut(place) {
            *low = (*low).min(to);
        }
    }

    fn close(&mut self, root: usize, nodes: &mut [Node], knots: &mut Vec<Knot>) {
        let mut knot = Knot::default();
        while let Some(place) = self.open.pop() {
            self.is_open.remove(&place);
            if let Some(node) = nodes.get_mut(place) {
                node.knot = knots.len();
            }
            knot.members.push(place);
            if place == root {
                break;
            }
        }
        knots.push(knot);
    }
}
