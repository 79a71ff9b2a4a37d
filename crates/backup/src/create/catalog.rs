//! What there is to dump: databases, tables with their columns and keys, and everything else made by a statement; and
//! whether any of it changed meanwhile. It reads no rows.

use std::collections::{BTreeMap, BTreeSet};

use dump::literal::Form;
use dump::manifest::{LeftOut, ObjectKind};
use flavor::Vendor;
use server::{Connection, Row, Sql};

use super::error::{CreateError, During};
use super::options::CreateOptions;

/// Databases that are the server's own.
pub(crate) const OWN: [&str; 5] = ["mysql", "information_schema", "performance_schema", "sys", "ndbinfo"];

/// What there is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) databases: Vec<Database>,
    pub(crate) left_out: Vec<LeftOut>,
}

/// A database.
#[derive(Clone, Debug, Default)]
pub(crate) struct Database {
    pub(crate) name: String,
    pub(crate) collation: String,
    pub(crate) tables: Vec<Table>,
    pub(crate) objects: Vec<Object>,
}

/// A table with rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) engine: String,
    pub(crate) rows_estimate: u64,
    pub(crate) data_bytes: u64,
    pub(crate) is_partitioned: bool,
    /// Rows are kept somewhere else, or nowhere.
    pub(crate) without_rows: bool,
    pub(crate) columns: Vec<Column>,
    /// Columns of the primary key, in its order.
    pub(crate) key: Vec<KeyColumn>,
}

/// A column with values of its own.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) form: Form,
    /// The text protocol would round it.
    pub(crate) is_float: bool,
}

/// A column of a primary key.
#[derive(Clone, Debug)]
pub(crate) struct KeyColumn {
    pub(crate) name: String,
    pub(crate) kind: KeyKind,
}

/// How values of a key's column are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// As whole numbers.
    Whole,
    /// As numbers or dates: literals as they come, in quotes.
    Plain,
    /// As text.
    Text {
        /// Character set of the column.
        character_set: String,
        /// Its collation.
        collation: String,
    },
    /// As bytes.
    Bytes,
    /// In a way that literals do not reproduce, such as an enum's.
    Other,
}

/// Something else that is made by a statement.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) kind: ObjectKind,
    pub(crate) name: String,
    /// A trigger's table.
    pub(crate) table: Option<String>,
    pub(crate) definer: Option<String>,
}

impl Object {
    /// The word for it in statements.
    pub(crate) const fn word(&self) -> &'static str {
        match self.kind {
            ObjectKind::View => "VIEW",
            ObjectKind::Sequence => "SEQUENCE",
            ObjectKind::Trigger => "TRIGGER",
            ObjectKind::Function => "FUNCTION",
            ObjectKind::Procedure => "PROCEDURE",
            ObjectKind::Package => "PACKAGE",
            ObjectKind::PackageBody => "PACKAGE BODY",
            ObjectKind::Event => "EVENT",
        }
    }
}

/// Reads what there is, of what is asked for.
pub(crate) async fn read(control: &mut Connection, options: &CreateOptions) -> Result<Catalog, CreateError> {
    let mut catalog = Catalog::default();
    let databases = query(
        control,
        "databases",
        "SELECT schema_name AS name, default_collation_name AS collation_name FROM information_schema.schemata \
         ORDER BY schema_name",
    )
    .await?;
    let wanted: BTreeSet<&str> = options
        .databases
        .iter()
        .map(String::as_str)
        .chain(options.tables.iter().map(|(database, _)| database.as_str()))
        .collect();
    for row in &databases {
        let Some(name) = row.text("name") else { continue };
        if OWN.iter().any(|own| own.eq_ignore_ascii_case(name))
            || !(wanted.is_empty() || wanted.contains(name))
        {
            continue;
        }
        let collation = row.text("collation_name").unwrap_or_default();
        let database = database(control, (name, collation), options, &mut catalog.left_out).await?;
        catalog.databases.push(database);
    }
    check_wanted(&catalog, options, &wanted)?;
    Ok(catalog)
}

