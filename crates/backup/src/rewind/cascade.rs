//! Changes of other tables that reach a table by its foreign keys, `ON DELETE CASCADE` and the like: InnoDB makes them
//! without logging them, so that rows put together from the logs lack them. What might have done so is found and named;
//! nothing is made up for it.

use std::collections::BTreeSet;

use binlog::{Item, Rows, Table, Verb};
use dump::tabledef::TableDef;
use dump::{ObjectName, SqlText};
use flavor::{Capability, Flavor};
use serde::Serialize;
use sqltext::{Token, lex, unquote};

use super::base::Base;
use super::error::RewindError;
use super::stretch::{Cursor, End, Feed, Taker};
use crate::repository::Repository;
use crate::restore::survey::{self, Survey};
use crate::restore::{Selection, Source};

/// How far up parents of parents are followed.
const DEPTH_MAX: usize = 16;

/// Changes of a table that may have changed the rewound one without a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cascade {
    /// The table that was changed.
    pub parent: String,
    /// The foreign keys by which that acts, with their table.
    pub keys: Vec<String>,
    /// Rows of it that were deleted.
    pub deleted: u64,
    /// Rows of it of which a value that foreign keys lead to was changed, or may have been.
    pub updated: u64,
    /// The first of these transactions, as `FILE:POSITION`.
    pub first: String,
}

/// A foreign key that changes rows by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Acting {
    parent: (String, String),
    columns: Vec<String>,
    on_delete: bool,
    on_update: bool,
}

/// A parent that is watched.
#[derive(Clone, Debug)]
struct Watched {
    acting: Acting,
    key: String,
    /// The parent's columns as the backup has them.
    parent_columns: Vec<String>,
    deleted: u64,
    updated: u64,
    first: Option<String>,
}

/// Counts changes of parents.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    parents: Vec<Watched>,
    place: String,
}

impl Watch {
    /// The parents whose changes act on the table, from its definition in the backup; nothing to watch where the
    /// servers log what foreign keys do.
    pub(crate) async fn new(
        repository: &Repository,
        base: &Base,
        (database, survey): (&str, Option<&Survey>),
    ) -> Result<Self, RewindError> {
        let mut watch = Self::default();
        let tables = survey.map(|survey| survey.tables.as_slice()).unwrap_or_default();
        let mut children: Vec<(String, String, String)> = Vec::new();
        for table in tables {
            children.extend(
                table.create.as_ref().map(|it| (database.to_owned(), table.name.name.clone(), text(it))),
            );
        }
        let mut known: BTreeSet<(String, String)> =
            children.iter().map(|(of, name, _)| (of.clone(), name.clone())).collect();
        for _ in 0..DEPTH_MAX {
            let mut next = BTreeSet::new();
            for (of, name, create) in &children {
                for acting in acting(create, of) {
                    if known.insert(acting.parent.clone()) {
                        next.insert(acting.parent.clone());
                    }
                    watch.add(acting, format!("{of}.{name}"));
                }
            }
            if next.is_empty() {
                break;
            }
            children = definitions(repository, base, &next).await?;
            watch.learn(&children);
        }
        Ok(watch)
    }

    /// The parents that a statement on the table leads to.
    pub(crate) fn of_statement(text: &str, (database, table): (&str, &str)) -> Self {
        let mut watch = Self::default();
        watch.add_statement(text, (database, table));
        watch
    }

    fn add_statement(&mut self, text: &str, (database, table): (&str, &str)) {
        for acting in acting(text, database) {
            self.add(acting, format!("{database}.{table}"));
        }
    }

    fn add(&mut self, acting: Acting, key: String) {
        if !self.parents.iter().any(|it| it.acting == acting && it.key == key) {
            let (parent_columns, first) = (Vec::new(), None);
            self.parents.push(Watched { acting, key, parent_columns, deleted: 0, updated: 0, first });
        }
    }

    fn learn(&mut self, definitions: &[(String, String, String)]) {
        for (database, name, create) in definitions {
            let Some(def) = TableDef::parse(create) else { continue };
            let columns: Vec<String> = def.columns.into_iter().map(|column| column.name).collect();
            let is_it = |it: &&mut Watched| it.acting.parent == (database.clone(), name.clone());
            self.parents.iter_mut().filter(is_it).for_each(|it| it.parent_columns.clone_from(&columns));
        }
    }

    /// Whether there is nothing to be watched.
    const fn is_empty(&self) -> bool {
        self.parents.is_empty()
    }

    /// The next events are of the transaction that begins there.
    pub(crate) fn begin(&mut self, place: String) {
        self.place = place;
    }

