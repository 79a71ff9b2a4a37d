//! Where one event ends and the next begins: lengths distrusted, checksums verified, damage passed over if asked.
//!
//! It holds one buffer, which grows to the largest single event and shrinks again. It decodes nothing but headers
//! and the description of the format.

use std::io::{ErrorKind, Read};

use crate::error::{Damage, DamageReason, ReadError};
use crate::header::{CHECKSUM_BYTES, Format, HEADER_BYTES, Header, checksum_holds};
use crate::kind::EventKind;

/// A buffer that stays in the processor's cache makes the copy out of the page cache cheap.
const BUFFER_BYTES: usize = 256 * 1024;
/// A buffer beyond this is given back once the event that needed it is done.
const BUFFER_KEPT_BYTES: usize = 8 * 1024 * 1024;
/// No packet, and so no event, is larger than 1 GiB; headers come on top.
pub(crate) const EVENT_BYTES_MAX: u32 = (1 << 30) + (1 << 20);
/// An event larger than this has to agree with its own position.
const TRUSTED_BYTES: u32 = 16 * 1024 * 1024;
/// While looking for the next event after damage: an event up to this may be elsewhere than it says.
const UNPLACED_BYTES: u32 = 64 * 1024;
/// While looking for the next event after damage: bytes that may be checksummed for each byte passed over.
const RESYNC_EFFORT: u64 = 16;
/// The same, for the first bytes passed over.
const RESYNC_EFFORT_BYTES: u64 = 64 * 1024 * 1024;
/// Damages kept in full; more are counted.
const DAMAGES_MAX: usize = 1000;

/// What to do where a log is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnDamage {
    /// Stop there with an error.
    #[default]
    Stop,
    /// Pass over it, count it, and go on behind it.
    Skip,
}

/// How a log is read.
#[derive(Clone, Copy, Debug)]
pub struct ReadOptions {
    /// Where it is damaged.
    pub on_damage: OnDamage,
    /// Whether checksums are compared with the content.
    pub verifies_checksums: bool,
    /// Whether the log comes from a server, which may leave out its beginning and events: offsets are then what the
    /// events say of themselves.
    pub is_stream: bool,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { on_damage: OnDamage::Stop, verifies_checksums: true, is_stream: false }
    }
}

/// What was passed over in a log.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Damages {
    /// How many stretches.
    pub count: u64,
    /// Their bytes.
    pub skipped_bytes: u64,
    /// Of these, rows events whose table map was missing.
    pub missing_table_maps: u64,
    /// The first ones, up to a thousand.
    pub first: Vec<Damage>,
}

impl Damages {
    pub(crate) fn add(&mut self, damage: Damage) {
        self.count += 1;
        self.skipped_bytes += damage.skipped_bytes;
        self.missing_table_maps += u64::from(damage.reason == DamageReason::NoTableMap);
        if self.first.len() < DAMAGES_MAX {
            self.first.push(damage);
        }
    }

    /// Takes over what was found in another log.
    pub fn absorb(&mut self, other: Self) {
        self.count += other.count;
        self.skipped_bytes += other.skipped_bytes;
        self.missing_table_maps += other.missing_table_maps;
        let room = DAMAGES_MAX.saturating_sub(self.first.len());
        self.first.extend(other.first.into_iter().take(room));
    }
}

/// An event's bytes and where they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) offset: u64,
    pub(crate) header: Header,
    /// Without header and checksum.
    pub(crate) body: &'a [u8],
}

/// The events of one log, one after the other.
pub(crate) struct Frames<R> {
    source: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Of `start`, in the log.
    offset: u64,
    is_ended: bool,
    /// Whether the log's own description was met, or its absence told.
    is_described: bool,
    /// Whether the events are those inside a compressed transaction: no checksums, no positions.
    is_inner: bool,
    /// Of the compressed transaction: where damage inside it is reported.
    outer_offset: u64,
    options: ReadOptions,
    format: Format,
    damages: Damages,
}