fn check_wanted(
    catalog: &Catalog,
    options: &CreateOptions,
    wanted: &BTreeSet<&str>,
) -> Result<(), CreateError> {
    let find = |name: &str| catalog.databases.iter().find(|database| database.name == name);
    for name in wanted {
        if find(name).is_none() {
            return Err(CreateError::Unknown { what: format!("database {name}") });
        }
    }
    for (database, table) in &options.tables {
        let has = find(database).is_some_and(|found| {
            found.tables.iter().any(|other| other.name == *table)
                || found.objects.iter().any(|other| other.table.is_none() && other.name == *table)
        });
        if !has {
            return Err(CreateError::Unknown { what: format!("table {database}.{table}") });
        }
    }
    if catalog.databases.is_empty() { Err(CreateError::Nothing) } else { Ok(()) }
}

async fn database(
    control: &mut Connection,
    (name, collation): (&str, &str),
    options: &CreateOptions,
    left_out: &mut Vec<LeftOut>,
) -> Result<Database, CreateError> {
    let of = literal(name)?;
    let mut database =
        Database { name: name.to_owned(), collation: collation.to_owned(), ..Database::default() };
    let chosen: Vec<&str> = options
        .tables
        .iter()
        .filter(|(database, _)| database == name)
        .map(|(_, table)| table.as_str())
        .collect();
    let is_whole = chosen.is_empty() || options.databases.iter().any(|other| other == name);
    let is_wanted = |table: &str| {
        (is_whole || chosen.contains(&table))
            && !options.without_tables.iter().any(|(of, other)| of == name && other == table)
    };
    let rows = query(
        control,
        "tables",
        &format!(
            "SELECT table_name AS name, table_type AS kind, engine AS engine, table_rows AS row_count, \
             data_length AS data_bytes, create_options AS create_options, table_comment AS comment \
             FROM information_schema.tables WHERE table_schema = {of} ORDER BY table_name"
        ),
    )
    .await?;
    let mut columns = columns(control, &of).await?;
    let mut keys = keys(control, &of).await?;
    for row in &rows {
        let Some(table) = row.text("name").filter(|table| is_wanted(table)) else { continue };
        let other = |kind| Object { kind, name: table.to_owned(), table: None, definer: None };
        match row.text("kind").unwrap_or_default() {
            "VIEW" | "SYSTEM VIEW" => database.objects.push(other(ObjectKind::View)),
            "SEQUENCE" => database.objects.push(other(ObjectKind::Sequence)),
            kind => {
                let described = columns.remove(table).unwrap_or_default();
                let key = keys.remove(table).unwrap_or_default();
                database.tables.push(describe(row, (name, table), kind, described, key, left_out)?);
            }
        }
    }
    others(control, &mut database, is_whole).await?;
    Ok(database)
}

fn describe(
    row: &Row,
    (database, name): (&str, &str),
    kind: &str,
    columns: Vec<DescribedColumn>,
    key: Vec<String>,
    left_out: &mut Vec<LeftOut>,
) -> Result<Table, CreateError> {
    let Some(engine) = row.text("engine").map(str::to_owned) else {
        let comment = row.text("comment").unwrap_or_default();
        return Err(CreateError::NotShown { what: format!("table {database}.{name} ({comment})") });
    };
    let mut say = |why: &str| {
        left_out.push(LeftOut { what: format!("{database}.{name}"), why: why.to_owned() });
    };
    let is = |engines: &[&str]| engines.iter().any(|other| other.eq_ignore_ascii_case(&engine));
    let without_rows = is(&["BLACKHOLE", "FEDERATED", "CONNECT", "SPIDER", "MRG_MYISAM", "S3", "OQGRAPH"]);
    if without_rows {
        say(&format!("its engine {engine} keeps no rows of its own; only its definition is in the backup"));
    } else if !is(&["InnoDB", "RocksDB", "MyRocks", "TokuDB"]) {
        say(&format!("its engine {engine} has no snapshots; its rows are of the time they were read"));
    }
    if kind == "SYSTEM VERSIONED" {
        say("it keeps the history of its rows; only the rows that are current are in the backup");
    }
    let key = key
        .iter()
        .filter_map(|column| columns.iter().find(|other| other.name == *column))
        .map(|column| KeyColumn { name: column.name.clone(), kind: column.key_kind.clone() })
        .collect();
    let columns = columns
        .into_iter()
        .filter(|column| !column.is_generated)
        .map(|column| Column { name: column.name, form: column.form, is_float: column.is_float })
        .collect();
    Ok(Table {
        name: name.to_owned(),
        engine,
        rows_estimate: row.parsed("row_count").unwrap_or(0),
        data_bytes: row.parsed("data_bytes").unwrap_or(0),
        is_partitioned: row.text("create_options").is_some_and(|options| options.contains("partitioned")),
        without_rows,
        columns,
        key,
    })
}

