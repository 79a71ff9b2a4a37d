//! What a restore will do, decided before anything is done: names, definitions as the target takes them, what waits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dump::fix::{self, Change, Fix, TargetSide};
use dump::tabledef::{Clause, TableDef};
use dump::{ObjectKind, SessionContext, SqlText};
use flavor::Vendor;
use sqltext::quote_ident;

use super::error::RestoreError;
use super::rows::Method;
use super::survey::{PlacedRun, Recorded, Survey, SurveyedTable};
use super::target::Here;

/// Tables with less text of rows than this are made with all their keys at once: an `ALTER` would cost more.
const SMALL_BYTES: u64 = 4 << 20;

/// A database.
#[derive(Clone, Debug)]
pub(crate) struct DatabasePlan {
    pub(crate) name: String,
    pub(crate) create: String,
}

/// A table.
#[derive(Clone, Debug)]
pub(crate) struct TablePlan {
    pub(crate) database: String,
    pub(crate) name: String,
    /// Both, quoted.
    pub(crate) quoted: String,
    pub(crate) create: Vec<u8>,
    pub(crate) def: Option<TableDef>,
    pub(crate) keys: Vec<Vec<Clause>>,
    pub(crate) foreign_keys: Vec<Clause>,
    pub(crate) session: Arc<SessionContext>,
    pub(crate) runs: Vec<PlacedRun>,
    /// What the manifest says of its rows.
    pub(crate) recorded: Option<Recorded>,
}

impl TablePlan {
    pub(crate) fn bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.length).sum()
    }

    pub(crate) fn shown(&self) -> String {
        format!("{}.{}", self.database, self.name)
    }

    /// How its rows are sent where this is wanted: what cannot be rolled back is not tried.
    pub(crate) fn method(&self, wanted: Method) -> Method {
        if self.is_transactional() { wanted } else { Method::Insert }
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.def.as_ref().is_some_and(TableDef::is_transactional)
    }
}

/// An object.
#[derive(Clone, Debug)]
pub(crate) struct ObjectPlan {
    pub(crate) kind: ObjectKind,
    pub(crate) database: String,
    pub(crate) name: String,
    pub(crate) statements: Vec<Vec<u8>>,
    pub(crate) session: SessionContext,
}

impl ObjectPlan {
    pub(crate) fn shown(&self) -> String {
        format!("{} {}.{}", self.kind.word(), self.database, self.name)
    }
}

/// What will be done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) databases: Vec<DatabasePlan>,
    pub(crate) tables: Vec<TablePlan>,
    pub(crate) objects: Vec<ObjectPlan>,
    /// Changes to definitions, with what they are made in.
    pub(crate) changes: BTreeMap<Fix, BTreeSet<String>>,
    /// What is left out, in words.
    pub(crate) left_out: Vec<String>,
}

/// New names of databases.
pub(crate) struct Naming<'a> {
    pub(crate) renamed: &'a BTreeMap<String, String>,
    /// For what the dump gives no database.
    pub(crate) default: Option<&'a str>,
}

impl Naming<'_> {
    fn of(&self, database: Option<&str>) -> Result<String, RestoreError> {
        let name = database.or(self.default).ok_or_else(|| {
            RestoreError::Refused(
                "the dump does not say which database its tables are of: name one with --into".to_owned(),
            )
        })?;
        Ok(self.renamed(name).to_owned())
    }

    /// The name that a database of the dump gets.
    pub(crate) fn renamed<'n>(&'n self, name: &'n str) -> &'n str {
        self.renamed.get(name).map_or(name, String::as_str)
    }

    /// Names within definitions that have a database of the dump before them.
    fn within(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (old, new) in self.renamed {
            if let Ok(new) = quote_ident(new) {
                text = fix::rename_database(&text, old, &new);
            }
        }
        text
    }
}

struct Maker<'a> {
    plan: Plan,
    naming: &'a Naming<'a>,
    here: &'a Here,
}

/// Makes the plan.
///
/// # Errors
/// If names cannot be names, or the dump has rows without a table.
pub(crate) fn make(survey: &Survey, naming: &Naming<'_>, here: &Here) -> Result<Plan, RestoreError> {
    let mut maker = Maker { plan: Plan::default(), naming, here };
    for table in &survey.tables {
        maker.table(table)?;
    }
    for (object, session) in &survey.objects {
        let database = naming.of(object.name.database.as_deref())?;
        maker.object(object, session, database);
    }
    let wanted: BTreeSet<String> = maker
        .plan
        .tables
        .iter()
        .map(|table| table.database.clone())
        .chain(maker.plan.objects.iter().map(|object| object.database.clone()))
        .collect();
    for name in wanted {
        maker.database(survey, name)?;
    }
    maker.plan.objects.sort_by_key(|object| object.kind);
    Ok(maker.plan)
}

