//! Definitions as files: databases, tables, views, sequences, triggers, routines and events. It reads no rows and
//! changes no text of a definition but for what [`dump::layout::to_file`] does.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use dump::layout::{BODY_END, FileNames, Part, to_file};
use dump::manifest::{DatabaseRecord, FileRole, LeftOut, ObjectKind, ObjectRecord};
use server::{Connection, Row, Sql};

use super::catalog::{Catalog, Database, Object, ident, literal, query};
use super::error::{CreateError, During};
use super::files::Files;

/// What every file of statements begins with, so that each can be loaded by itself.
pub(crate) const HEADER: &str = "/*!40101 SET NAMES utf8mb4*/;\n/*!40014 SET FOREIGN_KEY_CHECKS=0*/;\n\
     /*!40101 SET SQL_MODE='NO_AUTO_VALUE_ON_ZERO'*/;\n/*!40103 SET TIME_ZONE='+00:00'*/;\n";

/// What was written.
#[derive(Debug, Default)]
pub(crate) struct Schema {
    pub(crate) databases: Vec<DatabaseRecord>,
    pub(crate) objects: Vec<ObjectRecord>,
    /// Files by (database, table): definition, triggers.
    pub(crate) tables: BTreeMap<(String, String), (String, Option<String>)>,
    pub(crate) left_out: Vec<LeftOut>,
}

/// Writes every definition.
pub(crate) async fn write(
    control: &mut Connection,
    catalog: &Catalog,
    names: &mut FileNames,
    files: &Files,
) -> Result<Schema, CreateError> {
    let mut writer = Writer { control, files, schema: Schema::default() };
    for database in &catalog.databases {
        writer.database(database, names).await?;
    }
    Ok(writer.schema)
}

struct Writer<'w> {
    control: &'w mut Connection,
    files: &'w Files,
    schema: Schema,
}

/// A definition that runs in a context of its own.
struct Shown {
    statement: String,
    sql_mode: String,
    client: String,
    connection: String,
    database: String,
    time_zone: Option<String>,
}

