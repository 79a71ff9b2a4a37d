//! Packets that tell neighbours where an address is: gratuitous ARP (RFC 5227) and unsolicited neighbour
//! advertisement (RFC 4861). When and how often they are sent is not decided here.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use pnet_datalink::{Channel as Datalink, Config, DataLinkSender, NetworkInterface};

/// A full queue of the interface is waited for so long.
const WRITE_LIMIT: Duration = Duration::from_millis(500);
const BROADCAST: [u8; 6] = [0xff; 6];
const ARP: [u8; 2] = [0x08, 0x06];
const IPV6: [u8; 2] = [0x86, 0xdd];
/// `ff02::1`, all nodes of the link, and its Ethernet address.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
const ICMPV6: u8 = 58;
pub(super) const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// The override flag: forget what you knew.
const OVERRIDE: u8 = 0x20;

/// A way to send frames on an interface.
pub(super) struct Channel {
    sender: Box<dyn DataLinkSender>,
    interface: NetworkInterface,
    mac: [u8; 6],
}

impl Channel {
    pub(super) fn open(name: &str) -> io::Result<Self> {
        let mut interfaces = pnet_datalink::interfaces().into_iter();
        let interface = interfaces
            .find(|interface| interface.name == name)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no interface {name}")))?;
        let mac = interface.mac.ok_or_else(|| io::Error::other(format!("{name} has no hardware address")))?;
        // By default it would listen to everything, and the kernel's log would say so at each failover.
        let config = Config { promiscuous: false, write_timeout: Some(WRITE_LIMIT), ..Config::default() };
        match pnet_datalink::channel(&interface, config)? {
            Datalink::Ethernet(sender, _) => Ok(Self { sender, interface, mac: mac.octets() }),
            _ => Err(io::Error::other(format!("{name} is not Ethernet"))),
        }
    }

    pub(super) fn send(&mut self, address: IpAddr) -> io::Result<()> {
        for frame in frames(address, self.mac) {
            // No answer means that the packet did not fit a buffer, which cannot be: it has a few dozen bytes.
            self.sender
                .send_to(&frame, Some(self.interface.clone()))
                .unwrap_or_else(|| Err(io::Error::other("the frame was not sent")))?;
        }
        Ok(())
    }
}

/// The frames of one announcement. Some hosts heed only requests, some only replies, so ARP is sent as both.
pub(super) fn frames(address: IpAddr, mac: [u8; 6]) -> Vec<Vec<u8>> {
    match address {
        IpAddr::V4(address) => vec![arp(1, address, mac), arp(2, address, mac)],
        IpAddr::V6(address) => vec![advertisement(address, mac)],
    }
}

fn ethernet(to: [u8; 6], from: [u8; 6], kind: [u8; 2]) -> Vec<u8> {
    [&to[..], &from, &kind].concat()
}

fn arp(operation: u8, address: Ipv4Addr, mac: [u8; 6]) -> Vec<u8> {
    let mut frame = ethernet(BROADCAST, mac, ARP);
    // Ethernet, IPv4, their lengths.
    frame.extend([0, 1, 0x08, 0, 6, 4, 0, operation]);
    frame.extend(mac);
    frame.extend(address.octets());
    frame.extend(BROADCAST);
    frame.extend(address.octets());
    frame
}

fn advertisement(address: Ipv6Addr, mac: [u8; 6]) -> Vec<u8> {
    let mut body = vec![NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, OVERRIDE, 0, 0, 0];
    body.extend(address.octets());
    // Option: target link-layer address, one unit of eight bytes.
    body.extend([2, 1]);
    body.extend(mac);
    let sum = checksum(IpAddr::V6(address), IpAddr::V6(ALL_NODES), ICMPV6, &body).to_be_bytes();
    if let Some(field) = body.get_mut(2..4) {
        field.copy_from_slice(&sum);
    }
    let mut frame = ethernet(ALL_NODES_MAC, mac, IPV6);
    let [high, low] = u16::try_from(body.len()).unwrap_or(0).to_be_bytes();
    // Version 6, length, next header, hop limit 255 as the RFC wants it.
    frame.extend([0x60, 0, 0, 0, high, low, ICMPV6, 255]);
    frame.extend(address.octets());
    frame.extend(ALL_NODES.octets());
    frame.extend(body);
    frame
}

/// The checksum of a TCP segment or ICMPv6 message with its pseudo header (RFC 9293, 3.1; RFC 8200, 8.1).
pub(super) fn checksum(from: IpAddr, to: IpAddr, protocol: u8, body: &[u8]) -> u16 {
    let length = u32::try_from(body.len()).unwrap_or(0).to_be_bytes();
    let octets = |address| match address {
        IpAddr::V4(address) => Ipv4Addr::octets(&address).to_vec(),
        IpAddr::V6(address) => Ipv6Addr::octets(&address).to_vec(),
    };
    // The fields are of other lengths in version 4, which makes no difference to the sum.
    let pseudo = [&octets(from)[..], &octets(to), &length, &[0, 0, 0, protocol], body].concat();
    let mut sum: u32 = pseudo
        .chunks(2)
        .map(|pair| match *pair {
            [high, low] => u32::from(u16::from_be_bytes([high, low])),
            [high] => u32::from(u16::from_be_bytes([high, 0])),
            _ => 0,
        })
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

    /// Bytes written in hexadecimal; spaces are for the reader.
    fn bytes(text: &str) -> Vec<u8> {
        let digits: Vec<char> = text.chars().filter(|char| !char.is_whitespace()).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap())
            .collect()
    }

    #[test]
    fn announcements_byte_by_byte() {
        let table: [(&str, &[&str]); 2] = [
            (
                "10.0.0.100",
                &[
                    "ffffffffffff 020000000007 0806 0001 0800 06 04 0001 020000000007 0a000064 ffffffffffff 0a000064",
                    "ffffffffffff 020000000007 0806 0001 0800 06 04 0002 020000000007 0a000064 ffffffffffff 0a000064",
                ],
            ),
            (
                "2001:db8::100",
                &["333300000001 020000000007 86dd
                   60000000 0020 3a ff 20010db8000000000000000000000100 ff020000000000000000000000000001
                   88 00 f726 20000000 20010db8000000000000000000000100 02 01 020000000007"],
            ),
        ];
        for (address, expected) in table {
            let expected: Vec<Vec<u8>> = expected.iter().map(|text| bytes(text)).collect();
            assert_eq!(frames(address.parse().unwrap(), MAC), expected, "{address}");
        }
    }

    #[test]
    fn checksums() {
        // With the checksum in its place, the sum of everything is all ones.
        let address: Ipv6Addr = "fe80::1:2".parse().unwrap();
        let frame = advertisement(address, [0xfe; 6]);
        assert_eq!(checksum(IpAddr::V6(address), IpAddr::V6(ALL_NODES), ICMPV6, &frame[54..]), 0);
        // An odd byte counts as the high half of a word.
        let nobody = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        assert_eq!(checksum(nobody, nobody, ICMPV6, &[1]), !(0x0100 + 1 + 58));
    }
}
