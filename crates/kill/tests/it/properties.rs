//! What holds for any sessions and any rules.

use facts::{RowWait, Seen, Session, Sessions, Transaction, UserLock};
use kill::{Action, GroupBy, Locks, Mode, Policy, Protection, Rule, Span, Traits, Victims, judge};
use proptest::prelude::*;

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::select(words).prop_map(str::to_owned)
}

fn session() -> impl Strategy<Value = Session> {
    let who = (
        one_of(&[
            "",
            "system user",
            "event_scheduler",
            "app",
            "root",
            "mainstay_repl",
            "mainstay_monitor",
            "cloud",
        ]),
        one_of(&["localhost", "10.0.0.5", ""]),
        one_of(&["Query", "Sleep", "Binlog Dump", "Daemon", "Slave_SQL", "Killed", "Execute"]),
        one_of(&[
            "",
            "executing",
            "User lock",
            "Waiting for semi-sync ACK from slave",
            "Waiting for table metadata lock",
        ]),
    );
    let what = (
        proptest::option::of(one_of(&[
            "SELECT 1",
            "ALTER TABLE a ADD b INT",
            "UPDATE a SET b = 'x'",
            "\u{0}'",
            "",
        ])),
        0_u64..200_000,
        proptest::option::of((0_u64..200_000, proptest::option::of(0_u64..100_000), any::<bool>())),
        proptest::option::of(0_u64..50),
        0_u8..3,
    );
    (who, what).prop_map(
        |((user, host, command, state), (statement, time_ms, transaction, statement_id, program))| Session {
            id: 0,
            user,
            host,
            db: Some("shop".to_owned()),
            command,
            state,
            time_ms,
            statement,
            is_cut: false,
            statement_id,
            transaction: transaction.map(|(age_ms, waiting_ms, is_rolling_back)| Transaction {
                id: age_ms.to_string(),
                age_ms,
                waiting_ms,
                rows_locked: 0,
                rows_modified: 0,
                is_rolling_back,
            }),
            program: match program {
                0 => Seen::Absent,
                1 => Seen::Unknown("off".to_owned()),
                _ => Seen::Known("mainstay".to_owned()),
            },
        },
    )
}

fn sessions() -> impl Strategy<Value = Sessions> {
    let waits = proptest::collection::vec((0_u64..22, 0_u64..22), 0..40);
    let locks = proptest::option::of(proptest::collection::vec(1_u64..20, 0..4));
    (proptest::collection::vec(session(), 1..20), waits, locks).prop_map(|(mut sessions, waits, locks)| {
        for (at, session) in sessions.iter_mut().enumerate() {
            session.id = at as u64 + 1;
        }
        Sessions {
            own_id: 1,
            own_user: "root".to_owned(),
            sessions,
            row_waits: Seen::Known(
                waits.into_iter().map(|(waiter, holder)| RowWait { waiter, holder }).collect(),
            ),
            metadata_locks: Seen::Known(Vec::new()),
            user_locks: match locks {
                Some(locks) => Seen::Known(
                    locks.into_iter().map(|session| UserLock { session, name: "x".to_owned() }).collect(),
                ),
                None => Seen::Unknown("no plugin".to_owned()),
            },
            skipped: 0,
        }
    })
}

fn span() -> impl Strategy<Value = Option<Span>> {
    proptest::option::weighted(0.3, (1_u64..100).prop_map(|seconds| Span::from_seconds(seconds).unwrap()))
}

fn rule() -> impl Strategy<Value = Rule> {
    let spans = (span(), span(), span(), span(), span(), span());
    let ways = (
        proptest::sample::select(
            &[Victims::Oldest, Victims::All, Victims::AllButOldest, Victims::Blocker][..],
        ),
        proptest::sample::select(&[None, Some(Action::Query), Some(Action::Connection)][..]),
        proptest::sample::select(&[Locks::Any, Locks::Rows, Locks::Metadata][..]),
        proptest::sample::select(&[None, Some(GroupBy::User), Some(GroupBy::Fingerprint)][..]),
        proptest::option::weighted(0.3, 1_u32..4),
        any::<bool>(),
    );
    (spans, ways).prop_map(
        |(
            (busy, idle, transaction, resting, waiting, blocking),
            (victims, action, locks, group_by, blocks, anybody),
        )| {
            let user = if anybody { vec!["*".parse().unwrap()] } else { Vec::new() };
            Rule {
                matches: Traits { user, ..Traits::default() },
                busy,
                idle,
                transaction,
                idle_transaction: resting,
                waiting,
                blocking,
                blocks,
                locks,
                victims,
                action,
                group_by,
                ..Rule::new("any")
            }
        },
    )
}

