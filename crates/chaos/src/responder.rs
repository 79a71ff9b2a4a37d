//! Answers a proxy's HTTP check on one host by asking the host's own server, as `clustercheck` does.
//!
//! One connection, one question: a server that does not answer makes the check time out.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use server::{Connection, Limits, Row, Sql, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::inside::spawn_on;
use crate::node::Node;

/// The port `clustercheck` is commonly put on.
pub const PORT: u16 = 9200;

/// Longer than any proxy's check waits.
const LIMITS: Limits = Limits { connect: Duration::from_secs(10), statement: Duration::from_secs(10) };

const REQUEST_LIMIT: Duration = Duration::from_secs(5);

/// How often the thread looks whether it is to end.
const TICK: Duration = Duration::from_millis(200);

/// What is asked of a server, and which answer is good.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// The statement.
    pub sql: &'static str,
    /// Whether the rows say that clients may be sent here.
    pub is_good: fn(&[Row]) -> bool,
}

/// An answering thread; it ends when this is dropped.
#[derive(Debug)]
pub struct Responder {
    stop: Arc<AtomicBool>,
}

impl Responder {
    /// Answers on the node's host.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(node: &Node, question: Question) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (theirs, target) = (Arc::clone(&stop), Target::socket(node.socket(), "root"));
        let name = node.host.name.clone();
        spawn_on(&node.host, move || async move {
            let served = serve(&theirs, &target, question).await;
            if let Err(error) = &served {
                tracing::error!(host = name, "the responder failed: {error:#}");
            }
            served
        })?;
        Ok(Self { stop })
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

async fn serve(stop: &AtomicBool, target: &Target, question: Question) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await.context("cannot listen")?;
    while !stop.load(Ordering::Relaxed) {
        let Ok(accepted) = tokio::time::timeout(TICK, listener.accept()).await else { continue };
        let (stream, _) = accepted?;
        let target = target.clone();
        tokio::spawn(async move {
            // A proxy that hangs up early is no matter.
            if let Err(error) = answer(stream, &target, question).await {
                tracing::trace!(%error, "a check was not answered");
            }
        });
    }
    Ok(())
}

async fn answer(mut stream: TcpStream, target: &Target, question: Question) -> Result<()> {
    let mut request = [0; 1024];
    let read = tokio::time::timeout(REQUEST_LIMIT, stream.read(&mut request)).await??;
    if read == 0 {
        return Ok(());
    }
    let asked = async {
        let mut connection = Connection::open(target, &LIMITS).await?;
        let rows = connection.query(&Sql::plain(question.sql)).await?;
        connection.close().await;
        Ok::<bool, server::ServerError>((question.is_good)(&rows))
    };
    let status = if asked.await.unwrap_or(false) { "200 OK" } else { "503 Service Unavailable" };
    let response = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(response.as_bytes()).await?;
    Ok(())
}
