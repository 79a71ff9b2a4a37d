//! What each condition means, who is a victim, who is protected, and what is refused.

use facts::{Seen, Session};
use kill::{
    AccountPattern, Action, Allowed, Changed, GroupBy, Mode, Pattern, Policy, Protection, Rule, Span, Traits,
    Victims, judge,
};

use crate::server::{busy, idle, in_transaction, server, user_lock, verdict, victims, waiting};

fn span(text: &str) -> Option<Span> {
    Some(text.parse().unwrap())
}

fn rule() -> Rule {
    Rule::new("test")
}

fn user(pattern: &str) -> Traits {
    Traits { user: vec![pattern.parse().unwrap()], ..Traits::default() }
}

#[test]
fn conditions_choose_by_what_a_session_does() {
    let seen = server(vec![
        busy(10, 100, "SELECT * FROM a"),
        busy(11, 10, "SELECT * FROM b WHERE id = 7"),
        idle(20, 500),
        in_transaction(idle(21, 300), 400),
        in_transaction(busy(22, 50, "UPDATE c SET d = 1"), 900),
    ]);
    let all = |rule: Rule| victims(&Rule { victims: Victims::All, ..rule }, &seen);
    assert_eq!(all(Rule { busy: span("50s"), ..rule() }), [10, 22]);
    assert_eq!(all(Rule { idle: span("5m"), ..rule() }), [20, 21]);
    assert_eq!(all(Rule { transaction: span("5m"), ..rule() }), [22]);
    let of_connections = Rule { transaction: span("5m"), action: Some(Action::Connection), ..rule() };
    assert_eq!(all(of_connections), [22, 21]);
    assert_eq!(all(Rule { idle_transaction: span("5m"), ..rule() }), [21]);
    let by_id = Rule { query_ids: vec!["0A1B2C3D4E5F6071".parse().unwrap()], ..rule() };
    assert_eq!(all(by_id), Vec::<u64>::new());
    let fingerprints = vec![Rule::fingerprint_of("select * from b where id = 99").unwrap()];
    assert_eq!(all(Rule { fingerprints, ..rule() }), [11]);
    let statement = vec![Pattern::statement("(?i)^update").unwrap()];
    assert_eq!(all(Rule { matches: Traits { statement, ..Traits::default() }, ..rule() }), [22]);
}

#[test]
fn a_query_id_finds_its_statement_in_both_lengths() {
    let seen = server(vec![busy(10, 100, "SELECT * FROM a WHERE id = 5")]);
    let found = verdict(&Rule { busy: span("1s"), ..rule() }, &seen);
    let id = found.kills[0].query_id.clone().unwrap();
    assert_eq!(found.kills[0].fingerprint.as_deref(), Some("select * from a where id = ?"));
    for id in [id.as_str(), &id[16..], &id.to_lowercase()] {
        let by_id = Rule { query_ids: vec![id.parse().unwrap()], ..rule() };
        assert_eq!(victims(&by_id, &seen), [10], "{id}");
    }
    let cut = Session { is_cut: true, ..busy(10, 100, "SELECT * FROM a WHERE id = 5") };
    let by_id = Rule { query_ids: vec![id.parse().unwrap()], ..rule() };
    assert_eq!(victims(&by_id, &server(vec![cut])), Vec::<u64>::new(), "the id of half a statement is no id");
}

#[test]
fn what_is_ignored_wins() {
    let seen = server(vec![
        busy(10, 100, "SELECT 1"),
        Session { user: "batch".to_owned(), ..busy(11, 100, "SELECT 2") },
    ]);
    let wanted = Rule { matches: user("*"), ignores: user("bat*"), victims: Victims::All, ..rule() };
    assert_eq!(victims(&wanted, &seen), [10]);
}

#[test]
fn victims_are_chosen_of_each_class() {
    let of = |user: &str, session: Session| Session { user: user.to_owned(), ..session };
    let seen = server(vec![
        of("a", busy(10, 30, "SELECT 1")),
        of("a", busy(11, 50, "SELECT 1")),
        of("a", busy(12, 40, "SELECT 1")),
        of("b", busy(13, 60, "SELECT 2")),
    ]);
    let by_user =
        |victims: Victims| Rule { busy: span("10s"), group_by: Some(GroupBy::User), victims, ..rule() };
    assert_eq!(victims(&by_user(Victims::Oldest), &seen), [11, 13]);
    assert_eq!(victims(&by_user(Victims::AllButOldest), &seen), [12, 10]);
    assert_eq!(victims(&by_user(Victims::All), &seen), [11, 12, 10, 13]);
    assert_eq!(victims(&Rule { class_count: Some(2), ..by_user(Victims::All) }, &seen), [11, 12, 10]);
    assert_eq!(victims(&Rule { any_busy: span("55s"), ..by_user(Victims::All) }, &seen), [13]);
    assert_eq!(victims(&Rule { each_busy: span("35s"), ..by_user(Victims::All) }, &seen), [13]);
    let alone = Rule { busy: span("10s"), ..rule() };
    assert_eq!(victims(&alone, &seen), [13], "without classes all are one");
}

