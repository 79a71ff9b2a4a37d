//! What a dump or backup holds, read whole once before anything is done with it: definitions, and where rows are.
//!
//! A file that is cut off, damaged or another than the manifest says ends the survey, so that nothing is ever loaded
//! from it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dump::layout::{FileName, Part};
use dump::manifest::{MANIFEST_NAME, Manifest};
use dump::{
    DatabaseEntry, DumpError, DumpReader, Header, Inventory, InventoryMaker, ObjectEntry, ObjectName,
    SessionContext, SqlText, Statement,
};

use super::error::RestoreError;
use super::input::{Origin, SourceFile, Sum, Summed};
use super::select::Selection;
use crate::create::catalog::OWN;
use crate::extract::index;
use crate::seal::Identities;

/// A file of definitions is read whole; none is larger.
const DEFINITIONS_BYTES_MAX: u64 = 256 << 20;

/// Statements with rows of a table, in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedRun {
    /// The file's number.
    pub file: usize,
    /// Where it begins in the file's text.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
    /// Length of its longest statement, in bytes.
    pub longest: u64,
    /// The session it was written for.
    pub session: Arc<SessionContext>,
}

/// A table.
#[derive(Clone, Debug)]
pub struct SurveyedTable {
    /// Its name.
    pub name: ObjectName,
    /// Its `CREATE TABLE`.
    pub create: Option<SqlText>,
    /// The session that was written for.
    pub session: Arc<SessionContext>,
    /// Where its rows are.
    pub runs: Vec<PlacedRun>,
    /// What the manifest says of its rows.
    pub recorded: Option<Recorded>,
}

/// What a manifest says of a table's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// How many.
    pub rows: u64,
    /// Columns that are in the sum, in its order.
    pub columns: Vec<String>,
    /// Their sum.
    pub digest: String,
}

impl SurveyedTable {
    /// Length of the text of its rows, in bytes.
    #[must_use]
    pub fn rows_bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.length).sum()
    }
}

/// What a dump or backup holds.
#[derive(Debug, Default)]
pub struct Survey {
    /// Its name, for messages.
    pub name: String,
    /// What it says of itself.
    pub header: Header,
    /// Its files with rows.
    pub files: Vec<SourceFile>,
    /// Databases it makes.
    pub databases: Vec<DatabaseEntry>,
    /// Tables that were meant.
    pub tables: Vec<SurveyedTable>,
    /// Objects that were meant, each with the session it was written for.
    pub objects: Vec<(ObjectEntry, Arc<SessionContext>)>,
    /// Statements that are not carried over, by what they are.
    pub passed: BTreeMap<String, u64>,
    /// Whether it came from an index.
    pub is_from_index: bool,
}

impl Survey {
    /// Takes in what one file holds.
    fn absorb(&mut self, inventory: &Inventory, file: usize, selection: &Selection) {
        let sessions: Vec<Arc<SessionContext>> = inventory.contexts.iter().cloned().map(Arc::new).collect();
        let session = |number: usize| sessions.get(number).cloned().unwrap_or_default();
        for database in &inventory.databases {
            if !self.databases.iter().any(|known| known.name == database.name) {
                self.databases.push(database.clone());
            }
        }
        for table in inventory.tables.iter().filter(|table| selection.has_table(&table.name)) {
            let runs = table.runs.iter().map(|run| PlacedRun {
                file,
                offset: run.offset,
                length: run.length,
                longest: run.longest,
                session: session(run.context),
            });
            let known = self.tables.iter_mut().find(|known| known.name == table.name);
            if let Some(known) = known {
                known.runs.extend(runs);
                known.create = known.create.take().or_else(|| table.create.clone());
                continue;
            }
            self.tables.push(SurveyedTable {
                name: table.name.clone(),
                create: table.create.clone(),
                session: session(table.context),
                runs: runs.collect(),
                recorded: None,
            });
        }
        for object in inventory.objects.iter().filter(|object| selection.has_object(object)) {
            self.objects.push((object.clone(), session(object.context)));
        }
        for (what, count) in &inventory.passed {
            *self.passed.entry(what.clone()).or_default() += count;
        }
    }

