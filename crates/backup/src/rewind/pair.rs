//! The rewound table and the live one: their columns and keys, as SQL that compares them row by row on the server.

use server::Loader;

use super::error::RewindError;
use super::scratch::{ask, quoted, string};

/// A column of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    /// Quoted.
    pub(crate) quoted: String,
    pub(crate) name: String,
    kind: String,
    pub(crate) is_generated: bool,
}

/// Two tables side by side.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    /// Quoted, with its database.
    pub(crate) rewound: String,
    /// Quoted, with its database.
    pub(crate) live: String,
    /// Columns of both, in the rewound one's order.
    pub(crate) columns: Vec<Column>,
    /// The primary key of both; empty where there is none, or where they differ.
    pub(crate) key: Vec<Column>,
    /// Columns of one alone.
    pub(crate) only_rewound: Vec<String>,
    pub(crate) only_live: Vec<String>,
}

/// Text, which is compared byte by byte whatever its collation says.
const TEXT: [&str; 8] = ["char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"];
const BYTES: [&str; 8] =
    ["binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "bit", "geometry"];

impl Column {
    fn equal(&self) -> String {
        let name = &self.quoted;
        if TEXT.contains(&self.kind.as_str()) {
            return format!("CAST(r.{name} AS BINARY) <=> CAST(l.{name} AS BINARY)");
        }
        format!("r.{name} <=> l.{name}")
    }

    /// As people read it, of table `side`.
    pub(crate) fn shown(&self, side: &str) -> String {
        let name = &self.quoted;
        if BYTES.contains(&self.kind.as_str()) {
            return format!("CONCAT('0x', HEX({side}.{name}))");
        }
        format!("CAST({side}.{name} AS CHAR)")
    }
}

impl Pair {
    /// Looks at the two; none where one is not there.
    pub(crate) async fn look(
        loader: &mut Loader,
        database: &str,
        (rewound, live): (&str, &str),
    ) -> Result<Option<Self>, RewindError> {
        let left = columns(loader, database, rewound).await?;
        let right = columns(loader, database, live).await?;
        if left.is_empty() || right.is_empty() {
            return Ok(None);
        }
        let has = |all: &[Column], name: &str| all.iter().any(|it| it.name == name);
        let of_both: Vec<Column> = left.iter().filter(|it| has(&right, &it.name)).cloned().collect();
        let key = key(loader, database, rewound).await?;
        let is_same = key == self::key(loader, database, live).await?;
        let find = |name: &String| of_both.iter().find(|it| it.name == *name).cloned();
        let key: Option<Vec<Column>> = if is_same { key.iter().map(find).collect() } else { None };
        let alone = |all: &[Column], other: &[Column]| {
            all.iter().filter(|it| !has(other, &it.name)).map(|it| it.name.clone()).collect()
        };
        Ok(Some(Self {
            rewound: format!("{}.{}", quoted(database)?, quoted(rewound)?),
            live: format!("{}.{}", quoted(database)?, quoted(live)?),
            only_rewound: alone(&left, &right),
            only_live: alone(&right, &left),
            columns: of_both,
            key: key.unwrap_or_default(),
        }))
    }

    /// The two joined by their key.
    pub(crate) fn same_key(&self) -> String {
        let equal: Vec<String> = self.key.iter().map(|it| format!("r.{0} = l.{0}", it.quoted)).collect();
        equal.join(" AND ")
    }

    /// That a row has the same content in both.
    pub(crate) fn same_row(&self) -> String {
        let compared: Vec<String> =
            self.columns.iter().filter(|it| !it.is_generated).map(Column::equal).collect();
        compared.join(" AND ")
    }

    /// That there is no row in `side`, where it was joined from the left.
    pub(crate) fn is_missing(&self, side: &str) -> String {
        self.key.first().map_or_else(|| "FALSE".to_owned(), |it| format!("{side}.{} IS NULL", it.quoted))
    }

    /// The key of `side` as `name=value`, and the names of columns that differ when both are there.
    pub(crate) fn key_shown(&self, side: &str) -> Result<String, RewindError> {
        let mut parts = Vec::new();
        for column in &self.key {
            parts.push(format!("CONCAT({}, {})", string(&format!("{}=", column.name))?, column.shown(side)));
        }
        Ok(format!("CONCAT_WS(', ', {})", parts.join(", ")))
    }

    /// The names of columns that differ.
    pub(crate) fn differing(&self) -> Result<String, RewindError> {
        let mut parts = Vec::new();
        for column in self.columns.iter().filter(|it| !it.is_generated) {
            parts.push(format!("IF({}, NULL, {})", column.equal(), string(&column.name)?));
        }
        Ok(format!("CONCAT_WS(', ', {})", parts.join(", ")))
    }
}

async fn columns(loader: &mut Loader, database: &str, table: &str) -> Result<Vec<Column>, RewindError> {
    let question = format!(
        "SELECT COLUMN_NAME AS name, DATA_TYPE AS kind, EXTRA AS extra FROM information_schema.COLUMNS \
         WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} ORDER BY ORDINAL_POSITION",
        string(database)?,
        string(table)?
    );
    let mut all = Vec::new();
    for row in ask(loader, question, "reading the columns").await? {
        let text = |name: &str| row.text(name).unwrap_or_default().to_owned();
        let extra = text("extra").to_ascii_uppercase();
        // MySQL also says DEFAULT_GENERATED, of defaults that are expressions.
        let is_generated = extra
            .split_whitespace()
            .any(|word| matches!(word, "GENERATED" | "VIRTUAL" | "STORED" | "PERSISTENT"));
        let (name, kind) = (text("name"), text("kind").to_ascii_lowercase());
        all.push(Column { quoted: quoted(&name)?, name, kind, is_generated });
    }
    Ok(all)
}

async fn key(loader: &mut Loader, database: &str, table: &str) -> Result<Vec<String>, RewindError> {
    let question = format!(
        "SELECT COLUMN_NAME AS name FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} \
         AND INDEX_NAME = 'PRIMARY' ORDER BY SEQ_IN_INDEX",
        string(database)?,
        string(table)?
    );
    let rows = ask(loader, question, "reading the key").await?;
    Ok(rows.iter().filter_map(|row| row.text("name").map(str::to_owned)).collect())
}
