//! A server's program on disk: found, asked for its version, given an empty data directory.
//!
//! It looks on this machine, or in a root directory such as a debootstrap tree, whose server then runs
//! without chroot through the tree's own loader. It installs nothing and starts no lasting process.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use flavor::{Flavor, Vendor};
use thiserror::Error;
use tokio::io::AsyncWriteExt as _;

use crate::process::command;

/// A version answer takes milliseconds; a disk that sleeps takes longer.
const VERSION_LIMIT: Duration = Duration::from_secs(10);
/// Creating the system tables takes seconds, on slow disks tens of them.
const INITIALISE_LIMIT: Duration = Duration::from_secs(180);

/// A server program that can be run.
#[derive(Clone, Debug)]
pub struct ServerProgram {
    flavor: Flavor,
    version_text: String,
    path: PathBuf,
    root: Option<PathBuf>,
    launcher: Vec<String>,
    fixed_options: Vec<String>,
    share: PathBuf,
}

/// A server program that cannot be found or used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// There is none.
    #[error("no {vendor} server found in {}", looked_in.join(", "))]
    NotFound {
        /// Whose.
        vendor: Vendor,
        /// The folders looked in.
        looked_in: Vec<String>,
    },
    /// It cannot be run.
    #[error("cannot run {program}")]
    Run {
        /// Its path.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// It failed.
    #[error("{program} failed: {output}")]
    Failed {
        /// Its path.
        program: String,
        /// The last lines it wrote.
        output: String,
    },
    /// It did not end in time.
    #[error("{program} did not end within {limit_seconds} s")]
    Timeout {
        /// Its path.
        program: String,
        /// The limit.
        limit_seconds: u64,
    },
}

impl ServerProgram {
    /// Finds a vendor's server on this machine, or inside `root`.
    ///
    /// # Errors
    /// If there is none, or it does not tell its version.
    pub async fn find(root: Option<&Path>, vendor: Vendor) -> Result<Self, ProgramError> {
        let folders = program_folders(root);
        let mut failure = None;
        for name in program_names(vendor) {
            for path in folders.iter().map(|folder| folder.join(name)).filter(|path| path.is_file()) {
                match Self::at(path, root).await {
                    // Debian's MariaDB also answers to `mysqld`.
                    Ok(program) if program.flavor.vendor == vendor => return Ok(program),
                    Ok(_) => {}
                    Err(error) => failure = Some(error),
                }
            }
        }
        let looked_in = folders.iter().map(|folder| folder.display().to_string()).collect();
        Err(failure.unwrap_or(ProgramError::NotFound { vendor, looked_in }))
    }

    /// Vendor and version of the server that a command line starts, whatever is in front of the program.
    ///
    /// # Errors
    /// If it cannot be run, or does not tell its version.
    pub async fn flavor_of(command: &[String]) -> Result<Flavor, ProgramError> {
        let argv = [command, &["--version".to_owned()]].concat();
        let answer = run(&argv, Vec::new(), VERSION_LIMIT).await?;
        let program = command.first().cloned().unwrap_or_default();
        let (flavor, _) = version_in(&answer)
            .ok_or_else(|| ProgramError::Failed { program, output: last_lines(&answer) })?;
        Ok(flavor)
    }

    async fn at(path: PathBuf, root: Option<&Path>) -> Result<Self, ProgramError> {
        let launcher = root.map(|root| launcher(root, &path)).unwrap_or_default();
        let argv =
            [&launcher[..], &[text(&path), "--no-defaults".to_owned(), "--version".to_owned()]].concat();
        let answer = run(&argv, Vec::new(), VERSION_LIMIT).await?;
        let failed = || ProgramError::Failed { program: text(&path), output: last_lines(&answer) };
        let (flavor, version_text) = version_in(&answer).ok_or_else(failed)?;
        let prefix = root.map_or_else(|| PathBuf::from("/"), Path::to_owned);
        let share = share_folder(&prefix, flavor.vendor);
        let fixed_options = root.map(|root| tree_options(root, &share)).unwrap_or_default();
        Ok(Self {
            flavor,
            version_text,
            path,
            root: root.map(Path::to_owned),
            launcher,
            fixed_options,
            share,
        })
    }

    /// Vendor and version.
    #[must_use]
    pub const fn flavor(&self) -> Flavor {
        self.flavor
    }

    /// The version as the program writes it, such as `10.11.19-MariaDB-0+deb12u1`.
    #[must_use]
    pub fn version_text(&self) -> &str {
        &self.version_text
    }

    /// The program's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The command line that runs the server with a defaults file and nothing else.
    #[must_use]
    pub fn command(&self, defaults_file: &Path) -> Vec<String> {
        let mut argv = self.launcher.clone();
        argv.push(text(&self.path));
        // Must be the first option.
        argv.push(format!("--defaults-file={}", defaults_file.display()));
        argv.extend(self.fixed_options.iter().cloned());
        argv
    }

