//! Puts a new copy of the data in the data's place: by two renames, or entry by entry where the data directory is a
//! mount point and cannot be renamed. Takes no copy itself.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use host::disk::is_mount_point;

use crate::error::AgentError;

/// Is in the data directory while its entries are being exchanged: what is there is neither the old data nor the new.
const INCOMPLETE: &str = ".mainstay-incomplete";
const FRESH: &str = ".mainstay-new";
const OLD: &str = ".mainstay-old";
/// Belongs to the file system and not to the data.
const OF_THE_FILE_SYSTEM: &str = "lost+found";

/// Where a copy is made ready, and where the old data goes.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    data: PathBuf,
    /// The copy.
    pub(crate) fresh: PathBuf,
    /// What was replaced.
    pub(crate) old: PathBuf,
    is_mount: bool,
}

impl Places {
    /// On the file system of the data: beside it, or below it where it is a mount point.
    pub(crate) fn of(data_dir: &Path) -> Self {
        Self::at(data_dir, is_mount_point(data_dir))
    }

    fn at(data_dir: &Path, is_mount: bool) -> Self {
        let place = |inside: &str, beside: &str| {
            if is_mount {
                return data_dir.join(inside);
            }
            let mut name = data_dir.file_name().unwrap_or_default().to_owned();
            name.push(beside);
            data_dir.with_file_name(name)
        };
        Self { data: data_dir.to_owned(), fresh: place(FRESH, FRESH), old: place(OLD, OLD), is_mount }
    }

    /// The copy takes the place of the data; nothing may use either. Blocks.
    ///
    /// # Errors
    /// Something cannot be moved. Renamed folders are put back; of entries some may have been exchanged, and then
    /// [`is_incomplete`] says so until a later copy has taken the place.
    pub(crate) fn swap(&self) -> Result<(), AgentError> {
        if self.is_mount {
            return self.exchange_entries();
        }
        rename(&self.data, &self.old)?;
        if let Err(error) = rename(&self.fresh, &self.data) {
            rename(&self.old, &self.data)?;
            return Err(error);
        }
        Ok(())
    }

    fn exchange_entries(&self) -> Result<(), AgentError> {
        let marker = self.data.join(INCOMPLETE);
        let doing = || format!("writing {}", marker.display());
        File::create(&marker).and_then(|file| file.sync_all()).map_err(AgentError::system(doing()))?;
        sync(&self.data)?;
        fs::create_dir_all(&self.old)
            .map_err(AgentError::system(format!("making {}", self.old.display())))?;
        move_entries(&self.data, &self.old, &[INCOMPLETE, FRESH, OLD, OF_THE_FILE_SYSTEM])?;
        move_entries(&self.fresh, &self.data, &[])?;
        sync(&self.data)?;
        fs::remove_file(&marker).map_err(AgentError::system(format!("removing {}", marker.display())))?;
        sync(&self.data)?;
        fs::remove_dir(&self.fresh).map_err(AgentError::system(format!("removing {}", self.fresh.display())))
    }
}

/// An exchange of the data was begun and not finished: no server may start on what is there.
pub(crate) fn is_incomplete(data_dir: &Path) -> bool {
    data_dir.join(INCOMPLETE).exists()
}

fn move_entries(from: &Path, to: &Path, except: &[&str]) -> Result<(), AgentError> {
    let looking = || AgentError::system(format!("looking at {}", from.display()));
    for entry in fs::read_dir(from).map_err(looking())? {
        let name = entry.map_err(looking())?.file_name();
        if !except.iter().any(|left| name == *left) {
            rename(&from.join(&name), &to.join(&name))?;
        }
    }
    Ok(())
}

fn rename(from: &Path, to: &Path) -> Result<(), AgentError> {
    let what = format!("moving {} to {}", from.display(), to.display());
    fs::rename(from, to).map_err(AgentError::system(what))
}

fn sync(folder: &Path) -> Result<(), AgentError> {
    let synced: io::Result<()> = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(AgentError::system(format!("syncing {}", folder.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        host::files::write_atomic(path, text.as_bytes(), &host::files::Ownership::mode(0o600)).unwrap();
    }

    fn filled(folder: &Path, text: &str) {
        fs::create_dir_all(folder.join("mysql")).unwrap();
        write(&folder.join("ibdata1"), text);
        write(&folder.join("mysql/user"), text);
    }

    fn places(is_mount: bool) -> (tempfile::TempDir, Places) {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        filled(&data, "old");
        let places = Places::at(&data, is_mount);
        filled(&places.fresh, "new");
        write(&places.fresh.join("xtrabackup_info"), "new");
        (folder, places)
    }

    #[test]
    fn the_copy_takes_the_place_of_the_data() {
        for is_mount in [false, true] {
            let (_folder, places) = places(is_mount);
            fs::create_dir(places.data.join(OF_THE_FILE_SYSTEM)).unwrap();
            places.swap().unwrap();
            for (folder, text) in [(&places.data, "new"), (&places.old, "old")] {
                assert_eq!(fs::read_to_string(folder.join("ibdata1")).unwrap(), text, "{is_mount}");
                assert_eq!(fs::read_to_string(folder.join("mysql/user")).unwrap(), text, "{is_mount}");
            }
            assert!(places.data.join("xtrabackup_info").exists());
            assert_eq!(places.data.join(OF_THE_FILE_SYSTEM).exists(), is_mount);
            assert!(!is_incomplete(&places.data) && !places.fresh.exists());
        }
    }

    #[test]
    fn an_exchange_that_stops_half_way_is_known_and_done_again() {
        let (_folder, places) = places(true);
        // What is in its way is no empty folder.
        filled(&places.old.join("mysql"), "in the way");
        places.swap().unwrap_err();
        assert!(is_incomplete(&places.data));
        fs::remove_dir_all(&places.old).unwrap();
        fs::remove_dir_all(&places.fresh).unwrap();
        filled(&places.fresh, "newer");
        places.swap().unwrap();
        assert_eq!(fs::read_to_string(places.data.join("ibdata1")).unwrap(), "newer");
        assert!(!is_incomplete(&places.data));
    }

    #[test]
    fn what_cannot_be_put_in_place_leaves_the_data() {
        let (_folder, places) = places(false);
        fs::remove_dir_all(&places.fresh).unwrap();
        places.swap().unwrap_err();
        assert_eq!(fs::read_to_string(places.data.join("ibdata1")).unwrap(), "old");
    }
}
