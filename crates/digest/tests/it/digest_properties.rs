//! What holds for any bytes: nothing panics, and neither parts nor their order change what comes out.

use digest::event::{LogReader as _, Position};
use digest::report::{Options, Report};
use digest::slow::{Inherited, RECORD_BYTES_MAX, SlowLog, last_cut};
use digest::{Digest, Settings};
use proptest::prelude::*;

/// Pieces of which slow logs are made, whole and torn.
fn piece() -> impl Strategy<Value = String> {
    let time = (0_u32..60, 0_u32..2).prop_map(|(second, t)| {
        if t == 0 {
            format!("# Time: 240102  3:04:{second:02}\n")
        } else {
            format!("# Time: 2024-01-02T03:04:{second:02}.1Z\n")
        }
    });
    let account =
        "[a-c]{0,2}".prop_map(|user| format!("# User@Host: {user}[{user}] @ h [127.0.0.1]  Id:     8\n"));
    let numbers = (0_u32..5_000_000, 0_u64..1000).prop_map(|(time, rows)| {
        format!(
            "# Query_time: {}.{:06}  Lock_time: 0.000001 Rows_sent: {rows}  Rows_examined: {rows}\n",
            time / 1_000_000,
            time % 1_000_000
        )
    });
    let statement = (0_u32..9)
        .prop_map(|number| format!("SET timestamp=1;\nselect a from t{number}\nwhere b={number};\n"));
    let whole =
        (account.clone(), numbers.clone(), statement.clone()).prop_map(|(a, b, c)| format!("{a}{b}{c}"));
    prop_oneof![
        8 => whole,
        2 => time,
        1 => account,
        1 => numbers,
        1 => statement,
        1 => Just("use d1;\n".to_owned()),
        1 => Just("# Thread_id: 5  Schema: s1  QC_hit: No\n".to_owned()),
        1 => Just("# Thread_id: 5  Schema:   QC_hit: Yes  Odd: x\n".to_owned()),
        1 => Just("# administrator command: Quit;\n".to_owned()),
        1 => Just("/usr/sbin/mysqld, Version: 8.0 (x). started with:\nTcp port: 3306  Unix socket: s\nTime                 Id Command    Argument\n".to_owned()),
        1 => Just("select 'a;\n# b'\n# Time: x".to_owned()),
        1 => "[ -~\n]{0,40}",
    ]
}

fn log() -> impl Strategy<Value = Vec<u8>> {
    (
        proptest::collection::vec(piece(), 0..40),
        proptest::collection::vec(any::<u8>(), 0..20),
        any::<prop::sample::Index>(),
    )
        .prop_map(|(pieces, noise, place)| {
            let mut bytes = pieces.concat().into_bytes();
            let at = if bytes.is_empty() { 0 } else { place.index(bytes.len()) };
            if noise.len() % 3 == 0 {
                bytes.splice(at..at, noise);
            }
            bytes
        })
}

fn digest_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> (Digest, u64) {
    let mut digest = Digest::new(Settings::default());
    let mut slow = SlowLog::default();
    for part in parts {
        slow.feed(part, &mut digest);
    }
    slow.finish(&mut digest);
    digest.skip(slow.skipped());
    (digest, slow.position().offset)
}

fn shown(digest: &Digest) -> String {
    let options = Options { limit: "100%".parse().unwrap(), ..Options::default() };
    serde_json::to_string_pretty(&Report::new(digest, options)).unwrap()
}

