//! [`Row`]: one result row, read by column name. Converts nothing beyond bytes and text.

use std::sync::Arc;

use mysql_async::Value;

/// One row of a result. Column names are compared without regard to case, as servers differ in it.
#[derive(Clone, Debug)]
pub struct Row {
    columns: Arc<[String]>,
    values: Vec<Option<Vec<u8>>>,
}

impl Row {
    pub(crate) fn new(columns: Arc<[String]>, values: Vec<Value>) -> Self {
        Self { columns, values: values.into_iter().map(value_bytes).collect() }
    }

    /// The value of a column as bytes; none if it is NULL or there is no such column.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        let index = self.columns.iter().position(|column| column.eq_ignore_ascii_case(name))?;
        self.values.get(index)?.as_deref()
    }

    /// The value of a column as text; none if it is NULL, not UTF-8, or there is no such column.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.bytes(name)?).ok()
    }

    /// The value of a column as a number or anything else that parses from text.
    #[must_use]
    pub fn parsed<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.trim().parse().ok()
    }

    /// The value at a position, for results whose column names vary, such as `SHOW GRANTS`.
    #[must_use]
    pub fn text_at(&self, index: usize) -> Option<&str> {
        std::str::from_utf8(self.values.get(index)?.as_deref()?).ok()
    }

    /// Names of the columns, in the result's order.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }
}

/// The text protocol gives bytes only; prepared statements give typed values, written here as SQL would.
fn value_bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(bytes),
        Value::Int(number) => Some(number.to_string().into_bytes()),
        Value::UInt(number) => Some(number.to_string().into_bytes()),
        Value::Float(number) => Some(number.to_string().into_bytes()),
        Value::Double(number) => Some(number.to_string().into_bytes()),
        date @ Value::Date(..) => Some(unquoted(&date)),
        time @ Value::Time(..) => Some(unquoted(&time)),
    }
}

fn unquoted(value: &Value) -> Vec<u8> {
    value.as_sql(true).trim_matches('\'').as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_name_in_any_case() {
        let columns: Arc<[String]> = vec!["Host".to_owned(), "n".to_owned(), "raw".to_owned()].into();
        let row = Row::new(columns, vec!["db1".into(), Value::NULL, Value::Bytes(vec![0xff])]);
        assert_eq!(row.text("HOST"), Some("db1"));
        assert_eq!(row.text("n"), None);
        assert_eq!((row.text("raw"), row.bytes("raw")), (None, Some(&[0xff][..])));
        assert_eq!(row.bytes("missing"), None);
        assert_eq!(row.text_at(0), Some("db1"));
    }

    #[test]
    fn typed_values_read_as_sql_writes_them() {
        let columns: Arc<[String]> = vec!["d".to_owned(), "i".to_owned()].into();
        let row = Row::new(columns, vec![Value::Date(2026, 11, 21, 4, 5, 6, 0), Value::Int(-3)]);
        assert_eq!(row.text("d"), Some("2026-11-21 04:05:06"));
        assert_eq!(row.parsed::<i64>("i"), Some(-3));
    }
}
