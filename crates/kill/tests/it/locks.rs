//! Who is in whose way: rows, metadata locks, chains and knots.

use facts::{Seen, Session};
use kill::{Action, Locks, Rule, Span, Victims, WaitGraph};

use crate::server::{busy, idle, in_transaction, row_waits, server, table_locks, verdict, victims, waiting};

fn span(text: &str) -> Option<Span> {
    Some(text.parse().unwrap())
}

fn blocker() -> Rule {
    Rule { victims: Victims::Blocker, action: Some(Action::Connection), ..Rule::new("blocker") }
}

fn row_waiter(id: u64, seconds: u64) -> Session {
    waiting(in_transaction(busy(id, seconds, "UPDATE orders SET a = 1"), seconds), seconds)
}

#[test]
fn the_root_of_a_chain_is_found_and_everybody_behind_it_counted() {
    // 10 holds; 11 waits for 10, 12 for 11 and 10, 13 for 12.
    let sessions =
        vec![in_transaction(idle(10, 90), 100), row_waiter(11, 60), row_waiter(12, 40), row_waiter(13, 20)];
    let seen = row_waits(server(sessions), &[(11, 10), (12, 11), (12, 10), (13, 12)]);
    let graph = WaitGraph::new(&seen, Locks::Any);
    assert_eq!(graph.blocked(10), (3, 60_000));
    assert_eq!(graph.blocked(11), (2, 40_000));
    assert_eq!(graph.blocked(13), (0, 0));
    assert_eq!(graph.waiting_ms(12), Some(40_000));
    assert_eq!((graph.waiting_ms(10), graph.waiters()), (None, 3));
    assert_eq!(victims(&Rule { blocks: Some(3), ..blocker() }, &seen), [10]);
    assert_eq!(
        victims(&Rule { blocks: Some(2), ..blocker() }, &seen),
        [10],
        "11 blocks two, and waits itself"
    );
    assert_eq!(victims(&Rule { blocks: Some(4), ..blocker() }, &seen), Vec::<u64>::new());
    assert_eq!(victims(&Rule { blocking: span("60s"), ..blocker() }, &seen), [10]);
    assert_eq!(victims(&Rule { blocking: span("61s"), ..blocker() }, &seen), Vec::<u64>::new());
    assert_eq!(victims(&Rule { waiting: span("20s"), ..blocker() }, &seen), [10]);
    let waiters = Rule { waiting: span("30s"), victims: Victims::All, ..Rule::new("waiters") };
    assert_eq!(victims(&waiters, &seen), [11, 12]);
    let reason = &verdict(&Rule { blocks: Some(1), ..blocker() }, &seen).kills[0].reason;
    assert_eq!(
        reason,
        "idle for 90.0 s, in a transaction for 100.0 s with 1 changed row, blocking 3 sessions for up to 60.0 s"
    );
}

#[test]
fn killing_the_query_of_an_idle_blocker_does_nothing_and_is_told() {
    let seen = row_waits(server(vec![in_transaction(idle(10, 90), 100), row_waiter(11, 60)]), &[(11, 10)]);
    let query = Rule { blocks: Some(1), action: Some(Action::Query), ..blocker() };
    let verdict = verdict(&query, &seen);
    assert!(verdict.kills.is_empty());
    assert!(verdict.spared[0].why.to_string().contains("--kill connection"));
}

#[test]
fn a_knot_has_one_root_the_youngest_transaction() {
    let seen = row_waits(
        server(vec![row_waiter(10, 60), row_waiter(11, 50), row_waiter(12, 10)]),
        &[(10, 11), (11, 10), (12, 10)],
    );
    let graph = WaitGraph::new(&seen, Locks::Any);
    assert_eq!((graph.blocked(10).0, graph.blocked(11).0), (2, 2));
    assert_eq!(victims(&Rule { blocks: Some(1), ..blocker() }, &seen), [11]);
    assert_eq!(victims(&Rule { waiting: span("5s"), ..blocker() }, &seen), [11]);
}

#[test]
fn an_idle_reader_stops_ddl_and_everybody_behind_it() {
    let chain = || {
        server(vec![
            in_transaction(idle(10, 90), 100),
            busy(11, 60, "ALTER TABLE orders ADD x INT"),
            busy(12, 40, "SELECT * FROM orders"),
            busy(13, 30, "UPDATE orders SET a = 2"),
            in_transaction(busy(14, 300, "SELECT * FROM orders"), 300),
        ])
    };
    let locks = [
        (10, "SHARED_READ", true),
        (14, "SHARED_READ", true),
        (11, "SHARED_UPGRADABLE", true),
        (11, "EXCLUSIVE", false),
        (12, "SHARED_READ", false),
        (13, "SHARED_WRITE", false),
    ];
    let seen = table_locks(chain(), &locks);
    let graph = WaitGraph::new(&seen, Locks::Metadata);
    assert_eq!(graph.blocked(10), (3, 60_000));
    assert_eq!(graph.blocked(11), (2, 40_000));
    assert_eq!(WaitGraph::new(&seen, Locks::Rows).waiters(), 0);
    assert_eq!(victims(&Rule { blocks: Some(3), locks: Locks::Metadata, ..blocker() }, &seen), [10, 14]);
    let rows = Rule { blocks: Some(1), locks: Locks::Rows, ..blocker() };
    assert_eq!(victims(&rows, &seen), Vec::<u64>::new());
}

