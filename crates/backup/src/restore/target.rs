//! What the target has, as far as a restore must know: what is there already, what it takes, who may own objects.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dump::fix::TargetSide;
use flavor::{Capability, Vendor};
use server::{Connection, Limits, Row, ServerError, Sql, Target};
use sqltext::quote_string;

use super::error::RestoreError;

const LIMIT: Duration = Duration::from_mins(2);
/// The least `max_allowed_packet` that servers have.
const PACKET_BYTES_MIN: usize = 1024;

/// What the target has.
#[derive(Clone, Debug)]
pub(crate) struct Here {
    pub(crate) side: TargetSide,
    /// Longest packet it takes, in bytes.
    pub(crate) packet_bytes: usize,
    /// `LOAD DATA LOCAL` is allowed.
    pub(crate) has_local_infile: bool,
    /// Accounts as `user@host`; none when they may not be seen.
    pub(crate) accounts: Option<BTreeSet<String>>,
    /// Tables and views of the databases meant, and their kinds.
    pub(crate) tables: BTreeMap<(String, String), String>,
    /// Names of tables are compared in lower case.
    pub(crate) folds_names: bool,
}

impl Here {
    /// Looks at the target.
    ///
    /// # Errors
    /// If it cannot be reached or asked.
    pub(crate) async fn look(target: &Target, databases: &BTreeSet<String>) -> Result<Self, RestoreError> {
        let asked = || RestoreError::server("looking at the target");
        let mut connection = Connection::open(target, &Limits::default()).await.map_err(asked())?;
        let flavor = connection.flavor();
        let (vendor, has_vectors) = (flavor.vendor, flavor.can(Capability::Vectors));
        let rows = ask(
            &mut connection,
            "SELECT @@max_allowed_packet AS packet, @@local_infile AS has_local_infile, @@lower_case_table_names AS folds_names"
                .to_owned(),
        )
        .await
        .map_err(asked())?;
        let number = |name: &str| rows.first().and_then(|row| row.parsed::<usize>(name)).unwrap_or(0);
        let (packet_bytes, infile, folds) =
            (number("packet").max(PACKET_BYTES_MIN), number("has_local_infile"), number("folds_names"));
        let collations =
            names(&mut connection, "SELECT COLLATION_NAME AS it FROM information_schema.COLLATIONS").await?;
        let engines = names(
            &mut connection,
            "SELECT ENGINE AS it FROM information_schema.ENGINES WHERE SUPPORT IN ('YES', 'DEFAULT')",
        )
        .await?;
        let accounts =
            match ask(&mut connection, "SELECT CONCAT(User, '@', Host) AS it FROM mysql.user".to_owned())
                .await
            {
                Ok(rows) => Some(rows.iter().filter_map(|row| row.text("it")).map(str::to_owned).collect()),
                Err(error) if error.is_missing_privilege() => None,
                Err(error) => return Err(asked()(error)),
            };
        let mut tables = BTreeMap::new();
        for database in databases {
            let name = quote_string(database).map_err(|error| RestoreError::Refused(error.to_string()))?;
            let sql = format!(
                "SELECT TABLE_NAME AS name, TABLE_TYPE AS kind FROM information_schema.TABLES WHERE TABLE_SCHEMA = {name}"
            );
            let rows = ask(&mut connection, sql).await.map_err(asked())?;
            for row in rows {
                if let (Some(name), Some(kind)) = (row.text("name"), row.text("kind")) {
                    tables.insert((database.clone(), name.to_owned()), kind.to_owned());
                }
            }
        }
        connection.close().await;
        Ok(Self {
            side: TargetSide { vendor, collations, engines, has_vectors },
            packet_bytes,
            has_local_infile: infile == 1,
            accounts,
            tables,
            folds_names: folds != 0,
        })
    }

    /// Statements of several rows are cut so that they are no longer, in bytes: the head of a packet is in it as well.
    pub(crate) fn statement_bytes_max(&self) -> usize {
        self.packet_bytes - (self.packet_bytes / 8).min(64 << 10)
    }

    pub(crate) const fn vendor(&self) -> Vendor {
        self.side.vendor
    }

    /// Whether a table or view of this name is there.
    pub(crate) fn has(&self, database: &str, name: &str) -> bool {
        if self.folds_names {
            let name = name.to_lowercase();
            return self.tables.keys().any(|(of, known)| of == database && known.to_lowercase() == name);
        }
        self.tables.contains_key(&(database.to_owned(), name.to_owned()))
    }
}

async fn ask(connection: &mut Connection, sql: String) -> Result<Vec<Row>, ServerError> {
    connection.with_limit(LIMIT).query(&Sql::plain(sql)).await
}

async fn names(connection: &mut Connection, sql: &str) -> Result<BTreeSet<String>, RestoreError> {
    let rows =
        ask(connection, sql.to_owned()).await.map_err(RestoreError::server("looking at the target"))?;
    Ok(rows.iter().filter_map(|row| row.text("it")).map(str::to_lowercase).collect())
}
