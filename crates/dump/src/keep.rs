//! Retention: which backups stay and which go, and why. It removes nothing and knows no clock: the moment comes in.
//!
//! As `restic` and others count: of the newest N hours, days, weeks or months that have a backup at all, the newest
//! backup stays. A gap in the schedule therefore never costs the last good backup.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// A backup without a manifest may still be under way for so long.
const UNDER_WAY_SECONDS: i64 = 48 * 3600;

/// How many backups of which kinds stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepRules {
    /// The newest ones.
    pub last: u32,
    /// The newest of each of so many hours.
    pub hourly: u32,
    /// The newest of each of so many days (UTC).
    pub daily: u32,
    /// The newest of each of so many weeks, which begin on Monday.
    pub weekly: u32,
    /// The newest of each of so many months.
    pub monthly: u32,
    /// Rewinding stays possible to any moment of so many days, as far as the archive allows.
    pub rewind_days: u32,
}

impl KeepRules {
    /// Whether nothing is said: then everything stays.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.last == 0
            && self.hourly == 0
            && self.daily == 0
            && self.weekly == 0
            && self.monthly == 0
            && self.rewind_days == 0
    }
}

/// How far a backup is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// Not at all since it was written.
    None,
    /// Its files read back as they were written.
    ReadBack,
    /// It was restored, and the restored server looked at.
    Restored,
}

/// A backup that may stay or go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub id: String,
    /// When it was begun.
    pub started: Timestamp,
    /// Whether it has its manifest.
    pub is_complete: bool,
    /// How far it is proven.
    pub proof: Proof,
    /// Whether the archive goes on from it, without a gap until now.
    pub is_archive_base: bool,
}

/// Why a backup stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeptFor {
    /// There are no rules.
    NoRules,
    /// It is one of the newest.
    Last,
    /// The newest of an hour.
    Hourly,
    /// The newest of a day.
    Daily,
    /// The newest of a week.
    Weekly,
    /// The newest of a month.
    Monthly,
    /// The newest of all.
    Newest,
    /// The newest one that read back well.
    NewestReadBack,
    /// The newest one that was restored on trial.
    NewestRestored,
    /// The newest one that the archive goes on from.
    ArchiveBase,
    /// The archive goes on from it through the days that rewinding is promised for.
    RewindBase,
    /// It may be under way.
    UnderWay,
}

impl fmt::Display for KeptFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRules => "no rules are given",
            Self::Last => "one of the last",
            Self::Hourly => "newest of its hour",
            Self::Daily => "newest of its day",
            Self::Weekly => "newest of its week",
            Self::Monthly => "newest of its month",
            Self::Newest => "the newest",
            Self::NewestReadBack => "the newest that read back well",
            Self::NewestRestored => "the newest that was restored on trial",
            Self::ArchiveBase => "the archive goes on from it",
            Self::RewindBase => "rewinding to the promised days begins at it",
            Self::UnderWay => "without a manifest, but it may be under way",
        })
    }
}

/// Why a backup goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GoesFor {
    /// No rule keeps it.
    NoRuleKeepsIt,
    /// It was never finished.
    Unfinished,
}

impl fmt::Display for GoesFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRuleKeepsIt => "no rule keeps it",
            Self::Unfinished => "it has no manifest and is more than two days old",
        })
    }
}

/// What becomes of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays, for these reasons; at least one.
    Stays(Vec<KeptFor>),
    /// It goes.
    Goes(GoesFor),
}