impl Maker<'_> {
    fn side(&self) -> &TargetSide {
        &self.here.side
    }

    fn changed(&mut self, what: &str, changes: BTreeSet<Change>) {
        for change in changes {
            let to = if change.to.is_empty() { "nothing" } else { &change.to };
            let from = change.from.trim();
            let shown = format!("{from} becomes {to} in {what}");
            self.plan.changes.entry(change.fix).or_default().insert(shown);
        }
    }

    fn database(&mut self, survey: &Survey, name: String) -> Result<(), RestoreError> {
        let quoted = quoted(&name)?;
        let is_it = |entry: &&dump::DatabaseEntry| self.naming.renamed(&entry.name) == name;
        let create = survey.databases.iter().find(is_it).map(|entry| text_of(entry.create.as_bytes()));
        let (options, changes) = match create.as_deref().and_then(options_of) {
            Some(options) => fix::definition(options, self.side()),
            None => (String::new(), BTreeSet::new()),
        };
        self.changed(&name, changes);
        let create = format!("CREATE DATABASE IF NOT EXISTS {quoted} {options}");
        self.plan.databases.push(DatabasePlan { name, create });
        Ok(())
    }

    fn table(&mut self, table: &SurveyedTable) -> Result<(), RestoreError> {
        let database = self.naming.of(table.name.database.as_deref())?;
        let name = table.name.name.clone();
        let quoted = format!("{}.{}", quoted(&database)?, quoted(&name)?);
        let shown = format!("{database}.{name}");
        let Some(create) = &table.create else {
            let problem = "has rows in the dump and no CREATE TABLE".to_owned();
            return Err(RestoreError::Rows { table: shown, problem });
        };
        let (text, changes) = fix::definition(&text_of(create.as_bytes()), self.side());
        self.changed(&shown, changes);
        let def = TableDef::parse(&text).ok_or_else(|| {
            RestoreError::Refused(format!("the CREATE TABLE of {shown} has no list of columns"))
        })?;
        let def = self.without_refused(def, &shown);
        let is_small = table.rows_bytes() < SMALL_BYTES;
        let (create, keys) = if is_small {
            (def.create_keyed(&quoted), Vec::new())
        } else {
            (def.create_bare(&quoted), def.waiting_keys())
        };
        let foreign_keys = def
            .foreign_keys()
            .into_iter()
            .map(|clause| Clause { text: self.naming.within(&clause.text), ..clause })
            .collect();
        self.plan.tables.push(TablePlan {
            database,
            name,
            quoted,
            create: create.into_bytes(),
            keys,
            foreign_keys,
            def: Some(def),
            session: definition_session(table),
            runs: table.runs.clone(),
            recorded: table.recorded.clone(),
        });
        Ok(())
    }

    /// MariaDB has no keys on expressions, MySQL computes nothing from AUTO_INCREMENT.
    fn without_refused(&mut self, mut def: TableDef, shown: &str) -> TableDef {
        let (fix, to, refused) = match self.here.vendor() {
            Vendor::MariaDb => (Fix::ExpressionKey, "", def.drop_expression_keys()),
            Vendor::MySql => {
                (Fix::GeneratedColumn, "an ordinary column", def.store_generated_from_auto_increment())
            }
        };
        let change = |from: String| Change { fix, from, to: to.to_owned() };
        self.changed(shown, refused.into_iter().map(change).collect());
        def
    }

    fn object(&mut self, object: &dump::ObjectEntry, session: &SessionContext, database: String) {
        let shown = format!("{} {database}.{}", object.kind.word(), object.name.name);
        let is_foreign = self.here.vendor() == Vendor::MySql
            && matches!(object.kind, ObjectKind::Sequence | ObjectKind::Package);
        if is_foreign {
            self.plan.changes.entry(Fix::Object).or_default().insert(format!("{shown} is left out"));
            self.plan.left_out.push(shown);
            return;
        }
        let mut session = session.clone();
        if let Some(mode) = &session.context.sql_mode {
            let (mode, change) = fix::sql_mode(mode, self.here.vendor());
            self.changed(&shown, change.into_iter().collect());
            session.context.sql_mode = Some(mode);
        }
        let mut text = object.create.as_bytes().to_vec();
        if let Some((user, host, range)) = fix::definer(&text)
            && self.here.accounts.as_ref().is_some_and(|known| !known.contains(&format!("{user}@{host}")))
        {
            let from = format!("the definer {user}@{host}, who is not there,");
            let to = "the account that restores".to_owned();
            self.changed(&shown, [Change { fix: Fix::Definer, from, to }].into());
            text.drain(range);
        }
        if let Ok(utf8) = String::from_utf8(text.clone()) {
            let (fixed, changes) = fix::body(&self.naming.within(&utf8), self.side());
            self.changed(&shown, changes);
            text = fixed.into_bytes();
        }
        if let Some(collation) = &session.context.collation
            && !self.side().collations.contains(&collation.to_lowercase())
        {
            let (to, changes) = fix::definition(collation, self.side());
            self.changed(&shown, changes);
            session.context.collation = Some(to);
        }
        let values = object.values.iter().map(|value| value.as_bytes().to_vec());
        let statements = std::iter::once(text).chain(values).collect();
        let name = object.name.name.clone();
        self.plan.objects.push(ObjectPlan { kind: object.kind, database, name, statements, session });
    }
}

/// Servers show definitions in UTF-8 also to a session under `SET NAMES binary`, as mydumper's is: made under that, the
/// text within them would be taken for bytes.
fn definition_session(table: &SurveyedTable) -> Arc<SessionContext> {
    let charset = table.session.context.charset.as_deref();
    let is_utf8 = matches!(table.create, Some(SqlText::Text(_)));
    if !is_utf8 || !charset.is_some_and(|charset| charset.eq_ignore_ascii_case("binary")) {
        return Arc::clone(&table.session);
    }
    let mut session = SessionContext::clone(&table.session);
    session.context.charset = Some("utf8mb4".to_owned());
    Arc::new(session)
}

/// The options of a `CREATE DATABASE`: what follows its name.
fn options_of(text: &str) -> Option<&str> {
    let at =
        text.find("/*!40100").or_else(|| text.find(" DEFAULT ")).or_else(|| text.find(" CHARACTER SET "))?;
    text.get(at..)
}

/// Definitions are UTF-8, or Latin-1 in old dumps: names and comments are kept either way.
fn text_of(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().copied().map(char::from).collect(), str::to_owned)
}

fn quoted(name: &str) -> Result<String, RestoreError> {
    quote_ident(name).map_err(|error| RestoreError::Refused(format!("`{name}` cannot be a name: {error}")))
}
