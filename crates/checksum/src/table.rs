//! What two servers' versions of a table have in common, and what they do not: the columns that can be compared and
//! the key that names a row. Pure.

use crate::column::{Column, Kind};

/// A table by database and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct TableName {
    /// Database.
    pub database: String,
    /// Table.
    pub table: String,
}

impl TableName {
    /// A table's name from its parts.
    pub fn new(database: impl Into<String>, table: impl Into<String>) -> Self {
        Self { database: database.into(), table: table.into() }
    }

    /// The quoted name.
    ///
    /// # Errors
    /// When no server takes such a name.
    pub fn quoted(&self) -> Result<String, sqltext::QuoteError> {
        Ok(format!("{}.{}", sqltext::quote_ident(&self.database)?, sqltext::quote_ident(&self.table)?))
    }
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.database, self.table)
    }
}

impl std::str::FromStr for TableName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('.') {
            Some((database, table)) if !database.is_empty() && !table.is_empty() => {
                Ok(Self::new(database, table))
            }
            Some(_) | None => Err(format!("`{text}` is no table: write it as database.table")),
        }
    }
}

/// An index whose columns are all there, whole and never NULL, and unique together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UniqueKey {
    /// The index's name.
    pub name: String,
    /// Its columns in order.
    pub columns: Vec<String>,
}

/// A table as one server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: TableName,
    /// Its columns in order.
    pub columns: Vec<Column>,
    /// Its unique keys; the primary key first.
    pub keys: Vec<UniqueKey>,
    /// The server's estimate of its rows.
    pub rows_estimate: u64,
    /// The server's estimate of what its rows take, in bytes; none where it has none.
    pub bytes: Option<u64>,
    /// Whether rows can be locked and read as of one moment.
    pub transactional: bool,
}

impl Table {
    fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }
}

/// One server's side of a comparison. Both sides have their columns in the same order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// The table's name here.
    pub name: TableName,
    /// The index to go by, where there is a key.
    pub index: Option<String>,
    /// The compared columns.
    pub columns: Vec<Column>,
    /// The key's columns; empty without one.
    pub key: Vec<Column>,
}

/// How two versions of a table are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// On the source.
    pub source: Side,
    /// On the target.
    pub target: Side,
    /// Whether both sides have the key's values in the same order, so that pieces can be cut by it.
    pub is_ordered: bool,
    /// Whether every stored column of both sides is compared.
    pub is_whole: bool,
    /// What is not the same about the tables, in sentences.
    pub notes: Vec<String>,
    /// Whether one of the notes is a difference of its own, such as a missing column.
    pub differs: bool,
}

impl Shape {
    /// What two versions of a table have in common. `same_vendor` says whether values that each vendor stores in its
    /// own form can be compared.
    #[must_use]
    pub fn new(source: &Table, target: &Table, same_vendor: bool) -> Self {
        let mut common = Common { same_vendor, ..Common::default() };
        common.columns(source, target);
        let key = source.keys.iter().find_map(|key| {
            let other = target.keys.iter().find(|other| is_same_list(&other.columns, &key.columns))?;
            let of = |table: &Table| -> Option<Vec<Column>> {
                key.columns.iter().map(|name| table.column(name).cloned()).collect()
            };
            let (mut ours, mut theirs) = (of(source)?, of(target)?);
            for (ours, theirs) in ours.iter_mut().zip(&mut theirs) {
                let mixed = ours.kind != theirs.kind;
                (ours.mixed, theirs.mixed) = (mixed, mixed);
            }
            // Text of a float does not find it again, and JSON and the like are no key's columns.
            let is_usable = ours.iter().zip(&theirs).all(|(ours, theirs)| {
                ours.kind != Kind::Float && theirs.kind != Kind::Float && !ours.generated
            });
            is_usable.then(|| (key.name.clone(), other.name.clone(), ours, theirs))
        });
        if key.is_none() {
            common.notes.push(if source.keys.is_empty() {
                "has no primary key and no unique key without NULLs: summed in one piece, rows named by their content"
                    .to_owned()
            } else {
                "has no key that both sides share: summed in one piece, rows named by their content".to_owned()
            });
        }
        let is_ordered = key
            .as_ref()
            .is_some_and(|(_, _, ours, theirs)| ours.iter().zip(theirs).all(|(a, b)| a.is_ordered_like(b)));
        if key.is_some() && !is_ordered {
            common.notes.push("its key has no order that both sides share: summed in one piece".to_owned());
        }
        let (source_index, target_index, source_key, target_key) = match key {
            Some((a, b, ours, theirs)) => (Some(a), Some(b), ours, theirs),
            None => (None, None, Vec::new(), Vec::new()),
        };
        let side =
            |table: &Table, index, columns, key| Side { name: table.name.clone(), index, columns, key };
        Self {
            source: side(source, source_index, common.ours, source_key),
            target: side(target, target_index, common.theirs, target_key),
            is_ordered,
            is_whole: common.is_whole,
            notes: common.notes,
            differs: common.differs,
        }
    }
}

struct Common {
    same_vendor: bool,
    ours: Vec<Column>,
    theirs: Vec<Column>,
    is_whole: bool,
    notes: Vec<String>,
    differs: bool,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            same_vendor: true,
            ours: Vec::new(),
            theirs: Vec::new(),
            is_whole: true,
            notes: Vec::new(),
            differs: false,
        }
    }
}

