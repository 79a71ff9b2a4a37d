//! Who waits for whose metadata lock: the servers' tables of which modes exclude which, and the edges that follow.
//!
//! MariaDB's plugin lists held locks alone. What a session waits for is there concluded from its statement, as far as
//! that names it.

use std::collections::{BTreeMap, BTreeSet};

use facts::{MetadataLock, MetadataObject, Session, Sessions};

use crate::tables::{dropped_database, tables};

/// Words of the servers for modes, and the held modes that each has to wait for. From `MDL_object_lock` in the
/// sources of both servers, sql/mdl.cc; the same since MySQL 5.7 and MariaDB 10.4 where both have the mode.
const OBJECT_GRANTED: &[(&str, &[&str])] = &[
    ("SHARED", &["EXCLUSIVE"]),
    ("SHARED_HIGH_PRIO", &["EXCLUSIVE"]),
    ("SHARED_READ", &["SHARED_NO_READ_WRITE", "EXCLUSIVE"]),
    ("SHARED_WRITE", &["SHARED_READ_ONLY", "SHARED_NO_WRITE", "SHARED_NO_READ_WRITE", "EXCLUSIVE"]),
    ("SHARED_WRITE_LOW_PRIO", &["SHARED_READ_ONLY", "SHARED_NO_WRITE", "SHARED_NO_READ_WRITE", "EXCLUSIVE"]),
    ("SHARED_UPGRADABLE", &["SHARED_UPGRADABLE", "SHARED_NO_WRITE", "SHARED_NO_READ_WRITE", "EXCLUSIVE"]),
    ("SHARED_READ_ONLY", &["SHARED_WRITE", "SHARED_WRITE_LOW_PRIO", "SHARED_NO_READ_WRITE", "EXCLUSIVE"]),
    (
        "SHARED_NO_WRITE",
        &[
            "SHARED_WRITE",
            "SHARED_WRITE_LOW_PRIO",
            "SHARED_UPGRADABLE",
            "SHARED_NO_WRITE",
            "SHARED_NO_READ_WRITE",
            "EXCLUSIVE",
        ],
    ),
    (
        "SHARED_NO_READ_WRITE",
        &[
            "SHARED_READ",
            "SHARED_WRITE",
            "SHARED_WRITE_LOW_PRIO",
            "SHARED_UPGRADABLE",
            "SHARED_READ_ONLY",
            "SHARED_NO_WRITE",
            "SHARED_NO_READ_WRITE",
            "EXCLUSIVE",
        ],
    ),
    (
        "EXCLUSIVE",
        &[
            "SHARED",
            "SHARED_HIGH_PRIO",
            "SHARED_READ",
            "SHARED_WRITE",
            "SHARED_WRITE_LOW_PRIO",
            "SHARED_UPGRADABLE",
            "SHARED_READ_ONLY",
            "SHARED_NO_WRITE",
            "SHARED_NO_READ_WRITE",
            "EXCLUSIVE",
        ],
    ),
];

/// The modes that each lets go first while they wait, from the same place: this is how one ALTER TABLE that waits stops
/// everybody behind it.
const OBJECT_PENDING: &[(&str, &[&str])] = &[
    ("SHARED", &["EXCLUSIVE"]),
    ("SHARED_HIGH_PRIO", &[]),
    ("SHARED_READ", &["SHARED_NO_READ_WRITE", "EXCLUSIVE"]),
    ("SHARED_WRITE", &["SHARED_NO_WRITE", "SHARED_NO_READ_WRITE", "EXCLUSIVE"]),
    ("SHARED_WRITE_LOW_PRIO", &["SHARED_READ_ONLY", "SHARED_NO_WRITE", "SHARED_NO_READ_WRITE", "EXCLUSIVE"]),
    ("SHARED_UPGRADABLE", &["EXCLUSIVE"]),
    ("SHARED_READ_ONLY", &["SHARED_WRITE", "SHARED_NO_READ_WRITE", "EXCLUSIVE"]),
    ("SHARED_NO_WRITE", &["EXCLUSIVE"]),
    ("SHARED_NO_READ_WRITE", &["EXCLUSIVE"]),
    ("EXCLUSIVE", &[]),
];

/// `MDL_scoped_lock`: global, schema, commit, tablespace and MySQL's backup locks.
const SCOPED_GRANTED: &[(&str, &[&str])] = &[
    ("INTENTION_EXCLUSIVE", &["SHARED", "EXCLUSIVE"]),
    ("SHARED", &["INTENTION_EXCLUSIVE", "EXCLUSIVE"]),
    ("EXCLUSIVE", &["INTENTION_EXCLUSIVE", "SHARED", "EXCLUSIVE"]),
];

