//! The audit history: every decision that acts, with what it rested on, and every action with its outcome, a JSON line
//! each in the state folder. Never a secret: actions and views hold none.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use ha::{Action, Decision, Local, Millis, Shared};
use serde_json::{Value, json};

use crate::error::AgentError;

/// The file is put aside at this size, and the one before it dropped.
const BYTES_MAX: u64 = 32 << 20;

/// The file.
#[derive(Debug)]
pub(crate) struct Audit {
    path: PathBuf,
    last: Option<String>,
}

impl Audit {
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { path, last: None }
    }

    /// A decision that acts. The same one again, tick after tick, is written once.
    pub(crate) fn decision(&mut self, decision: &Decision, local: &Local, shared: Option<&Shared>) {
        if self.last.as_deref() == Some(&decision.sentence) {
            return;
        }
        self.last = Some(decision.sentence.clone());
        let inputs = json!({
            "revision": shared.map(|shared| shared.revision),
            "leader": shared.and_then(|shared| shared.leader.as_ref()).map(|leader| &leader.value),
            "lineage": shared.and_then(|shared| shared.state.as_ref()).map(|state| &state.value.lineage),
            "server": local.server,
            "lease_until": local.lease.map(|held| held.until),
            "frozen": local.frozen,
            "members": shared.map(|shared| {
                shared.members.iter().map(|(name, member)| (name.0.clone(), json!(member.value.server))).collect::<serde_json::Map<_, _>>()
            }),
        });
        self.line(&json!({
            "at": jiff::Timestamp::now().to_string(),
            "decided": decision.sentence,
            "vetoes": decision.vetoes,
            "inputs": inputs,
        }));
    }

    /// An action and what came of it.
    pub(crate) fn action(&self, action: &Action, done: &Result<(), AgentError>, took_ms: Millis) {
        self.line(&json!({
            "at": jiff::Timestamp::now().to_string(),
            "action": action,
            "took_ms": took_ms,
            "error": done.as_ref().err().map(ToString::to_string),
        }));
    }

    fn line(&self, line: &Value) {
        if let Err(error) = self.append(line) {
            tracing::warn!(%error, path = %self.path.display(), "the audit history was not written");
        }
    }

    fn append(&self, line: &Value) -> std::io::Result<()> {
        if fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() > BYTES_MAX) {
            fs::rename(&self.path, self.path.with_extension("jsonl.1"))?;
        }
        let mut file = OpenOptions::new().create(true).append(true).mode(0o640).open(&self.path)?;
        file.write_all(format!("{line}\n").as_bytes())
    }
}
