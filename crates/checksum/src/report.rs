//! What came of a comparison: verdicts and differing rows, as text and as data. Pure.

use std::fmt;

use serde::Serialize;

use crate::column::Column;
use crate::node::Values;
use crate::table::TableName;

/// Bytes of a value that are shown.
const SHOWN_BYTES: usize = 80;

/// How the two sides are brought to one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Piece by piece, the target waited for and what differs looked at again.
    Optimistic,
    /// Snapshots of the same GTID on both.
    Exact,
    /// Galera: the target waits for what was committed in the cluster.
    Galera,
    /// Nobody writes: both are read as they are.
    Static,
}

/// What is known of a table on a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It holds the same.
    Equal,
    /// It does not.
    Differs,
    /// It was written to so often that it could not be told.
    Undecided,
    /// It could not be compared.
    Failed,
}

/// How a table was compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// By one sum of the whole, the servers' own, which does not see every difference.
    ChecksumTable,
    /// By sums of pieces of it, and row by row where they differ.
    Pieces,
}

/// What is the matter with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RowState {
    /// The target does not have it.
    Missing,
    /// Only the target has it.
    Extra,
    /// Both have it, with other values.
    Changed,
}

/// A value as it is shown: text, or bytes in hexadecimal, cut off when long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// No value.
    Null,
    /// Text or a number.
    Text(String),
    /// Bytes in hexadecimal.
    Hex(String),
}

/// A column of a row that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ColumnDifference {
    /// The column.
    pub column: String,
    /// Its value on the source; none if the row is not there.
    pub source: Option<Shown>,
    /// Its value on the target; none if the row is not there.
    pub target: Option<Shown>,
}

/// A row that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RowDifference {
    /// What is the matter.
    pub state: RowState,
    /// Its key's columns and values; empty in a table without a key.
    pub key: Vec<(String, Shown)>,
    /// Of a changed row the columns that differ, else all.
    pub columns: Vec<ColumnDifference>,
    /// How many such rows it stands for, in a table without a key.
    pub times: u64,
}

/// A table on a target.
#[derive(Clone, Debug, Serialize)]
pub struct TableReport {
    /// The table, by its name on the source.
    pub table: TableName,
    /// The target.
    pub target: String,
    /// What is known of it.
    pub verdict: Verdict,
    /// How that became known; none if nothing was compared.
    pub way: Option<Way>,
    /// Rows summed on the source; where the whole was summed at once, as the source estimates.
    pub rows: u64,
    /// Pieces it was summed in; 0 if as a whole.
    pub pieces: u64,
    /// Pieces that differed at first.
    pub looked_at_again: u64,
    /// Rows the target does not have.
    pub missing: u64,
    /// Rows only the target has.
    pub extra: u64,
    /// Rows with other values.
    pub changed: u64,
    /// Rows that were written to so often that it could not be told.
    pub undecided: u64,
    /// Whether there may be more differing rows than were looked for.
    pub cut_short: bool,
    /// The differing rows that are shown.
    pub differences: Vec<RowDifference>,
    /// What else there is to say.
    pub notes: Vec<String>,
}

