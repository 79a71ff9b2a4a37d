//! [`ServerError`]: what can go wrong between here and a server, one variant for each case a caller tells
//! apart. It retries nothing.

use std::io;

use mysql_async::{DriverError, Error as DriverFailure, IoError};
use rustls::CertificateError;
use thiserror::Error;

use crate::sql::Sql;
use crate::target::Endpoint;

/// A failed connection or statement. Messages never hold secrets.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Nobody listens at the address, or the network cannot reach it.
    #[error("cannot reach {endpoint}: {reason}")]
    ConnectRefused {
        /// Where.
        endpoint: String,
        /// The operating system's words.
        reason: String,
    },
    /// The socket does not exist, or this user may not open it.
    #[error("cannot open the socket {endpoint}: {reason}")]
    NoSocket {
        /// The socket's path.
        endpoint: String,
        /// The operating system's words.
        reason: String,
    },
    /// Reaching the server and logging in took too long.
    #[error("no answer from {endpoint} within {limit_ms} ms")]
    Timeout {
        /// Where.
        endpoint: String,
        /// The limit in milliseconds.
        limit_ms: u128,
    },
    /// The login was refused.
    #[error("login refused ({code}): {message}")]
    AccessDenied {
        /// Server's error number.
        code: u16,
        /// Server's words; they name the account, never the password.
        message: String,
    },
    /// Encryption could not be set up.
    #[error("TLS with {endpoint} failed: {failure}")]
    TlsFailed {
        /// Where.
        endpoint: String,
        /// Why.
        failure: TlsFailure,
    },
    /// No account may log in from this host.
    #[error("the server accepts no login from this host ({code}): {message}")]
    HostNotAllowed {
        /// Server's error number.
        code: u16,
        /// Server's words.
        message: String,
    },
    /// `max_connections`, or a limit of the account, is reached.
    #[error("too many connections ({code}): {message}")]
    TooManyConnections {
        /// Server's error number.
        code: u16,
        /// Server's words.
        message: String,
    },
    /// The statement ran into its time limit and was stopped.
    #[error("stopped after {limit_ms} ms: {statement}")]
    StatementTimeout {
        /// The limit in milliseconds.
        limit_ms: u128,
        /// The statement, or its label.
        statement: String,
    },
    /// The server is read-only for this login.
    #[error("the server is read-only ({code}): {message}")]
    ReadOnly {
        /// Server's error number.
        code: u16,
        /// Server's words.
        message: String,
    },
    /// The server refused the statement for any other reason.
    #[error("error {code} ({state}): {message}, in: {statement}")]
    Sql {
        /// Server's error number.
        code: u16,
        /// SQLSTATE.
        state: String,
        /// Server's words; withheld for statements that hold a secret, as servers quote the text.
        message: String,
        /// The statement, or its label.
        statement: String,
    },
    /// The connection broke; whether the statement took effect is unknown.
    #[error("connection lost: {reason}")]
    ConnectionLost {
        /// What was seen.
        reason: String,
    },
    /// The server is shutting down.
    #[error("the server is shutting down")]
    ServerShutdown,
    /// The result had more rows than any caller expects.
    #[error("more than {limit} rows from: {statement}")]
    TooManyRows {
        /// The limit.
        limit: usize,
        /// The statement, or its label.
        statement: String,
    },
    /// Anything else, such as a version that cannot be parsed.
    #[error("{0}")]
    Other(String),
}

