//! `mainstay extract`: tables and databases out of a dump.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use backup::extract::{self, Extracted};
use backup::restore::{RestoreError, Selection, Source};
use serde::Serialize;
use tokio::task::block_in_place;

use crate::cli::ExtractArgs;
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};
use crate::verbs::restore::{failure, source, threads};

#[derive(Serialize)]
struct Done(Extracted);

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Extracted { tables, rows_bytes, objects, from_index } = &self.0;
        let how = if *from_index { ", by its index" } else { "" };
        write!(
            f,
            "extracted {} tables with {rows_bytes} bytes of rows, {objects} other objects{how}",
            tables.len()
        )
    }
}

pub(crate) async fn run(format: Format, args: &ExtractArgs) -> Verb {
    let source = source(&args.dump, &args.store).await?;
    let selection = Selection {
        databases: args.database.clone(),
        tables: args.table.iter().map(|name| Selection::name(name)).collect(),
    };
    let done = block_in_place(|| match &args.output {
        Some(path) => to_file(source, args, &selection, path),
        None => to(source, args, &selection, &mut output::Raw),
    })?;
    // Standard output has the script.
    match args.output {
        Some(_) => output::result(format, &Done(done)),
        None => output::message(&Done(done).to_string()),
    }
    Ok(Outcome::Good)
}

/// Writes under another name, which becomes the real one at the end. It does not wait for the disk: the dump still has it.
fn to_file(
    source: Source,
    args: &ExtractArgs,
    selection: &Selection,
    path: &Path,
) -> Result<Extracted, Failure> {
    let written = |source| failure(RestoreError::write(path.display().to_string(), source));
    if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        // A device or a pipe is written to: a file in its place would be there for all that write to it later.
        let mut file = OpenOptions::new().write(true).open(path).map_err(written)?;
        return to(source, args, selection, &mut file);
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    let mut file = File::create(partial).map_err(written)?;
    let done = to(source, args, selection, &mut file).and_then(|done| {
        file.flush().map_err(written)?;
        std::fs::rename(partial, path).map_err(written)?;
        Ok(done)
    });
    if done.is_err()
        && let Err(error) = std::fs::remove_file(partial)
    {
        tracing::warn!(%error, path = %partial.display(), "half a script is left");
    }
    done
}

fn to(
    source: Source,
    args: &ExtractArgs,
    selection: &Selection,
    out: &mut dyn std::io::Write,
) -> Result<Extracted, Failure> {
    let done = match source {
        Source::Plain(origin) => extract::plain(origin, selection, !args.store.no_index, out),
        Source::Folder(folder) => extract::folder(&folder, selection, threads(None), out),
        Source::Physical(physical) => Err(RestoreError::IsPhysical { name: physical.manifest.id }),
    };
    done.map_err(|error| match (error, &args.output) {
        (RestoreError::Write { source, .. }, Some(path)) => {
            failure(RestoreError::write(path.display().to_string(), source))
        }
        (error, _) => failure(error),
    })
}