    /// Takes an event in.
    pub(crate) fn see(&mut self, item: &Item<'_>) -> Result<(), binlog::DecodeError> {
        let Some((rows, table)) = item.rows()? else { return Ok(()) };
        for parent in &mut self.parents {
            if (&parent.acting.parent.0, &parent.acting.parent.1) != (&table.database, &table.name) {
                continue;
            }
            let count = match rows.verb {
                Verb::Delete if parent.acting.on_delete => rows.count(table)?,
                Verb::Update if parent.acting.on_update => parent.changed(&rows, table)?,
                Verb::Insert | Verb::Update | Verb::Delete => 0,
            };
            if count == 0 {
                continue;
            }
            let counter = if rows.verb == Verb::Delete { &mut parent.deleted } else { &mut parent.updated };
            *counter += count;
            parent.first.get_or_insert_with(|| self.place.clone());
        }
        Ok(())
    }

    /// What was found, a line a parent.
    fn found(self) -> Vec<Cascade> {
        let mut found: Vec<Cascade> = Vec::new();
        for parent in self.parents {
            let Some(first) = parent.first else { continue };
            let (database, name) = &parent.acting.parent;
            let (shown, key) = (format!("{database}.{name}"), parent.key);
            match found.iter_mut().find(|it| it.parent == shown) {
                Some(known) => {
                    known.keys.push(key);
                    known.deleted = known.deleted.max(parent.deleted);
                    known.updated = known.updated.max(parent.updated);
                }
                None => found.push(Cascade {
                    parent: shown,
                    keys: vec![key],
                    deleted: parent.deleted,
                    updated: parent.updated,
                    first,
                }),
            }
        }
        found
    }
}

impl Watched {
    /// Rows of which a value that the key leads to was changed. What is not logged, or cannot be told, counts as changed.
    fn changed(&self, rows: &Rows<'_>, table: &Table) -> Result<u64, binlog::DecodeError> {
        let named = |wanted: &String| {
            let logged = |column: &binlog::Column| {
                column.name.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(wanted))
            };
            table.columns.iter().position(logged).or_else(|| {
                let is_same_table = self.parent_columns.len() == table.columns.len();
                let known = self.parent_columns.iter().position(|name| name.eq_ignore_ascii_case(wanted));
                known.filter(|_| is_same_table)
            })
        };
        let places: Option<Vec<usize>> = self.acting.columns.iter().map(named).collect();
        let Some(places) = places else { return rows.count(table) };
        let mut count = 0;
        for row in rows.decode(table)? {
            let row = row?;
            let (Some(before), Some(after)) = (&row.before, &row.after) else { continue };
            let is_same = |at: &usize| match (before.get(*at), after.get(*at)) {
                (Some(Some(before)), Some(Some(after))) => before == after,
                // Left out of the image after: it was not changed.
                (_, Some(None)) => true,
                (_, _) => false,
            };
            count += u64::from(!places.iter().all(is_same));
        }
        Ok(count)
    }
}

/// Reads the logs for changes of parents, up to the point.
pub(crate) async fn scan(feed: &Feed, start: Cursor, watch: Watch) -> Result<Vec<Cascade>, RewindError> {
    if watch.is_empty() || feed.has_cascades_logged() {
        return Ok(Vec::new());
    }
    let (mut cursor, mut taker) = (start, Taker::Watch(Box::new(watch)));
    loop {
        let stretch = feed.read(cursor, taker, u64::MAX).await?;
        taker = stretch.taker;
        match stretch.end {
            End::Point => break,
            End::Full(next) => cursor = next,
            End::Ddl(ddl, next) => {
                cursor = next;
                if let Taker::Watch(watch) = &mut taker {
                    watch.add_statement(&ddl.text, feed.table());
                }
            }
        }
    }
    match taker {
        Taker::Watch(watch) => Ok(watch.found()),
        Taker::Fold(_) | Taker::Sequence(_) => Ok(Vec::new()),
    }
}

/// Whether all servers that wrote the logs logged what foreign keys did.
pub(crate) fn is_all_logged(base: &Base) -> bool {
    let logs = base.cover.logs.get(..=base.located.log_index).unwrap_or_default();
    logs.iter().all(|log| {
        Flavor::parse(&log.run.server.version, "").is_ok_and(|flavor| flavor.can(Capability::CascadesLogged))
    })
}

fn text(create: &SqlText) -> String {
    String::from_utf8_lossy(create.as_bytes()).into_owned()
}

