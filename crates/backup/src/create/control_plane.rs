//! Files of the control plane, such as CloudStack's key and `db.properties`: without them its database is of no use.
//! They hold secrets, so they are only kept encrypted.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use dump::layout::Part;
use dump::manifest::{FileOrigin, FileRole};

use super::error::CreateError;
use super::files::Files;
use crate::seal::Recipients;

/// Configuration, not data.
const FILE_BYTES_MAX: usize = 16 << 20;

/// Refuses files that could not be kept, before anything is dumped.
pub(crate) fn check(paths: &[impl AsRef<Path>], recipients: &Recipients) -> Result<(), CreateError> {
    if !paths.is_empty() && recipients.is_empty() {
        return Err(CreateError::RecipientNeeded);
    }
    for path in paths {
        read(path.as_ref())?;
    }
    Ok(())
}

/// Keeps the files, with where they were and whose.
pub(crate) async fn write(paths: &[impl AsRef<Path>], files: &Files) -> Result<(), CreateError> {
    for (number, path) in (0..).zip(paths) {
        let (text, origin) = read(path.as_ref())?;
        let part = Part::ControlPlane { number };
        let file = files.begin(part, FileRole::ControlPlane).with_origin(origin);
        if !file.write(text).await {
            return Err(file.failure().await);
        }
        file.finish().await?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<(Vec<u8>, FileOrigin), CreateError> {
    let cannot = |source| CreateError::File { what: format!("read {}", path.display()), source };
    let text = host::files::read_bounded(path, FILE_BYTES_MAX)?;
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    let origin = FileOrigin {
        path: path.display().to_string(),
        mode: metadata.mode() & 0o7777,
        owner: host::users::user_name(metadata.uid()),
        group: host::users::group_name(metadata.gid()),
    };
    Ok((text, origin))
}
