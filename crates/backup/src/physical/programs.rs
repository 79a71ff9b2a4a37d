//! What a host has to have for a physical backup: the server of its vendor and series, and that one's programs. It
//! starts none of them but to ask for their versions.

use std::path::Path;

use flavor::{Flavor, Vendor, Version};
use host::command::{Command, find_program};
use server::{ProgramError, ServerProgram};

use super::restore::{Physical, PhysicalError, unfit};

/// Processes that are looked at.
const PROCESSES_MAX: usize = 1_000_000;

/// Looks whether the server that is here can use the backup, and says which it is.
///
/// # Errors
/// It is another vendor's, older, or of another series; or a program is missing.
pub(super) async fn check(physical: &Physical, root: Option<&Path>) -> Result<Flavor, PhysicalError> {
    let record = &physical.manifest.server;
    let taken = Flavor::parse(&record.version, &record.comment).map_err(|error| {
        unfit(format!("the backup's server cannot be told: {error}"), "take another backup")
    })?;
    let here = match ServerProgram::find(root, record.vendor).await {
        Ok(program) => program.flavor(),
        Err(ProgramError::NotFound { .. }) => {
            let other = match record.vendor {
                Vendor::MariaDb => Vendor::MySql,
                Vendor::MySql => Vendor::MariaDb,
            };
            let other = match ServerProgram::find(root, other).await {
                Ok(program) => format!("; it has {}", program.flavor()),
                Err(_) => String::new(),
            };
            return Err(unfit(
                format!("the backup is of {taken}, and this host has no {} server{other}", record.vendor),
                format!(
                    "install {} {} here, or name its tree with --server-root",
                    record.vendor,
                    series(taken.version)
                ),
            ));
        }
        Err(error) => return Err(unfit(error.to_string(), "see that the server's program runs")),
    };
    fits(taken, here)?;
    if record.vendor == Vendor::MariaDb {
        mariadb(taken).await?;
    }
    Ok(here)
}

fn fits(taken: Flavor, here: Flavor) -> Result<(), PhysicalError> {
    if series(here.version) != series(taken.version) {
        return Err(unfit(
            format!(
                "the backup is of {taken}, and this host has {here}: files are put back under the same series"
            ),
            format!(
                "install {} {}, and upgrade it when it has started; a dump goes to any version",
                taken.vendor,
                series(taken.version)
            ),
        ));
    }
    if !here.can_start_on_files_of(taken) {
        return Err(unfit(
            format!("the backup is of {taken}, and this host has {here}, which is older"),
            format!("install {} {} or a later one of its series", taken.vendor, taken.version),
        ));
    }
    Ok(())
}

async fn mariadb(taken: Flavor) -> Result<(), PhysicalError> {
    for program in ["mbstream", "mariadb-backup"] {
        if find_program(program).is_none() {
            return Err(unfit(
                format!("the program {program} is not installed here"),
                "install the package mariadb-backup, of the server's version",
            ));
        }
    }
    let asked = Command::new("mariadb-backup").args(["--no-defaults", "--version"]).run().await;
    let answer = asked.map_err(|source| PhysicalError::Program { what: "asking mariadb-backup", source })?;
    let said = format!("{}{}", answer.stdout_text(), answer.stderr_text());
    let Some(version) = said_version(&said) else {
        return Err(unfit("mariadb-backup does not tell its version", "install the server's own one"));
    };
    if series(version) == series(taken.version) {
        return Ok(());
    }
    Err(unfit(
        format!("mariadb-backup is of MariaDB {version}, and the backup of {taken}"),
        format!("install the package mariadb-backup of MariaDB {}", series(taken.version)),
    ))
}

/// `mariadb-backup based on MariaDB server 10.11.19-MariaDB debian-linux-gnu (x86_64)`.
fn said_version(said: &str) -> Option<Version> {
    let (_, rest) = said.split_once("MariaDB server ")?;
    let word = rest.split_whitespace().next()?;
    Flavor::parse(word, "MariaDB").ok().map(|flavor| flavor.version)
}

fn series(version: Version) -> String {
    format!("{}.{}", version.major, version.minor)
}

/// A server that runs in this data directory.
pub(super) fn server_in(target: &Path) -> Option<u32> {
    let processes = std::fs::read_dir("/proc").ok()?;
    processes.take(PROCESSES_MAX).flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        // A server works in its data directory, also in one that was removed under it.
        let folder = std::fs::read_link(entry.path().join("cwd")).ok()?;
        let folder = folder.to_string_lossy();
        let folder = folder.strip_suffix(" (deleted)").unwrap_or(&folder);
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line);
        let is_server = line.split('\0').any(|word| {
            ["mysqld", "mariadbd"]
                .iter()
                .any(|name| Path::new(word).file_name().is_some_and(|it| it == *name))
        });
        (is_server && Path::new(folder) == target).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_mariadb_backup_is_read() {
        let said = "mariadb-backup based on MariaDB server 10.11.19-MariaDB debian-linux-gnu (x86_64)\n";
        assert_eq!(said_version(said).unwrap(), Version::new(10, 11, 19));
        assert_eq!(said_version("mariadb-backup"), None);
    }
}
