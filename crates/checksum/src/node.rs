//! One server of a comparison: a session in a known state, and the questions asked of it.

use std::collections::BTreeMap;
use std::time::Duration;

use flavor::{Flavor, Vendor};
use server::{Connection, Limits, Row, ServerError, Sql, Target};

use crate::column::{Column, Kind};
use crate::error::ChecksumError;
use crate::piece::{Key, Piece, number};
use crate::sum::{Sum, Sums};
use crate::table::{Table, TableName, UniqueKey};

/// A server, the login to use there, and what to call it.
#[derive(Clone, Debug)]
pub struct Login {
    /// What it is called in reports.
    pub name: String,
    /// Address and account.
    pub target: Target,
}

/// A statement that takes longer has met something: it is stopped.
const STATEMENT_SECONDS: u64 = 600;
/// How long a statement waits for locks, of rows and of tables.
const LOCK_SECONDS: u32 = 3;
/// Databases that are the server's own.
const OWN: &str = "'mysql', 'sys', 'information_schema', 'performance_schema'";

/// A row's sum by its key.
pub(crate) type Listing = BTreeMap<Key, u64>;
/// The values of a row's compared columns.
pub(crate) type Values = Vec<Option<Vec<u8>>>;

/// A session on one of the servers compared.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) connection: Connection,
}

impl Node {
    pub(crate) async fn open(login: &Login) -> Result<Self, ChecksumError> {
        let limits = Limits { statement: Duration::from_secs(STATEMENT_SECONDS), ..Limits::default() };
        let connection =
            Connection::open(&login.target, &limits).await.map_err(ChecksumError::server(&login.name))?;
        let mut node = Self { name: login.name.clone(), connection };
        // Behind a DDL statement that waits, every other statement on the table would wait for it as well.
        let fresh = match node.flavor().vendor {
            Vendor::MariaDb => "",
            // What it tells of a table's size is a day old otherwise.
            Vendor::MySql => ", information_schema_stats_expiry = 0",
        };
        node.run(&format!(
            "SET SESSION lock_wait_timeout = {LOCK_SECONDS}, innodb_lock_wait_timeout = {LOCK_SECONDS}{fresh}"
        ))
        .await?;
        Ok(node)
    }

    /// Connects anew if the session was lost, as one is whose question was dropped half-way. Whether it was.
    pub(crate) async fn mend(&mut self) -> Result<bool, ChecksumError> {
        if self.connection.ping().await.is_ok() {
            return Ok(false);
        }
        let login = Login { name: self.name.clone(), target: self.connection.target().clone() };
        *self = Self::open(&login).await?;
        Ok(true)
    }

    pub(crate) fn flavor(&self) -> Flavor {
        self.connection.flavor()
    }

    pub(crate) async fn run(&mut self, sql: &str) -> Result<(), ChecksumError> {
        self.connection.execute(&Sql::plain(sql)).await.map_err(ChecksumError::server(&self.name))?;
        Ok(())
    }

    pub(crate) async fn ask(&mut self, sql: &str) -> Result<Vec<Row>, ChecksumError> {
        self.connection.query(&Sql::plain(sql)).await.map_err(ChecksumError::server(&self.name))
    }

    fn answer(&self, what: &'static str) -> ChecksumError {
        ChecksumError::Answer { node: self.name.clone(), what }
    }

    /// Every table the account sees, but for the server's own, and how many other things there were.
    pub(crate) async fn tables(&mut self) -> Result<BTreeMap<TableName, Table>, ChecksumError> {
        let name = |row: &Row| Some(TableName::new(row.text("d")?, row.text("t")?));
        let mut tables = BTreeMap::new();
        let listed = self
            .ask(&format!(
                "SELECT TABLE_SCHEMA AS d, TABLE_NAME AS t, ENGINE AS e, TABLE_ROWS AS n, \
                 DATA_LENGTH AS b FROM information_schema.TABLES \
                 WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') AND TABLE_SCHEMA NOT IN ({OWN})"
            ))
            .await?;
        for row in &listed {
            let Some(name) = name(row) else { continue };
            let table = Table {
                name: name.clone(),
                columns: Vec::new(),
                keys: Vec::new(),
                rows_estimate: row.parsed("n").unwrap_or(0),
                bytes: row.parsed("b"),
                transactional: row.text("e").is_some_and(|engine| engine.eq_ignore_ascii_case("innodb")),
            };
            tables.insert(name, table);
        }
        let columns = self
            .ask(&format!(
                "SELECT TABLE_SCHEMA AS d, TABLE_NAME AS t, COLUMN_NAME AS c, DATA_TYPE AS k, COLUMN_TYPE AS y, \
                 IS_NULLABLE AS n, CHARACTER_SET_NAME AS s, COLLATION_NAME AS o, \
                 GENERATION_EXPRESSION AS g FROM information_schema.COLUMNS \
                 WHERE TABLE_SCHEMA NOT IN ({OWN}) ORDER BY 1, 2, ORDINAL_POSITION"
            ))
            .await?;
        for row in &columns {
            let Some(table) = name(row).and_then(|name| tables.get_mut(&name)) else { continue };
            table.columns.extend(column(row));
        }
        self.keys(&mut tables).await?;
        Ok(tables)
    }

