//! What a restore or an extraction is from: a plain dump, or a folder of files, here or in a place.

use std::path::Path;
use std::sync::Arc;

use blob::Place;
use dump::manifest::{BackupKind, MANIFEST_BYTES_MAX, MANIFEST_NAME, Manifest};

use super::accounts::Accounts;
use super::error::RestoreError;
use super::input::Origin;
use super::select::Selection;
use super::survey::{self, Folder, Survey};
use crate::physical::restore::Physical;
use crate::seal::Identities;

/// Files of a folder, at most.
const FILES_MAX: usize = 2_000_000;

/// What is read.
pub enum Source {
    /// One file of statements.
    Plain(Origin),
    /// Files in mydumper's layout.
    Folder(Folder),
    /// The server's own files.
    Physical(Physical),
}

impl Source {
    /// A file or folder of this machine.
    ///
    /// # Errors
    /// If it cannot be read, or its manifest not be used.
    pub fn at_path(path: &Path, identities: &Identities) -> Result<Self, RestoreError> {
        let name = path.display().to_string();
        let failed = |source| RestoreError::File { file: name.clone(), source };
        if !std::fs::metadata(path).map_err(failed)?.is_dir() {
            return Ok(Self::Plain(Origin::File(path.to_owned())));
        }
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path).map_err(failed)?.take(FILES_MAX) {
            let entry = entry.map_err(failed)?;
            if let Ok(file) = entry.file_name().into_string() {
                files.push((file, Origin::File(entry.path())));
            }
        }
        let manifest = if files.iter().any(|(file, _)| file == MANIFEST_NAME) {
            let text = host::files::read_bounded(&path.join(MANIFEST_NAME), MANIFEST_BYTES_MAX);
            let text = text.map_err(|error| RestoreError::Refused(error.to_string()))?;
            Some(manifest(&name, &text)?)
        } else {
            None
        };
        Self::folder(name, files, manifest, identities)
    }

    /// A backup in a place: the objects below its id.
    ///
    /// # Errors
    /// If the place cannot be read, or the manifest not be used.
    pub async fn in_place(place: Place, id: &str, identities: &Identities) -> Result<Self, RestoreError> {
        let place = Arc::new(place);
        let prefix = if id.is_empty() { String::new() } else { format!("{}/", id.trim_end_matches('/')) };
        let text = place.get_all(&format!("{prefix}{MANIFEST_NAME}"), MANIFEST_BYTES_MAX as u64).await?;
        let manifest = manifest(id, &text)?;
        let object = |entry: blob::Entry| {
            let file = entry.name.strip_prefix(&prefix)?.to_owned();
            (!file.contains('/'))
                .then(|| (file, Origin::Object { place: Arc::clone(&place), name: entry.name }))
        };
        let files = place.list(prefix.trim_end_matches('/')).await?.into_iter().filter_map(object).collect();
        Self::folder(id.to_owned(), files, Some(manifest), identities)
    }

    fn folder(
        name: String,
        mut files: Vec<(String, Origin)>,
        manifest: Option<Manifest>,
        identities: &Identities,
    ) -> Result<Self, RestoreError> {
        // A folder has no order of its own.
        files.sort_by(|one, other| one.0.cmp(&other.0));
        let recipients = manifest.as_ref().map_or_else(Vec::new, |manifest| manifest.recipients.clone());
        identities
            .check(&recipients)
            .map_err(|source| RestoreError::Sealed { place: name.clone(), source })?;
        let is_physical = manifest.as_ref().is_some_and(|manifest| manifest.kind == BackupKind::Physical);
        let folder = Folder { name, files, manifest, identities: identities.clone() };
        if is_physical { Ok(Self::Physical(Physical::of(&folder)?)) } else { Ok(Self::Folder(folder)) }
    }

    /// The physical backup that it is.
    ///
    /// # Errors
    /// If it is a dump.
    pub fn physical(self) -> Result<Physical, RestoreError> {
        match self {
            Self::Physical(physical) => Ok(physical),
            Self::Plain(origin) => Err(RestoreError::NotPhysical { name: origin.to_string() }),
            Self::Folder(folder) => Err(RestoreError::NotPhysical { name: folder.name }),
        }
    }

    /// The accounts that it holds. Blocks: not for a thread that drives others.
    ///
    /// # Errors
    /// If it is no backup of Mainstay, holds none, or their file is damaged.
    pub fn accounts(&self) -> Result<Accounts, RestoreError> {
        match self {
            Self::Plain(origin) => Err(RestoreError::Refused(format!(
                "{origin} is a plain dump, whose accounts are not told from what the server keeps for itself: accounts \
                 are restored from a backup of Mainstay"
            ))),
            Self::Folder(folder) => Accounts::of(folder),
            Self::Physical(physical) => Err(RestoreError::IsPhysical { name: physical.manifest.id.clone() }),
        }
    }

    /// Reads it whole. Blocks: not for a thread that drives others.
    ///
    /// # Errors
    /// If a file cannot be read, is damaged, or what is meant is not there.
    pub fn survey(
        self,
        selection: &Selection,
        threads: usize,
        with_index: bool,
    ) -> Result<Survey, RestoreError> {
        match self {
            Self::Plain(origin) => survey::plain(origin, selection, with_index),
            Self::Folder(folder) => survey::folder(&folder, selection, threads),
            Self::Physical(physical) => Err(RestoreError::IsPhysical { name: physical.manifest.id }),
        }
    }
}

fn manifest(place: &str, text: &[u8]) -> Result<Manifest, RestoreError> {
    Manifest::read(text).map_err(|source| RestoreError::Manifest { place: place.to_owned(), source })
}
