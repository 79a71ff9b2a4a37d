//! `mainstay restore --datadir`: a physical backup as a data directory, and what to do with it then.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backup::physical::restore::{PhysicalError, PutBack, PutBackOptions, put_back};
use backup::restore::Progress;
use dump::manifest::Coordinates;
use flavor::Vendor;
use serde::Serialize;

use crate::cli::RestoreArgs;
use crate::context;
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};
use crate::verbs::backup_place::{age, size};
use crate::verbs::restore::{failure, source, spec_args};

#[derive(Serialize)]
#[serde(transparent)]
struct Report(PutBack);

pub(crate) async fn run(format: Format, args: &RestoreArgs, datadir: &Path) -> Verb {
    let source = source(&args.source, &args.store).await?;
    let physical = source.physical().map_err(failure)?;
    let options = PutBackOptions {
        datadir: datadir.to_owned(),
        owner: owner(args)?,
        server_root: args.server_root.clone(),
        dry_run: args.dry_run,
    };
    let progress = Arc::new(Progress::default());
    let done = watched(put_back(&physical, &options, &progress), args.progress, &progress).await;
    let done = done.map_err(physical_failure)?;
    let outcome = if done.dry_run { Outcome::Differs } else { Outcome::Good };
    output::result(format, &Report(done));
    Ok(outcome)
}

/// The account that is named, else the spec's.
fn owner(args: &RestoreArgs) -> Result<Option<String>, Failure> {
    let from = spec_args(&args.store);
    if args.owner.is_some() || !context::is_there(&from) {
        return Ok(args.owner.clone());
    }
    Ok(Some(context::load(&from)?.spec.service.user))
}

pub(crate) fn physical_failure(error: PhysicalError) -> Failure {
    match error.hint() {
        Some(hint) => Failure::new(error, hint),
        None => error.into(),
    }
}

/// Shows how far the work is, until it ends.
pub(crate) async fn watched<T>(work: impl Future<Output = T>, is_shown: bool, progress: &Progress) -> T {
    let line = |elapsed: Duration| {
        let it = progress.standing();
        if !is_shown || it.phase.is_empty() {
            return None;
        }
        let rate = it.bytes_done.checked_div(elapsed.as_secs()).unwrap_or(0);
        let left = it.bytes_total.saturating_sub(it.bytes_done).checked_div(rate);
        let left = left.filter(|left| *left > 0);
        let left = left.map(|seconds| format!(", about {} left", age(seconds))).unwrap_or_default();
        let (done, total) = (size(it.bytes_done), size(it.bytes_total));
        Some(format!("{}: {done} of about {total}, {}/s{left}", it.phase, size(rate)))
    };
    output::during(work, output::PROGRESS, line).await
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let it = &self.0;
        let (at, bytes) = (it.datadir.display(), size(it.bytes));
        let of = format!("the server's files of {} {}", it.vendor, it.taken_from);
        if it.dry_run {
            writeln!(f, "would put back {} as {at}: {of}, about {bytes}, given to {}", it.backup, it.owner)?;
            return write!(
                f,
                "{} is here and reads them; there is room for them; nothing was changed",
                it.server
            );
        }
        if it.resumed {
            writeln!(
                f,
                "put {} in its place as {at}: an earlier run had made it ready; it belongs to {}",
                it.backup, it.owner
            )?;
        } else {
            writeln!(
                f,
                "put back {} as {at}: {of}, {} files with {bytes}, as of {:.0}; they belong to {}",
                it.backup, it.files, it.snapshot_taken, it.owner
            )?;
            writeln!(
                f,
                "read and unpacked in {:.1} s, made ready in {:.1} s; the checksum is the manifest's",
                it.unpack_seconds, it.prepare_seconds
            )?;
        }
        writeln!(f, "next:")?;
        let unit = match it.vendor {
            Vendor::MariaDb => "mariadb",
            Vendor::MySql => "mysql",
        };
        let identity = match it.vendor {
            Vendor::MariaDb => "a server_id that no other server has",
            Vendor::MySql => {
                "a server_id that no other server has; it makes a server_uuid of its own, as auto.cnf was left out"
            }
        };
        writeln!(f, "1. its configuration: datadir = {at}; {identity}")?;
        for (name, value) in &it.settings {
            writeln!(f, "   and {name} = {value}, as the files are laid out so")?;
        }
        writeln!(f, "2. start {}, with: systemctl start {unit}", it.server)?;
        writeln!(f, "   its accounts and passwords are those of the backup")?;
        following(f, it)
    }
}

/// How to get what came after the backup.
fn following(f: &mut fmt::Formatter<'_>, it: &PutBack) -> fmt::Result {
    let Some(at) = &it.coordinates else {
        return write!(
            f,
            "3. it has no coordinates: what came after {:.0} can neither be replicated nor replayed",
            it.snapshot_taken
        );
    };
    let gtid = if at.gtid.is_empty() { String::new() } else { format!(", GTID {}", at.gtid) };
    writeln!(f, "3. it stands at {}:{}{gtid}; what came after is not in it yet:", at.file, at.position)?;
    writeln!(f, "   as a replica:     {}", replicate(it.vendor, at))?;
    write!(f, "   from the archive: mainstay rewind --into SOCKET --to end --restored --backup {}", it.backup)
}

fn replicate(vendor: Vendor, at: &Coordinates) -> String {
    let quoted = |text: &str| sqltext::quote_string(text).unwrap_or_default();
    let login = |of: &str| format!("{of}_HOST='PRIMARY', {of}_USER='repl', {of}_PASSWORD='...'");
    match (vendor, at.gtid.is_empty()) {
        (Vendor::MariaDb, false) => format!(
            "SET GLOBAL gtid_slave_pos = {}; CHANGE MASTER TO {}, MASTER_USE_GTID=slave_pos; START SLAVE",
            quoted(&at.gtid),
            login("MASTER")
        ),
        (Vendor::MariaDb, true) => format!(
            "CHANGE MASTER TO {}, MASTER_LOG_FILE={}, MASTER_LOG_POS={}; START SLAVE",
            login("MASTER"),
            quoted(&at.file),
            at.position
        ),
        (Vendor::MySql, false) => {
            format!("CHANGE REPLICATION SOURCE TO {}, SOURCE_AUTO_POSITION=1; START REPLICA", login("SOURCE"))
        }
        (Vendor::MySql, true) => format!(
            "CHANGE REPLICATION SOURCE TO {}, SOURCE_LOG_FILE={}, SOURCE_LOG_POS={}; START REPLICA",
            login("SOURCE"),
            quoted(&at.file),
            at.position
        ),
    }
}