    async fn keys(&mut self, tables: &mut BTreeMap<TableName, Table>) -> Result<(), ChecksumError> {
        let rows = self
            .ask(&format!(
                "SELECT TABLE_SCHEMA AS d, TABLE_NAME AS t, INDEX_NAME AS i, COLUMN_NAME AS c, SUB_PART AS p \
                 FROM information_schema.STATISTICS WHERE NON_UNIQUE = 0 AND INDEX_TYPE = 'BTREE' \
                 AND TABLE_SCHEMA NOT IN ({OWN}) ORDER BY 1, 2, INDEX_NAME <> 'PRIMARY', 3, SEQ_IN_INDEX"
            ))
            .await?;
        for row in &rows {
            let (Some(database), Some(table), Some(index)) = (row.text("d"), row.text("t"), row.text("i"))
            else {
                continue;
            };
            let Some(table) = tables.get_mut(&TableName::new(database, table)) else { continue };
            // An empty name never is one of the table's columns: a prefix or an expression makes no key.
            let column = row.text("c").filter(|_| row.bytes("p").is_none()).unwrap_or_default().to_owned();
            match table.keys.last_mut().filter(|key| key.name == index) {
                Some(key) => key.columns.push(column),
                None => table.keys.push(UniqueKey { name: index.to_owned(), columns: vec![column] }),
            }
        }
        for table in tables.values_mut() {
            let columns = &table.columns;
            let is_firm =
                |name: &String| columns.iter().any(|column| column.name == *name && !column.nullable);
            table.keys.retain(|key| key.columns.iter().all(is_firm));
        }
        Ok(())
    }

    /// What the server's own sum of a whole table is; none if it gives none.
    pub(crate) async fn whole_sum(
        &mut self,
        table: &TableName,
        limit: Duration,
    ) -> Result<Option<u32>, ChecksumError> {
        // Without EXTENDED, engines that keep a sum beside the rows would tell that one.
        let table = table.quoted().map_err(crate::piece::PieceError::from)?;
        let checksum = Sql::plain(format!("CHECKSUM TABLE {table} EXTENDED"));
        let vendor = self.flavor().vendor;
        let mut session = self.connection.with_limit(limit);
        let rows = session.query(&checksum).await.map_err(ChecksumError::server(&self.name))?;
        let sum = rows.first().and_then(|row| row.parsed("Checksum"));
        if vendor == Vendor::MariaDb {
            return Ok(sum);
        }
        // Where MySQL can read no further, it tells the sum so far, with a warning.
        let warnings = Sql::plain("SELECT @@warning_count AS n");
        let rows = session.query(&warnings).await.map_err(ChecksumError::server(&self.name))?;
        Ok(sum.filter(|_| rows.first().and_then(|row| row.text("n")) == Some("0")))
    }

    pub(crate) async fn sum(&mut self, sums: &Sums, piece: &Piece) -> Result<Sum, ChecksumError> {
        let rows = self.ask(&sums.sum(piece)?).await?;
        let row = rows.first().ok_or_else(|| self.answer("sum"))?;
        let (Some(count), Some(xor)) = (row.parsed("n"), row.parsed("x")) else {
            return Err(self.answer("sum"));
        };
        Ok(Sum { rows: count, xor, added: row.text("a").map(str::to_owned) })
    }

    /// The keys and sums of a piece's rows; `locked`: and keeps everyone from changing them until the end of the
    /// transaction.
    pub(crate) async fn list(
        &mut self,
        sums: &Sums,
        piece: &Piece,
        locked: bool,
    ) -> Result<Listing, ChecksumError> {
        let lock = if locked { " LOCK IN SHARE MODE" } else { "" };
        let rows = self.ask(&format!("{}{lock}", sums.list(piece)?)).await?;
        let columns = sums.side().key.len();
        let mut listing = Listing::new();
        for row in &rows {
            let sum = row.parsed("h").ok_or_else(|| self.answer("sum of a row"))?;
            listing.insert(key(row, columns), sum);
        }
        Ok(listing)
    }

