//! A class: the events that have something in common, mostly their fingerprint, and what is kept of them.

use crate::amount::Amount;
use crate::attribute::Attribute;
use crate::event::{Event, Moment, Position};
use crate::measure::Measure;
use crate::tally::Tally;

/// Bytes of a statement that are kept as a class's example.
pub const EXAMPLE_BYTES_MAX: usize = 10_000;

/// What is kept of a class.
#[derive(Clone, Debug)]
pub struct Class {
    key: Box<[u8]>,
    count: u64,
    amounts: Vec<(Attribute, Measure)>,
    flags: Vec<(Attribute, Flags)>,
    texts: Vec<(Attribute, Tally)>,
    users: Tally,
    hosts: Tally,
    dbs: Tally,
    first: Option<Moment>,
    last: Option<Moment>,
    worst: Option<Example>,
}

/// How often something was yes or no.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// How often yes.
    pub yes: u64,
    /// How often either.
    pub total: u64,
}

/// One event of a class: the one with the greatest amount of what the digest is ordered by, the last among equals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// What it is the greatest of.
    pub amount: Amount,
    /// Where it stands.
    pub position: Position,
    /// Its text, or its beginning.
    pub statement: Box<[u8]>,
    /// How long its text is.
    pub statement_bytes: u64,
    /// When it was logged.
    pub moment: Option<Moment>,
    /// Who sent it.
    pub user: Option<Box<[u8]>>,
    /// From where.
    pub host: Option<Box<[u8]>>,
    /// In which database.
    pub db: Option<Box<[u8]>>,
    /// Its time in seconds.
    pub query_time: Amount,
}

impl Class {
    pub(crate) fn new(key: &[u8]) -> Self {
        Self {
            key: key.into(),
            count: 0,
            amounts: Vec::new(),
            flags: Vec::new(),
            texts: Vec::new(),
            users: Tally::default(),
            hosts: Tally::default(),
            dbs: Tally::default(),
            first: None,
            last: None,
            worst: None,
        }
    }

    pub(crate) fn add(&mut self, event: &Event<'_>, worst_by: Attribute) {
        self.count += 1;
        let mut worst = Amount::ZERO;
        for (at, (attribute, amount)) in event.amounts.iter().enumerate() {
            if *attribute == worst_by {
                worst = *amount;
            }
            slot(&mut self.amounts, at, *attribute).add(*amount);
        }
        for (at, (attribute, is_yes)) in event.flags.iter().enumerate() {
            let flags = slot(&mut self.flags, at, *attribute);
            flags.yes += u64::from(*is_yes);
            flags.total += 1;
        }
        for (at, (attribute, text)) in event.texts().enumerate() {
            slot(&mut self.texts, at, attribute).add(text);
        }
        for (tally, word) in
            [(&mut self.users, event.user), (&mut self.hosts, event.host), (&mut self.dbs, event.db)]
        {
            if let Some(word) = word {
                tally.add(word);
            }
        }
        if let Some(moment) = event.moment {
            self.span(moment, moment);
        }
        let is_worst =
            self.worst.as_ref().is_none_or(|known| (known.amount, known.position) < (worst, event.position));
        if is_worst {
            self.worst = Some(Example::new(event, worst));
        }
    }

    /// Adds many events of which only sums are known, and perhaps how many took how long. `event` has their means.
    pub(crate) fn add_many(
        &mut self,
        event: &Event<'_>,
        many: u64,
        sums: &[(Attribute, Amount)],
        times: &[(Amount, u64)],
        worst_by: Attribute,
    ) {
        self.count += many;
        for (attribute, sum) in sums {
            let measure = slot(&mut self.amounts, usize::MAX, *attribute);
            if *attribute == Attribute::QUERY_TIME && times.iter().map(|(_, many)| many).sum::<u64>() == many
            {
                measure.add_spread(*sum, times);
            } else {
                measure.add_sum(many, *sum);
            }
        }
        let own = [(&mut self.users, event.user), (&mut self.hosts, event.host), (&mut self.dbs, event.db)];
        for (tally, word) in own {
            if let Some(word) = word {
                tally.add_many(word, many);
            }
        }
        if let Some(moment) = event.moment {
            self.span(moment, moment);
        }
        let worst = event.amount(worst_by).unwrap_or_default();
        if self.worst.as_ref().is_none_or(|known| known.amount <= worst) {
            self.worst = Some(Example::new(event, worst));
        }
    }

