//! The numbers of event types, and their names as the servers' own tools print them. It decodes nothing.

use std::fmt;

/// An event's type, known or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventKind(pub u8);

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        impl EventKind {
            $($(#[$doc])* pub const $name: Self = Self($code);)*

            /// Its name; none for a number that no server documents.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

impl EventKind {
    /// Whether its number is documented; without a look at the name.
    #[inline]
    pub(crate) const fn is_known(self) -> bool {
        matches!(self.0, 1..=42 | 160..=172)
    }

    /// Whether it stands before every transaction, in logs of servers that write such events.
    #[inline]
    pub(crate) const fn begins_transaction(self) -> bool {
        matches!(self, Self::GTID | Self::ANONYMOUS_GTID | Self::GTID_TAGGED | Self::MARIADB_GTID)
    }
}

kinds! {
    /// Old start of a log.
    START_V3 = 1, "Start_v3";
    /// A statement.
    QUERY = 2, "Query";
    /// End of a log on clean shutdown.
    STOP = 3, "Stop";
    /// The next log's name.
    ROTATE = 4, "Rotate";
    /// `LAST_INSERT_ID` or the next auto-increment value for the following statement.
    INTVAR = 5, "Intvar";
    /// Old LOAD DATA.
    LOAD = 6, "Load";
    /// Old and unused.
    SLAVE = 7, "Slave";
    /// Old LOAD DATA.
    CREATE_FILE = 8, "Create_file";
    /// A block of a file for LOAD DATA.
    APPEND_BLOCK = 9, "Append_block";
    /// Old LOAD DATA.
    EXEC_LOAD = 10, "Exec_load";
    /// End of a LOAD DATA that failed.
    DELETE_FILE = 11, "Delete_file";
    /// Old LOAD DATA.
    NEW_LOAD = 12, "New_load";
    /// Seeds of `RAND()` for the following statement.
    RAND = 13, "RAND";
    /// A user variable for the following statement.
    USER_VAR = 14, "User_var";
    /// How the log is written.
    FORMAT_DESCRIPTION = 15, "Format_desc";
    /// Commit of a transaction.
    XID = 16, "Xid";
    /// The first block of a file for LOAD DATA.
    BEGIN_LOAD_QUERY = 17, "Begin_load_query";
    /// LOAD DATA as a statement.
    EXECUTE_LOAD_QUERY = 18, "Execute_load_query";
    /// A table that row events refer to.
    TABLE_MAP = 19, "Table_map";
    /// Rows inserted, of pre-release MySQL 5.1.
    PRE_GA_WRITE_ROWS = 20, "Write_rows_event_old";
    /// Rows updated, of pre-release MySQL 5.1.
    PRE_GA_UPDATE_ROWS = 21, "Update_rows_event_old";
    /// Rows deleted, of pre-release MySQL 5.1.
    PRE_GA_DELETE_ROWS = 22, "Delete_rows_event_old";
    /// Rows inserted.
    WRITE_ROWS_V1 = 23, "Write_rows_v1";
    /// Rows updated.
    UPDATE_ROWS_V1 = 24, "Update_rows_v1";
    /// Rows deleted.
    DELETE_ROWS_V1 = 25, "Delete_rows_v1";
    /// Something that is missing from the log.
    INCIDENT = 26, "Incident";
    /// The source is alive; never in a file.
    HEARTBEAT = 27, "Heartbeat";
    /// To be ignored by those who do not know it.
    IGNORABLE = 28, "Ignorable";
    /// The statement that the following row events come from.
    ROWS_QUERY = 29, "Rows_query";
    /// Rows inserted.
    WRITE_ROWS = 30, "Write_rows";
    /// Rows updated.
    UPDATE_ROWS = 31, "Update_rows";
    /// Rows deleted.
    DELETE_ROWS = 32, "Delete_rows";
    /// Start of a transaction, with its GTID (MySQL).
    GTID = 33, "Gtid";
    /// Start of a transaction without a GTID (MySQL).
    ANONYMOUS_GTID = 34, "Anonymous_Gtid";
    /// GTIDs of earlier logs (MySQL).
    PREVIOUS_GTIDS = 35, "Previous_gtids";
    /// Certification data of group replication.
    TRANSACTION_CONTEXT = 36, "Transaction_context";
    /// A change of a group's members.
    VIEW_CHANGE = 37, "View_change";
    /// End of a prepared XA transaction.
    XA_PREPARE = 38, "XA_prepare";
    /// Rows updated, JSON columns as differences.
    PARTIAL_UPDATE_ROWS = 39, "Update_rows_partial";
    /// A whole transaction, compressed.
    TRANSACTION_PAYLOAD = 40, "Transaction_payload";
    /// The source is alive, with a large position; never in a file.
    HEARTBEAT_V2 = 41, "Heartbeat_v2";
    /// Start of a transaction, with a GTID that may have a tag (MySQL).
    GTID_TAGGED = 42, "Gtid_tagged_log";
    /// The statement that the following row events come from (MariaDB).
    ANNOTATE_ROWS = 160, "Annotate_rows";
    /// The oldest log a crash recovery needs (MariaDB).
    BINLOG_CHECKPOINT = 161, "Binlog_checkpoint";
    /// Start of a transaction, with its GTID (MariaDB).
    MARIADB_GTID = 162, "Gtid";
    /// GTIDs of earlier logs (MariaDB).
    GTID_LIST = 163, "Gtid_list";
    /// All that follows is encrypted (MariaDB).
    START_ENCRYPTION = 164, "Start_encryption";
    /// A statement, compressed (MariaDB).
    QUERY_COMPRESSED = 165, "Query_compressed";
    /// Rows inserted, compressed (MariaDB).
    WRITE_ROWS_COMPRESSED_V1 = 166, "Write_rows_compressed_v1";
    /// Rows updated, compressed (MariaDB).
    UPDATE_ROWS_COMPRESSED_V1 = 167, "Update_rows_compressed_v1";
    /// Rows deleted, compressed (MariaDB).
    DELETE_ROWS_COMPRESSED_V1 = 168, "Delete_rows_compressed_v1";
    /// Rows inserted, compressed (MariaDB; reserved).
    WRITE_ROWS_COMPRESSED = 169, "Write_rows_compressed";
    /// Rows updated, compressed (MariaDB; reserved).
    UPDATE_ROWS_COMPRESSED = 170, "Update_rows_compressed";
    /// Rows deleted, compressed (MariaDB; reserved).
    DELETE_ROWS_COMPRESSED = 171, "Delete_rows_compressed";
    /// A piece of a rows event that was too large (MariaDB 12.3).
    PARTIAL_ROW_DATA = 172, "Partial_rows";
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "type {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_numbers_are_those_with_a_name() {
        for code in 0..=u8::MAX {
            assert_eq!(EventKind(code).is_known(), EventKind(code).name().is_some(), "{code}");
        }
    }
}