    /// Takes out what would go into databases that are the server's own, and says which: what a dump of all databases
    /// has of them is of the server it was taken from. `target` gives the name that a database of the dump gets.
    pub(crate) fn without_own(&mut self, target: impl Fn(&str) -> String) -> Vec<String> {
        let mut left_out = BTreeSet::new();
        let mut stays = |name: &ObjectName| {
            let Some(database) = name.database.as_deref().map(&target) else { return true };
            let is_own = OWN.contains(&database.as_str());
            if is_own {
                left_out.insert(format!("what is of the server's own database {database}"));
            }
            !is_own
        };
        self.tables.retain(|table| stays(&table.name));
        self.objects.retain(|(object, _)| stays(&object.name));
        left_out.into_iter().collect()
    }

    /// Checks that what was named was found.
    fn found(self, selection: &Selection) -> Result<Self, RestoreError> {
        let names = self.tables.iter().map(|table| &table.name);
        let objects = self.objects.iter().map(|(object, _)| &object.name);
        let names = selection.missing(names.chain(objects));
        if names.is_empty() {
            return Ok(self);
        }
        Err(RestoreError::Missing { source_name: self.name, names })
    }
}

/// Reads a plain dump to its end, or its index, which is written when it was read.
///
/// # Errors
/// If it cannot be read, is damaged, or lacks what is meant.
pub fn plain(origin: Origin, selection: &Selection, with_index: bool) -> Result<Survey, RestoreError> {
    let name = origin.to_string();
    let file = SourceFile::new(origin, None).map_err(failed(&name))?;
    let known = if with_index { index::read(&file) } else { None };
    let is_from_index = known.is_some();
    let inventory = match known {
        Some(inventory) => inventory,
        None => {
            let text = file.text().map_err(failed(&name))?;
            let inventory = scan(text).map_err(damaged(&name))?;
            if with_index {
                index::write(&file, &inventory);
            }
            inventory
        }
    };
    Ok(Survey { is_from_index, ..of(name, file, &inventory, selection)? })
}

/// The survey of a single file's inventory.
///
/// # Errors
/// If it lacks what is meant.
pub(crate) fn of(
    name: String,
    file: SourceFile,
    inventory: &Inventory,
    selection: &Selection,
) -> Result<Survey, RestoreError> {
    let mut survey = Survey { name, header: inventory.header.clone(), ..Survey::default() };
    survey.absorb(inventory, 0, selection);
    survey.files.push(file);
    survey.found(selection)
}

/// Reads all statements of a text.
///
/// # Errors
/// If it is damaged.
pub(crate) fn scan(text: super::input::Bytes) -> Result<Inventory, DumpError> {
    let mut reader = DumpReader::new(text);
    let mut maker = InventoryMaker::new();
    while let Some(statement) = reader.next()? {
        let offset = statement.offset;
        maker.see(&statement).map_err(|error| DumpError::Malformed { what: error.sentence(), offset })?;
    }
    let bytes = reader.offset();
    Ok(maker.finish(reader.header(), bytes))
}

/// A file of a folder, by what it makes.
struct Listed {
    file: SourceFile,
    name: FileName,
    stored: String,
    /// SHA-256 and length, where a manifest says.
    expected: Option<(String, u64)>,
}

/// A folder in mydumper's layout: files by name, and the manifest where Mainstay wrote it.
pub struct Folder {
    /// For messages.
    pub name: String,
    /// Its files.
    pub files: Vec<(String, Origin)>,
    /// Its manifest.
    pub manifest: Option<Manifest>,
    /// What opens its encrypted files.
    pub identities: Identities,
}

impl Folder {
    /// What opens a file; none for one that is not encrypted.
    pub(crate) fn sealing_of(
        &self,
        name: &FileName,
        stored: &str,
    ) -> Result<Option<Identities>, RestoreError> {
        if name.encrypted && self.identities.is_empty() {
            let problem = "is encrypted, and no identity is named".to_owned();
            return Err(RestoreError::Differs { file: stored.to_owned(), problem });
        }
        Ok(name.encrypted.then(|| self.identities.clone()))
    }
}

