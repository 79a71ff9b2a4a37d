//! What the client was told: acknowledged writes in time, the gaps between them, and who acknowledged them.
//!
//! Pure: times are microseconds since the client started. Whether a write is still there is `check`'s.

use std::collections::BTreeMap;

/// Each writer's ids have its number above this bit.
const WRITER_SHIFT: u32 = 40;

/// One acknowledged write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Unique id of the row.
    pub id: u64,
    /// `server_id` of the server that the session was on.
    pub server: u32,
    /// When the session was opened, in microseconds.
    pub session_us: u64,
    /// When the statement was sent, in microseconds.
    pub sent_us: u64,
    /// When it was acknowledged, in microseconds.
    pub received_us: u64,
}

/// The id of a writer's nth row.
#[must_use]
pub const fn row_id(writer: u32, sequence: u64) -> u64 {
    ((writer as u64) << WRITER_SHIFT) | sequence
}

/// The first id that no row of this writer has.
#[must_use]
pub const fn end_of_writer(id: u64) -> u64 {
    ((id >> WRITER_SHIFT) + 1) << WRITER_SHIFT
}

/// The longest time without an acknowledgement between two moments, in microseconds. `acks` are in order of
/// arrival.
#[must_use]
pub fn longest_gap_us(acks: &[Ack], from_us: u64, to_us: u64) -> u64 {
    let mut longest = 0;
    let mut last = from_us;
    let inside = acks.iter().map(|ack| ack.received_us).filter(|at| (from_us..to_us).contains(at));
    for at in inside.chain([to_us]) {
        longest = longest.max(at.saturating_sub(last));
        last = at;
    }
    longest
}

/// How many writes were acknowledged by a server after another one had taken over: sent after the other's first
/// acknowledgement arrived, and either in a session from before that, or while the other still acknowledged.
///
/// That a server takes writes, loses them and is given them back is no such case.
#[must_use]
pub fn writes_by_replaced(acks: &[Ack]) -> usize {
    let mut tenures: BTreeMap<u32, Tenure> = BTreeMap::new();
    for ack in acks {
        let tenure = tenures
            .entry(ack.server)
            .or_insert(Tenure { first_us: ack.received_us, last_sent_us: ack.sent_us });
        tenure.first_us = tenure.first_us.min(ack.received_us);
        tenure.last_sent_us = tenure.last_sent_us.max(ack.sent_us);
    }
    let is_late = |ack: &&Ack| {
        let own_us = tenures.get(&ack.server).map(|tenure| tenure.first_us).unwrap_or_default();
        tenures
            .values()
            .filter(|other| other.first_us > own_us && ack.sent_us > other.first_us)
            .any(|other| ack.session_us < other.first_us || other.last_sent_us > ack.received_us)
    };
    acks.iter().filter(is_late).count()
}

struct Tenure {
    first_us: u64,
    last_sent_us: u64,
}

/// Splits acknowledgements at moments, in order: before the first, between each two, after the last.
#[must_use]
pub fn split_at<'a>(acks: &'a [Ack], moments_us: &[u64]) -> Vec<&'a [Ack]> {
    let mut spans = Vec::new();
    let mut rest = acks;
    for moment in moments_us {
        let (before, after) = rest.split_at(rest.partition_point(|ack| ack.received_us < *moment));
        spans.push(before);
        rest = after;
    }
    spans.push(rest);
    spans
}

/// The value below which `percent` of the sorted values are, by the nearest-rank method; none of no values.
#[must_use]
pub fn percentile(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(server: u32, sent_us: u64, received_us: u64) -> Ack {
        Ack { id: received_us, server, session_us: 0, sent_us, received_us }
    }

    fn later(session_us: u64, ack: Ack) -> Ack {
        Ack { session_us, ..ack }
    }

    #[test]
    fn the_longest_gap_counts_both_ends() {
        let acks = [ack(1, 9, 10), ack(1, 19, 20), ack(2, 49, 50)];
        let cases =
            [((0, 60), 30), ((20, 50), 30), ((21, 49), 28), ((0, 15), 10), ((51, 90), 39), ((5, 5), 0)];
        for ((from, to), gap) in cases {
            assert_eq!(longest_gap_us(&acks, from, to), gap, "{from} to {to}");
        }
    }

    #[test]
    fn a_takeover_is_clean_and_a_late_write_is_not() {
        // The last write of 1 was on its way when 2 first answered.
        assert_eq!(writes_by_replaced(&[ack(1, 1, 2), ack(2, 3, 10), ack(1, 9, 11), ack(2, 12, 13)]), 0);
        assert_eq!(writes_by_replaced(&[ack(1, 1, 2), ack(2, 3, 10), ack(1, 11, 12), ack(2, 12, 13)]), 1);
        assert_eq!(writes_by_replaced(&[]), 0);
        let three = [ack(1, 1, 2), ack(2, 3, 4), ack(3, 5, 6), ack(2, 7, 8), ack(1, 8, 9)];
        assert_eq!(writes_by_replaced(&three), 2);
    }

    #[test]
    fn a_server_may_be_given_writes_back_but_not_share_them() {
        let back = later(6, ack(1, 7, 8));
        assert_eq!(writes_by_replaced(&[ack(1, 1, 2), ack(2, 3, 4), back]), 0);
        assert_eq!(writes_by_replaced(&[ack(1, 1, 2), ack(2, 3, 4), back, ack(2, 9, 10)]), 1);
    }

    #[test]
    fn spans_hold_every_acknowledgement_once() {
        let acks = [ack(1, 0, 1), ack(1, 0, 5), ack(1, 0, 9)];
        let spans = split_at(&acks, &[5, 6]);
        assert_eq!(spans.iter().map(|span| span.len()).collect::<Vec<_>>(), [1, 1, 1]);
        assert_eq!(split_at(&acks, &[]).len(), 1);
    }

    #[test]
    fn percentiles_are_values_of_the_list() {
        let values: Vec<u64> = (1..=20).collect();
        assert_eq!((percentile(&values, 50), percentile(&values, 99)), (Some(10), Some(20)));
        assert_eq!((percentile(&[7], 50), percentile(&[], 50)), (Some(7), None));
    }

    #[test]
    fn ids_of_writers_do_not_meet() {
        assert_eq!(end_of_writer(row_id(3, 17)), row_id(4, 0));
    }
}
