//! A log beyond 4 GiB, where the positions in events wrap: made while it is read, never held.

use std::io::{Cursor, Read, Result};
use std::ops::ControlFlow;

use binlog::{DamageReason, EventKind, OnDamage, ReadOptions, Tables, walk};

use crate::made::Made;

/// Bytes of the large events, which are IGNORABLE.
const EVENT_BYTES: u32 = 8 << 20;
/// So many of them end beyond 4 GiB.
const EVENTS: u64 = 513;

/// A log's beginning, large events, and an end that is not an event followed by one.
struct Large {
    small: Cursor<Vec<u8>>,
    events_left: u64,
    zeros_left: u64,
    offset: u64,
    has_ended: bool,
}

fn header(kind: u8, event_bytes: u32, end: u64) -> Vec<u8> {
    let mut header = vec![1, 0, 0, 0, kind, 7, 0, 0, 0];
    header.extend(event_bytes.to_le_bytes());
    // The lower half, as servers write it.
    header.extend(&end.to_le_bytes()[..4]);
    header.extend([0, 0]);
    header
}

impl Read for Large {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            let count = self.small.read(buffer)?;
            if count > 0 {
                self.offset += u64::try_from(count).unwrap();
                return Ok(count);
            }
            if self.zeros_left > 0 {
                let count = buffer.len().min(usize::try_from(self.zeros_left).unwrap());
                buffer[..count].fill(0);
                self.zeros_left -= u64::try_from(count).unwrap();
                self.offset += u64::try_from(count).unwrap();
                return Ok(count);
            }
            if self.events_left > 0 {
                self.events_left -= 1;
                self.small = Cursor::new(header(28, EVENT_BYTES, self.offset + u64::from(EVENT_BYTES)));
                self.zeros_left = u64::from(EVENT_BYTES) - 19;
            } else if self.has_ended {
                return Ok(0);
            } else {
                self.has_ended = true;
                let mut end = vec![0xff; 100];
                end.extend(header(3, 23, self.offset + 123));
                end.extend([0; 4]);
                self.small = Cursor::new(end);
            }
        }
    }
}

#[test]
fn offsets_go_on_beyond_4_gib() {
    let made = Made::new(false).bytes;
    let begin = u64::try_from(made.len()).unwrap();
    let log =
        Large { small: Cursor::new(made), events_left: EVENTS, zeros_left: 0, offset: 0, has_ended: false };
    let options =
        ReadOptions { on_damage: OnDamage::Skip, verifies_checksums: false, ..ReadOptions::default() };
    let mut seen = Vec::new();
    let walked = walk(log, options, &mut Tables::default(), |item| {
        seen.push((item.header.kind, item.offset, item.end));
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    let garbage = begin + EVENTS * u64::from(EVENT_BYTES);
    assert!(garbage > 1 << 32);
    assert_eq!(seen.len(), usize::try_from(EVENTS).unwrap() + 2);
    assert_eq!(seen.last(), Some(&(EventKind::STOP, garbage + 100, garbage + 123)));
    assert_eq!(walked.bytes, garbage + 123);
    let damage = &walked.damages.first[0];
    assert_eq!((damage.offset, damage.skipped_bytes, damage.reason), (garbage, 100, DamageReason::Header));
}
