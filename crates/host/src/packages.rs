//! Packages: which versions are installed and to be had, and installing them by apt or dnf.
//!
//! A package's service is kept from starting while it is installed, because the server is to start with its own
//! configuration, not the distribution's. Nothing is ever removed or upgraded here, and no repository is added.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use facts::{PackageFacts, PackageManager, Seen};

use crate::command::{Command, CommandError};
use crate::files::{self, FileError, Ownership};

/// Time limit for questions.
const ASK_TIMEOUT: Duration = Duration::from_secs(60);

/// Time limit for installing and for fetching lists.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(1800);

/// Where invoke-rc.d asks whether it may start a service, see invoke-rc.d(8).
const POLICY_FILE: &str = "/usr/sbin/policy-rc.d";

/// Forbids starting. The second line tells Mainstay's own file from an operator's.
const POLICY: &str =
    "#!/bin/sh\n# mainstay: no service starts while packages are being installed\nexit 101\n";

/// Why packages could not be looked at or installed.
#[derive(Debug, thiserror::Error)]
pub enum PackagesError {
    /// A package name that would be taken for an option or several names.
    #[error("`{name}` is not a package name")]
    BadName {
        /// The name.
        name: String,
    },
    /// The package manager failed.
    #[error("cannot {operation} {}", names.join(", "))]
    Failed {
        /// What was attempted.
        operation: &'static str,
        /// Of which packages, or what else.
        names: Vec<String>,
        /// What it said.
        source: CommandError,
        /// Who said it.
        manager: PackageManager,
    },
    /// The policy file could not be written or removed.
    #[error("cannot keep services from starting during the installation")]
    Policy(#[source] FileError),
}

impl PackagesError {
    /// The next thing to do.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::BadName { .. } => {
                "set `names` under `[package]` to names that the package manager knows".to_owned()
            }
            Self::Policy(error) => error.hint(),
            Self::Failed { source, manager, .. } => failed_hint(source, *manager),
        }
    }
}

fn failed_hint(source: &CommandError, manager: PackageManager) -> String {
    let said = match source {
        CommandError::Failed { stderr, .. } | CommandError::TimedOut { stderr, .. } => stderr.as_str(),
        CommandError::NotFound { .. } | CommandError::Start { .. } | CommandError::Lost { .. } => "",
    };
    if said.contains("dpkg was interrupted") {
        "finish the interrupted installation: `dpkg --configure -a`".to_owned()
    } else if said.contains("Could not get lock") {
        "another package manager runs; wait for it, or look with `fuser -v /var/lib/dpkg/lock-frontend`"
            .to_owned()
    } else if said.contains("Unable to locate package") || said.contains("Unable to find a match") {
        match manager {
            PackageManager::Apt => {
                "fetch the lists with `apt-get update`; is the repository set up?".to_owned()
            }
            PackageManager::Dnf => {
                "fetch the lists with `dnf makecache`; is the repository set up?".to_owned()
            }
        }
    } else {
        match manager {
            PackageManager::Apt => "try it by hand: `apt-get install --dry-run NAME`".to_owned(),
            PackageManager::Dnf => "try it by hand: `dnf install --assumeno NAME`".to_owned(),
        }
    }
}

/// The host's package manager.
#[derive(Clone, Debug)]
pub struct Packages {
    manager: PackageManager,
    /// Where its programs are; `None`: in PATH.
    programs: Option<PathBuf>,
    policy_file: PathBuf,
}

impl Packages {
    /// The package manager of this kind.
    #[must_use]
    pub fn for_manager(manager: PackageManager) -> Self {
        Self { manager, programs: None, policy_file: PathBuf::from(POLICY_FILE) }
    }

    /// The same with its programs in this folder, and the policy file there too.
    #[must_use]
    pub fn with_programs_in(self, folder: &Path) -> Self {
        Self { programs: Some(folder.to_owned()), policy_file: folder.join("policy-rc.d"), ..self }
    }

    /// What is installed and to be had of these packages, in their order. Changes nothing, and asks no mirror
    /// when apt does the answering.
    ///
    /// # Errors
    /// A name is not one. A package manager that fails is an unknown in the facts.
    pub async fn facts(&self, names: &[String]) -> Result<Vec<PackageFacts>, PackagesError> {
        check_names(names)?;
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let (installed, candidates) = match self.manager {
            PackageManager::Apt => (self.ask_dpkg(names).await, self.ask_apt(names).await),
            PackageManager::Dnf => (self.ask_rpm(names).await, self.ask_dnf(names).await),
        };
        let facts = names.iter().map(|name| PackageFacts {
            name: name.clone(),
            installed: lookup(&installed, name),
            // A package that no repository has any more, or came from a file, has no candidate but itself.
            candidate: match (lookup(&candidates, name), lookup(&installed, name)) {
                (Seen::Absent, Seen::Known(version)) => Seen::Known(version),
                (candidate, _) => candidate,
            },
        });
        Ok(facts.collect())
    }

