//! Where the logs come from: files, standard input, or a server that sends them as to a replica. It decodes nothing.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use binlog::{Item, ReadError, ReadOptions, Tables, Used, Walked};
use host::binlog_files::LogFile;
use server::{BinlogDump, Connection, DumpEvent, DumpFrom, Limits, ServerError, Sql};
use tokio::sync::mpsc;

use crate::cli::LogArgs;
use crate::failure::Failure;
use crate::verbs::facts::target;

/// Events on their way from a server: at most so many are held.
const EVENTS_HELD: usize = 64;
const MAGIC: [u8; 4] = [0xfe, b'b', b'i', b'n'];

/// A log that is to be read.
#[derive(Clone, Debug)]
pub(crate) struct LogName {
    /// As servers name it, without a folder.
    pub(crate) name: String,
    /// Whether it is the first one.
    pub(crate) is_first: bool,
    /// Whether it is the last one.
    pub(crate) is_last: bool,
}

/// Logs, one after the other.
pub(crate) enum Logs {
    Files { paths: Vec<PathBuf>, next: usize },
    Stream(Stream),
}

/// Logs that a server sends.
pub(crate) struct Stream {
    events: mpsc::Receiver<Result<DumpEvent, ServerError>>,
    /// The log that the next events are of.
    next: Option<String>,
    /// The only logs to read; none for all.
    wanted: Vec<String>,
    last: Option<String>,
    has_begun: bool,
    failure: Option<ServerError>,
}

impl Logs {
    /// Opens what the options name.
    pub(crate) async fn open(args: &LogArgs, start_position: Option<u64>) -> Result<Self, Failure> {
        if args.from_server {
            return stream(args, start_position).await.map(Self::Stream);
        }
        Ok(Self::Files { paths: args.files.clone(), next: 0 })
    }

    /// The next log; none when all have been read.
    pub(crate) fn next(&mut self) -> Option<LogName> {
        match self {
            Self::Files { paths, next } => {
                let path = paths.get(*next)?;
                *next += 1;
                Some(LogName { name: shown_name(path), is_first: *next == 1, is_last: *next == paths.len() })
            }
            Self::Stream(stream) => stream.next_log(),
        }
    }

    /// The file of the log that [`Logs::next`] has named; none where it can only be read from its beginning to its
    /// end.
    pub(crate) fn file(&self) -> Result<Option<(LogFile, &Path)>, Failure> {
        let Self::Files { paths, next } = self else { return Ok(None) };
        let Some(path) = next.checked_sub(1).and_then(|at| paths.get(at)) else { return Ok(None) };
        Ok(LogFile::open(path)?.map(|file| (file, path.as_path())))
    }

    /// Reads the log that [`Logs::next`] has named.
    pub(crate) fn walk(
        &mut self,
        options: ReadOptions,
        tables: &mut Tables,
        on: impl FnMut(&Item<'_>) -> Used,
    ) -> Result<Walked, Failure> {
        match self {
            Self::Files { paths, next } => {
                let Some(path) = next.checked_sub(1).and_then(|at| paths.get(at)) else {
                    return Err(Failure::said("no log is open", "this is a mistake in Mainstay"));
                };
                let log = host::binlog_files::open_log(path)?;
                let log = binlog::plain(log).with_context(|| format!("cannot read {}", path.display()))?;
                binlog::walk(log, options, tables, on).map_err(|error| failed(error, &path.display()))
            }
            Self::Stream(stream) => {
                let name = stream.next.take().unwrap_or_default();
                let options = ReadOptions { is_stream: true, ..options };
                let log = StreamedLog { stream, chunk: MAGIC.to_vec(), at: 0 };
                let walked = binlog::walk(log, options, tables, on);
                match stream.failure.take() {
                    Some(failure) => Err(anyhow::Error::new(failure).context(name).into()),
                    None => walked.map_err(|error| failed(error, &name)),
                }
            }
        }
    }
}

/// A log that could not be read, with what to do about it.
pub(crate) fn failed(error: ReadError, log: &dyn std::fmt::Display) -> Failure {
    let hint = error.hint();
    Failure::new(anyhow::Error::new(error).context(log.to_string()), hint)
}

/// A log's name as it is shown: without its folder, as servers name it.
fn shown_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

impl Stream {
    fn next_log(&mut self) -> Option<LogName> {
        loop {
            // What was not read of the log before is passed over.
            while self.next.is_none() {
                match self.events.blocking_recv()? {
                    Ok(DumpEvent::Log(name)) => self.next = Some(name),
                    Ok(DumpEvent::Event(_) | DumpEvent::Idle) => {}
                    Err(failure) => {
                        self.failure = Some(failure);
                        self.next = Some(String::new());
                    }
                }
            }
            let name = self.next.clone().unwrap_or_default();
            if self.failure.is_none() && !self.wanted.is_empty() && !self.wanted.contains(&name) {
                if self.has_begun {
                    return None;
                }
                self.next = None;
                continue;
            }
            let is_first = !std::mem::replace(&mut self.has_begun, true);
            let is_last = self.last.as_ref() == Some(&name);
            return Some(LogName { name, is_first, is_last });
        }
    }
}

/// One log of a stream, as a file's bytes.
struct StreamedLog<'s> {
    stream: &'s mut Stream,
    chunk: Vec<u8>,
    at: usize,
}