impl TableReport {
    pub(crate) fn new(table: &TableName, target: &str) -> Self {
        Self {
            table: table.clone(),
            target: target.to_owned(),
            verdict: Verdict::Equal,
            way: None,
            rows: 0,
            pieces: 0,
            looked_at_again: 0,
            missing: 0,
            extra: 0,
            changed: 0,
            undecided: 0,
            cut_short: false,
            differences: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Differing rows found.
    #[must_use]
    pub const fn differing(&self) -> u64 {
        self.missing + self.extra + self.changed
    }

    pub(crate) fn with(mut self, verdict: Verdict, note: impl Into<String>) -> Self {
        self.verdict = verdict;
        self.notes.push(note.into());
        self
    }

    pub(crate) fn count(&mut self, state: RowState, times: u64) {
        match state {
            RowState::Missing => self.missing += times,
            RowState::Extra => self.extra += times,
            RowState::Changed => self.changed += times,
        }
    }
}

/// A comparison's result.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How it was done.
    pub method: Method,
    /// The server compared with.
    pub source: String,
    /// The servers compared.
    pub targets: Vec<String>,
    /// Each table on each target.
    pub tables: Vec<TableReport>,
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl Report {
    /// How many tables have a verdict.
    #[must_use]
    pub fn count(&self, verdict: &Verdict) -> usize {
        self.tables.iter().filter(|table| table.verdict == *verdict).count()
    }

    /// How many tables a sum of the whole found equal.
    #[must_use]
    pub fn looked_equal(&self) -> usize {
        self.tables.iter().filter(|table| table.way == Some(Way::ChecksumTable)).count()
    }

    /// Every table holds the same everywhere.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.count(&Verdict::Equal) == self.tables.len()
    }
}

pub(crate) fn shown(column: &Column, value: Option<&[u8]>) -> Shown {
    let Some(value) = value else { return Shown::Null };
    match std::str::from_utf8(value).ok().filter(|_| column.is_shown_as_text()) {
        Some(text) => Shown::Text(cut(text)),
        None => {
            let head: String = value.iter().take(SHOWN_BYTES / 2).map(|byte| format!("{byte:02X}")).collect();
            let more = value.len().saturating_sub(SHOWN_BYTES / 2);
            Shown::Hex(if more > 0 { format!("{head}... and {more} more bytes") } else { head })
        }
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_BYTES) {
        Some((end, _)) => {
            format!("{}... and {} more bytes", text.get(..end).unwrap_or_default(), text.len() - end)
        }
        None => text.to_owned(),
    }
}

/// What differs between the two sides' versions of a row; none if nothing does.
pub(crate) fn row_difference(
    columns: &[Column],
    key: &[String],
    source: Option<&Values>,
    target: Option<&Values>,
) -> Option<RowDifference> {
    let state = match (source, target) {
        (None, None) => return None,
        (Some(_), None) => RowState::Missing,
        (None, Some(_)) => RowState::Extra,
        (Some(source), Some(target)) if source == target => return None,
        (Some(_), Some(_)) => RowState::Changed,
    };
    let at = |values: Option<&Values>, place: usize| -> Option<Option<Vec<u8>>> {
        values.map(|values| values.get(place).cloned().flatten())
    };
    let mut found = RowDifference { state, key: Vec::new(), columns: Vec::new(), times: 1 };
    for (place, column) in columns.iter().enumerate() {
        let (ours, theirs) = (at(source, place), at(target, place));
        if key.contains(&column.name) {
            let value = ours.clone().or_else(|| theirs.clone()).flatten();
            found.key.push((column.name.clone(), shown(column, value.as_deref())));
        }
        if ours != theirs {
            let show = |value: Option<Option<Vec<u8>>>| value.map(|value| shown(column, value.as_deref()));
            let difference =
                ColumnDifference { column: column.name.clone(), source: show(ours), target: show(theirs) };
            found.columns.push(difference);
        }
    }
    Some(found)
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Hex(text) => write!(f, "0x{text}"),
        }
    }
}

impl fmt::Display for RowDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.state {
            RowState::Missing => "missing",
            RowState::Extra => "extra",
            RowState::Changed => "changed",
        };
        let pairs: Vec<String> = self.key.iter().map(|(name, value)| format!("{name} {value}")).collect();
        write!(f, "  {mark:<8}{}", pairs.join(", "))?;
        if self.times > 1 {
            write!(f, "{} times", self.times)?;
        }
        for column in &self.columns {
            let is_key = self.key.iter().any(|(name, _)| *name == column.column);
            match (&column.source, &column.target) {
                (Some(source), Some(target)) => {
                    write!(
                        f,
                        "\n          {}: {source} on the source, {target} on the target",
                        column.column
                    )?;
                }
                (Some(value), None) | (None, Some(value)) if !is_key => {
                    write!(f, "\n          {}: {value}", column.column)?;
                }
                (Some(_), None) | (None, Some(_) | None) => {}
            }
        }
        Ok(())
    }
}

