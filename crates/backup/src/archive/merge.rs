//! Many segments of a log made one, so that an archive has about as many objects as there were logs.
//!
//! What is compressed stays so: segments are stretches of independent compressed frames, which may follow one another
//! in one object. They are unpacked only to see that they are whole. What this archiver cannot open stays as it is.

use std::io::Write as _;

use base16ct::lower::encode_string;
use sha2::{Digest as _, Sha256};

use super::catalog::{Archive, gap_between};
use super::content::Content;
use super::error::ArchiveError;
use super::read::SegmentBytes;
use super::segment::{Segment, SegmentName, log_folder};

/// Segments of a log that is still written, from which on they are merged.
pub(crate) const SEGMENTS_MAX: usize = 128;
/// What is larger stays in parts, so that archiving does not stand still for long.
const MERGED_BYTES_MAX: u64 = 4 << 30;

async fn segments_of(archive: &Archive, run: &str, log: &str) -> Result<Vec<SegmentName>, ArchiveError> {
    let entries = archive.place().list(&log_folder(run, log)).await?;
    let mut names: Vec<SegmentName> =
        entries.iter().filter_map(|entry| SegmentName::of_record(&entry.name)).collect();
    names.sort_by(|left, right| left.order().cmp(&right.order()));
    Ok(names)
}

/// Makes one segment of those of a log that follow one another; none where there is nothing to do. Of a log that is still
/// written, it is a piece in its turn.
pub(crate) async fn merge_log(
    archive: &Archive,
    (run, log): (&str, &str),
    is_ended: bool,
) -> Result<Option<(usize, Segment)>, ArchiveError> {
    let mut parts: Vec<Segment> = Vec::new();
    let mut inner = Vec::new();
    for name in segments_of(archive, run, log).await? {
        match parts.last() {
            Some(last) if name.end <= last.end => inner.push(name),
            Some(last) if gap_between(&last.name(), &name).is_some() => break,
            Some(_) | None => parts.push(archive.segment(&name).await?),
        }
    }
    // What an earlier merge left behind when it was cut off.
    for name in inner {
        archive.remove(&archive.segment(&name).await?).await?;
    }
    let names = archive.recipients().names();
    let stays = |part: &Segment| part.recipients != names || archive.opener(part).is_err();
    if let Some(at) = parts.iter().rposition(stays) {
        parts.drain(..=at);
    }
    let [first, .., last] = parts.as_slice() else { return Ok(None) };
    if parts.iter().map(|part| part.stored_bytes).sum::<u64>() > MERGED_BYTES_MAX {
        return Ok(None);
    }
    let (mut content, mut sealed) = Content::begin(archive, (run, log, first.start), !is_ended).await?;
    let mut digest = Sha256::new();
    let mut bytes = 0;
    for part in &parts {
        let mut unpacking = SegmentBytes::open(archive, part)?;
        while let Some(piece) = unpacking.next().await? {
            digest.update(&piece.plain);
            bytes += u64::try_from(piece.plain.len()).unwrap_or(0);
            sealed.write_all(&piece.packed).map_err(ArchiveError::Compress)?;
            content.pass_on().await?;
        }
    }
    sealed.finish().map_err(ArchiveError::Compress)?;
    let (name, merger) = (content.name.clone(), content.merger.clone());
    let stored = content.finish().await?;
    let mut gtids = first.gtids.clone();
    parts.iter().skip(1).for_each(|part| gtids.extend(&part.gtids));
    let merged = Segment {
        end: last.end,
        is_log_end: last.is_log_end,
        next_log: last.next_log.clone(),
        bytes,
        sha256: encode_string(&digest.finalize()),
        left_out_bytes: parts.iter().map(|part| part.left_out_bytes).sum(),
        content: name,
        merger,
        stored_bytes: stored.bytes,
        stored_sha256: stored.sha256,
        gtids,
        transactions: parts.iter().map(|part| part.transactions).sum(),
        first_seconds: parts.iter().find_map(|part| part.first_seconds),
        last_seconds: parts.iter().rev().find_map(|part| part.last_seconds),
        ..first.clone()
    };
    archive.put_segment(&merged).await?;
    for part in &parts {
        archive.remove(part).await?;
    }
    Ok(Some((parts.len(), merged)))
}
