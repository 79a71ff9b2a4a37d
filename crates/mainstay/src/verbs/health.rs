//! `mainstay health`: asks this node's agent what proxies ask it.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::cli::HealthArgs;
use crate::context;
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};

/// An agent answers from memory; one that takes longer is as good as none.
pub(crate) const LIMIT: Duration = Duration::from_secs(2);
/// `HTTP/1.1 200`
const STATUS_BYTES: usize = 12;

#[derive(Debug, Serialize)]
struct Health {
    url: String,
    good: bool,
    status: Option<u16>,
    error: Option<String>,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.status, &self.error) {
            (Some(status), _) => write!(f, "{} answers {status}", self.url),
            (None, error) => write!(f, "{} does not answer: {}", self.url, error.as_deref().unwrap_or("?")),
        }
    }
}

pub(crate) async fn run(format: Format, args: &HealthArgs) -> Verb {
    let loaded = context::load(&args.spec)?;
    let name = context::this_member(&loaded, &args.spec).await?;
    let Some(ha) = &loaded.spec.ha else {
        return Err(Failure::said("the spec has no [ha] section", "add one; docs/spec.md has an example"));
    };
    let nodes = loaded.spec.nodes.iter().map(|node| (&node.name, node.address));
    let witnesses = ha.witnesses.iter().map(|witness| (&witness.name, witness.address));
    let own = nodes.chain(witnesses).find(|(member, _)| **member == name).map(|(_, address)| address);
    let own = own.ok_or_else(|| {
        Failure::said(format!("the spec has neither a node nor a witness {name}"), "name another with --node")
    })?;
    let place = SocketAddr::new(listening(&ha.api.bind, own), ha.api.health_port);
    let path = format!("/{}", args.path.trim_start_matches('/'));
    let answer = match tokio::time::timeout(LIMIT, status(place, &path)).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("not within {} s", LIMIT.as_secs())),
    };
    let health = Health {
        url: format!("http://{place}{path}"),
        good: answer == Ok(200),
        status: answer.as_ref().ok().copied(),
        error: answer.err(),
    };
    if format == Format::Json || output::is_read_by_person() {
        output::result(format, &health);
    }
    Ok(if health.good { Outcome::Good } else { Outcome::Negative })
}

/// Where the agent of a host with this address can be asked.
fn listening(bind: &[IpAddr], own: IpAddr) -> IpAddr {
    let listens_on = |address: &IpAddr| *address == own || address.is_unspecified();
    match bind.first() {
        Some(first) if !bind.iter().any(listens_on) => *first,
        Some(_) | None => own,
    }
}

/// The status that a GET is answered with.
pub(crate) async fn status(place: SocketAddr, path: &str) -> io::Result<u16> {
    let mut stream = TcpStream::connect(place).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut line = [0; STATUS_BYTES];
    stream.read_exact(&mut line).await?;
    String::from_utf8_lossy(&line)
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(2..))
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "this is not HTTP"))
}