/// Decides for each backup, newest first. Equal moments are ordered by id.
#[must_use]
pub fn decide(backups: &[Candidate], rules: &KeepRules, now: Timestamp) -> Vec<(Candidate, Fate)> {
    let mut sorted = backups.to_vec();
    sorted.sort_by(|left, right| (right.started, &right.id).cmp(&(left.started, &left.id)));
    let mut kept: BTreeMap<usize, Vec<KeptFor>> = BTreeMap::new();
    let mut keep = |at: usize, reason| kept.entry(at).or_default().push(reason);
    let whole: Vec<(usize, &Candidate)> =
        sorted.iter().enumerate().filter(|(_, backup)| backup.is_complete).collect();
    for (at, _) in whole.iter().take(count(rules.last)) {
        keep(*at, KeptFor::Last);
    }
    for (reason, number) in [
        (KeptFor::Hourly, rules.hourly),
        (KeptFor::Daily, rules.daily),
        (KeptFor::Weekly, rules.weekly),
        (KeptFor::Monthly, rules.monthly),
    ] {
        for at in newest_of_each(&whole, number, reason) {
            keep(at, reason);
        }
    }
    let newest = |fits: &dyn Fn(&Candidate) -> bool| whole.iter().find(|(_, it)| fits(it)).map(|(at, _)| *at);
    let promised = now.as_second().saturating_sub(i64::from(rules.rewind_days).saturating_mul(86_400));
    for (reason, at) in [
        (KeptFor::Newest, newest(&|_| true)),
        (KeptFor::NewestReadBack, newest(&|it| it.proof >= Proof::ReadBack)),
        (KeptFor::NewestRestored, newest(&|it| it.proof == Proof::Restored)),
        (KeptFor::ArchiveBase, newest(&|it| it.is_archive_base)),
        (KeptFor::RewindBase, rewind_base(&whole, rules.rewind_days, promised)),
    ] {
        if let Some(at) = at {
            keep(at, reason);
        }
    }
    let fates = sorted.iter().enumerate().map(|(at, backup)| {
        let reasons = kept.remove(&at).unwrap_or_default();
        if rules.is_empty() {
            Fate::Stays(vec![KeptFor::NoRules])
        } else if !reasons.is_empty() {
            Fate::Stays(reasons)
        } else if backup.is_complete {
            Fate::Goes(GoesFor::NoRuleKeepsIt)
        } else if now.as_second().saturating_sub(backup.started.as_second()) < UNDER_WAY_SECONDS {
            Fate::Stays(vec![KeptFor::UnderWay])
        } else {
            Fate::Goes(GoesFor::Unfinished)
        }
    });
    let fates: Vec<Fate> = fates.collect();
    sorted.into_iter().zip(fates).collect()
}

/// The newest base from before the promised days; where there is none, the oldest base of all reaches furthest.
fn rewind_base(whole: &[(usize, &Candidate)], days: u32, promised_seconds: i64) -> Option<usize> {
    if days == 0 {
        return None;
    }
    let mut bases = whole.iter().filter(|(_, backup)| backup.is_archive_base);
    let before = bases.clone().find(|(_, backup)| backup.started.as_second() <= promised_seconds);
    before.or_else(|| bases.next_back()).map(|(at, _)| *at)
}

/// A stretch of time that two backups are in together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Hour(i64),
    Day(Date),
    Week(i16, i8),
    Month(i16, i8),
}

fn slot(started: Timestamp, reason: KeptFor) -> Slot {
    let date = started.to_zoned(TimeZone::UTC).date();
    match reason {
        KeptFor::Hourly => Slot::Hour(started.as_second().div_euclid(3600)),
        KeptFor::Weekly => {
            let week = date.iso_week_date();
            Slot::Week(week.year(), week.week())
        }
        KeptFor::Monthly => Slot::Month(date.year(), date.month()),
        KeptFor::NoRules
        | KeptFor::Last
        | KeptFor::Daily
        | KeptFor::Newest
        | KeptFor::NewestReadBack
        | KeptFor::NewestRestored
        | KeptFor::ArchiveBase
        | KeptFor::RewindBase
        | KeptFor::UnderWay => Slot::Day(date),
    }
}