#[test]
fn a_look_has_a_limit_and_each_session_one_rule() {
    let seen = server((10..40).map(|id| busy(id, id, "SELECT 1")).collect());
    let all = Rule { busy: span("1s"), victims: Victims::All, ..rule() };
    let second = Rule { name: "second".to_owned(), ..all.clone() };
    let verdict = judge(&[all, second], &Policy::default(), &seen);
    assert_eq!((verdict.kills.len(), verdict.beyond_limit), (10, 20));
    assert_eq!(verdict.kills[0].id, 39, "the longest first");
    assert!(verdict.kills.iter().all(|kill| kill.rule == "test"));
    assert!(verdict.orders(Mode::DryRun).is_empty());
}

#[test]
fn who_is_protected_is_told_why() {
    let with = |user: &str, host: &str, command: &str| Session {
        user: user.to_owned(),
        host: host.to_owned(),
        command: command.to_owned(),
        ..busy(10, 1000, "SELECT 1")
    };
    let program =
        |program: &str| Session { program: Seen::Known(program.to_owned()), ..with("dba", "h", "Query") };
    let unknown = Session { program: Seen::Unknown("off".to_owned()), ..with("root", "localhost", "Query") };
    let state = |state: &str| Session { state: state.to_owned(), ..with("app", "h", "Query") };
    for (session, why) in [
        (with("", "", "Daemon"), Some("the server's own")),
        (with("system user", "", "Slave_SQL"), Some("the server's own")),
        (with("event_scheduler", "localhost", "Daemon"), Some("the server's own")),
        (with("mysql.session", "localhost", "Query"), Some("the server's own")),
        (with("repl", "10.0.0.2", "Binlog Dump GTID"), Some("replication")),
        (with("repl", "10.0.0.2", "Binlog Dump"), Some("replication")),
        (with("mainstay_repl", "10.0.0.2", "Query"), Some("replication")),
        (with("mainstay_monitor", "10.0.0.2", "Query"), Some("Mainstay's own")),
        (program("mainstay"), Some("Mainstay's own")),
        (program("mysqldump"), None),
        (unknown, Some("perhaps Mainstay's own")),
        (with("root", "10.0.0.9", "Query"), None),
        (state("Waiting for semi-sync ACK from slave"), Some("waits for a replica")),
        (state("Waiting for semi-sync ACK from replica"), Some("waits for a replica")),
        (state("User lock"), Some("waits for a user lock")),
        (with("app", "h", "Killed"), Some("ending")),
        (with("app", "h", "Query"), None),
    ] {
        let seen = server(vec![session.clone()]);
        let by_command = Rule {
            matches: Traits { command: vec!["*".parse().unwrap()], ..Traits::default() },
            victims: Victims::All,
            ..rule()
        };
        let verdict = verdict(&by_command, &seen);
        let spared: Vec<String> = verdict
            .spared
            .iter()
            .filter(|spared| spared.id == 10)
            .map(|spared| spared.why.to_string())
            .collect();
        match why {
            Some(why) => {
                assert!(verdict.kills.is_empty(), "{session:?}");
                assert!(spared[0].contains(why), "{session:?}: {spared:?}");
            }
            None => assert_eq!(verdict.kills.len(), 1, "{session:?}: {spared:?}"),
        }
    }
}

#[test]
fn the_clouds_lock_holders_are_left_alone() {
    let idle_long = Rule { idle: span("1m"), victims: Victims::All, ..rule() };
    let seen = user_lock(server(vec![idle(10, 100), idle(11, 100)]), 10, "AsyncJobManagerHeartbeat");
    assert_eq!(victims(&idle_long, &seen), [11]);
    let spared = &verdict(&idle_long, &seen).spared[0];
    assert_eq!(spared.why, Protection::HoldsUserLock("AsyncJobManagerHeartbeat".to_owned()));
    let allowing = Policy { allow: vec![Allowed::LockHolders], ..Policy::default() };
    assert_eq!(judge(std::slice::from_ref(&idle_long), &allowing, &seen).kills.len(), 2);
}

#[test]
fn a_lock_that_cannot_be_seen_may_be_held() {
    let mut seen = server(vec![idle(10, 100), in_transaction(idle(11, 100), 100), busy(12, 100, "SELECT 1")]);
    seen.user_locks = Seen::Unknown("no plugin".to_owned());
    let idle_long = Rule { idle: span("1m"), victims: Victims::All, ..rule() };
    assert_eq!(victims(&idle_long, &seen), [11], "CloudStack holds its locks outside transactions");
    assert!(verdict(&idle_long, &seen).notes[0].contains("no plugin"));
    assert_eq!(
        victims(&Rule { busy: span("1m"), ..rule() }, &seen),
        [12],
        "killing a query releases no lock"
    );
    let allowing = Policy { allow: vec![Allowed::UnknownLocks], ..Policy::default() };
    assert_eq!(judge(&[idle_long], &allowing, &seen).kills.len(), 2);
}

