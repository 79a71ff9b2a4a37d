//! Damaged logs: told with the offset, stopped at or passed over, never silently.

use std::io::Write as _;

use binlog::{DamageReason, OnDamage, ReadError, ReadOptions, Tables, walk};

use crate::made::Made;
use crate::whole::counted;

const SKIP: ReadOptions =
    ReadOptions { on_damage: OnDamage::Skip, verifies_checksums: true, is_stream: false };

fn stopped(log: &[u8]) -> ReadError {
    let go_on = |_: &binlog::Item<'_>| Ok(std::ops::ControlFlow::Continue(()));
    walk(log, ReadOptions::default(), &mut Tables::default(), go_on).unwrap_err()
}

fn offset(at: usize) -> u64 {
    u64::try_from(at).unwrap()
}

#[test]
fn a_wrong_checksum_stops_or_costs_only_its_event() {
    for is_mariadb in [false, true] {
        let mut log = Made::full(is_mariadb);
        let at = log.offsets.len() - 3;
        let (begin, end) = (log.offsets[at - 1], log.offsets[at]);
        // The last byte of the last DELETE's row.
        log.bytes[end - 5] ^= 0x20;
        let ReadError::Damaged(damage) = stopped(&log.bytes) else { panic!("not stopped") };
        assert_eq!((damage.offset, damage.reason), (offset(begin), DamageReason::Checksum));
        let report = counted(&log.bytes, SKIP);
        assert_eq!(report.damages.count, 1);
        assert_eq!(report.damages.first[0].offset, offset(begin));
        assert_eq!(report.damages.skipped_bytes, offset(end - begin));
        assert!(report.total.rows_inserted + report.total.rows_deleted < 9);
        let unverified = ReadOptions { verifies_checksums: false, ..SKIP };
        assert_eq!(counted(&log.bytes, unverified).damages.count, 0);
    }
}

#[test]
fn a_cut_log_says_where_it_ends() {
    let log = Made::full(true);
    let last = *log.offsets.last().unwrap();
    for end in [last + 1, last + 18, last + 25, log.bytes.len() - 1] {
        let cut = &log.bytes[..end];
        let ReadError::Damaged(damage) = stopped(cut) else { panic!("not stopped") };
        assert_eq!((damage.offset, damage.reason), (offset(last), DamageReason::Truncated));
        let report = counted(cut, SKIP);
        assert_eq!(report.damages.skipped_bytes, offset(end - last));
        assert_eq!(report.total.rows_inserted, 6);
    }
    assert_eq!(counted(&log.bytes[..last], SKIP).damages.count, 0);
}

#[test]
fn rows_without_their_table_map_are_counted_as_such() {
    let whole = Made::full(false);
    let mut log = Made::new(false);
    log.begin();
    let rows_at = log.bytes.len();
    log.insert(9, &[(Some(1), None)]);
    log.map(1, "t");
    log.insert(1, &[(Some(1), None)]);
    log.commit();
    let ReadError::Damaged(_) = stopped_by_stats(&log.bytes) else { panic!("not stopped") };
    let report = counted(&log.bytes, SKIP);
    assert_eq!((report.damages.count, report.damages.missing_table_maps), (1, 1));
    assert_eq!(report.damages.first[0].offset, offset(rows_at));
    assert_eq!(report.total.rows_inserted, 1);
    assert_eq!(counted(&whole.bytes, SKIP).damages.count, 0);
}

fn stopped_by_stats(log: &[u8]) -> ReadError {
    let mut stats = binlog::Stats::new(binlog::StatsOptions::default());
    stats.begin_log("log");
    walk(log, ReadOptions::default(), &mut Tables::default(), |item| stats.see(item)).unwrap_err()
}

#[test]
fn garbage_between_events_is_passed_over_to_the_next_event() {
    let whole = Made::full(false);
    let from = whole.offsets[6];
    let to = whole.offsets[7];
    let mut log = whole.bytes.clone();
    log[from..to].fill(0xff);
    let report = counted(&log, SKIP);
    assert_eq!(report.damages.count, 1, "{:?}", report.damages);
    assert_eq!(report.damages.first[0].offset, offset(from));
    assert_eq!(report.damages.skipped_bytes, offset(to - from));
    assert_eq!(report.damages.first[0].reason, DamageReason::Header);
}

#[test]
fn what_is_no_log_or_encrypted_is_refused() {
    assert!(matches!(stopped(b"/var/lib/mysql/binlog.000001\n"), ReadError::NotALog { .. }));
    assert!(matches!(stopped(b""), ReadError::NotALog { .. }));
    assert!(matches!(stopped(b"\xfdbin and 512 bytes of header"), ReadError::EncryptedByMySql));
    let mut log = Made::new(true);
    let at = log.bytes.len();
    log.event(164, &[1, 1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    log.bytes.extend([0x5a; 300]);
    let ReadError::EncryptedByMariaDb { offset: told } = stopped(&log.bytes) else { panic!("not refused") };
    assert_eq!(told, offset(at));
}

#[test]
fn events_behind_lost_or_added_bytes_are_found_although_their_positions_are_off() {
    let whole = Made::full(true);
    let at = whole.offsets[5];
    let expected = counted(&whole.bytes, SKIP).total;
    let added = [&whole.bytes[..at], &[0x5a; 1000], &whole.bytes[at..]].concat();
    let report = counted(&added, SKIP);
    assert_eq!((report.damages.count, report.damages.skipped_bytes), (1, 1000));
    assert_eq!(report.total.transactions, expected.transactions);
    assert_eq!(report.total.rows_inserted, expected.rows_inserted);
    // Ten bytes are lost inside an event: it is passed over with the one behind it, whose begin is in its place.
    let lost = [&whole.bytes[..at + 20], &whole.bytes[at + 30..]].concat();
    let report = counted(&lost, SKIP);
    assert_eq!(report.damages.first[0].offset, offset(at));
    assert_eq!(report.total.transactions, expected.transactions);
    assert!(report.total.events + 2 >= expected.events, "{} of {}", report.total.events, expected.events);
}

#[test]
fn a_log_without_its_description_is_read_and_told() {
    let whole = Made::full(false);
    let headless = [&whole.bytes[..4], &whole.bytes[whole.offsets[1]..]].concat();
    let ReadError::Damaged(damage) = stopped(&headless) else { panic!("not stopped") };
    assert!(damage.message.contains("does not begin with"), "{damage}");
    let report = counted(&headless, SKIP);
    assert_eq!((report.damages.count, report.total.rows_inserted), (1, 6));
}

#[test]
fn a_compressed_file_that_is_cut_counts_what_is_there() {
    let whole = Made::full(true);
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    packer.write_all(&whole.bytes).unwrap();
    let packed = packer.finish().unwrap();
    let cut = |bytes: usize| binlog::plain(&packed[..bytes]).unwrap();
    let on = |_: &binlog::Item<'_>| Ok(std::ops::ControlFlow::Continue(()));
    let walked = walk(cut(packed.len() - 50), SKIP, &mut Tables::default(), on).unwrap();
    assert!(walked.bytes > offset(whole.bytes.len() / 2), "{walked:?}");
    assert!(walked.damages.first[0].message.contains("does not unpack"), "{:?}", walked.damages);
    for (bytes, options) in [(packed.len() - 50, ReadOptions::default()), (12, SKIP)] {
        let stopped = walk(cut(bytes), options, &mut Tables::default(), on);
        assert!(matches!(stopped, Err(ReadError::Damaged(_))), "{stopped:?}");
    }
}
