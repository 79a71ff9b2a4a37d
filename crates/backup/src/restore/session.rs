//! Sessions of a restore: set so that statements mean what they meant where they were dumped.
//!
//! Variables that a version does not have are passed over; those that a restore needs are not.

use std::time::Duration;

use dump::SessionContext;
use flavor::Vendor;
use server::{Limits, Loader, ServerError, Sql, Target};
use sqltext::quote_string;

/// Longest time for one statement: an index of a table of hundreds of gigabytes.
const STATEMENT_LIMIT: Duration = Duration::from_hours(48);
/// `sql_mode` of dumps that say nothing.
const SQL_MODE: &str = "NO_AUTO_VALUE_ON_ZERO";

/// How sessions are opened.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    pub(crate) target: Target,
    pub(crate) vendor: Vendor,
    /// Whether what is restored goes to the binary log.
    pub(crate) with_binlog: bool,
}

/// Always set, where the server knows it.
const WANTED: [&str; 9] = [
    "foreign_key_checks = 0",
    "autocommit = 1",
    "net_read_timeout = 3600",
    "net_write_timeout = 3600",
    "wait_timeout = 86400",
    "innodb_lock_wait_timeout = 600",
    "lock_wait_timeout = 3600",
    // The server's own limits are for its ordinary work.
    "max_statement_time = 0",
    "max_execution_time = 0",
];

/// For building keys: MySQL's defaults are for servers that do other work at the same time.
const FOR_KEYS: [&str; 3] =
    ["innodb_ddl_threads = 4", "innodb_ddl_buffer_size = 268435456", "innodb_parallel_read_threads = 4"];

/// ER_UNKNOWN_SYSTEM_VARIABLE, ER_GLOBAL_VARIABLE, ER_INCORRECT_GLOBAL_LOCAL_VAR, ER_SPECIFIC_ACCESS_DENIED.
const NOT_HERE: [u16; 4] = [1193, 1229, 1238, 1227];

impl Sessions {
    pub(crate) async fn open(&self) -> Result<Loader, ServerError> {
        let mut loader = Loader::open(&self.target, &Limits::default(), STATEMENT_LIMIT).await?;
        for variable in WANTED.iter().chain(FOR_KEYS.iter()) {
            match loader.run(format!("SET SESSION {variable}").as_bytes()).await {
                Ok(_) => {}
                Err(error) if error.code().is_some_and(|code| NOT_HERE.contains(&code)) => {}
                Err(error) => return Err(error),
            }
        }
        if !self.with_binlog {
            loader.run(b"SET SESSION sql_log_bin = 0").await?;
        }
        Ok(loader)
    }

    /// What makes a session the one that statements were written for.
    ///
    /// # Errors
    /// When the dump's value cannot be a value.
    pub(crate) fn statement(&self, session: &SessionContext) -> Result<Sql, ServerError> {
        let context = &session.context;
        let quoted = |text: &str| quote_string(text).map_err(|error| ServerError::Other(error.to_string()));
        let charset = context.charset.as_deref().unwrap_or("utf8mb4");
        // A client cannot speak these; dumps that name them mean what the server made of it.
        let charset =
            if ["ucs2", "utf16", "utf16le", "utf32"].contains(&charset) { "utf8mb4" } else { charset };
        if !charset.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(ServerError::Other(format!("`{charset}` is no name of a character set")));
        }
        let mut text = format!("SET NAMES {charset}");
        if let Some(collation) = &context.collation
            && collation.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            // Old mydumpers write the character set in its place.
            && collation.strip_prefix(charset).is_some_and(|rest| rest.starts_with('_'))
        {
            text = format!("{text} COLLATE {collation}");
        }
        let mode = context.sql_mode.as_deref().unwrap_or(SQL_MODE);
        let (mode, _) = dump::fix::sql_mode(mode, self.vendor);
        let zone = context.time_zone.as_deref().unwrap_or("+00:00");
        Ok(Sql::plain(format!("{text}, sql_mode = {}, time_zone = {}", quoted(&mode)?, quoted(zone)?)))
    }
}
