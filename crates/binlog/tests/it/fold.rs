//! Folding against a model, and against every change replayed one by one.

use std::collections::BTreeMap;

use binlog::{Fold, FoldOptions, ReadOptions, Select, Stop, Tables, walk};
use proptest::prelude::*;

use crate::made::Made;

const NAMES: [Option<&str>; 4] = [None, Some(""), Some("it's"), Some("b\\c")];

fn options(passes: u32, pass: u32) -> FoldOptions {
    FoldOptions {
        database: "d".to_owned(),
        table: "t".to_owned(),
        into: None,
        select: Select::default(),
        schema: None,
        passes,
        pass,
        memory_bytes: 1 << 20,
    }
}

fn folded(log: &Made, options: FoldOptions) -> Fold {
    let mut fold = Fold::new(options);
    fold.begin_log("bin.000001", true, true);
    walk(log.bytes.as_slice(), ReadOptions::default(), &mut Tables::default(), |item| fold.see(item))
        .unwrap();
    fold
}

/// A table as statements of the forms that folding writes leave it: a server of two verbs.
type Model = BTreeMap<i64, String>;

fn run(model: &mut Model, statement: &str) {
    if let Some(conditions) = statement.strip_prefix("DELETE FROM `d`.`t` WHERE ") {
        for condition in conditions.split(" OR ") {
            let id = condition.trim_matches(['(', ')']).strip_prefix("`id`=").unwrap();
            model.remove(&id.parse().unwrap());
        }
        return;
    }
    let rows = statement.strip_prefix("REPLACE INTO `d`.`t` (`id`,`name`) VALUES ").unwrap();
    let rows = rows.strip_prefix('(').unwrap().strip_suffix(')').unwrap();
    for row in rows.split("),(") {
        let (id, name) = row.split_once(',').unwrap();
        model.insert(id.parse().unwrap(), name.to_owned());
    }
}

fn name(at: usize) -> String {
    NAMES[at].map_or("NULL".to_owned(), |name| sqltext::quote_string(name).unwrap())
}

/// What a session might do to a row.
#[derive(Clone, Copy, Debug)]
enum Act {
    Put(i32, usize),
    Move(i32, i32),
    Take(i32),
}

fn acts() -> impl Strategy<Value = Vec<Vec<Act>>> {
    let act = prop_oneof![
        3 => (0..12, 0..NAMES.len()).prop_map(|(id, name)| Act::Put(id, name)),
        1 => (0..12, 0..12).prop_map(|(id, to)| Act::Move(id, to)),
        2 => (0..12).prop_map(Act::Take),
    ];
    prop::collection::vec(prop::collection::vec(act, 1..6), 0..40)
}

/// Writes the acts that are possible as a log of `d.t`, and does them to the model. What was before every
/// transaction is kept beside it.
fn play(log: &mut Made, transactions: &[Vec<Act>], rows: &mut BTreeMap<i32, usize>) {
    for acts in transactions {
        log.begin();
        log.map(1, "t");
        log.map(2, "u");
        // A table beside it is none of its business.
        log.insert(2, &[(Some(1), Some("other"))]);
        for act in acts {
            match *act {
                Act::Put(id, new) => match rows.insert(id, new) {
                    Some(old) => log.update(1, &[((Some(id), NAMES[old]), (Some(id), NAMES[new]))]),
                    None => log.insert(1, &[(Some(id), NAMES[new])]),
                },
                Act::Move(id, to) if rows.contains_key(&id) && !rows.contains_key(&to) => {
                    let at = rows.remove(&id).unwrap();
                    rows.insert(to, at);
                    log.update(1, &[((Some(id), NAMES[at]), (Some(to), NAMES[at]))]);
                }
                Act::Move(..) => {}
                Act::Take(id) => {
                    if let Some(old) = rows.remove(&id) {
                        log.delete(1, &[(Some(id), NAMES[old])]);
                    }
                }
            }
        }
        log.commit();
    }
}

