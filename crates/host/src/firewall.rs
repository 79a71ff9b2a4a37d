//! Mainstay's own nftables table: seen, replaced as one transaction, removed, with a way back.
//!
//! Only the table `inet mainstay` is ever named, so rules of anybody else stay as they are. A change that might
//! lock the operator out is applied under guard: unless it is confirmed in time it is taken back, by a process
//! of its own if this one is gone by then. Which rules there should be is decided by planning.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use facts::Seen;

use crate::command::{Command, CommandError};
use crate::files::{self, FileError, Ownership};
use crate::process::{ProcessId, Signal};

/// The table, as `nft` names it.
pub const TABLE: &str = "inet mainstay";

/// Time limit of one `nft`.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How much later than this process the rescuer takes a change back.
const RESCUE_DELAY: Duration = Duration::from_secs(3);

/// Waits, then applies the file. Its arguments: seconds, file, and the words of `nft`.
const RESCUE_SCRIPT: &str = r#"trap '' HUP; sleep "$1"; file=$2; shift 2; exec "$@" -f "$file""#;

/// Why the firewall could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// The rules are not accepted; nothing was changed.
    #[error("nftables does not accept the rules")]
    Rejected(#[source] CommandError),
    /// The rules name something that is not Mainstay's table; nothing was changed.
    #[error("the rules change more than the table `{TABLE}`: `{line}`")]
    Foreign {
        /// The first such line.
        line: String,
    },
    /// The table cannot be looked at, so there would be no way back; nothing was changed.
    #[error("cannot see the table `{TABLE}`: {why}")]
    Unseen {
        /// Why.
        why: String,
    },
    /// nftables failed.
    #[error("cannot {operation} the table `{TABLE}`")]
    Failed {
        /// What was attempted.
        operation: &'static str,
        /// What `nft` said.
        source: CommandError,
    },
    /// The way back cannot be written down or guarded; nothing was changed.
    #[error("cannot keep a way back from the new rules")]
    NoWayBack(#[source] FileError),
    /// The process that would take the change back cannot be started; nothing was changed.
    #[error("cannot start the guard of the new rules")]
    NoGuard(#[source] CommandError),
}

impl FirewallError {
    /// The next thing to do.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Rejected(source) | Self::Failed { source, .. } | Self::NoGuard(source) => match source {
                CommandError::NotFound { .. } => "install the package `nftables`".to_owned(),
                CommandError::Failed { stderr, .. } if stderr.contains("not permitted") => {
                    "run as root".to_owned()
                }
                CommandError::Failed { .. }
                | CommandError::Start { .. }
                | CommandError::Lost { .. }
                | CommandError::TimedOut { .. } => "look with `nft list tables`".to_owned(),
            },
            Self::Foreign { .. } => format!("only `table {TABLE} {{ ... }}` may be in it"),
            Self::Unseen { .. } => format!("run as root, and look with `nft list table {TABLE}`"),
            Self::NoWayBack(error) => error.hint(),
        }
    }
}

/// How a guarded change ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarded {
    /// It was confirmed and stays.
    Kept,
    /// It was not confirmed in time: what was before is back.
    TakenBack,
}

/// `nft`, as this host runs it.
#[derive(Clone, Debug)]
pub struct Nftables {
    words: Vec<String>,
}

impl Default for Nftables {
    fn default() -> Self {
        Self { words: vec!["nft".to_owned()] }
    }
}

impl Nftables {
    /// `nft` run through another program, such as `ip netns exec NAME`.
    #[must_use]
    pub fn through(prefix: &[&str]) -> Self {
        Self { words: prefix.iter().chain(&["nft"]).map(|word| (*word).to_owned()).collect() }
    }

    /// The table as the kernel has it now, in `nft`'s own form without counters; absent when there is none.
    pub async fn current_table(&self) -> Seen<String> {
        let arguments = ["-s", "list", "table", "inet", "mainstay"];
        match self.nft(&arguments).run().await {
            Ok(output) => Seen::Known(output.stdout_text().into_owned()),
            Err(CommandError::Failed { stderr, .. }) if stderr.contains("No such file or directory") => {
                Seen::Absent
            }
            Err(error) => Seen::Unknown(crate::reason(&error)),
        }
    }

    /// Replaces the table by the one in these rules (`table inet mainstay { ... }`), in one transaction, after a
    /// trial that changes nothing.
    ///
    /// # Errors
    /// The rules are not accepted or name another table; the table is then as it was.
    pub async fn apply(&self, rules: &str) -> Result<(), FirewallError> {
        let script = replacement(rules)?;
        self.nft(&["-c", "-f", "-"]).stdin(script.clone()).run().await.map_err(FirewallError::Rejected)?;
        self.run_script("replace", script).await
    }