/// Told apart from the code under test: who must never be ended, whatever a rule says.
fn is_protected(session: &Session, seen: &Sessions, action: Action) -> bool {
    let user = session.user.as_str();
    let holds = match &seen.user_locks {
        Seen::Known(locks) => locks.iter().any(|lock| lock.session == session.id),
        Seen::Unknown(_) | Seen::Absent => action == Action::Connection && session.transaction.is_none(),
    };
    session.id == seen.own_id
        || ["", "system user", "event_scheduler"].contains(&user)
        || user.starts_with("mainstay_")
        || ["Binlog Dump", "Daemon", "Slave_SQL", "Killed"].contains(&session.command.as_str())
        || session.program == Seen::Known("mainstay".to_owned())
        || (matches!(session.program, Seen::Unknown(_)) && user == "root" && session.host == "localhost")
        || session.state.starts_with("Waiting for semi-sync")
        || session.state == "User lock"
        || session.transaction.as_ref().is_some_and(|transaction| transaction.is_rolling_back)
        || holds
}

proptest! {
    #[test]
    fn the_protected_are_never_chosen(seen in sessions(), rules in proptest::collection::vec(rule(), 1..4)) {
        let verdict = judge(&rules, &Policy::default(), &seen);
        for kill in &verdict.kills {
            let session = seen.sessions.iter().find(|session| session.id == kill.id).unwrap();
            prop_assert!(!is_protected(session, &seen, kill.action), "{:?} by {}", session, kill.rule);
            prop_assert!(kill.action == Action::Connection || session.command != "Sleep");
        }
        let mut ids: Vec<u64> = verdict.kills.iter().map(|kill| kill.id).collect();
        ids.sort_unstable();
        ids.dedup();
        prop_assert_eq!(ids.len(), verdict.kills.len(), "nobody is killed twice");
        prop_assert!(verdict.kills.len() <= 10);
    }

    #[test]
    fn a_dry_run_orders_nothing_and_a_real_one_what_it_shows(seen in sessions(), rule in rule()) {
        let verdict = judge(&[rule], &Policy::default(), &seen);
        prop_assert!(verdict.orders(Mode::DryRun).is_empty());
        prop_assert_eq!(verdict.orders(Mode::Kill), &verdict.kills[..]);
    }

    #[test]
    fn a_victim_matches_the_times_of_its_rule(seen in sessions(), rule in rule()) {
        prop_assume!(rule.victims != Victims::Blocker);
        for kill in judge(std::slice::from_ref(&rule), &Policy::default(), &seen).kills {
            let session = seen.sessions.iter().find(|session| session.id == kill.id).unwrap();
            if let Some(busy) = rule.busy {
                prop_assert!(session.command != "Sleep" && session.time_ms >= busy.ms());
            }
            if let Some(idle) = rule.idle {
                prop_assert!(session.command == "Sleep" && session.time_ms >= idle.ms());
            }
            if let Some(old) = rule.transaction {
                prop_assert!(session.transaction.as_ref().unwrap().age_ms >= old.ms());
            }
        }
    }

    #[test]
    fn a_victim_is_still_itself_and_nobody_else(seen in sessions(), rule in rule(), other in session()) {
        for kill in judge(&[rule], &Policy::default(), &seen).kills {
            let session = seen.sessions.iter().find(|session| session.id == kill.id).unwrap();
            prop_assert_eq!(kill.is_still(Some(session)), Ok(()));
            prop_assert!(kill.is_still(None).is_err());
            let mut successor = other.clone();
            successor.id = kill.id;
            if successor.statement_id.is_some() && session.statement_id.is_some() && successor.statement_id != session.statement_id {
                prop_assert!(kill.is_still(Some(&successor)).is_err());
            }
        }
    }

    #[test]
    fn who_is_shielded_by_pattern_is_never_chosen(seen in sessions(), rule in rule(), user in one_of(&["app", "root", "cloud"])) {
        let policy = Policy { protect: vec![user.parse().unwrap()], ..Policy::default() };
        let verdict = judge(&[rule], &policy, &seen);
        prop_assert!(verdict.kills.iter().all(|kill| kill.user != user));
        let by_pattern = verdict.spared.iter().filter(|spared| matches!(spared.why, Protection::Account(_)));
        for spared in by_pattern {
            prop_assert_eq!(&spared.user, &user);
        }
    }
}
