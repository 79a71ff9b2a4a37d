//! How fast slow logs are digested: on one thread and on two, against pt-query-digest, and against reading the file at
//! all with `wc -l` and `grep -c`. All on one file, by turns.
//!
//! `MAINSTAY_BENCH_SLOW_LOG=FILE cargo bench -p mainstay --bench digest_slow`. The peer is the `pt-query-digest` of the
//! path, or the programs that MAINSTAY_TEST_PT_QUERY_DIGEST names, separated by spaces. MAINSTAY_BENCH_ROUNDS, 7, and
//! MAINSTAY_BENCH_PEER_ROUNDS, 1, say how often.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark fails by panicking, starts what it compares, and prints what it measured"
)]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// One program over the file.
struct Contender {
    name: String,
    argv: Vec<String>,
    rounds: usize,
    runs: Vec<Run>,
}

struct Run {
    wall_seconds: f64,
    /// User and system, of the process and its threads.
    cpu_seconds: f64,
    resident_kib: u64,
}

fn main() {
    let Some(log) = std::env::var_os("MAINSTAY_BENCH_SLOW_LOG") else {
        println!("skipped: MAINSTAY_BENCH_SLOW_LOG names no slow log");
        return;
    };
    let log = log.to_string_lossy().into_owned();
    let bytes = std::fs::metadata(&log).unwrap().len();
    let number = |name: &str, default: usize| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (rounds, peer_rounds) = (number("MAINSTAY_BENCH_ROUNDS", 7), number("MAINSTAY_BENCH_PEER_ROUNDS", 1));
    let binary = env!("CARGO_BIN_EXE_mainstay");
    let peers =
        std::env::var("MAINSTAY_TEST_PT_QUERY_DIGEST").unwrap_or_else(|_| "pt-query-digest".to_owned());
    let mut contenders = vec![
        contender("mainstay, 1 thread", &[binary, "digest", "slow", "--threads", "1", &log], rounds),
        contender("mainstay, 2 threads", &[binary, "digest", "slow", "--threads", "2", &log], rounds),
        contender("grep -c", &["grep", "-c", "^# Query_time", &log], rounds),
        contender("wc -l", &["wc", "-l", &log], rounds),
    ];
    for peer in peers.split_whitespace() {
        contenders.push(contender(peer, &[peer, "--no-version-check", &log], peer_rounds));
    }
    // The first turn finds cold caches and is thrown away.
    for contender in contenders.iter_mut().take(4) {
        contender.run();
        contender.runs.clear();
    }
    for round in 0..rounds.max(peer_rounds) {
        for contender in &mut contenders {
            if round < contender.rounds {
                contender.run();
            }
        }
    }
    println!("{log}: {bytes} bytes");
    println!(
        "{:<40} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9} {:>6}",
        "", "median s", "least", "most", "cpu s", "MB/s", "KiB", "runs"
    );
    for contender in &mut contenders {
        contender.print(bytes);
    }
    for peer in contenders.get(4..).unwrap_or_default() {
        for ours in contenders.get(..2).unwrap_or_default() {
            if let (Some(theirs), Some(own)) = (peer.median(), ours.median()) {
                println!("{}: {:.0} times {}", ours.name, theirs / own, peer.name);
            }
        }
    }
}

fn contender(name: &str, argv: &[&str], rounds: usize) -> Contender {
    let argv = argv.iter().map(|word| (*word).to_owned()).collect();
    Contender { name: name.to_owned(), argv, rounds, runs: Vec::new() }
}

impl Contender {
    fn run(&mut self) {
        // Not /dev/null: grep sees that nobody reads what it says and stops at the first match.
        let printed_path = std::env::temp_dir().join(format!("mainstay-digest-bench-{}", std::process::id()));
        let printed = std::fs::File::create(&printed_path).unwrap();
        std::fs::remove_file(&printed_path).unwrap();
        let before = children_cpu_seconds();
        let began = Instant::now();
        let started =
            Command::new(&self.argv[0]).args(&self.argv[1..]).stdout(printed).stderr(Stdio::null()).spawn();
        let Ok(mut child) = started else {
            println!("skipped: {} is not installed", self.argv[0]);
            self.rounds = 0;
            return;
        };
        let mut resident_kib = 0;
        let status = loop {
            resident_kib = resident_kib.max(resident(child.id()).unwrap_or(0));
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            // Short enough that what a run of a tenth of a second uses is seen.
            std::thread::sleep(Duration::from_micros(500));
        };
        let wall_seconds = began.elapsed().as_secs_f64();
        assert!(status.success(), "{:?}: {status}", self.argv);
        self.runs.push(Run { wall_seconds, cpu_seconds: children_cpu_seconds() - before, resident_kib });
    }

    fn sorted(&self, of: fn(&Run) -> f64) -> Vec<f64> {
        let mut values: Vec<f64> = self.runs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    fn median(&self) -> Option<f64> {
        self.sorted(|run| run.wall_seconds).get(self.runs.len() / 2).copied()
    }

    #[expect(clippy::cast_precision_loss, reason = "shown in megabytes")]
    fn print(&self, bytes: u64) {
        let (walls, cpus) = (self.sorted(|run| run.wall_seconds), self.sorted(|run| run.cpu_seconds));
        let Some(median) = self.median() else { return };
        println!(
            "{:<40} {median:>8.3} {:>8.3} {:>8.3} {:>8.2} {:>9.1} {:>9} {:>6}",
            self.name,
            walls[0],
            walls[walls.len() - 1],
            cpus[cpus.len() / 2],
            bytes as f64 / 1e6 / median,
            self.runs.iter().map(|run| run.resident_kib).max().unwrap_or(0),
            walls.len()
        );
    }
}

/// The most memory a process had resident so far.
fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Processor time of the children that have ended, in steps of a hundredth of a second.
fn children_cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    (ticks(13) + ticks(14)) / 100.0
}
