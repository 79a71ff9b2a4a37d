//! Whether a backup reads back: every file that its manifest names, its length and its SHA-256.
//!
//! What is in the files is not looked at: that a backup restores is for a rehearsal to say.

use dump::Proof;
use dump::manifest::MANIFEST_NAME;
use jiff::Timestamp;
use serde::Serialize;

use super::error::RepositoryError;
use super::id::BackupId;
use super::list::{Mark, Repository};

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// The backup.
    pub id: String,
    /// Files that are as they were written.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that are not.
    pub problems: Vec<FileProblem>,
    /// Files that no manifest names. They do no harm.
    pub strangers: Vec<String>,
}

impl Repository {
    /// Reads a backup back, and writes down how it went: well, or not any more.
    ///
    /// # Errors
    /// If there is no such backup, it has no manifest that can be read, or the place fails.
    pub async fn verify(
        &self,
        id: &BackupId,
        now: Timestamp,
        tell: &mut (dyn FnMut(VerifyNews) + Send),
    ) -> Result<Verified, RepositoryError> {
        let listed = self.find(id).await?;
        let whole =
            listed.whole.map_err(|problem| RepositoryError::Unusable { id: id.to_string(), problem })?;
        let of_bytes = whole.manifest.stored_bytes();
        let mut verified =
            Verified { id: id.to_string(), files: 0, bytes: 0, problems: Vec::new(), strangers: Vec::new() };
        let mut read_bytes = 0;
        for file in &whole.manifest.files {
            match self.read_back(id, file).await? {
                None => {
                    verified.files += 1;
                    verified.bytes += file.bytes;
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
            let seen = format!("{} files with {} bytes read back as written", verified.files, verified.bytes);
            let mark = Mark { at: now, manifest_sha256: whole.manifest_sha256.clone(), seen };
            self.set_mark(id, Proof::ReadBack, &mark).await?;
        } else {
            self.clear_marks(id).await?;
        }
        Ok(verified)
    }

    /// What is wrong with a file; none when it is as it was written.
    async fn read_back(
        &self,
        id: &BackupId,
        file: &dump::manifest::FileRecord,
    ) -> Result<Option<String>, RepositoryError> {
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
