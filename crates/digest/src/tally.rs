//! Counts of words: how often each user, host or database was seen. So many words are kept and no more.

/// Words that are kept apart.
const WORDS_MAX: usize = 1000;
/// Longer words are cut: no name on a server is as long.
const WORD_BYTES_MAX: usize = 255;

/// How often each word was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sorted by word.
    words: Vec<(Box<[u8]>, u64)>,
    /// Where the word of last time is.
    last: usize,
    /// How often words were seen that came when there was no room.
    others: u64,
}

impl Tally {
    /// Counts a word.
    #[inline]
    pub fn add(&mut self, word: &[u8]) {
        match self.words.get_mut(self.last) {
            Some((last, count)) if **last == *word => *count += 1,
            _ => self.add_many(word, 1),
        }
    }

    /// Counts a word so many times.
    pub fn add_many(&mut self, word: &[u8], many: u64) {
        let word = word.get(..WORD_BYTES_MAX).unwrap_or(word);
        match self.words.binary_search_by(|(it, _)| (**it).cmp(word)) {
            Ok(at) => {
                self.last = at;
                if let Some((_, count)) = self.words.get_mut(at) {
                    *count += many;
                }
            }
            Err(at) if self.words.len() < WORDS_MAX => {
                self.words.insert(at, (word.into(), many));
                self.last = at;
            }
            Err(_) => self.others += many,
        }
    }

    /// Adds what another counted.
    pub fn merge(&mut self, other: &Self) {
        for (word, count) in &other.words {
            self.add_many(word, *count);
        }
        self.others += other.others;
    }

    /// The words and how often each was seen, most often first, then by word.
    #[must_use]
    pub fn ranked(&self) -> Vec<(&[u8], u64)> {
        let mut ranked: Vec<(&[u8], u64)> =
            self.words.iter().map(|(word, count)| (&**word, *count)).collect();
        ranked.sort_by(|(one, many), (two, more)| more.cmp(many).then(one.cmp(two)));
        ranked
    }

    /// How often words were seen that are not kept apart.
    #[must_use]
    pub const fn others(&self) -> u64 {
        self.others
    }

    /// Whether no word was seen.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.words.is_empty() && self.others == 0
    }

    /// How often words were seen in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.words.iter().map(|(_, count)| count).sum::<u64>() + self.others
    }
}
