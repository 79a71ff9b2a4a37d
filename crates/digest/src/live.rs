//! What a running server counts of its statements, as differences between two looks at its counters; and what it runs
//! at this moment, seen often enough to tell how long each statement took.
//!
//! Counters that went back were reset in between: then what they show is what came since.

use std::collections::HashMap;

use crate::amount::Amount;
use crate::attribute::Attribute;
use crate::digest::Digest;
use crate::event::{Event, Moment, Sink as _};

/// Picoseconds in a millionth of a second.
const PICOS_PER_MICRO: u128 = 1_000_000;
/// The longest statement that is remembered of the process list.
const STATEMENT_BYTES_MAX: usize = 64 << 10;

/// The counters of one digest of `performance_schema`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// A statement with its literals, where the server keeps one, else the digest's own text.
    pub statement: String,
    /// How many statements.
    pub count: u64,
    /// Their numbers: names as in a slow log, times in picoseconds for names that end with `_time`.
    pub sums: Vec<(&'static str, u64)>,
    /// How many took how long: the upper bound in picoseconds, and how many.
    pub times: Vec<(u64, u64)>,
}

/// What identifies a digest: the database and the server's own id; none for those beyond what the server keeps.
pub type CountersKey = (Option<String>, Option<String>);

/// The server's counters at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// By digest.
    pub digests: HashMap<CountersKey, Counters>,
}

/// Adds to a digest what came between two looks. Gives how many counters had been reset.
pub fn add_between(before: &Snapshot, after: &Snapshot, moment: Moment, digest: &mut Digest) -> u64 {
    let mut resets = 0;
    let none = Counters::default();
    let mut keys: Vec<&CountersKey> = after.digests.keys().collect();
    keys.sort();
    for key in keys {
        let Some(now) = after.digests.get(key) else { continue };
        let known = before.digests.get(key).unwrap_or(&none);
        let is_reset = now.count < known.count;
        resets += u64::from(is_reset);
        let then = if is_reset { &none } else { known };
        let count = now.count - then.count;
        if count > 0 {
            add(key, now, then, count, moment, digest);
        }
    }
    // Those that are gone were reset too; what they counted meanwhile is not known.
    resets + before.digests.keys().filter(|key| !after.digests.contains_key(*key)).count() as u64
}

fn add(
    (db, _): &CountersKey,
    now: &Counters,
    then: &Counters,
    count: u64,
    moment: Moment,
    digest: &mut Digest,
) {
    let earlier = |name: &str| then.sums.iter().find(|(it, _)| *it == name).map_or(0, |(_, sum)| *sum);
    let mut sums = Vec::new();
    for (name, sum) in &now.sums {
        let Some(attribute) = digest.names().attribute(name.as_bytes()) else { continue };
        let sum = sum.saturating_sub(earlier(name));
        sums.push((attribute, amount(name, sum)));
    }
    let earlier = |bound: u64| then.times.iter().find(|(it, _)| *it == bound).map_or(0, |(_, many)| *many);
    let times: Vec<(Amount, u64)> = now
        .times
        .iter()
        .map(|(bound, many)| (amount("Query_time", *bound), many.saturating_sub(earlier(*bound))))
        .filter(|(_, many)| *many > 0)
        .collect();
    let means: Vec<(Attribute, Amount)> = sums
        .iter()
        .map(|(attribute, sum)| (*attribute, Amount::from_millionths(sum.millionths() / u128::from(count))))
        .collect();
    let event = Event {
        moment: Some(moment),
        db: db.as_deref().map(str::as_bytes),
        amounts: &means,
        ..Event::new(now.statement.as_bytes())
    };
    digest.take_many(&event, count, &sums, &times);
}

fn amount(name: &str, value: u64) -> Amount {
    if name.ends_with("_time") {
        Amount::from_millionths(u128::from(value) / PICOS_PER_MICRO)
    } else {
        Amount::whole(value)
    }
}

/// A statement in a server's process list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The connection.
    pub thread: u64,
    /// Who.
    pub user: String,
    /// From where, without the port.
    pub host: String,
    /// In which database.
    pub db: Option<String>,
    /// Whole seconds it has run, as the server says.
    pub seconds: u64,
    /// Its text.
    pub statement: String,
}

#[derive(Debug)]
struct Seen {
    running: Running,
    /// May be before the clock's beginning.
    first_millis: i64,
    last_millis: i64,
}

/// Statements that run, seen again and again. One that begins and ends between two looks is not seen at all.
#[derive(Debug, Default)]
pub struct ProcessList {
    seen: HashMap<u64, Seen>,
}

impl ProcessList {
    /// Looks at the list, at so many milliseconds of any clock that does not go back. Statements that are gone have
    /// ended, and go to the digest.
    pub fn look(&mut self, now_millis: i64, list: Vec<Running>, moment: Moment, digest: &mut Digest) {
        let mut current: HashMap<u64, Running> = list.into_iter().map(|it| (it.thread, it)).collect();
        let mut ended: Vec<u64> = Vec::new();
        for (thread, seen) in &mut self.seen {
            let is_same = current.get(thread).is_some_and(|it| {
                // A time that goes back is the next one's of the same text.
                it.statement == seen.running.statement && it.seconds >= seen.running.seconds
            });
            if is_same {
                seen.last_millis = now_millis;
                if let Some(it) = current.remove(thread) {
                    seen.running.seconds = it.seconds;
                }
            } else {
                ended.push(*thread);
            }
        }
        ended.sort_unstable();
        for thread in ended {
            if let Some(seen) = self.seen.remove(&thread) {
                seen.count(moment, digest);
            }
        }
        for (thread, mut running) in current {
            cut(&mut running.statement);
            // What the server says it has run already, and from now on by this clock.
            let run_millis = i64::try_from(running.seconds.saturating_mul(1000)).unwrap_or(i64::MAX);
            let first_millis = now_millis.saturating_sub(run_millis);
            self.seen.insert(thread, Seen { running, first_millis, last_millis: now_millis });
        }
    }

