//! `mainstay backup list`: the backups in a place.

use std::fmt;

use backup::repository::{Listed, Repository};
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::BackupListArgs;
use crate::failure::{Outcome, Verb};
use crate::output::{self, Format};
use crate::verbs::backup_place::{age, open, repository_failed, size};

#[derive(Serialize)]
struct Report {
    place: String,
    backups: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    id: String,
    age_seconds: u64,
    is_complete: bool,
    /// Why it cannot be used, where it cannot.
    problem: Option<String>,
    kind: Option<String>,
    server: Option<String>,
    stored_bytes: Option<u64>,
    rows: Option<u64>,
    is_encrypted: bool,
    /// How far it is proven, and since when.
    proof: &'static str,
    proven: Option<Timestamp>,
    log: Option<String>,
    position: Option<u64>,
    gtid: Option<String>,
}

pub(crate) async fn run(format: Format, args: &BackupListArgs) -> Verb {
    let repository = Repository::new(open(&args.kept)?.place);
    let listed = repository.list().await.map_err(repository_failed)?;
    let now = Timestamp::now();
    let backups = listed.iter().map(|backup| line(backup, now)).collect();
    output::result(format, &Report { place: repository.place().to_string(), backups });
    Ok(Outcome::Good)
}

fn line(backup: &Listed, now: Timestamp) -> Line {
    let whole = backup.whole.as_ref().ok();
    let manifest = whole.map(|whole| &whole.manifest);
    let at = manifest.and_then(|manifest| manifest.coordinates.as_ref());
    let (proof, mark) = match whole {
        Some(whole) => match (&whole.restored, &whole.read_back) {
            (Some(mark), _) => ("restored", Some(mark)),
            (None, Some(mark)) => ("read back", Some(mark)),
            (None, None) => ("no", None),
        },
        None => ("no", None),
    };
    Line {
        id: backup.id.to_string(),
        age_seconds: u64::try_from(now.as_second() - backup.id.started().as_second()).unwrap_or(0),
        is_complete: whole.is_some(),
        problem: backup.whole.as_ref().err().cloned(),
        kind: manifest
            .and_then(|manifest| serde_json::to_value(manifest.kind).ok()?.as_str().map(str::to_owned)),
        server: manifest.map(|manifest| format!("{} {}", manifest.server.host, manifest.server.version)),
        stored_bytes: manifest.map(dump::manifest::Manifest::stored_bytes),
        rows: manifest.map(dump::manifest::Manifest::rows),
        is_encrypted: manifest.is_some_and(|manifest| !manifest.recipients.is_empty()),
        proof,
        proven: mark.map(|mark| mark.at),
        log: at.map(|at| at.file.clone()),
        position: at.map(|at| at.position),
        gtid: at.map(|at| at.gtid.clone()),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.backups.is_empty() {
            return write!(f, "no backups in {}", self.place);
        }
        let header = ["BACKUP", "AGE", "SIZE", "ROWS", "PROVEN", "STANDS AT", ""].map(str::to_owned).to_vec();
        let rows = self.backups.iter().map(|line| {
            let none = || "-".to_owned();
            let at = line.log.as_ref().zip(line.position).map(|(log, position)| format!("{log} {position}"));
            let proven = match line.proven {
                Some(at) => format!("{} {}", line.proof, at.strftime("%Y-%m-%d")),
                None => line.proof.to_owned(),
            };
            let note = match (&line.problem, line.is_encrypted) {
                (Some(problem), _) => problem.clone(),
                (None, true) => "encrypted".to_owned(),
                (None, false) => String::new(),
            };
            vec![
                line.id.clone(),
                age(line.age_seconds),
                line.stored_bytes.map_or_else(none, size),
                line.rows.map_or_else(none, |rows| rows.to_string()),
                proven,
                at.unwrap_or_else(none),
                note,
            ]
        });
        f.write_str(&output::table(std::iter::once(header).chain(rows).collect()))
    }
}
