//! Logs that somebody spoilt: bits turned, pieces doubled, lost and mixed, by fixed seeds. Whatever comes of them, every
//! byte is read, nothing panics, and the report says the same for parts of any size.

use digest::event::{LogReader, Position};
use digest::filter::Filter;
use digest::general::GeneralLog;
use digest::report::{Options, Report};
use digest::slow::SlowLog;
use digest::{Digest, Settings, render};

/// Logs to spoil: one of each flavour.
const SEEDS: [&str; 4] = [
    "# Time: 2024-01-02T03:04:05.123456Z\n# User@Host: root[root] @ localhost []  Id:     8\n# Query_time: 0.000216  Lock_time: 0.000002 Rows_sent: 1  Rows_examined: 1 Thread_id: 8 Errno: 0 Killed: 0 Bytes_received: 39 Start: 2024-01-02T03:04:05.000000Z End: 2024-01-02T03:04:05.123456Z\nuse db1;\nSET timestamp=1704164645;\nselect * from t where a = 'it''s' and b in (1, 2, 3);\n",
    "# Time: 240102  3:04:05\n# User@Host: nova[nova] @  [10.0.0.1]\n# Thread_id: 8  Schema: nova  QC_hit: No\n# Query_time: 0.5  Lock_time: 0.25  Rows_sent: 1  Rows_examined: 1\n# Full_scan: Yes  Full_join: No\n# explain: id   select_type\n#\nSET timestamp=1704164645;\nupdate t\nset a = 1;\n# administrator command: Quit;\n",
    "/usr/sbin/mysqld, Version: 8.0.36 (x). started with:\nTcp port: 3306  Unix socket: s\nTime                 Id Command    Argument\n",
    "240102  3:04:05\t     8 Connect\tnova@db1 on cloud using Socket\n\t\t     8 Query\tselect *\nfrom t\n2024-01-02T03:04:05.1Z\t    8 Execute\tselect 5\n\t\t 8 Quit\t\n",
];

/// Numbers that look random and are the same each time.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap()
    }
}

fn spoilt(noise: &mut Noise) -> Vec<u8> {
    let mut log = Vec::new();
    for _ in 0..1 + noise.below(8) {
        log.extend_from_slice(SEEDS[noise.below(SEEDS.len())].as_bytes());
    }
    for _ in 0..noise.below(12) {
        let (from, to) = (noise.below(log.len()), noise.below(log.len()));
        let (from, to) = (from.min(to), from.max(to));
        match noise.below(6) {
            0 => log[from] ^= 1 << noise.below(8),
            1 => drop(log.drain(from..to.min(from + 40))),
            2 => {
                let piece = log[from..to.min(from + 200)].to_vec();
                let at = noise.below(log.len());
                log.splice(at..at, piece);
            }
            3 => log.truncate(to.max(1)),
            4 => log.insert(from, [b'\n', 0, 0xff, b'#', b';', b'\t'][noise.below(6)]),
            _ => {
                let digits = noise.next().to_string().repeat(3);
                log.splice(from..from, digits.into_bytes());
            }
        }
        if log.is_empty() {
            log.push(b'#');
        }
    }
    log
}

fn digest_of<R: LogReader + Default>(log: &[u8], part_bytes: usize) -> (Digest, u64) {
    let filter = Filter::parse("not (query ~ 'nothing' and Query_time > 5)").unwrap();
    let mut digest =
        Digest::new(Settings { filter: Some(filter), timeline_seconds: Some(1), ..Settings::default() });
    let mut reader = R::default();
    log.chunks(part_bytes).for_each(|part| reader.feed(part, &mut digest));
    reader.finish(&mut digest);
    digest.skip(reader.skipped());
    let events = reader.events();
    (digest, events)
}

fn check<R: LogReader + Default>(log: &[u8], noise: &mut Noise) {
    let (digest, events) = digest_of::<R>(log, log.len());
    let counted = digest.total().count() + digest.left_out();
    assert_eq!(counted, events, "{}", String::from_utf8_lossy(log));
    let report = |digest: &Digest| {
        Report::new(digest, Options { limit: "100%".parse().unwrap(), ..Options::default() })
    };
    let whole = report(&digest);
    let (in_parts, _) = digest_of::<R>(log, 1 + noise.below(64));
    let shown = serde_json::to_string(&whole).unwrap();
    assert_eq!(serde_json::to_string(&report(&in_parts)).unwrap(), shown, "{}", String::from_utf8_lossy(log));
    // Every layout can be written of it.
    let page = render::html::render(&whole);
    assert!(!page.contains('\0') && page.ends_with("</html>\n"));
    let _ = render::text::render(&whole);
    let _ = render::pt_text::render(&whole);
    let _ = render::pt_json::render(&whole);
    // A log that is its own baseline has not changed.
    let same = digest::baseline::Comparison::new(&digest, &in_parts);
    assert!(same.new.is_empty() && same.slower.is_empty() && same.gone.is_empty());
}

#[test]
fn spoilt_logs_are_read_to_their_end() {
    for seed in 1..=400_u64 {
        let mut noise = Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let log = spoilt(&mut noise);
        check::<SlowLog>(&log, &mut noise);
        check::<GeneralLog>(&log, &mut noise);
        let mut slow = SlowLog::new(Position::default(), digest::slow::Inherited::default());
        let mut digest = Digest::new(Settings::default());
        slow.feed(&log, &mut digest);
        slow.finish(&mut digest);
        assert_eq!(slow.position().offset, log.len() as u64);
    }
}
