//! `mainstay facts`: what a server is.

use std::fmt;
use std::path::{Path, PathBuf};

use facts::{Seen, ServerFacts};
use flavor::{CAPABILITIES, Support};
use host::secrets;
use secrecy::SecretString;
use serde::Serialize;
use server::{Connection, Endpoint, Limits, OptionFile, Target, Tls};

use crate::cli::{ConnectArgs, FactsArgs};
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};

const SOCKET: &str = "/run/mysqld/mysqld.sock";

#[derive(Serialize)]
struct Report {
    support: String,
    server: ServerFacts,
    capabilities: Vec<&'static str>,
}

pub(crate) async fn run(format: Format, args: &FactsArgs) -> Verb {
    let target = target(&args.connect)?;
    let mut connection = Connection::open(&target, &Limits::default()).await?;
    let mut server = server::collect(&mut connection).await?;
    connection.close().await;
    if !args.variables {
        server.variables.clear();
        server.variable_origins.clear();
    }
    let flavor = server.flavor;
    let support = match flavor.support() {
        Support::Supported => "supported".to_owned(),
        Support::TooOld { minimum } => format!("too old: {minimum} or later is needed"),
        Support::Newer { tested } => format!("newer than the {tested} this Mainstay was tested with"),
    };
    let capabilities =
        CAPABILITIES.iter().filter(|row| flavor.can(row.capability)).map(|row| row.sentence).collect();
    output::result(format, &Report { support, server, capabilities });
    Ok(Outcome::Good)
}

/// The server and login that the options name.
pub(crate) fn target(args: &ConnectArgs) -> Result<Target, Failure> {
    let mut target = match &args.defaults_file {
        Some(path) => {
            let file = OptionFile::read(path).map_err(|error| {
                Failure::new(
                    anyhow::Error::new(error).context(path.display().to_string()),
                    "correct the file, or give --socket or --host instead",
                )
            })?;
            file.into_target("root", Path::new(SOCKET))
        }
        None => Target::socket(SOCKET, "root"),
    };
    if let Some(socket) = &args.socket {
        target.endpoint = Endpoint::Socket(socket.clone());
    }
    if args.host.is_some() || args.port.is_some() {
        let host = args.host.clone().unwrap_or_else(|| "127.0.0.1".to_owned());
        target.endpoint = Endpoint::Tcp { host, port: args.port.unwrap_or(3306) };
        if args.defaults_file.is_none() {
            target.tls = Tls::default();
        }
    }
    if let Some(user) = &args.user {
        target.user.clone_from(user);
    }
    if let Some(password) = password(args)? {
        target.password = Some(password);
    }
    tls(args, &mut target);
    Ok(target)
}

fn tls(args: &ConnectArgs, target: &mut Target) {
    if args.no_tls {
        target.tls = Tls::Off;
    } else if args.tls_insecure {
        target.tls = Tls::Insecure;
    } else if let Some(ca) = &args.tls_ca {
        target.tls = Tls::Verify { ca: Some(PathBuf::from(ca)), server_name: None, client_cert: None };
    }
}

fn password(args: &ConnectArgs) -> Result<Option<SecretString>, Failure> {
    if args.ask_password {
        return Ok(Some(SecretString::from(rpassword::prompt_password("Password: ")?)));
    }
    if let Some(path) = &args.password_file {
        return Ok(Some(secrets::read(path)?));
    }
    Ok(std::env::var("MAINSTAY_PASSWORD")
        .ok()
        .filter(|_| args.defaults_file.is_none())
        .map(SecretString::from))
}

fn shown<T: fmt::Display>(seen: &Seen<T>) -> String {
    match seen {
        Seen::Known(value) => value.to_string(),
        Seen::Unknown(why) => format!("not known: {why}"),
        Seen::Absent => "none".to_owned(),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in identity(&self.server, &self.support).into_iter().chain(contents(&self.server)) {
            writeln!(f, "{name:<14} {value}")?;
        }
        for (at, sentence) in self.capabilities.iter().enumerate() {
            writeln!(f, "{:<14} {sentence}", if at == 0 { "it can" } else { "" })?;
        }
        for (name, value) in &self.server.variables {
            writeln!(f, "{name} = {value}")?;
        }
        Ok(())
    }
}

fn identity(server: &ServerFacts, support: &str) -> Vec<(&'static str, String)> {
    let tls = &server.tls;
    let on = if tls.enabled { "on" } else { "off" };
    let required = if tls.required { ", required of clients" } else { "" };
    vec![
        ("server", format!("{} ({}; {})", server.flavor, server.version_text, server.version_comment)),
        ("support", support.to_owned()),
        ("host", format!("{}, port {}, socket {}", server.hostname, server.port, server.socket.display())),
        ("data", server.data_dir.display().to_string()),
        ("server id", format!("{}, uuid {}", server.server_id, shown(&server.server_uuid))),
        ("writes", if server.read_only { "refused (read_only)" } else { "accepted" }.to_owned()),
        ("TLS", format!("{on}{required}; certificate until {}", shown(&tls.not_after))),
    ]
}

fn contents(server: &ServerFacts) -> Vec<(&'static str, String)> {
    let word = |on: bool| if on { "runs" } else { "stopped" };
    let listed = |items: Vec<String>| if items.is_empty() { "none".to_owned() } else { items.join(", ") };
    let mut rows = vec![("replicas", server.replication.replicas.to_string())];
    if let Seen::Unknown(why) = &server.replication.sources {
        rows.push(("replica of", format!("not known: {why}")));
    }
    for source in server.replication.known_sources() {
        let (io, sql, lag) = (word(source.io_running), word(source.sql_running), shown(&source.lag_seconds));
        let place = format!("{}:{}", source.host, source.port);
        rows.push(("replica of", format!("{place}, IO {io}, SQL {sql}, lag {lag} s {}", source.last_error)));
    }
    rows.push((
        "GTID",
        listed(
            vec![server.replication.gtid_position.clone()]
                .into_iter()
                .filter(|text| !text.is_empty())
                .collect(),
        ),
    ));
    if let Seen::Known(galera) = &server.galera {
        let state =
            format!("{}, {}, {} nodes", galera.cluster_status, galera.local_state, galera.cluster_size);
        rows.push(("Galera", format!("{}: {state}", galera.cluster_name)));
    }
    let databases =
        server.databases.iter().map(|database| format!("{} ({} tables)", database.name, database.tables));
    rows.push(("databases", listed(databases.collect())));
    rows.push((
        "accounts",
        match &server.accounts {
            Seen::Known(accounts) => {
                let accounts = accounts.iter().filter(|account| !account.is_role);
                listed(accounts.map(|account| format!("{}@{}", account.user, account.host)).collect())
            }
            Seen::Unknown(why) => format!("not known: {why}"),
            Seen::Absent => "none".to_owned(),
        },
    ));
    rows
}