/// Why TLS failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TlsFailure {
    /// The certificate is past its end.
    #[error("the server's certificate has expired")]
    Expired,
    /// The certificate's time has not begun; often a wrong clock.
    #[error("the server's certificate is not valid yet")]
    NotValidYet,
    /// It was not issued by an authority that is trusted here.
    #[error("the server's certificate comes from an unknown issuer")]
    UnknownIssuer,
    /// An X.509 version 1 certificate, which no modern client accepts.
    #[error("the server's certificate is X.509 version 1")]
    Version1,
    /// It is for another name or address.
    #[error("the server's certificate is for another name")]
    NameMismatch,
    /// The server has no TLS.
    #[error("the server offers no TLS")]
    NotOffered,
    /// The server insists on TLS and the client used none.
    #[error("the server accepts encrypted connections only")]
    Required,
    /// A certificate or key file cannot be used.
    #[error("{0}")]
    File(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl ServerError {
    /// What to do next, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::ConnectRefused { .. } => {
                "check that the server runs and listens on that address (bind_address): systemctl status mariadb mysql"
            }
            Self::NoSocket { .. } => {
                "check that the server runs, and its socket's path: mariadbd --print-defaults or mysqld --print-defaults"
            }
            Self::Timeout { .. } => "check the network path and the firewall: nft list ruleset",
            Self::AccessDenied { .. } => {
                "check user and password; as root on the server's host, try its socket with --socket"
            }
            Self::TlsFailed { failure, .. } => failure.hint()?,
            Self::HostNotAllowed { .. } => {
                "create an account for this host, or if it is blocked run: mariadb-admin flush-hosts"
            }
            Self::TooManyConnections { .. } => {
                "see who is connected: SELECT user, host, COUNT(*) FROM information_schema.processlist GROUP BY 1, 2"
            }
            Self::ReadOnly { .. } => "find the primary with: mainstay status",
            Self::ConnectionLost { .. } | Self::ServerShutdown => {
                "read the end of the server's error log, then run: mainstay status"
            }
            Self::StatementTimeout { .. } => {
                "see what it waited for: SELECT * FROM information_schema.processlist"
            }
            Self::Sql { .. } | Self::TooManyRows { .. } | Self::Other(_) => return None,
        };
        Some(hint.to_owned())
    }

    /// The server's error number, where the server answered with one.
    #[must_use]
    pub const fn code(&self) -> Option<u16> {
        match self {
            Self::AccessDenied { code, .. }
            | Self::HostNotAllowed { code, .. }
            | Self::TooManyConnections { code, .. }
            | Self::ReadOnly { code, .. }
            | Self::Sql { code, .. } => Some(*code),
            Self::ServerShutdown => Some(1053),
            Self::ConnectRefused { .. }
            | Self::NoSocket { .. }
            | Self::Timeout { .. }
            | Self::TlsFailed { .. }
            | Self::StatementTimeout { .. }
            | Self::ConnectionLost { .. }
            | Self::TooManyRows { .. }
            | Self::Other(_) => None,
        }
    }

    /// `true` if the server refused the statement for want of a privilege: the fact stays unknown, the
    /// connection is sound.
    #[must_use]
    pub const fn is_missing_privilege(&self) -> bool {
        // ER_DBACCESS_DENIED, ER_TABLEACCESS_DENIED, ER_COLUMNACCESS_DENIED, ER_SPECIFIC_ACCESS_DENIED.
        matches!(self, Self::Sql { code: 1044 | 1142 | 1143 | 1227, .. })
    }

    /// `true` if the connection cannot be used any more.
    #[must_use]
    pub const fn is_connection_gone(&self) -> bool {
        matches!(self, Self::ConnectionLost { .. } | Self::ServerShutdown | Self::TooManyRows { .. })
    }

    /// A failure to connect or log in.
    pub(crate) fn from_connecting(failure: DriverFailure, endpoint: &Endpoint) -> Self {
        if matches!(failure, DriverFailure::Driver(DriverError::NoClientSslFlagFromServer)) {
            return Self::TlsFailed { endpoint: endpoint.to_string(), failure: TlsFailure::NotOffered };
        }
        match failure {
            DriverFailure::Server(error) => Self::from_server(error, &Sql::plain("connect"), 0, endpoint),
            DriverFailure::Io(IoError::Io(error)) => Self::from_connecting_io(&error, endpoint),
            DriverFailure::Io(IoError::Tls(error)) => {
                let failure = match error {
                    mysql_async::TlsError::Tls(error) => TlsFailure::from_rustls(&error),
                    mysql_async::TlsError::InvalidDnsName(_) => TlsFailure::NameMismatch,
                    mysql_async::TlsError::Pem(error) => TlsFailure::File(format!("bad PEM file: {error}")),
                    mysql_async::TlsError::VerifierBuilderError(_) => {
                        TlsFailure::File("no certificate in the CA file".to_owned())
                    }
                };
                Self::TlsFailed { endpoint: endpoint.to_string(), failure }
            }
            DriverFailure::Driver(_) | DriverFailure::Other(_) | DriverFailure::Url(_) => {
                Self::from_driver(&failure)
            }
        }
    }

    fn from_connecting_io(error: &io::Error, endpoint: &Endpoint) -> Self {
        if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Self::TlsFailed { endpoint: endpoint.to_string(), failure: TlsFailure::from_rustls(tls) };
        }
        let (endpoint_text, reason) = (endpoint.to_string(), error.to_string());
        match (endpoint, error.kind()) {
            (Endpoint::Socket(_), _) => Self::NoSocket { endpoint: endpoint_text, reason },
            (
                Endpoint::Tcp { .. },
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe,
            ) => Self::ConnectionLost { reason: format!("{endpoint_text} closed it during login: {reason}") },
            (Endpoint::Tcp { .. }, _) => Self::ConnectRefused { endpoint: endpoint_text, reason },
        }
    }

    /// A failure of a statement on an open connection.
    pub(crate) fn from_statement(
        failure: DriverFailure,
        sql: &Sql,
        limit_ms: u128,
        endpoint: &Endpoint,
    ) -> Self {
        if let DriverFailure::Server(error) = failure {
            Self::from_server(error, sql, limit_ms, endpoint)
        } else {
            Self::from_driver(&failure)
        }
    }

    /// Driver messages may quote packets and values, so only fixed words leave this function.
    fn from_driver(failure: &DriverFailure) -> Self {
        match failure {
            DriverFailure::Io(IoError::Io(error)) => {
                Self::ConnectionLost { reason: error.kind().to_string() }
            }
            DriverFailure::Io(IoError::Tls(_)) => {
                Self::ConnectionLost { reason: "TLS session broke".to_owned() }
            }
            DriverFailure::Driver(DriverError::ConnectionClosed) => {
                Self::ConnectionLost { reason: "closed".to_owned() }
            }
            DriverFailure::Driver(DriverError::UnknownAuthPlugin { name }) => Self::AccessDenied {
                code: 0,
                message: format!("the account's authentication plugin `{name}` is not supported"),
            },
            DriverFailure::Driver(DriverError::MysqlOldPasswordDisabled) => Self::AccessDenied {
                code: 0,
                message: "the account's authentication plugin `mysql_old_password` is not secure".to_owned(),
            },
            DriverFailure::Driver(DriverError::CleartextPluginDisabled) => Self::AccessDenied {
                code: 0,
                message: "the server asked for the password in clear text".to_owned(),
            },
            DriverFailure::Driver(DriverError::PacketTooLarge) => {
                Self::Other("statement larger than max_allowed_packet".to_owned())
            }
            DriverFailure::Driver(_)
            | DriverFailure::Other(_)
            | DriverFailure::Server(_)
            | DriverFailure::Url(_) => Self::ConnectionLost { reason: "protocol error".to_owned() },
        }
    }

    fn from_server(error: mysql_async::ServerError, sql: &Sql, limit_ms: u128, endpoint: &Endpoint) -> Self {
        let mysql_async::ServerError { code, message, state } = error;
        let message =
            if sql.is_secret() { "message withheld, it may quote the statement".to_owned() } else { message };
        match code {
            // 1698: MariaDB without a password; 1820, 1862: expired; 3118, 4151: locked.
            1045 | 1698 | 1820 | 1862 | 3118 | 4151 => Self::AccessDenied { code, message },
            1129 | 1130 => Self::HostNotAllowed { code, message },
            1040 | 1203 | 1226 => Self::TooManyConnections { code, message },
            // 1290 also stands for other options, such as secure_file_priv.
            1290 if message.contains("read") || sql.is_secret() => Self::ReadOnly { code, message },
            1836 => Self::ReadOnly { code, message },
            // 1969: MariaDB's max_statement_time; 3024: MySQL's max_execution_time.
            1969 | 3024 => Self::StatementTimeout { limit_ms, statement: sql.to_string() },
            1053 => Self::ServerShutdown,
            // 1927: killed; 4031: idle for too long.
            1927 | 4031 => Self::ConnectionLost { reason: message },
            3159 => Self::TlsFailed { endpoint: endpoint.to_string(), failure: TlsFailure::Required },
            _ => Self::Sql { code, state, message, statement: sql.to_string() },
        }
    }
}