struct DescribedColumn {
    name: String,
    form: Form,
    is_float: bool,
    is_generated: bool,
    key_kind: KeyKind,
}

async fn columns(
    control: &mut Connection,
    of: &str,
) -> Result<BTreeMap<String, Vec<DescribedColumn>>, CreateError> {
    let rows = query(
        control,
        "columns",
        &format!(
            "SELECT table_name AS owner, column_name AS name, data_type AS data_type, extra AS extra, \
             character_set_name AS character_set, collation_name AS collation_name \
             FROM information_schema.columns WHERE table_schema = {of} ORDER BY table_name, ordinal_position"
        ),
    )
    .await?;
    let mut tables: BTreeMap<String, Vec<DescribedColumn>> = BTreeMap::new();
    for row in &rows {
        let (Some(table), Some(name), Some(data_type)) =
            (row.text("owner"), row.text("name"), row.text("data_type"))
        else {
            return Err(CreateError::NotShown { what: "a column".to_owned() });
        };
        let data_type = data_type.to_ascii_lowercase();
        let extra = row.text("extra").unwrap_or_default().to_ascii_uppercase();
        let character_set = row.text("character_set");
        // DEFAULT_GENERATED is a column with an expression as default: it has values of its own.
        let is_generated =
            ["VIRTUAL GENERATED", "STORED GENERATED", "PERSISTENT"].iter().any(|kind| extra.contains(kind));
        let column = DescribedColumn {
            name: name.to_owned(),
            form: Form::of(&data_type, character_set),
            is_float: matches!(data_type.as_str(), "float" | "double" | "real"),
            is_generated,
            key_kind: key_kind(&data_type, character_set, row.text("collation_name")),
        };
        tables.entry(table.to_owned()).or_default().push(column);
    }
    Ok(tables)
}

fn key_kind(data_type: &str, character_set: Option<&str>, collation: Option<&str>) -> KeyKind {
    match data_type {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => KeyKind::Whole,
        "decimal" | "date" | "datetime" | "timestamp" => KeyKind::Plain,
        "char" | "varchar" => match character_set.zip(collation) {
            Some((character_set, collation)) => {
                KeyKind::Text { character_set: character_set.to_owned(), collation: collation.to_owned() }
            }
            None => KeyKind::Other,
        },
        "binary" | "varbinary" => KeyKind::Bytes,
        _ => KeyKind::Other,
    }
}

/// Columns of primary keys; a key over parts of values counts as none to cut ranges with.
async fn keys(control: &mut Connection, of: &str) -> Result<BTreeMap<String, Vec<String>>, CreateError> {
    let rows = query(
        control,
        "primary keys",
        &format!(
            "SELECT table_name AS owner, column_name AS name FROM information_schema.statistics \
             WHERE table_schema = {of} AND index_name = 'PRIMARY' ORDER BY table_name, seq_in_index"
        ),
    )
    .await?;
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in &rows {
        if let Some((table, name)) = row.text("owner").zip(row.text("name")) {
            tables.entry(table.to_owned()).or_default().push(name.to_owned());
        }
    }
    Ok(tables)
}

/// Views' definers and triggers; of a whole database routines and events too.
async fn others(
    control: &mut Connection,
    database: &mut Database,
    is_whole: bool,
) -> Result<(), CreateError> {
    let of = literal(&database.name)?;
    let views = query(
        control,
        "views",
        &format!(
            "SELECT table_name AS name, definer AS definer FROM information_schema.views WHERE table_schema = {of}"
        ),
    )
    .await?;
    for view in database.objects.iter_mut().filter(|object| object.kind == ObjectKind::View) {
        let row = views.iter().find(|row| row.text("name") == Some(view.name.as_str()));
        view.definer = row.and_then(|row| row.text("definer")).map(str::to_owned);
    }
    let triggers = query(
        control,
        "triggers",
        &format!(
            "SELECT trigger_name AS name, event_object_table AS owner, definer AS definer \
             FROM information_schema.triggers WHERE trigger_schema = {of} \
             ORDER BY event_object_table, event_manipulation, action_timing, action_order"
        ),
    )
    .await?;
    let known: BTreeSet<&str> = database.tables.iter().map(|table| table.name.as_str()).collect();
    let triggers = triggers
        .iter()
        .filter_map(|row| object(row, ObjectKind::Trigger))
        .filter(|trigger| trigger.table.as_deref().is_some_and(|table| known.contains(table)));
    let triggers: Vec<Object> = triggers.collect();
    database.objects.extend(triggers);
    if is_whole { post(control, database, &of).await } else { Ok(()) }
}

