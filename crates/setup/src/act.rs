//! One action at a time: what each [`Action`] of a plan does to the host and the server.
//!
//! Nothing is chosen here. Secrets are read from their files at the moment they are needed and leave only in
//! statements that are marked secret.
#![expect(clippy::wildcard_enum_match_arm, reason = "the groups in `carry_out` name every action once")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use flavor::TlsReload;
use host::files::{self, Ownership};
use host::firewall::{Guarded, Nftables};
use host::packages::Packages;
use host::{net, pki, secrets};
use plan::{Action, CertificateKind};
use secrecy::{ExposeSecret, SecretString};
use server::{Connection, Limits, Sql};
use spec::{Node, Spec};
use sqltext::{quote_account, quote_ident, quote_string};

use crate::cloudstack_files;
use crate::error::SetupError;
use crate::login::admin_target;
use crate::observe::CERTIFICATE_UNREAD;
use crate::schema;
use crate::service::Driver;

/// Dropping a full database takes its time.
const SLOW_STATEMENT: Duration = Duration::from_secs(600);
/// How long new firewall rules have to prove themselves.
const FIREWALL_CONFIRM: Duration = Duration::from_secs(10);

/// Carries out actions on one node, over one connection opened when first needed.
pub(crate) struct Act<'a> {
    spec: &'a Spec,
    node: &'a Node,
    connection: Option<Connection>,
}

impl<'a> Act<'a> {
    pub(crate) const fn new(spec: &'a Spec, node: &'a Node) -> Self {
        Self { spec, node, connection: None }
    }

