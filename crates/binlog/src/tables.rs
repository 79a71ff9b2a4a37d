//! The table maps in force: rows name their table by a number that an earlier event has explained.

use std::collections::HashMap;

use crate::error::DecodeError;
use crate::header::Format;
use crate::table::Table;

/// Table maps kept; a statement uses far fewer.
const TABLES_MAX: usize = 4096;
/// Names told apart in one log.
const NAMES_MAX: usize = 1 << 20;
/// Numbers that are looked up without hashing, by their low bits.
const DIRECT: usize = 64;

/// Table maps by number.
#[derive(Debug)]
pub struct Tables {
    known: Vec<(Vec<u8>, Table)>,
    by_id: HashMap<u64, usize>,
    direct: Vec<(u64, usize)>,
    slots: HashMap<(String, String), usize>,
    versions: u64,
    /// The most that were kept at once.
    most: usize,
    /// Whether some were forgotten.
    has_forgotten: bool,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            known: Vec::new(),
            by_id: HashMap::new(),
            direct: vec![(u64::MAX, 0); DIRECT],
            slots: HashMap::new(),
            versions: 0,
            most: 0,
            has_forgotten: false,
        }
    }
}

impl Tables {
    /// The table with this number.
    #[inline]
    #[must_use]
    pub fn find(&self, id: u64) -> Option<&Table> {
        self.at(id).and_then(|at| self.known.get(at)).map(|(_, table)| table)
    }

    /// The table at a place that [`Tables::adopt`] gave.
    #[inline]
    pub(crate) fn nth(&self, at: usize) -> Option<&Table> {
        self.known.get(at).map(|(_, table)| table)
    }

    #[inline]
    fn at(&self, id: u64) -> Option<usize> {
        match self.direct.get(direct(id)) {
            Some((known, at)) if *known == id => Some(*at),
            _ => self.by_id.get(&id).copied(),
        }
    }

    /// Takes a table map over and tells its place. One that is the same as before, which is nearly every one, is not
    /// read again.
    #[inline]
    pub(crate) fn adopt(&mut self, format: &Format, body: &[u8]) -> Result<usize, DecodeError> {
        let id = crate::table::table_id(
            &mut crate::bytes::Bytes::new(body),
            format,
            crate::kind::EventKind::TABLE_MAP,
        )?;
        let same = self.at(id).filter(|at| self.known.get(*at).is_some_and(|(known, _)| known == body));
        let at = match same {
            Some(at) => at,
            None => self.insert(id, format, body)?,
        };
        if let Some(direct) = self.direct.get_mut(direct(id)) {
            *direct = (id, at);
        }
        Ok(at)
    }

    fn insert(&mut self, id: u64, format: &Format, body: &[u8]) -> Result<usize, DecodeError> {
        let mut table = Table::parse(format, body)?;
        if self.known.len() >= TABLES_MAX {
            // Those of the running statement are logged again before its rows only if they come after this one:
            // a statement with thousands of tables does not exist.
            self.forget();
        }
        let names = self.slots.len();
        if names >= NAMES_MAX {
            return Err(DecodeError::Bad("one more table than are told apart"));
        }
        table.slot = *self.slots.entry((table.database.clone(), table.name.clone())).or_insert(names);
        self.versions += 1;
        table.version = self.versions;
        let at = match self.by_id.get(&id) {
            Some(at) => *at,
            None => self.known.len(),
        };
        match self.known.get_mut(at) {
            Some(known) => *known = (body.to_vec(), table),
            None => self.known.push((body.to_vec(), table)),
        }
        self.by_id.insert(id, at);
        self.most = self.most.max(self.known.len());
        Ok(at)
    }

    /// Whether reading on with these would have met no limit that reading with `next` did not meet.
    pub(crate) fn can_take(&self, next: &Self) -> bool {
        self.known.len() + next.most < TABLES_MAX && self.slots.len() + next.slots.len() < NAMES_MAX
    }

    /// Takes over what the part of the log behind this one was read with, and tells the new place of each name.
    pub(crate) fn go_on(&mut self, next: Self) -> Vec<usize> {
        let mut places = vec![0; next.slots.len()];
        for (name, slot) in next.slots {
            let names = self.slots.len();
            if let Some(place) = places.get_mut(slot) {
                *place = *self.slots.entry(name).or_insert(names);
            }
        }
        if next.has_forgotten {
            self.forget();
        }
        for (body, mut table) in next.known {
            self.versions += 1;
            table.version = self.versions;
            table.slot = places.get(table.slot).copied().unwrap_or_default();
            let at = *self.by_id.entry(table.id).or_insert(self.known.len());
            match self.known.get_mut(at) {
                Some(known) => *known = (body, table),
                None => self.known.push((body, table)),
            }
        }
        self.most = self.most.max(next.most).max(self.known.len());
        places
    }

    /// Databases and names of all tables met, each at its place.
    pub(crate) fn names(&self) -> Vec<(&str, &str)> {
        let mut names = vec![("", ""); self.slots.len()];
        for ((database, name), slot) in &self.slots {
            if let Some(place) = names.get_mut(*slot) {
                *place = (database, name);
            }
        }
        names
    }

    /// Forgets numbers, which a restarted server gives anew. Names keep their place.
    pub(crate) fn forget(&mut self) {
        self.known.clear();
        self.by_id.clear();
        self.direct.fill((u64::MAX, 0));
        self.has_forgotten = true;
    }
}

#[inline]
fn direct(id: u64) -> usize {
    usize::try_from(id).unwrap_or(0) & (DIRECT - 1)
}
