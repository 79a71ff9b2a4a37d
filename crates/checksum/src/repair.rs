//! The statements that would make the target's rows the source's. Pure; nothing here runs them.

use std::fmt::Write as _;

use crate::column::Column;
use crate::node::Values;
use crate::piece::PieceError;
use crate::table::Side;

/// What comes first in a file of repair statements: they are for this server alone, and are to change nothing but the
/// rows they name.
#[must_use]
pub fn head(target: &str, galera: bool) -> String {
    // A Galera cluster replicates whatever its binlog setting says.
    let alone = if galera { "SET SESSION wsrep_on = OFF;" } else { "SET SESSION sql_log_bin = 0;" };
    // A name comes from the command line: it may not end the comment.
    let target: String = target.chars().filter(|letter| !letter.is_control()).collect();
    format!(
        "-- For {target}: read it, then run it there. Stop writes to these rows meanwhile.\n\
         SET NAMES utf8mb4;\n\
         SET SESSION time_zone = '+00:00';\n\
         SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO';\n\
         SET SESSION foreign_key_checks = 0;\n\
         {alone}\n"
    )
}

/// The statements of one table. Deletions come first, so that what is put in meets no unique value that is to go.
#[derive(Clone, Debug, Default)]
pub struct Repairs {
    deletions: String,
    insertions: String,
}

impl Repairs {
    /// Adds what makes one row right. `whole`: every column of the table is among those compared, so that the row can
    /// be replaced.
    ///
    /// # Errors
    /// When a name or value cannot be written into SQL.
    pub fn add(
        &mut self,
        side: &Side,
        whole: bool,
        source: Option<&Values>,
        target: Option<&Values>,
    ) -> Result<(), PieceError> {
        let table = side.name.quoted()?;
        match (source, target) {
            (None, None) => {}
            (None, Some(extra)) => {
                // Writing to a String does not fail.
                let _ = writeln!(self.deletions, "DELETE FROM {table} WHERE {};", row(side, extra)?);
            }
            (Some(values), Some(wrong)) if !whole => {
                let mut set = Vec::new();
                for ((column, right), wrong) in side.columns.iter().zip(values).zip(wrong) {
                    if right != wrong {
                        set.push(format!("{} = {}", column.ident()?, column.literal(right.as_deref())?));
                    }
                }
                let change = format!("UPDATE {table} SET {} WHERE {};", set.join(", "), row(side, wrong)?);
                let _ = writeln!(self.insertions, "{change}");
            }
            (Some(values), wrong) => {
                // A key that differs only in case is the same row to the server: REPLACE meets it.
                let verb = if wrong.is_some() || whole { "REPLACE" } else { "INSERT" };
                let mut names = Vec::new();
                let mut literals = Vec::new();
                for (column, value) in side.columns.iter().zip(values) {
                    names.push(column.ident()?);
                    literals.push(column.literal(value.as_deref())?);
                }
                let (names, literals) = (names.join(", "), literals.join(", "));
                let _ = writeln!(self.insertions, "{verb} INTO {table} ({names}) VALUES ({literals});");
            }
        }
        Ok(())
    }

    /// Bytes of statements held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.deletions.len() + self.insertions.len()
    }

    /// The statements so far, in the order to run them in.
    pub fn take(&mut self) -> String {
        let mut text = std::mem::take(&mut self.deletions);
        text.push_str(&std::mem::take(&mut self.insertions));
        text
    }
}

/// The condition that holds for one row alone.
fn row(side: &Side, values: &Values) -> Result<String, PieceError> {
    let mut parts = Vec::new();
    for key in &side.key {
        let value =
            side.columns.iter().zip(values).find_map(|(column, value): (&Column, _)| {
                (column.name == key.name).then_some(value.as_deref())
            });
        parts.push(format!("{} = {}", key.ident()?, key.literal(value.flatten())?));
    }
    Ok(parts.join(" AND "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Shape;
    use crate::table::tests::table;

    #[test]
    fn statements_name_exactly_one_row() {
        let table = table(&[("id", "int"), ("kind", "varchar"), ("a", "text")], &["id", "kind"]);
        let side = Shape::new(&table, &table, true).target;
        let values = |values: [Option<&str>; 3]| -> Values {
            values.iter().map(|value| value.map(|value| value.as_bytes().to_vec())).collect()
        };
        let right = values([Some("1"), Some("it's"), None]);
        let wrong = values([Some("1"), Some("it's"), Some("")]);
        let mut repairs = Repairs::default();
        repairs.add(&side, true, Some(&right), Some(&wrong)).unwrap();
        repairs.add(&side, false, Some(&right), Some(&wrong)).unwrap();
        repairs.add(&side, false, Some(&right), None).unwrap();
        repairs.add(&side, true, None, Some(&wrong)).unwrap();
        assert!(repairs.bytes() > 0);
        assert_eq!(
            repairs.take(),
            "DELETE FROM `d`.`t` WHERE `id` = 1 AND `kind` = 'it\\'s';\n\
             REPLACE INTO `d`.`t` (`id`, `kind`, `a`) VALUES (1, 'it\\'s', NULL);\n\
             UPDATE `d`.`t` SET `a` = NULL WHERE `id` = 1 AND `kind` = 'it\\'s';\n\
             INSERT INTO `d`.`t` (`id`, `kind`, `a`) VALUES (1, 'it\\'s', NULL);\n"
        );
        assert_eq!((repairs.take(), repairs.bytes()), (String::new(), 0));
    }

    #[test]
    fn the_head_keeps_the_repair_to_its_server() {
        assert!(head("db2", false).contains("sql_log_bin = 0"));
        assert!(head("db2", true).contains("wsrep_on = OFF"));
        assert_eq!(head("db\n;DROP", false).lines().count(), head("db2", false).lines().count());
    }
}
