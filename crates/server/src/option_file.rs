//! my.cnf-style client option files: login and address from `[client]` and `[client-mariadb]`.
//!
//! It deliberately follows no `!include`, reads no other group, and never repeats a value in an error.

use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use thiserror::Error;

use crate::target::{Endpoint, Target, Tls};

/// No client option file has a reason to be larger.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// What a client option file says. An option given twice has its last value, as with the servers' own clients.
#[derive(Clone, Debug, Default)]
pub struct OptionFile {
    /// `user`.
    pub user: Option<String>,
    /// `password`.
    pub password: Option<SecretString>,
    /// `host`.
    pub host: Option<String>,
    /// `port`.
    pub port: Option<u16>,
    /// `socket`.
    pub socket: Option<PathBuf>,
    /// `ssl-ca`.
    pub ssl_ca: Option<PathBuf>,
    /// `ssl-cert`.
    pub ssl_cert: Option<PathBuf>,
    /// `ssl-key`.
    pub ssl_key: Option<PathBuf>,
    /// `ssl-verify-server-cert`; `None` where the file does not say.
    pub ssl_verify_server_cert: Option<bool>,
}

/// A client option file that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OptionFileError {
    /// The file cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file holds a password and everybody on the host may read or write it.
    #[error("{path} holds a password and is open to others (mode {mode:o}); run: chmod o= {path}", path = path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A line cannot be understood.
    #[error("line {line}: {problem}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong, without the value.
        problem: LineProblem,
    },
}

/// What is wrong with a line of an option file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineProblem {
    /// `!include` or `!includedir`.
    Include,
    /// A group header without its `]`.
    OpenGroup,
    /// An option before the first group.
    NoGroup,
    /// A quoted value without its end.
    OpenQuote,
    /// The named option needs a value.
    NoValue(String),
    /// The named option's value is not what it must be, named second.
    BadValue(String, &'static str),
    /// Not UTF-8.
    Encoding,
}

impl fmt::Display for LineProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Include => f.write_str("`!include` is not followed; name the included file itself"),
            Self::OpenGroup => f.write_str("group without its `]`"),
            Self::NoGroup => f.write_str("option before the first [group]"),
            Self::OpenQuote => f.write_str("value without its closing quote"),
            Self::NoValue(key) => write!(f, "`{key}` needs a value"),
            Self::BadValue(key, expected) => write!(f, "`{key}` must be {expected}"),
            Self::Encoding => f.write_str("not UTF-8"),
        }
    }
}

impl OptionFile {
    /// Reads and parses a file.
    ///
    /// # Errors
    /// If it cannot be read or parsed, or holds a password while others may read or write it.
    pub fn read(path: &Path) -> Result<Self, OptionFileError> {
        let failed = |source| OptionFileError::Read { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(failed)?;
        // Of the open file, so that mode and content belong together.
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(failed)?;
        let parsed = Self::parse(&bytes)?;
        if parsed.password.is_some() && mode & 0o006 != 0 {
            return Err(OptionFileError::OpenToOthers { path: path.to_owned(), mode });
        }
        Ok(parsed)
    }

    /// Parses a file's content.
    ///
    /// # Errors
    /// With the first line that cannot be understood.
    pub fn parse(bytes: &[u8]) -> Result<Self, OptionFileError> {
        let mut options = Self::default();
        let mut group: Option<String> = None;
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let at = |problem| OptionFileError::Line { line: index + 1, problem };
            let text = std::str::from_utf8(line).map_err(|_| at(LineProblem::Encoding))?.trim();
            if text.is_empty() || text.starts_with(['#', ';']) {
                continue;
            }
            if text.starts_with('!') {
                return Err(at(LineProblem::Include));
            }
            if let Some(header) = text.strip_prefix('[') {
                let (name, _) = header.split_once(']').ok_or_else(|| at(LineProblem::OpenGroup))?;
                group = Some(name.trim().to_owned());
                continue;
            }
            match group.as_deref() {
                None => return Err(at(LineProblem::NoGroup)),
                Some("client" | "client-mariadb") => options.take(text).map_err(at)?,
                Some(_) => {}
            }
        }
        Ok(options)
    }