/// An object by the columns `name`, `owner` and `definer`.
fn object(row: &Row, kind: ObjectKind) -> Option<Object> {
    Some(Object {
        kind,
        name: row.text("name")?.to_owned(),
        table: row.text("owner").map(str::to_owned),
        definer: row.text("definer").map(str::to_owned),
    })
}

/// Routines and events.
async fn post(control: &mut Connection, database: &mut Database, of: &str) -> Result<(), CreateError> {
    let routines = query(
        control,
        "routines",
        &format!(
            "SELECT routine_name AS name, routine_type AS kind, definer AS definer \
             FROM information_schema.routines WHERE routine_schema = {of} ORDER BY routine_type, routine_name"
        ),
    )
    .await?;
    for row in &routines {
        let kind = match row.text("kind").unwrap_or_default() {
            "FUNCTION" => ObjectKind::Function,
            "PROCEDURE" => ObjectKind::Procedure,
            "PACKAGE" => ObjectKind::Package,
            "PACKAGE BODY" => ObjectKind::PackageBody,
            other => return Err(CreateError::NotShown { what: format!("a routine of kind {other}") }),
        };
        database.objects.extend(object(row, kind));
    }
    let events = query(
        control,
        "events",
        &format!(
            "SELECT event_name AS name, definer AS definer FROM information_schema.events \
             WHERE event_schema = {of} ORDER BY event_name"
        ),
    )
    .await?;
    database.objects.extend(events.iter().filter_map(|row| object(row, ObjectKind::Event)));
    Ok(())
}

/// Of all that the catalog has: for tables, by `database.table`, what tells a change, which is the statement, and what
/// changes when a table is made anew or emptied under the same statement; of the rest, that it is there.
pub(crate) async fn fingerprints(
    control: &mut Connection,
    catalog: &Catalog,
) -> Result<BTreeMap<String, String>, CreateError> {
    let mut prints = BTreeMap::new();
    let ids = inner_ids(control).await?;
    for database in &catalog.databases {
        prints.insert(format!("database {}", database.name), database.collation.clone());
        for object in &database.objects {
            let what = format!("{} {}.{}", object.word().to_ascii_lowercase(), database.name, object.name);
            prints.insert(what, object.table.clone().unwrap_or_default());
        }
        let of = literal(&database.name)?;
        let rows = query(
            control,
            "tables",
            &format!(
                "SELECT table_name AS name, create_time AS made \
                 FROM information_schema.tables WHERE table_schema = {of}"
            ),
        )
        .await?;
        let times: BTreeMap<&str, &str> = rows
            .iter()
            .filter_map(|row| Some((row.text("name")?, row.text("made").unwrap_or_default())))
            .collect();
        for table in &database.tables {
            let name = format!("{}.{}", database.name, table.name);
            let Some(made) = times.get(table.name.as_str()) else {
                // Dropped since the catalog was read: it is not to be taken for unchanged.
                prints.insert(name, String::new());
                continue;
            };
            let ids = ids.get(&inner_name(&database.name, &table.name)).cloned().unwrap_or_default();
            // A column added in an instant changes neither number nor time.
            let show = format!("SHOW CREATE TABLE {}.{}", ident(&database.name)?, ident(&table.name)?);
            // Dropped just now, it has none.
            let shown = control.query(&Sql::plain(show)).await.unwrap_or_default();
            let definition = shown.first().and_then(|row| row.text_at(1)).unwrap_or_default();
            let definition = without_auto_increment(definition);
            prints.insert(name, format!("{made} {ids:?} {definition}"));
        }
    }
    Ok(prints)
}

