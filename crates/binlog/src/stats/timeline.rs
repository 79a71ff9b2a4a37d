//! Changes over time, in steps that widen when a log is long: memory stays the same for a minute and for a year.

use std::collections::BTreeMap;

use serde::Serialize;

/// Steps kept before they are widened.
const STEPS_MAX: usize = 4000;

/// Changes over time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Timeline {
    /// How wide a step is, in seconds.
    pub step_seconds: u32,
    /// Whether it was widened beyond what was asked for.
    pub is_widened: bool,
    /// Steps in which something committed, in order.
    pub steps: Vec<Bucket>,
}

/// One step of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// Where it begins, in seconds since 1970.
    pub seconds: u32,
    /// Transactions that committed.
    pub transactions: u64,
    /// Rows they changed.
    pub rows: u64,
    /// Bytes of their rows.
    pub bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Clock {
    asked_seconds: u32,
    step_seconds: u32,
    steps: BTreeMap<u32, Bucket>,
    /// The step in use, which is nearly always the last one.
    current: Bucket,
}

impl Clock {
    pub(crate) fn new(step_seconds: u32) -> Self {
        let step_seconds = step_seconds.max(1);
        Self { asked_seconds: step_seconds, step_seconds, steps: BTreeMap::new(), current: Bucket::default() }
    }

    #[inline]
    pub(crate) fn add(&mut self, seconds: u32, rows: u64, bytes: u64) {
        let begin = seconds - seconds % self.step_seconds;
        if begin != self.current.seconds {
            self.put_away();
            self.current.seconds = seconds - seconds % self.step_seconds;
        }
        self.current.transactions += 1;
        self.current.rows += rows;
        self.current.bytes += bytes;
    }

    fn put_away(&mut self) {
        let current = std::mem::take(&mut self.current);
        if current.transactions > 0 {
            self.steps.entry(current.seconds).or_default().absorb(&current);
        }
        while self.steps.len() > STEPS_MAX {
            self.widen(self.step_seconds.saturating_mul(2));
        }
    }

    fn widen(&mut self, step_seconds: u32) {
        self.step_seconds = step_seconds;
        for bucket in std::mem::take(&mut self.steps).into_values() {
            self.put(bucket);
        }
    }

    fn put(&mut self, bucket: Bucket) {
        let begin = bucket.seconds - bucket.seconds % self.step_seconds;
        self.steps.entry(begin).or_default().absorb(&Bucket { seconds: begin, ..bucket });
    }

    /// Takes over the changes of other transactions, in steps that began with the same width. The width comes out
    /// as if they had been added one by one: the least that is narrow enough for all.
    pub(crate) fn absorb(&mut self, mut other: Self) {
        self.put_away();
        other.put_away();
        if other.step_seconds > self.step_seconds {
            self.widen(other.step_seconds);
        }
        for bucket in other.steps.into_values() {
            self.put(bucket);
        }
        self.put_away();
    }

    pub(crate) fn report(mut self) -> Timeline {
        self.put_away();
        Timeline {
            step_seconds: self.step_seconds,
            is_widened: self.step_seconds != self.asked_seconds,
            steps: self.steps.into_values().collect(),
        }
    }
}

impl Bucket {
    const fn absorb(&mut self, other: &Self) {
        self.seconds = other.seconds;
        self.transactions += other.transactions;
        self.rows += other.rows;
        self.bytes += other.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_widen_and_lose_nothing() {
        let mut clock = Clock::new(1);
        let count = u32::try_from(STEPS_MAX).unwrap() * 3;
        for second in (0..count).rev() {
            clock.add(second, 2, 3);
        }
        let timeline = clock.report();
        assert!(timeline.is_widened && timeline.steps.len() <= STEPS_MAX);
        assert_eq!(timeline.step_seconds, 4);
        assert_eq!(timeline.steps.iter().map(|step| step.rows).sum::<u64>(), 2 * u64::from(count));
        assert!(timeline.steps.iter().all(|step| step.seconds % 4 == 0));
        assert!(timeline.steps.is_sorted_by_key(|step| step.seconds));
    }
}
