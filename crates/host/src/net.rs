//! Network seen from this host: round trips to peers, and who listens on a port. Changes nothing; the firewall is
//! [`crate::firewall`]'s.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use facts::Seen;
use tokio::net::TcpStream;

use crate::files;
use crate::process::{self, ProcessId};

/// Limit for the kernel's table of sockets.
const SOCKETS_BYTES_MAX: usize = 16 << 20;

/// Most tries of one measurement.
const TRIES_MAX: u32 = 100;

/// Median time of a round trip to `address` in microseconds, by opening TCP connections to it. A refusal is an
/// answer too, so the peer needs no listening port.
pub async fn round_trip(address: SocketAddr, tries: u32, timeout: Duration) -> Seen<u64> {
    let mut times_us = Vec::new();
    let mut failure = format!("no answer from {address} within {} ms", timeout.as_millis());
    for _ in 0..tries.clamp(1, TRIES_MAX) {
        let started = Instant::now();
        let answered = match tokio::time::timeout(timeout, TcpStream::connect(address)).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => true,
            Ok(Err(error)) => {
                failure = format!("{address}: {error}");
                false
            }
            Err(_) => false,
        };
        if answered {
            times_us.push(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
        } else if times_us.is_empty() {
            // A peer that does not answer at all is not worth the other tries' time.
            break;
        }
    }
    times_us.sort_unstable();
    times_us.get(times_us.len() / 2).map_or(Seen::Unknown(failure), |median| Seen::Known(*median))
}

/// `true` if nothing else can listen on this address and port.
///
/// # Errors
/// It cannot be tried: the address is not this host's, or the port needs rights this process has not.
pub fn port_in_use(address: IpAddr, port: u16) -> io::Result<bool> {
    match TcpListener::bind((address, port)) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(true),
        Err(error) => Err(error),
    }
}

/// Who listens on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortOwner {
    /// The process.
    pub process: ProcessId,
    /// Its program.
    pub program: PathBuf,
}

/// Who listens on this TCP port, on any address; absent when nobody does, unknown when the process is not
/// visible to this one.
#[must_use]
pub fn port_owner(port: u16) -> Seen<PortOwner> {
    let mut inodes = Vec::new();
    let mut unread = None;
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        match files::read_text(Path::new(table), SOCKETS_BYTES_MAX) {
            Ok(text) => inodes.extend(parse_listeners(&text, port)),
            // A kernel without IPv6 has no second table.
            Err(error) if error.is_missing() => {}
            Err(error) => unread = Some(crate::reason(&error)),
        }
    }
    if inodes.is_empty() {
        return unread.map_or(Seen::Absent, Seen::Unknown);
    }
    let wanted: Vec<PathBuf> =
        inodes.iter().map(|inode| PathBuf::from(format!("socket:[{inode}]"))).collect();
    let owner = process::all().into_iter().find(|pid| holds_any(*pid, &wanted));
    owner.and_then(describe).map_or_else(
        || Seen::Unknown(format!("port {port} is in use by a process that is not visible from here")),
        Seen::Known,
    )
}

fn describe(pid: u32) -> Option<PortOwner> {
    let process = ProcessId::of(pid).ok()?;
    Some(PortOwner { process, program: process.program().ok()? })
}

fn holds_any(pid: u32, sockets: &[PathBuf]) -> bool {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    entries
        .flatten()
        .any(|entry| std::fs::read_link(entry.path()).is_ok_and(|target| sockets.contains(&target)))
}

/// Inodes of sockets that listen on the port, in the text of `/proc/net/tcp` or `tcp6`, see proc_net(5).
fn parse_listeners(text: &str, port: u16) -> Vec<u64> {
    const LISTEN: &str = "0A";
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
            let listens = *fields.get(3)? == LISTEN && u16::from_str_radix(local_port, 16).ok()? == port;
            if listens { fields.get(9)?.parse().ok() } else { None }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn recorded_sockets() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0CEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1049 1 0000000095820651 100 0 0 10 0
   1: 020200C0:0CEA 507100CB:0050 01 00000000:00000000 03:000016FF 00000000     0        0 77 3 000000003e8b253e
   2: 0100007F:0CEB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1050 1 0000000095820651 100 0 0 10 0
";
        assert_eq!(parse_listeners(text, 3306), [1049], "an open connection does not listen");
        assert_eq!(parse_listeners(text, 3307), [1050]);
        assert!(parse_listeners(text, 1).is_empty());
    }

    #[test]
    fn a_listener_is_found_and_its_port_in_use() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let Seen::Known(owner) = port_owner(port) else { panic!("{:?}", port_owner(port)) };
        assert_eq!(owner.process.pid, std::process::id());
        assert_eq!(owner.program, std::env::current_exe().unwrap());
        assert!(port_in_use(Ipv4Addr::LOCALHOST.into(), port).unwrap());
        drop(listener);
        assert!(port_owner(port).is_absent());
        assert!(!port_in_use(Ipv4Addr::LOCALHOST.into(), port).unwrap());
        assert!(port_in_use(Ipv4Addr::new(203, 0, 113, 1).into(), port).is_err());
    }

    #[tokio::test]
    async fn a_round_trip_is_measured_also_when_refused() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let limit = Duration::from_secs(5);
        assert!(matches!(round_trip(address, 5, limit).await, Seen::Known(us) if us < 5_000_000));
        drop(listener);
        assert!(matches!(round_trip(address, 5, limit).await, Seen::Known(_)));
        // A multicast address accepts no connection.
        let nowhere = SocketAddr::from(([224, 0, 0, 1], 9));
        assert!(matches!(round_trip(nowhere, 3, Duration::from_millis(50)).await, Seen::Unknown(_)));
    }
}