    /// Fetches the package lists.
    ///
    /// # Errors
    /// The package manager fails.
    pub async fn refresh(&self) -> Result<(), PackagesError> {
        let command = match self.manager {
            PackageManager::Apt => {
                self.program("apt-get").args(["-q", "-o", "DPkg::Lock::Timeout=120", "update"])
            }
            PackageManager::Dnf => self.program("dnf").args(["-q", "makecache"]),
        };
        self.act("fetch", &["the package lists".to_owned()], command).await
    }

    /// Installs the packages, without starting their services. Configuration files that were changed by hand
    /// are kept.
    ///
    /// # Errors
    /// A name is not one, or the package manager fails.
    pub async fn install(&self, names: &[String]) -> Result<(), PackagesError> {
        check_names(names)?;
        if names.is_empty() {
            return Ok(());
        }
        match self.manager {
            PackageManager::Apt => {
                let policy = ServicePolicy::forbid(&self.policy_file).map_err(PackagesError::Policy)?;
                let command = self
                    .program("apt-get")
                    .args(["-q", "-y", "--no-install-recommends"])
                    .args(["-o", "DPkg::Lock::Timeout=120"])
                    .args(["-o", "Dpkg::Options::=--force-confold"])
                    .args(["install", "--"])
                    .args(names)
                    .env("DEBIAN_FRONTEND", "noninteractive");
                let installed = self.act("install", names, command).await;
                let lifted = policy.lift().map_err(PackagesError::Policy);
                installed.and(lifted)
            }
            // RPM packages start no service of their own accord.
            PackageManager::Dnf => {
                let command = self
                    .program("dnf")
                    .args(["-q", "-y", "--setopt=install_weak_deps=False", "install"])
                    .args(names);
                self.act("install", names, command).await
            }
        }
    }

    async fn act(
        &self,
        operation: &'static str,
        names: &[String],
        command: Command,
    ) -> Result<(), PackagesError> {
        command.timeout(INSTALL_TIMEOUT).run().await.map(drop).map_err(|source| PackagesError::Failed {
            operation,
            names: names.to_vec(),
            source,
            manager: self.manager,
        })
    }

    async fn ask_dpkg(&self, names: &[String]) -> Result<Versions, CommandError> {
        // It fails when one of the names is not known to it, and answers for the others.
        let format = "--showformat=${Package}\\t${db:Status-Status}\\t${Version}\\n";
        let command = self.program("dpkg-query").args(["--show", format, "--"]).args(names);
        let output = command.timeout(ASK_TIMEOUT).run_any_status().await?;
        Ok(parse_dpkg_query(&output.stdout_text()))
    }

    async fn ask_apt(&self, names: &[String]) -> Result<Versions, CommandError> {
        let command = self.program("apt-cache").args(["policy", "--"]).args(names);
        Ok(parse_apt_policy(&command.timeout(ASK_TIMEOUT).run().await?.stdout_text()))
    }

    async fn ask_rpm(&self, names: &[String]) -> Result<Versions, CommandError> {
        // Its exit status is the number of packages that are not installed.
        let command = self.program("rpm").args(["-q", "--qf", "%{NAME} %{EVR}\\n"]).args(names);
        Ok(parse_rpm(&command.timeout(ASK_TIMEOUT).run_any_status().await?.stdout_text()))
    }

    async fn ask_dnf(&self, names: &[String]) -> Result<Versions, CommandError> {
        let command = self
            .program("dnf")
            .args(["-q", "repoquery", "--available", "--latest-limit=1", "--qf", "%{name} %{evr}\n"])
            .args(names);
        Ok(parse_rpm(&command.timeout(ASK_TIMEOUT).run().await?.stdout_text()))
    }

    fn program(&self, name: &str) -> Command {
        match &self.programs {
            Some(folder) => Command::new(folder.join(name)),
            None => Command::new(name),
        }
    }
}

type Versions = BTreeMap<String, String>;

fn lookup(versions: &Result<Versions, CommandError>, name: &str) -> Seen<String> {
    match versions {
        Ok(versions) => versions.get(name).map_or(Seen::Absent, |version| Seen::Known(version.clone())),
        Err(error) => Seen::Unknown(crate::reason(error)),
    }
}

