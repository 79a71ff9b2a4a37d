//! Folders of a lab: private ones, copies of data directories, the ends of logs.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use crate::error::LabError;

/// What a copy of a data directory must not have: the server's own identity, and files that a start makes anew.
const LEFT_OUT: [&str; 6] =
    ["auto.cnf", "ibtmp1", "ib_buffer_pool", "gvwstate.dat", "galera.cache", "#innodb_temp"];

/// Creates a folder that only its owner can enter, with its parents.
pub(crate) fn create_private(path: &Path) -> Result<(), LabError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(LabError::io("cannot create the folder", path))
}

/// Creates a folder that must not be there yet; `false` if it is.
pub(crate) fn create_new(path: &Path) -> Result<bool, LabError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(LabError::io("cannot create the folder", path)(error)),
    }
}

/// Removes a folder with all in it; that it is gone already is fine.
pub(crate) fn remove(path: &Path) -> Result<(), LabError> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(LabError::io("cannot remove", path)(error)),
    }
}

/// Removes a file; that it is gone already is fine.
pub(crate) fn remove_file(path: &Path) -> Result<(), LabError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(LabError::io("cannot remove", path)(error)),
    }
}

/// Copies a data directory of a server that is shut down, sharing blocks where the file system can.
pub(crate) fn copy_datadir(from: &Path, to: &Path) -> Result<(), LabError> {
    create_private(to)?;
    let entries = fs::read_dir(from).map_err(LabError::io("cannot read", from))?;
    for entry in entries {
        let entry = entry.map_err(LabError::io("cannot read", from))?;
        let (name, source) = (entry.file_name(), entry.path());
        if LEFT_OUT.iter().any(|left_out| name == *left_out) {
            continue;
        }
        let target = to.join(&name);
        let kind = entry.file_type().map_err(LabError::io("cannot read", &source))?;
        if kind.is_dir() {
            copy_datadir(&source, &target)?;
        } else if kind.is_file() {
            copy_file(&source, &target).map_err(LabError::io("cannot copy", &source))?;
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let source = File::open(from)?;
    let target = File::create(to)?;
    if rustix::fs::ioctl_ficlone(&target, &source).is_err() {
        // Not on this file system.
        fs::copy(from, to)?;
    }
    target.set_permissions(source.metadata()?.permissions())
}

/// The last lines of a log that matter: errors if there are any, else simply the last ones.
pub(crate) fn last_lines(log: &Path) -> String {
    const READ_BYTES: u64 = 32 * 1024;
    const LINES: usize = 12;
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(READ_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(READ_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = match read() {
        Ok(bytes) => bytes,
        Err(error) => return format!("(cannot be read: {error})"),
    };
    let text = String::from_utf8_lossy(&bytes);
    let errors: Vec<&str> = text.lines().filter(|line| line.contains("[ERROR]")).collect();
    let lines = if errors.is_empty() { text.lines().collect() } else { errors };
    lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn write(path: &Path, text: &str) {
        File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn a_copy_has_the_data_and_not_the_identity() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("a");
        fs::create_dir_all(from.join("mysql")).unwrap();
        write(&from.join("auto.cnf"), "uuid");
        write(&from.join("mysql/user.frm"), "x");
        let to = folder.path().join("b");
        copy_datadir(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("mysql/user.frm")).unwrap(), "x");
        assert!(!to.join("auto.cnf").exists());
    }

    #[test]
    fn the_end_of_a_log_prefers_errors() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("error.log");
        write(&log, "a [ERROR] cannot bind\nb [Note] bye\n");
        assert_eq!(last_lines(&log), "a [ERROR] cannot bind");
        write(&log, "only notes\n");
        assert_eq!(last_lines(&log), "only notes");
        assert!(last_lines(&folder.path().join("none")).contains("cannot be read"));
    }

    #[test]
    fn removing_what_is_gone_is_fine() {
        let folder = tempfile::tempdir().unwrap();
        assert!(remove(&folder.path().join("none")).is_ok());
    }
}
