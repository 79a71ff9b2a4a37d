//! Reading logs into a digest: one after the other, or slow logs by several threads at once.
//!
//! With several threads each takes the next part of the log, cut where a record begins, and digests it for itself; the
//! sums are the same. Memory is a few blocks a thread.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use digest::event::{LogReader, Position};
use digest::report::FileRead;
use digest::slow::{Inherited, SlowLog, last_cut};
use digest::sniff::{self, sniff};
use digest::{Digest, Settings};
use host::logs::Log;

use crate::failure::Failure;

/// Bytes read at once.
const BLOCK_BYTES: usize = 1 << 20;
/// Without a cut in so many bytes, they are read in one go.
const PART_BYTES_MAX: usize = 4 << 20;
/// Bytes of a file by which it is told what it is.
const SNIFFED_BYTES: usize = 64 << 10;
/// A file of which so much was skipped without one event is not read further.
const SKIPPED_BYTES_MAX: u64 = 64 << 20;

/// What was read.
#[derive(Debug)]
pub(crate) struct Gathered {
    pub(crate) digest: Digest,
    pub(crate) files: Vec<FileRead>,
}

/// A file and what came of it.
#[derive(Debug)]
struct FileTally {
    read: FileRead,
    first: Vec<u8>,
    events: u64,
    skipped_bytes: u64,
}

impl FileTally {
    fn new(name: &str) -> Self {
        let read = FileRead { name: name.to_owned(), bytes: 0, problem: None };
        Self { read, first: Vec::new(), events: 0, skipped_bytes: 0 }
    }

    /// Fills a block; less than a block is the end, or what comes before what cannot be read.
    fn fill(&mut self, log: &mut Log, block: &mut [u8]) -> usize {
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match log.fill(rest) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) => {
                    self.read.problem = Some(host::reason(&error));
                    break;
                }
            }
        }
        let block = block.get(..filled).unwrap_or_default();
        if self.read.bytes == 0 {
            self.first = block.get(..SNIFFED_BYTES).unwrap_or(block).to_vec();
        }
        self.read.bytes += filled as u64;
        filled
    }

    /// Refuses a file that is none of the logs wanted, as far as was read.
    fn check(&self, wanted: sniff::Kind, is_end: bool) -> Result<(), Failure> {
        let seems = || sniff(&self.first);
        let is_enough = is_end || self.skipped_bytes > SKIPPED_BYTES_MAX;
        let is_none = self.events == 0 && is_enough && self.skipped_bytes > 0 && self.read.problem.is_none();
        if is_none || (self.events == 0 && seems() == sniff::Kind::BinaryLog) {
            return Err(not_log(&self.read, wanted, seems()));
        }
        Ok(())
    }
}

fn not_log(read: &FileRead, wanted: sniff::Kind, seems: sniff::Kind) -> Failure {
    let name = &read.name;
    let hint = match seems {
        sniff::Kind::SlowLog if wanted != seems => format!("mainstay digest slow {name}"),
        sniff::Kind::GeneralLog if wanted != seems => format!("mainstay digest general {name}"),
        sniff::Kind::BinaryLog => format!("mainstay digest binlog {name}"),
        sniff::Kind::SlowLog
        | sniff::Kind::GeneralLog
        | sniff::Kind::ErrorLog
        | sniff::Kind::Sql
        | sniff::Kind::Binary
        | sniff::Kind::Text => {
            let variable =
                if wanted == sniff::Kind::GeneralLog { "general_log_file" } else { "slow_query_log_file" };
            format!("ask the server where it is: {variable} in `mainstay facts --variables`")
        }
    };
    let seems = if seems == wanted {
        "it has no whole record".to_owned()
    } else {
        format!("it seems to be {}", seems.name())
    };
    Failure::said(format!("`{name}` is not {}: {seems}; {} bytes were read", wanted.name(), read.bytes), hint)
}

fn open(path: &Path) -> Result<Log, Failure> {
    Ok(if path.as_os_str() == "-" { Log::standard_input()? } else { Log::open(path)? })
}

