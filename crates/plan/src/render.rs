//! A plan as a person reads it.
//!
//! Marks are words and signs, never colour alone, so that a plan reads the same in a log, a mail and a terminal.

use std::fmt;

use crate::preflight::Verdict;
use crate::step::{Change, Finding, Plan, Risk, Severity, Step};

/// Longest list of changed lines shown for one step; the rest is in `--json`.
const CHANGES_SHOWN: usize = 60;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = self.server.as_deref().unwrap_or("server not known yet");
        writeln!(f, "Plan for node {} of cluster {} ({server})", self.node, self.cluster)?;
        checks(self, f)?;
        if self.steps.is_empty() {
            if self.stops().next().is_none()
                && self.findings.iter().all(|finding| finding.severity == Severity::Note)
            {
                writeln!(f, "\nNothing to do: the node is as the spec says.")?;
            }
        } else {
            writeln!(f, "\nSteps")?;
        }
        for (at, step) in self.steps.iter().enumerate() {
            write_step(at + 1, step, f)?;
        }
        findings(&self.findings, f)?;
        for note in &self.notes {
            writeln!(f, "\nNote: {note}.")?;
        }
        if let Some(why) = &self.continues {
            writeln!(f, "\nA further plan follows: {why}.")?;
        }
        if !self.steps.is_empty() {
            let restarts = self.steps.iter().filter(|step| step.restarts).count();
            let loses = self.steps.iter().filter(|step| step.risk == Risk::DataLoss).count();
            write!(f, "\n{}", count(self.steps.len(), "step"))?;
            write!(
                f,
                ", {}",
                if restarts == 0 { "no restart".to_owned() } else { count(restarts, "restart") }
            )?;
            writeln!(
                f,
                ", {}.",
                if loses == 0 { "no data removed".to_owned() } else { format!("{loses} that remove data") }
            )?;
        }
        Ok(())
    }
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn checks(plan: &Plan, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let passed = plan.preflight.iter().filter(|check| check.verdict == Verdict::Pass).count();
    writeln!(f, "\nPreflight: {passed} of {} checks pass", plan.preflight.len())?;
    for check in &plan.preflight {
        let mark = match check.verdict {
            Verdict::Pass => continue,
            Verdict::Warn => "warn",
            Verdict::Stop => "STOP",
        };
        writeln!(f, "  {mark}  {:<14} {}", check.id, check.found)?;
        writeln!(f, "                       {}", check.reason)?;
        if !check.fix.is_empty() {
            writeln!(f, "                       -> {}", check.fix)?;
        }
    }
    Ok(())
}

fn write_step(number: usize, step: &Step, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let risk = match step.risk {
        Risk::None => "",
        Risk::Clients => "  [clients may notice]",
        Risk::Downtime => "  [DOWNTIME: restarts the server]",
        Risk::DataLoss => "  [REMOVES DATA]",
    };
    writeln!(f, "{number:>4}. {}{risk}", step.title)?;
    let source = step.source.as_ref().map(|source| format!(" [{source}]")).unwrap_or_default();
    writeln!(f, "      why: {}{source}", step.reason)?;
    for change in step.changes.iter().take(CHANGES_SHOWN) {
        write_change(change, f)?;
    }
    if step.changes.len() > CHANGES_SHOWN {
        writeln!(f, "        ... and {} more lines", step.changes.len() - CHANGES_SHOWN)?;
    }
    Ok(())
}

fn write_change(change: &Change, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let what = if change.what.is_empty() { String::new() } else { format!("{}: ", change.what) };
    match (&change.found, &change.wanted) {
        (Some(found), Some(wanted)) => write!(f, "        ~ {what}{} -> {}", shown(found), shown(wanted))?,
        (None, Some(wanted)) => write!(f, "        + {what}{wanted}")?,
        (Some(found), None) => write!(f, "        - {what}{found}")?,
        (None, None) => write!(f, "          {what}")?,
    }
    if change.why.is_empty() { writeln!(f) } else { writeln!(f, "   ({})", change.why) }
}

fn shown(value: &str) -> &str {
    if value.is_empty() { "(empty)" } else { value }
}

fn findings(findings: &[Finding], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if findings.is_empty() {
        return Ok(());
    }
    writeln!(f, "\nFor you to decide")?;
    for finding in findings {
        let mark = match finding.severity {
            Severity::Note => "note",
            Severity::Differs => "differs",
            Severity::Blocks => "BLOCKS",
        };
        writeln!(f, "  {mark}: {}", finding.sentence)?;
        writeln!(f, "      -> {}", finding.fix)?;
    }
    Ok(())
}