/// Reads all files of a folder that are meant, several at once.
///
/// # Errors
/// If one cannot be read, is damaged, is another than the manifest says, or what is meant is not there.
pub fn folder(folder: &Folder, selection: &Selection, threads: usize) -> Result<Survey, RestoreError> {
    let mut listed = list(folder)?;
    listed.sort_by(|one, other| one.name.cmp(&other.name));
    if folder.manifest.is_none() {
        without_stand_ins(&mut listed);
    }
    let databases = real_databases(folder, &listed)?;
    let is_meant = |listed: &Listed| match parts(&listed.name.part) {
        // Whether a table is meant is known for sure only when its name is its own.
        Some((database, Some(table))) if !table.starts_with("mydumper_") => {
            let database = databases.get(database).map_or(database, String::as_str);
            let name = ObjectName { database: Some(database.to_owned()), name: table.to_owned() };
            selection.has_table(&name)
        }
        Some(_) => true,
        None => false,
    };
    listed.retain(is_meant);
    let scanned = scan_all(&listed, threads)?;
    let mut survey = Survey { name: folder.name.clone(), ..Survey::default() };
    let mut names: BTreeMap<(String, String), ObjectName> = BTreeMap::new();
    for (listed, mut inventory) in listed.into_iter().zip(scanned) {
        let Some((database, table)) = parts(&listed.name.part) else { continue };
        let real = databases.get(database).cloned().unwrap_or_else(|| database.to_owned());
        rename(&mut inventory, &real);
        let key = table.map(|table| (database.to_owned(), table.to_owned()));
        if let (Some(key), Part::Table { .. }, Some(made)) =
            (&key, &listed.name.part, inventory.tables.first())
        {
            names.insert(key.clone(), made.name.clone());
        }
        // Rows are of the table that the file's name says, whatever their statements call it.
        if let (Some(key), Part::Rows { .. }) = (&key, &listed.name.part)
            && let Some(name) = names.get(key)
        {
            for table in &mut inventory.tables {
                table.name = name.clone();
            }
        }
        survey.absorb(&inventory, survey.files.len(), selection);
        survey.files.push(listed.file);
    }
    let views: Vec<ObjectName> = survey
        .objects
        .iter()
        .filter(|(object, _)| object.kind == dump::ObjectKind::View)
        .map(|(object, _)| object.name.clone())
        .collect();
    survey.tables.retain(|table| !table.runs.is_empty() || !views.contains(&table.name));
    if let Some(manifest) = &folder.manifest {
        for table in &mut survey.tables {
            let is_it = |record: &&dump::manifest::TableRecord| {
                record.name == table.name.name && Some(&record.database) == table.name.database.as_ref()
            };
            table.recorded = manifest.tables.iter().find(is_it).map(|record| Recorded {
                rows: record.rows,
                columns: record.columns.clone(),
                digest: record.digest.clone(),
            });
        }
    }
    survey.found(selection)
}

/// Leaves out the tables that stand in for views: old mydumpers do not quote the names of their columns.
fn without_stand_ins(listed: &mut Vec<Listed>) {
    let view = |listed: &Listed| match &listed.name.part {
        Part::View { database, table } => Some((database.clone(), table.clone())),
        Part::Database { .. }
        | Part::Table { .. }
        | Part::Sequence { .. }
        | Part::Rows { .. }
        | Part::Triggers { .. }
        | Part::Post { .. }
        | Part::Accounts
        | Part::ControlPlane { .. }
        | Part::Physical => None,
    };
    let views: BTreeSet<(String, String)> = listed.iter().filter_map(view).collect();
    listed.retain(|listed| match parts(&listed.name.part) {
        Some((database, Some(table))) if matches!(listed.name.part, Part::Table { .. }) => {
            !views.contains(&(database.to_owned(), table.to_owned()))
        }
        Some(_) | None => true,
    });
}

