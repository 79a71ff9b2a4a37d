//! Connections to servers and server processes: the only crate that sends SQL to a server or starts one.
//!
//! It deliberately decides nothing: statements that differ by version come from `flavor`, what is wanted
//! from the plan. Only this crate names the protocol library.

mod binlog_dump;
mod connection;
mod error;
mod facts;
mod load;
mod option_file;
mod process;
mod program;
mod row;
pub mod sessions;
mod sql;
mod stream;
mod target;

pub use binlog_dump::{BinlogDump, DumpEvent, DumpFrom};
pub use connection::{Connection, Executed};
pub use error::{ServerError, TlsFailure};
pub use facts::{RoleFacts, collect, collect_role};
pub use load::{Loaded, Loader};
pub use option_file::{OptionFile, OptionFileError};
pub use process::{ProcessState, ServerProcess, Signal, clear_dead_socket_lock};
pub use program::{ProgramError, ServerProgram};
pub use row::Row;
pub use sql::{Param, Sql};
pub use stream::{RowStream, RowValues};
pub use target::{Endpoint, Limits, Target, Tls};

/// Makes aws-lc-rs the TLS provider of the process. Call it once, first thing in `main`; a second call
/// changes nothing.
pub fn install_tls_provider() {
    // An error only says that a provider is installed already, which is what is wanted.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        tracing::debug!("a TLS provider was installed before");
    }
}
