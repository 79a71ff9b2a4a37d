//! The record that the agent writes and the separate process reads: one line of fixed length with a checksum, so
//! that one half written says nothing.
//!
//! The line names the boot it was written in: times since boot and process ids mean nothing after the next one.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::address::FloatingAddress;
use crate::files::sha256_hex;
use crate::process::ProcessId;

/// Length of the line.
const BYTES: usize = 512;
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const SUM_CHARS: usize = 16;
const DISARMED: &str = "disarmed";

/// An armed fence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Armed {
    /// When the process has to end, as time since boot.
    pub deadline: Duration,
    /// The epoch of the lease.
    pub epoch: u64,
    /// The process.
    pub process: ProcessId,
    /// The address to take away.
    pub address: Option<FloatingAddress>,
}

/// What a look at the record gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Armed, in this boot.
    Armed(Armed),
    /// Disarmed, or of an earlier boot.
    Idle,
    /// There is none, or it is not whole; why.
    Unreadable(String),
}

/// The record as the agent has it: open all the time, written in place.
#[derive(Debug)]
pub(super) struct RecordFile {
    file: File,
    boot: String,
}

impl RecordFile {
    /// Opens the record; a new one says that nothing is armed.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let opened = Self { file, boot: boot_id()? };
        if opened.file.metadata()?.len() == 0 {
            opened.write(None)?;
        }
        Ok(opened)
    }

    pub(super) fn write(&self, armed: Option<&Armed>) -> io::Result<()> {
        let line = armed.map_or_else(|| DISARMED.to_owned(), |armed| line(&self.boot, armed));
        let mut bytes = format!("{} {line}\n", sum(&line)).into_bytes();
        if bytes.len() > BYTES {
            return Err(io::Error::other("the fence's record is too long"));
        }
        bytes.resize(BYTES, b' ');
        self.file.write_all_at(&bytes, 0)
    }

    pub(super) fn read(&self) -> Reading {
        read(&self.file, &self.boot)
    }
}

/// The record as the separate process has it: found by its path at each look, since it may appear later or be
/// replaced; never made.
#[derive(Debug)]
pub(super) struct RecordReader {
    path: PathBuf,
    boot: String,
    /// One that was removed is still read: an agent that has it open writes there.
    found: Option<File>,
}

impl RecordReader {
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), boot: boot_id()?, found: None })
    }

    pub(super) fn read(&mut self) -> Reading {
        match (File::open(&self.path), &self.found) {
            (Ok(file), _) => read(self.found.insert(file), &self.boot),
            (Err(_), Some(file)) => read(file, &self.boot),
            (Err(error), None) => Reading::Unreadable(error.to_string()),
        }
    }
}

fn boot_id() -> io::Result<String> {
    let text = crate::files::read_text(Path::new(BOOT_ID), 128).map_err(io::Error::other)?;
    Ok(text.trim().to_owned())
}

fn read(file: &File, boot: &str) -> Reading {
    let mut bytes = [0; BYTES];
    if let Err(error) = file.read_exact_at(&mut bytes, 0) {
        return Reading::Unreadable(error.to_string());
    }
    whole_line(&bytes)
        .and_then(|line| parse(boot, line))
        .unwrap_or_else(|| Reading::Unreadable("it is not whole".to_owned()))
}

fn whole_line(bytes: &[u8]) -> Option<&str> {
    let (found, line) = std::str::from_utf8(bytes).ok()?.trim_end().split_once(' ')?;
    (found == sum(line)).then_some(line)
}

fn sum(line: &str) -> String {
    sha256_hex(line.as_bytes()).chars().take(SUM_CHARS).collect()
}

fn line(boot: &str, armed: &Armed) -> String {
    let address = armed
        .address
        .as_ref()
        .map_or_else(|| "-".to_owned(), |address| format!("{}@{}", address.network, address.interface));
    let Armed { deadline, epoch, process, .. } = armed;
    format!("{boot} {} {epoch} {} {} {address}", deadline.as_nanos(), process.pid, process.start_ticks)
}

