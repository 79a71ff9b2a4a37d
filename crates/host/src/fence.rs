//! Ending a server in time, without asking it: by a thread of the agent's own, and by a separate process should the
//! agent hang.
//!
//! Both go by one deadline. The thread takes it from memory and takes no lock; the process takes it from a small
//! file. At the deadline the server is sent SIGKILL and the floating address is taken off. Nothing here talks SQL:
//! statements of a server that waits for acknowledgements can block for ever. Nor does it write to a disk or a log
//! before it has acted: these can block as long.

mod fencer;
mod record;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::setpriority_process;

use crate::address::FloatingAddress;
use crate::clock::boottime;
use crate::process::{ProcessId, Signal};
pub use fencer::{WatchdogOptions, run_fencer};
pub use record::Armed;
use record::{Reading, RecordFile};

/// The thread looks at least this often: while a host sleeps, the clock of its naps stands still and that of the
/// deadline does not.
const LOOK: Duration = Duration::from_millis(100);

/// What could not be done is tried again so often, and after such a pause.
const TRIES: u32 = 20;
const TRY_PAUSE: Duration = Duration::from_millis(50);

/// The agent's own fence.
#[derive(Debug)]
pub struct Guard {
    shared: Arc<State>,
    thread: Thread,
    address: Option<FloatingAddress>,
    /// Never taken by the thread.
    kept: Mutex<Kept>,
}

/// The record, and what was written there last.
#[derive(Debug)]
struct Kept {
    file: RecordFile,
    armed: Option<Armed>,
}

/// What the thread reads: atomics only.
#[derive(Debug, Default)]
struct State {
    /// Nanoseconds since boot; 0 while disarmed, and from the moment the thread acts.
    deadline: AtomicU64,
    pid: AtomicU32,
    start_ticks: AtomicU64,
    fired: AtomicBool,
    ended: AtomicBool,
}

impl Guard {
    /// Opens the record, made if it is not there, and starts the thread. What the record holds stays until changed,
    /// so that an agent that was started anew goes on where the last one was.
    ///
    /// The record is best on a file system in memory, such as `/run`: then no disk that stalls holds up who writes it.
    ///
    /// # Errors
    /// The record cannot be made, or no thread be started.
    pub fn open(path: &Path, address: Option<FloatingAddress>) -> io::Result<Self> {
        let file = RecordFile::open(path)?;
        let shared = Arc::new(State::default());
        let armed = match file.read() {
            Reading::Armed(armed) => Some(armed),
            Reading::Idle => None,
            Reading::Unreadable(why) => {
                // It stays as it is: the separate process may know what it said before.
                tracing::warn!(path = %path.display(), why, "the fence's record cannot be read");
                None
            }
        };
        if let Some(armed) = &armed {
            shared.set(armed.process, armed.deadline);
        }
        let (state, floating) = (shared.clone(), address.clone());
        let named = thread::Builder::new().name("fence".to_owned());
        let handle = named.spawn(move || watch(&state, floating.as_ref()))?;
        let kept = Mutex::new(Kept { file, armed });
        Ok(Self { shared, thread: handle.thread().clone(), address, kept })
    }

    /// What the record says, if it is armed and of this boot.
    #[must_use]
    pub fn armed(&self) -> Option<Armed> {
        self.kept().armed.clone()
    }

    /// The deadline went by and the thread acted. It stays so until the next [`Self::arm`].
    #[must_use]
    pub fn has_fired(&self) -> bool {
        self.shared.fired.load(Ordering::SeqCst)
    }

    /// From now on the process ends at the deadline (time since boot).
    ///
    /// # Errors
    /// The record cannot be written: then the separate process would not know. Nothing is armed that was not.
    pub fn arm(&self, deadline: Duration, epoch: u64, process: ProcessId) -> io::Result<()> {
        let armed = Armed { deadline, epoch, process, address: self.address.clone() };
        let mut kept = self.kept();
        kept.file.write(Some(&armed))?;
        kept.armed = Some(armed);
        self.shared.set(process, deadline);
        self.thread.unpark();
        Ok(())
    }

