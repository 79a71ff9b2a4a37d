//! `mainstay digest slow --follow`: a report each interval of what a server wrote to its slow log meanwhile.

use std::path::Path;
use std::time::Duration;

use digest::Digest;
use digest::event::LogReader as _;
use digest::report::FileRead;
use digest::slow::{Skipped, SlowLog};
use host::logs::{Followed, Follower};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior};

use crate::cli::DigestSlowArgs;
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};
use crate::verbs::digest::{self as shared, Plan};

/// How often the file is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// A record that ends with a semicolon is whole when nothing came behind it for so long.
const QUIET: Duration = Duration::from_secs(1);
const BLOCK_BYTES: usize = 256 << 10;

pub(crate) async fn run(format: Format, args: &DigestSlowArgs) -> Verb {
    let [path] = args.files.as_slice() else {
        return Err(Failure::said("one log can be followed, not several", "run it once for each log"));
    };
    if path.as_os_str() == "-" {
        return Err(Failure::said("standard input cannot be followed", "name the log's file"));
    }
    let plan = Plan::new(format, &args.report, "Query_time:sum");
    plan.check_intervals()?;
    let mut following = Following::new(path, !args.follow.from_start, plan)?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let interval = Duration::from_secs(args.follow.interval.into());
    let mut due = Instant::now() + interval;
    let mut shown = 0;
    loop {
        let is_over = tokio::select! {
            _ = looks.tick() => false,
            _ = interrupted.recv() => true,
            _ = terminated.recv() => true,
        };
        // A log that comes faster than it is read is shown in time all the same.
        while !is_over && Instant::now() < due && following.look()? {}
        if is_over {
            while following.look()? {}
            following.reader.finish(&mut following.digest);
        }
        if is_over || Instant::now() >= due {
            following.show()?;
            shown += 1;
            due += interval;
        }
        if is_over || args.follow.count.is_some_and(|count| shown >= count) {
            return Ok(Outcome::Good);
        }
    }
}

struct Following {
    follower: Follower,
    reader: SlowLog,
    digest: Digest,
    plan: Plan,
    block: Vec<u8>,
    file: FileRead,
    skipped: Skipped,
    last_bytes: Instant,
}

impl Following {
    fn new(path: &Path, from_end: bool, plan: Plan) -> Result<Self, Failure> {
        let name = path.display().to_string();
        Ok(Self {
            follower: Follower::new(path, from_end)?,
            reader: SlowLog::default(),
            digest: Digest::new(plan.settings(shared::now())),
            plan,
            block: vec![0; BLOCK_BYTES],
            file: FileRead { name, bytes: 0, problem: None },
            skipped: Skipped::default(),
            last_bytes: Instant::now(),
        })
    }

    /// Reads what has come; whether there may be more.
    fn look(&mut self) -> Result<bool, Failure> {
        match self.follower.read(&mut self.block)? {
            Followed::Bytes(read) => {
                self.reader.feed(self.block.get(..read).unwrap_or_default(), &mut self.digest);
                self.file.bytes += read as u64;
                self.last_bytes = Instant::now();
                Ok(true)
            }
            Followed::Nothing => {
                if self.reader.may_be_complete() && self.last_bytes.elapsed() >= QUIET {
                    self.reader.finish(&mut self.digest);
                }
                Ok(false)
            }
            Followed::Rotated => {
                self.reader.next_file(&mut self.digest);
                tracing::info!(file = self.file.name, "the log was rotated; the new one is followed");
                Ok(true)
            }
            Followed::Truncated => {
                self.reader.next_file(&mut self.digest);
                output::message(&format!(
                    "{} was truncated: what was written and not yet read is lost; it is read from its beginning",
                    self.file.name
                ));
                Ok(true)
            }
        }
    }

    /// Shows what has come since the last time.
    fn show(&mut self) -> Result<(), Failure> {
        let skipped = *self.reader.skipped();
        let settings = self.digest.settings().clone();
        let mut digest = std::mem::replace(&mut self.digest, Digest::new(settings));
        digest.skip(&skipped.since(&self.skipped));
        self.skipped = skipped;
        let file = self.file.clone();
        self.file.bytes = 0;
        self.plan.show_interval(&digest, vec![file])
    }
}
