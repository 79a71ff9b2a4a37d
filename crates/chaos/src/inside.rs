//! Threads that live in a host's network namespace, so that their clock is the harness's own.
//!
//! Only sockets opened on such a thread belong to the host; files and processes are shared with the rest.

use std::fs::File;
use std::future::Future;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::hosts::Host;

const STATUS_LIMIT: Duration = Duration::from_secs(1);
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Runs `work` to its end on a new thread, with a runtime of its own, on the given host.
///
/// # Errors
/// If the thread cannot be started. That it cannot enter the host is told by joining it.
pub(crate) fn spawn_on<W, F, T>(host: &Host, work: W) -> Result<JoinHandle<Result<T>>>
where
    W: FnOnce() -> F + Send + 'static,
    F: Future<Output = Result<T>>,
    T: Send + 'static,
{
    let file = host.namespace_file();
    let thread = std::thread::Builder::new().name(host.name.clone());
    thread.spawn(move || run_in(&file, work)).context("cannot start a thread")
}

fn run_in<W, F, T>(file: &PathBuf, work: W) -> Result<T>
where
    W: FnOnce() -> F,
    F: Future<Output = Result<T>>,
{
    let namespace = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("cannot enter {}", file.display()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work())
}

/// The status that a GET on the host's loopback is answered with; none if it is not answered in time.
pub(crate) async fn http_status(host: &Host, port: u16, path: &str) -> Option<u16> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let asked = spawn_on(host, move || async move {
        let work = async {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).await?;
            Ok::<String, std::io::Error>(answer)
        };
        Ok(tokio::time::timeout(STATUS_LIMIT, work).await??)
    });
    let thread = asked.ok()?;
    let answer = tokio::task::spawn_blocking(move || thread.join()).await.ok()?.ok()?.ok()?;
    answer.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use host::command::Command;
    use tokio::net::TcpListener;

    use super::*;
    use crate::hosts::{Direction, Network};

    const PORT: u16 = 7000;
    const PATIENCE: Duration = Duration::from_millis(300);

    async fn can_have_hosts() -> bool {
        let probe = Command::new("unshare").args(["--net", "true"]).run().await;
        if let Err(error) = &probe {
            println!("SKIPPED: no network namespaces here: {error}");
        }
        probe.is_ok()
    }

    /// Answers with a byte whoever connects, until the host is gone.
    fn answer_on(host: &Host) {
        let address = host.address;
        let (ready, is_ready) = std::sync::mpsc::channel();
        let serving: Result<JoinHandle<Result<()>>> = spawn_on(host, move || async move {
            let listener = TcpListener::bind((address, PORT)).await?;
            ready.send(())?;
            loop {
                let (mut stream, _) = listener.accept().await?;
                stream.write_all(b"!").await?;
            }
        });
        drop(serving.unwrap());
        is_ready.recv_timeout(Duration::from_secs(5)).unwrap();
    }

    fn reaches(from: &Host, to: &Host) -> bool {
        let address = to.address;
        let thread = spawn_on(from, move || async move {
            let ask = async {
                let mut stream = TcpStream::connect((address, PORT)).await?;
                stream.read_u8().await
            };
            Ok(tokio::time::timeout(PATIENCE, ask).await??)
        });
        thread.unwrap().join().unwrap().is_ok()
    }

    #[tokio::test]
    async fn hosts_are_cut_off_partitioned_healed_and_removed() {
        if !can_have_hosts().await {
            return;
        }
        let network = Network::create(&["a", "b", "c"]).await.unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| network.host(name).unwrap().clone());
        for host in [&a, &b, &c] {
            answer_on(host);
        }
        assert!(reaches(&a, &b) && reaches(&b, &a) && reaches(&c, &a));

        network.cut(&a).await.unwrap();
        assert!(!reaches(&a, &b) && !reaches(&b, &a) && reaches(&b, &c));
        network.restore(&a).await.unwrap();
        // The kernel takes a second to believe in a cable that is back.
        assert!((0..20).any(|_| reaches(&a, &b)));

        let (own, peers) = (std::slice::from_ref(&a), std::slice::from_ref(&b));
        network.partition(own, peers, Direction::Both).await.unwrap();
        assert!(!reaches(&a, &b) && !reaches(&b, &a) && reaches(&c, &a) && reaches(&c, &b));
        network.heal().await.unwrap();
        network.partition(own, peers, Direction::OneWay).await.unwrap();
        // No answer comes back either way, but c is not concerned.
        assert!(!reaches(&a, &b) && reaches(&c, &b) && reaches(&a, &c));
        network.heal().await.unwrap();
        assert!(reaches(&a, &b) && reaches(&b, &a));

        assert_eq!(http_status(&a, PORT + 1, "/").await, None);
        drop(network);
        assert!([&a, &b, &c].iter().all(|host| !host.namespace_file().exists()));
    }

    #[tokio::test]
    async fn what_runs_on_a_host_ends_with_it() {
        if !can_have_hosts().await {
            return;
        }
        let network = Network::create(&["d"]).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let host = network.host("d").unwrap();
        let words = ["sleep", "100"].map(str::to_owned).to_vec();
        let daemon = crate::daemon::Daemon::new(host, words, &folder.path().join("log"));
        daemon.start().unwrap();
        assert!(daemon.is_alive());
        drop(network);
        assert!(!daemon.is_alive());
    }
}