/// An event found in the buffer.
struct Found {
    at: usize,
    offset: u64,
    header: Header,
    body_end: usize,
}

impl<R: Read> Frames<R> {
    /// A log from its first byte on.
    pub(crate) fn file(source: R, options: ReadOptions) -> Result<Self, ReadError> {
        let mut frames = Self::new(source, options, Format::default(), false);
        frames.fill(4)?;
        let begins = frames.buffer.get(..frames.end.min(4)).unwrap_or_default();
        match begins {
            b"\xfebin" => {}
            b"\xfdbin" => return Err(ReadError::EncryptedByMySql),
            _ => {
                let first = frames.damages.first.first().cloned();
                return Err(
                    first.map_or_else(|| ReadError::NotALog { begins: begins.to_vec() }, ReadError::Damaged)
                );
            }
        }
        frames.consume(4);
        Ok(frames)
    }

    /// A log from the event at `offset` on, where the source begins.
    pub(crate) fn part(source: R, options: ReadOptions, format: &Format, offset: u64) -> Self {
        let is_described = true;
        Self { offset, is_described, ..Self::new(source, options, format.clone(), false) }
    }

    /// Passes over what may be the middle of an event, to the next one that is beyond doubt.
    pub(crate) fn seek(&mut self) -> Result<(), ReadError> {
        if self.fill(1)? { self.resync(DamageReason::Header, String::new()) } else { Ok(()) }
    }

    /// Events inside a compressed transaction, which itself is at `offset`.
    pub(crate) fn inner(source: R, options: ReadOptions, format: &Format, offset: u64) -> Self {
        let format = format.without_checksums();
        Self { outer_offset: offset, ..Self::new(source, options, format, true) }
    }

    fn new(source: R, options: ReadOptions, format: Format, is_inner: bool) -> Self {
        Self {
            source,
            buffer: vec![0; if is_inner { BUFFER_BYTES / 4 } else { BUFFER_BYTES }],
            start: 0,
            end: 0,
            offset: 0,
            is_ended: false,
            is_described: is_inner || options.is_stream,
            is_inner,
            outer_offset: 0,
            options,
            format,
            damages: Damages::default(),
        }
    }

    pub(crate) const fn format(&self) -> &Format {
        &self.format
    }

    /// Where the next event begins.
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn into_damages(self) -> Damages {
        self.damages
    }

    /// Takes over what was passed over inside a compressed transaction.
    pub(crate) fn absorb(&mut self, damages: Damages) {
        self.damages.absorb(damages);
    }

    /// Passes over damage, or stops at it, as asked.
    pub(crate) fn damaged(&mut self, mut damage: Damage) -> Result<(), ReadError> {
        if self.is_inner {
            damage.offset = self.outer_offset;
        }
        match self.options.on_damage {
            OnDamage::Stop => Err(ReadError::Damaged(damage)),
            OnDamage::Skip => {
                self.damages.add(damage);
                Ok(())
            }
        }
    }

    /// The next event; none at the end.
    #[expect(clippy::inline_always, reason = "as for what it calls")]
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Result<Option<(Frame<'_>, &Format)>, ReadError> {
        let Some(found) = self.find()? else { return Ok(None) };
        let body = self.buffer.get(found.at + HEADER_BYTES..found.body_end).unwrap_or_default();
        Ok(Some((Frame { offset: found.offset, header: found.header, body }, &self.format)))
    }

