//! How fast binary logs are counted, on one thread and in parts.
//!
//! `MAINSTAY_BENCH_BINARY_LOGS="FILE ..." cargo bench -p binlog`. MAINSTAY_BENCH_ROUNDS, 7, says how often.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking, and prints what it measured"
)]

use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::time::Instant;

use binlog::{OnDamage, Part, Place, ReadOptions, Stats, StatsOptions, Tables, walk, walk_part};

const OPTIONS: ReadOptions =
    ReadOptions { on_damage: OnDamage::Skip, verifies_checksums: true, is_stream: false };

fn main() {
    let Ok(logs) = std::env::var("MAINSTAY_BENCH_BINARY_LOGS") else {
        println!("skipped: MAINSTAY_BENCH_BINARY_LOGS names no binary logs");
        return;
    };
    let rounds = std::env::var("MAINSTAY_BENCH_ROUNDS").map_or(7, |rounds| rounds.parse().unwrap());
    for log in logs.split_whitespace() {
        for parts in [1, 2, 4] {
            let mut seconds: Vec<f64> = (0..rounds)
                .map(|_| {
                    let start = Instant::now();
                    count(log, parts);
                    start.elapsed().as_secs_f64()
                })
                .collect();
            seconds.sort_by(f64::total_cmp);
            let (least, middle) = (seconds[0], seconds[seconds.len() / 2]);
            println!("{log} in {parts} parts: least {least:.3} s, median {middle:.3} s");
        }
    }
}

fn open(log: &str, offset: u64) -> File {
    let mut file = File::open(log).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file
}

fn count(log: &str, parts: u64) {
    let (mut tables, mut stats) = (Tables::default(), Stats::new(StatsOptions::default()));
    stats.begin_log(log);
    let walked = if parts == 1 {
        walk(open(log, 0), OPTIONS, &mut tables, |item| stats.see(item)).unwrap()
    } else {
        let bytes = std::fs::metadata(log).unwrap().len();
        let first = Place::first(open(log, 0), OPTIONS).unwrap();
        let places: Vec<Place> = (1..parts)
            .map(|part| bytes / parts * part)
            .filter_map(|near| first.next(open(log, near), near, OPTIONS))
            .collect();
        let (first, parts) = std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for (at, from) in places.iter().enumerate() {
                let (until, stats) = (&places[at + 1..], stats.for_part());
                threads.push(
                    scope.spawn(move || Part::read(open(log, from.offset()), from, until, OPTIONS, stats)),
                );
            }
            let first = walk_part(open(log, 0), &Place::default(), &places, OPTIONS, &mut tables, |item| {
                stats.see(item)
            });
            (first.unwrap(), threads.into_iter().map(|thread| thread.join().unwrap()).collect())
        });
        stats.join(&mut tables, first, parts, OPTIONS, |offset| open(log, offset)).unwrap()
    };
    stats.end_log(walked);
    let report = stats.report(&tables);
    assert_eq!(report.damages.count, 0, "{:?}", report.damages);
    assert!(report.total.transactions > 0);
}
