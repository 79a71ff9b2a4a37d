//! Initialised data directories that clusters start as copies of: one for each server program.

use std::hash::{BuildHasher as _, DefaultHasher, Hash as _, Hasher as _, RandomState};
use std::path::{Path, PathBuf};

use flavor::Vendor;
use server::ServerProgram;

use crate::error::LabError;
use crate::folder;

/// The data directory to copy, initialised by the first cluster that needs it.
pub(crate) async fn datadir(templates: &Path, program: &ServerProgram) -> Result<PathBuf, LabError> {
    let ready = templates.join(template_name(program));
    if ready.is_dir() {
        return Ok(ready);
    }
    // Made aside and renamed, so that a folder with the final name is always complete.
    let random = RandomState::new().build_hasher().finish();
    let making = templates.join(format!(".making-{}-{random:x}", std::process::id()));
    folder::create_private(&making)?;
    if let Err(error) = program.initialise(&making.join("data"), &run_as()).await {
        folder::remove(&making)?;
        return Err(error.into());
    }
    let renamed = std::fs::rename(making.join("data"), &ready);
    folder::remove(&making)?;
    match renamed {
        Ok(()) => Ok(ready),
        // Another process was first.
        Err(_) if ready.is_dir() => Ok(ready),
        Err(error) => Err(LabError::io("cannot rename to", &ready)(error)),
    }
}

/// The account servers run as: a lab's folders belong to who made them, root included.
fn run_as() -> String {
    host::users::user_name(rustix::process::geteuid().as_raw())
}

/// A template fits the very program that made it.
fn template_name(program: &ServerProgram) -> String {
    let vendor = match program.flavor().vendor {
        Vendor::MariaDb => "mariadb",
        Vendor::MySql => "mysql",
    };
    let mut hasher = DefaultHasher::new();
    program.path().hash(&mut hasher);
    program.version_text().hash(&mut hasher);
    format!("{vendor}-{}-{:016x}", program.flavor().version, hasher.finish())
}
