//! General logs of both vendors, whole, torn and in parts.

use proptest::prelude::*;

use super::*;
use crate::{Digest, Settings};

const MARIADB: &str = "/usr/sbin/mariadbd, Version: 10.11.19-MariaDB (Debian 12). started with:\nTcp port: 3306  Unix socket: /run/s\nTime\t\t    Id Command\tArgument\n\
240102  3:04:05\t     8 Connect\tnova@db1 on cloud using Socket\n\
\t\t     8 Query\tselect *\nfrom t\nwhere a = 1\n\
\t\t     8 Init DB\tusage\n\
240102  3:04:06\t     8 Query\tselect * from t where a = 2\n\
\t\t     9 Connect\tAccess denied for user 'x'@'y' (using password: NO)\n\
\t\t     8 Quit\t\n\
\t\t     8 Query\tselect * from t where a = 3\n";

const MYSQL: &str = "/usr/sbin/mysqld, Version: 9.7.4 (Debian). started with:\nTcp port: 3306  Unix socket: /run/s\nTime                 Id Command    Argument\n\
2024-01-02T03:04:05.123456Z\t    8 Connect\troot@localhost on  using Socket\n\
2024-01-02T03:04:05.223456Z\t    8 Prepare\tselect a from t where b = ?\n\
2024-01-02T03:04:05.323456Z\t    8 Execute\tselect a from t where b = 5\n\
2024-01-02T03:04:05.423456Z\t    8 Query\tuse `cloud`\n\
2024-01-02T03:04:05.523456Z\t    8 Query\tselect 1\n\
2024-01-02T03:04:05.623456Z\t    8 Close stmt\t\n";

fn digest_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> (Digest, Skipped, u64) {
    let mut digest = Digest::new(Settings::default());
    let mut log = GeneralLog::default();
    for part in parts {
        log.feed(part, &mut digest);
    }
    log.finish(&mut digest);
    (digest, *log.skipped(), log.position.offset)
}

/// Each class: its key, events, users, databases, first and last moment.
fn shown(digest: &Digest) -> Vec<String> {
    let words = |tally: &crate::tally::Tally| {
        tally
            .ranked()
            .iter()
            .map(|(word, _)| String::from_utf8_lossy(word).into_owned())
            .collect::<Vec<_>>()
            .join(",")
    };
    let moment = |moment: Option<Moment>| moment.map_or_else(String::new, |moment| moment.to_string());
    let line = |class: &crate::class::Class| {
        let key = String::from_utf8_lossy(class.key()).into_owned();
        let (users, dbs) = (words(class.users()), words(class.dbs()));
        format!("{key}|{}|{users}|{dbs}|{}|{}", class.count(), moment(class.first()), moment(class.last()))
    };
    digest.classes().iter().map(line).collect()
}

#[test]
fn logs_of_both_vendors_are_read() {
    let (digest, skipped, read) = digest_of([MARIADB.as_bytes()]);
    assert_eq!(
        shown(&digest),
        [
            "administrator command: Connect|1|nova|cloud|2024-01-02 03:04:05|2024-01-02 03:04:05",
            "select * from t where a = ?|3|nova|cloud,usage|2024-01-02 03:04:05|2024-01-02 03:04:06",
            "administrator command: Init DB|1|nova|usage|2024-01-02 03:04:05|2024-01-02 03:04:05",
            "administrator command: Connect, access denied|1|||2024-01-02 03:04:06|2024-01-02 03:04:06",
            "administrator command: Quit|1|nova|usage|2024-01-02 03:04:06|2024-01-02 03:04:06",
        ]
    );
    assert_eq!((skipped, read), (Skipped::default(), MARIADB.len() as u64));
    let (digest, skipped, _) = digest_of([MYSQL.as_bytes()]);
    assert_eq!(skipped, Skipped::default());
    assert_eq!(
        shown(&digest)[2..],
        [
            "select a from t where b=?|1|root||2024-01-02T03:04:05|2024-01-02T03:04:05"
                .replace("b=?", "b = ?"),
            "use ?|1|root|cloud|2024-01-02T03:04:05|2024-01-02T03:04:05".to_owned(),
            "select ?|1|root|cloud|2024-01-02T03:04:05|2024-01-02T03:04:05".to_owned(),
            "administrator command: Close stmt|1|root|cloud|2024-01-02T03:04:05|2024-01-02T03:04:05"
                .to_owned(),
        ]
    );
}

#[test]
fn what_is_no_entry_is_counted() {
    let (digest, skipped, _) =
        digest_of([&b"garbage\nmore\n\t\t     8 Query\tselect 1\n\t\t 8 Query\t\n"[..]]);
    assert_eq!(digest.classes().len(), 1);
    assert_eq!((skipped.records, skipped.bytes), (2, 13 + 12));
}

#[test]
fn a_long_statement_is_counted_in_full() {
    let text = "x".repeat(3 << 20);
    let log = format!("\t\t     8 Query\tselect '{text}'\n\t\t     8 Query\tselect 1 from t\n");
    let (digest, skipped, read) = digest_of([log.as_bytes()]);
    assert_eq!((skipped.long_statements, read), (1, log.len() as u64));
    let worst = digest.classes()[0].worst().unwrap();
    assert_eq!((worst.statement_bytes, digest.classes()[0].count()), ((3 << 20) + 9, 1));
}

proptest! {
    #[test]
    fn parts_do_not_matter(cuts in proptest::collection::vec(1_usize..50, 1..6), noise in "[\t0-9a-zA-Z: \n]{0,80}") {
        let log = [MARIADB, noise.as_str(), MYSQL].concat();
        let (whole, skipped, _) = digest_of([log.as_bytes()]);
        let mut parts = Vec::new();
        let mut rest = log.as_bytes();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (part, left) = rest.split_at((*cut).min(rest.len()));
            parts.push(part);
            rest = left;
        }
        let (of_parts, skipped_of_parts, read) = digest_of(parts);
        prop_assert_eq!(shown(&of_parts), shown(&whole));
        prop_assert_eq!((skipped_of_parts, read), (skipped, log.len() as u64));
    }

    #[test]
    fn any_bytes_are_read(bytes: Vec<u8>) {
        prop_assert_eq!(digest_of([&bytes[..]]).2, bytes.len() as u64);
    }
}