    /// The vendor's command-line client beside this server, ready for options; none if it is not installed.
    #[must_use]
    pub fn client_command(&self) -> Option<Vec<String>> {
        let names = match self.flavor.vendor {
            Vendor::MariaDb => ["mariadb", "mysql"],
            Vendor::MySql => ["mysql", "mariadb"],
        };
        let folders = program_folders(self.root.as_deref());
        let path = names
            .iter()
            .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
            .find(|p| p.is_file());
        // Any client speaks to any server: this machine's will do where the tree has none.
        match (path, &self.root) {
            (Some(path), Some(root)) => Some([launcher(root, &path), vec![text(&path)]].concat()),
            (Some(path), None) => Some(vec![text(&path)]),
            (None, _) => None,
        }
    }

    /// Fills an empty or absent data directory with the system tables: root logs in from this host without a
    /// password; no anonymous account, no `test` database. `user` is the account to run as, which matters only
    /// when this process is root.
    ///
    /// # Errors
    /// If the server's own initialisation fails; the folder is then incomplete.
    pub async fn initialise(&self, datadir: &Path, user: &str) -> Result<(), ProgramError> {
        let mut argv = self.launcher.clone();
        argv.extend([text(&self.path), "--no-defaults".to_owned()]);
        argv.extend(self.fixed_options.iter().cloned());
        argv.extend([format!("--datadir={}", datadir.display()), format!("--user={user}")]);
        // Nothing of it needs to survive a crash: a failed initialisation is thrown away.
        argv.push("--innodb-flush-log-at-trx-commit=0".to_owned());
        match self.flavor.vendor {
            Vendor::MySql => {
                let options = [
                    "--initialize-insecure",
                    "--innodb-redo-log-capacity=16M",
                    "--skip-log-bin",
                    "--mysqlx=OFF",
                ];
                argv.extend(options.map(str::to_owned));
                run(&argv, Vec::new(), INITIALISE_LIMIT).await?;
            }
            Vendor::MariaDb => {
                let options = [
                    "--bootstrap",
                    "--enforce-storage-engine=",
                    "--innodb-log-file-size=16M",
                    "--innodb-buffer-pool-size=32M",
                    "--max-allowed-packet=8M",
                    "--loose-wsrep-on=OFF",
                ];
                argv.extend(options.map(str::to_owned));
                // Two at once in the same folder remove each other's temporary tables.
                argv.push(format!("--tmpdir={}", datadir.display()));
                if self.root.is_none() {
                    argv.push(format!("--lc-messages-dir={}", self.share.display()));
                }
                std::fs::create_dir_all(datadir)
                    .map_err(|source| ProgramError::Run { program: text(&self.path), source })?;
                run(&argv, self.mariadb_bootstrap_sql()?, INITIALISE_LIMIT).await?;
            }
        }
        Ok(())
    }

    /// What `mariadb-install-db` feeds to the server, less the help tables; the script itself cannot run a
    /// server through a loader, and takes twice as long.
    fn mariadb_bootstrap_sql(&self) -> Result<Vec<u8>, ProgramError> {
        const PARTS: [[&str; 2]; 5] = [
            ["mysql_system_tables.sql", "mariadb_system_tables.sql"],
            ["mysql_performance_tables.sql", "mariadb_performance_tables.sql"],
            ["mysql_system_tables_data.sql", "mariadb_system_tables_data.sql"],
            ["maria_add_gis_sp_bootstrap.sql", "maria_add_gis_sp_bootstrap.sql"],
            ["mysql_sys_schema.sql", "mariadb_sys_schema.sql"],
        ];
        let mut sql = b"CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n".to_vec();
        for names in PARTS {
            let path = names.iter().map(|name| self.share.join(name)).find(|path| path.is_file());
            let path = path.unwrap_or_else(|| self.share.join(names.concat()));
            let part =
                std::fs::read(&path).map_err(|source| ProgramError::Run { program: text(&path), source })?;
            sql.extend(part);
            sql.push(b'\n');
        }
        // Root as this host's name or loopback addresses would be reachable over TCP without a password.
        sql.extend(b"DELETE FROM global_priv WHERE User = 'root' AND Host <> 'localhost';\n");
        sql.extend(b"DELETE FROM proxies_priv WHERE Host <> 'localhost';\n");
        Ok(sql)
    }
}

const fn program_names(vendor: Vendor) -> [&'static str; 2] {
    match vendor {
        Vendor::MariaDb => ["mariadbd", "mysqld"],
        Vendor::MySql => ["mysqld", "mysqld-debug"],
    }
}