/// Definitions of tables in the backup: database, name, statement. What it does not have is left out.
async fn definitions(
    repository: &Repository,
    base: &Base,
    wanted: &BTreeSet<(String, String)>,
) -> Result<Vec<(String, String, String)>, RewindError> {
    let source = repository.source(base.id.as_str()).await?;
    let (Source::Folder(mut folder), Some(mut manifest)) = (source, Some(base.whole.manifest.clone())) else {
        return Ok(Vec::new());
    };
    // Rows are of no interest here.
    manifest.tables.retain(|table| wanted.contains(&(table.database.clone(), table.name.clone())));
    let files: BTreeSet<&String> = manifest.tables.iter().map(|table| &table.schema_file).collect();
    if files.is_empty() {
        return Ok(Vec::new());
    }
    folder.files.retain(|(name, _)| files.contains(name));
    manifest.files.retain(|file| files.contains(&file.name));
    let named = |table: &dump::manifest::TableRecord| ObjectName {
        database: Some(table.database.clone()),
        name: table.name.clone(),
    };
    let selection = Selection { databases: Vec::new(), tables: manifest.tables.iter().map(named).collect() };
    folder.manifest = Some(manifest);
    let surveyed = tokio::task::spawn_blocking(move || survey::folder(&folder, &selection, 1)).await;
    let surveyed = surveyed.map_err(|error| RewindError::Worker(error.to_string()))??;
    let of =
        |table: survey::SurveyedTable| Some((table.name.database?, table.name.name, text(&table.create?)));
    Ok(surveyed.tables.into_iter().filter_map(of).collect())
}

/// The foreign keys of a statement that change rows by themselves. `database` is that of names without one.
fn acting(statement: &str, database: &str) -> Vec<Acting> {
    let tokens: Vec<Token<'_>> = lex(statement).filter(Token::is_significant).collect();
    let starts = tokens.iter().enumerate().filter(|(_, token)| token.is_word("REFERENCES"));
    starts.filter_map(|(at, _)| reference(tokens.get(at + 1..)?, database)).collect()
}

/// What is behind `REFERENCES`.
fn reference(tokens: &[Token<'_>], database: &str) -> Option<Acting> {
    let mut tokens = tokens.iter().peekable();
    let first = unquote(tokens.next()?.text);
    let parent = if tokens.next_if(|token| token.is_punct(".")).is_some() {
        (first, unquote(tokens.next()?.text))
    } else {
        (database.to_owned(), first)
    };
    tokens.next_if(|token| token.is_punct("("))?;
    let inside = tokens.by_ref().take_while(|token| !token.is_punct(")"));
    let columns = inside.filter(|token| !token.is_punct(",")).map(|token| unquote(token.text)).collect();
    let mut acting = Acting { parent, columns, on_delete: false, on_update: false };
    while tokens.next_if(|token| token.is_word("ON")).is_some() {
        let is_delete = tokens.next()?.is_word("DELETE");
        let word = tokens.next()?;
        let acts = word.is_word("CASCADE") || word.is_word("SET");
        if word.is_word("SET") || word.is_word("NO") {
            tokens.next();
        }
        if is_delete { acting.on_delete = acts } else { acting.on_update = acts }
    }
    (acting.on_delete || acting.on_update).then_some(acting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_act_are_found() {
        let create = "CREATE TABLE `orders` (\n  `id` int COMMENT 'REFERENCES `x` (`y`) ON DELETE CASCADE',\n  \
            CONSTRAINT `a` FOREIGN KEY (`c`) REFERENCES `customer` (`id`) ON DELETE CASCADE,\n  \
            CONSTRAINT `b` FOREIGN KEY (`p`, `q`) REFERENCES `other`.`part``s` (`x`, `y`) ON DELETE NO ACTION ON UPDATE SET NULL,\n  \
            CONSTRAINT `c` FOREIGN KEY (`z`) REFERENCES `zone` (`id`) ON DELETE RESTRICT,\n  \
            CONSTRAINT `d` FOREIGN KEY (`h`) REFERENCES `host` (`id`)\n) ENGINE=InnoDB";
        let of = |database: &str, table: &str| (database.to_owned(), table.to_owned());
        assert_eq!(
            acting(create, "shop"),
            [
                Acting {
                    parent: of("shop", "customer"),
                    columns: vec!["id".to_owned()],
                    on_delete: true,
                    on_update: false
                },
                Acting {
                    parent: of("other", "part`s"),
                    columns: vec!["x".to_owned(), "y".to_owned()],
                    on_delete: false,
                    on_update: true
                },
            ]
        );
        assert_eq!(acting("ALTER TABLE t ADD COLUMN x INT", "shop"), []);
        assert_eq!(acting("CREATE TABLE t (a INT REFERENCES", "shop"), []);
    }

    #[test]
    fn parents_by_several_keys_are_one_line() {
        let mut watch = Watch::default();
        for (key, on_update) in [("shop.orders", false), ("shop.item", true)] {
            let parent = ("shop".to_owned(), "customer".to_owned());
            watch.add(Acting { parent, columns: Vec::new(), on_delete: true, on_update }, key.to_owned());
        }
        for (parent, updated) in watch.parents.iter_mut().zip([0, 4]) {
            (parent.deleted, parent.updated, parent.first) = (3, updated, Some("b.1:4".to_owned()));
        }
        let found = watch.found();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].deleted, found[0].updated, found[0].keys.len()), (3, 4, 2));
    }
}