/// Reads logs one after the other.
pub(crate) fn one_by_one<R: LogReader + Default>(
    paths: &[PathBuf],
    settings: &Settings,
    wanted: sniff::Kind,
) -> Result<Gathered, Failure> {
    let mut digest = Digest::new(settings.clone());
    let mut reader = R::default();
    let mut block = vec![0; BLOCK_BYTES];
    let mut files = Vec::new();
    for path in paths {
        let mut log = open(path)?;
        let mut tally = FileTally::new(log.name());
        let (events, skipped) = (reader.events(), reader.skipped().bytes);
        loop {
            let read = tally.fill(&mut log, &mut block);
            let bytes = block.get(..read).unwrap_or_default();
            reader.feed(bytes, &mut digest);
            (tally.events, tally.skipped_bytes) =
                (reader.events() - events, reader.skipped().bytes - skipped);
            tally.check(wanted, false)?;
            if read < block.len() {
                break;
            }
        }
        reader.next_file(&mut digest);
        (tally.events, tally.skipped_bytes) = (reader.events() - events, reader.skipped().bytes - skipped);
        tally.check(wanted, true)?;
        files.push(tally.read);
    }
    digest.skip(reader.skipped());
    Ok(Gathered { digest, files })
}

/// Reads slow logs, by several threads where that is asked for and gives the same.
pub(crate) fn slow(paths: &[PathBuf], settings: &Settings, threads: usize) -> Result<Gathered, Failure> {
    // The first events of a class are known only to who reads them in order.
    if threads < 2 || settings.sample.is_some() {
        return one_by_one::<SlowLog>(paths, settings, sniff::Kind::SlowLog);
    }
    let source = Mutex::new(Source::new(paths, settings));
    let digests = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| work(&source, settings))).collect();
        workers.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    let mut source = source.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(failure) = source.failure.take() {
        return Err(failure);
    }
    let mut digest = source.digest;
    digest.skip(source.reader.skipped());
    for part in digests {
        match part {
            Ok(part) => digest.merge(&part),
            Err(_) => {
                return Err(Failure::said("a thread that read the log has failed", "try with --threads 1"));
            }
        }
    }
    for tally in &source.tallies {
        tally.check(sniff::Kind::SlowLog, true)?;
    }
    Ok(Gathered { digest, files: source.tallies.into_iter().map(|tally| tally.read).collect() })
}

/// Takes part after part and digests it.
fn work(source: &Mutex<Source<'_>>, settings: &Settings) -> Digest {
    let mut digest = Digest::new(settings.clone());
    let mut reader = SlowLog::default();
    let mut buffer = Vec::new();
    let mut done = None;
    loop {
        let part = {
            let mut source = source.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((file, events, skipped)) = done.take() {
                source.note(file, events, skipped);
            }
            source.next(&mut buffer)
        };
        let Some(part) = part else { break };
        let (events, skipped) = (reader.events(), reader.skipped().bytes);
        let file = part.position.file;
        reader.restart(part.position, part.inherited);
        reader.feed(buffer.get(..part.bytes).unwrap_or_default(), &mut digest);
        reader.finish(&mut digest);
        done = Some((file, reader.events() - events, reader.skipped().bytes - skipped));
    }
    digest.skip(reader.skipped());
    digest
}

/// A part of a log, in the buffer of who reads it.
struct Part {
    position: Position,
    inherited: Inherited,
    bytes: usize,
}

/// The logs, of which each thread takes the next part.
struct Source<'p> {
    paths: std::slice::Iter<'p, PathBuf>,
    log: Option<Log>,
    tallies: Vec<FileTally>,
    /// Where the next part begins.
    offset: u64,
    /// What was read of it.
    carry: Vec<u8>,
    inherited: Inherited,
    failure: Option<Failure>,
    /// For records too long to be a part's.
    reader: SlowLog,
    digest: Digest,
}

impl<'p> Source<'p> {
    fn new(paths: &'p [PathBuf], settings: &Settings) -> Self {
        Self {
            paths: paths.iter(),
            log: None,
            tallies: Vec::new(),
            offset: 0,
            carry: Vec::new(),
            inherited: Inherited::default(),
            failure: None,
            reader: SlowLog::default(),
            digest: Digest::new(settings.clone()),
        }
    }

