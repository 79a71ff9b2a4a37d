//! What the data file looks like: a line with a checksum, then JSON with the values in base64. It does no input or
//! output.

use std::collections::BTreeMap;

use base16ct::lower::encode_string;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::model::{Entry, SNAPSHOT_BYTES_MAX, SNAPSHOT_KEYS_MAX, Snapshot};

/// What the first line begins with; the number is the format's.
const HEADER: &str = "mainstay-store 1 sha256:";

/// Longest file: base64 makes the values a third longer, and each key has some JSON around it.
pub(super) const FILE_BYTES_MAX: usize = SNAPSHOT_BYTES_MAX / 3 * 4 + SNAPSHOT_KEYS_MAX * 400;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    revision: u64,
    entries: BTreeMap<String, Record>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    created: u64,
    modified: u64,
    value: String,
}

pub(super) fn encode(snapshot: &Snapshot) -> Result<String, String> {
    let entries = snapshot.entries.iter().map(|(key, entry)| {
        let value = BASE64.encode(&entry.value);
        (key.clone(), Record { created: entry.created, modified: entry.modified, value })
    });
    let body = Body { revision: snapshot.revision, entries: entries.collect() };
    let body = serde_json::to_string(&body).map_err(|error| error.to_string())?;
    Ok(format!("{HEADER}{}\n{body}\n", checksum(&body)))
}

pub(super) fn decode(content: &[u8]) -> Result<Snapshot, String> {
    let text = std::str::from_utf8(content).map_err(|_| "it is not text")?;
    let (header, rest) = text.split_once('\n').ok_or("its first line has no end")?;
    let wanted = header.strip_prefix(HEADER).ok_or("its first line is not that of a store")?;
    let body = rest.strip_suffix('\n').ok_or("its end is missing")?;
    if checksum(body) != wanted {
        return Err("its checksum is wrong".to_owned());
    }
    let body: Body = serde_json::from_str(body).map_err(|error| error.to_string())?;
    let mut entries = BTreeMap::new();
    for (key, record) in body.entries {
        let value = BASE64.decode(&record.value).map_err(|error| format!("the value of `{key}`: {error}"))?;
        entries.insert(key, Entry { value, created: record.created, modified: record.modified });
    }
    Ok(Snapshot { revision: body.revision, entries })
}

fn checksum(body: &str) -> String {
    encode_string(&Sha256::digest(body))
}