    /// Puts the deadline off; never brings it forward. `false` if nothing is armed, the deadline has gone by, or the
    /// record could not be written, so that the separate process will act at the deadline it knows.
    pub fn extend(&self, deadline: Duration) -> bool {
        let mut kept = self.kept();
        let Some(mut armed) = kept.armed.clone() else { return false };
        let before = nanos(armed.deadline);
        // After a pause of this host or this process, renewing may come before the thread: too late is too late.
        if boottime() >= armed.deadline {
            self.thread.unpark();
            return false;
        }
        if deadline <= armed.deadline {
            return self.shared.deadline.load(Ordering::SeqCst) == before;
        }
        // Only the one that changes the deadline from what it was may act on it: this, or the thread.
        let put_off = self.shared.deadline.compare_exchange(
            before,
            nanos(deadline),
            Ordering::SeqCst,
            Ordering::SeqCst,
        );
        if put_off.is_err() {
            return false;
        }
        armed.deadline = deadline;
        let written = kept.file.write(Some(&armed));
        kept.armed = Some(armed);
        match written {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, "the fence's record was not written");
                false
            }
        }
    }

    /// The process need not end any more.
    pub fn disarm(&self) {
        let mut kept = self.kept();
        self.shared.deadline.store(0, Ordering::SeqCst);
        kept.armed = None;
        if let Err(error) = kept.file.write(None) {
            tracing::error!(%error, "the fence's record was not written");
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // The record stays armed: what the agent leaves behind, the separate process ends.
        self.shared.ended.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl State {
    fn set(&self, process: ProcessId, deadline: Duration) {
        // While it is 0, the thread does not take a half-written process for the armed one.
        self.deadline.store(0, Ordering::SeqCst);
        self.pid.store(process.pid, Ordering::SeqCst);
        self.start_ticks.store(process.start_ticks, Ordering::SeqCst);
        self.fired.store(false, Ordering::SeqCst);
        self.deadline.store(nanos(deadline), Ordering::SeqCst);
    }

    /// The armed process, if nobody has put this deadline off in between; disarmed with that.
    fn take(&self, deadline: u64) -> Option<ProcessId> {
        let pid = self.pid.load(Ordering::SeqCst);
        let start_ticks = self.start_ticks.load(Ordering::SeqCst);
        self.deadline.compare_exchange(deadline, 0, Ordering::SeqCst, Ordering::SeqCst).ok()?;
        Some(ProcessId { pid, start_ticks })
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The thread: ends the process at the deadline.
fn watch(state: &State, address: Option<&FloatingAddress>) {
    urgent();
    while !state.ended.load(Ordering::SeqCst) {
        let deadline = state.deadline.load(Ordering::SeqCst);
        let now = nanos(boottime());
        if deadline == 0 {
            thread::park_timeout(LOOK);
        } else if now < deadline {
            thread::park_timeout(Duration::from_nanos(deadline - now).min(LOOK));
        } else if let Some(process) = state.take(deadline) {
            let mut ending = end(process, address);
            state.fired.store(true, Ordering::SeqCst);
            for _ in 0..TRIES {
                // Armed anew in between: that matters more.
                if ending.is_complete() || state.deadline.load(Ordering::SeqCst) != 0 {
                    break;
                }
                thread::park_timeout(TRY_PAUSE);
                ending = end(process, address);
            }
            let text = ending.to_string();
            aside(move || tracing::error!("the lease ran out: {text}"));
        }
    }
}

/// What became of an attempt to end a process and to take its address off.
#[derive(Debug)]
struct Ending {
    process: ProcessId,
    /// `false` if it had ended already.
    killed: io::Result<bool>,
    /// `false` if it was not there.
    removed: Result<bool, String>,
}

/// SIGKILL first: it takes effect at once, and nothing after it can matter more.
fn end(process: ProcessId, address: Option<&FloatingAddress>) -> Ending {
    let killed = process.signal(Signal::KILL);
    let removed = address.map_or(Ok(false), FloatingAddress::remove_now);
    Ending { process, killed, removed: removed.map_err(|error| crate::reason(&error)) }
}

impl Ending {
    /// Nothing is left to be done.
    const fn is_complete(&self) -> bool {
        self.killed.is_ok() && self.removed.is_ok()
    }

    /// Nothing was left to be done.
    const fn was_needless(&self) -> bool {
        matches!((&self.killed, &self.removed), (Ok(false), Ok(false)))
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pid = self.process.pid;
        match &self.killed {
            Ok(true) => write!(f, "killed process {pid}")?,
            Ok(false) => write!(f, "process {pid} had ended")?,
            Err(error) => write!(f, "process {pid} could not be killed: {error}")?,
        }
        match &self.removed {
            Ok(true) => f.write_str(", removed the floating address"),
            Ok(false) => Ok(()),
            Err(error) => write!(f, ", the floating address was not removed: {error}"),
        }
    }
}

/// Runs what may block on a thread of its own.
fn aside(act: impl FnOnce() + Send + 'static) {
    // Without a thread there is no report; what had to be done is done.
    drop(thread::Builder::new().name("fence report".to_owned()).spawn(act));
}

/// This thread runs before others and its memory stays in RAM, where the system lets it.
fn urgent() {
    if let Err(error) = setpriority_process(None, -20) {
        tracing::debug!(%error, "the fence runs at normal priority");
    }
    if let Err(error) = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::ONFAULT) {
        tracing::debug!(%error, "the fence's memory may be paged out");
    }
}

#[cfg(test)]
mod tests;