    /// The server and login this file describes: its socket unless it names another host, else TCP.
    /// `default_user` and `default_socket` stand in for what it leaves out.
    #[must_use]
    pub fn into_target(self, default_user: &str, default_socket: &Path) -> Target {
        let endpoint = match (self.host, self.socket) {
            (Some(host), _) if host != "localhost" => Endpoint::Tcp { host, port: self.port.unwrap_or(3306) },
            (_, socket) => Endpoint::Socket(socket.unwrap_or_else(|| default_socket.to_owned())),
        };
        let tls = match (&endpoint, self.ssl_verify_server_cert) {
            (Endpoint::Socket(_), _) => Tls::Off,
            (Endpoint::Tcp { .. }, Some(false)) => Tls::Insecure,
            (Endpoint::Tcp { .. }, Some(true) | None) => Tls::Verify {
                ca: self.ssl_ca,
                server_name: None,
                client_cert: self.ssl_cert.zip(self.ssl_key),
            },
        };
        let user = self.user.unwrap_or_else(|| default_user.to_owned());
        Target { endpoint, user, password: self.password, tls }
    }

    /// One `key`, `key = value` line of a client group.
    fn take(&mut self, line: &str) -> Result<(), LineProblem> {
        let (key, raw) = match line.split_once('=') {
            Some((key, raw)) => (key, Some(raw)),
            None => (line.split('#').next().unwrap_or_default(), None),
        };
        let key = key.trim().replace('_', "-");
        if key == "ssl-verify-server-cert" {
            self.ssl_verify_server_cert = Some(switch(&key, raw)?);
            return Ok(());
        }
        if !KEYS.contains(&key.as_str()) {
            return Ok(());
        }
        let value = unquoted(raw.ok_or_else(|| LineProblem::NoValue(key.clone()))?)?;
        match key.as_str() {
            "user" => self.user = Some(value),
            "password" => self.password = Some(value.into()),
            "host" => self.host = Some(value),
            "port" => {
                let port = value.parse().ok().filter(|port| *port != 0);
                let port = port.ok_or(LineProblem::BadValue(key, "a port from 1 to 65535"))?;
                self.port = Some(port);
            }
            "socket" => self.socket = Some(value.into()),
            "ssl-ca" => self.ssl_ca = Some(value.into()),
            "ssl-cert" => self.ssl_cert = Some(value.into()),
            _ => self.ssl_key = Some(value.into()),
        }
        Ok(())
    }
}

const KEYS: [&str; 8] = ["user", "password", "host", "port", "socket", "ssl-ca", "ssl-cert", "ssl-key"];

/// A switch is on when it stands alone.
fn switch(key: &str, raw: Option<&str>) -> Result<bool, LineProblem> {
    let Some(raw) = raw else { return Ok(true) };
    match unquoted(raw)?.to_ascii_lowercase().as_str() {
        "1" | "on" | "true" => Ok(true),
        "0" | "off" | "false" => Ok(false),
        _ => Err(LineProblem::BadValue(key.to_owned(), "0 or 1")),
    }
}

