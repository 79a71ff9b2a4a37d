//! Sound logs of both vendors: counted, found, written forwards and backwards.

use std::ops::ControlFlow;

use binlog::{
    Action, Direction, FindOptions, Finder, ForwardScript, Kept, Layout, Match, Obstacle, Piece, ReadOptions,
    Replay, ReplayOptions, Schema, Select, Stats, StatsOptions, StatsReport, Tables, Taker, Undo, UndoScript,
    walk,
};

use crate::made::Made;

pub(crate) fn counted(log: &[u8], options: ReadOptions) -> StatsReport {
    let mut tables = Tables::default();
    let mut stats = Stats::new(StatsOptions::default());
    stats.begin_log("log");
    let walked = walk(log, options, &mut tables, |item| stats.see(item)).unwrap();
    stats.end_log(walked);
    stats.report(&tables)
}

/// Keeps what a replay gives.
#[derive(Default)]
pub(crate) struct Kit {
    text: String,
    undo: Vec<Undo>,
    obstacles: Vec<Obstacle>,
    script: Option<ForwardScript>,
}

impl Taker for Kit {
    fn piece(&mut self, piece: &Piece<'_>) -> bool {
        match &mut self.script {
            Some(script) => self.text.push_str(&script.text(piece)),
            None => self.undo.extend(Undo::of(piece, "log")),
        }
        true
    }

    fn obstacle(&mut self, obstacle: Obstacle) -> bool {
        self.obstacles.push(obstacle);
        true
    }
}

pub(crate) fn replayed(log: &[u8], direction: Direction, options: ReplayOptions, read: ReadOptions) -> Kit {
    let script = (direction == Direction::Forward).then(|| ForwardScript::new(Layout::Script));
    let mut kit = Kit { script, ..Kit::default() };
    let mut replay = Replay::new(options, direction);
    replay.begin_log("log", true, true);
    // What is damaged is told by the walk, and not looked at here.
    let _ = walk(log, read, &mut Tables::default(), |item| replay.see(item, &mut kit));
    replay.finish(&mut kit);
    kit
}

fn undoing(kit: &Kit) -> Vec<String> {
    let (mut kept, mut script) = (Kept::default(), UndoScript::default());
    let entries = kit.undo.iter().rev().filter_map(|entry| kept.keep(entry.clone()));
    let text: String = entries.map(|entry| script.text(&entry)).collect();
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with("SET @"))
        .map(|line| line.split(" GTID").next().unwrap().to_owned())
        .collect()
}

fn tables(names: &str) -> Select {
    Select { tables: vec![names.parse().unwrap()], ..Select::default() }
}

#[test]
fn rows_transactions_and_ddl_are_counted_exactly() {
    for is_mariadb in [false, true] {
        let log = Made::full(is_mariadb);
        let report = counted(&log.bytes, ReadOptions::default());
        let total = &report.total;
        assert_eq!((total.rows_inserted, total.rows_updated, total.rows_deleted), (6, 3, 3));
        assert_eq!((total.transactions, total.ddl, report.damages.count), (5, 2, 0));
        assert_eq!(total.bytes, u64::try_from(log.bytes.len()).unwrap());
        let mut shown: Vec<_> = report
            .tables
            .iter()
            .map(|it| {
                (it.table.as_str(), it.transactions, it.rows_inserted, it.rows_updated, it.rows_deleted)
            })
            .collect();
        shown.sort_unstable();
        assert_eq!(shown, [("t", 3, 6, 0, 3), ("u", 3, 0, 3, 0)], "MariaDB: {is_mariadb}");
        assert_eq!(report.ddl[1].statement, "DROP TABLE t");
        assert!(report.ddl[1].gtid.is_some());
        assert_eq!(report.tops.largest[0].rows, 4);
    }
}

#[test]
fn the_log_is_undone_from_its_end_and_ddl_is_an_obstacle() {
    for is_mariadb in [false, true] {
        let log = Made::full(is_mariadb);
        let options = ReplayOptions { select: tables("d.u"), ..ReplayOptions::default() };
        let kit = replayed(&log.bytes, Direction::Inverse, options, ReadOptions::default());
        assert_eq!(kit.obstacles, []);
        let lines = undoing(&kit);
        assert_eq!(lines.len(), 6, "{lines:#?}");
        assert!(lines[0].starts_with("-- undoes log:"), "{lines:#?}");
        assert_eq!(lines[1], lines[5]);
        assert!(lines[1].starts_with("UPDATE `d`.`u` SET `id`=1"), "{lines:#?}");
        assert!(lines[1].contains("'it''s'") || lines[1].contains("'it\\'s'"), "{lines:#?}");

        let all = ReplayOptions::default();
        let kit = replayed(&log.bytes, Direction::Inverse, all, ReadOptions::default());
        assert_eq!(kit.obstacles.len(), 1, "{:?}", kit.obstacles);
        assert!(kit.obstacles[0].problem.contains("DROP TABLE t"), "{:?}", kit.obstacles);
        let lines = undoing(&kit);
        let at = |text: &str| lines.iter().position(|line| line.starts_with(text)).unwrap();
        assert!(at("INSERT INTO `d`.`t`") < at("UPDATE `d`.`u`"), "{lines:#?}");
        assert!(at("UPDATE `d`.`u`") < at("DELETE FROM `d`.`t`"), "{lines:#?}");
        assert_eq!(lines.iter().filter(|line| line.starts_with("DELETE")).count(), 6);
    }
}

