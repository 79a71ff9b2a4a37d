//! Records of every flavour of slow log, whole and torn: what each becomes.

use super::*;
use crate::attribute::Names;
use crate::event::Event;

/// What a log's events say, one line each.
#[derive(Default)]
struct Lines {
    names: Names,
    lines: Vec<String>,
}

impl Sink for Lines {
    fn names(&mut self) -> &mut Names {
        &mut self.names
    }

    fn take(&mut self, event: &Event<'_>) {
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or(b"-")).into_owned();
        let moment = event.moment.map_or_else(|| "-".to_owned(), |moment| moment.to_string());
        let thread = event.thread.map_or_else(|| "-".to_owned(), |thread| thread.to_string());
        let mut line = format!(
            "{moment} {}@{} {} {thread} {:?}",
            text(event.user),
            text(event.host),
            text(event.db),
            String::from_utf8_lossy(event.statement)
        );
        for (attribute, amount) in event.amounts {
            line.push_str(&format!(" {}={}", self.names.name(*attribute), amount.as_f64()));
        }
        for (attribute, is_yes) in event.flags {
            line.push_str(&format!(" {}={is_yes}", self.names.name(*attribute)));
        }
        for (attribute, word) in event.texts() {
            line.push_str(&format!(" {}={}", self.names.name(attribute), String::from_utf8_lossy(word)));
        }
        self.lines.push(line);
    }
}

fn read(log: &[u8]) -> (Vec<String>, Skipped) {
    let mut lines = Lines::default();
    let mut slow = SlowLog::default();
    slow.feed(log, &mut lines);
    slow.finish(&mut lines);
    assert_eq!(slow.position().offset, log.len() as u64);
    (lines.lines, *slow.skipped())
}

const ACCOUNT: &str = "# User@Host: a[a] @ h [10.0.0.1]  Id:     8\n";
const TIMES: &str = "# Query_time: 1.500000  Lock_time: 0.000002 Rows_sent: 1  Rows_examined: 2\n";

#[test]
fn records_of_every_flavour_are_read() {
    let mysql = "/usr/sbin/mysqld, Version: 9.7.4 (x). started with:\nTcp port: 3306  Unix socket: s\nTime                 Id Command    Argument\n\
        # Time: 2024-01-02T03:04:05.123456Z\n# User@Host: root[root] @ localhost []  Id:     8\n\
        # Query_time: 0.000216  Lock_time: 0.000002 Rows_sent: 1  Rows_examined: 1 Thread_id: 8 Errno: 0 Killed: 0 Bytes_received: 0 \
        Bytes_sent: 56 Read_first: 0 Start: 2024-01-02T03:04:05.000000Z End: 2024-01-02T03:04:05.123456Z\n\
        use db1;\nSET timestamp=1704164645;\nselect 1;\n";
    assert_eq!(
        read(mysql.as_bytes()),
        (vec![
            "2024-01-02T03:04:05 root@localhost db1 8 \"select 1\" Query_time=0.000216 Lock_time=0.000002 Rows_sent=1 \
             Rows_examined=1 Errno=0 Bytes_received=0 Bytes_sent=56 Read_first=0 Query_length=8 Killed=false".to_owned()
        ], Skipped::default())
    );
    let mariadb = "# Time: 240102  3:04:05\n# User@Host: nova[nova] @  [10.0.0.1]\n\
        # Thread_id: 8  Schema: nova  QC_hit: No\n# Query_time: 0.5  Lock_time: 0.25  Rows_sent: 1  Rows_examined: 1\n\
        # Rows_affected: 7  Bytes_sent: 10\n# Full_scan: Yes  Full_join: No  Tmp_table: No  Tmp_table_on_disk: No\n\
        # Filesort: No  Filesort_on_disk: No  Merge_passes: 0  Priority_queue: No\n\
        # explain: id   select_type     table   type\n# explain: 1   SIMPLE  t       ALL\n#\n\
        SET timestamp=1704164645;\nupdate t\nset a = 1;\n# User@Host: nova[nova] @ web []\n# Thread_id: 9  Schema:   QC_hit: No\n\
        # Query_time: 0.5  Lock_time: 0  Rows_sent: 0  Rows_examined: 0\nSET timestamp=1704164645;\n# administrator command: Quit;\n";
    let (lines, skipped) = read(mariadb.as_bytes());
    assert_eq!(
        lines,
        [
            "2024-01-02 03:04:05 nova@10.0.0.1 nova 8 \"update t\\nset a = 1\" Query_time=0.5 Lock_time=0.25 Rows_sent=1 \
             Rows_examined=1 Rows_affected=7 Bytes_sent=10 Merge_passes=0 Query_length=18 QC_hit=false Full_scan=true \
             Full_join=false Tmp_table=false Tmp_table_on_disk=false Filesort=false Filesort_on_disk=false Priority_queue=false",
            "2024-01-02 03:04:05 nova@web nova 9 \"administrator command: Quit\" Query_time=0.5 Lock_time=0 Rows_sent=0 \
             Rows_examined=0 Query_length=27 QC_hit=false",
        ]
    );
    assert_eq!(skipped, Skipped::default());
}