/// Names of Debian and RPM packages: no spaces, no options, no patterns, no `:ARCHITECTURE`, which answers lack.
fn check_names(names: &[String]) -> Result<(), PackagesError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_' | '~');
    let bad = names
        .iter()
        .find(|name| !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(allowed));
    bad.map_or(Ok(()), |name| Err(PackagesError::BadName { name: name.clone() }))
}

/// `NAME TAB STATUS TAB VERSION`; only `installed` counts: `config-files` is a package that was removed.
fn parse_dpkg_query(text: &str) -> Versions {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split('\t');
            let (name, status, version) = (fields.next()?, fields.next()?, fields.next()?);
            (status == "installed").then(|| (name.to_owned(), version.to_owned()))
        })
        .collect()
}

/// `apt-cache policy`: a name at the margin, its candidate below it.
fn parse_apt_policy(text: &str) -> Versions {
    let mut versions = Versions::new();
    let mut name = None;
    for line in text.lines() {
        if !line.starts_with(' ') {
            name = line.strip_suffix(':');
        } else if let (Some(name), Some(version)) = (name, line.trim().strip_prefix("Candidate: "))
            && version != "(none)"
        {
            versions.insert(name.to_owned(), version.to_owned());
        }
    }
    versions
}

/// `NAME VERSION` lines of `rpm` and `dnf`; anything else, such as `package X is not installed`, is passed over.
fn parse_rpm(text: &str) -> Versions {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (name, version) = (words.next()?, words.next()?);
            // rpm writes an epoch of none as `(none):`, dnf one of zero as `0:`.
            let version = version.trim_start_matches("(none):").trim_start_matches("0:");
            words.next().is_none().then(|| (name.to_owned(), version.to_owned()))
        })
        .collect()
}

/// Keeps services from starting while it lives. An operator's own policy is left as it is.
struct ServicePolicy {
    file: Option<PathBuf>,
}

impl ServicePolicy {
    fn forbid(file: &Path) -> Result<Self, FileError> {
        match files::read_text(file, POLICY.len()) {
            // Left by a run that was killed.
            Ok(text) if text == POLICY => {}
            Err(error) if error.is_missing() => {
                files::write_atomic(file, POLICY.as_bytes(), &Ownership::mode(0o755))?;
            }
            Ok(_) | Err(_) => return Ok(Self { file: None }),
        }
        Ok(Self { file: Some(file.to_owned()) })
    }

    fn lift(mut self) -> Result<(), FileError> {
        self.file.take().map_or(Ok(()), |file| files::remove(&file))
    }
}