impl Writer<'_> {
    async fn database(&mut self, database: &Database, names: &mut FileNames) -> Result<(), CreateError> {
        let quoted = ident(&database.name)?;
        // Definitions of views are shown without the database that is in use, so that they can go into another one.
        let in_use = Sql::plain(format!("USE {quoted}"));
        self.control.execute(&in_use).await.during(|| format!("use database {}", database.name))?;
        let file_name = names.stand_for(&database.name);
        let made = self.show(&format!("SHOW CREATE DATABASE IF NOT EXISTS {quoted}"), &database.name).await?;
        let text = format!("{HEADER}{};\n", one_line(text_of(&made, "Create Database", &database.name)?));
        let create_file = self
            .files
            .write(Part::Database { database: file_name.clone() }, FileRole::Database, text)
            .await?;
        for table in &database.tables {
            let part = Part::Table { database: file_name.clone(), table: names.stand_for(&table.name) };
            let what = format!("{}.{}", database.name, table.name);
            let shown = self.show(&format!("SHOW CREATE TABLE {}", ident(&table.name)?), &what).await?;
            let statement = text_of(&shown, "Create Table", &what)?;
            let text = format!("{HEADER}{};\n", to_file(statement));
            let file = self.files.write(part, FileRole::Table, text).await?;
            let triggers = self.triggers(database, &table.name, (&file_name, names)).await?;
            self.schema.tables.insert((database.name.clone(), table.name.clone()), (file, triggers));
        }
        for object in &database.objects {
            match object.kind {
                ObjectKind::View => self.view(database, object, (&file_name, names)).await?,
                ObjectKind::Sequence => self.sequence(database, object, (&file_name, names)).await?,
                ObjectKind::Trigger
                | ObjectKind::Function
                | ObjectKind::Procedure
                | ObjectKind::Package
                | ObjectKind::PackageBody
                | ObjectKind::Event => {}
            }
        }
        let post_file = self.post(database, &file_name).await?;
        let name = database.name.clone();
        self.schema.databases.push(DatabaseRecord { name, file_name, create_file, post_file });
        Ok(())
    }

    async fn show(&mut self, sql: &str, what: &str) -> Result<Row, CreateError> {
        let rows =
            self.control.query(&Sql::plain(sql)).await.during(|| format!("read the definition of {what}"))?;
        rows.into_iter().next().ok_or_else(|| CreateError::NotShown { what: what.to_owned() })
    }

    async fn view(
        &mut self,
        database: &Database,
        view: &Object,
        (file_name, names): (&str, &mut FileNames),
    ) -> Result<(), CreateError> {
        let what = format!("{}.{}", database.name, view.name);
        let quoted = ident(&view.name)?;
        let table = names.stand_for(&view.name);
        let shown = self.show(&format!("SHOW CREATE VIEW {quoted}"), &what).await?;
        let statement = text_of(&shown, "Create View", &what)?;
        let (client, connection) =
            (text_of(&shown, "character_set_client", &what)?, collation(&shown, &what)?);
        let sql = format!(
            "SELECT column_name AS name FROM information_schema.columns WHERE table_schema = {} AND \
             table_name = {} ORDER BY ordinal_position",
            literal(&database.name)?,
            literal(&view.name)?
        );
        let columns = query(self.control, "columns of a view", &sql).await?;
        let mut stand_in = Vec::new();
        for column in columns.iter().filter_map(|row| row.text("name")) {
            stand_in.push(format!("{} int", ident(column)?));
        }
        if stand_in.is_empty() {
            stand_in.push("`unknown` int".to_owned());
            let why = "it does not work on the server either: what it reads from is missing".to_owned();
            self.schema.left_out.push(LeftOut { what: what.clone(), why });
        }
        let text = format!(
            "{HEADER}CREATE TABLE IF NOT EXISTS {quoted}(\n{}\n) ENGINE=MEMORY;\n",
            stand_in.join(",\n")
        );
        let part = Part::Table { database: file_name.to_owned(), table: table.clone() };
        self.files.write(part, FileRole::Table, text).await?;
        let text = format!(
            "{HEADER}DROP TABLE IF EXISTS {quoted};\nDROP VIEW IF EXISTS {quoted};\n\
             SET character_set_client = {};\nSET collation_connection = {};\n{};\nSET NAMES utf8mb4;\n",
            word(client_for(client, statement), &what)?,
            word(connection, &what)?,
            to_file(statement)
        );
        let part = Part::View { database: file_name.to_owned(), table };
        let file = self.files.write(part, FileRole::View, text).await?;
        self.record(database, view, file);
        Ok(())
    }

    async fn sequence(
        &mut self,
        database: &Database,
        sequence: &Object,
        (file_name, names): (&str, &mut FileNames),
    ) -> Result<(), CreateError> {
        let what = format!("{}.{}", database.name, sequence.name);
        let quoted = ident(&sequence.name)?;
        let shown = self.show(&format!("SHOW CREATE SEQUENCE {quoted}"), &what).await?;
        let statement = text_of(&shown, "Create Table", &what)?.to_owned();
        let row = self.show(&format!("SELECT next_not_cached_value AS next FROM {quoted}"), &what).await?;
        let next: i128 = row.parsed("next").ok_or_else(|| CreateError::NotShown { what: what.clone() })?;
        let text = format!("{HEADER}{};\nDO SETVAL({quoted}, {next}, 0);\n", to_file(&statement));
        let part = Part::Sequence { database: file_name.to_owned(), table: names.stand_for(&sequence.name) };
        let file = self.files.write(part, FileRole::Sequence, text).await?;
        self.record(database, sequence, file);
        Ok(())
    }

    async fn triggers(
        &mut self,
        database: &Database,
        table: &str,
        (file_name, names): (&str, &mut FileNames),
    ) -> Result<Option<String>, CreateError> {
        let mut text = String::new();
        let of_table = || database.objects.iter().filter(|object| object.table.as_deref() == Some(table));
        for trigger in of_table() {
            let shown = self.body(database, trigger).await?;
            push_body(&mut text, database, &shown)?;
        }
        if text.is_empty() {
            return Ok(None);
        }
        let part = Part::Triggers { database: file_name.to_owned(), table: names.stand_for(table) };
        let text = format!("{}{text}", header_of_bodies());
        let file = self.files.write(part, FileRole::Triggers, text).await?;
        for trigger in of_table() {
            self.record(database, trigger, file.clone());
        }
        Ok(Some(file))
    }

    /// Routines and events.
    async fn post(&mut self, database: &Database, file_name: &str) -> Result<Option<String>, CreateError> {
        let mut text = String::new();
        let of_post = || {
            database.objects.iter().filter(|object| {
                matches!(
                    object.kind,
                    ObjectKind::Function
                        | ObjectKind::Procedure
                        | ObjectKind::Package
                        | ObjectKind::PackageBody
                        | ObjectKind::Event
                )
            })
        };
        for object in of_post() {
            let shown = self.body(database, object).await?;
            push_body(&mut text, database, &shown)?;
        }
        if text.is_empty() {
            return Ok(None);
        }
        let text = format!("{}{text}", header_of_bodies());
        let part = Part::Post { database: file_name.to_owned() };
        let file = self.files.write(part, FileRole::Post, text).await?;
        for object in of_post() {
            self.record(database, object, file.clone());
        }
        Ok(Some(file))
    }

    async fn body(&mut self, database: &Database, object: &Object) -> Result<Shown, CreateError> {
        let word = object.word();
        let column = match object.kind {
            ObjectKind::Trigger => "SQL Original Statement",
            ObjectKind::Function => "Create Function",
            ObjectKind::Procedure => "Create Procedure",
            ObjectKind::Package => "Create Package",
            ObjectKind::PackageBody => "Create Package Body",
            ObjectKind::Event => "Create Event",
            ObjectKind::View => "Create View",
            ObjectKind::Sequence => "Create Table",
        };
        let what = format!("{} {}.{}", word.to_ascii_lowercase(), database.name, object.name);
        let row = self.show(&format!("SHOW CREATE {word} {}", ident(&object.name)?), &what).await?;
        let text = |column: &str| text_of(&row, column, &what).map(str::to_owned);
        Ok(Shown {
            statement: text(column)?,
            sql_mode: text("sql_mode")?,
            client: text("character_set_client")?,
            connection: collation(&row, &what)?.to_owned(),
            database: text("Database Collation")?,
            time_zone: row.text("time_zone").map(str::to_owned),
        })
    }

    fn record(&mut self, database: &Database, object: &Object, file: String) {
        self.schema.objects.push(ObjectRecord {
            kind: object.kind,
            database: database.name.clone(),
            name: object.name.clone(),
            table: object.table.clone(),
            definer: object.definer.clone(),
            file,
        });
    }
}

