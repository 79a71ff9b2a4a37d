//! Clients of an address that leaves this host: told, once it is announced elsewhere, that their connections ended.
//!
//! What a client sends while nobody has the address is lost. TCP sends it again after 200 ms at the earliest
//! (`TCP_RTO_MIN` of Linux), and an idle client notices nothing for hours. So each is sent an acknowledgement that fits
//! no connection: it answers with what it expects (RFC 9293, 3.10.7.4), the answer goes to the address's new host, and
//! that one, which knows no such connection, resets it. The packet has no data, so no client can take it for its
//! server's. CTDB does the same for file servers, from the other end ("tickle ACK").

use std::fs::File;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, recv, sendto,
    socket_with,
};

use super::announcement::{NEIGHBOUR_ADVERTISEMENT, checksum};

/// `ETH_P_ARP`, as packet(7) wants it: in network byte order.
const ARP: u16 = 0x0806_u16.to_be();
const TCP: u8 = 6;
/// An announcement has a few dozen bytes; of longer packets the beginning is enough.
const PACKET_BYTES: usize = 256;
/// The kernel's list has some 150 bytes a connection.
const LIST_BYTES_MAX: u64 = 64 << 20;
const ESTABLISHED: &str = "01";
/// For slower ports of the switch to pass the announcement on before clients answer.
const PASSING_ON: Duration = Duration::from_millis(1);

/// An address that is about to leave, and its clients.
#[derive(Debug)]
pub struct Departure {
    address: IpAddr,
    heard: OwnedFd,
    told: OwnedFd,
    /// This end and the client's of each connection.
    connections: Vec<(SocketAddr, SocketAddr)>,
}

impl Departure {
    /// Listens from now on for an announcement of the address by another host.
    pub(super) fn begin(address: IpAddr) -> io::Result<Self> {
        let socket = |family, kind, protocol| socket_with(family, kind, SocketFlags::CLOEXEC, protocol);
        let (heard, family) = match address {
            IpAddr::V4(_) => {
                let protocol = std::num::NonZero::new(u32::from(ARP)).map(Protocol::from_raw);
                (socket(AddressFamily::PACKET, SocketType::DGRAM, protocol)?, AddressFamily::INET)
            }
            IpAddr::V6(_) => {
                (socket(AddressFamily::INET6, SocketType::RAW, Some(ipproto::ICMPV6))?, AddressFamily::INET6)
            }
        };
        // Packets with their own headers, from an address that is no longer this host's.
        let told = socket(family, SocketType::RAW, Some(ipproto::RAW))?;
        Ok(Self { address, heard, told, connections: Vec::new() })
    }

    /// Notes who is connected to the address at this port, while the server still has the connections. Their number.
    ///
    /// # Errors
    /// The kernel's list cannot be read.
    pub fn note_clients(&mut self, port: u16) -> io::Result<usize> {
        // A server that listens for both versions has its clients of version 4 in the list of version 6.
        for path in ["/proc/net/tcp", "/proc/net/tcp6"] {
            let mut text = String::new();
            match File::open(path) {
                Ok(file) => file.take(LIST_BYTES_MAX).read_to_string(&mut text)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let here = SocketAddr::new(self.address, port);
            self.connections.extend(text.lines().filter_map(connection).filter(|(local, _)| *local == here));
        }
        Ok(self.connections.len())
    }

    /// Waits until another host announces the address, at most so long, and sends each client its packet. `None` if
    /// nobody did, and then nothing was sent. Blocks.
    ///
    /// # Errors
    /// The sockets fail. Single clients that cannot be reached are no error.
    pub fn tell(self, limit: Duration) -> io::Result<Option<usize>> {
        if self.connections.is_empty() || !self.wait_announced(Instant::now() + limit)? {
            return Ok(None);
        }
        std::thread::sleep(PASSING_ON);
        let told = self.connections.iter().filter(|(local, client)| self.send(*local, *client).is_ok());
        Ok(Some(told.count()))
    }

    fn wait_announced(&self, until: Instant) -> io::Result<bool> {
        let mut buffer = [0; PACKET_BYTES];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            set_socket_timeout(&self.heard, Timeout::Recv, Some(left))?;
            match recv(&self.heard, &mut buffer, RecvFlags::empty()) {
                Ok((read, _)) if announces(buffer.get(..read).unwrap_or_default(), self.address) => {
                    return Ok(true);
                }
                Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn send(&self, from: SocketAddr, to: SocketAddr) -> io::Result<()> {
        let packet = acknowledgement(from, to);
        match to {
            // The port is the packet's own business; with raw sockets of version 6 the kernel refuses any other.
            SocketAddr::V4(to) => {
                sendto(&self.told, &packet, SendFlags::empty(), &SocketAddrV4::new(*to.ip(), 0))
            }
            SocketAddr::V6(to) => sendto(
                &self.told,
                &packet,
                SendFlags::empty(),
                &SocketAddrV6::new(*to.ip(), 0, 0, to.scope_id()),
            ),
        }?;
        Ok(())
    }
}

/// Whether a packet, without its link's header, says that another host has the address.
fn announces(packet: &[u8], address: IpAddr) -> bool {
    match address {
        // Ethernet and IPv4, then their lengths, the operation, and the sender's two addresses (RFC 826).
        IpAddr::V4(address) => {
            packet.get(..6) == Some(&[0, 1, 0x08, 0, 6, 4]) && packet.get(14..18) == Some(&address.octets())
        }
        IpAddr::V6(address) => {
            packet.first() == Some(&NEIGHBOUR_ADVERTISEMENT) && packet.get(8..24) == Some(&address.octets())
        }
    }
}

/// Both ends of an established connection, from a line of `/proc/net/tcp` or `tcp6` (proc_net_tcp in the kernel's
/// documentation).
fn connection(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, remote) = (end(fields.next()?)?, end(fields.next()?)?);
    (fields.next()? == ESTABLISHED).then_some((local, remote))
}

/// `0100007F:0CEA`: an address in words of four bytes, each printed as a number of this machine, and a port.
fn end(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let mut octets = [0; 16];
    let words = octets.chunks_exact_mut(4);
    for (place, at) in words.zip((0..address.len()).step_by(8)) {
        place.copy_from_slice(&u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    }
    let address = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(octets.get(..4)?).ok()?)),
        32 => Ipv6Addr::from(octets).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?))
}