/// `None` for a line that nobody wrote.
fn parse(boot: &str, line: &str) -> Option<Reading> {
    if line == DISARMED {
        return Some(Reading::Idle);
    }
    let mut words = line.split(' ');
    if words.next()? != boot {
        return Some(Reading::Idle);
    }
    let deadline = Duration::from_nanos(words.next()?.parse().ok()?);
    let epoch = words.next()?.parse().ok()?;
    let process = ProcessId { pid: words.next()?.parse().ok()?, start_ticks: words.next()?.parse().ok()? };
    let address = match words.next()? {
        "-" => None,
        address => {
            let (network, interface) = address.split_once('@')?;
            Some(FloatingAddress { network: network.parse().ok()?, interface: interface.to_owned() })
        }
    };
    Some(Reading::Armed(Armed { deadline, epoch, process, address }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn armed() -> Armed {
        Armed {
            deadline: Duration::from_millis(1_234),
            epoch: 5,
            process: ProcessId { pid: 77, start_ticks: 88 },
            address: Some(FloatingAddress {
                network: "10.0.0.100/24".parse().unwrap(),
                interface: "eth0".to_owned(),
            }),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fence");
        let mut reader = RecordReader::new(&path).unwrap();
        assert!(matches!(reader.read(), Reading::Unreadable(_)), "there is none yet");
        assert!(!path.exists(), "looking makes none");
        let file = RecordFile::open(&path).unwrap();
        assert_eq!(reader.read(), Reading::Idle, "a new one is not armed");
        let bare =
            Armed { address: None, deadline: Duration::from_nanos(u64::MAX), epoch: u64::MAX, ..armed() };
        for armed in [armed(), bare] {
            file.write(Some(&armed)).unwrap();
            assert_eq!(file.read(), Reading::Armed(armed.clone()));
            assert_eq!(reader.read(), Reading::Armed(armed));
        }
        file.write(None).unwrap();
        assert_eq!(reader.read(), Reading::Idle);
        let endless = FloatingAddress { network: "10.0.0.1/32".parse().unwrap(), interface: "x".repeat(600) };
        assert!(file.write(Some(&Armed { address: Some(endless), ..armed() })).is_err());
    }

    #[test]
    fn one_of_another_boot_is_idle() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = RecordFile::open(&folder.path().join("fence")).unwrap();
        file.boot = "8f1f2c5e-another".to_owned();
        file.write(Some(&armed())).unwrap();
        assert_eq!(file.read(), Reading::Armed(armed()));
        file.boot = boot_id().unwrap();
        assert_eq!(file.read(), Reading::Idle);
    }

    /// Any prefix of a new record over an old one: the checksum tells.
    #[test]
    fn a_torn_record_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["old", "new", "torn"].map(|name| folder.path().join(name));
        let [old, new, torn] = paths.each_ref().map(|path| RecordFile::open(path).unwrap());
        old.write(Some(&armed())).unwrap();
        let next = Armed { deadline: Duration::from_millis(9_876), ..armed() };
        new.write(Some(&next)).unwrap();
        let [old, new] = [&paths[0], &paths[1]].map(|path| std::fs::read(path).unwrap());
        for written in 0..=BYTES {
            let mixed = [&new[..written], &old[written..]].concat();
            torn.file.write_all_at(&mixed, 0).unwrap();
            let expected = match &mixed {
                mixed if *mixed == old => Reading::Armed(armed()),
                mixed if *mixed == new => Reading::Armed(next.clone()),
                _ => Reading::Unreadable("it is not whole".to_owned()),
            };
            assert_eq!(torn.read(), expected, "{written} bytes");
        }
        torn.file.set_len(100).unwrap();
        assert!(matches!(torn.read(), Reading::Unreadable(_)));
    }

    #[test]
    fn one_that_is_removed_is_read_until_there_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fence");
        let mut reader = RecordReader::new(&path).unwrap();
        let file = RecordFile::open(&path).unwrap();
        file.write(Some(&armed())).unwrap();
        assert_eq!(reader.read(), Reading::Armed(armed()));
        std::fs::remove_file(&path).unwrap();
        let later = Armed { epoch: 6, ..armed() };
        file.write(Some(&later)).unwrap();
        assert_eq!(reader.read(), Reading::Armed(later));
        let _other = RecordFile::open(&path).unwrap();
        assert_eq!(reader.read(), Reading::Idle);
    }
}