fn as_model(rows: &BTreeMap<i32, usize>) -> Model {
    rows.iter().map(|(id, at)| (i64::from(*id), name(*at))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn folding_ends_where_replaying_does(
        first in acts(), second in acts(), mariadb: bool, passes in 1_u32..5, statement_bytes in 1_usize..400,
    ) {
        let mut rows = BTreeMap::new();
        play(&mut Made::new(mariadb), &first, &mut rows);
        let base = as_model(&rows);
        let mut log = Made::new(mariadb);
        play(&mut log, &second, &mut rows);
        let mut model = base.clone();
        let mut written = BTreeMap::<String, u32>::new();
        for pass in 0..passes {
            let fold = folded(&log, options(passes, pass));
            prop_assert_eq!(fold.stopped(), None);
            let statements = fold.statements(statement_bytes);
            let left = statements.rows();
            let mut count = 0;
            for statement in statements {
                count += statement.matches("),(").count() + statement.matches(") OR (").count() + 1;
                run(&mut model, &statement);
                *written.entry(statement).or_default() += 1;
            }
            prop_assert_eq!(count, left);
        }
        prop_assert_eq!(&model, &as_model(&rows));
        // Once is enough, and a second time changes nothing.
        prop_assert!(written.values().all(|times| *times == 1));
        for statement in written.keys().filter(|it| it.starts_with("DELETE")) {
            run(&mut model, statement);
        }
        prop_assert_eq!(&model, &as_model(&rows));
    }
}

fn text(log: &Made) -> Vec<String> {
    let fold = folded(log, options(1, 0));
    assert_eq!(fold.stopped(), None);
    fold.statements(1 << 20).collect()
}

#[test]
fn each_row_is_written_once_as_it_was_left() {
    for mariadb in [true, false] {
        let mut log = Made::new(mariadb);
        log.begin();
        log.map(1, "t");
        log.insert(1, &[(Some(1), Some("a")), (Some(2), None), (Some(3), Some("gone"))]);
        log.commit();
        log.begin();
        log.map(1, "t");
        log.update(1, &[((Some(1), Some("a")), (Some(1), Some("b"))), ((Some(2), None), (Some(9), None))]);
        log.delete(1, &[(Some(3), Some("gone")), (Some(7), Some("was there"))]);
        log.commit();
        // No end: it did not happen.
        log.begin();
        log.map(1, "t");
        log.insert(1, &[(Some(50), None)]);
        assert_eq!(
            text(&log),
            [
                "DELETE FROM `d`.`t` WHERE (`id`=7)",
                "REPLACE INTO `d`.`t` (`id`,`name`) VALUES (1,'b'),(9,NULL)"
            ]
        );
    }
}

#[test]
fn ddl_on_the_table_is_named_and_other_ddl_passed_over() {
    let mut log = Made::new(true);
    log.begin();
    log.map(1, "t");
    log.insert(1, &[(Some(1), None)]);
    log.commit();
    log.alone("ALTER TABLE u ADD COLUMN x INT");
    assert_eq!(text(&log).len(), 1);
    let offset = u64::try_from(log.bytes.len()).unwrap();
    log.alone("TRUNCATE TABLE d.t");
    let fold = folded(&log, options(1, 0));
    let Some(Stop::Obstacle(obstacle)) = fold.stopped() else { panic!("{:?}", fold.stopped()) };
    assert_eq!(obstacle.position, offset);
    assert_eq!(obstacle.problem, "this statement cannot be folded: TRUNCATE TABLE d.t");
    assert!(obstacle.gtid.is_some());
}

#[test]
fn what_does_not_fit_asks_for_more_passes() {
    let mut log = Made::new(true);
    for id in 0..100 {
        log.begin();
        log.map(1, "t");
        log.insert(1, &[(Some(id), Some("some text"))]);
        log.commit();
    }
    let small = |passes, pass| FoldOptions { memory_bytes: 4_000, ..options(passes, pass) };
    assert_eq!(folded(&log, small(1, 0)).stopped(), Some(&Stop::TooLarge { passes: 2 }));
    let mut rows = 0;
    for pass in 0..8 {
        let fold = folded(&log, small(8, pass));
        assert_eq!(fold.stopped(), None);
        rows += fold.statements(1).count();
    }
    assert_eq!(rows, 100);
}

#[test]
fn a_row_that_is_changed_over_and_over_takes_no_more_room() {
    let mut log = Made::new(false);
    for round in 0..500_usize {
        log.begin();
        log.map(1, "t");
        let (old, new) = (NAMES[round % 4], NAMES[(round + 1) % 4]);
        log.update(1, &[((Some(1), old), (Some(1), new))]);
        log.insert(1, &[(Some(2), old)]);
        log.delete(1, &[(Some(2), old)]);
        log.commit();
    }
    let fold = folded(&log, FoldOptions { memory_bytes: 800, ..options(1, 0) });
    assert_eq!((fold.stopped(), fold.changes()), (None, 1_500));
    assert_eq!(fold.statements(1 << 20).count(), 1);
}