    /// Notes what came of a part.
    fn note(&mut self, file: u32, events: u64, skipped_bytes: u64) {
        if let Some(tally) = self.tallies.get_mut(file as usize) {
            tally.events += events;
            tally.skipped_bytes += skipped_bytes;
            if let Err(failure) = tally.check(sniff::Kind::SlowLog, false) {
                self.failure.get_or_insert(failure);
            }
        }
    }

    /// Fills the buffer with the next part; `None` at the end of all, or where reading failed.
    fn next(&mut self, buffer: &mut Vec<u8>) -> Option<Part> {
        while self.failure.is_none() {
            if self.log.is_none() && !self.open_next() {
                return None;
            }
            let mut held = self.carry.len();
            if buffer.len() < held + BLOCK_BYTES {
                buffer.resize(held + BLOCK_BYTES, 0);
            }
            buffer.get_mut(..held)?.copy_from_slice(&self.carry);
            self.carry.clear();
            let read = self.fill(buffer.get_mut(held..held + BLOCK_BYTES)?);
            held += read;
            let bytes = buffer.get(..held)?;
            if read < BLOCK_BYTES {
                self.log = None;
                if held == 0 {
                    continue;
                }
                return Some(self.part(bytes));
            }
            if let Some(cut) = last_cut(bytes) {
                self.carry.extend_from_slice(bytes.get(cut..)?);
                return Some(self.part(bytes.get(..cut)?));
            }
            if held < PART_BYTES_MAX {
                self.carry.extend_from_slice(bytes);
            } else {
                self.read_through(buffer, held);
            }
        }
        None
    }

    fn open_next(&mut self) -> bool {
        let Some(path) = self.paths.next() else { return false };
        match open(path) {
            Ok(log) => {
                self.tallies.push(FileTally::new(log.name()));
                self.log = Some(log);
                self.offset = 0;
                true
            }
            Err(failure) => {
                self.failure = Some(failure);
                false
            }
        }
    }

    /// Reads a block; less than a block is the end.
    fn fill(&mut self, block: &mut [u8]) -> usize {
        let (Some(log), Some(tally)) = (&mut self.log, self.tallies.last_mut()) else { return 0 };
        tally.fill(log, block)
    }

    fn position(&self) -> Position {
        let file = u32::try_from(self.tallies.len().saturating_sub(1)).unwrap_or(u32::MAX);
        Position { file, offset: self.offset }
    }

    fn part(&mut self, bytes: &[u8]) -> Part {
        let position = self.position();
        self.offset += bytes.len() as u64;
        let inherited = self.inherited.clone();
        self.inherited = std::mem::take(&mut self.inherited).behind(bytes);
        Part { position, inherited, bytes: bytes.len() }
    }

    /// Reads on until the record that is longer than a part has ended.
    fn read_through(&mut self, buffer: &mut Vec<u8>, held: usize) {
        let (events, skipped) = (self.reader.events(), self.reader.skipped().bytes);
        let position = self.position();
        self.reader.restart(position, std::mem::take(&mut self.inherited));
        self.reader.feed(buffer.get(..held).unwrap_or_default(), &mut self.digest);
        loop {
            if let Some((held, position, inherited)) = self.reader.held() {
                self.carry.extend_from_slice(held);
                self.offset = position.offset;
                self.inherited = inherited.clone();
                break;
            }
            buffer.resize(BLOCK_BYTES.max(buffer.len()), 0);
            let read = self.fill(buffer.get_mut(..BLOCK_BYTES).unwrap_or_default());
            self.reader.feed(buffer.get(..read).unwrap_or_default(), &mut self.digest);
            if read < BLOCK_BYTES {
                self.reader.finish(&mut self.digest);
                self.inherited = self.reader.inherited().clone();
                self.log = None;
                break;
            }
        }
        let (events, skipped) = (self.reader.events() - events, self.reader.skipped().bytes - skipped);
        self.note(position.file, events, skipped);
    }
}
