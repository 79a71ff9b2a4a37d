//! `mainstay backup prune`: what may go, and why the rest stays.

use std::fmt;

use backup::repository::{PrunePlan, Pruned, Repository};
use dump::{Fate, KeepRules};
use jiff::Timestamp;
use serde::Serialize;
use spec::Backup;

use crate::cli::BackupPruneArgs;
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};
use crate::verbs::backup_place::{open, repository_failed, size};

#[derive(Serialize)]
struct Report {
    place: String,
    rules: KeepRules,
    backups: Vec<Line>,
    archive_segments: usize,
    archive_why: String,
    /// What was removed; none in a dry run.
    pruned: Option<Pruned>,
}

#[derive(Serialize)]
struct Line {
    id: String,
    stays: bool,
    why: Vec<String>,
    stored_bytes: Option<u64>,
}

pub(crate) async fn run(format: Format, args: &BackupPruneArgs) -> Verb {
    let kept = open(&args.kept)?;
    let rules = rules(args, kept.backup.as_ref());
    if rules.is_empty() {
        return Err(Failure::said(
            "no rule says what stays",
            "give one, such as --keep-daily 7, or write keep_daily = 7 into [backup] of the spec",
        ));
    }
    let repository = Repository::new(kept.place);
    let plan = repository.plan_prune(&rules, Timestamp::now()).await.map_err(repository_failed)?;
    let goes = plan.backups.iter().any(|(_, fate)| matches!(fate, Fate::Goes(_)))
        || !plan.archive.segments.is_empty();
    let pruned = match args.yes {
        true => Some(repository.prune(&plan).await.map_err(repository_failed)?),
        false => None,
    };
    output::result(format, &report(&repository, rules, &plan, pruned));
    Ok(if goes && !args.yes { Outcome::Differs } else { Outcome::Good })
}

fn rules(args: &BackupPruneArgs, spec: Option<&Backup>) -> KeepRules {
    let given = [
        args.keep_last,
        args.keep_hourly,
        args.keep_daily,
        args.keep_weekly,
        args.keep_monthly,
        args.rewind_days,
    ];
    // Rules from here are instead of the spec's: half of each would be neither.
    let spec = spec.filter(|_| given.iter().all(Option::is_none));
    let rule = |given: Option<u32>, of_spec: fn(&Backup) -> u32| given.or(spec.map(of_spec)).unwrap_or(0);
    KeepRules {
        last: rule(args.keep_last, |spec| spec.keep_last),
        hourly: rule(args.keep_hourly, |spec| spec.keep_hourly),
        daily: rule(args.keep_daily, |spec| spec.keep_daily),
        weekly: rule(args.keep_weekly, |spec| spec.keep_weekly),
        monthly: rule(args.keep_monthly, |spec| spec.keep_monthly),
        rewind_days: rule(args.rewind_days, |spec| spec.rewind_days),
    }
}

fn report(repository: &Repository, rules: KeepRules, plan: &PrunePlan, pruned: Option<Pruned>) -> Report {
    let backups = plan.backups.iter().map(|(backup, fate)| Line {
        id: backup.id.to_string(),
        stays: matches!(fate, Fate::Stays(_)),
        why: match fate {
            Fate::Stays(reasons) => reasons.iter().map(ToString::to_string).collect(),
            Fate::Goes(why) => vec![why.to_string()],
        },
        stored_bytes: backup.whole.as_ref().ok().map(|whole| whole.manifest.stored_bytes()),
    });
    Report {
        place: repository.place().to_string(),
        rules,
        backups: backups.collect(),
        archive_segments: plan.archive.segments.len(),
        archive_why: plan.archive.kept_for.clone(),
        pruned,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.backups.iter().map(|line| {
            let fate = if line.stays { "stays" } else { "goes" };
            let bytes = line.stored_bytes.map_or_else(|| "-".to_owned(), size);
            vec![fate.to_owned(), line.id.clone(), bytes, line.why.join(", ")]
        });
        f.write_str(&output::table(rows.collect()))?;
        let segments = self.archive_segments;
        match &self.pruned {
            Some(pruned) => write!(
                f,
                "removed {} backups, {} in {} objects, and {} pieces of the archive",
                pruned.backups.len(),
                size(pruned.bytes),
                pruned.objects,
                pruned.segments
            ),
            None if segments == 0 => write!(f, "of the archive, all stays: {}", self.archive_why),
            None => write!(f, "of the archive, {segments} pieces go: {}", self.archive_why),
        }?;
        let goes = self.backups.iter().any(|line| !line.stays) || segments > 0;
        if goes && self.pruned.is_none() {
            write!(f, "\na dry run: --yes removes what goes")?;
        }
        Ok(())
    }
}
