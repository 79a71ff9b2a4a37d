//! Timelines: how many events there were, and how much time they took, in slots of equal length. When there would be
//! too many slots, they become twice as long, so memory does not grow with the log.

use std::collections::BTreeMap;

use crate::amount::Amount;

/// Slots of a timeline.
pub const SLOTS_MAX: usize = 720;

/// What happened in each slot of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// 2 to the power of this, times the shortest slot.
    doublings: u32,
    shortest_seconds: i64,
    slots: BTreeMap<i64, Slot>,
}

/// What happened in a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// How many events were logged.
    pub events: u64,
    /// Their time.
    pub query_time: Amount,
    /// The longest of these times.
    pub longest: Amount,
}

impl Timeline {
    /// An empty timeline whose slots are at least so long.
    #[must_use]
    pub fn new(shortest_seconds: u32) -> Self {
        Self { doublings: 0, shortest_seconds: i64::from(shortest_seconds.max(1)), slots: BTreeMap::new() }
    }

    /// How long a slot is.
    #[must_use]
    pub const fn slot_seconds(&self) -> i64 {
        self.shortest_seconds << self.doublings
    }

    /// Counts an event.
    pub fn add(&mut self, seconds: i64, query_time: Amount) {
        self.add_slot(seconds, Slot { events: 1, query_time, longest: query_time });
    }

    fn add_slot(&mut self, seconds: i64, slot: Slot) {
        let at = seconds.div_euclid(self.slot_seconds());
        self.slots.entry(at).or_default().merge(&slot);
        while self.is_too_long() {
            self.double();
        }
    }

    fn is_too_long(&self) -> bool {
        match (self.slots.first_key_value(), self.slots.last_key_value()) {
            (Some((first, _)), Some((last, _))) => last.abs_diff(*first) >= SLOTS_MAX as u64,
            (None, _) | (_, None) => false,
        }
    }

    fn double(&mut self) {
        self.doublings += 1;
        for (at, slot) in std::mem::take(&mut self.slots) {
            self.slots.entry(at.div_euclid(2)).or_default().merge(&slot);
        }
    }

    /// Adds what another, with slots of the same shortest length, counted.
    pub fn merge(&mut self, other: &Self) {
        while self.doublings < other.doublings {
            self.double();
        }
        for (at, slot) in &other.slots {
            self.add_slot(at * other.slot_seconds(), *slot);
        }
    }

    /// The slots from the first to the last, those without events too: when each begins, and what happened in it.
    pub fn slots(&self) -> impl Iterator<Item = (i64, Slot)> {
        let first = self.slots.first_key_value().map_or(0, |(at, _)| *at);
        let end = self.slots.last_key_value().map_or(first, |(at, _)| at + 1);
        let length = self.slot_seconds();
        (first..end).map(move |at| (at * length, self.slots.get(&at).copied().unwrap_or_default()))
    }
}

impl Slot {
    fn merge(&mut self, other: &Self) {
        self.events += other.events;
        self.query_time += other.query_time;
        self.longest = self.longest.max(other.longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slots_grow_and_lose_nothing() {
        let mut timeline = Timeline::new(1);
        for second in 0..10_000 {
            timeline.add(second, Amount::whole(2));
        }
        assert_eq!(timeline.slot_seconds(), 16);
        let slots: Vec<_> = timeline.slots().collect();
        assert_eq!(slots.len(), 625);
        assert_eq!(
            slots[1],
            (16, Slot { events: 16, query_time: Amount::whole(32), longest: Amount::whole(2) })
        );
        // A clock that jumps by centuries.
        timeline.add(i64::from(u32::MAX) * 100, Amount::ZERO);
        assert!(timeline.slots().count() <= SLOTS_MAX);
        assert_eq!(timeline.slots().map(|(_, slot)| slot.events).sum::<u64>(), 10_001);
    }

    proptest! {
        #[test]
        fn order_and_parts_do_not_matter(seconds: Vec<u32>, cut: prop::sample::Index) {
            let fill = |seconds: &[u32]| {
                let mut timeline = Timeline::new(1);
                seconds.iter().for_each(|second| timeline.add(i64::from(*second), Amount::whole(1)));
                timeline
            };
            let whole = fill(&seconds);
            let at = if seconds.is_empty() { 0 } else { cut.index(seconds.len()) };
            let mut parts = fill(&seconds[at..]);
            parts.merge(&fill(&seconds[..at]));
            prop_assert_eq!(parts, whole);
        }
    }
}