/// Where distributions put servers; on this machine `PATH` comes first.
fn program_folders(root: Option<&Path>) -> Vec<PathBuf> {
    const FOLDERS: [&str; 5] = ["usr/sbin", "usr/libexec", "usr/bin", "usr/local/sbin", "usr/local/bin"];
    let path = if root.is_none() { std::env::var_os("PATH").unwrap_or_default() } else { OsString::new() };
    let prefix = root.unwrap_or_else(|| Path::new("/"));
    let mut folders: Vec<PathBuf> =
        std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
    folders.extend(FOLDERS.iter().map(|folder| prefix.join(folder)));
    let mut seen = std::collections::BTreeSet::new();
    folders.retain(|folder| seen.insert(folder.clone()));
    folders
}

/// The tree's own loader and libraries, so that no chroot and no root user is needed.
fn launcher(root: &Path, program: &Path) -> Vec<String> {
    let arch = std::env::consts::ARCH;
    let loaders = [
        root.join(format!("usr/lib64/ld-linux-{}.so.2", arch.replace('_', "-"))),
        root.join(format!("lib64/ld-linux-{}.so.2", arch.replace('_', "-"))),
        root.join(format!("usr/lib/ld-linux-{arch}.so.1")),
        root.join(format!("lib/ld-linux-{arch}.so.1")),
    ];
    let Some(loader) = loaders.iter().find(|path| path.is_file()) else {
        tracing::debug!(program = %program.display(), "no loader in the tree, running the program itself");
        return Vec::new();
    };
    let libraries = [
        format!("usr/lib/{arch}-linux-gnu"),
        format!("lib/{arch}-linux-gnu"),
        "usr/lib64".to_owned(),
        "usr/lib/mysql/private".to_owned(),
        "usr/lib64/mysql/private".to_owned(),
    ];
    let libraries: Vec<String> = libraries.iter().map(|folder| text(&root.join(folder))).collect();
    vec![text(loader), "--library-path".to_owned(), libraries.join(":")]
}

/// Options that replace the paths compiled into a tree's server.
fn tree_options(root: &Path, share: &Path) -> Vec<String> {
    let plugins = ["usr/lib/mysql/plugin", "usr/lib64/mysql/plugin", "usr/lib64/mariadb/plugin"];
    let plugins = plugins.iter().map(|folder| root.join(folder)).find(|path| path.is_dir());
    let mut options = vec![
        format!("--basedir={}", root.join("usr").display()),
        format!("--lc-messages-dir={}", share.display()),
        format!("--character-sets-dir={}", share.join("charsets").display()),
        "--secure-file-priv=".to_owned(),
    ];
    options.extend(plugins.map(|folder| format!("--plugin-dir={}", folder.display())));
    options
}

fn share_folder(prefix: &Path, vendor: Vendor) -> PathBuf {
    let names: &[&str] = match vendor {
        Vendor::MariaDb => &["usr/share/mariadb", "usr/share/mysql", "usr/local/share/mariadb"],
        Vendor::MySql => &["usr/share/mysql", "usr/share/mysql-8.4", "usr/local/share/mysql"],
    };
    let found = names.iter().map(|name| prefix.join(name)).find(|path| path.join("charsets").is_dir());
    found.unwrap_or_else(|| prefix.join("usr/share/mysql"))
}

/// Runs a program to its end with `input` on its standard input; its output, both streams.
async fn run(argv: &[String], input: Vec<u8>, limit: Duration) -> Result<String, ProgramError> {
    let program = argv.first().cloned().unwrap_or_default();
    let failed = |source| ProgramError::Run { program: program.clone(), source };
    let mut command = command(argv).map_err(failed)?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(failed)?;
    let stdin = child.stdin.take();
    let feed = async move {
        if let Some(mut stdin) = stdin {
            // A program that ends early says why itself.
            if let Err(error) = stdin.write_all(&input).await {
                tracing::debug!(%error, "input was not read to its end");
            }
        }
    };
    let both = async { tokio::join!(feed, child.wait_with_output()).1 };
    let output = match tokio::time::timeout(limit, both).await {
        Ok(output) => output.map_err(failed)?,
        Err(_) => return Err(ProgramError::Timeout { program, limit_seconds: limit.as_secs() }),
    };
    let mut written = String::from_utf8_lossy(&output.stdout).into_owned();
    written.push_str(&String::from_utf8_lossy(&output.stderr));
    if output.status.success() {
        Ok(written)
    } else {
        Err(ProgramError::Failed { program, output: last_lines(&written) })
    }
}

/// Flavor and version text in the answer to `--version`.
fn version_in(answer: &str) -> Option<(Flavor, String)> {
    let (_, after) = answer.split_once(" Ver ")?;
    let version_text = after.split_whitespace().next()?.to_owned();
    let flavor = Flavor::parse(&version_text, after).ok()?;
    Some((flavor, version_text))
}

fn last_lines(written: &str) -> String {
    let lines: Vec<&str> = written.lines().collect();
    lines.get(lines.len().saturating_sub(5)..).unwrap_or_default().join("\n")
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
