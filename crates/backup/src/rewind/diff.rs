//! What the live table has otherwise than the rewound one. It changes nothing.

use serde::Serialize;
use server::Loader;

use super::error::RewindError;
use super::pair::Pair;
use super::scratch::{ask, quoted, run};

/// Rows that are told of each kind.
const ROWS_TOLD: usize = 10;

/// How a rewound table differs from the live one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TableDiff {
    /// Whether the live table is there.
    pub is_live_there: bool,
    /// Rows of the rewound table.
    pub rewound_rows: u64,
    /// Rows of the live table.
    pub live_rows: u64,
    /// Whether rows were compared; without a primary key that is the same in both they are only counted.
    pub is_compared: bool,
    /// Rows that are only in the rewound table: the live one has lost them.
    pub only_rewound: u64,
    /// Rows that are only in the live table: they came since.
    pub only_live: u64,
    /// Rows of the same key and other content.
    pub different: u64,
    /// The first of each kind, by key; of those that differ with the columns.
    pub first_only_rewound: Vec<String>,
    /// As before.
    pub first_only_live: Vec<String>,
    /// As before.
    pub first_different: Vec<String>,
    /// Columns that only one of the two has, which were not compared.
    pub other_columns: Vec<String>,
}

impl TableDiff {
    /// Whether nothing differs, as far as it was compared.
    #[must_use]
    pub const fn is_same(&self) -> bool {
        self.is_live_there
            && self.rewound_rows == self.live_rows
            && self.only_rewound == 0
            && self.only_live == 0
            && self.different == 0
            && self.other_columns.is_empty()
    }
}

/// Compares the two on the server, in one snapshot.
///
/// # Errors
/// If the server fails.
pub async fn diff(
    loader: &mut Loader,
    database: &str,
    (rewound, live): (&str, &str),
) -> Result<TableDiff, RewindError> {
    run(loader, "START TRANSACTION WITH CONSISTENT SNAPSHOT", "comparing").await?;
    let compared = compare(loader, database, (rewound, live)).await;
    run(loader, "COMMIT", "comparing").await?;
    compared
}

async fn compare(
    loader: &mut Loader,
    database: &str,
    (rewound, live): (&str, &str),
) -> Result<TableDiff, RewindError> {
    let mut found = TableDiff::default();
    let name = format!("{}.{}", quoted(database)?, quoted(rewound)?);
    found.rewound_rows = count(loader, &name).await?;
    let Some(pair) = Pair::look(loader, database, (rewound, live)).await? else { return Ok(found) };
    found.is_live_there = true;
    found.live_rows = count(loader, &pair.live).await?;
    let alone = |names: &[String], table: &str| -> Vec<String> {
        names.iter().map(|name| format!("{name} (only in {table})")).collect()
    };
    found.other_columns = alone(&pair.only_rewound, rewound);
    found.other_columns.extend(alone(&pair.only_live, live));
    if pair.key.is_empty() {
        return Ok(found);
    }
    found.is_compared = true;
    let (on, r, l) = (pair.same_key(), &pair.rewound, &pair.live);
    let gone = format!("{r} r LEFT JOIN {l} l ON {on} WHERE {}", pair.is_missing("l"));
    let new = format!("{l} l LEFT JOIN {r} r ON {on} WHERE {}", pair.is_missing("r"));
    let other = format!("{r} r JOIN {l} l ON {on} WHERE NOT ({})", pair.same_row());
    let columns = format!("CONCAT({}, ': ', {})", pair.key_shown("r")?, pair.differing()?);
    found.only_rewound = count(loader, &gone).await?;
    found.only_live = count(loader, &new).await?;
    found.different = count(loader, &other).await?;
    if found.only_rewound > 0 {
        found.first_only_rewound = first(loader, &pair.key_shown("r")?, &gone, &pair, "r").await?;
    }
    if found.only_live > 0 {
        found.first_only_live = first(loader, &pair.key_shown("l")?, &new, &pair, "l").await?;
    }
    if found.different > 0 {
        found.first_different = first(loader, &columns, &other, &pair, "r").await?;
    }
    Ok(found)
}

async fn count(loader: &mut Loader, from: &str) -> Result<u64, RewindError> {
    let rows = ask(loader, format!("SELECT COUNT(*) AS it FROM {from}"), "comparing").await?;
    Ok(rows.first().and_then(|row| row.parsed("it")).unwrap_or(0))
}

async fn first(
    loader: &mut Loader,
    shown: &str,
    from: &str,
    pair: &Pair,
    side: &str,
) -> Result<Vec<String>, RewindError> {
    let order: Vec<String> = pair.key.iter().map(|it| format!("{side}.{}", it.quoted)).collect();
    let question =
        format!("SELECT {shown} AS it FROM {from} ORDER BY {} LIMIT {ROWS_TOLD}", order.join(", "));
    let rows = ask(loader, question, "comparing").await?;
    Ok(rows.iter().map(|row| row.text("it").unwrap_or("?").to_owned()).collect())
}
