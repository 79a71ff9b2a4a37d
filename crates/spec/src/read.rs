//! Reading one section of the document: typed values out, problems collected.
#![expect(clippy::wildcard_enum_match_arm, reason = "any other kind of TOML value is the wrong one")]

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::keys;
use crate::problem::{PROBLEMS_MAX, Problem};

/// What a size looks like.
const SIZE_EXPECTED: &str = "bytes, or a whole number with a unit such as \"64G\" or \"512M\"";

/// Problems found so far, shared by all readers of a text.
#[derive(Default)]
pub(crate) struct Problems {
    found: RefCell<Vec<Problem>>,
    warned: RefCell<Vec<Problem>>,
}

impl Problems {
    pub(crate) fn add(&self, span: Range<usize>, message: impl Into<String>, label: impl Into<String>) {
        let mut found = self.found.borrow_mut();
        if found.len() < PROBLEMS_MAX {
            found.push(Problem { span, message: message.into(), label: label.into() });
        }
    }

    pub(crate) fn warn(&self, span: Range<usize>, message: impl Into<String>, label: impl Into<String>) {
        self.warned.borrow_mut().push(Problem { span, message: message.into(), label: label.into() });
    }

    /// How many problems there are so far.
    pub(crate) fn count(&self) -> usize {
        self.found.borrow().len()
    }

    pub(crate) fn into_parts(self) -> (Vec<Problem>, Vec<Problem>) {
        (self.found.into_inner(), self.warned.into_inner())
    }
}

/// A value with its place.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

/// One section, or nothing where the text has none.
pub(crate) struct Section<'a> {
    table: Option<&'a DeTable<'a>>,
    /// Where the section is, for problems about what is missing in it.
    pub(crate) span: Range<usize>,
    name: &'static str,
    problems: &'a Problems,
}

impl<'a> Section<'a> {
    pub(crate) fn new(
        name: &'static str,
        table: Option<&'a DeTable<'a>>,
        span: Range<usize>,
        problems: &'a Problems,
    ) -> Self {
        let section = Self { table, span, name, problems };
        section.refuse_unknown();
        section
    }

    pub(crate) const fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// The section as it is written in the text.
    fn title(&self) -> String {
        keys::title(self.name)
    }