const SCOPED_PENDING: &[(&str, &[&str])] =
    &[("INTENTION_EXCLUSIVE", &["SHARED", "EXCLUSIVE"]), ("SHARED", &["EXCLUSIVE"]), ("EXCLUSIVE", &[])];

/// MariaDB's backup locks that stop work, and the work that each stops; they exclude one another both ways
/// (`MDL_backup_lock` in sql/mdl.cc). Those of BACKUP STAGE START and FLUSH stop nobody but another backup.
const BACKUP: &[(&str, &[&str])] = &[
    ("BACKUP_WAIT_FLUSH", &["BACKUP_DML"]),
    ("BACKUP_WAIT_DDL", &["BACKUP_DML", "BACKUP_DDL"]),
    ("BACKUP_WAIT_COMMIT", &["BACKUP_DML", "BACKUP_DDL", "BACKUP_SYS_DML", "BACKUP_COMMIT"]),
    ("BACKUP_FTWRL1", &["BACKUP_DML", "BACKUP_TRANS_DML", "BACKUP_SYS_DML", "BACKUP_DDL"]),
    (
        "BACKUP_FTWRL2",
        &[
            "BACKUP_DML",
            "BACKUP_TRANS_DML",
            "BACKUP_SYS_DML",
            "BACKUP_DDL",
            "BACKUP_ALTER_COPY",
            "BACKUP_COMMIT",
        ],
    ),
    ("BACKUP_BLOCK_DDL", &["BACKUP_DDL"]),
];

fn is_scoped(kind: &str) -> bool {
    matches!(
        kind,
        "GLOBAL" | "SCHEMA" | "COMMIT" | "TABLESPACE" | "BACKUP LOCK" | "RESOURCE_GROUPS" | "FOREIGN KEY"
    )
}

fn lists(table: &[(&str, &[&str])], wanted: &str, other: &str) -> bool {
    table.iter().any(|(mode, others)| *mode == wanted && others.contains(&other))
}

/// Whether a request for a mode waits for a held one.
#[must_use]
pub fn blocks_granted(kind: &str, wanted: &str, held: &str) -> bool {
    if kind == "BACKUP" {
        return lists(BACKUP, wanted, held) || lists(BACKUP, held, wanted);
    }
    lists(if is_scoped(kind) { SCOPED_GRANTED } else { OBJECT_GRANTED }, wanted, held)
}

/// Whether a request for a mode lets another request go first.
#[must_use]
pub fn blocks_pending(kind: &str, wanted: &str, other: &str) -> bool {
    if kind == "BACKUP" {
        return lists(BACKUP, other, wanted);
    }
    lists(if is_scoped(kind) { SCOPED_PENDING } else { OBJECT_PENDING }, wanted, other)
}

/// The sessions that wait for a metadata lock, each with one whom it waits for.
pub(crate) fn edges(seen: &Sessions) -> Vec<(u64, u64)> {
    let Some(locks) = seen.metadata_locks.known() else { return Vec::new() };
    let told: BTreeSet<u64> = locks.iter().filter(|lock| !lock.is_granted).map(|lock| lock.session).collect();
    let concluded: Vec<MetadataLock> = seen
        .sessions
        .iter()
        .filter(|session| !told.contains(&session.id))
        .flat_map(|session| wanted(session, locks))
        .collect();
    let mut objects: BTreeMap<MetadataObject, (Vec<&MetadataLock>, Vec<&MetadataLock>)> = BTreeMap::new();
    for lock in locks.iter().chain(&concluded) {
        let (granted, pending) = objects.entry(folded(&lock.object)).or_default();
        if lock.is_granted { granted.push(lock) } else { pending.push(lock) }
    }
    let mut edges = Vec::new();
    for (object, (granted, pending)) in &objects {
        for waiter in pending {
            let ahead =
                granted.iter().filter(|held| blocks_granted(&object.kind, &waiter.mode, &held.mode)).chain(
                    pending.iter().filter(|other| blocks_pending(&object.kind, &waiter.mode, &other.mode)),
                );
            let others = ahead.filter(|other| other.session != waiter.session);
            edges.extend(others.map(|other| (waiter.session, other.session)));
        }
    }
    edges
}

/// Names in a statement may be in another case than in the list of locks. Two tables that differ by case alone are then
/// taken for one, which is rare and can at worst name one blocker too many.
fn folded(object: &MetadataObject) -> MetadataObject {
    MetadataObject {
        kind: object.kind.clone(),
        schema: object.schema.to_lowercase(),
        name: object.name.to_lowercase(),
    }
}

/// Whether a session waits for a lock of this kind, or for a table to be closed, as its state tells; whose, it does not.
pub(crate) fn is_waiting(session: &Session) -> bool {
    let what = session.state.strip_prefix("Waiting for ").unwrap_or_default();
    ["metadata lock", "backup lock", "global read lock", "commit lock", "table flush"]
        .iter()
        .any(|known| what.ends_with(known))
}