    /// Removes the table; none is no error.
    ///
    /// # Errors
    /// nftables refuses.
    pub async fn delete(&self) -> Result<(), FirewallError> {
        self.run_script("delete", REMOVAL.to_owned()).await
    }

    /// Applies the rules and keeps them only if `confirmed` comes true within `timeout`; else what was before
    /// comes back. `saved` is where the way back is kept meanwhile: should this process die, another one, started
    /// before the change, applies that file.
    ///
    /// # Errors
    /// As [`Self::apply`], or there is no way back; the table is then as it was.
    pub async fn apply_guarded(
        &self,
        rules: &str,
        saved: &Path,
        confirmed: impl Future<Output = bool>,
        timeout: Duration,
    ) -> Result<Guarded, FirewallError> {
        let before = match self.current_table().await {
            Seen::Known(table) => format!("{REMOVAL}{table}"),
            Seen::Absent => REMOVAL.to_owned(),
            Seen::Unknown(why) => return Err(FirewallError::Unseen { why }),
        };
        files::write_atomic(saved, before.as_bytes(), &Ownership::mode(0o600))
            .map_err(FirewallError::NoWayBack)?;
        let rescuer = self.start_rescuer(saved, timeout + RESCUE_DELAY)?;
        let applied = self.apply(rules).await;
        let kept = applied.is_ok() && tokio::time::timeout(timeout, confirmed).await == Ok(true);
        if applied.is_ok() && !kept {
            // Should this fail, the rescuer tries once more.
            self.run_script("restore", before).await?;
        }
        call_off(rescuer).await;
        files::remove(saved).map_err(FirewallError::NoWayBack)?;
        applied.map(|()| if kept { Guarded::Kept } else { Guarded::TakenBack })
    }

    fn start_rescuer(&self, saved: &Path, after: Duration) -> Result<ProcessId, FirewallError> {
        let seconds = format!("{}.{:03}", after.as_secs(), after.subsec_millis());
        let saved_path = saved.display().to_string();
        Command::new("sh")
            .args(["-c", RESCUE_SCRIPT, "sh", &seconds, &saved_path])
            .args(&self.words)
            .start_detached(&PathBuf::from("/dev/null"))
            .map_err(FirewallError::NoGuard)
    }

    async fn run_script(&self, operation: &'static str, script: String) -> Result<(), FirewallError> {
        let done = self.nft(&["-f", "-"]).stdin(script).run().await;
        done.map(drop).map_err(|source| FirewallError::Failed { operation, source })
    }

    fn nft(&self, arguments: &[&str]) -> Command {
        let (program, prefix) =
            self.words.split_first().map_or(("nft", [].as_slice()), |(p, rest)| (p, rest));
        Command::new(program).args(prefix).args(arguments).timeout(TIMEOUT)
    }
}

/// Removes the table in a transaction also where there is none: it is declared first.
const REMOVAL: &str = "table inet mainstay\ndelete table inet mainstay\n";

/// The transaction that puts the rules in place of the present table.
fn replacement(rules: &str) -> Result<String, FirewallError> {
    let mut depth = 0_usize;
    for line in rules.lines() {
        let code = line.split('#').next().unwrap_or_default().trim();
        if depth == 0 && !code.is_empty() && !names_own_table(code) {
            return Err(FirewallError::Foreign { line: line.trim().to_owned() });
        }
        depth = (depth + code.matches('{').count()).saturating_sub(code.matches('}').count());
    }
    Ok(format!("{REMOVAL}{rules}\n"))
}

/// A statement outside of braces may only declare, delete or open Mainstay's table.
fn names_own_table(code: &str) -> bool {
    let mut words = code.split_whitespace();
    let mut first = words.next();
    if matches!(first, Some("add" | "delete" | "destroy")) {
        first = words.next();
    }
    let own = first == Some("table") && words.next() == Some("inet") && words.next() == Some("mainstay");
    own && !code.contains(';') && matches!(words.next(), None | Some("{"))
}

