//! `sim`: runs many seeds on several threads and tells of the first violations.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use sim::{Config, Found, Promise, Scenario};

struct Arguments {
    seeds: u64,
    start: u64,
    threads: u64,
    show: usize,
    trace: Option<u64>,
    config: Config,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed =
        Arguments { seeds: 1_000, start: 0, threads: 1, show: 1, trace: None, config: Config::default() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
        match word.as_str() {
            "--seeds" => parsed.seeds = number(value()?)?,
            "--start" => parsed.start = number(value()?)?,
            "--threads" => parsed.threads = number(value()?)?.clamp(1, 64),
            "--show" => parsed.show = usize::try_from(number(value()?)?).unwrap_or(1),
            "--trace" => parsed.trace = Some(number(value()?)?),
            "--nodes" => parsed.config.nodes = usize::try_from(number(value()?)?).ok(),
            "--config" => {
                parsed.config.promise = match value()?.as_str() {
                    "all" => None,
                    "lossless" => Some(Promise::Lossless),
                    "available" => Some(Promise::Available),
                    other => return Err(format!("--config {other}: all, lossless or available")),
                };
            }
            other => return Err(format!("unknown argument {other}")),
        }
    }
    Ok(parsed)
}

fn search(arguments: &Arguments) -> Found {
    let next = AtomicU64::new(arguments.start);
    let end = arguments.start + arguments.seeds;
    let found = Mutex::new(Found::default());
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads {
            scope.spawn(|| {
                let mut mine = Found::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    mine.add(seed, sim::run(seed, &arguments.config));
                    let done = seed - arguments.start + 1;
                    if done % 10_000 == 0 {
                        eprintln!("{done} runs, {} violations by one thread", mine.violations.len());
                    }
                }
                if let Ok(mut found) = found.lock() {
                    found.join(mine);
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_default();
    found.violations.sort_by_key(|(seed, _)| *seed);
    found
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("sim: {error}");
            return ExitCode::FAILURE;
        }
    };
    if let Some(seed) = arguments.trace {
        print!("{}", sim::explain(&Scenario::new(seed, &arguments.config)));
        return ExitCode::SUCCESS;
    }
    let began = Instant::now();
    let found = search(&arguments);
    let seconds = began.elapsed().as_secs_f64();
    for (seed, violation) in &found.violations {
        println!("seed {seed}: {} at {} ms: {}", violation.invariant, violation.at, violation.text);
    }
    for (seed, _) in found.violations.iter().take(arguments.show) {
        println!("\n{}", sim::explain(&Scenario::new(*seed, &arguments.config)));
    }
    println!(
        "simulated {} runs, {} violations, {} writes acknowledged, {} given up as announced, {} runs wait for a person, \
         settled within {} ms, {:.0} virtual s a run, {:.0} runs/s",
        found.runs,
        found.violations.len(),
        found.acked,
        found.given_up,
        found.waiting,
        found.settled_ms_max,
        found.virtual_ms as f64 / 1_000.0 / found.runs.max(1) as f64,
        found.runs as f64 / seconds.max(0.001),
    );
    if found.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
