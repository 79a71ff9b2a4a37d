//! A linter for plans, run in tests and before every apply: each violation is a mistake of planning.

use std::collections::BTreeSet;

use crate::step::{Action, Plan, Risk};

/// A plan that must not be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Two steps share an id, so the audit log could not tell them apart.
    #[error("step {0} is in the plan twice")]
    DuplicateStep(String),
    /// A step without a reason cannot be judged by its reader.
    #[error("step {0} gives no reason")]
    NoReason(String),
    /// A restart that its step does not announce.
    #[error("step {0} restarts the server and does not say so")]
    SilentRestart(String),
    /// Data is removed by a step that does not say so.
    #[error("step {0} removes data and does not say so")]
    SilentLoss(String),
    /// The firewall closes before the accounts are made.
    #[error("step {0} comes after the firewall")]
    AfterFirewall(String),
    /// Steps although a check stops.
    #[error("there are steps although check {0} stops")]
    StepsDespiteStop(String),
}

/// Everything wrong with a plan.
#[must_use]
pub fn lint(plan: &Plan) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut seen = BTreeSet::new();
    let mut firewall_seen = false;
    for step in &plan.steps {
        if !seen.insert(step.id.as_str()) {
            violations.push(Violation::DuplicateStep(step.id.clone()));
        }
        if step.reason.is_empty() {
            violations.push(Violation::NoReason(step.id.clone()));
        }
        if matches!(step.action, Action::RestartService) && (!step.restarts || step.risk < Risk::Downtime) {
            violations.push(Violation::SilentRestart(step.id.clone()));
        }
        if matches!(&step.action, Action::DropDatabase { name } if name != "test")
            && step.risk != Risk::DataLoss
        {
            violations.push(Violation::SilentLoss(step.id.clone()));
        }
        if firewall_seen {
            violations.push(Violation::AfterFirewall(step.id.clone()));
        }
        firewall_seen |= matches!(step.action, Action::ApplyFirewall { .. });
    }
    if !plan.steps.is_empty()
        && let Some(stop) = plan.stops().next()
    {
        violations.push(Violation::StepsDespiteStop(stop.id.clone()));
    }
    violations
}