/// InnoDB's numbers of tables, which a table that is made anew or emptied gets anew; none without the privilege.
async fn inner_ids(control: &mut Connection) -> Result<BTreeMap<String, BTreeSet<u64>>, CreateError> {
    let view = match control.flavor().vendor {
        Vendor::MariaDb => "INNODB_SYS_TABLES",
        Vendor::MySql => "INNODB_TABLES",
    };
    let sql = Sql::plain(format!("SELECT name AS name, table_id AS id FROM information_schema.{view}"));
    let rows = match control.query(&sql).await {
        Ok(rows) => rows,
        Err(error) if error.is_missing_privilege() => Vec::new(),
        Err(error) => return Err(error).during(|| "list InnoDB's tables".to_owned()),
    };
    let mut ids: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for row in &rows {
        if let Some((name, id)) = row.text("name").zip(row.parsed("id")) {
            // Partitions belong to their table.
            let name = name.split("#P#").next().unwrap_or(name);
            let name = name.split("#p#").next().unwrap_or(name);
            ids.entry(name.to_owned()).or_default().insert(id);
        }
    }
    Ok(ids)
}

/// A table's name as InnoDB has it, for names of letters, digits and `_`; others are not found, and only their
/// definition and time tell a change.
fn inner_name(database: &str, table: &str) -> String {
    format!("{database}/{table}")
}

/// A definition without the counter that every insert raises.
fn without_auto_increment(definition: &str) -> String {
    const COUNTER: &str = " AUTO_INCREMENT=";
    // Behind the columns: one of their comments may say the same.
    let Some((columns, options)) = definition.rsplit_once("\n)") else { return definition.to_owned() };
    match options.split_once(COUNTER) {
        Some((before, after)) => {
            let rest = after.trim_start_matches(|digit: char| digit.is_ascii_digit());
            format!("{columns}\n){before}{rest}")
        }
        None => definition.to_owned(),
    }
}

/// Names whose definitions differ, or that only one of both has.
pub(crate) fn changed(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names.into_iter().filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

pub(crate) async fn query(control: &mut Connection, what: &str, sql: &str) -> Result<Vec<Row>, CreateError> {
    control.query(&Sql::plain(sql)).await.during(|| format!("list {what}"))
}

pub(crate) fn literal(text: &str) -> Result<String, CreateError> {
    sqltext::quote_string(text).map_err(|error| CreateError::NotShown { what: format!("{text:?} ({error})") })
}

pub(crate) fn ident(name: &str) -> Result<String, CreateError> {
    sqltext::quote_ident(name).map_err(|error| CreateError::NotShown { what: format!("{name:?} ({error})") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_is_new_gone_or_made_anew_has_changed() {
        let prints = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, print)| ((*name).to_owned(), (*print).to_owned())).collect()
        };
        let before = prints(&[("a.t", "1"), ("a.u", "2"), ("a.v", "3")]);
        let after = prints(&[("a.t", "1"), ("a.u", "9"), ("a.new", "4")]);
        assert_eq!(changed(&before, &after), ["a.new", "a.u", "a.v"]);
        assert_eq!(changed(&before, &before), Vec::<String>::new());
    }

    #[test]
    fn an_insert_changes_no_definition() {
        let definition = "CREATE TABLE `t` (\n  `a` int COMMENT ' AUTO_INCREMENT=7'\n) ENGINE=InnoDB AUTO_INCREMENT=42 COMMENT='x'";
        assert_eq!(
            without_auto_increment(definition),
            "CREATE TABLE `t` (\n  `a` int COMMENT ' AUTO_INCREMENT=7'\n) ENGINE=InnoDB COMMENT='x'"
        );
        assert_eq!(without_auto_increment("CREATE TABLE t"), "CREATE TABLE t");
    }

    #[test]
    fn only_keys_that_literals_compare_alike_are_cut() {
        assert_eq!(key_kind("bigint", None, None), KeyKind::Whole);
        assert_eq!(key_kind("enum", Some("utf8mb4"), Some("utf8mb4_bin")), KeyKind::Other);
        assert_eq!(key_kind("double", None, None), KeyKind::Other);
        let text = key_kind("varchar", Some("latin1"), Some("latin1_german2_ci"));
        assert!(matches!(text, KeyKind::Text { character_set, .. } if character_set == "latin1"));
    }
}
