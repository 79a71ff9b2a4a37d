//! Rows folded by primary key through the public surface alone, as the archive and the rewind do it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use binlog::{Image, ReadOptions, Step, Table, Tables, Tracker, Value, walk};

use crate::made::Made;

/// What a key's row was at first, and what it is at last; none where there is no row.
type Folded = BTreeMap<String, (Option<String>, Option<String>)>;

fn key(table: &Table, image: &Image<'_>) -> String {
    let columns = table.primary_key.as_ref().expect("the made tables log their key");
    let values: Vec<String> = columns.iter().map(|at| image[*at].as_ref().unwrap().shown()).collect();
    format!("{}.{} {}", table.database, table.name, values.join(","))
}

fn shown(image: &Image<'_>) -> String {
    image.iter().flatten().map(Value::shown).collect::<Vec<_>>().join(" ")
}

fn folded(log: &[u8]) -> Folded {
    let (mut tables, mut tracker) = (Tables::default(), Tracker::default());
    let (mut open, mut folded) = (Vec::new(), Folded::new());
    walk(log, ReadOptions::default(), &mut tables, |item| {
        let (step, ends) = tracker.see(item)?;
        match step {
            Step::Begins => open.clear(),
            Step::Rows(rows, table) => {
                for row in rows.decode(table)? {
                    let row = row?;
                    let (before, after) = (row.before.as_ref(), row.whole_after());
                    open.extend(before.map(|image| (key(table, image), Some(shown(image)), None)));
                    open.extend(after.map(|image| (key(table, &image), None, Some(shown(&image)))));
                }
            }
            Step::Outside | Step::Statement(_) | Step::RowsStatement(_) | Step::Inside => {}
        }
        if ends && tracker.take().is_some_and(|transaction| !transaction.is_rolled_back) {
            for (key, before, after) in open.drain(..) {
                folded.entry(key).or_insert((before, None)).1 = after;
            }
        }
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    folded
}

#[test]
fn rows_fold_by_primary_key_and_only_committed_ones() {
    for is_mariadb in [false, true] {
        let mut log = Made::new(is_mariadb);
        log.begin();
        log.map(1, "t");
        log.insert(1, &[(Some(1), Some("a")), (Some(2), Some("b"))]);
        log.update(1, &[((Some(1), Some("a")), (Some(3), Some("c")))]);
        log.commit();
        log.begin();
        log.map(1, "t");
        log.delete(1, &[(Some(2), Some("b"))]);
        log.update(1, &[((Some(9), None), (Some(9), Some("z")))]);
        log.commit();
        log.begin();
        log.map(1, "t");
        log.delete(1, &[(Some(3), Some("c"))]);
        log.statement("ROLLBACK");
        let some = |text: &str| Some(text.to_owned());
        let expected = [
            ("d.t 1", (None, None)),
            ("d.t 2", (None, None)),
            ("d.t 3", (None, some("3 c"))),
            ("d.t 9", (some("9 NULL"), some("9 z"))),
        ];
        let folded = folded(&log.bytes);
        let told: Vec<_> = folded.iter().map(|(key, ends)| (key.as_str(), ends.clone())).collect();
        assert_eq!(told, expected, "MariaDB: {is_mariadb}");
    }
}