/// A value without its quotes, its comment and its escapes, by the rules of the servers' own clients: a `#`
/// outside quotes ends the value, and a backslash before any other character stays.
fn unquoted(raw: &str) -> Result<String, LineProblem> {
    let raw = raw.trim();
    let quote = raw.chars().next().filter(|first| matches!(first, '"' | '\''));
    let mut value = String::new();
    let mut chars = raw.chars().skip(usize::from(quote.is_some()));
    let mut closed = false;
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                Some('r') => value.push('\r'),
                Some('b') => value.push('\u{8}'),
                Some('s') => value.push(' '),
                Some(escaped @ ('\\' | '"' | '\'')) => value.push(escaped),
                Some(other) => value.extend(['\\', other]),
                None => value.push('\\'),
            },
            '#' if quote.is_none() => break,
            char if Some(char) == quote => {
                closed = true;
                break;
            }
            char => value.push(char),
        }
    }
    match quote {
        Some(_) if !closed => Err(LineProblem::OpenQuote),
        Some(_) => Ok(value),
        // Blanks before a comment are not part of the value; an escaped one at the end is.
        None if raw.ends_with("\\s") => Ok(value),
        None => Ok(value.trim_end_matches([' ', '\t']).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    fn password_of(line: &str) -> String {
        let file = OptionFile::parse(format!("[client]\n{line}\n").as_bytes()).unwrap();
        file.password.unwrap().expose_secret().to_owned()
    }

    #[test]
    fn values_follow_the_clients_rules() {
        for (line, wanted) in [
            ("password=plain", "plain"),
            ("password = spaced out ", "spaced out"),
            ("password=\"quo#ted\" # comment", "quo#ted"),
            ("password='it\\'s'", "it's"),
            ("password=before#after", "before"),
            ("password=before # after", "before"),
            ("password=a\\sb\\tc\\nd\\\\e", "a b\tc\nd\\e"),
            ("password=\\sx\\s", " x "),
            ("password=keep\\dthis", "keep\\dthis"),
            ("password=with=equals", "with=equals"),
            ("password=pässwörd$\\\"@:", "pässwörd$\"@:"),
            ("password=", ""),
            ("password=one\npassword=two", "two"),
        ] {
            assert_eq!(password_of(line), wanted, "{line}");
        }
    }

    #[test]
    fn only_client_groups_count_and_underscores_are_dashes() {
        let text = b"# c\n; c\n[mysql]\nuser=no\n[client]\nuser=a\nssl_ca=/ca.pem\nunknown=1\ncompress\n\
                     [client-mariadb]\r\nport = 3307\r\nssl-verify-server-cert\n[mysqld]\nport=1\n";
        let file = OptionFile::parse(text).unwrap();
        assert_eq!(file.user.as_deref(), Some("a"));
        assert_eq!(file.port, Some(3307));
        assert_eq!(file.ssl_ca, Some("/ca.pem".into()));
        assert_eq!(file.ssl_verify_server_cert, Some(true));
    }

    #[test]
    fn errors_name_the_line_and_never_the_value() {
        for (text, line, problem) in [
            ("[client]\n!include /etc/x", 2, LineProblem::Include),
            ("[client\nuser=a", 1, LineProblem::OpenGroup),
            ("user=a", 1, LineProblem::NoGroup),
            ("[client]\n\npassword='hunter2", 3, LineProblem::OpenQuote),
            ("[client]\npassword", 2, LineProblem::NoValue("password".to_owned())),
            ("[client]\nport=hunter2", 2, LineProblem::BadValue("port".to_owned(), "a port from 1 to 65535")),
            (
                "[client]\nssl_verify_server_cert=hunter2",
                2,
                LineProblem::BadValue("ssl-verify-server-cert".to_owned(), "0 or 1"),
            ),
        ] {
            let error = OptionFile::parse(text.as_bytes()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
            let OptionFileError::Line { line: found_line, problem: found } = error else { panic!("{error}") };
            assert_eq!((found_line, found), (line, problem), "{text}");
        }
    }

    #[test]
    fn a_password_open_to_others_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("my.cnf");
        let write = |text: &str, mode: u32| {
            let mut file = std::fs::File::create(&path).unwrap();
            std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            OptionFile::read(&path)
        };
        assert!(matches!(
            write("[client]\npassword=x", 0o644),
            Err(OptionFileError::OpenToOthers { mode: 0o644, .. })
        ));
        assert!(write("[client]\npassword=x", 0o640).is_ok());
        assert!(write("[client]\nuser=x", 0o644).is_ok());
    }

    #[test]
    fn the_target_is_a_socket_unless_another_host_is_named() {
        let target = |text: &str| {
            OptionFile::parse(text.as_bytes()).unwrap().into_target("root", Path::new("/run/d.sock"))
        };
        let socket = target("[client]\nhost=localhost\nuser=a");
        assert_eq!((socket.endpoint, socket.user), (Endpoint::Socket("/run/d.sock".into()), "a".to_owned()));
        let tcp = target("[client]\nhost=db1\nssl-ca=/ca\nsocket=/x");
        assert_eq!(tcp.endpoint, Endpoint::Tcp { host: "db1".to_owned(), port: 3306 });
        assert_eq!(tcp.tls, Tls::Verify { ca: Some("/ca".into()), server_name: None, client_cert: None });
        assert_eq!(target("[client]\nhost=db1\nssl-verify-server-cert=0").tls, Tls::Insecure);
    }
}
