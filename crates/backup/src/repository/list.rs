//! [`Repository`]: the backups of a place with what their manifests say.

use base16ct::lower::encode_string;
use blob::Place;
use bytes::Bytes;
use dump::Proof;
use dump::manifest::{MANIFEST_BYTES_MAX, MANIFEST_NAME, Manifest};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::error::RepositoryError;
use super::id::BackupId;
use crate::archive::Archive;
use crate::restore::{RestoreError, Source};
use crate::seal::Identities;

const MARKS: &str = "marks";
const MARK_BYTES_MAX: u64 = 64 << 10;

/// The backups in a place.
#[derive(Clone, Debug)]
pub struct Repository {
    place: Place,
    identities: Identities,
}

/// What is known of a backup that has its manifest.
#[derive(Clone, Debug)]
pub struct Whole {
    /// The manifest.
    pub manifest: Manifest,
    /// SHA-256 of its text, as hexadecimal.
    pub manifest_sha256: String,
    /// When it last read back as it was written.
    pub read_back: Option<Mark>,
    /// When it was last restored on trial.
    pub restored: Option<Mark>,
}

/// A backup in a place.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its id.
    pub id: BackupId,
    /// What its manifest says, or why it cannot be used: there is none yet, or it cannot be read.
    pub whole: Result<Box<Whole>, String>,
}

/// That a backup was proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// When.
    pub at: Timestamp,
    /// Of which manifest: a mark of another one of the same id says nothing.
    pub manifest_sha256: String,
    /// What was seen, in a sentence.
    pub seen: String,
}

impl Listed {
    /// How far it is proven.
    #[must_use]
    pub fn proof(&self) -> Proof {
        match &self.whole {
            Ok(whole) if whole.restored.is_some() => Proof::Restored,
            Ok(whole) if whole.read_back.is_some() => Proof::ReadBack,
            Ok(_) | Err(_) => Proof::None,
        }
    }
}

impl Repository {
    /// The backups in this place.
    #[must_use]
    pub fn new(place: Place) -> Self {
        Self { place, identities: Identities::default() }
    }

    /// The same for one who can open encrypted ones.
    #[must_use]
    pub fn with_identities(self, identities: Identities) -> Self {
        Self { identities, ..self }
    }

    /// The place.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// What opens encrypted ones.
    #[must_use]
    pub const fn identities(&self) -> &Identities {
        &self.identities
    }

    /// The archive of binary logs beside them.
    #[must_use]
    pub fn archive(&self) -> Archive {
        Archive::new(self.place.clone()).with_identities(self.identities.clone())
    }

    /// A backup, to be restored.
    ///
    /// # Errors
    /// As [`Source::in_place`].
    pub async fn source(&self, id: &str) -> Result<Source, RestoreError> {
        Source::in_place(self.place.clone(), id, &self.identities).await
    }

    /// All backups, newest first. Folders that are no backups are passed over.
    ///
    /// # Errors
    /// If the place fails. A manifest that cannot be read is told with its backup.
    pub async fn list(&self) -> Result<Vec<Listed>, RepositoryError> {
        let mut all = Vec::new();
        for name in self.place.folders("").await? {
            let Ok(id) = name.parse::<BackupId>() else { continue };
            let whole = self.whole(&id).await?;
            all.push(Listed { id, whole });
        }
        all.sort_by(|left, right| (right.id.started(), &right.id).cmp(&(left.id.started(), &left.id)));
        Ok(all)
    }

    /// One backup.
    ///
    /// # Errors
    /// If there is none of this id, or the place fails.
    pub async fn find(&self, id: &BackupId) -> Result<Listed, RepositoryError> {
        let whole = self.whole(id).await?;
        if whole.is_err() && self.place.list(id.as_str()).await?.is_empty() {
            let (id, place) = (id.to_string(), self.place.to_string());
            return Err(RepositoryError::NoBackup { id, place });
        }
        Ok(Listed { id: id.clone(), whole })
    }

    async fn whole(&self, id: &BackupId) -> Result<Result<Box<Whole>, String>, RepositoryError> {
        let name = format!("{id}/{MANIFEST_NAME}");
        let limit = u64::try_from(MANIFEST_BYTES_MAX).unwrap_or(u64::MAX);
        let text = match self.place.get_all(&name, limit).await {
            Ok(text) => text,
            Err(error) if error.is_not_found() => {
                return Ok(Err("it has no manifest: it is incomplete".to_owned()));
            }
            Err(error @ blob::BlobError::TooLarge { .. }) => return Ok(Err(error.to_string())),
            Err(error) => return Err(error.into()),
        };
        let manifest = match Manifest::read(&text) {
            Ok(manifest) if manifest.id == id.as_str() => manifest,
            Ok(manifest) => return Ok(Err(format!("its manifest is of {}", manifest.id))),
            Err(error) => return Ok(Err(error.to_string())),
        };
        let manifest_sha256 = sha256(&text);
        let read_back = self.mark(id, Proof::ReadBack, &manifest_sha256).await?;
        let restored = self.mark(id, Proof::Restored, &manifest_sha256).await?;
        Ok(Ok(Box::new(Whole { manifest, manifest_sha256, read_back, restored })))
    }

    async fn mark(
        &self,
        id: &BackupId,
        proof: Proof,
        manifest: &str,
    ) -> Result<Option<Mark>, RepositoryError> {
        let Some(name) = mark_name(id, proof) else { return Ok(None) };
        match self.place.get_all(&name, MARK_BYTES_MAX).await {
            Ok(text) => {
                let mark: Option<Mark> = serde_json::from_slice(&text).ok();
                Ok(mark.filter(|mark| mark.manifest_sha256 == manifest))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes down that a backup was proven.
    ///
    /// # Errors
    /// If the place fails.
    pub async fn set_mark(&self, id: &BackupId, proof: Proof, mark: &Mark) -> Result<(), RepositoryError> {
        let Some(name) = mark_name(id, proof) else { return Ok(()) };
        let text = serde_json::to_vec(mark)
            .map_err(|error| RepositoryError::Unusable { id: id.to_string(), problem: error.to_string() })?;
        self.place.put_all(&name, Bytes::from(text)).await?;
        Ok(())
    }

    /// Takes back that a backup was proven.
    ///
    /// # Errors
    /// If the place fails.
    pub async fn clear_marks(&self, id: &BackupId) -> Result<(), RepositoryError> {
        for proof in [Proof::ReadBack, Proof::Restored] {
            if let Some(name) = mark_name(id, proof) {
                self.place.delete(&name).await?;
            }
        }
        Ok(())
    }
}

fn mark_name(id: &BackupId, proof: Proof) -> Option<String> {
    match proof {
        Proof::None => None,
        Proof::ReadBack => Some(format!("{MARKS}/{id}.read-back.json")),
        Proof::Restored => Some(format!("{MARKS}/{id}.restored.json")),
    }
}

pub(super) fn sha256(text: &[u8]) -> String {
    encode_string(&Sha256::digest(text))
}