    #[expect(
        clippy::inline_always,
        reason = "a header copied from function to function costs a twentieth of the time"
    )]
    #[inline(always)]
    fn find(&mut self) -> Result<Option<Found>, ReadError> {
        loop {
            if self.end - self.start < HEADER_BYTES && !self.fill(HEADER_BYTES)? {
                return self.finish();
            }
            let Ok(header) = Header::parse(self.rest()) else { return self.finish() };
            if self.options.is_stream && !self.is_inner {
                self.follow(&header);
            }
            if let Err(message) = self.judge(&header) {
                self.resync(DamageReason::Header, message)?;
                continue;
            }
            let Ok(event_bytes) = usize::try_from(header.event_bytes) else { return self.finish() };
            if self.end - self.start < event_bytes && !self.fill(event_bytes)? {
                if self.agrees(&header) || self.options.on_damage == OnDamage::Stop {
                    return self.finish();
                }
                self.resync(DamageReason::Header, "an event's length leads beyond the end".to_owned())?;
                continue;
            }
            if header.kind == EventKind::FORMAT_DESCRIPTION {
                self.adopt_format(event_bytes)?;
            } else if !self.is_described {
                let message = "the log does not begin with a description of its format";
                self.damaged(Damage::new(self.offset, 0, DamageReason::Header, message))?;
            }
            self.is_described = true;
            // Servers send events as they were before encryption, and this one with them.
            if header.kind == EventKind::START_ENCRYPTION && !self.options.is_stream {
                return Err(ReadError::EncryptedByMariaDb { offset: self.offset });
            }
            if !self.verify(&header, event_bytes) {
                let message = format!("the checksum of a {} event does not hold", header.kind);
                if self.agrees(&header) {
                    let bytes = u64::from(header.event_bytes);
                    self.damaged(Damage::new(self.offset, bytes, DamageReason::Checksum, message))?;
                    self.consume(event_bytes);
                } else {
                    self.resync(DamageReason::Checksum, message)?;
                }
                continue;
            }
            let checksum_bytes = if self.format.has_checksums { CHECKSUM_BYTES } else { 0 };
            let at = self.start;
            let found =
                Found { at, offset: self.offset, header, body_end: at + event_bytes - checksum_bytes };
            self.consume(event_bytes);
            return Ok(Some(found));
        }
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    #[inline]
    fn verify(&self, header: &Header, event_bytes: usize) -> bool {
        !self.format.has_checksums
            || !self.options.verifies_checksums
            || self.rest().get(..event_bytes).is_some_and(|event| checksum_holds(event, header.kind))
    }

    /// Takes over a new description of the format, unless its checksum is wrong: that is reported with the event.
    fn adopt_format(&mut self, event_bytes: usize) -> Result<(), ReadError> {
        let event = self.rest().get(..event_bytes).unwrap_or_default();
        let holds = checksum_holds(event, EventKind::FORMAT_DESCRIPTION);
        match Format::parse(event) {
            // The checksum is written whether other events have one or not.
            Ok(format) if holds || !format.has_checksums => self.format = format,
            Ok(_) => {}
            Err(error) => {
                let error = error.into_read_error(self.offset);
                let ReadError::Damaged(damage) = error else { return Err(error) };
                self.damaged(damage)?;
            }
        }
        Ok(())
    }

    /// Takes over where an event of a stream says that it is. What it says wraps at 4 GiB.
    fn follow(&mut self, header: &Header) {
        if header.next_position == 0 {
            return;
        }
        let wrap = 1 << 32;
        let end = (self.offset & !(wrap - 1)) | u64::from(header.next_position);
        let begin = end.saturating_sub(u64::from(header.event_bytes));
        self.offset = if begin + wrap / 2 < self.offset { begin + wrap } else { begin };
    }

    /// Whether the header says that the next event begins where its length says it does.
    fn agrees(&self, header: &Header) -> bool {
        let next = self.offset.wrapping_add(u64::from(header.event_bytes));
        u64::from(header.next_position) == next & 0xFFFF_FFFF
    }

    /// Whether these bytes can be a header at all.
    #[inline]
    fn judge(&self, header: &Header) -> Result<(), String> {
        let least = if self.format.has_checksums { HEADER_BYTES + CHECKSUM_BYTES } else { HEADER_BYTES };
        let bytes = header.event_bytes;
        if usize::try_from(bytes).is_ok_and(|bytes| bytes < least) {
            return Err(format!("an event of {bytes} bytes cannot be"));
        }
        if bytes > EVENT_BYTES_MAX {
            return Err(format!("an event of {bytes} bytes is larger than servers write"));
        }
        if self.is_inner {
            return Ok(());
        }
        let is_large = bytes > TRUSTED_BYTES && !header.is_in_relay_log();
        if (is_large || !header.kind.is_known()) && !self.agrees(header) {
            return Err(format!("an event of {} and {bytes} bytes contradicts its position", header.kind));
        }
        Ok(())
    }

    /// The end of the log, which may be inside an event.
    fn finish(&mut self) -> Result<Option<Found>, ReadError> {
        let left = self.end - self.start;
        if left > 0 {
            let bytes = u64::try_from(left).unwrap_or(u64::MAX);
            let message = "the log ends inside an event";
            self.damaged(Damage::new(self.offset, bytes, DamageReason::Truncated, message))?;
            self.consume(left);
        }
        Ok(None)
    }

    /// Looks for the next bytes that are an event beyond doubt.
    fn resync(&mut self, reason: DamageReason, message: String) -> Result<(), ReadError> {
        let from = self.offset;
        // The beginning is gone, which is told with this.
        self.is_described = true;
        if self.options.on_damage == OnDamage::Stop {
            return self.damaged(Damage::new(from, 0, reason, message));
        }
        let mut effort = RESYNC_EFFORT_BYTES;
        loop {
            self.consume(1);
            effort = effort.saturating_add(RESYNC_EFFORT);
            if self.end - self.start < HEADER_BYTES && !self.fill(HEADER_BYTES)? {
                let left = self.end - self.start;
                self.consume(left);
                break;
            }
            let Ok(header) = Header::parse(self.rest()) else { break };
            // Where bytes were lost or came in between, positions are off: then the checksum alone has to do.
            let is_checked = self.format.has_checksums
                && self.options.verifies_checksums
                && header.event_bytes <= UNPLACED_BYTES;
            let is_placed = self.agrees(&header) || is_checked;
            let is_candidate = header.kind.is_known() && is_placed && self.judge(&header).is_ok();
            let bytes = u64::from(header.event_bytes);
            if !is_candidate || bytes > effort {
                continue;
            }
            let event_bytes = usize::try_from(header.event_bytes).unwrap_or(usize::MAX);
            if self.fill(event_bytes)? {
                effort -= bytes;
                if self.verify(&header, event_bytes) {
                    break;
                }
            }
        }
        self.damaged(Damage::new(from, self.offset - from, reason, message))
    }

    #[inline]
    fn consume(&mut self, count: usize) {
        self.start += count;
        self.offset = self.offset.wrapping_add(u64::try_from(count).unwrap_or(0));
    }

    /// Has at least `wanted` bytes in the buffer, unless the log ends before.
    fn fill(&mut self, wanted: usize) -> Result<bool, ReadError> {
        let held = self.end - self.start;
        if held >= wanted {
            return Ok(true);
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.start = 0;
        self.end = held;
        if self.buffer.len() > BUFFER_KEPT_BYTES && wanted < BUFFER_BYTES && held < BUFFER_BYTES {
            self.buffer.truncate(BUFFER_BYTES);
            self.buffer.shrink_to_fit();
        }
        while self.end < wanted && !self.is_ended {
            if self.end == self.buffer.len() {
                // Grows with what was really read: a wrong length takes no memory.
                let grown = self.buffer.len().saturating_mul(2).min(wanted.max(BUFFER_BYTES));
                self.buffer.resize(grown, 0);
            }
            let free = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.source.read(free) {
                Ok(0) => self.is_ended = true,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // What does not unpack, a transaction or a whole file, is damage of the log and not of the disk.
                Err(error) if self.is_inner || error.raw_os_error().is_none() => {
                    self.is_ended = true;
                    let message = format!("compressed content does not unpack: {error}");
                    self.damaged(Damage::new(self.offset, 0, DamageReason::Content, message))?;
                }
                Err(error) => return Err(ReadError::Io(error)),
            }
        }
        Ok(self.end >= wanted)
    }
}