fn list(folder: &Folder) -> Result<Vec<Listed>, RestoreError> {
    let mut listed = Vec::new();
    for (stored, origin) in &folder.files {
        let Some(name) = FileName::parse(stored) else { continue };
        if matches!(name.part, Part::Accounts | Part::ControlPlane { .. } | Part::Physical) {
            continue;
        }
        let sealing = folder.sealing_of(&name, stored)?;
        let record = folder.manifest.as_ref().map(|manifest| manifest.file(stored));
        let expected = match record {
            // Files that the manifest does not know are none of the backup's.
            Some(None) => continue,
            Some(Some(record)) => Some((record.sha256.clone(), record.bytes)),
            None => None,
        };
        let file = SourceFile::new(origin.clone(), sealing).map_err(failed(stored))?;
        listed.push(Listed { file, name, stored: stored.clone(), expected });
    }
    if let Some(manifest) = &folder.manifest {
        let is_there = |name: &str| folder.files.iter().any(|(stored, _)| stored == name);
        if let Some(record) = manifest.files.iter().find(|record| !is_there(&record.name)) {
            let problem = format!("is in {MANIFEST_NAME} and not in the folder");
            return Err(RestoreError::Differs { file: record.name.clone(), problem });
        }
    }
    if listed.is_empty() {
        let problem = "has no file in mydumper's layout".to_owned();
        return Err(RestoreError::Differs { file: folder.name.clone(), problem });
    }
    Ok(listed)
}

/// Databases by what stands for their names in names of files.
fn real_databases(folder: &Folder, listed: &[Listed]) -> Result<BTreeMap<String, String>, RestoreError> {
    if let Some(manifest) = &folder.manifest {
        let pair = |record: &dump::manifest::DatabaseRecord| (record.file_name.clone(), record.name.clone());
        return Ok(manifest.databases.iter().map(pair).collect());
    }
    let mut databases = BTreeMap::new();
    for listed in listed {
        let Part::Database { database } = &listed.name.part else { continue };
        let inventory = definitions(listed)?;
        if let Some(made) = inventory.databases.first() {
            databases.insert(database.clone(), made.name.clone());
        }
    }
    Ok(databases)
}

/// The database and table that a file's name says.
fn parts(part: &Part) -> Option<(&str, Option<&str>)> {
    match part {
        Part::Database { database } | Part::Post { database } => Some((database, None)),
        Part::Table { database, table }
        | Part::Sequence { database, table }
        | Part::Rows { database, table, .. }
        | Part::View { database, table }
        | Part::Triggers { database, table } => Some((database, Some(table))),
        Part::Accounts | Part::ControlPlane { .. } | Part::Physical => None,
    }
}

/// Names without a database are of the file's.
fn rename(inventory: &mut Inventory, database: &str) {
    let tables = inventory.tables.iter_mut().map(|table| &mut table.name);
    let objects = inventory.objects.iter_mut().map(|object| &mut object.name);
    for name in tables.chain(objects) {
        name.database = Some(database.to_owned());
    }
}

/// Reads files, as many at once as there are threads, and gives what they hold in their order.
fn scan_all(listed: &[Listed], threads: usize) -> Result<Vec<Inventory>, RestoreError> {
    let next = AtomicUsize::new(0);
    let runtime = tokio::runtime::Handle::try_current().ok();
    let work = || -> Result<Vec<(usize, Inventory)>, RestoreError> {
        let _entered = runtime.as_ref().map(tokio::runtime::Handle::enter);
        let mut done = Vec::new();
        while let Some((number, listed)) = {
            let number = next.fetch_add(1, Ordering::Relaxed);
            listed.get(number).map(|listed| (number, listed))
        } {
            done.push((number, definitions(listed)?));
        }
        Ok(done)
    };
    let mut all = Vec::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.clamp(1, 16)).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            let done = thread.join().map_err(|_| RestoreError::Worker("reading files".to_owned()))?;
            all.extend(done?);
        }
        Ok::<(), RestoreError>(())
    })?;
    all.sort_by_key(|(number, _)| *number);
    Ok(all.into_iter().map(|(_, inventory)| inventory).collect())
}

