//! `mainstay backup verify`: backups read back.

use std::fmt;

use backup::repository::{BackupId, Repository, Verified};
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::BackupVerifyArgs;
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};
use crate::verbs::backup_place::{open, repository_failed, size};

#[derive(Serialize)]
struct Report {
    place: String,
    backups: Vec<Verified>,
    /// Backups that have no manifest that can be read, each with why.
    unusable: Vec<(String, String)>,
}

pub(crate) async fn run(format: Format, args: &BackupVerifyArgs) -> Verb {
    let kept = open(&args.kept)?;
    let identities = kept.identities(args.identity_file.as_deref())?;
    let repository = Repository::new(kept.place).with_identities(identities);
    let mut unusable = Vec::new();
    let ids: Vec<BackupId> = match &args.id {
        Some(id) => vec![id.clone()],
        None => {
            let listed = repository.list().await.map_err(repository_failed)?;
            let mut whole = Vec::new();
            for backup in listed {
                match backup.whole {
                    Ok(_) => whole.push(backup.id),
                    Err(problem) => unusable.push((backup.id.to_string(), problem)),
                }
            }
            if !args.all {
                whole.truncate(1);
                unusable.clear();
            }
            whole
        }
    };
    if ids.is_empty() && unusable.is_empty() {
        let sentence = format!("there is no whole backup in {}", repository.place());
        return Err(Failure::said(sentence, "take one with `mainstay backup create`"));
    }
    let mut backups = Vec::new();
    for id in ids {
        tracing::info!(%id, "reading a backup back");
        let mut tenths = 0;
        let mut tell = |news: backup::repository::VerifyNews| {
            let done = (news.bytes * 10).checked_div(news.of_bytes).unwrap_or(10);
            if done > tenths {
                tenths = done;
                output::message(&format!("{id}: {} of {}", size(news.bytes), size(news.of_bytes)));
            }
        };
        backups.push(repository.verify(&id, Timestamp::now(), &mut tell).await.map_err(repository_failed)?);
    }
    let is_well = unusable.is_empty() && backups.iter().all(|backup| backup.problems.is_empty());
    output::result(format, &Report { place: repository.place().to_string(), backups, unusable });
    Ok(if is_well { Outcome::Good } else { Outcome::Differs })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for backup in &self.backups {
            let (files, bytes) = (backup.files, size(backup.bytes));
            if backup.problems.is_empty() {
                writeln!(f, "{}: {files} files, {bytes}, read back as written", backup.id)?;
            } else {
                writeln!(f, "{}: {} files are damaged, {files} are well", backup.id, backup.problems.len())?;
            }
            if backup.unopened > 0 {
                writeln!(f, "  {} are encrypted and were not opened: no identity is named", backup.unopened)?;
            }
            for problem in &backup.problems {
                writeln!(f, "  {}: {}", problem.file, problem.problem)?;
            }
            if let Some(first) = backup.strangers.first() {
                writeln!(f, "  {} files that no manifest names, as {first}", backup.strangers.len())?;
            }
        }
        for (id, problem) in &self.unusable {
            writeln!(f, "{id}: {problem}")?;
        }
        Ok(())
    }
}
