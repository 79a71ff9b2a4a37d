//! The audit log: one JSON line an event, appended and synced before the next thing happens.
//!
//! A plan holds no secrets, so neither does its log.

use std::path::{Path, PathBuf};

use host::files::{self, Ownership};
use plan::{Plan, Step};
use serde::Serialize;

use crate::error::SetupError;

/// An append-only log of what apply did on this node.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    run: String,
}

#[derive(Serialize)]
struct Event<'a> {
    at: jiff::Timestamp,
    run: &'a str,
    node: &'a str,
    event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl AuditLog {
    /// Opens the log in `state`, for the run of `plan`.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(state: &Path, plan: &Plan) -> Result<Self, SetupError> {
        files::ensure_dir(state, &Ownership::mode(0o750))?;
        let started = jiff::Timestamp::now().as_second();
        let short = plan.observation.get(..12).unwrap_or(&plan.observation);
        Ok(Self { path: state.join("audit.jsonl"), run: format!("{started}-{short}") })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn run_begins(&self, plan: &Plan) -> Result<(), SetupError> {
        let detail = format!("{} steps, from observation {}", plan.steps.len(), plan.observation);
        self.append(&plan.node, "run-begins", None, Some(detail))
    }

    pub(crate) fn run_ends(&self, plan: &Plan) -> Result<(), SetupError> {
        self.append(&plan.node, "run-ends", None, None)
    }

    pub(crate) fn step_begins(&self, plan: &Plan, step: &Step) -> Result<(), SetupError> {
        self.append(&plan.node, "step-begins", Some(step), None)
    }

    pub(crate) fn step_done(&self, plan: &Plan, step: &Step) -> Result<(), SetupError> {
        self.append(&plan.node, "step-done", Some(step), None)
    }

    pub(crate) fn step_failed(&self, plan: &Plan, step: &Step, error: &SetupError) -> Result<(), SetupError> {
        self.append(&plan.node, "step-failed", Some(step), Some(error.to_string()))
    }

    fn append(
        &self,
        node: &str,
        event: &str,
        step: Option<&Step>,
        detail: Option<String>,
    ) -> Result<(), SetupError> {
        let event = Event {
            at: jiff::Timestamp::now(),
            run: &self.run,
            node,
            event,
            step: step.map(|step| step.id.as_str()),
            title: step.map(|step| step.title.as_str()),
            detail,
        };
        let line = serde_json::to_string(&event).unwrap_or_default();
        files::append_line(&self.path, &line, 0o640).map_err(|error| {
            SetupError::refused(
                format!("the audit log {} cannot be written: {error}", self.path.display()),
                "apply does nothing that it cannot record; free space or mend the folder's rights",
            )
        })
    }
}