/// What a session waits for, as its state and statement tell.
fn wanted(session: &Session, locks: &[MetadataLock]) -> Vec<MetadataLock> {
    let Some(statement) = &session.statement else { return Vec::new() };
    let request = |object: MetadataObject, mode: &str| MetadataLock {
        session: session.id,
        object,
        mode: mode.to_owned(),
        is_granted: false,
    };
    let verb = statement.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    match session.state.as_str() {
        "Waiting for table metadata lock" => {
            if let Some(db) = dropped_database(statement) {
                let of_db = locks.iter().map(|lock| &lock.object);
                let of_db = of_db.filter(|it| it.kind == "TABLE" && it.schema.eq_ignore_ascii_case(&db));
                let of_db: BTreeSet<&MetadataObject> = of_db.collect();
                return of_db.into_iter().map(|object| request(object.clone(), "EXCLUSIVE")).collect();
            }
            let mode = table_mode(&verb);
            let tables = tables(statement, session.db.as_deref()).into_iter();
            tables.map(|object| request(object, mode)).collect()
        }
        "Waiting for backup lock" => {
            let object =
                MetadataObject { kind: "BACKUP".to_owned(), schema: String::new(), name: String::new() };
            backup_modes(&verb).iter().map(|mode| request(object.clone(), mode)).collect()
        }
        _ => Vec::new(),
    }
}

fn table_mode(verb: &str) -> &'static str {
    match verb {
        "SELECT" | "WITH" | "(SELECT" | "CHECKSUM" | "SHOW" | "DESC" | "DESCRIBE" | "EXPLAIN" => {
            "SHARED_READ"
        }
        "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "LOAD" => "SHARED_WRITE",
        "LOCK" => "SHARED_NO_READ_WRITE",
        "FLUSH" => "SHARED_NO_WRITE",
        // DDL; what else there is waits for no less than a reader does.
        _ => "EXCLUSIVE",
    }
}

/// A change waits when it begins, or when it commits; which of the two is not told, and what is held tells it.
fn backup_modes(verb: &str) -> &'static [&'static str] {
    match verb {
        "FLUSH" => &["BACKUP_FTWRL1"],
        "COMMIT" => &["BACKUP_COMMIT"],
        "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "LOAD" | "SELECT" => {
            &["BACKUP_DML", "BACKUP_TRANS_DML", "BACKUP_COMMIT"]
        }
        "BACKUP" => &["BACKUP_WAIT_COMMIT"],
        _ => &["BACKUP_DDL", "BACKUP_COMMIT"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_exclude_one_another_as_the_servers_say() {
        for (kind, wanted, held, granted, pending) in [
            ("TABLE", "SHARED_READ", "SHARED_WRITE", false, false),
            ("TABLE", "SHARED_READ", "EXCLUSIVE", true, true),
            ("TABLE", "EXCLUSIVE", "SHARED_READ", true, false),
            ("TABLE", "EXCLUSIVE", "EXCLUSIVE", true, false),
            ("TABLE", "SHARED_WRITE", "SHARED_UPGRADABLE", false, false),
            ("TABLE", "SHARED_WRITE", "SHARED_READ_ONLY", true, false),
            ("TABLE", "SHARED_READ_ONLY", "SHARED_WRITE", true, true),
            ("TABLE", "SHARED_HIGH_PRIO", "EXCLUSIVE", true, false),
            ("TABLE", "SHARED_UPGRADABLE", "SHARED_UPGRADABLE", true, false),
            ("GLOBAL", "INTENTION_EXCLUSIVE", "SHARED", true, true),
            ("GLOBAL", "SHARED", "INTENTION_EXCLUSIVE", true, false),
            ("SCHEMA", "INTENTION_EXCLUSIVE", "INTENTION_EXCLUSIVE", false, false),
            ("BACKUP", "BACKUP_TRANS_DML", "BACKUP_FTWRL1", true, true),
            ("BACKUP", "BACKUP_FTWRL1", "BACKUP_TRANS_DML", true, false),
            ("BACKUP", "BACKUP_DDL", "BACKUP_TRANS_DML", false, false),
            ("TABLE", "NO_SUCH_MODE", "EXCLUSIVE", false, false),
        ] {
            assert_eq!(blocks_granted(kind, wanted, held), granted, "{kind} {wanted} held {held}");
            assert_eq!(blocks_pending(kind, wanted, held), pending, "{kind} {wanted} asked {held}");
        }
    }

    #[test]
    fn what_is_held_excludes_both_ways() {
        for table in [OBJECT_GRANTED, SCOPED_GRANTED] {
            for (one, others) in table {
                for other in *others {
                    assert!(lists(table, other, one), "{other} does not wait for {one}");
                }
            }
        }
    }
}