impl Common {
    fn columns(&mut self, source: &Table, target: &Table) {
        for ours in &source.columns {
            let Some(theirs) = target.column(&ours.name) else {
                self.missing(ours, "target");
                continue;
            };
            if ours.generated || theirs.generated {
                if ours.generated != theirs.generated {
                    self.notes
                        .push(format!("column {} is generated on one side only: not compared", ours.name));
                    self.is_whole = false;
                }
                continue;
            }
            let is_json = ours.kind == Kind::Json || theirs.kind == Kind::Json;
            if is_json && !self.same_vendor {
                self.notes.push(format!(
                    "column {} is JSON, which the two vendors store as different text: not compared",
                    ours.name
                ));
                self.is_whole = false;
                continue;
            }
            if ours.kind != theirs.kind {
                self.notes.push(format!(
                    "column {} is {} on the source and {} on the target: compared as text",
                    ours.name, ours.type_text, theirs.type_text
                ));
            }
            let (mixed, nullable) = (ours.kind != theirs.kind, ours.nullable || theirs.nullable);
            self.ours.push(Column { mixed, nullable, ..ours.clone() });
            self.theirs.push(Column { mixed, nullable, ..theirs.clone() });
        }
        for theirs in &target.columns {
            if source.column(&theirs.name).is_none() {
                self.missing(theirs, "source");
            }
        }
    }

    fn missing(&mut self, column: &Column, side: &str) {
        self.notes.push(format!("the {side} has no column {}", column.name));
        self.differs = true;
        self.is_whole &= column.generated;
    }
}

fn is_same_list(one: &[String], other: &[String]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| a.eq_ignore_ascii_case(b))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn column(name: &str, data_type: &str) -> Column {
        let kind = Kind::of(data_type);
        let is_text = matches!(kind, Kind::Text | Kind::LongText | Kind::Choice);
        Column {
            name: name.to_owned(),
            kind,
            type_text: data_type.to_owned(),
            nullable: false,
            charset: is_text.then(|| "utf8mb4".to_owned()),
            collation: is_text.then(|| "utf8mb4_general_ci".to_owned()),
            generated: false,
            mixed: false,
        }
    }

    /// A table of `name type` columns whose key is the columns named.
    pub(crate) fn table(columns: &[(&str, &str)], key: &[&str]) -> Table {
        Table {
            name: TableName::new("d", "t"),
            columns: columns.iter().map(|(name, kind)| column(name, kind)).collect(),
            keys: if key.is_empty() {
                Vec::new()
            } else {
                vec![UniqueKey {
                    name: "PRIMARY".to_owned(),
                    columns: key.iter().map(|&name| name.to_owned()).collect(),
                }]
            },
            rows_estimate: 0,
            bytes: Some(16_384),
            transactional: true,
        }
    }

    #[test]
    fn what_is_on_one_side_only_is_said_and_left_out() {
        let source = table(&[("id", "int"), ("a", "varchar"), ("gone", "int")], &["id"]);
        let target = table(&[("ID", "int"), ("a", "longtext"), ("more", "int")], &["ID"]);
        let shape = Shape::new(&source, &target, true);
        let names: Vec<_> = shape.target.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["ID", "a"]);
        assert!(shape.differs && !shape.is_whole && shape.is_ordered);
        assert_eq!(
            shape.notes,
            [
                "column a is varchar on the source and longtext on the target: compared as text",
                "the target has no column gone",
                "the source has no column more",
            ]
        );
    }

    #[test]
    fn json_is_compared_only_within_a_vendor() {
        let source = table(&[("id", "int"), ("j", "longtext")], &["id"]);
        let target = table(&[("id", "int"), ("j", "json")], &["id"]);
        let shape = Shape::new(&source, &target, false);
        assert_eq!(shape.source.columns.len(), 1);
        assert!(!shape.differs && !shape.is_whole && shape.notes[0].contains("JSON"), "{:?}", shape.notes);
        let same = table(&[("id", "int"), ("j", "json")], &["id"]);
        assert_eq!(Shape::new(&same, &target, true).source.columns.len(), 2);
    }

    #[test]
    fn the_key_is_one_that_both_have() {
        let mut source = table(&[("id", "int"), ("u", "char")], &["id"]);
        let mut target = table(&[("id", "int"), ("u", "char")], &["u"]);
        let shape = Shape::new(&source, &target, true);
        assert!(shape.source.key.is_empty() && !shape.is_ordered && shape.notes.len() == 1);
        source.keys.push(UniqueKey { name: "by_u".to_owned(), columns: vec!["u".to_owned()] });
        let shape = Shape::new(&source, &target, true);
        assert_eq!(
            (shape.source.index.as_deref(), shape.target.index.as_deref()),
            (Some("by_u"), Some("PRIMARY"))
        );
        assert!(shape.is_ordered && shape.notes.is_empty());
        target.columns[1].collation = Some("utf8mb4_0900_ai_ci".to_owned());
        let shape = Shape::new(&source, &target, true);
        assert!(!shape.is_ordered && !shape.source.key.is_empty() && shape.notes[0].contains("order"));
    }

    #[test]
    fn a_generated_column_is_neither_compared_nor_written() {
        let mut source = table(&[("id", "int"), ("g", "int")], &["id"]);
        source.columns[1].generated = true;
        let shape = Shape::new(&source, &source.clone(), true);
        assert_eq!(shape.source.columns.len(), 1);
        assert!(shape.is_whole && shape.notes.is_empty());
    }
}