#[test]
fn accounts_are_protected_by_pattern() {
    let seen = server(vec![
        busy(10, 100, "SELECT 1"),
        Session { host: "10.0.9.9".to_owned(), ..busy(11, 90, "SELECT 1") },
    ]);
    let protect: Vec<AccountPattern> = vec!["app@10.0.0.*".parse().unwrap()];
    let policy = Policy { protect, ..Policy::default() };
    let all = Rule { busy: span("1s"), victims: Victims::All, ..rule() };
    let verdict = judge(&[all], &policy, &seen);
    assert_eq!(verdict.kills.iter().map(|kill| kill.id).collect::<Vec<_>>(), [11]);
    let spared = verdict.spared.iter().find(|spared| spared.id == 10).unwrap();
    assert_eq!(spared.why.to_string(), "protected as app@10.0.0.*");
}

#[test]
fn who_has_moved_on_is_let_go() {
    let was = in_transaction(busy(10, 100, "SELECT 1"), 200);
    let of = |action: Action| {
        let rule = Rule { busy: span("1m"), action: Some(action), ..rule() };
        verdict(&rule, &server(vec![was.clone()])).kills[0].clone()
    };
    let (query, connection) = (of(Action::Query), of(Action::Connection));
    let later = |change: &dyn Fn(&mut Session)| {
        let mut session = Session { time_ms: was.time_ms + 5, ..was.clone() };
        change(&mut session);
        session
    };
    let other_transaction =
        |session: &mut Session| session.transaction.as_mut().unwrap().id = "another".to_owned();
    for (now, of_query, of_connection) in [
        (later(&|_| ()), Ok(()), Ok(())),
        (later(&|session| session.user = "else".to_owned()), Err(Changed::Another), Err(Changed::Another)),
        (later(&|session| session.statement_id = Some(7)), Err(Changed::Statement), Err(Changed::Statement)),
        (
            later(&|session| session.command = "Sleep".to_owned()),
            Err(Changed::Statement),
            Err(Changed::Statement),
        ),
        (later(&other_transaction), Ok(()), Err(Changed::Transaction)),
        (later(&|session| session.transaction = None), Ok(()), Err(Changed::Transaction)),
    ] {
        assert_eq!(
            (query.is_still(Some(&now)), connection.is_still(Some(&now))),
            (of_query, of_connection),
            "{now:?}"
        );
    }
    assert_eq!(query.is_still(None), Err(Changed::Gone));
}

#[test]
fn without_numbers_the_text_and_the_time_tell() {
    let was = Session { statement_id: None, ..busy(10, 100, "SELECT 1") };
    let kill = verdict(&Rule { busy: span("1m"), ..rule() }, &server(vec![was.clone()])).kills[0].clone();
    assert_eq!(kill.is_still(Some(&was)), Ok(()));
    let again = Session { time_ms: 3, ..was.clone() };
    assert_eq!(kill.is_still(Some(&again)), Err(Changed::Statement), "the same text, begun anew");
    let other = Session { statement: Some("SELECT 2".to_owned()), ..was };
    assert_eq!(kill.is_still(Some(&other)), Err(Changed::Statement));
}

#[test]
fn rules_that_contradict_themselves_are_refused() {
    let told = |rule: Rule| rule.check().unwrap_err().to_string();
    for (wrong, words) in [
        (rule(), "has no condition"),
        (Rule { ignores: user("x"), ..rule() }, "has no condition"),
        (Rule { busy: span("1s"), idle: span("1s"), ..rule() }, "has an idle time and a busy time"),
        (
            Rule { idle_transaction: span("1s"), action: Some(Action::Query), ..rule() },
            "has an idle transaction time and kill query",
        ),
        (Rule { idle: span("1s"), waiting: span("1s"), ..rule() }, "waits for no lock"),
        (Rule { idle: span("1s"), fingerprints: vec!["x".to_owned()], ..rule() }, "and a statement"),
        (
            Rule { busy: span("1s"), victims: Victims::Blocker, ..rule() },
            "has victims blocker without a waiting time",
        ),
        (Rule { busy: span("1s"), locks: kill::Locks::Rows, ..rule() }, "has locks without"),
        (
            Rule { matches: user("a*"), ignores: user("a*"), ..rule() },
            "matches and ignores the same user `a*`",
        ),
    ] {
        let said = told(wrong);
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(Rule { idle: span("1s"), ..rule() }.action(), Action::Connection);
    assert_eq!(Rule { busy: span("1s"), ..rule() }.action(), Action::Query);
}

#[test]
fn a_transaction_that_waits_or_is_rolled_back_is_told_apart() {
    let mut rolling = in_transaction(busy(10, 100, "UPDATE a SET b = 1"), 100);
    rolling.transaction.as_mut().unwrap().is_rolling_back = true;
    let waits = waiting(in_transaction(busy(11, 100, "UPDATE a SET b = 1"), 100), 60);
    let seen = server(vec![rolling, waits]);
    let old = Rule { transaction: span("1m"), victims: Victims::All, ..rule() };
    assert_eq!(victims(&old, &seen), [11]);
}
