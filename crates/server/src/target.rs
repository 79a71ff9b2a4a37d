//! Where a server is, who logs in, and how long anything may take. Opens nothing.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use mysql_async::{ClientIdentity, Opts, OptsBuilder, SslOpts};
use secrecy::{ExposeSecret, SecretString};

/// A server's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A Unix socket on this host.
    Socket(PathBuf),
    /// A TCP port.
    Tcp {
        /// Host name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// Encryption of a TCP connection. A socket never has any: it does not leave the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// None. `caching_sha2_password` then sends the password under the server's RSA key, unverified.
    Off,
    /// Encrypted, and the certificate's issuer, dates and name are verified.
    Verify {
        /// PEM file of the certificate authorities to trust; none: the public ones.
        ca: Option<PathBuf>,
        /// Name or address the certificate must be for, where it differs from the host connected to.
        server_name: Option<String>,
        /// PEM files of a client certificate chain and its key.
        client_cert: Option<(PathBuf, PathBuf)>,
    },
    /// Encrypted, nothing is verified: whoever answers is believed.
    Insecure,
}

impl Default for Tls {
    fn default() -> Self {
        Self::Verify { ca: None, server_name: None, client_cert: None }
    }
}

/// A server and the login to use there.
#[derive(Clone, Debug)]
pub struct Target {
    /// Address.
    pub endpoint: Endpoint,
    /// Account's user.
    pub user: String,
    /// Its password; none for accounts that need none, such as socket authentication.
    pub password: Option<SecretString>,
    /// Encryption; ignored on a socket.
    pub tls: Tls,
}

impl Target {
    /// A login over a Unix socket, without a password.
    #[must_use]
    pub fn socket(path: impl Into<PathBuf>, user: impl Into<String>) -> Self {
        Self { endpoint: Endpoint::Socket(path.into()), user: user.into(), password: None, tls: Tls::Off }
    }

    /// A login over TCP, with the certificate verified under the public authorities.
    #[must_use]
    pub fn tcp(host: impl Into<String>, port: u16, user: impl Into<String>) -> Self {
        let endpoint = Endpoint::Tcp { host: host.into(), port };
        Self { endpoint, user: user.into(), password: None, tls: Tls::default() }
    }

    /// The same with a password.
    #[must_use]
    pub fn with_password(mut self, password: SecretString) -> Self {
        self.password = Some(password);
        self
    }

    /// The same with other encryption.
    #[must_use]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    pub(crate) fn driver_options(&self) -> Opts {
        let builder = OptsBuilder::default()
            .user(Some(self.user.as_str()))
            .pass(self.password.as_ref().map(|password| password.expose_secret().to_owned()))
            // The driver would otherwise leave TCP for whatever socket path the server names.
            .prefer_socket(false)
            .stmt_cache_size(Some(8))
            .connect_attribute("program_name", "mainstay");
        let builder = match &self.endpoint {
            Endpoint::Socket(path) => builder.socket(Some(path.to_string_lossy().into_owned())),
            Endpoint::Tcp { host, port } => builder
                .ip_or_hostname(host.as_str())
                .tcp_port(*port)
                .tcp_keepalive(Some(Duration::from_secs(30)))
                .ssl_opts(self.tls.driver_options()),
        };
        builder.into()
    }
}

impl Tls {
    fn driver_options(&self) -> Option<SslOpts> {
        match self {
            Self::Off => None,
            Self::Insecure => Some(
                SslOpts::default()
                    .with_danger_accept_invalid_certs(true)
                    .with_danger_skip_domain_validation(true),
            ),
            Self::Verify { ca, server_name, client_cert } => {
                let mut options = SslOpts::default().with_danger_tls_hostname_override(server_name.clone());
                if let Some(ca) = ca {
                    // A private authority replaces the public ones: nobody else may vouch for the server.
                    options =
                        options.with_root_certs(vec![ca.clone().into()]).with_disable_built_in_roots(true);
                }
                let identity = client_cert
                    .as_ref()
                    .map(|(chain, key)| ClientIdentity::new(chain.clone().into(), key.clone().into()));
                Some(options.with_client_identity(identity))
            }
        }
    }
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Reaching the server and logging in.
    pub connect: Duration,
    /// One statement, on the server; the client waits [`Limits::GRACE`] longer.
    pub statement: Duration,
}

impl Limits {
    /// What the client waits beyond the statement's limit before it has the statement killed.
    pub const GRACE: Duration = Duration::from_millis(500);
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), statement: Duration::from_secs(30) }
    }
}
