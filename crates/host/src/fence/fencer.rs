//! The separate process: looks at the record, and acts a moment after the agent should have.
//!
//! It knows nothing of leases and stores, and writes nothing but a line for what it did.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::record::{Reading, RecordReader};
use super::{Armed, aside, end, urgent};
use crate::clock::boottime;
use crate::watchdog::Watchdog;

/// How much later than the agent it acts.
pub(super) const GRACE: Duration = Duration::from_millis(150);
/// How often it looks.
const POLL: Duration = Duration::from_millis(50);

/// How long after its own act a server may still be there before the watchdog is no longer fed.
const LAST: Duration = Duration::from_secs(1);

/// The kernel's watchdog, for a server that outlives SIGKILL, and a host on which nothing runs any more.
#[derive(Clone, Debug)]
pub struct WatchdogOptions {
    /// Its device.
    pub device: PathBuf,
    /// The host is reset when it is not fed for this long.
    pub timeout_seconds: u32,
}

/// Looks at the record until `stop`, and ends the process and removes the address of one that is past its deadline
/// (by 150 ms, the agent's own time to do so) and still armed. A line for each time it acted is added to `log`.
///
/// A record that is missing or not whole is waited for; what was last read there holds until then, so an agent that
/// dies while it writes is not let off.
///
/// The watchdog is armed with the first lease, and fed from then on unless a process is past its deadline by more than
/// a second and still there. When this stops in order, the watchdog does.
///
/// # Errors
/// The kernel does not say which boot this is.
pub async fn run_fencer(
    path: &Path,
    log: &Path,
    watchdog: Option<WatchdogOptions>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    urgent();
    let mut fencer = Fencer {
        record: RecordReader::new(path)?,
        log: log.to_owned(),
        armed: None,
        done: None,
        said: String::new(),
        is_readable: true,
        dog: Dog { options: watchdog, device: None },
    };
    tokio::pin!(stop);
    loop {
        fencer.look();
        tokio::select! {
            () = &mut stop => {
                fencer.dog.stop();
                return Ok(());
            }
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

struct Fencer {
    record: RecordReader,
    log: PathBuf,
    /// What was last read.
    armed: Option<Armed>,
    /// What was acted on, with nothing left to do.
    done: Option<Armed>,
    /// The last line of the log, so that what fails is not repeated twenty times a second.
    said: String,
    is_readable: bool,
    dog: Dog,
}

/// The watchdog, once it is needed.
struct Dog {
    options: Option<WatchdogOptions>,
    device: Option<Watchdog>,
}

impl Dog {
    /// Feeds it; the first time only for a lease.
    fn feed(&mut self, armed: Option<&Armed>) {
        if self.device.is_none() && armed.is_some() {
            self.arm();
        }
        if let Some(device) = &mut self.device
            && let Err(error) = device.keep_alive()
        {
            aside(move || tracing::error!(%error, "the watchdog could not be fed"));
        }
    }

    fn arm(&mut self) {
        // One try: what fails now would fail twenty times a second.
        let Some(options) = self.options.take() else { return };
        let armed = Watchdog::arm(&options.device);
        if let Ok(device) = &armed
            && let Err(error) = device.set_timeout(options.timeout_seconds)
        {
            aside(move || tracing::warn!(%error, "the watchdog keeps the driver's own timeout"));
        }
        match armed {
            Ok(device) => self.device = Some(device),
            Err(error) => aside(move || {
                let path = options.device.display();
                tracing::error!(%error, %path, "no watchdog: a server that outlives SIGKILL will not reset the host");
            }),
        }
    }

    fn stop(&mut self) {
        if let Some(device) = self.device.take()
            && let Err(error) = device.disarm()
        {
            tracing::error!(%error, "the watchdog could not be stopped and may reset this host");
        }
    }
}

/// Past its deadline, past what this process did about it, and still there: only a reset ends it.
fn outlives(armed: Option<&Armed>, now: Duration, is_alive: impl Fn(&Armed) -> bool) -> bool {
    armed.is_some_and(|armed| now >= armed.deadline.saturating_add(GRACE + LAST) && is_alive(armed))
}

impl Fencer {
    fn look(&mut self) {
        let was_readable = self.is_readable;
        self.is_readable = true;
        match self.record.read() {
            Reading::Armed(armed) => self.armed = Some(armed),
            Reading::Idle => self.armed = None,
            Reading::Unreadable(why) => {
                self.is_readable = false;
                if was_readable {
                    aside(move || tracing::warn!(why, "the fence's record cannot be read"));
                }
            }
        }
        self.act();
        if !outlives(self.armed.as_ref(), boottime(), |armed| armed.process.is_alive()) {
            self.dog.feed(self.armed.as_ref());
        }
    }

    fn act(&mut self) {
        let Some(armed) = self.armed.clone() else { return };
        if boottime() < armed.deadline.saturating_add(GRACE) || self.done.as_ref() == Some(&armed) {
            return;
        }
        // Also where the server has ended: the agent may have stopped before it came to the address.
        let ending = end(armed.process, armed.address.as_ref());
        if !ending.was_needless() {
            self.say(format!("epoch {}: {ending}", armed.epoch));
        }
        if ending.is_complete() {
            self.done = Some(armed);
        }
    }

    fn say(&mut self, text: String) {
        if text == self.said {
            return;
        }
        self.said.clone_from(&text);
        let log = self.log.clone();
        aside(move || {
            tracing::error!("the agent did not act in time: {text}");
            if let Err(error) = append(&log, &format!("{} {text}\n", jiff::Timestamp::now())) {
                tracing::warn!(%error, path = %log.display(), "the fencer's log was not written");
            }
        });
    }
}

fn append(path: &Path, line: &str) -> io::Result<()> {
    OpenOptions::new().create(true).append(true).open(path)?.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::ProcessId;

    fn armed(deadline: Duration) -> Armed {
        Armed { deadline, epoch: 1, process: ProcessId { pid: 1, start_ticks: 1 }, address: None }
    }

    #[test]
    fn only_what_outlives_its_deadline_starves_the_watchdog() {
        let lease = armed(Duration::from_secs(100));
        let late = Duration::from_secs(102);
        assert!(outlives(Some(&lease), late, |_| true));
        assert!(!outlives(Some(&lease), late, |_| false), "it is gone");
        assert!(!outlives(Some(&lease), Duration::from_secs(101), |_| true), "it may still be ending");
        assert!(!outlives(None, late, |_| true), "nothing is armed");
    }

    #[test]
    fn the_watchdog_is_armed_by_a_lease_fed_and_stopped() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let options = WatchdogOptions { device: file.path().to_owned(), timeout_seconds: 3 };
        let mut dog = Dog { options: Some(options), device: None };
        dog.feed(None);
        assert_eq!(std::fs::read(file.path()).unwrap(), b"");
        dog.feed(Some(&armed(Duration::from_secs(100))));
        // The lease was given up: a device that cannot be stopped has to be fed on.
        dog.feed(None);
        dog.stop();
        assert_eq!(std::fs::read(file.path()).unwrap(), b"..V");
    }
}
