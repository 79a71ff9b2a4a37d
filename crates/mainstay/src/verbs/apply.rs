//! `mainstay apply`: show the plan, ask, carry it out, and read the result back.

use std::time::Duration;

use host::files;
use plan::{Options, Plan, Risk, Severity, Step};
use serde::Serialize;
use setup::{Observe, Progress};
use spec::{Node, Spec};

use crate::cli::ApplyArgs;
use crate::context::{self, Loaded};
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};

/// A plan from a file: a plan of a few hundred steps is some 100 KiB.
const PLAN_BYTES_MAX: usize = 16 << 20;
/// A stopped server needs two plans: one to start it and one for what is inside. More means that something does
/// not converge.
const ROUNDS_MAX: usize = 3;

/// What apply did on a node.
#[derive(Debug, Serialize)]
struct Report {
    node: String,
    steps: usize,
    remaining: Plan,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.remaining.differs() {
            return if self.steps == 0 {
                write!(f, "Nothing to do: node {} is as the spec says.", self.node)
            } else {
                write!(f, "Done: {} steps, and node {} is as the spec says.", self.steps, self.node)
            };
        }
        writeln!(f, "Done: {} steps. What still differs:\n", self.steps)?;
        write!(f, "{}", self.remaining)
    }
}

pub(crate) async fn run(format: Format, args: &ApplyArgs) -> Verb {
    let loaded = context::load(&args.spec)?;
    let node = context::this_node(&loaded, &args.spec).await?;
    let outcome = on_this_node(format, args, &loaded, &node).await?;
    if !args.all {
        return Ok(outcome);
    }
    let mut worst = outcome;
    for other in loaded.spec.nodes.iter().filter(|other| other.name != node.name) {
        output::message(&format!("\n=== node {} over SSH", other.name));
        let theirs = super::receive::apply_there(&loaded, other, format, args.yes).await?;
        if theirs == Outcome::Differs {
            worst = Outcome::Differs;
        }
    }
    Ok(worst)
}

async fn on_this_node(format: Format, args: &ApplyArgs, loaded: &Loaded, node: &Node) -> Verb {
    let mut options = Options { recreate: args.recreate.clone() };
    let mut steps = 0;
    for round in 0..ROUNDS_MAX {
        let plan = match &args.plan {
            Some(path) if round == 0 => read_plan(path)?,
            _ => fresh_plan(&loaded.spec, node, &options, round == 0).await?,
        };
        if plan.steps.is_empty() && plan.stops().next().is_none() && !blocked(&plan) {
            let report = Report { node: node.name.clone(), steps, remaining: plan };
            output::result(format, &report);
            return Ok(if report.remaining.differs() { Outcome::Differs } else { Outcome::Good });
        }
        if format == Format::Text {
            output::text(&plan.to_string());
        }
        refuse_unfit(&plan)?;
        confirm(args, &plan)?;
        let applied = setup::apply(&loaded.spec, node, &plan, &options, &mut Lines).await?;
        steps += applied.steps;
        // What was typed to be destroyed was destroyed once.
        options.recreate.clear();
        if plan.continues.is_none() {
            let report = Report { node: node.name.clone(), steps, remaining: applied.remaining };
            output::result(format, &report);
            return Ok(if report.remaining.differs() { Outcome::Differs } else { Outcome::Good });
        }
    }
    Err(Failure::said("plans keep following each other", "run `mainstay plan` and look at what stays"))
}

fn blocked(plan: &Plan) -> bool {
    plan.findings.iter().any(|finding| finding.severity == Severity::Blocks)
}

fn refuse_unfit(plan: &Plan) -> Result<(), Failure> {
    if let Some(stop) = plan.stops().next() {
        return Err(Failure::said(
            format!("preflight check {} stops: {} ({})", stop.id, stop.found, stop.reason),
            stop.fix.clone(),
        ));
    }
    match plan.findings.iter().find(|finding| finding.severity == Severity::Blocks) {
        Some(block) => Err(Failure::said(&block.sentence, block.fix.clone())),
        None => Ok(()),
    }
}

fn read_plan(path: &std::path::Path) -> Result<Plan, Failure> {
    let text = files::read_text(path, PLAN_BYTES_MAX)?;
    serde_json::from_str(&text).map_err(|error| {
        Failure::new(
            anyhow::Error::new(error).context(format!("{} is not a plan", path.display())),
            "make one with `mainstay plan --out FILE`",
        )
    })
}

async fn fresh_plan(spec: &Spec, node: &Node, options: &Options, measure: bool) -> Result<Plan, Failure> {
    let observation = setup::observe(spec, node, &Observe { measure }).await?;
    Ok(plan::make(spec, node, &observation, options))
}

/// Asks unless told not to. What removes data is confirmed by typing the databases' names.
fn confirm(args: &ApplyArgs, plan: &Plan) -> Result<(), Failure> {
    let typed: Vec<&str> = args.recreate.iter().map(String::as_str).collect();
    if !typed.is_empty() && plan.steps.iter().any(|step| step.risk == Risk::DataLoss) {
        let names = typed.join(",");
        if args.yes {
            return Ok(());
        }
        return match output::ask(&format!("This destroys {names} and all in them. Type the names to go on:"))
        {
            Some(answer) if answer == names => Ok(()),
            Some(_) | None => Err(Failure::said(
                "not confirmed; nothing was changed",
                "type the names exactly, or give --yes",
            )),
        };
    }
    if args.yes {
        return Ok(());
    }
    match output::ask("Carry this out? [y/N]") {
        Some(answer) if answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes") => Ok(()),
        Some(_) => Err(Failure::said("not confirmed; nothing was changed", "answer y to go on")),
        None => Err(Failure::said(
            "there is no terminal to ask on; nothing was changed",
            "give --yes to carry the plan out",
        )),
    }
}

/// Progress as plain lines, the same on a terminal and in a log.
struct Lines;

impl Progress for Lines {
    fn begins(&mut self, number: usize, of: usize, step: &Step) {
        output::message(&format!("[{number}/{of}] {} ...", step.title));
    }

    fn done(&mut self, step: &Step, took: Duration) {
        if took > Duration::from_secs(1) {
            output::message(&format!("      {} took {:.1} s", step.id, took.as_secs_f64()));
        }
    }
}