impl Drop for ServicePolicy {
    fn drop(&mut self) {
        if let Some(file) = self.file.take()
            && let Err(error) = files::remove(&file)
        {
            tracing::warn!(file = %file.display(), %error, "services are still kept from starting");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn place(folder: &Path, name: &str, script: &str) {
        let text = format!("#!/bin/sh\necho \"$0 $*\" >> \"${{0%/*}}/calls\"\n{script}\n");
        files::write_atomic(&folder.join(name), text.as_bytes(), &Ownership::mode(0o755)).unwrap();
    }

    fn calls(folder: &Path) -> String {
        let text = std::fs::read_to_string(folder.join("calls")).unwrap();
        text.replace(&format!("{}/", folder.display()), "")
    }

    fn known(version: &str) -> Seen<String> {
        Seen::Known(version.to_owned())
    }

    #[test]
    fn recorded_answers() {
        let dpkg = "mariadb-server\tinstalled\t1:10.11.19-0+deb12u1\nmysql-common\tconfig-files\t5.8\n";
        let versions = parse_dpkg_query(dpkg);
        assert_eq!(versions.len(), 1);
        assert_eq!(versions["mariadb-server"], "1:10.11.19-0+deb12u1");

        let apt = "mariadb-server:
  Installed: 1:10.11.18-0+deb12u1
  Candidate: 1:10.11.19-0+deb12u1
  Version table:
     1:10.11.19-0+deb12u1 500
        500 http://mirror.example/debian-security bookworm-security/main amd64 Packages
 *** 1:10.11.18-0+deb12u1 100
        100 /var/lib/dpkg/status
mysql-server:
  Installed: (none)
  Candidate: (none)
  Version table:
";
        let versions = parse_apt_policy(apt);
        assert_eq!(versions.len(), 1);
        assert_eq!(versions["mariadb-server"], "1:10.11.19-0+deb12u1");

        let rpm =
            "mariadb-server 3:10.11.10-1.el9\nbash (none):5.1.8-9.el9\npackage mysql is not installed\n\n";
        let versions = parse_rpm(rpm);
        assert_eq!(versions.len(), 2);
        assert_eq!(versions["mariadb-server"], "3:10.11.10-1.el9");
        assert_eq!(versions["bash"], "5.1.8-9.el9");
    }

    #[test]
    fn names_that_are_options_or_patterns_are_refused() {
        for bad in ["", "-y", "mariadb*", "a b", "--", "x=1", "libc6:amd64", "$(id)"] {
            assert!(check_names(&names(&["bash", bad])).is_err(), "{bad}");
        }
        check_names(&names(&["mariadb-server-10.6", "libstdc++6", "g++"])).unwrap();
    }

    #[tokio::test]
    async fn apt_of_this_host_answers() {
        if crate::command::find_program("apt-cache").is_none() {
            println!("skipped: no apt here");
            return;
        }
        let apt = Packages::for_manager(PackageManager::Apt);
        let facts = apt.facts(&names(&["dpkg", "no-such-package-here"])).await.unwrap();
        assert!(matches!(facts[0].installed, Seen::Known(_)), "{facts:?}");
        assert!(matches!(facts[0].candidate, Seen::Known(_)), "{facts:?}");
        assert!(facts[1].installed.is_absent() && facts[1].candidate.is_absent(), "{facts:?}");
    }

    #[tokio::test]
    async fn apt_installs_without_starting_services_and_the_policy_is_lifted() {
        let folder = tempfile::tempdir().unwrap();
        let apt = Packages::for_manager(PackageManager::Apt).with_programs_in(folder.path());
        let policy = folder.path().join("policy-rc.d");
        let check =
            "\"${0%/*}/policy-rc.d\"; test $? = 101 || exit 9; test \"$DEBIAN_FRONTEND\" = noninteractive";
        place(folder.path(), "apt-get", check);
        apt.install(&names(&["mariadb-server"])).await.unwrap();
        assert!(!policy.exists());
        assert_eq!(
            calls(folder.path()),
            "apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=120 \
             -o Dpkg::Options::=--force-confold install -- mariadb-server\n"
        );

        place(folder.path(), "apt-get", "echo 'E: dpkg was interrupted, you must run it' >&2; exit 100");
        let error = apt.install(&names(&["mariadb-server"])).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot install mariadb-server");
        assert!(error.hint().contains("dpkg --configure -a"));
        assert!(!policy.exists(), "lifted also after a failure");

        files::write_atomic(&policy, b"#!/bin/sh\nexit 101\n", &Ownership::mode(0o755)).unwrap();
        place(folder.path(), "apt-get", check);
        apt.install(&names(&["mariadb-server"])).await.unwrap();
        assert!(policy.exists(), "an operator's policy stays");
        files::write_atomic(&policy, POLICY.as_bytes(), &Ownership::mode(0o755)).unwrap();
        apt.install(&names(&["mariadb-server"])).await.unwrap();
        assert!(!policy.exists(), "what a killed run left is removed");
    }

    #[tokio::test]
    async fn dnf_replayed() {
        let folder = tempfile::tempdir().unwrap();
        let dnf = Packages::for_manager(PackageManager::Dnf).with_programs_in(folder.path());
        place(
            folder.path(),
            "rpm",
            "echo 'package mariadb-server is not installed'; echo 'mariadb 3:10.11.10-1.el9'; exit 1",
        );
        place(folder.path(), "dnf", "test \"$2\" != repoquery || echo 'mariadb-server 3:10.11.10-1.el9'");
        let facts = dnf.facts(&names(&["mariadb-server", "mariadb", "nothing"])).await.unwrap();
        assert!(facts[0].installed.is_absent());
        assert_eq!(facts[0].candidate, known("3:10.11.10-1.el9"));
        assert_eq!(facts[1].installed, known("3:10.11.10-1.el9"));
        assert_eq!(facts[1].candidate, known("3:10.11.10-1.el9"));
        assert!(facts[2].installed.is_absent() && facts[2].candidate.is_absent());
        dnf.install(&names(&["mariadb-server"])).await.unwrap();
        let last = calls(folder.path()).lines().last().unwrap().to_owned();
        assert_eq!(last, "dnf -q -y --setopt=install_weak_deps=False install mariadb-server");

        place(folder.path(), "dnf", "echo 'Error: Unable to find a match: nothing' >&2; exit 1");
        let error = dnf.install(&names(&["nothing"])).await.unwrap_err();
        assert!(error.hint().contains("dnf makecache"), "{}", error.hint());
        let facts = dnf.facts(&names(&["nothing"])).await.unwrap();
        assert!(
            matches!(&facts[0].candidate, Seen::Unknown(why) if why.contains("Unable to find")),
            "{facts:?}"
        );
    }
}
