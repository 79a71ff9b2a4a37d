//! Whether a disk still takes writes, and has room: a small synchronous write now and then, on a thread of its own,
//! since one on a stalled disk does not come back.
//!
//! How long is too long is not decided here.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, statvfs};

/// Between two writes.
const PAUSE: Duration = Duration::from_secs(1);
const FILE: &str = ".mainstay-probe";
const BLOCK: [u8; 512] = [0; 512];
/// With less left for those who are not root, a server cannot even begin another file of its log.
const FREE_BYTES_MIN: u64 = 1 << 20;

/// What became of a write that came back: how long it took, or why it was refused.
pub type Probed = Result<Duration, String>;

/// The probe of one folder.
#[derive(Debug, Default)]
pub struct ProbeState {
    under_way: Option<UnderWay>,
    last: Option<Probed>,
    is_full: bool,
}

#[derive(Debug)]
struct UnderWay {
    began: Instant,
    outcome: Arc<OnceLock<(Probed, bool)>>,
}

impl ProbeState {
    /// Begins a write if the last one came back and is a second ago. Never more than one is under way, however long
    /// the disk stalls. Returns at once.
    pub fn probe(&mut self, folder: &Path) {
        self.gather();
        if let Some(UnderWay { began, outcome }) = &self.under_way
            && (outcome.get().is_none() || began.elapsed() < PAUSE)
        {
            return;
        }
        let (began, outcome) = (Instant::now(), Arc::new(OnceLock::new()));
        let (path, tell) = (folder.join(FILE), outcome.clone());
        let started = std::thread::Builder::new().name("disk probe".to_owned()).spawn(move || {
            let written = write(&path);
            let is_full = match &written {
                Err(error) if error.kind() == io::ErrorKind::StorageFull => true,
                Ok(()) | Err(_) => has_no_room(&path),
            };
            let probed = written.map(|()| began.elapsed()).map_err(|error| error.to_string());
            drop(tell.set((probed, is_full)));
        });
        match started {
            Ok(_) => self.under_way = Some(UnderWay { began, outcome }),
            Err(error) => self.last = Some(Err(format!("no thread for it: {error}"))),
        }
    }

    /// How long the write that is under way has taken; zero when none is.
    #[must_use]
    pub fn stalled_for(&self) -> Duration {
        match &self.under_way {
            Some(UnderWay { began, outcome }) if outcome.get().is_none() => began.elapsed(),
            Some(_) | None => Duration::ZERO,
        }
    }

    /// What became of the last write that came back; `None` before the first. One that is refused (no space, a file
    /// system turned read-only) is not a stalled one.
    #[must_use]
    pub fn last(&self) -> Option<&Probed> {
        self.came_back().map(|(probed, _)| probed).or(self.last.as_ref())
    }

    /// Less than 1 MiB was left for those who are not root, or nothing for anybody, when the last write came back.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.came_back().map_or(self.is_full, |(_, is_full)| *is_full)
    }

    fn came_back(&self) -> Option<&(Probed, bool)> {
        self.under_way.as_ref().and_then(|under_way| under_way.outcome.get())
    }

    fn gather(&mut self) {
        if let Some((probed, is_full)) = self.came_back().cloned() {
            (self.last, self.is_full) = (Some(probed), is_full);
        }
    }
}

fn write(path: &Path) -> io::Result<()> {
    let flags = i32::try_from(OFlags::DSYNC.bits()).unwrap_or(0);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    options.open(path)?.write_all_at(&BLOCK, 0)
}

fn has_no_room(path: &Path) -> bool {
    let space = path.parent().and_then(|folder| statvfs(folder).ok());
    space.is_some_and(|space| space.f_bavail.saturating_mul(space.f_frsize) < FREE_BYTES_MIN)
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn wait(what: impl Fn() -> bool) {
        let began = Instant::now();
        while !what() {
            assert!(began.elapsed() < Duration::from_secs(10));
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_write_that_is_done_is_not_stalled() {
        let folder = tempfile::tempdir().unwrap();
        let mut probe = ProbeState::default();
        assert_eq!(probe.last(), None);
        probe.probe(folder.path());
        wait(|| probe.last().is_some());
        assert_eq!(probe.stalled_for(), Duration::ZERO);
        let took = probe.last().unwrap().clone().unwrap();
        assert!(took > Duration::ZERO && took < Duration::from_secs(10));
        assert_eq!(std::fs::metadata(folder.path().join(FILE)).unwrap().len(), 512);
        assert!(!probe.is_full());
    }

    /// Every write to this device is told that there is no room.
    #[test]
    fn a_full_disk_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/full", folder.path().join(FILE)).unwrap();
        let mut probe = ProbeState::default();
        probe.probe(folder.path());
        wait(|| probe.last().is_some());
        assert!(probe.is_full(), "{:?}", probe.last());
    }

    #[test]
    fn a_write_that_is_refused_says_why() {
        let mut probe = ProbeState::default();
        probe.probe(Path::new("/proc/self/nowhere"));
        wait(|| probe.last().is_some());
        assert!(probe.last().unwrap().as_ref().unwrap_err().contains("No such file"), "{:?}", probe.last());
        assert_eq!(probe.stalled_for(), Duration::ZERO);
    }

    /// A pipe without a reader is opened as slowly as a stalled disk writes.
    #[test]
    fn a_stalled_write_is_waited_for_alone() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join(FILE);
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let mut probe = ProbeState::default();
        probe.probe(folder.path());
        let Some(first) = probe.under_way.as_ref().map(|under_way| under_way.began) else {
            panic!("no write")
        };
        wait(|| probe.stalled_for() > PAUSE);
        probe.probe(folder.path());
        assert_eq!(
            probe.under_way.as_ref().map(|under_way| under_way.began),
            Some(first),
            "a second write began"
        );
        assert_eq!(probe.last(), None);

        let reader = std::fs::File::open(&pipe).unwrap();
        wait(|| probe.last().is_some());
        assert_eq!(probe.stalled_for(), Duration::ZERO, "the disk is back");
        drop(reader);
        std::fs::remove_file(&pipe).unwrap();
        probe.probe(folder.path());
        wait(|| probe.last().is_some_and(Result::is_ok));
    }
}