/// An acknowledgement of nothing, with its IP header: sequence number 0 and no data.
fn acknowledgement(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let mut segment = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    // Sequence and acknowledgement number; five words of header, the ACK flag; no window, checksum, no urgent data.
    segment.extend([0; 8]);
    segment.extend([0x50, 0x10, 0, 0, 0, 0, 0, 0]);
    let sum = checksum(from.ip(), to.ip(), TCP, &segment).to_be_bytes();
    if let Some(field) = segment.get_mut(16..18) {
        field.copy_from_slice(&sum);
    }
    let mut packet = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            // Length and checksum are filled in by the kernel (raw(7)); 64 hops.
            let head = [0x45, 0, 0, 0, 0, 0, 0, 0, 64, TCP, 0, 0];
            [&head[..], &from.octets(), &to.octets()].concat()
        }
        (from, to) => {
            let [high, low] = u16::try_from(segment.len()).unwrap_or(0).to_be_bytes();
            let head = [0x60, 0, 0, 0, high, low, TCP, 64];
            [&head[..], &six(from).octets(), &six(to).octets()].concat()
        }
    };
    packet.extend(segment);
    packet
}

fn six(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_the_kernels_list() {
        let table = [
            ("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt", None),
            (
                "   3: 0A00000A:0CEA 0500000A:C3E8 01 00000000:00000000 00:00000000 00000000   101",
                Some(("10.0.0.10:3306", "10.0.0.5:50152")),
            ),
            // Listening; waiting for its end.
            ("   0: 00000000:0CEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101", None),
            ("   4: 0A00000A:0CEA 0500000A:C3E9 06 00000000:00000000 03:00000176 00000000     0", None),
            (
                "   1: 0000000000000000FFFF00000A00000A:0CEA 0000000000000000FFFF00000500000A:C3EA 01 0:0",
                Some(("10.0.0.10:3306", "10.0.0.5:50154")),
            ),
            (
                "   2: B80D0120000000000000000000010000:0CEA B80D0120000000000000000001000000:0001 01 0:0",
                Some(("[2001:db8::100]:3306", "[2001:db8::1]:1")),
            ),
            ("   3: 0A00000A:0CEA 0500000A", None),
            ("   3: 0A00000:0CEA 0500000A:1 01", None),
            ("   3: 0A0000ü0A:0CEA 0500000A:1 01", None),
        ];
        for (line, expected) in table {
            let expected = expected
                .map(|(local, remote)| (local.parse().unwrap(), remote.parse::<SocketAddr>().unwrap()));
            assert_eq!(connection(line), expected, "{line}");
        }
    }

    #[test]
    fn only_announcements_of_the_address_count() {
        let (four, six) = ("10.0.0.100".parse().unwrap(), "2001:db8::100".parse().unwrap());
        for address in [four, six] {
            for frame in super::super::announcement::frames(address, [2, 0, 0, 0, 0, 7]) {
                // Ethernet's header is not in what is heard, nor that of IPv6.
                let packet = &frame[if address == four { 14 } else { 54 }..];
                assert!(announces(packet, address), "{packet:?}");
                for length in 0..packet.len().min(18) {
                    assert!(!announces(&packet[..length], address), "{length}");
                }
                assert!(!announces(packet, "10.0.0.101".parse().unwrap()));
                assert!(!announces(packet, "2001:db8::101".parse().unwrap()));
            }
        }
        // Somebody asks where it is.
        let mut asking = super::super::announcement::frames(four, [2, 0, 0, 0, 0, 7]).remove(0).split_off(14);
        asking[14..18].copy_from_slice(&[10, 0, 0, 5]);
        assert!(!announces(&asking, four));
    }

    #[test]
    fn acknowledgements_byte_by_byte() {
        let packet = acknowledgement("10.0.0.100:3306".parse().unwrap(), "10.0.0.5:50152".parse().unwrap());
        let head = [0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 100, 10, 0, 0, 5];
        let segment =
            [0x0c, 0xea, 0xc3, 0xe8, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0, 0, 0xca, 0x9d, 0, 0, 0, 0];
        assert_eq!(packet, [&head[..], &segment[..16], &packet[36..38], &segment[18..20]].concat());
        // With the checksum in its place, the sum of everything is all ones.
        let (four, to) = ("10.0.0.100".parse().unwrap(), "10.0.0.5".parse().unwrap());
        assert_eq!(checksum(four, to, TCP, &packet[20..]), 0);
        let packet =
            acknowledgement("[2001:db8::100]:3306".parse().unwrap(), "[2001:db8::5]:1".parse().unwrap());
        assert_eq!(packet.len(), 60);
        assert_eq!(packet[..8], [0x60, 0, 0, 0, 0, 20, 6, 64]);
        let (six, to) = ("2001:db8::100".parse().unwrap(), "2001:db8::5".parse().unwrap());
        assert_eq!(checksum(six, to, TCP, &packet[40..]), 0);
    }
}