proptest! {
    #[test]
    fn parts_do_not_matter(bytes in log(), sizes in proptest::collection::vec(1_usize..60, 1..8)) {
        let (whole, read) = digest_of([&bytes[..]]);
        prop_assert_eq!(read, bytes.len() as u64);
        let mut parts = Vec::new();
        let mut rest = &bytes[..];
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (part, left) = rest.split_at((*size).min(rest.len()));
            parts.push(part);
            rest = left;
        }
        let (of_parts, read) = digest_of(parts);
        prop_assert_eq!(read, bytes.len() as u64);
        prop_assert_eq!(shown(&of_parts), shown(&whole));
    }

    #[test]
    fn any_bytes_are_read(bytes: Vec<u8>) {
        let (digest, read) = digest_of([&bytes[..]]);
        prop_assert_eq!(read, bytes.len() as u64);
        prop_assert!(digest.classes().is_empty() || !bytes.is_empty());
    }

    #[test]
    fn nothing_is_lost_in_silence(bytes in log()) {
        let (digest, _) = digest_of([&bytes[..]]);
        let statements = bytes.windows(8).filter(|text| text == b"\nwhere b").count() as u64;
        let events: u64 = digest.classes().iter().map(digest::class::Class::count).sum();
        // A torn record may swallow the statement behind it, but then it is counted in one way or the other.
        prop_assert!(events + digest.skipped().records > 0 || statements == 0);
    }

    #[test]
    fn a_log_may_be_cut_and_read_apart(bytes in log(), places: Vec<prop::sample::Index>) {
        let (whole, _) = digest_of([&bytes[..]]);
        let mut sum = Digest::new(Settings::default());
        let mut inherited = Inherited::default();
        let mut from = 0;
        let mut ends: Vec<usize> = places.iter().filter(|_| !bytes.is_empty()).map(|place| place.index(bytes.len())).collect();
        ends.sort_unstable();
        let ends: Vec<usize> = ends.iter().filter_map(|end| last_cut(&bytes[..*end])).chain([bytes.len()]).collect();
        for end in ends {
            if end <= from && end < bytes.len() {
                continue;
            }
            let part = &bytes[from..end];
            let mut digest = Digest::new(Settings::default());
            let mut slow = SlowLog::new(Position { file: 0, offset: from as u64 }, inherited.clone());
            slow.feed(part, &mut digest);
            slow.finish(&mut digest);
            digest.skip(slow.skipped());
            sum.merge(&digest);
            inherited = inherited.behind(part);
            prop_assert_eq!(&inherited, slow.inherited(), "{}", String::from_utf8_lossy(part));
            from = end;
        }
        prop_assert_eq!(shown(&sum), shown(&whole), "{}", String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn the_order_of_merging_does_not_matter(logs in proptest::collection::vec(log(), 1..5)) {
        let digests: Vec<Digest> = logs.iter().map(|bytes| digest_of([&bytes[..]]).0).collect();
        let merged = |digests: &mut dyn Iterator<Item = &Digest>| {
            let mut sum = Digest::new(Settings::default());
            digests.for_each(|digest| sum.merge(digest));
            shown(&sum)
        };
        prop_assert_eq!(merged(&mut digests.iter()), merged(&mut digests.iter().rev()));
    }
}

#[test]
fn a_record_of_any_length_is_one_event() {
    let head = "# User@Host: a[a] @ h []\n# Query_time: 1.5  Lock_time: 0 Rows_sent: 0  Rows_examined: 0\nSET timestamp=1;\n";
    let after = "# User@Host: b[b] @ h []\n# Query_time: 2.5  Lock_time: 0 Rows_sent: 0  Rows_examined: 0\nSET timestamp=1;\nselect 2;\n";
    for extra in [0, 1, 15, 16, 17, 100, RECORD_BYTES_MAX] {
        for line in ["x", "y\n", "# Time: 24"] {
            let length = RECORD_BYTES_MAX - head.len() + extra;
            let filler: String = line.chars().cycle().take(length).collect();
            let log = format!("{head}insert into t values ('{filler}');\n{after}");
            let expected = (length + "insert into t values ('')".len()) as u64;
            let mut answers = Vec::new();
            for size in [7, 4096, 1 << 20, log.len()] {
                let (digest, read) = digest_of(log.as_bytes().chunks(size));
                assert_eq!(read, log.len() as u64);
                let lengths: Vec<u64> = digest
                    .classes()
                    .iter()
                    .filter_map(|class| class.worst())
                    .map(|worst| worst.statement_bytes)
                    .collect();
                if line == "y\n" || line == "x" {
                    assert_eq!(lengths, [expected, 8], "{extra} {line:?} {size}");
                    let is_cut = log.len() - after.len() > RECORD_BYTES_MAX;
                    assert_eq!(digest.skipped().long_statements, u64::from(is_cut));
                }
                answers.push(shown(&digest));
            }
            assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{extra} {line:?}");
        }
    }
}