#[test]
fn the_log_is_written_forwards_as_it_happened() {
    for is_mariadb in [false, true] {
        let log = Made::full(is_mariadb);
        let kit = replayed(&log.bytes, Direction::Forward, ReplayOptions::default(), ReadOptions::default());
        let lines: Vec<&str> = kit.text.lines().collect();
        let count = |text: &str| lines.iter().filter(|line| line.starts_with(text)).count();
        assert_eq!((count("INSERT INTO `d`.`t`"), count("UPDATE `d`.`u`")), (6, 3), "{}", kit.text);
        assert_eq!((count("DELETE FROM `d`.`t`"), count("COMMIT"), count("DROP TABLE t")), (3, 3, 1));
        assert!(kit.text.contains("(`id`, `name`) VALUES (-1, NULL)") || kit.text.contains("-1,NULL"));
    }
}

#[test]
fn a_transaction_without_an_end_is_not_undone() {
    let mut log = Made::full(false);
    log.begin();
    log.map(1, "t");
    log.insert(1, &[(Some(77), None)]);
    let options = ReplayOptions { select: tables("d.t"), ..ReplayOptions::default() };
    let kit = replayed(&log.bytes, Direction::Inverse, options, ReadOptions::default());
    assert!(kit.undo.contains(&Undo::Abandoned));
    assert!(!undoing(&kit).iter().any(|line| line.contains("77")));
    assert_eq!(counted(&log.bytes, ReadOptions::default()).total.unfinished, 1);
}

fn found(log: &[u8], actions: &[Action], condition: Option<&str>, rows_min: u64) -> Vec<Match> {
    let predicate = condition.map(|text| text.parse().unwrap());
    let select = Select::default();
    let mut finder =
        Finder::new(FindOptions { select, actions: actions.to_vec(), rows_min, predicate, schema: None });
    finder.begin_log("log", true, true);
    let mut matches = Vec::new();
    let mut take = |found: Match| matches.push(found);
    walk(log, ReadOptions::default(), &mut Tables::default(), |item| finder.see(item, &mut take)).unwrap();
    finder.finish(&mut take);
    matches
}

#[test]
fn the_event_that_did_it_is_found_with_what_to_stop_before() {
    for is_mariadb in [false, true] {
        let log = Made::full(is_mariadb);
        let drops = found(&log.bytes, &[Action::Drop], None, 1);
        assert_eq!(drops.len(), 1);
        assert_eq!(drops[0].tables, ["d.t"]);
        let events = &log.offsets;
        assert_eq!(drops[0].position, u64::try_from(events[events.len() - 2]).unwrap());
        assert_eq!(drops[0].thread_id, Some(9));
        let rows = found(&log.bytes, &[Action::Insert, Action::Delete], Some("id = 2 and name like 'a%'"), 1);
        assert_eq!(
            rows.iter().map(|it| (it.action, it.rows)).collect::<Vec<_>>(),
            [(Action::Insert, Some(1)), (Action::Delete, Some(1))]
        );
        assert_eq!(found(&log.bytes, &[Action::Insert], None, 3), []);
        assert_eq!(found(&log.bytes, &[Action::Insert], None, 2).len(), 3);
    }
}