    fn refuse_unknown(&self) {
        for (key, _) in self.table.into_iter().flatten() {
            let name = key.get_ref().as_ref();
            let inner = format!("{}.{name}", self.name);
            if keys::names(self.name).any(|known| known == name)
                || keys::SECTIONS.iter().any(|(known, _)| *known == inner)
            {
                continue;
            }
            let section = self.title();
            if is_secret(name) {
                let files = || keys::names(self.name).filter(|known| known.ends_with("_file"));
                let file = nearest(&format!("{name}_file"), files()).or_else(|| files().next());
                let label = file.map_or_else(
                    || "remove it: each is in a file of its own in the secrets folder".to_owned(),
                    |file| format!("put it into a file of mode 0600 and name that with `{file}`"),
                );
                let message = format!("`{}` in {section}: secrets do not belong in the spec", clip(name));
                self.problems.add(key.span(), message, label);
                continue;
            }
            let inner = keys::SECTIONS.iter().filter_map(|(section, _)| {
                section.strip_prefix(self.name).and_then(|rest| rest.strip_prefix('.'))
            });
            let label = nearest(name, keys::names(self.name).chain(inner)).map_or_else(
                || format!("its keys are {}", keys::names(self.name).collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            self.problems.add(key.span(), format!("unknown key `{}` in {section}", clip(name)), label);
        }
    }

    fn value(&self, name: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        debug_assert!(
            keys::names(self.name).any(|known| known == name),
            "{}.{name} is not in KEYS",
            self.name
        );
        let table = self.table?;
        table.iter().find(|(key, _)| key.get_ref().as_ref() == name).map(|(_, value)| value)
    }

    fn wrong(&self, name: &str, value: &Spanned<DeValue<'_>>, expected: &str) {
        let found = kind_of(value.get_ref());
        self.problems.add(
            value.span(),
            format!("`{name}` in {} is {found}", self.title()),
            format!("expected {expected}"),
        );
    }

    pub(crate) fn problem(&self, span: Range<usize>, message: impl Into<String>, label: impl Into<String>) {
        self.problems.add(span, message, label);
    }

    /// Text; `None` when it is not there.
    pub(crate) fn text(&self, name: &'static str) -> Option<At<String>> {
        let value = self.value(name)?;
        match value.get_ref() {
            DeValue::String(text) => Some(At { value: text.to_string(), span: value.span() }),
            _ => {
                self.wrong(name, value, "text in quotes");
                None
            }
        }
    }

    /// Text that must be there.
    pub(crate) fn required_text(&self, name: &'static str) -> Option<At<String>> {
        if self.is_there() && self.value(name).is_none() {
            let example = keys::KEYS
                .iter()
                .find(|key| key.section == self.name && key.name == name)
                .map_or("", |key| key.example);
            self.problems.add(
                self.span.clone(),
                format!("{} has no `{name}`", self.title()),
                format!("add `{name} = {example}`"),
            );
        }
        self.text(name)
    }

    /// A whole number within bounds.
    pub(crate) fn number(&self, name: &'static str, min: u64, max: u64) -> Option<At<u64>> {
        let value = self.value(name)?;
        let number = match value.get_ref() {
            DeValue::Integer(number) => integer(number),
            _ => {
                self.wrong(name, value, "a whole number");
                return None;
            }
        };
        match number {
            Some(number) if (i128::from(min)..=i128::from(max)).contains(&number) => {
                Some(At { value: u64::try_from(number).unwrap_or(max), span: value.span() })
            }
            Some(_) | None => {
                self.problems.add(
                    value.span(),
                    format!("`{name}` in {} is out of range", self.title()),
                    format!("expected {min} to {max}"),
                );
                None
            }
        }
    }

    pub(crate) fn boolean(&self, name: &'static str) -> Option<bool> {
        let value = self.value(name)?;
        match value.get_ref() {
            DeValue::Boolean(boolean) => Some(*boolean),
            _ => {
                self.wrong(name, value, "true or false");
                None
            }
        }
    }

    /// One word of a list.
    pub(crate) fn word<T: Copy>(&self, name: &'static str, words: &[(&str, T)]) -> Option<At<T>> {
        let text = self.text(name)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
            return Some(At { value: *value, span: text.span });
        }
        let all = words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        let label = nearest(&text.value, words.iter().map(|(word, _)| *word)).map_or_else(
            || format!("expected one of {all}"),
            |near| format!("did you mean `{near}`? expected one of {all}"),
        );
        self.problems.add(
            text.span,
            format!("`{name}` in {} is \"{}\"", self.title(), clip(&text.value)),
            label,
        );
        None
    }

    /// One word of a list, or the default where the key is not there; `None` for another word.
    pub(crate) fn word_or<T: Copy>(&self, name: &'static str, words: &[(&str, T)], default: T) -> Option<T> {
        if self.has(name) { self.word(name, words).map(|word| word.value) } else { Some(default) }
    }

    /// Bytes: a number, or text with a unit.
    pub(crate) fn size(&self, name: &'static str) -> Option<At<u64>> {
        let value = self.value(name)?;
        let bytes = match value.get_ref() {
            DeValue::Integer(number) => integer(number).and_then(|number| u64::try_from(number).ok()),
            DeValue::String(text) => crate::values::size(text),
            _ => {
                self.wrong(name, value, SIZE_EXPECTED);
                return None;
            }
        };
        if bytes.is_none() {
            let message = format!("`{name}` in {} is not a size", self.title());
            self.problems.add(value.span(), message, format!("expected {SIZE_EXPECTED}"));
        }
        bytes.map(|value_bytes| At { value: value_bytes, span: value.span() })
    }

    /// Whether a key is there as a list without entries.
    pub(crate) fn is_empty_list(&self, name: &'static str) -> bool {
        self.value(name)
            .is_some_and(|value| matches!(value.get_ref(), DeValue::Array(items) if items.is_empty()))
    }

    /// A list of text.
    pub(crate) fn texts(&self, name: &'static str, max: usize) -> Vec<At<String>> {
        let Some(value) = self.value(name) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong(name, value, "a list, as [\"...\"]");
            return Vec::new();
        };
        if items.len() > max {
            self.problems.add(
                value.span(),
                format!("`{name}` in {} has {} entries", self.title(), items.len()),
                format!("at most {max} are possible"),
            );
            return Vec::new();
        }
        items
            .iter()
            .filter_map(|item| match item.get_ref() {
                DeValue::String(text) => Some(At { value: text.to_string(), span: item.span() }),
                _ => {
                    self.wrong(name, item, "text in quotes");
                    None
                }
            })
            .collect()
    }

    /// A key's place, or the section's where the key is not there.
    pub(crate) fn place(&self, name: &'static str) -> Range<usize> {
        self.value(name).map_or_else(|| self.span.clone(), Spanned::span)
    }

    /// Whether the text has the key.
    pub(crate) fn has(&self, name: &'static str) -> bool {
        self.value(name).is_some()
    }
}

/// A TOML integer, in whatever base it is written.
pub(crate) fn integer(number: &toml::de::DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok()
}

/// The nearest of some names, when it is near enough to have been meant.
pub(crate) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    names
        .map(|known| (strsim::jaro_winkler(&name.to_lowercase(), known), known))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, known)| known)
}

/// Whether a key of this name would hold a secret. One that names a file or the folder of secrets does not.
pub(crate) fn is_secret(name: &str) -> bool {
    let lower = name.to_lowercase();
    let last = lower.rsplit('.').next().unwrap_or_default();
    let said = ["password", "passwd", "passphrase", "secret", "token"].iter().any(|word| last.contains(word));
    (said || matches!(last, "pass" | "pwd" | "wsrep_sst_auth"))
        && !last.ends_with("_file")
        && last != "secrets"
}

pub(crate) fn clip(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(60) {
        Some((end, _)) => Cow::Owned(format!("{}...", text.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}

pub(crate) fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}