    /// Closes the connection, if one was opened.
    pub(crate) async fn close(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.close().await;
        }
    }

    async fn connection(&mut self) -> Result<&mut Connection, SetupError> {
        let opened = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&admin_target(self.spec, self.node)?, &Limits::default()).await?,
        };
        Ok(self.connection.insert(opened))
    }

    async fn run(&mut self, statement: String) -> Result<(), SetupError> {
        let connection = self.connection().await?;
        connection.with_limit(SLOW_STATEMENT).execute(&Sql::plain(statement)).await?;
        Ok(())
    }

    pub(crate) async fn carry_out(&mut self, action: &Action) -> Result<(), SetupError> {
        match action {
            Action::InstallPackages { .. }
            | Action::CreateSecret { .. }
            | Action::CreateCa { .. }
            | Action::IssueCertificate { .. }
            | Action::OwnKey { .. }
            | Action::WriteConfig { .. }
            | Action::WriteKeyFile { .. }
            | Action::WriteProperties { .. }
            | Action::ApplyFirewall { .. } => self.on_host(action).await,
            Action::EnableService | Action::StartService | Action::RestartService => {
                self.on_service(action).await
            }
            Action::CreateAccount { .. }
            | Action::SetPassword { .. }
            | Action::AlterAccount { .. }
            | Action::SocketLogin { .. }
            | Action::DropAccount { .. }
            | Action::Grant { .. }
            | Action::Revoke { .. } => self.on_account(action).await,
            Action::ReloadTls
            | Action::SetGlobal { .. }
            | Action::ResetPersist { .. }
            | Action::CreateDatabase { .. }
            | Action::DropDatabase { .. }
            | Action::LoadSchema { .. } => self.on_server(action).await,
        }
    }

    async fn on_host(&mut self, action: &Action) -> Result<(), SetupError> {
        match action {
            Action::InstallPackages { manager, names } => {
                Packages::for_manager(*manager).install(names).await?;
            }
            Action::CreateSecret { path } => create_secret(path)?,
            Action::CreateCa { dir, common_name, days } => {
                let pair = pki::create_ca(common_name, *days, jiff::Timestamp::now())?;
                files::ensure_dir(dir, &Ownership::mode(0o755))?;
                // The key first: a CA certificate without its key would be taken for another node's.
                secret_file(&dir.join("ca-key.pem"), &pair.key_pem, None)?;
                public_file(&dir.join("ca.pem"), pair.cert_pem.as_bytes())?;
            }
            Action::IssueCertificate { dir, kind, common_name, names, days, owner } => {
                if *kind == CertificateKind::Server {
                    let mark = self.spec.paths.state.join(CERTIFICATE_UNREAD);
                    files::write_atomic(&mark, b"", &Ownership::mode(0o644))?;
                }
                issue(dir, *kind, common_name, names, *days, owner)?;
            }
            Action::OwnKey { path, owner } => {
                let key = SecretString::from(files::read_text(path, 64 << 10)?);
                secret_file(path, &key, Some(owner.clone()))?;
            }
            Action::WriteConfig { path, content } => {
                if let Some(folder) = path.parent() {
                    files::ensure_dir(folder, &Ownership::mode(0o755))?;
                }
                public_file(path, content.as_bytes())?;
            }
            Action::WriteKeyFile { path, key_from, group } => {
                cloudstack_files::write_key(path, key_from, group)?;
            }
            Action::WriteProperties { path, keys } => {
                cloudstack_files::write_properties(self.spec, self.node, path, keys)?;
            }
            Action::ApplyFirewall { ruleset } => self.apply_firewall(ruleset).await?,
            _ => unreachable_action(action)?,
        }
        Ok(())
    }

    /// Replaces the table, and takes it back unless the server can still be reached over TCP from here within the
    /// limit; also when this process dies meanwhile.
    async fn apply_firewall(&self, ruleset: &str) -> Result<(), SetupError> {
        let saved = self.spec.paths.state.join("firewall-before.nft");
        let place = SocketAddr::new(self.node.address, self.node.port);
        let reached = async {
            let answer = net::round_trip(place, 3, Duration::from_secs(2)).await;
            answer.known().is_some()
        };
        match Nftables::default().apply_guarded(ruleset, &saved, reached, FIREWALL_CONFIRM).await? {
            Guarded::Kept => Ok(()),
            Guarded::TakenBack => Err(SetupError::refused(
                format!("with the new rules nothing answers at {place}, so they were taken back"),
                "look at the step's rules in `mainstay plan`, and at other tables with `nft list ruleset`",
            )),
        }
    }

    async fn on_service(&mut self, action: &Action) -> Result<(), SetupError> {
        // A restart ends the connection; the next statement opens a new one.
        self.close().await;
        let driver = Driver::resolve(self.spec, self.node);
        match action {
            Action::EnableService => driver.enable().await?,
            Action::StartService => driver.start().await?,
            Action::RestartService => driver.restart().await?,
            _ => unreachable_action(action)?,
        }
        if !matches!(action, Action::EnableService) {
            self.certificate_was_read()?;
        }
        Ok(())
    }

    fn certificate_was_read(&self) -> Result<(), SetupError> {
        match files::remove(&self.spec.paths.state.join(CERTIFICATE_UNREAD)) {
            Err(error) if !error.is_missing() => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    async fn on_account(&mut self, action: &Action) -> Result<(), SetupError> {
        match action {
            Action::CreateAccount { user, host, plugin, password_file, require_tls } => {
                let (account, password) = (account(user, host)?, password_literal(password_file)?);
                let connection = self.connection().await?;
                let text = connection.flavor().create_user(&account, plugin, &password, *require_tls);
                connection.execute(&Sql::secret(text, format!("CREATE USER {account} ..."))).await?;
            }
            Action::SetPassword { user, host, plugin, password_file } => {
                let (account, password) = (account(user, host)?, password_literal(password_file)?);
                let connection = self.connection().await?;
                let text = connection.flavor().set_password(&account, plugin, &password);
                connection.execute(&Sql::secret(text, format!("ALTER USER {account} ..."))).await?;
            }
            Action::AlterAccount { user, host, require_tls, unlock } => {
                let account = account(user, host)?;
                let require = match require_tls {
                    Some(true) => " REQUIRE SSL",
                    Some(false) => " REQUIRE NONE",
                    None => "",
                };
                let unlock = if *unlock { " ACCOUNT UNLOCK" } else { "" };
                self.run(format!("ALTER USER {account}{require}{unlock}")).await?;
            }
            Action::SocketLogin { user, host } => {
                let account = account(user, host)?;
                let connection = self.connection().await?;
                let active =
                    Sql::plain("SELECT 1 FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'auth_socket'");
                let active = !connection.query(&active).await?.is_empty();
                for statement in connection.flavor().socket_login(&account, active) {
                    connection.execute(&Sql::plain(statement)).await?;
                }
            }
            Action::DropAccount { user, host } => {
                self.run(format!("DROP USER {}", account(user, host)?)).await?;
            }
            Action::Grant { user, host, privileges, database } => {
                let on = match database {
                    None => "*.*".to_owned(),
                    // The database part of a grant is a pattern: `_` and `%` in a name must be escaped.
                    Some(name) => format!("{}.*", ident(&name.replace('_', "\\_").replace('%', "\\%"))?),
                };
                let list = privileges.join(", ");
                self.run(format!("GRANT {list} ON {on} TO {}", account(user, host)?)).await?;
            }
            Action::Revoke { user, host, grant } => {
                self.run(format!("REVOKE {grant} FROM {}", account(user, host)?)).await?;
            }
            _ => unreachable_action(action)?,
        }
        Ok(())
    }

    async fn on_server(&mut self, action: &Action) -> Result<(), SetupError> {
        match action {
            Action::ReloadTls => {
                match self.connection().await?.flavor().statements().reload_tls() {
                    TlsReload::Statement(statement) => self.run(statement.to_owned()).await?,
                    TlsReload::Restart => Driver::resolve(self.spec, self.node).restart().await?,
                }
                self.certificate_was_read()?;
            }
            Action::SetGlobal { variable, value } => {
                self.run(format!("SET GLOBAL {variable} = {value}")).await?;
            }
            Action::ResetPersist { variable } => {
                self.run(format!("RESET PERSIST {}", ident(variable)?)).await?;
            }
            Action::CreateDatabase { name, charset, collation } => {
                let name = ident(name)?;
                self.run(format!(
                    "CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET {charset} COLLATE {collation}"
                ))
                .await?;
            }
            Action::DropDatabase { name } => {
                self.run(format!("DROP DATABASE IF EXISTS {}", ident(name)?)).await?;
            }
            Action::LoadSchema { dir, files } => {
                schema::load(&admin_target(self.spec, self.node)?, dir, files).await?;
            }
            _ => unreachable_action(action)?,
        }
        Ok(())
    }
}

/// The groups in [`Act::carry_out`] name every action once; another one here is a mistake of this file.
fn unreachable_action(action: &Action) -> Result<(), SetupError> {
    Err(SetupError::refused(format!("no part carries out {action:?}"), "please report this"))
}

fn account(user: &str, host: &str) -> Result<String, SetupError> {
    quote_account(user, host).map_err(|_| SetupError::Unquotable(format!("{user}@{host}")))
}

fn ident(name: &str) -> Result<String, SetupError> {
    quote_ident(name).map_err(|_| SetupError::Unquotable(name.to_owned()))
}

fn password_literal(file: &Path) -> Result<String, SetupError> {
    let password = secrets::read(file)?;
    quote_string(password.expose_secret())
        .map_err(|_| SetupError::Unquotable(format!("the secret in {}", file.display())))
}

fn create_secret(path: &Path) -> Result<(), SetupError> {
    if let Some(folder) = path.parent() {
        files::ensure_dir(folder, &Ownership::mode(0o700))?;
    }
    secrets::write_new(path, &secrets::generate()?)?;
    Ok(())
}

fn public_file(path: &Path, bytes: &[u8]) -> Result<(), SetupError> {
    Ok(files::write_atomic(path, bytes, &Ownership::mode(0o644))?)
}

fn secret_file(path: &Path, secret: &SecretString, owner: Option<String>) -> Result<(), SetupError> {
    let ownership = Ownership { mode: 0o600, owner, group: None };
    Ok(files::write_atomic(path, secret.expose_secret().as_bytes(), &ownership)?)
}

fn issue(
    dir: &Path,
    kind: CertificateKind,
    common_name: &str,
    names: &[String],
    days: u32,
    owner: &str,
) -> Result<(), SetupError> {
    let ca_cert = files::read_text(&dir.join("ca.pem"), 64 << 10)?;
    let ca_key = SecretString::from(files::read_text(&dir.join("ca-key.pem"), 64 << 10)?);
    let (stem, server) = match kind {
        CertificateKind::Server => ("server", true),
        CertificateKind::Client => ("client", false),
    };
    let request = pki::Request {
        common_name: common_name.to_owned(),
        names: names.to_vec(),
        usage: if server { pki::Usage::Server } else { pki::Usage::Client },
        days,
    };
    let pair = pki::issue(&ca_cert, &ca_key, &request, jiff::Timestamp::now())?;
    let owner = (host::users::is_root() && !owner.is_empty()).then(|| owner.to_owned());
    // The key first: a certificate with the old key is seen as not matching and issued again.
    secret_file(&dir.join(format!("{stem}-key.pem")), &pair.key_pem, owner)?;
    public_file(&dir.join(format!("{stem}-cert.pem")), pair.cert_pem.as_bytes())
}
