//! Differences of a JSON column, as partial updates log them: read, applied, shown.

use crate::bytes::{Bytes, text};
use crate::error::DecodeError;
use crate::json::{self, Json};

/// What a difference does at its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiffAction {
    /// Puts another value there.
    Replace,
    /// Adds a member or an element there.
    Insert,
    /// Takes it away.
    Remove,
}

/// One difference.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonDiff {
    /// What is done.
    pub action: DiffAction,
    /// Where, as a JSON path such as `$.a[1]`.
    pub path: String,
    /// With what; none for a removal.
    pub value: Option<Json>,
}

/// One step of a path.
#[derive(Debug, PartialEq)]
enum Leg {
    Key(String),
    Index(usize),
}

pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<JsonDiff>, DecodeError> {
    let mut bytes = Bytes::new(bytes);
    let mut diffs = Vec::new();
    while !bytes.is_empty() {
        let action = match bytes.u8()? {
            0 => DiffAction::Replace,
            1 => DiffAction::Insert,
            2 => DiffAction::Remove,
            code => return Err(DecodeError::Unknown { what: "JSON difference", code: u64::from(code) }),
        };
        let path = text(bytes.lenenc_bytes()?);
        let value = match action {
            DiffAction::Replace | DiffAction::Insert => Some(json::parse(bytes.lenenc_bytes()?)?),
            DiffAction::Remove => None,
        };
        diffs.push(JsonDiff { action, path, value });
    }
    Ok(diffs)
}

/// The value after the differences; none if they do not fit it.
#[must_use]
pub fn apply(before: &Json, diffs: &[JsonDiff]) -> Option<Json> {
    let mut value = before.clone();
    for diff in diffs {
        let legs = legs(&diff.path)?;
        let Some((last, way)) = legs.split_last() else {
            value = diff.value.clone()?;
            continue;
        };
        let parent = way.iter().try_fold(&mut value, step)?;
        change(parent, last, diff)?;
    }
    Some(value)
}

fn step<'v>(value: &'v mut Json, leg: &Leg) -> Option<&'v mut Json> {
    match (value, leg) {
        (Json::Object(members), Leg::Key(key)) => {
            members.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value)
        }
        (Json::Array(values), Leg::Index(at)) => values.get_mut(*at),
        // A single value counts as an array of itself.
        (value, Leg::Index(0)) => Some(value),
        _ => None,
    }
}

fn change(parent: &mut Json, last: &Leg, diff: &JsonDiff) -> Option<()> {
    match (diff.action, parent, last) {
        (DiffAction::Replace, parent, last) => *step(parent, last)? = diff.value.clone()?,
        (DiffAction::Insert, Json::Object(members), Leg::Key(key)) => {
            let order =
                |other: &str| other.len().cmp(&key.len()).then_with(|| other.as_bytes().cmp(key.as_bytes()));
            match members.binary_search_by(|(name, _)| order(name)) {
                Ok(_) => return None,
                Err(at) => members.insert(at, (key.clone(), diff.value.clone()?)),
            }
        }
        (DiffAction::Insert, Json::Array(values), Leg::Index(at)) => {
            values.insert((*at).min(values.len()), diff.value.clone()?);
        }
        (DiffAction::Remove, Json::Object(members), Leg::Key(key)) => {
            let at = members.iter().position(|(name, _)| name == key)?;
            members.remove(at);
        }
        (DiffAction::Remove, Json::Array(values), Leg::Index(at)) if *at < values.len() => {
            values.remove(*at);
        }
        (DiffAction::Insert | DiffAction::Remove, ..) => return None,
    }
    Some(())
}

/// The steps of a path as the server writes it: `$`, then `.key`, `."quoted key"` or `[index]`.
fn legs(path: &str) -> Option<Vec<Leg>> {
    let mut rest = path.strip_prefix('$')?;
    let mut legs = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('[') {
            let (index, after) = after.split_once(']')?;
            legs.push(Leg::Index(index.parse().ok()?));
            rest = after;
        } else {
            rest = rest.strip_prefix('.')?;
            if rest.starts_with('"') {
                let mut values = serde_json::Deserializer::from_str(rest).into_iter::<String>();
                legs.push(Leg::Key(values.next()?.ok()?));
                rest = rest.get(values.byte_offset()..)?;
            } else {
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                let (key, after) = rest.split_at_checked(end)?;
                legs.push(Leg::Key(key.to_owned()));
                rest = after;
            }
        }
    }
    Some(legs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(action: DiffAction, path: &str, value: Option<Json>) -> JsonDiff {
        JsonDiff { action, path: path.to_owned(), value }
    }

    #[test]
    fn differences_change_what_they_name() {
        let before = Json::Object(vec![
            ("a".to_owned(), Json::Array(vec![Json::Int(1), Json::Int(2)])),
            ("long key".to_owned(), Json::Null),
        ]);
        let diffs = [
            diff(DiffAction::Replace, "$.a[1]", Some(Json::Bool(true))),
            diff(DiffAction::Insert, "$.a[2]", Some(Json::Int(3))),
            diff(DiffAction::Insert, "$.bb", Some(Json::Int(4))),
            diff(DiffAction::Remove, "$.\"long key\"", None),
            diff(DiffAction::Remove, "$.a[0]", None),
        ];
        assert_eq!(apply(&before, &diffs).unwrap().to_string(), "{\"a\": [true, 3], \"bb\": 4}");
        assert_eq!(apply(&before, &[diff(DiffAction::Remove, "$.none", None)]), None);
        assert_eq!(apply(&before, &[diff(DiffAction::Replace, "$.a[x]", Some(Json::Null))]), None);
    }
}