/// What one file of a folder holds.
fn definitions(listed: &Listed) -> Result<Inventory, RestoreError> {
    let name = &listed.stored;
    let raw = listed.file.raw().map_err(failed(name))?;
    let (raw, sum) = Summed::new(raw);
    let mut text = listed.file.text_of(Box::new(raw)).map_err(failed(name))?;
    let inventory = match listed.name.part {
        Part::View { .. } | Part::Triggers { .. } | Part::Post { .. } => {
            let mut bytes = Vec::new();
            text.by_ref()
                .take(DEFINITIONS_BYTES_MAX)
                .read_to_end(&mut bytes)
                .map_err(|source| DumpError::Read { offset: 0, source })
                .map_err(damaged(name))?;
            bodies(&bytes).map_err(damaged(name))?
        }
        Part::Database { .. }
        | Part::Table { .. }
        | Part::Sequence { .. }
        | Part::Rows { .. }
        | Part::Accounts
        | Part::ControlPlane { .. }
        | Part::Physical => scan(text).map_err(damaged(name))?,
    };
    if let Some(expected) = &listed.expected {
        check(name, expected, &sum)?;
    }
    Ok(inventory)
}

/// Compares what was read of a file with its SHA-256 and length in the manifest.
pub(crate) fn check(name: &str, expected: &(String, u64), sum: &Sum) -> Result<(), RestoreError> {
    let found = sum.finish();
    if found == *expected {
        return Ok(());
    }
    let problem = format!(
        "has {} bytes with SHA-256 {}, the manifest says {} with {}",
        found.1, found.0, expected.1, expected.0
    );
    Err(RestoreError::Differs { file: name.to_owned(), problem })
}

/// Statements that end at a line's end, as `myloader` reads files of views, triggers and routines: semicolons within do
/// not count.
fn bodies(text: &[u8]) -> Result<Inventory, DumpError> {
    let mut maker = InventoryMaker::new();
    let (mut from, mut at) = (0, 0);
    let quoting = dump::Quoting::default();
    let mut see = |from: usize, to: usize| {
        let text = text.get(from..to).unwrap_or_default().trim_ascii();
        let text = text.strip_suffix(b";").unwrap_or(text);
        let body = String::from_utf8_lossy(text);
        let body = if std::str::from_utf8(text).is_ok() {
            dump::layout::from_file(&body).into_owned().into_bytes()
        } else {
            text.to_vec()
        };
        let offset = from as u64;
        let statement =
            Statement { text: body.trim_ascii(), offset, end: to as u64, is_plain: true, quoting };
        if statement.text.is_empty() {
            return Ok(());
        }
        let seen = maker.see(&statement).map(|_| ());
        seen.map_err(|error| DumpError::Malformed { what: error.sentence(), offset })
    };
    while let Some(line) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let length = line.iter().position(|byte| *byte == b'\n').unwrap_or(line.len());
        let end = at + length;
        if text.get(..end).is_some_and(|text| text.ends_with(b";")) {
            see(from, end - 1)?;
            from = end;
        }
        at = end + 1;
    }
    let rest = text.get(from.min(text.len())..).unwrap_or_default().trim_ascii();
    if !rest.is_empty() && !rest.starts_with(b"--") {
        let shown = String::from_utf8_lossy(rest.get(..rest.len().min(60)).unwrap_or_default()).into_owned();
        return Err(DumpError::Unclosed { offset: from as u64, shown });
    }
    Ok(maker.finish(&Header::default(), text.len() as u64))
}

pub(crate) fn failed(file: &str) -> impl FnOnce(std::io::Error) -> RestoreError {
    let file = file.to_owned();
    move |source| RestoreError::read(file, source)
}

fn damaged(file: &str) -> impl FnOnce(DumpError) -> RestoreError {
    let file = file.to_owned();
    move |source| RestoreError::damaged(file, source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_end_at_lines_ends() {
        let text = "SET NAMES utf8mb4;\nCREATE TRIGGER `t` BEFORE INSERT ON `a` FOR EACH ROW begin\nset @a=1; \nset @b=';'; \nend;;\nCREATE PROCEDURE p() select 1;\n";
        let inventory = bodies(text.as_bytes()).unwrap();
        let texts: Vec<String> = inventory
            .objects
            .iter()
            .map(|object| String::from_utf8_lossy(object.create.as_bytes()).into_owned())
            .collect();
        assert_eq!(
            texts,
            [
                "CREATE TRIGGER `t` BEFORE INSERT ON `a` FOR EACH ROW begin\nset @a=1;\nset @b=';';\nend",
                "CREATE PROCEDURE p() select 1"
            ]
        );
        assert!(bodies(b"CREATE PROCEDURE p() select 1").is_err());
    }
}