    /// How many rows of a piece have which sum, for tables without a key.
    pub(crate) async fn list_sums(
        &mut self,
        sums: &Sums,
        piece: &Piece,
    ) -> Result<BTreeMap<u64, u64>, ChecksumError> {
        let rows = self.ask(&sums.list(piece)?).await?;
        let pairs = rows.iter().map(|row| Some((row.parsed("h")?, row.parsed("n")?)));
        pairs.collect::<Option<_>>().ok_or_else(|| self.answer("sum of a row"))
    }

    /// A key so many rows behind the beginning of a piece.
    pub(crate) async fn key_at(
        &mut self,
        sums: &Sums,
        piece: &Piece,
        rows: u64,
    ) -> Result<Option<Key>, ChecksumError> {
        let found = self.ask(&sums.key_at(piece, rows)?).await?;
        Ok(found.first().map(|row| key(row, sums.side().key.len())))
    }

    /// The least and the greatest number of a table whose key is one integer; none if it is empty.
    pub(crate) async fn ends(&mut self, sums: &Sums) -> Result<Option<(i128, i128)>, ChecksumError> {
        let Some(sql) = sums.ends().map_err(crate::piece::PieceError::from)? else { return Ok(None) };
        let found = self.ask(&sql).await?;
        Ok(found.first().and_then(|row| {
            let [least, greatest] =
                ["k0", "k1"].map(|name| number(&vec![row.bytes(name).map(<[u8]>::to_vec)]));
            least.zip(greatest)
        }))
    }

    /// The values of the one row that a statement finds.
    pub(crate) async fn row(&mut self, sql: &str, columns: usize) -> Result<Option<Values>, ChecksumError> {
        let found = self.ask(sql).await?;
        Ok(found.first().map(|row| values(row, 'c', columns)))
    }

    /// What has been committed here, as a quoted literal; reading it before the rows would miss some.
    pub(crate) async fn position(&mut self) -> Result<String, ChecksumError> {
        let sql = self.flavor().statements().gtid_position_query();
        let rows = self.ask(sql).await?;
        let text = rows.first().and_then(|row| row.text("position")).unwrap_or_default().replace('\n', "");
        if text.is_empty() {
            return Err(ChecksumError::NoPosition { node: self.name.clone() });
        }
        sqltext::quote_string(&text).map_err(|error| crate::piece::PieceError::from(error).into())
    }

    /// Waits a second at most for a position to be applied here; whether it is.
    pub(crate) async fn has_reached(&mut self, position: &str) -> Result<bool, ChecksumError> {
        let sql = self.flavor().statements().wait_for_position(position, 1);
        let rows = self.ask(&sql).await?;
        Ok(rows.first().and_then(|row| row.parsed::<i64>("reached")) == Some(0))
    }

    /// How many of the server's threads work.
    pub(crate) async fn threads_running(&mut self) -> Result<u64, ChecksumError> {
        let rows = self.ask("SHOW GLOBAL STATUS LIKE 'Threads_running'").await?;
        rows.first().and_then(|row| row.parsed("Value")).ok_or_else(|| self.answer("Threads_running"))
    }

    /// Ends a transaction, whatever became of it.
    pub(crate) async fn end_transaction(&mut self) -> Result<(), ChecksumError> {
        match self.run("ROLLBACK").await {
            // A session that is gone holds nothing any more; what broke it is reported by whoever met it.
            Err(ChecksumError::Server { source: ServerError::ConnectionLost { .. }, .. }) => Ok(()),
            other => other,
        }
    }
}

fn key(row: &Row, columns: usize) -> Key {
    values(row, 'k', columns)
}

fn values(row: &Row, prefix: char, columns: usize) -> Values {
    (0..columns).map(|at| row.bytes(&format!("{prefix}{at}")).map(<[u8]>::to_vec)).collect()
}

fn column(row: &Row) -> Option<Column> {
    let lower = |name: &str| row.text(name).map(str::to_ascii_lowercase);
    Some(Column {
        name: row.text("c")?.to_owned(),
        kind: Kind::of(row.text("k")?),
        type_text: row.text("y").unwrap_or_default().to_owned(),
        nullable: row.text("n") == Some("YES"),
        charset: lower("s"),
        collation: lower("o"),
        generated: row.bytes("g").is_some_and(|text| !text.is_empty()),
        mixed: false,
    })
}
