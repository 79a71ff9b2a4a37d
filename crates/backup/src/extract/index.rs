//! The index beside a dump: what the first reading found, so that the next need not read it.
//!
//! It is believed only for the very file it was made of: its length, its time, and its beginning and end.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use base16ct::lower::encode_string;
use dump::Inventory;
use host::files::{Ownership, write_atomic};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::restore::input::{Origin, SourceFile};

/// What follows the dump's name.
const SUFFIX: &str = ".mainstay-index";
const FORMAT: u32 = 2;
/// Of the file's beginning and of its end, so many bytes are looked at.
const LOOK_BYTES: u64 = 64 << 10;
/// Longer indexes are not read.
const INDEX_BYTES_MAX: usize = 2 << 30;

#[derive(Serialize, Deserialize)]
struct Index {
    format: u32,
    mark: Mark,
    inventory: Inventory,
}

/// What a file is known by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    bytes: u64,
    modified_seconds: i64,
    modified_nanoseconds: i64,
    ends_sha256: String,
}

impl Mark {
    fn of(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let about = file.metadata()?;
        let mut ends = Vec::new();
        file.by_ref().take(LOOK_BYTES).read_to_end(&mut ends)?;
        file.seek(SeekFrom::Start(about.len().saturating_sub(LOOK_BYTES)))?;
        file.by_ref().take(LOOK_BYTES).read_to_end(&mut ends)?;
        Ok(Self {
            bytes: about.len(),
            modified_seconds: about.mtime(),
            modified_nanoseconds: about.mtime_nsec(),
            ends_sha256: encode_string(&Sha256::digest(&ends)),
        })
    }
}

/// The index's own path; none for what is no file of this machine.
#[must_use]
pub fn path_of(file: &SourceFile) -> Option<PathBuf> {
    let Origin::File(path) = &file.origin else { return None };
    let mut name = path.file_name()?.to_os_string();
    name.push(SUFFIX);
    Some(path.with_file_name(name))
}

/// What the index says, if there is one and it is of this file.
#[must_use]
pub fn read(file: &SourceFile) -> Option<Inventory> {
    let Origin::File(path) = &file.origin else { return None };
    let text = host::files::read_bounded(&path_of(file)?, INDEX_BYTES_MAX).ok()?;
    let index: Index = serde_json::from_slice(&text).ok()?;
    (index.format == FORMAT && Mark::of(path).ok()? == index.mark).then_some(index.inventory)
}

/// Writes the index. Where that is not possible, the next reading takes as long as this one.
pub fn write(file: &SourceFile, inventory: &Inventory) {
    let (Origin::File(path), Some(index_path)) = (&file.origin, path_of(file)) else { return };
    // A pipe or a device is another one each time.
    if !path.is_file() {
        return;
    }
    let Ok(mark) = Mark::of(path) else { return };
    let index = Index { format: FORMAT, mark, inventory: inventory.clone() };
    let written = serde_json::to_vec(&index).map_err(|error| error.to_string()).and_then(|text| {
        write_atomic(&index_path, &text, &Ownership::mode(0o600)).map_err(|error| error.to_string())
    });
    if let Err(error) = written {
        tracing::info!(path = %index_path.display(), error, "no index is kept");
    }
}