impl TlsFailure {
    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Expired | Self::NotValidYet => {
                Some("compare the hosts' clocks, then renew the certificate: mainstay plan")
            }
            Self::UnknownIssuer => Some("name the authority's certificate with --tls-ca"),
            Self::Version1 => Some("replace it with an X.509 version 3 certificate: mainstay plan"),
            Self::NameMismatch => Some("connect by a name in the certificate, or give it with --tls-name"),
            Self::NotOffered => Some("set ssl_cert and ssl_key on the server: mainstay plan"),
            Self::Required => Some("connect with TLS: give the authority's certificate with --tls-ca"),
            Self::File(_) | Self::Other(_) => None,
        }
    }

    fn from_rustls(error: &rustls::Error) -> Self {
        let rustls::Error::InvalidCertificate(certificate) = error else {
            return Self::Other(error.to_string());
        };
        use CertificateError as Seen;
        if matches!(certificate, Seen::Expired | Seen::ExpiredContext { .. }) {
            Self::Expired
        } else if matches!(certificate, Seen::NotValidYet | Seen::NotValidYetContext { .. }) {
            Self::NotValidYet
        } else if matches!(certificate, Seen::UnknownIssuer) {
            Self::UnknownIssuer
        } else if matches!(certificate, Seen::NotValidForName | Seen::NotValidForNameContext { .. }) {
            Self::NameMismatch
        } else if format!("{certificate:?}").contains("UnsupportedCertVersion") {
            // The library has no variant of its own for it.
            Self::Version1
        } else {
            Self::Other(error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, message: &str, sql: &Sql) -> ServerError {
        let error = mysql_async::ServerError { code, message: message.to_owned(), state: "42000".to_owned() };
        let endpoint = Endpoint::Socket("/run/db.sock".into());
        ServerError::from_statement(DriverFailure::Server(error), sql, 50, &endpoint)
    }

    #[test]
    fn a_secret_statement_leaks_neither_text_nor_message() {
        let sql = Sql::secret("SET PASSWORD = 'hunter2' oops", "SET PASSWORD ...");
        let error = refused(1064, "syntax error near ''hunter2' oops'", &sql);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("1064") && shown.contains("SET PASSWORD ..."), "{shown}");
    }

    #[test]
    fn read_only_is_told_from_other_options() {
        let sql = Sql::plain("INSERT");
        let with =
            |option: &str| format!("The server is running with the {option} option so it cannot execute");
        assert!(matches!(refused(1290, &with("--read-only"), &sql), ServerError::ReadOnly { .. }));
        assert!(matches!(
            refused(1290, &with("--secure-file-priv"), &sql),
            ServerError::Sql { code: 1290, .. }
        ));
    }

    #[test]
    fn a_server_side_time_limit_is_a_timeout() {
        for code in [1969, 3024] {
            let error = refused(code, "", &Sql::plain("SELECT SLEEP(9)"));
            assert_eq!(
                error,
                ServerError::StatementTimeout { limit_ms: 50, statement: "SELECT SLEEP(9)".to_owned() }
            );
        }
    }

    #[test]
    fn certificate_failures_are_told_apart() {
        let reason = |error: CertificateError| TlsFailure::from_rustls(&error.into());
        assert_eq!(reason(CertificateError::Expired), TlsFailure::Expired);
        assert_eq!(reason(CertificateError::UnknownIssuer), TlsFailure::UnknownIssuer);
        assert_eq!(reason(CertificateError::NotValidForName), TlsFailure::NameMismatch);
    }
}
