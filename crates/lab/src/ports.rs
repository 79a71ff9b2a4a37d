//! Free TCP ports on the loopback address. Holds none: a taken one shows when the server starts.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener};

use crate::error::LabError;

/// Below the range from which the kernel takes the ports of outgoing connections, which may come and go on any
/// port while a node is down.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;
const TRIES: u32 = 2_000;

/// Picks distinct ports that are free now and not in `reserved`. They are picked at random, so that clusters
/// being set up at the same moment seldom meet.
pub(crate) fn free_ports(count: usize, reserved: &BTreeSet<u16>) -> Result<Vec<u16>, LabError> {
    // Kept open until the end, so that no port is picked twice.
    let mut held: Vec<(u16, TcpListener)> = Vec::with_capacity(count);
    for _ in 0..TRIES {
        if held.len() == count {
            break;
        }
        let random = RandomState::new().build_hasher().finish() % u64::from(COUNT);
        let port = FIRST + u16::try_from(random).unwrap_or_default();
        if reserved.contains(&port) {
            continue;
        }
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            held.push((port, listener));
        }
    }
    if held.len() < count {
        return Err(LabError::Other(format!("no {count} free ports from {FIRST} on")));
    }
    Ok(held.into_iter().map(|(port, _)| port).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_distinct_free_and_not_reserved() {
        let reserved: BTreeSet<u16> = (FIRST..FIRST + COUNT - 200).collect();
        let ports = free_ports(8, &reserved).unwrap();
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 8);
        for port in ports {
            assert!(!reserved.contains(&port));
            assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
        }
    }

    #[test]
    fn when_every_port_is_reserved_it_says_so() {
        let all: BTreeSet<u16> = (FIRST..FIRST + COUNT).collect();
        assert!(free_ports(1, &all).is_err());
    }
}
