//! What the `version` and `mshost` tables say of a schema and of its management servers, as sentences.
//!
//! An upgrade runs inside the start of the first management server; it is not rolled back when it fails, and it is
//! refused while a row of `mshost` says `Up`, however old that row is (`DatabaseUpgradeChecker` of
//! apache/cloudstack). Nothing is read or changed here: rows and their ages come in.

use std::fmt;

/// A row of `cloud.version`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRow {
    /// Its number; the newest row has the highest.
    pub id: u64,
    /// Schema version, such as `4.23.0.0`.
    pub version: String,
    /// `Upgrade`, `Cleanup` or `Complete`.
    pub step: String,
}

/// A row of `cloud.mshost`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagementServerRow {
    /// Its name, or its address when it has none.
    pub name: String,
    /// `Up`, `Down`, `Maintenance` and so on.
    pub state: String,
    /// Seconds since it last wrote its heartbeat, by the server's clock; `None` when it never did.
    pub last_update_age_seconds: Option<u64>,
    /// Whether it was removed.
    pub removed: bool,
}

/// How far a schema is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaState {
    /// The table has no row: the base scripts did not run to their end.
    Empty,
    /// As the base scripts leave it: the first management server has not started yet.
    Base,
    /// At this version, complete.
    Complete(String),
    /// An upgrade to `version` stopped in `step`.
    HalfUpgraded {
        /// Where it was going.
        version: String,
        /// The step it stopped in.
        step: String,
    },
}

/// What the base scripts leave behind.
pub const BASE_VERSION: &str = "4.0.0";

/// After so long without a heartbeat a management server is dead: CloudStack's own `cluster.heartbeat.threshold`.
pub const HEARTBEAT_THRESHOLD_SECONDS: u64 = 150;

/// How far the schema is, by the rows of `version` in any order.
#[must_use]
pub fn schema_state(rows: &[VersionRow]) -> SchemaState {
    match rows.iter().max_by_key(|row| row.id) {
        None => SchemaState::Empty,
        Some(row) if row.step != "Complete" => {
            SchemaState::HalfUpgraded { version: row.version.clone(), step: row.step.clone() }
        }
        Some(row) if row.version == BASE_VERSION => SchemaState::Base,
        Some(row) => SchemaState::Complete(row.version.clone()),
    }
}

impl fmt::Display for SchemaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => {
                f.write_str("the version table has no row: the setup files did not run to their end")
            }
            Self::Base => write!(
                f,
                "the schema is {BASE_VERSION}, as the setup files leave it: the first management server that starts upgrades it"
            ),
            Self::Complete(version) => write!(f, "the schema is {version}"),
            Self::HalfUpgraded { version, step } => write!(
                f,
                "the upgrade to {version} stopped in step {step}; CloudStack cannot resume it: restore the backup made before it"
            ),
        }
    }
}

/// Sentences about management servers whose rows block an upgrade, or are only left over.
#[must_use]
pub fn management_server_findings(rows: &[ManagementServerRow]) -> Vec<String> {
    let mut findings = Vec::new();
    for row in rows {
        // The checker compares without case, as the column's collation does, and looks at removed rows too.
        if !row.state.eq_ignore_ascii_case("up") {
            continue;
        }
        let age = match row.last_update_age_seconds {
            Some(age) if age <= HEARTBEAT_THRESHOLD_SECONDS && !row.removed => continue,
            Some(age) => format!("it last wrote {age} s ago"),
            None => "it never wrote a heartbeat".to_owned(),
        };
        findings.push(format!(
            "management server {} is recorded as Up, but {age}: while the row stays so, CloudStack refuses to upgrade the \
             schema (exit code 5); once that server is stopped, set its state in cloud.mshost to Down",
            row.name
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(id: u64, version: &str, step: &str) -> VersionRow {
        VersionRow { id, version: version.to_owned(), step: step.to_owned() }
    }

    #[test]
    fn the_newest_row_tells_how_far_the_schema_is() {
        let base = version(1, "4.0.0", "Complete");
        let (done, half) = (version(52, "4.23.0.0", "Complete"), version(53, "4.24.0.0", "Upgrade"));
        for (rows, expected) in [
            (vec![], SchemaState::Empty),
            (vec![base.clone()], SchemaState::Base),
            (vec![done.clone(), base.clone()], SchemaState::Complete("4.23.0.0".to_owned())),
            (
                vec![half, base, done],
                SchemaState::HalfUpgraded { version: "4.24.0.0".to_owned(), step: "Upgrade".to_owned() },
            ),
        ] {
            assert_eq!(schema_state(&rows), expected, "{rows:?}");
        }
    }

    #[test]
    fn sentences_say_what_to_do() {
        for (state, words) in [
            (SchemaState::Empty, "did not run to their end"),
            (SchemaState::Base, "the first management server"),
            (SchemaState::Complete("4.23.0.0".to_owned()), "the schema is 4.23.0.0"),
            (
                SchemaState::HalfUpgraded { version: "4.24.0.0".to_owned(), step: "Cleanup".to_owned() },
                "to 4.24.0.0 stopped in step Cleanup; CloudStack cannot resume it: restore the backup",
            ),
        ] {
            assert!(state.to_string().contains(words), "{state}");
        }
    }

    #[test]
    fn rows_that_block_an_upgrade_are_named() {
        for (state, age, removed, named) in [
            ("Up", Some(1), false, false),
            ("Up", Some(HEARTBEAT_THRESHOLD_SECONDS), false, false),
            ("Up", Some(HEARTBEAT_THRESHOLD_SECONDS + 1), false, true),
            ("UP", Some(9000), false, true),
            ("Up", Some(1), true, true),
            ("Up", None, false, true),
            ("Down", Some(9000), false, false),
            ("Maintenance", None, false, false),
        ] {
            let row = ManagementServerRow {
                name: "ms1".to_owned(),
                state: state.to_owned(),
                last_update_age_seconds: age,
                removed,
            };
            let findings = management_server_findings(std::slice::from_ref(&row));
            assert_eq!(!findings.is_empty(), named, "{row:?}");
            assert!(findings.iter().all(|finding| finding.contains("ms1")), "{findings:?}");
        }
    }
}