impl Read for StreamedLog<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let rest = self.chunk.get(self.at..).unwrap_or_default();
            if !rest.is_empty() {
                let count = io::Read::read(&mut &*rest, buffer)?;
                self.at += count;
                return Ok(count);
            }
            if self.stream.next.is_some() || self.stream.failure.is_some() {
                return Ok(0);
            }
            match self.stream.events.blocking_recv() {
                None => return Ok(0),
                Some(Ok(DumpEvent::Log(name))) => self.stream.next = Some(name),
                Some(Ok(DumpEvent::Event(event))) => {
                    self.chunk = event;
                    self.at = 0;
                }
                // Only where a stream goes on.
                Some(Ok(DumpEvent::Idle)) => {}
                Some(Err(failure)) => self.stream.failure = Some(failure),
            }
        }
    }
}

/// Asks a server for its logs.
async fn stream(args: &LogArgs, start_position: Option<u64>) -> Result<Stream, Failure> {
    let (target, limits) = (target(&args.connect)?, Limits::default());
    let mut connection = Connection::open(&target, &limits).await?;
    let flavor = connection.flavor();
    let rows = connection.query(&Sql::plain("SHOW BINARY LOGS")).await?;
    connection.close().await;
    let logs: Vec<String> = rows.iter().filter_map(|row| row.text_at(0)).map(str::to_owned).collect();
    let wanted: Vec<String> = args.files.iter().map(|path| path.display().to_string()).collect();
    if let Some(missing) = wanted.iter().find(|name| !logs.contains(name)) {
        return Err(Failure::said(
            format!("the server has no binary log {missing}"),
            format!("it has {}", logs.join(", ")),
        ));
    }
    let Some(first) = wanted.first().or(logs.first()) else {
        return Err(Failure::said("the server has no binary logs", "turn log_bin on, or read files"));
    };
    let from = match &args.after_gtid {
        Some(gtids) => DumpFrom::After(gtids.clone()),
        None => DumpFrom::Position { log: first.clone(), position: start_position.unwrap_or(4) },
    };
    let last = wanted.last().or(logs.last()).cloned();
    // Replicas are told apart by number; the upper half is nobody's habit.
    let server_id = rand::random::<u32>() | 0x8000_0000;
    let dump = BinlogDump::open(&target, &limits, server_id, logs, flavor, &from).await?;
    let (sender, events) = mpsc::channel(EVENTS_HELD);
    tokio::spawn(send(dump, sender));
    Ok(Stream { events, next: None, wanted, last, has_begun: false, failure: None })
}

/// Hands events over until the logs' end, or until nobody takes them any more.
async fn send(mut dump: BinlogDump, sender: mpsc::Sender<Result<DumpEvent, ServerError>>) {
    loop {
        match dump.next().await {
            Ok(None) => break,
            Ok(Some(event)) => {
                if sender.send(Ok(event)).await.is_err() {
                    break;
                }
            }
            Err(error) => {
                // A receiver that is gone has no use for it.
                let _gone = sender.send(Err(error)).await;
                break;
            }
        }
    }
    dump.close().await;
}
