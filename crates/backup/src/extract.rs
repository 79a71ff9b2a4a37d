//! Tables and databases out of a dump: in one pass over it, or at once where its index is there.
//!
//! What is written is a script for the `mysql` client. It drops nothing: where a table is there, loading it fails.

mod ahead;
pub mod index;

use std::io::{self, BufRead as _, Read as _, Write};

use dump::{DumpReader, InventoryMaker, ObjectEntry, ObjectKind, SessionContext, SqlText, Taken};
use serde::Serialize;

use ahead::Ahead;

use crate::restore::input::{Origin, SourceFile};
use crate::restore::survey::{self, Folder, Survey};
use crate::restore::{RestoreError, Selection};

/// Delimiter of what may hold semicolons.
const DELIMITER: &str = ";;";

/// What was extracted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Extracted {
    /// Tables, as `database.table`.
    pub tables: Vec<String>,
    /// Text of their rows, in bytes.
    pub rows_bytes: u64,
    /// Other objects.
    pub objects: usize,
    /// Whether the index told where everything is.
    pub from_index: bool,
}

/// Extracts from a plain dump.
///
/// # Errors
/// If the dump cannot be read, is damaged, or lacks what is meant; or if nothing more can be written. What was written
/// before an error is no whole script: its last line is missing.
pub fn plain(
    origin: Origin,
    selection: &Selection,
    with_index: bool,
    out: &mut dyn Write,
) -> Result<Extracted, RestoreError> {
    let name = origin.to_string();
    let file = SourceFile::new(origin.clone(), None).map_err(survey::failed(&name))?;
    // Of a compressed dump the index says what is there, but not how to come to it.
    let is_indexed = with_index && file.is_seekable && index::read(&file).is_some();
    if is_indexed {
        let survey = survey::plain(origin, selection, true)?;
        return surveyed(&survey, selection, out);
    }
    let mut script = Script::new(out, &name, selection);
    let text = file.text().and_then(Ahead::new).map_err(survey::failed(&name))?;
    let mut reader = DumpReader::new(text);
    let mut maker = InventoryMaker::new();
    let damaged = |source| RestoreError::damaged(name.clone(), source);
    // Tables by number: whether they are meant is asked once.
    let mut meant: Vec<Option<bool>> = Vec::new();
    while let Some(statement) = reader.next().map_err(damaged)? {
        let (offset, text) = (statement.offset, statement.text);
        let taken = maker
            .see(&statement)
            .map_err(|error| damaged(dump::DumpError::Malformed { what: error.sentence(), offset }))?;
        let Taken::Rows(number) = taken else { continue };
        if meant.len() <= number {
            meant.resize(number + 1, None);
        }
        let inventory = maker.inventory();
        let (Some(table), Some(known)) = (inventory.tables.get(number), meant.get_mut(number)) else {
            continue;
        };
        let context = table.runs.last().map_or(table.context, |run| run.context);
        if *known.get_or_insert_with(|| selection.has_table(&table.name)) {
            let session = |number: usize| inventory.contexts.get(number).cloned().unwrap_or_default();
            script
                .table(
                    &table.name.to_string(),
                    table.name.database.as_deref(),
                    table.create.as_ref(),
                    &session(table.context),
                )
                .and_then(|()| script.session(&session(context)))
                .and_then(|()| script.rows(text))
                .map_err(written)?;
        }
    }
    let bytes = reader.offset();
    let inventory = maker.finish(reader.header(), bytes);
    if with_index {
        index::write(&file, &inventory);
    }
    let survey = survey::of(name, file, &inventory, selection)?;
    rest(script, &survey)
}

/// Extracts from a folder in mydumper's layout.
///
/// # Errors
/// As for [`plain`].
pub fn folder(
    folder: &Folder,
    selection: &Selection,
    threads: usize,
    out: &mut dyn Write,
) -> Result<Extracted, RestoreError> {
    surveyed(&survey::folder(folder, selection, threads)?, selection, out)
}

/// Writes what a survey found.
fn surveyed(survey: &Survey, selection: &Selection, out: &mut dyn Write) -> Result<Extracted, RestoreError> {
    let mut script = Script::new(out, &survey.name, selection);
    for table in &survey.tables {
        let (name, database) = (table.name.to_string(), table.name.database.as_deref());
        script.table(&name, database, table.create.as_ref(), &table.session).map_err(written)?;
        for run in &table.runs {
            let Some(file) = survey.files.get(run.file) else { continue };
            script.session(&run.session).map_err(written)?;
            script.copy(file, run.offset, run.length)?;
            script.out.write_all(b"\n").map_err(written)?;
            script.extracted.rows_bytes += run.length;
        }
    }
    rest(script, survey)
}

/// What comes after the rows: tables without any, triggers, views, routines.
fn rest(mut script: Script<'_>, survey: &Survey) -> Result<Extracted, RestoreError> {
    for table in &survey.tables {
        let (name, database) = (table.name.to_string(), table.name.database.as_deref());
        script.table(&name, database, table.create.as_ref(), &table.session).map_err(written)?;
    }
    let mut objects: Vec<&(ObjectEntry, std::sync::Arc<SessionContext>)> = survey.objects.iter().collect();
    objects.sort_by_key(|(object, _)| object.kind);
    for (object, session) in objects {
        script.object(object, session).map_err(written)?;
    }
    script.extracted.from_index = survey.is_from_index;
    script.finish().map_err(written)
}