fn header_of_bodies() -> String {
    HEADER.replace(";\n", BODY_END)
}

/// A definition with the settings it was made under, which it keeps.
fn push_body(text: &mut String, database: &Database, shown: &Shown) -> Result<(), CreateError> {
    let what = &database.name;
    let mut set = |name: &str, value: String| {
        // Writing to a String does not fail.
        let _ = write!(text, "SET {name} = {value}{BODY_END}");
    };
    set("character_set_client", word(client_for(&shown.client, &shown.statement), what)?.to_owned());
    set("collation_connection", word(&shown.connection, what)?.to_owned());
    set("sql_mode", literal(&shown.sql_mode)?);
    if let Some(time_zone) = &shown.time_zone {
        set("time_zone", literal(time_zone)?);
    }
    // Parameters without a character set have the database's at the time, which may have been another one.
    let alter = |collation: &str| -> Result<String, CreateError> {
        Ok(format!("ALTER DATABASE {} COLLATE {}{BODY_END}", ident(&database.name)?, word(collation, what)?))
    };
    let is_other = shown.database != database.collation;
    if is_other {
        text.push_str(&alter(&shown.database)?);
    }
    let _ = write!(text, "{}{BODY_END}", to_file(&shown.statement));
    if is_other {
        text.push_str(&alter(&database.collation)?);
    }
    let _ = write!(text, "SET NAMES utf8mb4{BODY_END}");
    if shown.time_zone.is_some() {
        let _ = write!(text, "SET time_zone = '+00:00'{BODY_END}");
    }
    Ok(())
}

/// The character set that a definition is sent in. Here it is UTF-8, whatever it was made in; for plain ASCII the
/// original is as good, and is kept.
fn client_for<'c>(client: &'c str, statement: &str) -> &'c str {
    if statement.is_ascii() { client } else { "utf8mb4" }
}

/// NULL stands where the account may not see the text.
fn text_of<'r>(row: &'r Row, column: &str, what: &str) -> Result<&'r str, CreateError> {
    row.text(column).ok_or_else(|| CreateError::NotShown { what: what.to_owned() })
}

fn collation<'r>(row: &'r Row, what: &str) -> Result<&'r str, CreateError> {
    text_of(row, "collation_connection", what)
}

/// Names of character sets, collations: nothing that could end a statement.
fn word<'w>(word: &'w str, what: &str) -> Result<&'w str, CreateError> {
    let is_word = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_word { Ok(word) } else { Err(CreateError::NotShown { what: format!("the settings of {what}") }) }
}

fn one_line(statement: &str) -> String {
    statement.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_stands_between_the_settings_it_was_made_under() {
        let database = Database {
            name: "shop".to_owned(),
            collation: "utf8mb4_general_ci".to_owned(),
            ..Database::default()
        };
        let shown = Shown {
            statement: "CREATE EVENT e DO BEGIN\n SET @a = 1;\nEND".to_owned(),
            sql_mode: "ANSI_QUOTES".to_owned(),
            client: "latin1".to_owned(),
            connection: "latin1_swedish_ci".to_owned(),
            database: "utf8mb3_bin".to_owned(),
            time_zone: Some("SYSTEM".to_owned()),
        };
        let mut text = String::new();
        push_body(&mut text, &database, &shown).unwrap();
        let lines: Vec<&str> = text.split(BODY_END).collect();
        assert_eq!(
            lines,
            [
                "SET character_set_client = latin1",
                "SET collation_connection = latin1_swedish_ci",
                "SET sql_mode = 'ANSI_QUOTES'",
                "SET time_zone = 'SYSTEM'",
                "ALTER DATABASE `shop` COLLATE utf8mb3_bin",
                "CREATE EVENT e DO BEGIN\n SET @a = 1; \nEND",
                "ALTER DATABASE `shop` COLLATE utf8mb4_general_ci",
                "SET NAMES utf8mb4",
                "SET time_zone = '+00:00'",
                "",
            ]
        );
        assert_eq!(client_for("latin1", "SELECT 'ä'"), "utf8mb4");
        let injected = Shown { client: "latin1; DROP".to_owned(), ..shown };
        assert!(push_body(&mut String::new(), &database, &injected).is_err());
    }
}
