//! The digest: classes of events, filled by a log's reader. Parts of a log may be digested apart and merged.

use hashbrown::HashTable;
use sqltext::{Fingerprinter, Rules};

use crate::amount::Amount;
use crate::attribute::{Attribute, Names};
use crate::class::Class;
use crate::event::{Event, Sink};
use crate::filter::{Asked, Filter};
use crate::period::Bound;
use crate::slow::Skipped;
use crate::timeline::Timeline;

/// Classes that are kept apart unless told otherwise.
pub const CLASSES_MAX: usize = 100_000;

/// Bytes of a statement in which its tables are looked for: the rest of a long one is values.
const WORDS_BYTES_MAX: usize = 64 << 10;

/// What events of a class have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupBy {
    /// The fingerprint.
    #[default]
    Fingerprint,
    /// The account.
    User,
    /// The host it comes from.
    Host,
    /// The database.
    Db,
    /// The tables it names.
    Tables,
    /// Its verbs and tables.
    Distill,
}

/// How events are put into classes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What events of a class have in common.
    pub group_by: GroupBy,
    /// Whose fingerprints.
    pub rules: Rules,
    /// The number by which the worst event of a class is told.
    pub worst_by: String,
    /// Classes kept apart; events of others are counted together.
    pub classes_max: usize,
    /// Only events that it admits.
    pub filter: Option<Filter>,
    /// Only events logged at or after this.
    pub since: Option<Bound>,
    /// Only events logged before it.
    pub until: Option<Bound>,
    /// Only so many events of each class, the first.
    pub sample: Option<u64>,
    /// Keep a timeline whose slots are at least so many seconds long.
    pub timeline_seconds: Option<u32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            group_by: GroupBy::default(),
            rules: Rules::default(),
            worst_by: "Query_time".to_owned(),
            classes_max: CLASSES_MAX,
            filter: None,
            since: None,
            until: None,
            sample: None,
            timeline_seconds: None,
        }
    }
}

/// Classes of events.
#[derive(Debug)]
pub struct Digest {
    settings: Settings,
    names: Names,
    worst_by: Attribute,
    fingerprinter: Fingerprinter,
    words: Words,
    classes: Vec<Class>,
    /// Finds classes by the hash of their key.
    index: HashTable<u32>,
    /// Events of classes that came when there was no room.
    others: Option<Class>,
    skipped: Skipped,
    filter: Option<Asked>,
    /// Events that the settings do not admit.
    left_out: u64,
    timeline: Option<Timeline>,
}