    /// Counts what still runs with the time it has taken so far.
    pub fn finish(&mut self, moment: Moment, digest: &mut Digest) {
        let mut left: Vec<(u64, Seen)> = self.seen.drain().collect();
        left.sort_by_key(|(thread, _)| *thread);
        for (_, seen) in left {
            seen.count(moment, digest);
        }
    }
}

impl Seen {
    fn count(&self, moment: Moment, digest: &mut Digest) {
        let millis = self.last_millis.saturating_sub(self.first_millis).unsigned_abs();
        let time = Amount::from_millionths(u128::from(millis) * 1000);
        let running = &self.running;
        let statement = running.statement.as_bytes();
        let length = Amount::whole(statement.len() as u64);
        digest.take(&Event {
            moment: Some(moment),
            user: Some(running.user.as_bytes()),
            host: Some(running.host.as_bytes()).filter(|host| !host.is_empty()),
            db: running.db.as_deref().map(str::as_bytes),
            thread: Some(running.thread),
            amounts: &[(Attribute::QUERY_TIME, time), (Attribute::QUERY_LENGTH, length)],
            ..Event::new(statement)
        });
    }
}

/// Cuts a text at a character's end.
fn cut(text: &mut String) {
    let mut end = STATEMENT_BYTES_MAX.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    const NOW: Moment = Moment { seconds: 1_795_226_562, has_t: true };

    fn counters(count: u64, micros: u64, times: &[(u64, u64)]) -> Counters {
        Counters {
            statement: "select 1 from t".to_owned(),
            count,
            sums: vec![("Query_time", micros * 1_000_000), ("Rows_sent", count * 2)],
            times: times.to_vec(),
        }
    }

    fn snapshot(counters: Counters) -> Snapshot {
        Snapshot { digests: HashMap::from([((Some("d".to_owned()), Some("abc".to_owned())), counters)]) }
    }

    #[test]
    fn only_what_came_in_between_counts() {
        let mut digest = Digest::new(Settings::default());
        let (second, tenth) = (1_000_000_000_000, 100_000_000_000);
        let before = snapshot(counters(10, 5_000_000, &[(second, 5), (tenth, 5)]));
        let after = snapshot(counters(14, 5_600_000, &[(second, 5), (tenth, 9)]));
        assert_eq!(add_between(&before, &after, NOW, &mut digest), 0);
        let class = &digest.classes()[0];
        let time = class.amount(Attribute::QUERY_TIME).unwrap().summary();
        assert_eq!(
            (class.count(), time.sum, time.max),
            (4, Amount::from_millionths(600_000), Amount::from_millionths(100_000))
        );
        assert!((time.mean - 0.15).abs() < 1e-9);
        assert_eq!(class.amount(Attribute::ROWS_SENT).unwrap().sum(), Amount::whole(8));
        assert_eq!(class.dbs().ranked(), [(&b"d"[..], 4)]);
        // Nothing came.
        assert_eq!(add_between(&after, &after, NOW, &mut digest), 0);
        assert_eq!(digest.classes()[0].count(), 4);
        // The counters were reset.
        assert_eq!(add_between(&after, &snapshot(counters(3, 30, &[])), NOW, &mut digest), 1);
        assert_eq!(digest.classes()[0].count(), 7);
        assert_eq!(add_between(&after, &Snapshot::default(), NOW, &mut digest), 1);
    }

    fn running(thread: u64, seconds: u64, statement: &str) -> Running {
        let (user, host) = ("nova".to_owned(), "web1".to_owned());
        Running { thread, user, host, db: None, seconds, statement: statement.to_owned() }
    }

    #[test]
    fn statements_of_the_process_list_have_the_time_in_which_they_were_seen() {
        let mut digest = Digest::new(Settings::default());
        let mut list = ProcessList::default();
        list.look(
            1000,
            vec![running(1, 0, "select sleep(1)"), running(2, 7, "update t set a = 1")],
            NOW,
            &mut digest,
        );
        list.look(
            1500,
            vec![running(1, 0, "select sleep(1)"), running(2, 8, "update t set a = 1")],
            NOW,
            &mut digest,
        );
        // The first is at the next of the same text, the second is gone.
        list.look(2500, vec![running(1, 1, "select sleep(2)")], NOW, &mut digest);
        list.finish(NOW, &mut digest);
        let times: Vec<(String, u64, String)> = digest
            .classes()
            .iter()
            .map(|class| {
                let sum = class.amount(Attribute::QUERY_TIME).unwrap().sum();
                (String::from_utf8_lossy(class.key()).into_owned(), class.count(), sum.to_string())
            })
            .collect();
        assert_eq!(
            times,
            [
                ("select sleep(?)".to_owned(), 2, "1.500000".to_owned()),
                ("update t set a = ?".to_owned(), 1, "7.500000".to_owned()),
            ]
        );
    }
}