fn written(source: io::Error) -> RestoreError {
    RestoreError::write("the extracted script", source)
}

/// The script that is written.
struct Script<'o> {
    out: io::BufWriter<&'o mut dyn Write>,
    extracted: Extracted,
    begun: std::collections::BTreeSet<String>,
    session: Option<SessionContext>,
    database: Option<String>,
    /// Whether it says which database things are in: single tables go wherever the client is.
    names_databases: bool,
    is_begun: bool,
    name: String,
}

impl<'o> Script<'o> {
    fn new(out: &'o mut dyn Write, name: &str, selection: &Selection) -> Self {
        let databases: std::collections::BTreeSet<Option<&String>> =
            selection.tables.iter().map(|table| table.database.as_ref()).collect();
        Self {
            out: io::BufWriter::with_capacity(1 << 20, out),
            extracted: Extracted::default(),
            begun: std::collections::BTreeSet::new(),
            session: None,
            database: None,
            names_databases: !selection.databases.is_empty() || selection.is_all() || databases.len() > 1,
            is_begun: false,
            name: name.to_owned(),
        }
    }

    fn begin(&mut self) -> io::Result<()> {
        if !std::mem::replace(&mut self.is_begun, true) {
            let name = self.name.replace(['\n', '\r'], " ");
            writeln!(self.out, "-- Extracted by mainstay from {name}")?;
            writeln!(self.out, "SET SESSION foreign_key_checks = 0;")?;
        }
        Ok(())
    }

    fn table(
        &mut self,
        name: &str,
        database: Option<&str>,
        create: Option<&SqlText>,
        session: &SessionContext,
    ) -> io::Result<()> {
        if !self.begun.insert(name.to_owned()) {
            return Ok(());
        }
        self.extracted.tables.push(name.to_owned());
        self.database(database)?;
        if let Some(create) = create {
            self.session(session)?;
            self.out.write_all(create.as_bytes())?;
            self.out.write_all(b";\n")?;
        }
        Ok(())
    }

    fn database(&mut self, database: Option<&str>) -> io::Result<()> {
        self.begin()?;
        if let Some(database) = database
            && self.names_databases
            && self.database.as_deref() != Some(database)
        {
            let quoted = sqltext::quote_ident(database).map_err(io::Error::other)?;
            writeln!(self.out, "CREATE DATABASE IF NOT EXISTS {quoted};\nUSE {quoted};")?;
            self.database = Some(database.to_owned());
        }
        Ok(())
    }

    fn session(&mut self, session: &SessionContext) -> io::Result<()> {
        if self.session.as_ref() == Some(session) {
            return Ok(());
        }
        let quoted = |text: &str| sqltext::quote_string(text).map_err(io::Error::other);
        let context = &session.context;
        let charset = context.charset.as_deref().unwrap_or("utf8mb4");
        let charset: String = charset.chars().filter(char::is_ascii_alphanumeric).collect();
        let mode = quoted(context.sql_mode.as_deref().unwrap_or("NO_AUTO_VALUE_ON_ZERO"))?;
        let zone = quoted(context.time_zone.as_deref().unwrap_or("+00:00"))?;
        writeln!(self.out, "SET NAMES {charset}, sql_mode = {mode}, time_zone = {zone};")?;
        self.session = Some(session.clone());
        Ok(())
    }

    /// Copies a stretch of a file's text: one thread reads while this one writes.
    fn copy(&mut self, file: &SourceFile, offset: u64, length: u64) -> Result<(), RestoreError> {
        let failed = |source| RestoreError::read(file.origin.to_string(), source);
        let text = file.text_from(offset).map_err(failed)?;
        let mut ahead = Ahead::new(Box::new(text.take(length))).map_err(failed)?;
        self.out.flush().map_err(written)?;
        let mut copied = 0;
        loop {
            let block = ahead.fill_buf().map_err(failed)?;
            if block.is_empty() {
                break;
            }
            // Large blocks are not copied into the buffer first.
            self.out.get_mut().write_all(block).map_err(written)?;
            let passed = block.len();
            copied += passed as u64;
            ahead.consume(passed);
        }
        if copied < length {
            // A file that grew shorter is found out, not copied in part.
            return Err(failed(io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than it was")));
        }
        Ok(())
    }

    fn rows(&mut self, statement: &[u8]) -> io::Result<()> {
        self.out.write_all(statement)?;
        self.out.write_all(b";\n")?;
        self.extracted.rows_bytes += statement.len() as u64;
        Ok(())
    }

    fn object(&mut self, object: &ObjectEntry, session: &SessionContext) -> io::Result<()> {
        self.database(object.name.database.as_deref())?;
        self.session(session)?;
        let is_body = !matches!(object.kind, ObjectKind::View | ObjectKind::Sequence);
        let delimiter = if is_body { DELIMITER } else { ";" };
        if is_body {
            writeln!(self.out, "DELIMITER {DELIMITER}")?;
        }
        self.out.write_all(object.create.as_bytes())?;
        writeln!(self.out, "{delimiter}")?;
        if is_body {
            writeln!(self.out, "DELIMITER ;")?;
        }
        for value in &object.values {
            self.out.write_all(value.as_bytes())?;
            self.out.write_all(b";\n")?;
        }
        self.extracted.objects += 1;
        Ok(())
    }

    fn finish(mut self) -> io::Result<Extracted> {
        self.begin()?;
        writeln!(self.out, "-- Extract completed")?;
        self.out.flush()?;
        Ok(self.extracted)
    }
}
