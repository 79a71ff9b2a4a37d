//! What `mainstay kill` prints: who is ended or would be, why, and who is spared.
//!
//! Statements are shown as fingerprints: values in them may be secrets.

use std::collections::BTreeMap;
use std::fmt;

use agent::{Ended, KillRound};
use kill::{Action, Kill, Mode};
use serde::Serialize;

/// Spared sessions that are told one by one.
const SPARED_TOLD: usize = 10;
/// Letters of a fingerprint that are shown to people.
const FINGERPRINT_LETTERS: usize = 200;

/// One look and what it led to.
#[derive(Serialize)]
pub(crate) struct Report {
    node: String,
    mode: Mode,
    #[serde(flatten)]
    round: KillRound,
}

impl Report {
    pub(crate) fn new(node: String, mode: Mode, round: KillRound) -> Self {
        Self { node, mode, round }
    }

    fn victim(&self, f: &mut fmt::Formatter<'_>, at: usize, kill: &Kill) -> fmt::Result {
        let what = match kill.action {
            Action::Query => "query of session",
            Action::Connection => "session",
        };
        let done = match self.round.ended.get(at) {
            None => format!("would kill {what} {}", kill.id),
            Some(Ended::Killed) => format!("killed {what} {}", kill.id),
            Some(Ended::LetGo(why)) => format!("let go {what} {}: {why}", kill.id),
            Some(Ended::Failed(why)) => format!("could not kill {what} {}: {why}", kill.id),
        };
        let db = kill.db.as_ref().map_or_else(String::new, |db| format!(" in {}", shown(db)));
        writeln!(f, "{done}: {}{db} (rule {})", account(&kill.user, &kill.host), kill.rule)?;
        writeln!(f, "    {}", kill.reason)?;
        if !kill.state.is_empty() {
            writeln!(f, "    {}: {}", shown(&kill.command), shown(&kill.state))?;
        }
        if let Some(fingerprint) = &kill.fingerprint {
            let id = kill.query_id.as_deref().unwrap_or("not known, the statement is too long");
            writeln!(f, "    query id {id}: {}", shown(fingerprint))?;
        }
        Ok(())
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// `user@host`; threads of the server's own have neither.
fn account(user: &str, host: &str) -> String {
    if user.is_empty() { "without an account".to_owned() } else { format!("{}@{}", shown(user), shown(host)) }
}

/// As much of a text as fits a line, without what moves the cursor.
fn shown(text: &str) -> String {
    let clean = |letter: char| if letter.is_control() { ' ' } else { letter };
    let mut line: String = text.chars().take(FINGERPRINT_LETTERS).map(clean).collect();
    if text.chars().nth(FINGERPRINT_LETTERS).is_some() {
        line.push_str(" ...");
    }
    line
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = &self.round.verdict;
        writeln!(
            f,
            "{:.0} {}: {}, {} waiting for locks",
            self.round.at,
            self.node,
            counted(verdict.sessions, "session"),
            verdict.waiters
        )?;
        for note in &verdict.notes {
            writeln!(f, "note: {note}")?;
        }
        for (at, kill) in verdict.kills.iter().enumerate() {
            self.victim(f, at, kill)?;
        }
        if verdict.kills.is_empty() {
            writeln!(f, "nobody is to be killed")?;
        }
        if verdict.beyond_limit > 0 {
            writeln!(f, "and {} more beyond the limit of one look (--limit)", verdict.beyond_limit)?;
        }
        for spared in verdict.spared.iter().take(SPARED_TOLD) {
            writeln!(
                f,
                "spared session {}, {}: {} (rule {})",
                spared.id,
                account(&spared.user, &spared.host),
                shown(&spared.why.to_string()),
                spared.rule
            )?;
        }
        let rest = verdict.spared.len().saturating_sub(SPARED_TOLD);
        if rest > 0 {
            let mut users: BTreeMap<&str, usize> = BTreeMap::new();
            for spared in verdict.spared.iter().skip(SPARED_TOLD) {
                *users.entry(&spared.user).or_default() += 1;
            }
            let users: Vec<String> =
                users.iter().map(|(user, count)| format!("{count} of {}", shown(user))).collect();
            writeln!(f, "spared {rest} more: {}", users.join(", "))?;
        }
        if self.mode == Mode::DryRun && !verdict.kills.is_empty() {
            writeln!(f, "nothing was killed: this was a dry run; with --yes they are ended")?;
        }
        Ok(())
    }
}
