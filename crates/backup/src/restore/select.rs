//! Which tables and objects of a dump are meant.

use dump::{ObjectEntry, ObjectKind, ObjectName};

/// Names of databases and tables; empty for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Whole databases.
    pub databases: Vec<String>,
    /// Single tables, with their triggers. One without a database is of any.
    pub tables: Vec<ObjectName>,
}

impl Selection {
    /// A name as it is typed: `table` or `database.table`.
    #[must_use]
    pub fn name(text: &str) -> ObjectName {
        match text.split_once('.') {
            Some((database, name)) => {
                ObjectName { database: Some(database.to_owned()), name: name.to_owned() }
            }
            None => ObjectName { database: None, name: text.to_owned() },
        }
    }

    /// Whether all is meant.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.databases.is_empty() && self.tables.is_empty()
    }

    /// Whether a database is meant as a whole.
    #[must_use]
    pub fn has_database(&self, name: &str) -> bool {
        self.is_all() || self.databases.iter().any(|it| it == name)
    }

    /// Whether a table is meant.
    #[must_use]
    pub fn has_table(&self, name: &ObjectName) -> bool {
        self.is_all()
            || name.database.as_ref().is_some_and(|database| self.databases.contains(database))
            || self.tables.iter().any(|it| {
                it.name == name.name
                    && (it.database.is_none() || name.database.is_none() || it.database == name.database)
            })
    }

    /// Whether an object is meant: with its database, a trigger with its table, a view also by its name.
    #[must_use]
    pub fn has_object(&self, object: &ObjectEntry) -> bool {
        let named = |name: &str| {
            self.has_table(&ObjectName { database: object.name.database.clone(), name: name.to_owned() })
        };
        match object.kind {
            ObjectKind::Trigger => object.table.as_deref().is_some_and(named),
            ObjectKind::View | ObjectKind::Sequence => named(&object.name.name),
            ObjectKind::Function | ObjectKind::Procedure | ObjectKind::Package | ObjectKind::Event => {
                self.is_all()
                    || object.name.database.as_ref().is_some_and(|name| self.databases.contains(name))
            }
        }
    }

    /// What is meant and was not among these.
    #[must_use]
    pub fn missing<'n>(&self, found: impl Iterator<Item = &'n ObjectName>) -> Vec<String> {
        let found: Vec<&ObjectName> = found.collect();
        let is_there = |wanted: &&ObjectName| {
            let one = Self { databases: Vec::new(), tables: vec![(*wanted).clone()] };
            !found.iter().any(|name| one.has_table(name))
        };
        let tables = self.tables.iter().filter(is_there).map(ToString::to_string);
        let databases = self
            .databases
            .iter()
            .filter(|wanted| !found.iter().any(|name| name.database.as_ref() == Some(*wanted)));
        databases.cloned().chain(tables).collect()
    }
}
