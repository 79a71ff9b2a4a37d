//! The host's own addresses, from `/proc/net`: no socket and no `ip` program needed. Changes no address.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use super::SOURCE_BYTES_MAX;
use crate::files;

/// Addresses of all interfaces, sorted, loopback included; none of a family that the kernel does not show.
pub(super) fn addresses(root: &Path) -> Vec<IpAddr> {
    let read = |path: &str| files::read_text(&root.join(path), SOURCE_BYTES_MAX).unwrap_or_default();
    let v4 = parse_fib_trie(&read("proc/net/fib_trie")).into_iter().map(IpAddr::V4);
    let v6 = parse_if_inet6(&read("proc/net/if_inet6")).into_iter().map(IpAddr::V6);
    v4.chain(v6).collect()
}

/// Addresses in `/proc/net/fib_trie` that are routed to this host as one address (`/32 host LOCAL`).
fn parse_fib_trie(text: &str) -> BTreeSet<Ipv4Addr> {
    let mut found = BTreeSet::new();
    let mut leaf: Option<Ipv4Addr> = None;
    for line in text.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse().ok();
        } else if line == "/32 host LOCAL" {
            found.extend(leaf);
        }
    }
    found
}

/// Addresses in `/proc/net/if_inet6`: 32 hex digits, then the interface's numbers and name.
fn parse_if_inet6(text: &str) -> BTreeSet<Ipv6Addr> {
    text.lines()
        .filter_map(|line| {
            let digits = line.split_ascii_whitespace().next()?;
            if digits.len() != 32 {
                return None;
            }
            u128::from_str_radix(digits, 16).ok().map(Ipv6Addr::from)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_tables() {
        let trie = "Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
        +-- 127.0.0.0/31 1 0 0
           |-- 127.0.0.0
              /8 host LOCAL
           |-- 127.0.0.1
              /32 host LOCAL
     +-- 192.0.2.0/24 2 0 2
           |-- 192.0.2.0
              /24 link UNICAST
           |-- 192.0.2.2
              /32 host LOCAL
        |-- 192.0.2.255
           /32 link BROADCAST
Local:
           |-- 192.0.2.2
              /32 host LOCAL
";
        assert_eq!(
            parse_fib_trie(trie),
            [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(192, 0, 2, 2)].into_iter().collect()
        );
        let inet6 = "fd000000000000000000000000000002 04 40 00 82     eth0
00000000000000000000000000000001 01 80 10 80       lo
garbage
";
        let wanted: BTreeSet<Ipv6Addr> =
            ["fd00::2".parse().unwrap(), Ipv6Addr::LOCALHOST].into_iter().collect();
        assert_eq!(parse_if_inet6(inet6), wanted);
    }
}