#[test]
fn where_only_held_locks_are_listed_statements_tell_who_waits() {
    let waits = |session: Session| Session { state: "Waiting for table metadata lock".to_owned(), ..session };
    let sessions = vec![
        in_transaction(idle(10, 90), 100),
        waits(busy(11, 60, "ALTER TABLE Orders ADD x INT")),
        waits(busy(12, 40, "SELECT * FROM `shop`.`orders` WHERE id = 1")),
        waits(busy(13, 40, "SELECT * FROM elsewhere")),
    ];
    let held = [(10, "SHARED_READ", true), (11, "SHARED_UPGRADABLE", true)];
    let seen = table_locks(server(sessions), &held);
    let graph = WaitGraph::new(&seen, Locks::Any);
    assert_eq!(graph.blocked(10), (2, 60_000));
    assert_eq!(graph.blocked(11), (1, 40_000));
    assert_eq!(victims(&Rule { blocks: Some(2), ..blocker() }, &seen), [10]);
    // Who holds its table is not known, and it is not to be taken for its own blocker.
    assert_eq!(graph.waiting_ms(13), Some(40_000));
    let found = verdict(&Rule { waiting: span("30s"), ..blocker() }, &seen);
    assert_eq!(found.kills.iter().map(|kill| kill.id).collect::<Vec<_>>(), [10]);
    assert_eq!(found.notes, ["who holds the lock that 13 waits for is not told by the server"]);
    let all = Rule { waiting: span("30s"), victims: Victims::All, ..Rule::new("waiters") };
    assert_eq!(victims(&all, &seen), [11, 12, 13]);
    let rows = Rule { locks: Locks::Rows, ..all };
    assert_eq!(victims(&rows, &seen), Vec::<u64>::new());
}

#[test]
fn a_database_is_dropped_with_all_its_tables() {
    let drop = Session {
        state: "Waiting for table metadata lock".to_owned(),
        ..busy(11, 60, "DROP DATABASE IF EXISTS `shop`")
    };
    let seen =
        table_locks(server(vec![in_transaction(idle(10, 90), 100), drop]), &[(10, "SHARED_READ", true)]);
    assert_eq!(victims(&Rule { waiting: span("1s"), ..blocker() }, &seen), [10]);
}

#[test]
fn changes_wait_for_a_backup_when_they_begin_or_when_they_commit() {
    for (held, statement, waits) in [
        ("BACKUP_FTWRL2", "INSERT INTO a VALUES (1)", true),
        ("BACKUP_WAIT_COMMIT", "INSERT INTO a VALUES (1)", true),
        ("BACKUP_BLOCK_DDL", "CREATE TABLE b (c INT)", true),
        ("BACKUP_BLOCK_DDL", "INSERT INTO a VALUES (1)", false),
    ] {
        let waiter = Session { state: "Waiting for backup lock".to_owned(), ..busy(11, 60, statement) };
        let mut seen = table_locks(server(vec![idle(10, 90), waiter]), &[(10, held, true)]);
        if let Seen::Known(locks) = &mut seen.metadata_locks {
            "BACKUP".clone_into(&mut locks[0].object.kind);
            locks[0].object.schema.clear();
            locks[0].object.name.clear();
        }
        let wanted: &[u64] = if waits { &[10] } else { &[] };
        assert_eq!(victims(&Rule { waiting: span("1s"), ..blocker() }, &seen), wanted, "{held} {statement}");
    }
}

#[test]
fn nobody_has_waited_longer_than_its_statement_has_run() {
    let waiter = waiting(in_transaction(busy(11, 7, "UPDATE orders SET a = 1"), 9), 8);
    let seen = row_waits(server(vec![in_transaction(idle(10, 90), 100), waiter]), &[(11, 10)]);
    assert_eq!(WaitGraph::new(&seen, Locks::Any).waiting_ms(11), Some(7_000));
}

#[test]
fn what_is_not_known_is_told() {
    let mut seen = server(vec![row_waiter(11, 60)]);
    seen.metadata_locks = Seen::Unknown("no plugin".to_owned());
    let found = verdict(&Rule { blocks: Some(1), ..blocker() }, &seen);
    assert_eq!(found.notes, ["who waits for whose metadata locks is not known: no plugin"]);
    let rows = verdict(&Rule { blocks: Some(1), locks: Locks::Rows, ..blocker() }, &seen);
    assert!(rows.notes.is_empty());
    let prepared = row_waits(server(vec![row_waiter(11, 60)]), &[(11, 0)]);
    let found = verdict(&Rule { waiting: span("1s"), ..blocker() }, &prepared);
    assert!(found.kills.is_empty() && found.notes[0].contains("XA RECOVER"), "{found:?}");
}

#[test]
fn thousands_in_a_queue_are_judged_quickly() {
    let count = 1_000;
    let mut sessions = vec![in_transaction(idle(10, 90), 100)];
    sessions.extend((0..count).map(|at| row_waiter(100 + at, 60)));
    // Each waits for the holder and for the hundred before it, as the servers list it.
    let waits: Vec<(u64, u64)> = (0..count)
        .flat_map(|at| {
            let before = (at.saturating_sub(100)..at).map(move |other| (100 + at, 100 + other));
            before.chain([(100 + at, 10)])
        })
        .collect();
    let seen = row_waits(server(sessions), &waits);
    assert_eq!(WaitGraph::new(&seen, Locks::Any).blocked(10), (count, 60_000));
    assert_eq!(victims(&Rule { blocks: Some(1), ..blocker() }, &seen), [10]);
}