impl Digest {
    /// An empty digest.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let mut names = Names::default();
        let worst_by = names.attribute(settings.worst_by.as_bytes()).unwrap_or(Attribute::QUERY_TIME);
        Self {
            fingerprinter: Fingerprinter::new(settings.rules),
            filter: settings.filter.clone().map(|filter| Asked::new(filter, settings.rules)),
            words: Words::default(),
            left_out: 0,
            timeline: settings.timeline_seconds.map(Timeline::new),
            settings,
            names,
            worst_by,
            classes: Vec::new(),
            index: HashTable::new(),
            others: None,
            skipped: Skipped::default(),
        }
    }

    /// Adds what another digest, with the same settings, counted.
    pub fn merge(&mut self, other: &Self) {
        self.skipped.merge(&other.skipped);
        let mut unnamed = 0;
        let mut known = |attribute: Attribute| {
            let known = self.names.attribute(other.names.name(attribute).as_bytes());
            unnamed += u64::from(known.is_none());
            known
        };
        for class in &other.classes {
            let at = find_or_add(&mut self.classes, &mut self.index, class.key(), self.settings.classes_max);
            let mine = match at.and_then(|at| self.classes.get_mut(at)) {
                Some(mine) => mine,
                None => self.others.get_or_insert_with(|| Class::new(b"")),
            };
            mine.merge(class, &mut known);
        }
        if let Some(others) = &other.others {
            self.others.get_or_insert_with(|| Class::new(b"")).merge(others, &mut known);
        }
        self.skipped.values += unnamed;
        self.left_out += other.left_out;
        if let (Some(mine), Some(theirs)) = (&mut self.timeline, &other.timeline) {
            mine.merge(theirs);
        }
    }

    /// Notes what the reader of the log skipped.
    pub const fn skip(&mut self, skipped: &Skipped) {
        self.skipped.merge(skipped);
    }

    /// The classes, in the order in which they came.
    #[must_use]
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// Events of the classes beyond those kept apart.
    #[must_use]
    pub const fn others(&self) -> Option<&Class> {
        self.others.as_ref()
    }

    /// The names of attributes.
    #[must_use]
    pub const fn attributes(&self) -> &Names {
        &self.names
    }

    /// How events are put into classes.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What was skipped.
    #[must_use]
    pub const fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    /// How many events the settings did not admit.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The timeline, if the settings ask for one.
    #[must_use]
    pub const fn timeline(&self) -> Option<&Timeline> {
        self.timeline.as_ref()
    }

    /// Whether the settings admit an event.
    fn admits(&mut self, event: &Event<'_>) -> bool {
        let Settings { since, until, .. } = self.settings;
        if since.is_some() || until.is_some() {
            // What has no time is in no period.
            let Some(moment) = event.moment else { return false };
            if since.is_some_and(|since| since.is_behind(moment))
                || until.is_some_and(|until| !until.is_behind(moment))
            {
                return false;
            }
        }
        self.filter.as_mut().is_none_or(|filter| filter.admits(event, &self.names))
    }

    /// Takes many events of one statement, of which only the sums of their numbers are known, and perhaps how many took
    /// how long. `event` has their means.
    pub fn take_many(
        &mut self,
        event: &Event<'_>,
        many: u64,
        sums: &[(Attribute, Amount)],
        times: &[(Amount, u64)],
    ) {
        if !self.admits(event) {
            self.left_out += many;
            return;
        }
        let worst_by = self.worst_by;
        self.class_of(event).add_many(event, many, sums, times, worst_by);
    }

    /// The class of an event, new or known; the one of all others when there is no room.
    fn class_of(&mut self, event: &Event<'_>) -> &mut Class {
        let key = match self.settings.group_by {
            GroupBy::Fingerprint => self.fingerprinter.fingerprint(event.statement),
            GroupBy::User => event.user.unwrap_or_default(),
            GroupBy::Host => event.host.unwrap_or_default(),
            GroupBy::Db => event.db.unwrap_or_default(),
            GroupBy::Tables | GroupBy::Distill => self.words.of(self.settings.group_by, event.statement),
        };
        let at = find_or_add(&mut self.classes, &mut self.index, key, self.settings.classes_max);
        match at.and_then(|at| self.classes.get_mut(at)) {
            Some(class) => class,
            None => self.others.get_or_insert_with(|| Class::new(b"")),
        }
    }

    /// All classes as one.
    #[must_use]
    pub fn total(&self) -> Class {
        let mut total = Class::new(b"");
        for class in self.classes.iter().chain(&self.others) {
            total.merge(class, Some);
        }
        total
    }
}

impl Sink for Digest {
    fn names(&mut self) -> &mut Names {
        &mut self.names
    }

    fn take(&mut self, event: &Event<'_>) {
        if !self.admits(event) {
            self.left_out += 1;
            return;
        }
        let (sample, worst_by) = (self.settings.sample, self.worst_by);
        let class = self.class_of(event);
        if let Some(sample) = sample
            && class.count() >= sample
        {
            self.left_out += 1;
            return;
        }
        class.add(event, worst_by);
        if let (Some(timeline), Some(moment)) = (&mut self.timeline, event.moment) {
            timeline.add(moment.seconds, event.amount(Attribute::QUERY_TIME).unwrap_or_default());
        }
    }
}

/// What a statement is about, in words. Its buffer is used again.
#[derive(Debug, Default)]
struct Words(String);

impl Words {
    fn of(&mut self, group_by: GroupBy, statement: &[u8]) -> &[u8] {
        let statement = statement.get(..WORDS_BYTES_MAX).unwrap_or(statement);
        let statement = String::from_utf8_lossy(statement);
        self.0 = match group_by {
            GroupBy::Tables => sqltext::table_names(&statement).join(", "),
            GroupBy::Fingerprint | GroupBy::User | GroupBy::Host | GroupBy::Db | GroupBy::Distill => {
                sqltext::distill(&statement)
            }
        };
        self.0.as_bytes()
    }
}

/// Any hash will do: the number of classes is bounded, and so is what a bad one costs.
fn hash(key: &[u8]) -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    let mut hasher = foldhash::fast::FixedState::with_seed(0).build_hasher();
    hasher.write(key);
    hasher.finish()
}

/// The place of the class of a key; `None` when there is no room for a new one.
fn find_or_add(
    classes: &mut Vec<Class>,
    index: &mut HashTable<u32>,
    key: &[u8],
    max: usize,
) -> Option<usize> {
    let wanted = hash(key);
    let is_key = |at: &u32| classes.get(*at as usize).is_some_and(|class| class.key() == key);
    if let Some(at) = index.find(wanted, is_key) {
        return Some(*at as usize);
    }
    let at = u32::try_from(classes.len()).ok().filter(|at| (*at as usize) < max)?;
    classes.push(Class::new(key));
    index.insert_unique(wanted, at, |at| classes.get(*at as usize).map_or(0, |class| hash(class.key())));
    Some(at as usize)
}