impl fmt::Display for TableReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Equal => "equal",
            Verdict::Differs => "differs",
            Verdict::Undecided => "undecided",
            Verdict::Failed => "failed",
        };
        write!(f, "{:<10} {} on {}: {} rows", verdict, self.table, self.target, self.rows)?;
        if self.differing() > 0 {
            let more = if self.cut_short { " at least" } else { "" };
            write!(f, ";{more} {} missing, {} extra, {} changed", self.missing, self.extra, self.changed)?;
        }
        if self.undecided > 0 {
            write!(f, "; {} undecided", self.undecided)?;
        }
        for note in &self.notes {
            write!(f, "\n  {note}")?;
        }
        for difference in &self.differences {
            write!(f, "\n{difference}")?;
        }
        let left = self.differing().saturating_sub(self.differences.iter().map(|row| row.times).sum());
        if left > 0 {
            write!(f, "\n  and {left} more rows")?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for table in self.tables.iter().filter(|table| {
            table.verdict != Verdict::Equal || table.notes.iter().any(|note| !note.is_empty())
        }) {
            writeln!(f, "{table}")?;
        }
        let rows: u64 = self.tables.iter().map(|table| table.rows).sum();
        let [equal, differ, undecided, failed] =
            [Verdict::Equal, Verdict::Differs, Verdict::Undecided, Verdict::Failed]
                .map(|verdict| self.count(&verdict));
        let looked_equal = self.looked_equal();
        let about = if looked_equal > 0 { "about " } else { "" };
        write!(
            f,
            "{equal} tables equal, {differ} differ, {undecided} undecided, {failed} failed; {about}{rows} rows of {} \
             compared with {} in {:.2} s",
            self.source,
            self.targets.join(", "),
            self.seconds
        )?;
        if looked_equal > 0 {
            write!(
                f,
                "\n{looked_equal} of the equal tables by CHECKSUM TABLE, which does not see every difference; \
                 --thorough sums row by row"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::tests::column;

    fn values(values: &[Option<&str>]) -> Values {
        values.iter().map(|value| value.map(|value| value.as_bytes().to_vec())).collect()
    }

    #[test]
    fn a_row_is_told_by_what_differs_in_it() {
        let columns = [column("id", "int"), column("a", "varchar"), column("b", "blob")];
        let key = ["id".to_owned()];
        let one = values(&[Some("7"), Some(""), Some("x")]);
        let other = values(&[Some("7"), None, Some("x")]);
        let told = |source: Option<&Values>, target: Option<&Values>| {
            row_difference(&columns, &key, source, target).map(|row| row.to_string())
        };
        assert_eq!(
            told(Some(&one), Some(&other)).unwrap(),
            "  changed id \"7\"\n          a: \"\" on the source, NULL on the target"
        );
        assert_eq!(
            told(Some(&one), None).unwrap(),
            "  missing id \"7\"\n          a: \"\"\n          b: 0x78"
        );
        assert!(told(None, Some(&other)).unwrap().starts_with("  extra   id \"7\""));
        assert_eq!(told(Some(&one), Some(&one.clone())), None);
        assert_eq!(told(None, None), None);
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let text = "é".repeat(100);
        let told = shown(&column("a", "text"), Some(text.as_bytes()));
        assert_eq!(told, Shown::Text(format!("{}... and 40 more bytes", "é".repeat(80))));
        let bytes = shown(&column("a", "blob"), Some(&[0xab; 50]));
        assert_eq!(bytes, Shown::Hex(format!("{}... and 10 more bytes", "AB".repeat(40))));
    }
}
