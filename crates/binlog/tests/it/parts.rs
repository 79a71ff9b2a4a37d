//! Counting a log in parts gives what counting it in one go gives, wherever it is cut, sound or damaged.

use binlog::{
    OnDamage, Part, Place, ReadError, ReadOptions, Stats, StatsOptions, Stopped, Tables, Walked, walk,
    walk_part,
};
use serde_json::Value;

use crate::fixtures::fixture;
use crate::hostile::Seeded;
use crate::made::Made;

const SKIP: ReadOptions =
    ReadOptions { on_damage: OnDamage::Skip, verifies_checksums: true, is_stream: false };

fn rest(log: &[u8], offset: u64) -> &[u8] {
    log.get(usize::try_from(offset).unwrap()..).unwrap_or_default()
}

/// Where transactions begin behind these offsets.
fn places(log: &[u8], near: &[usize], options: ReadOptions) -> Vec<Place> {
    let Some(first) = Place::first(log, options) else { return Vec::new() };
    let offsets = near.iter().map(|near| u64::try_from(*near).unwrap());
    let found = offsets.filter_map(|near| first.next(rest(log, near), near, options));
    let mut places: Vec<Place> = found.collect();
    places.sort_by_key(Place::offset);
    places.dedup();
    places
}

fn joined(
    log: &[u8],
    places: &[Place],
    options: ReadOptions,
    tables: &mut Tables,
    stats: &mut Stats,
) -> Result<Walked, ReadError> {
    let parts: Vec<Part> = (0..places.len())
        .map(|at| {
            let from = &places[at];
            Part::read(rest(log, from.offset()), from, &places[at + 1..], options, stats.for_part())
        })
        .collect();
    let first: Stopped = walk_part(log, &Place::default(), places, options, tables, |item| stats.see(item))?;
    stats.join(tables, first, parts, options, |offset| rest(log, offset))
}

/// What is counted of logs that follow each other; each cut behind the offsets of `near`, or not at all.
fn report(logs: &[&[u8]], near: Option<&[usize]>, options: ReadOptions, step_seconds: u32) -> Value {
    let mut tables = Tables::default();
    let mut stats = Stats::new(StatsOptions { top: 4, step_seconds });
    for (at, log) in logs.iter().enumerate() {
        stats.begin_log(&format!("log.{at}"));
        let walked = match near {
            Some(near) => joined(log, &places(log, near, options), options, &mut tables, &mut stats),
            None => walk(*log, options, &mut tables, |item| stats.see(item)),
        };
        match walked {
            Ok(walked) => stats.end_log(walked),
            Err(error) => return Value::String(error.to_string()),
        }
    }
    serde_json::to_value(stats.report(&tables)).unwrap()
}

fn assert_same(logs: &[&[u8]], near: &[usize], options: ReadOptions, what: &str) {
    assert_eq!(
        report(logs, Some(near), options, 60),
        report(logs, None, options, 60),
        "{what}, cut at {near:?}"
    );
}

/// How many parts are taken as they are, without reading them once more.
fn taken(log: &[u8], places: &[Place], options: ReadOptions) -> usize {
    let (mut tables, mut stats) = (Tables::default(), Stats::new(StatsOptions::default()));
    stats.begin_log("log");
    let mut again = 0;
    let parts = (0..places.len())
        .map(|at| {
            let from = &places[at];
            Part::read(rest(log, from.offset()), from, &places[at + 1..], options, stats.for_part())
        })
        .collect();
    let first =
        walk_part(log, &Place::default(), places, options, &mut tables, |item| stats.see(item)).unwrap();
    let source = |offset| {
        again += 1;
        rest(log, offset)
    };
    stats.join(&mut tables, first, parts, options, source).unwrap();
    places.len() - again
}

fn made(is_mariadb: bool) -> Vec<Vec<u8>> {
    let full = Made::full(is_mariadb);
    // A transaction that ends in the log behind.
    let mut open = Made::full(is_mariadb);
    open.begin();
    open.map(1, "t");
    open.insert(1, &[(Some(1), Some("open")), (None, None)]);
    let mut closing = Made::new(is_mariadb);
    closing.map(3, "v");
    closing.delete(3, &[(Some(1), None)]);
    closing.commit();
    closing.alone("ALTER TABLE v ADD c int");
    for round in 0..4 {
        closing.begin();
        closing.map(4, "w");
        closing.insert(4, &[(Some(round), None)]);
        closing.commit();
    }
    vec![full.bytes, open.bytes, closing.bytes]
}