#[test]
fn words_of_percona_s_server_are_counted_apart() {
    let log = format!(
        "{ACCOUNT}# Schema: d  Last_errno: 1062  Killed: 0\n{TIMES}# InnoDB_trx_id: 1F2E  Stored_routine: d.p\nSET timestamp=1;\nselect 1;\n"
    );
    let (lines, skipped) = read(log.as_bytes());
    assert!(
        lines[0].ends_with("Killed=false Last_errno=1062 InnoDB_trx_id=1F2E Stored_routine=d.p"),
        "{lines:?}"
    );
    assert_eq!(skipped, Skipped::default());
}

#[test]
fn what_is_torn_is_counted_and_the_rest_is_read() {
    let whole = |number: u32| format!("{ACCOUNT}{TIMES}SET timestamp=1;\nselect {number};\n");
    let statements = |lines: &[String]| -> Vec<String> {
        lines.iter().map(|line| line.split('"').nth(1).unwrap_or_default().to_owned()).collect()
    };
    for (log, expected, skipped_records) in [
        // The beginning is cut off, as where a log was rotated by copying.
        (format!("elect 0;\n{}", whole(1)), vec!["select 1"], 1),
        // Without an end.
        (format!("{}{ACCOUNT}{TIMES}SET timestamp=1;\nselect 2", whole(1)), vec!["select 1", "select 2"], 0),
        (format!("{}{ACCOUNT}{TIMES}", whole(1)), vec!["select 1"], 1),
        (format!("{}{ACCOUNT}# Query_ti", whole(1)), vec!["select 1"], 1),
        // Two threads wrote at once, as happens on a full disk.
        (format!("{ACCOUNT}{ACCOUNT}{TIMES}SET timestamp=1;\nselect 2;\n"), vec!["select 2"], 0),
        (
            format!("{ACCOUNT}{TIMES}SET timestamp=1;\nsel{}", whole(3)),
            vec![
                "sel# User@Host: a[a] @ h [10.0.0.1]  Id:     8\\n# Query_time: 1.500000  Lock_time: 0.000002 Rows_sent: 1  Rows_examined: 2\\nSET timestamp=1;\\nselect 3",
            ],
            1,
        ),
        // Binary noise between records.
        (
            format!("{}\u{0}\u{1}\u{2}\n{}", whole(1), whole(2)),
            vec!["select 1;\\n\\0\\u{1}\\u{2}", "select 2"],
            0,
        ),
        // A statement that looks like a header.
        (
            format!("{ACCOUNT}{TIMES}SET timestamp=1;\nselect '\n# Query_time: 9\n';\n"),
            vec!["select '\\n# Query_time: 9\\n'"],
            0,
        ),
        (String::new(), vec![], 0),
    ] {
        let (lines, skipped) = read(log.as_bytes());
        assert_eq!(
            (statements(&lines), skipped.records),
            (expected.iter().map(|text| (*text).to_owned()).collect(), skipped_records),
            "{log:?}"
        );
    }
}

#[test]
fn clocks_may_go_back_and_encodings_may_be_any() {
    let log = b"# Time: 240102  3:04:05\n# User@Host: a[a] @ h []\n# Query_time: 1  Lock_time: 0\nselect '\xff\xfe\x80';\n\
        # Time: 230101  0:00:00\n# User@Host: a[a] @ h []\n# Query_time: 1  Lock_time: 0\nselect 2;\n\
        # Time: 999999 99:99:99\n# User@Host: a[a] @ h []\n# Query_time: 1  Lock_time: 0\nselect 3;\n";
    let (lines, skipped) = read(log);
    let times: Vec<&str> = lines.iter().map(|line| &line[..19]).collect();
    // A time that is none leaves the one before.
    assert_eq!(times, ["2024-01-02 03:04:05", "2023-01-01 00:00:00", "2023-01-01 00:00:00"]);
    assert_eq!(skipped.records, 0);
}

#[test]
fn names_that_a_hostile_log_invents_are_bounded() {
    let mut log = String::new();
    for number in 0..5000 {
        log.push_str(&format!("{ACCOUNT}{TIMES}# Made_up_{number}: {number}\nselect 1;\n"));
    }
    let (lines, skipped) = read(log.as_bytes());
    assert_eq!((lines.len(), skipped.values), (5000, 4800));
}