/// Ends the rescuer and what it waits with.
async fn call_off(rescuer: ProcessId) {
    let group = i32::try_from(rescuer.pid).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group.filter(|_| rescuer.is_alive()) {
        // The rescuer is a child of this process and not reaped, so its group cannot be anybody else's.
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
    drop(rescuer.wait_end(TIMEOUT).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = "table inet mainstay {
    chain input {
        type filter hook input priority 0; policy accept;
        tcp dport 3306 ip saddr 192.0.2.0/24 accept # management
        tcp dport 3306 drop
    }
}
";

    /// A network namespace of this test's own; `None`, with the reason printed, where there can be none.
    struct Namespace(String);

    impl Namespace {
        async fn new() -> Option<Self> {
            if !crate::users::is_root() {
                println!("skipped: network namespaces need root");
                return None;
            }
            let name = format!("mainstay-{:08x}", rand::random::<u32>());
            match Command::new("ip").args(["netns", "add", &name]).run().await {
                Ok(_) => {}
                Err(error) => {
                    println!("skipped: {error}");
                    return None;
                }
            }
            let namespace = Self(name);
            if let Err(error) = namespace.nft().nft(&["list", "tables"]).run().await {
                println!("skipped: {error}");
                return None;
            }
            Some(namespace)
        }

        fn nft(&self) -> Nftables {
            Nftables::through(&["ip", "netns", "exec", &self.0])
        }
    }

    impl Drop for Namespace {
        #[expect(clippy::disallowed_methods, reason = "a destructor cannot wait for a future")]
        fn drop(&mut self) {
            std::process::Command::new("ip").args(["netns", "del", &self.0]).status().unwrap();
        }
    }

    #[test]
    fn only_the_own_table_may_be_named() {
        assert!(replacement(RULES).unwrap().starts_with(REMOVAL));
        assert!(replacement(&format!("{REMOVAL}{RULES}")).is_ok());
        for foreign in [
            "flush ruleset\n",
            "table inet other {\n}\n",
            "table inet mainstay; flush ruleset\n",
            "table ip mainstay {\n}\n",
            "table inet mainstay {\n}\ndelete table inet filter\n",
            "include \"/etc/nftables.conf\"\n",
        ] {
            let error = replacement(foreign).unwrap_err();
            assert!(matches!(error, FirewallError::Foreign { .. }), "{foreign}");
        }
    }

    #[tokio::test]
    async fn the_table_is_replaced_as_one_and_the_rest_stays() {
        let Some(namespace) = Namespace::new().await else { return };
        let nft = namespace.nft();
        nft.nft(&["add", "table", "inet", "theirs"]).run().await.unwrap();
        assert_eq!(nft.current_table().await, Seen::Absent);
        nft.delete().await.unwrap();
        nft.apply(RULES).await.unwrap();
        nft.apply(RULES).await.unwrap();
        let Seen::Known(table) = nft.current_table().await else { panic!("applied") };
        assert_eq!(table.matches("tcp dport 3306 drop").count(), 1, "a second apply adds nothing:\n{table}");

        let error = nft.apply("table inet mainstay {\n nonsense\n}\n").await.unwrap_err();
        assert!(matches!(error, FirewallError::Rejected(_)), "{error}");
        assert_eq!(nft.current_table().await, Seen::Known(table));
        nft.delete().await.unwrap();
        assert_eq!(nft.current_table().await, Seen::Absent);
        let tables = nft.nft(&["list", "tables"]).run().await.unwrap();
        assert_eq!(tables.stdout_text().trim(), "table inet theirs");
    }

    #[tokio::test]
    async fn a_change_that_is_not_confirmed_is_taken_back() {
        let Some(namespace) = Namespace::new().await else { return };
        let nft = namespace.nft();
        let folder = tempfile::tempdir().unwrap();
        let saved = folder.path().join("before.nft");
        let limit = Duration::from_millis(100);
        nft.apply(RULES).await.unwrap();
        let before = nft.current_table().await;
        let stricter = RULES.replace("192.0.2.0/24", "198.51.100.0/24");

        for answer in [None, Some(false)] {
            let confirmed = async {
                assert!(
                    matches!(nft.current_table().await, Seen::Known(now) if now.contains("198.51.100.0/24"))
                );
                match answer {
                    Some(answer) => answer,
                    None => std::future::pending().await,
                }
            };
            let limit = if answer.is_none() { limit * 10 } else { Duration::from_secs(30) };
            let ended = nft.apply_guarded(&stricter, &saved, confirmed, limit).await.unwrap();
            assert_eq!(ended, Guarded::TakenBack);
            assert_eq!(nft.current_table().await, before);
        }
        let confirmed = std::future::ready(true);
        let ended = nft.apply_guarded(&stricter, &saved, confirmed, Duration::from_secs(30)).await.unwrap();
        assert_eq!(ended, Guarded::Kept);
        assert!(matches!(nft.current_table().await, Seen::Known(now) if now.contains("198.51.100.0/24")));
        assert!(!saved.exists());
    }

    #[tokio::test]
    async fn the_rescuer_takes_back_what_a_dead_process_left() {
        let Some(namespace) = Namespace::new().await else { return };
        let nft = namespace.nft();
        let folder = tempfile::tempdir().unwrap();
        let saved = folder.path().join("before.nft");
        nft.apply(RULES).await.unwrap();
        files::write_atomic(&saved, REMOVAL.as_bytes(), &Ownership::mode(0o600)).unwrap();
        let rescuer = nft.start_rescuer(&saved, Duration::from_millis(50)).unwrap();
        assert_eq!(rescuer.ended().await.unwrap(), Some(0));
        assert_eq!(nft.current_table().await, Seen::Absent);
    }
}
