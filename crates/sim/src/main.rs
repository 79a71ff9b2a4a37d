//! `sim`: runs many seeds on several threads and tells of the first violations.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sim::{Config, Found, Promise, Scenario};

/// Writes a line of the result; a closed pipe is nobody's loss.
macro_rules! tell {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        drop(writeln!(std::io::stdout().lock(), $($words)*));
    }};
}

/// Writes a line about how it goes.
macro_rules! note {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        drop(writeln!(std::io::stderr().lock(), $($words)*));
    }};
}

struct Arguments {
    seeds: u64,
    start: u64,
    threads: u64,
    show: usize,
    until_violation: bool,
    trace: Option<u64>,
    exhaustive: Option<usize>,
    config: Config,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments {
        seeds: 1_000,
        start: 0,
        threads: 1,
        show: 1,
        until_violation: false,
        trace: None,
        exhaustive: None,
        config: Config::default(),
    };
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
            "--until-violation" => parsed.until_violation = true,
            "--exhaustive" => parsed.exhaustive = Some(3),
            "--depth" => parsed.exhaustive = usize::try_from(number(value()?)?).ok(),
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
                    if arguments.until_violation && !mine.violations.is_empty() {
                        next.store(end, Ordering::Relaxed);
                    }
                    let done = seed - arguments.start + 1;
                    if done.is_multiple_of(10_000) {
                        note!("{done} runs, {} violations by one thread", mine.violations.len());
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

/// Every sequence of faults, for two and three nodes, both vendors and both promises.
fn exhaust(depth: usize, threads: u64) -> (Found, Vec<Scenario>) {
    let sequences = sim::sequences(depth);
    let mut clusters = Vec::new();
    for nodes in [2, 3] {
        for promise in [Promise::Lossless, Promise::Available] {
            let config = Config { nodes: Some(nodes), promise: Some(promise), ..Config::default() };
            for vendor in [flavor::Vendor::MySql, flavor::Vendor::MariaDb] {
                let seed = (0..1_000).find(|seed| Scenario::new(*seed, &config).vendor == vendor);
                clusters.extend(seed.map(|seed| (seed, config)));
            }
        }
    }
    let pieces: Vec<_> = clusters
        .iter()
        .flat_map(|cluster| sequences.chunks(500).map(move |chunk| (*cluster, chunk)))
        .collect();
    let next = AtomicU64::new(0);
    let all = Mutex::new((Found::default(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(((seed, config), chunk)) =
                    usize::try_from(next.fetch_add(1, Ordering::Relaxed))
                        .ok()
                        .and_then(|index| pieces.get(index))
                {
                    let (found, wrong) = sim::exhaust(*seed, config, chunk);
                    if let Ok(mut all) = all.lock() {
                        all.0.join(found);
                        all.1.extend(wrong);
                    }
                }
            });
        }
    });
    all.into_inner().unwrap_or_default()
}

fn report(found: &Found, seconds: f64) -> ExitCode {
    tell!(
        "simulated {} runs, {} violations, {} writes acknowledged, {} given up as announced, {} runs wait for a person, \
         settled within {} ms, {} virtual s a run, {:.0} runs/s",
        found.runs,
        found.violations.len(),
        found.acked,
        found.given_up,
        found.waiting,
        found.settled_ms_max,
        found.virtual_ms / 1_000 / found.runs.max(1),
        Duration::from_secs(found.runs).as_secs_f64() / seconds.max(0.001),
    );
    if found.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            note!("sim: {error}");
            return ExitCode::FAILURE;
        }
    };
    if let Some(seed) = arguments.trace {
        tell!("{}", sim::explain(&Scenario::new(seed, &arguments.config)));
        return ExitCode::SUCCESS;
    }
    let began = Instant::now();
    if let Some(depth) = arguments.exhaustive {
        let (found, wrong) = exhaust(depth, arguments.threads);
        for scenario in wrong.iter().take(arguments.show) {
            tell!("{}", sim::explain(scenario));
        }
        return report(&found, began.elapsed().as_secs_f64());
    }
    let found = search(&arguments);
    let seconds = began.elapsed().as_secs_f64();
    for (seed, violation) in &found.violations {
        tell!("seed {seed}: {} at {} ms: {}", violation.invariant, violation.at, violation.text);
    }
    for (seed, _) in found.violations.iter().take(arguments.show) {
        tell!("\n{}", sim::explain(&Scenario::new(*seed, &arguments.config)));
    }
    report(&found, seconds)
}