#[test]
fn a_stream_that_begins_late_keeps_its_offsets() {
    let log = Made::full(false);
    let cut = log.offsets[8];
    let late = [&log.bytes[..log.offsets[1]], &log.bytes[cut..]].concat();
    let mut offsets = Vec::new();
    let options = ReadOptions { is_stream: true, ..ReadOptions::default() };
    walk(&late[..], options, &mut Tables::default(), |item| {
        offsets.push(usize::try_from(item.offset).unwrap());
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    assert_eq!(offsets, [&[4], &log.offsets[8..]].concat());
}

#[test]
fn statements_bring_what_they_need_of_their_session() {
    let mut log = Made::new(true);
    log.alone("CREATE DATABASE d");
    log.begin();
    log.event(5, &[2, 41, 0, 0, 0, 0, 0, 0, 0]);
    log.event(13, &[[7, 0, 0, 0, 0, 0, 0, 0], [8, 0, 0, 0, 0, 0, 0, 0]].concat());
    log.event(14, &[&[1, 0, 0, 0, b'v', 0, 0, 45, 0, 0, 0, 2, 0, 0, 0][..], b"it"].concat());
    log.statement("INSERT INTO t VALUES (NULL, RAND(), @v)");
    log.commit();
    log.begin();
    log.statement("INSERT INTO t VALUES (5)");
    log.commit();
    log.alone("DROP DATABASE d");
    let kit = replayed(&log.bytes, Direction::Forward, ReplayOptions::default(), ReadOptions::default());
    assert_eq!(kit.obstacles, []);
    let lines: Vec<&str> = kit
        .text
        .lines()
        .filter(|it| !it.is_empty() && !it.starts_with("--") && !it.contains("TIMESTAMP"))
        .collect();
    assert_eq!(
        lines,
        [
            // It is not there yet: there is nothing to USE.
            "CREATE DATABASE d;",
            "START TRANSACTION;",
            "USE `d`;",
            "SET INSERT_ID=41;",
            "SET RAND_SEED1=7,RAND_SEED2=8;",
            "SET @`v`='it';",
            "INSERT INTO t VALUES (NULL, RAND(), @v);",
            "COMMIT;",
            "START TRANSACTION;",
            "INSERT INTO t VALUES (5);",
            "COMMIT;",
            "DROP DATABASE d;",
        ]
    );

    log.begin();
    log.event(
        18,
        &[&[9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0][..], &[0; 13], b"d\0LOAD DATA INFILE 'x' INTO TABLE t"]
            .concat(),
    );
    log.commit();
    let kit = replayed(&log.bytes, Direction::Forward, ReplayOptions::default(), ReadOptions::default());
    assert!(kit.obstacles[0].problem.contains("file that SQL cannot hold"), "{:?}", kit.obstacles);
}

#[test]
fn what_was_rolled_back_is_neither_done_nor_undone_again() {
    let mut log = Made::full(true);
    log.begin();
    log.map(1, "t");
    log.insert(1, &[(Some(77), None)]);
    log.statement("ROLLBACK");
    let select = || ReplayOptions { select: tables("d.t"), ..ReplayOptions::default() };
    let kit = replayed(&log.bytes, Direction::Inverse, select(), ReadOptions::default());
    assert!(kit.obstacles.iter().any(|it| it.problem.contains("rolled back")), "{:?}", kit.obstacles);
    assert!(!undoing(&kit).iter().any(|line| line.contains("77")));
    let kit = replayed(&log.bytes, Direction::Forward, select(), ReadOptions::default());
    assert!(kit.text.trim_end().ends_with("ROLLBACK;"), "{}", kit.text);
}

#[test]
fn a_condition_finds_its_columns_in_the_schema() {
    // A table map of INT and VARCHAR without any names.
    let mut log = Made::new(true);
    log.begin();
    log.event(19, &[1, 0, 0, 0, 0, 0, 1, 0, 1, b'd', 0, 1, b't', 0, 2, 3, 15, 2, 100, 0, 3]);
    log.insert(1, &[(Some(1), Some("a")), (Some(2), Some("b"))]);
    log.commit();
    let mut schema = Schema::default();
    schema.read_script("CREATE TABLE d.t (id int primary key, name varchar(100))", "");
    for (schema, rows, unknown) in [(Some(schema), 1, 0), (None, 0, 1)] {
        let predicate = Some("name = 'b'".parse().unwrap());
        let options = FindOptions {
            select: Select::default(),
            actions: vec![Action::Insert],
            rows_min: 1,
            predicate: predicate.clone(),
            schema: schema.clone(),
        };
        let mut finder = Finder::new(options);
        let mut found = 0;
        let mut take = |it: Match| found += it.rows.unwrap();
        walk(&log.bytes[..], ReadOptions::default(), &mut Tables::default(), |item| {
            finder.see(item, &mut take)
        })
        .unwrap();
        assert_eq!((found, finder.unknown_columns().len()), (rows, unknown));

        let mut replay =
            Replay::new(ReplayOptions { predicate, schema, ..ReplayOptions::default() }, Direction::Inverse);
        let mut kit = Kit::default();
        replay.begin_log("log", true, true);
        walk(&log.bytes[..], ReadOptions::default(), &mut Tables::default(), |item| {
            replay.see(item, &mut kit)
        })
        .unwrap();
        let undone = kit.undo.iter().filter(|it| matches!(it, Undo::Row(..))).count();
        assert_eq!((u64::try_from(undone).unwrap(), replay.unknown_columns().len()), (rows, unknown));
    }
}
