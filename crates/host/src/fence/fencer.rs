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

/// How much later than the agent it acts.
pub(super) const GRACE: Duration = Duration::from_millis(150);
/// How often it looks.
const POLL: Duration = Duration::from_millis(50);

/// Looks at the record until `stop`, and ends the process and removes the address of one that is past its deadline
/// (by 150 ms, the agent's own time to do so) and still armed. A line for each time it acted is added to `log`.
///
/// A record that is missing or not whole is waited for; what was last read there holds until then, so an agent that
/// dies while it writes is not let off.
///
/// # Errors
/// The kernel does not say which boot this is.
pub async fn run_fencer(path: &Path, log: &Path, stop: impl Future<Output = ()>) -> io::Result<()> {
    urgent();
    let mut fencer = Fencer {
        record: RecordReader::new(path)?,
        log: log.to_owned(),
        armed: None,
        done: None,
        said: String::new(),
        is_readable: true,
    };
    tokio::pin!(stop);
    loop {
        fencer.look();
        tokio::select! {
            () = &mut stop => return Ok(()),
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