fn newest_of_each(whole: &[(usize, &Candidate)], number: u32, reason: KeptFor) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    let mut last = None;
    for (at, backup) in whole {
        let slot = slot(backup.started, reason);
        if last == Some(slot) {
            continue;
        }
        if found.len() == count(number) {
            break;
        }
        last = Some(slot);
        found.push(*at);
    }
    found
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn backup(started: &str) -> Candidate {
        Candidate {
            id: started.to_owned(),
            started: at(started),
            is_complete: true,
            proof: Proof::None,
            is_archive_base: false,
        }
    }

    /// Ids that stay, newest first, each with its reasons.
    fn stays(backups: &[Candidate], rules: &KeepRules) -> Vec<(String, Vec<KeptFor>)> {
        decide(backups, rules, at("2026-11-21T18:00:00Z"))
            .into_iter()
            .filter_map(|(backup, fate)| match fate {
                Fate::Stays(reasons) => Some((backup.id, reasons)),
                Fate::Goes(_) => None,
            })
            .collect()
    }

    fn ids(backups: &[Candidate], rules: &KeepRules) -> Vec<String> {
        stays(backups, rules).into_iter().map(|(id, _)| id).collect()
    }

    #[test]
    fn each_rule_keeps_the_newest_of_its_stretch() {
        let none = KeepRules::default();
        let backups: Vec<Candidate> = [
            "2026-11-21T17:30:00Z", // Saturday
            "2026-11-21T17:00:00Z",
            "2026-11-21T16:59:00Z",
            "2026-11-20T23:00:00Z",
            "2026-11-16T01:00:00Z", // Monday of the same week
            "2026-11-15T23:00:00Z", // Sunday of the week before
            "2026-10-31T00:00:00Z",
            "2026-09-01T00:00:00Z",
        ]
        .map(backup)
        .to_vec();
        for (rules, expected) in [
            (KeepRules { last: 2, ..none }, &["2026-11-21T17:30:00Z", "2026-11-21T17:00:00Z"][..]),
            (KeepRules { hourly: 2, ..none }, &["2026-11-21T17:30:00Z", "2026-11-21T16:59:00Z"]),
            (
                KeepRules { daily: 3, ..none },
                &["2026-11-21T17:30:00Z", "2026-11-20T23:00:00Z", "2026-11-16T01:00:00Z"],
            ),
            (KeepRules { weekly: 2, ..none }, &["2026-11-21T17:30:00Z", "2026-11-15T23:00:00Z"]),
            (
                KeepRules { monthly: 9, ..none },
                &["2026-11-21T17:30:00Z", "2026-10-31T00:00:00Z", "2026-09-01T00:00:00Z"],
            ),
            // Weeks before a gap count, too.
            (
                KeepRules { weekly: 3, ..none },
                &["2026-11-21T17:30:00Z", "2026-11-15T23:00:00Z", "2026-10-31T00:00:00Z"],
            ),
        ] {
            assert_eq!(ids(&backups, &rules), expected, "{rules:?}");
        }
        assert_eq!(ids(&backups, &none).len(), backups.len(), "without rules nothing goes");
    }

    #[test]
    fn what_is_proven_and_what_the_archive_needs_stays() {
        let mut backups: Vec<Candidate> =
            (1..=9).map(|day| backup(&format!("2026-11-0{day}T00:00:00Z"))).collect();
        backups[2].proof = Proof::Restored;
        backups[4].proof = Proof::ReadBack;
        backups[1].is_archive_base = true;
        backups[3].is_archive_base = true;
        backups[5].is_archive_base = true;
        let kept = stays(&backups, &KeepRules { last: 1, rewind_days: 17, ..KeepRules::default() });
        let expected = [
            ("2026-11-09T00:00:00Z", vec![KeptFor::Last, KeptFor::Newest]),
            ("2026-11-06T00:00:00Z", vec![KeptFor::ArchiveBase]),
            ("2026-11-05T00:00:00Z", vec![KeptFor::NewestReadBack]),
            ("2026-11-04T00:00:00Z", vec![KeptFor::RewindBase]),
            ("2026-11-03T00:00:00Z", vec![KeptFor::NewestRestored]),
        ];
        assert_eq!(kept, expected.map(|(id, reasons)| (id.to_owned(), reasons)));
        // Nothing is old enough for all days that are promised: the oldest base reaches furthest.
        let kept = ids(&backups, &KeepRules { last: 1, rewind_days: 60, ..KeepRules::default() });
        assert!(kept.contains(&"2026-11-02T00:00:00Z".to_owned()), "{kept:?}");
    }

    #[test]
    fn what_was_never_finished_goes_after_two_days_and_counts_for_nothing() {
        let mut backups = vec![
            backup("2026-11-21T17:00:00Z"),
            backup("2026-11-19T17:00:00Z"),
            backup("2026-11-18T00:00:00Z"),
        ];
        backups[0].is_complete = false;
        backups[1].is_complete = false;
        let rules = KeepRules { last: 1, ..KeepRules::default() };
        let kept = stays(&backups, &rules);
        assert_eq!(kept[0], ("2026-11-21T17:00:00Z".to_owned(), vec![KeptFor::UnderWay]));
        assert_eq!(kept[1].0, "2026-11-18T00:00:00Z");
        let fates = decide(&backups, &rules, at("2026-11-21T18:00:00Z"));
        assert_eq!(fates[1].1, Fate::Goes(GoesFor::Unfinished));
    }

    proptest! {
        #[test]
        fn the_newest_and_the_proven_are_never_lost(
            hours in proptest::collection::vec((0_i64..5000, 0_u8..4, any::<bool>(), any::<bool>()), 1..60),
            counts in proptest::collection::vec(0_u32..5, 6),
        ) {
            let now = at("2026-11-21T18:00:00Z");
            let backups: Vec<Candidate> = hours.iter().enumerate().map(|(number, (hour, proof, base, whole))| Candidate {
                id: format!("b{number:03}"),
                started: now - hour.hours(),
                is_complete: *whole,
                proof: [Proof::None, Proof::None, Proof::ReadBack, Proof::Restored][usize::from(*proof)],
                is_archive_base: *base,
            }).collect();
            let rules = KeepRules {
                last: counts[0], hourly: counts[1], daily: counts[2], weekly: counts[3], monthly: counts[4],
                rewind_days: counts[5],
            };
            let fates = decide(&backups, &rules, now);
            prop_assert_eq!(fates.len(), backups.len());
            let stays = |fits: &dyn Fn(&Candidate) -> bool| {
                let mut fitting = fates.iter().filter(|(it, _)| it.is_complete && fits(it)).peekable();
                fitting.peek().is_none() || fitting.any(|(_, fate)| matches!(fate, Fate::Stays(_)))
            };
            prop_assert!(stays(&|_| true));
            prop_assert!(stays(&|it| it.proof >= Proof::ReadBack));
            prop_assert!(stays(&|it| it.proof == Proof::Restored));
            prop_assert!(stays(&|it| it.is_archive_base));
            // Pruning again, an hour later, after the first has been done, removes at most what has aged out: all
            // that stayed for a count stays as long as nothing new came.
            let left: Vec<Candidate> = fates.iter().filter(|(_, fate)| matches!(fate, Fate::Stays(_)))
                .map(|(it, _)| it.clone()).collect();
            let again = decide(&left, &rules, now);
            prop_assert!(again.iter().all(|(_, fate)| matches!(fate, Fate::Stays(_))), "{:?}", again);
            let most = counts.iter().take(5).map(|count| usize::try_from(*count).unwrap()).sum::<usize>() + 5;
            let whole = left.iter().filter(|it| it.is_complete).count();
            prop_assert!(rules.is_empty() || whole <= most, "{} > {}", whole, most);
        }
    }
}