#[test]
fn every_cut_of_every_log_counts_the_same() {
    let kept = ["mysql97-features.000003", "mysql97-a.000002", "mariadb1011-compressed.000003"];
    let logs = kept.iter().filter_map(|name| fixture(name)).chain(made(false)).chain(made(true));
    for (number, log) in logs.enumerate() {
        let one = report(&[&log], None, SKIP, 60);
        let mut taken_parts = 0;
        for at in 0..=log.len() {
            if at % 8 == 0 {
                taken_parts += taken(&log, &places(&log, &[at], SKIP), SKIP);
            }
            assert_eq!(report(&[&log], Some(&[at]), SKIP, 60), one, "log {number} cut at {at}");
        }
        assert!(taken_parts > log.len() / 16, "log {number}: only {taken_parts} of {} cuts", log.len() / 8);
    }
}

#[test]
fn logs_that_follow_each_other_count_the_same_in_many_parts() {
    for is_mariadb in [false, true] {
        let logs = made(is_mariadb);
        let logs: Vec<&[u8]> = [1, 2, 0, 1, 2].iter().map(|at| logs[*at].as_slice()).collect();
        for step in [1, 7, 50, 333, 1000] {
            let near: Vec<usize> = (0..4000).step_by(step).collect();
            for options in [SKIP, ReadOptions::default()] {
                assert_same(&logs, &near, options, "whole logs");
            }
        }
    }
}

#[test]
fn damaged_logs_count_the_same() {
    for is_mariadb in [false, true] {
        let sound = made(is_mariadb);
        for seed in 1..=700 {
            let mut random = Seeded(seed * 7919);
            let mut logs = [sound[1].clone(), sound[2].clone()];
            let which = random.below(2);
            random.mutate(&mut logs[which]);
            let logs: Vec<&[u8]> = logs.iter().map(Vec::as_slice).collect();
            let near: Vec<usize> = (0..1 + random.below(4)).map(|_| random.below(3000)).collect();
            for on_damage in [OnDamage::Skip, OnDamage::Stop] {
                for verifies_checksums in [true, false] {
                    let options = ReadOptions { on_damage, verifies_checksums, is_stream: false };
                    assert_same(&logs, &near, options, &format!("seed {seed}, {options:?}"));
                }
            }
        }
    }
}

#[test]
fn rows_explained_by_a_table_map_before_the_cut_are_counted() {
    let mut log = Made::new(false);
    let mut begins = Vec::new();
    for round in 0..6 {
        begins.push(log.bytes.len());
        log.begin();
        if round % 2 == 0 {
            log.map(1, "t");
        }
        log.insert(1, &[(Some(round), None)]);
        log.commit();
    }
    let near: Vec<usize> = begins.iter().map(|begin| begin - 1).collect();
    let places = places(&log.bytes, &near[2..], SKIP);
    assert_eq!(places.len(), 4);
    // Of four parts, two know their table.
    assert_eq!(taken(&log.bytes, &places, SKIP), 2);
    for begin in 0..near.len() {
        for end in begin..=near.len() {
            assert_same(&[&log.bytes], &near[begin..end], SKIP, "maps left out");
            assert_same(&[&log.bytes], &near[begin..end], ReadOptions::default(), "maps left out");
        }
    }
    let one = report(&[&log.bytes], Some(&near), SKIP, 60);
    assert_eq!((&one["total"]["rows_inserted"], &one["damages"]["count"]), (&6.into(), &0.into()));
}

#[test]
fn a_log_inside_a_log_is_no_place_to_cut() {
    for is_mariadb in [false, true] {
        let inner = Made::full(is_mariadb);
        let mut log = Made::new(is_mariadb);
        for _ in 0..3 {
            log.begin();
            log.event(if is_mariadb { 160 } else { 29 }, &inner.bytes);
            log.map(1, "t");
            log.insert(1, &[(Some(1), None)]);
            log.commit();
        }
        let mut guesses = 0;
        for at in (0..log.bytes.len()).step_by(3) {
            let places = places(&log.bytes, &[at], SKIP);
            let is_guess = |place: &Place| !log.offsets.iter().any(|real| *real as u64 == place.offset());
            guesses += places.iter().filter(|place| is_guess(place)).count();
            assert_same(&[&log.bytes], &[at], SKIP, "a log in a log");
        }
        assert!(guesses > 300, "{guesses}");
        let near: Vec<usize> = (0..log.bytes.len()).step_by(97).collect();
        assert_same(&[&log.bytes, &log.bytes], &near, SKIP, "a log in a log");
    }
}

