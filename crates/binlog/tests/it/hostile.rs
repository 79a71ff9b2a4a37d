//! No bytes make anything panic, hang, or take memory they did not bring.

use std::ops::ControlFlow;

use binlog::{Direction, OnDamage, ReadOptions, Rows, Table, Tables, apply, plain, walk};
use proptest::prelude::*;

use crate::fixtures::fixture;
use crate::made::Made;
use crate::whole::{counted, replayed};

/// Reads everything that can be read of a log, by every way.
fn exhaust(log: &[u8]) {
    for (verifies_checksums, is_stream) in [(true, false), (false, false), (false, true)] {
        let options = ReadOptions { on_damage: OnDamage::Skip, verifies_checksums, is_stream };
        if walk(log, options, &mut Tables::default(), |item| {
            if let Some((rows, table)) = item.rows()? {
                every_row(&rows, table)?;
            }
            if let binlog::Event::Query(query) = item.event()? {
                query.session()?;
            }
            Ok(ControlFlow::Continue(()))
        })
        .is_err()
        {
            continue;
        }
        counted(log, options);
        for direction in [Direction::Forward, Direction::Inverse] {
            replayed(log, direction, binlog::ReplayOptions::default(), options);
        }
    }
}

fn every_row(rows: &Rows<'_>, table: &Table) -> Result<(), binlog::DecodeError> {
    let mut decoded = 0;
    for row in rows.decode(table)? {
        let row = row?;
        decoded += 1;
        for value in row.before.iter().chain(&row.after).flatten().flatten() {
            if let binlog::Value::JsonDiff(diffs) = value {
                // Applied to something else than it was made for.
                let _ = apply(&binlog::Json::Null, diffs);
            }
        }
    }
    assert_eq!(rows.count(table)?, decoded, "counting and decoding disagree");
    Ok(())
}

/// A generator whose every run is the same.
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    pub(crate) fn mutate(&mut self, log: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(log.len());
            match self.below(6) {
                0 => log[at] ^= 1 << self.below(8),
                1 => log[at] = u8::try_from(self.below(256)).unwrap(),
                2 => log[at] = [0, 1, 0x7f, 0x80, 0xfc, 0xff][self.below(6)],
                3 => log.truncate(at.max(5)),
                4 => {
                    let end = (at + self.below(64)).min(log.len());
                    log.drain(at..end);
                }
                _ => {
                    let end = (at + self.below(64)).min(log.len());
                    let again = log[at..end].to_vec();
                    log.splice(at..at, again);
                }
            }
            if log.is_empty() {
                return;
            }
        }
    }
}

/// Makes the checksums right again, so that what is changed gets past them.
fn reseal(log: &mut [u8]) {
    let mut at = 4;
    while let Some(length) = log.get(at + 9..at + 13) {
        let length = u32::from_le_bytes(length.try_into().unwrap());
        let Ok(length) = usize::try_from(length) else { return };
        if length < 23 || at + length > log.len() {
            return;
        }
        let end = at + length;
        let checksum = crc32fast::hash(&log[at..end - 4]);
        log[end - 4..end].copy_from_slice(&checksum.to_le_bytes());
        at = end;
    }
}

#[test]
fn changed_logs_are_read_without_a_panic() {
    let mut logs = vec![Made::full(false).bytes, Made::full(true).bytes];
    for name in ["mysql97-features.000003", "mysql97-a.000002", "mariadb1011-compressed.000003"] {
        logs.extend(fixture(name));
    }
    let mut seeded = Seeded(0x2545_F491_4F6C_DD1D);
    for log in &logs {
        exhaust(log);
        for round in 0..200 {
            let mut changed = log.clone();
            seeded.mutate(&mut changed);
            if round % 2 == 0 {
                reseal(&mut changed);
            }
            exhaust(&changed);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), kind in any::<u8>()) {
        exhaust(&bytes);
        exhaust(&[b"\xfebin", &bytes[..]].concat());
        // Well framed, so that every decoder gets to see it.
        for is_mariadb in [false, true] {
            let mut log = Made::new(is_mariadb);
            log.begin();
            log.map(1, "t");
            log.event(kind, &bytes);
            for kind in [2, 16, 19, 23, 30, 31, 33, 35, 38, 39, 40, 42, 160, 162, 163, 165, 166] {
                log.event(kind, &bytes);
            }
            exhaust(&log.bytes);
        }
        if let Ok(mut unpacked) = plain(&bytes[..]) {
            let mut sink = Vec::new();
            let _ = std::io::Read::read_to_end(&mut unpacked, &mut sink);
        }
    }
}