    fn span(&mut self, first: Moment, last: Moment) {
        self.first = Some(self.first.map_or(first, |known| known.min(first)));
        self.last = Some(self.last.map_or(last, |known| known.max(last)));
    }

    /// Adds what another counted. `known` gives the attribute that has the name of one of the other's.
    pub(crate) fn merge(&mut self, other: &Self, mut known: impl FnMut(Attribute) -> Option<Attribute>) {
        self.count += other.count;
        for (attribute, measure) in &other.amounts {
            if let Some(attribute) = known(*attribute) {
                slot(&mut self.amounts, usize::MAX, attribute).merge(measure);
            }
        }
        for (attribute, flags) in &other.flags {
            if let Some(attribute) = known(*attribute) {
                let mine = slot(&mut self.flags, usize::MAX, attribute);
                mine.yes += flags.yes;
                mine.total += flags.total;
            }
        }
        for (attribute, tally) in &other.texts {
            if let Some(attribute) = known(*attribute) {
                slot(&mut self.texts, usize::MAX, attribute).merge(tally);
            }
        }
        self.users.merge(&other.users);
        self.hosts.merge(&other.hosts);
        self.dbs.merge(&other.dbs);
        if let (Some(first), Some(last)) = (other.first, other.last) {
            self.span(first, last);
        }
        if let Some(theirs) = &other.worst {
            let rank = |example: &Example| (example.amount, example.position);
            if self.worst.as_ref().is_none_or(|mine| rank(mine) < rank(theirs)) {
                self.worst = Some(theirs.clone());
            }
        }
    }

    /// What its events have in common.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// How many events it has.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Its numbers.
    pub fn amounts(&self) -> impl Iterator<Item = (Attribute, &Measure)> {
        self.amounts.iter().map(|(attribute, measure)| (*attribute, measure))
    }

    /// One of its numbers.
    #[must_use]
    pub fn amount(&self, attribute: Attribute) -> Option<&Measure> {
        self.amounts.iter().find(|(it, _)| *it == attribute).map(|(_, measure)| measure)
    }

    /// What is yes or no of its events.
    pub fn flags(&self) -> impl Iterator<Item = (Attribute, Flags)> {
        self.flags.iter().copied()
    }

    /// The words its events have.
    pub fn texts(&self) -> impl Iterator<Item = (Attribute, &Tally)> {
        self.texts.iter().map(|(attribute, tally)| (*attribute, tally))
    }

    /// Who sent them.
    #[must_use]
    pub const fn users(&self) -> &Tally {
        &self.users
    }

    /// From which hosts.
    #[must_use]
    pub const fn hosts(&self) -> &Tally {
        &self.hosts
    }

    /// In which databases.
    #[must_use]
    pub const fn dbs(&self) -> &Tally {
        &self.dbs
    }

    /// When the first was logged.
    #[must_use]
    pub const fn first(&self) -> Option<Moment> {
        self.first
    }

    /// When the last was logged.
    #[must_use]
    pub const fn last(&self) -> Option<Moment> {
        self.last
    }

    /// The worst of its events.
    #[must_use]
    pub const fn worst(&self) -> Option<&Example> {
        self.worst.as_ref()
    }
}

/// The value of an attribute, which events of a class mostly have at the same place.
#[inline]
fn slot<T: Default>(slots: &mut Vec<(Attribute, T)>, guess: usize, attribute: Attribute) -> &mut T {
    let at = match slots.get(guess) {
        Some((it, _)) if *it == attribute => guess,
        _ => find_slot(slots, attribute),
    };
    // The slot was found or made.
    #[expect(clippy::indexing_slicing, reason = "find_slot gives what is there")]
    &mut slots[at].1
}

fn find_slot<T: Default>(slots: &mut Vec<(Attribute, T)>, attribute: Attribute) -> usize {
    slots.iter().position(|(it, _)| *it == attribute).unwrap_or_else(|| {
        slots.push((attribute, T::default()));
        slots.len() - 1
    })
}

impl Example {
    fn new(event: &Event<'_>, amount: Amount) -> Self {
        let kept = event.statement.get(..EXAMPLE_BYTES_MAX).unwrap_or(event.statement);
        Self {
            amount,
            position: event.position,
            statement: kept.into(),
            statement_bytes: event.statement_bytes,
            moment: event.moment,
            user: event.user.map(Into::into),
            host: event.host.map(Into::into),
            db: event.db.map(Into::into),
            query_time: event.amount(Attribute::QUERY_TIME).unwrap_or_default(),
        }
    }
}
