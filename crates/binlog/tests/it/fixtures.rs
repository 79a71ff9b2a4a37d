//! The logs kept beside the project, of MySQL 9.7 and MariaDB 10.11: every event and every row decodes.

use std::ops::ControlFlow;
use std::path::PathBuf;

use binlog::{Event, EventKind, ReadOptions, Tables, Value, Walked, walk};

/// The bytes of a kept log; none with a printed reason where it is absent.
pub(crate) fn fixture(name: &str) -> Option<Vec<u8>> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/binlog")).join(name);
    let found = std::fs::read(&path);
    if found.is_err() {
        println!("SKIPPED: {} is not here", path.display());
    }
    found.ok()
}

/// Every event as a line; rows with their values.
fn lines(log: &[u8]) -> (Vec<String>, Walked) {
    let mut lines = Vec::new();
    let walked = walk(log, ReadOptions::default(), &mut Tables::default(), |item| {
        let kind = item.header.kind;
        let inner = if item.is_inner { "  " } else { "" };
        match item.event()? {
            Event::Rows(_) => {
                let (rows, table) = item.rows()?.unwrap();
                let mut counted = 0;
                for row in rows.decode(table)? {
                    let row = row?;
                    lines.push(format!(
                        "{inner}{kind} {}.{} {:?} {:?}",
                        table.database, table.name, row.before, row.after
                    ));
                    counted += 1;
                }
                assert_eq!(rows.count(table)?, counted);
            }
            Event::Query(query) => lines.push(format!("{inner}{kind} {}", query.text())),
            Event::RowsStatement(text) => {
                lines.push(format!("{inner}{kind} {}", String::from_utf8_lossy(text)))
            }
            Event::Start(start) => lines.push(format!("{inner}{kind} {}", start.gtid.unwrap())),
            other => lines.push(format!("{inner}{kind} {other:?}")),
        }
        Ok(ControlFlow::Continue(()))
    });
    (lines, walked.unwrap())
}

#[test]
fn dump() {
    for name in ["mysql97-features.000003", "mysql97-a.000002", "mariadb1011-compressed.000003"] {
        let Some(log) = fixture(name) else { return };
        let (lines, walked) = lines(&log);
        println!("{}\n{walked:?}\n", lines.join("\n"));
    }
}