#[test]
fn a_second_description_and_logs_without_places_stay_the_same() {
    // As in a relay log: another server's description, with checksums as before.
    let mut relay = Made::full(true);
    let other = Made::new(false);
    relay.event(15, &other.bytes[4 + 19..other.bytes.len() - 4]);
    relay.begin();
    relay.map(1, "t");
    relay.insert(1, &[(Some(5), None)]);
    relay.commit();
    for at in 0..relay.bytes.len() {
        assert_same(&[&relay.bytes], &[at], SKIP, "two descriptions");
        assert_same(&[&relay.bytes], &[at / 2, at], SKIP, "two descriptions");
    }
    // As before GTIDs.
    let mut old = Made::new(false);
    for _ in 0..5 {
        old.statement("BEGIN");
        old.map(1, "t");
        old.insert(1, &[(Some(5), None)]);
        old.commit();
    }
    assert_eq!(places(&old.bytes, &[100, 300], SKIP), []);
    assert_same(&[&old.bytes], &[100, 300], SKIP, "no GTIDs");
    assert_eq!(Place::first(&b"no log"[..], SKIP), None);
}

#[test]
fn table_maps_are_forgotten_at_the_same_moment() {
    let mut log = Made::new(false);
    for id in 300..5000 {
        log.begin();
        if id == 3000 {
            log.map(7, "seven");
        }
        log.map_wide(id, "t");
        if id == 4990 {
            log.insert(7, &[(Some(1), None)]);
        }
        log.commit();
    }
    let size = log.bytes.len();
    let one = report(&[&log.bytes], None, SKIP, 60);
    assert_eq!(one["damages"]["missing_table_maps"], 1);
    for near in [vec![size / 2], vec![size / 3, size * 2 / 3], vec![size / 10]] {
        assert_eq!(report(&[&log.bytes], Some(&near), SKIP, 60), one, "cut at {near:?}");
    }
}

/// A log that goes beyond what is listed or told apart.
fn crowded(is_mariadb: bool) -> Made {
    let mut log = Made::new(is_mariadb);
    for number in 0..70_000_u32 {
        log.begin();
        let mut body = number.to_le_bytes().to_vec();
        body.extend([0, 0, 0, 0, 1, 0, 0, 0, 0]);
        body.extend(b"d\0INSERT INTO s VALUES (1)");
        log.event(2, &body);
        if number % 8 == 0 {
            let id = u8::try_from(number / 8 % 256).unwrap();
            log.map(id, &format!("t{}", number / 8));
            log.insert(id, &vec![(Some(1), None); usize::try_from(number % 33).unwrap()]);
        }
        log.commit();
        if number % 40 == 0 {
            log.alone(&format!("CREATE TABLE t{number} (i int)"));
        }
    }
    log
}

#[test]
fn what_is_bounded_is_bounded_alike() {
    let log = crowded(true);
    let size = log.bytes.len();
    let one = report(&[&log.bytes], None, SKIP, 1);
    assert_eq!(one["ddl"].as_array().unwrap().len(), 1000);
    assert_eq!(one["timeline"]["is_widened"], true);
    let threads = one["threads"].as_array().unwrap();
    assert!(threads.last().unwrap()["thread_id"].is_null(), "{threads:?}");
    for near in [vec![size / 2], vec![size / 5, size * 4 / 5], vec![size * 95 / 100], vec![size / 50]] {
        assert_eq!(report(&[&log.bytes], Some(&near), SKIP, 1), one, "cut at {near:?}");
    }
    let twice = report(&[&log.bytes, &log.bytes], None, SKIP, 1);
    assert_eq!(report(&[&log.bytes, &log.bytes], Some(&[size / 2]), SKIP, 1), twice);
}
