//! Carrying out a plan: exactly its steps, in order, each recorded before and after.
//!
//! The lock and the fresh observation come first: a plan made from another state of the node is refused. The
//! process may be killed anywhere; what was done stays done, and the next plan holds the rest.

use std::time::Duration;

use host::lock::ApplyLock;
use plan::{Options, Plan, Step};
use spec::{Node, Spec};

use crate::act::Act;
use crate::audit::AuditLog;
use crate::error::SetupError;
use crate::observe::{Observe, observe};

/// Told of each step as it happens.
pub trait Progress {
    /// A step begins: its number from 1, and how many there are.
    fn begins(&mut self, number: usize, of: usize, step: &Step);
    /// The step ended well.
    fn done(&mut self, step: &Step, took: Duration);
}

/// What apply did.
#[derive(Clone, Debug)]
pub struct Applied {
    /// How many steps were carried out.
    pub steps: usize,
    /// The plan made from the state after them: empty when the node is as the spec says.
    pub remaining: Plan,
}

/// How long a second apply waits for the first.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Carries out `plan`, made with `options` for `node`.
///
/// # Errors
/// When another apply runs, a check stops, the state has changed since the plan was made, or a step fails.
pub async fn apply(
    spec: &Spec,
    node: &Node,
    plan: &Plan,
    options: &Options,
    progress: &mut dyn Progress,
) -> Result<Applied, SetupError> {
    let audit = AuditLog::open(&spec.paths.state, plan)?;
    let _lock = ApplyLock::acquire(&spec.paths.state.join("apply.lock"), LOCK_WAIT)?;
    refuse_unfit(spec, node, plan).await?;
    audit.run_begins(plan)?;
    let mut act = Act::new(spec, node);
    for (at, step) in plan.steps.iter().enumerate() {
        progress.begins(at + 1, plan.steps.len(), step);
        let started = std::time::Instant::now();
        audit.step_begins(plan, step)?;
        kill_point(&step.id);
        if let Err(error) = act.carry_out(&step.action).await {
            audit.step_failed(plan, step, &error)?;
            return Err(error);
        }
        audit.step_done(plan, step)?;
        progress.done(step, started.elapsed());
    }
    act.close().await;
    audit.run_ends(plan)?;
    // What was read back decides, not what was sent.
    let after = observe(spec, node, &Observe { measure: false }).await?;
    let remaining = plan::make(spec, node, &after, &Options { recreate: Vec::new() });
    tracing::info!(node = node.name, steps = plan.steps.len(), options = ?options.recreate, "applied");
    Ok(Applied { steps: plan.steps.len(), remaining })
}

async fn refuse_unfit(spec: &Spec, node: &Node, plan: &Plan) -> Result<(), SetupError> {
    if plan.cluster != spec.cluster.name || plan.node != node.name {
        return Err(SetupError::refused(
            format!(
                "the plan is for node {} of {}, not for {} of {}",
                plan.node, plan.cluster, node.name, spec.cluster.name
            ),
            "run `mainstay plan` for this node",
        ));
    }
    if let Some(violation) = plan::lint(plan).into_iter().next() {
        return Err(SetupError::refused(
            format!("the plan is unsound: {violation}"),
            "please report this plan",
        ));
    }
    if let Some(stop) = plan.stops().next() {
        return Err(SetupError::refused(
            format!("preflight check {} stops: {}", stop.id, stop.found),
            stop.fix.clone(),
        ));
    }
    if let Some(block) = plan.findings.iter().find(|finding| finding.severity == plan::Severity::Blocks) {
        return Err(SetupError::refused(block.sentence.clone(), block.fix.clone()));
    }
    let now = observe(spec, node, &Observe { measure: false }).await?;
    if now.digest() != plan.observation {
        return Err(SetupError::refused(
            "the node has changed since the plan was made",
            "run `mainstay plan` again and look at what is different",
        ));
    }
    Ok(())
}

/// Fault injection for the tests that kill apply at every step: the process named in the environment dies here
/// as if by SIGKILL, with nothing flushed or cleaned up.
fn kill_point(step_id: &str) {
    if std::env::var("MAINSTAY_FAULT_KILL_AT").is_ok_and(|wanted| wanted == step_id) {
        std::process::abort();
    }
}
