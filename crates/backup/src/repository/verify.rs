//! Whether a backup reads back: every file that its manifest names, its length and its SHA-256; and whether encrypted files
//! open, where there is an identity.
//!
//! What is in the files is not looked at: that a backup restores is for a rehearsal to say.

use std::io;

use dump::Proof;
use dump::layout::FileName;
use dump::manifest::{FileRecord, MANIFEST_NAME};
use jiff::Timestamp;
use serde::Serialize;

use super::error::RepositoryError;
use super::id::BackupId;
use super::list::{Mark, Repository};
use crate::restore::input::{Origin, SourceFile};

/// A file that is not what the manifest says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileProblem {
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub problem: String,
}

/// How far reading back has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyNews {
    /// Bytes read.
    pub bytes: u64,
    /// Bytes there are.
    pub of_bytes: u64,
}

/// What reading back has shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// The backup.
    pub id: String,
    /// Files that are as they were written.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those of them that are encrypted and were not opened, for want of an identity.
    pub unopened: u64,
    /// Files that are not.
    pub problems: Vec<FileProblem>,
    /// Files that no manifest names. They do no harm.
    pub strangers: Vec<String>,
}

impl Repository {
    /// Reads a backup back, and writes down how it went: well, or not any more.
    ///
    /// # Errors
    /// If there is no such backup, it has no manifest that can be read, it is encrypted to others than the identities that
    /// were given, or the place fails.
    pub async fn verify(
        &self,
        id: &BackupId,
        now: Timestamp,
        tell: &mut (dyn FnMut(VerifyNews) + Send),
    ) -> Result<Verified, RepositoryError> {
        let listed = self.find(id).await?;
        let whole =
            listed.whole.map_err(|problem| RepositoryError::Unusable { id: id.to_string(), problem })?;
        let opens = !self.identities().is_empty();
        if opens {
            let failed = |source| RepositoryError::Sealed { id: id.to_string(), source };
            self.identities().check(&whole.manifest.recipients).map_err(failed)?;
        }
        let of_bytes = whole.manifest.stored_bytes();
        let mut verified = Verified { id: id.to_string(), ..Verified::default() };
        let mut read_bytes = 0;
        for file in &whole.manifest.files {
            let is_encrypted = FileName::parse(&file.name).is_some_and(|name| name.encrypted);
            let problem = match self.read_back(id, file).await? {
                None if is_encrypted && opens => self.open(id, file).await?,
                problem => problem,
            };
            match problem {
                None => {
                    verified.files += 1;
                    verified.bytes += file.bytes;
                    verified.unopened += u64::from(is_encrypted && !opens);
                }
                Some(problem) => verified.problems.push(FileProblem { file: file.name.clone(), problem }),
            }
            read_bytes += file.bytes;
            tell(VerifyNews { bytes: read_bytes, of_bytes });
        }
        for entry in self.place().list(id.as_str()).await? {
            let name = entry.name.strip_prefix(id.as_str()).and_then(|name| name.strip_prefix('/'));
            if let Some(name) =
                name.filter(|name| *name != MANIFEST_NAME && whole.manifest.file(name).is_none())
            {
                verified.strangers.push(name.to_owned());
            }
        }
        if verified.problems.is_empty() {
            let seen = format!(
                "{} files with {} bytes read back as written, {} not opened",
                verified.files, verified.bytes, verified.unopened
            );
            let mark = Mark { at: now, manifest_sha256: whole.manifest_sha256.clone(), seen };
            self.set_mark(id, Proof::ReadBack, &mark).await?;
        } else {
            self.clear_marks(id).await?;
        }
        Ok(verified)
    }

    /// Why an encrypted file does not open to its end; none when it does.
    async fn open(&self, id: &BackupId, file: &FileRecord) -> Result<Option<String>, RepositoryError> {
        let origin =
            Origin::Object { place: self.place().clone().into(), name: format!("{id}/{}", file.name) };
        let identities = self.identities().clone();
        let opened = tokio::task::spawn_blocking(move || {
            let mut text = SourceFile::new(origin, Some(identities))?.text()?;
            io::copy(&mut text, &mut io::sink())
        });
        let opened = opened.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        match opened.map_err(io::Error::downcast::<blob::BlobError>) {
            Ok(_) => Ok(None),
            Err(Ok(error)) => Err(error.into()),
            Err(Err(error)) => Ok(Some(format!("it does not open: {error}"))),
        }
    }

    /// What is wrong with a file; none when it is as it was written.
    async fn read_back(&self, id: &BackupId, file: &FileRecord) -> Result<Option<String>, RepositoryError> {
        let found = match self.place().digest(&format!("{id}/{}", file.name)).await {
            Ok(found) => found,
            Err(
                error @ (blob::BlobError::NotFound { .. }
                | blob::BlobError::Short { .. }
                | blob::BlobError::BadName { .. }),
            ) => {
                return Ok(Some(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        Ok(if found.bytes != file.bytes {
            Some(format!("it has {} bytes, not {}", found.bytes, file.bytes))
        } else if found.sha256 != file.sha256.to_lowercase() {
            Some(format!("its SHA-256 is {}, not {}", found.sha256, file.sha256))
        } else {
            None
        })
    }
}
