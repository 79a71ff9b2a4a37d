//! Messages as they are asked for, and the whole in network namespaces: two hosts and a peer on one bridge.

use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use super::*;
use crate::command::Command;

/// Names a verb and an address, for [`acts_in_a_namespace`].
const ACT: &str = "MAINSTAY_TEST_ADDRESS";

fn floating(network: &str) -> FloatingAddress {
    FloatingAddress { network: network.parse().unwrap(), interface: "eth0".to_owned() }
}

#[test]
fn what_the_kernel_is_asked_to_add() {
    let flags = |network: &str, has_route| {
        let message = message(network.parse().unwrap(), 7, has_route);
        assert_eq!(message.header.index, 7);
        assert!(is_it(&message, network.parse::<IpNet>().unwrap().addr()), "{message:?}");
        let (mut flags, mut lifetime) = (None, None);
        for attribute in &message.attributes {
            if let AddressAttribute::Flags(found) = attribute {
                flags = Some(*found);
            }
            if let AddressAttribute::CacheInfo(info) = attribute {
                lifetime = Some((info.ifa_preferred, info.ifa_valid));
            }
        }
        (message.header.prefix_len, flags.unwrap(), lifetime)
    };
    assert_eq!(flags("10.0.0.100/24", true), (24, AddressFlags::Noprefixroute, None));
    assert_eq!(flags("10.0.0.100/32", false), (32, AddressFlags::empty(), None));
    let both = AddressFlags::Noprefixroute | AddressFlags::Nodad;
    assert_eq!(flags("2001:db8::100/64", true), (64, both, Some((0, u32::MAX))));
    assert_eq!(flags("2001:db8::100/64", false), (64, AddressFlags::Nodad, Some((0, u32::MAX))));
}

#[test]
fn whose_route_it_is() {
    let table = [
        ("10.0.0.1/24", "10.0.0.100/24", true),
        ("10.0.0.1/16", "10.0.0.100/24", false),
        ("10.0.1.1/24", "10.0.0.100/24", false),
        ("10.0.0.100/24", "10.0.0.100/24", false),
        ("2001:db8::1/64", "2001:db8::100/64", true),
    ];
    for (other, network, expected) in table {
        let other = message(other.parse().unwrap(), 1, false);
        assert_eq!(is_beside(&other, network.parse().unwrap()), expected, "{other:?} {network}");
    }
    // The other end of a link of two is not the interface's own address.
    let mut link = message("10.0.0.1/32".parse().unwrap(), 1, false);
    link.attributes = vec![
        AddressAttribute::Address("10.0.0.2".parse().unwrap()),
        AddressAttribute::Local("10.0.0.1".parse().unwrap()),
    ];
    assert_eq!(own(&link), Some("10.0.0.1".parse().unwrap()));
}

#[tokio::test]
async fn an_interface_that_is_not_there_is_said_to_be() {
    let address =
        FloatingAddress { network: "192.0.2.9/32".parse().unwrap(), interface: "nosuch0".to_owned() };
    for outcome in [
        address.add().await,
        address.remove().await,
        address.is_present().await.map(drop),
        address.remove_now().map(drop),
    ] {
        let error = outcome.unwrap_err();
        assert!(matches!(error, AddressError::NoInterface { .. }), "{error:?}");
        assert_eq!(error.to_string(), "there is no interface `nosuch0`");
        assert!(error.hint().contains("[ha.address]"));
    }
    let error = address.announce(1).await.unwrap_err();
    assert!(error.hint().contains("ip link show dev nosuch0"), "{}", error.hint());
}

/// Not a test by itself: what the tests below run inside a namespace.
#[tokio::test]
async fn acts_in_a_namespace() {
    let Some(words) = std::env::var_os(ACT) else { return };
    let words = words.into_string().unwrap();
    let (verb, network) = words.split_once(' ').unwrap();
    let address = floating(network);
    match verb {
        "take" => {
            assert!(!address.is_present().await.unwrap());
            address.add().await.unwrap();
            address.add().await.unwrap();
            assert!(address.is_present().await.unwrap());
            // One is enough where none gets lost.
            address.announce(1).await.unwrap();
        }
        "keep" => address.add().await.unwrap(),
        "leave" => {
            assert!(address.is_present().await.unwrap());
            address.remove().await.unwrap();
            address.remove().await.unwrap();
            assert!(!address.is_present().await.unwrap());
        }
        // From a thread without a runtime, and from within one: neither may panic.
        "leave_now" => {
            let removed = std::thread::scope(|scope| scope.spawn(|| address.remove_now()).join()).unwrap();
            assert!(removed.unwrap());
            assert!(!address.remove_now().unwrap());
            assert!(!address.is_present().await.unwrap());
        }
        "hand_over" => hand_over(&address).await,
        "be_reset" => be_reset(address.network.addr()),
        "reach" => reach(address.network.addr()),
        other => panic!("{other}"),
    }
}

/// A host that refuses a connection is there; a reply takes no time on a bridge.
fn reach(address: IpAddr) {
    let error = TcpStream::connect_timeout(&SocketAddr::new(address, 9), Duration::from_secs(5)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
}

/// A port that nobody else in the namespaces has.
const SERVED: u16 = 3306;

/// Put on a host that has left another address.
const LEFT: &str = "10.99.0.200/32";

/// Serves one client, leaves, and tells the client when somebody else has the address.
async fn hand_over(address: &FloatingAddress) {
    address.add().await.unwrap();
    address.announce(1).await.unwrap();
    // As servers do, for both versions.
    let listener = std::net::TcpListener::bind((std::net::Ipv6Addr::UNSPECIFIED, SERVED)).unwrap();
    let client = listener.accept().unwrap();
    let mut departure = address.depart().unwrap();
    assert_eq!(departure.note_clients(SERVED + 1).unwrap(), 0);
    assert_eq!(departure.note_clients(SERVED).unwrap(), 1);
    address.remove().await.unwrap();
    floating(LEFT).add().await.unwrap();
    assert_eq!(departure.tell(Duration::from_secs(10)).unwrap(), Some(1));
    drop(client);
}

/// Connects, says nothing, and has to learn that the connection has ended.
fn be_reset(address: IpAddr) {
    let began = Instant::now();
    let mut stream = loop {
        match TcpStream::connect_timeout(&SocketAddr::new(address, SERVED), Duration::from_millis(200)) {
            Ok(stream) => break stream,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(10), "{error}"),
        }
    };
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let error = io::Read::read(&mut stream, &mut [0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
}

/// Two hosts and a peer, each a network namespace with an `eth0` on the peer's bridge.
struct Lan {
    prefix: String,
}

const PEER: &str = "peer";
const HOSTS: [&str; 2] = ["a", "b"];

impl Lan {
    async fn new() -> Self {
        let lan = Self { prefix: format!("mst{:08x}", rand::random::<u32>()) };
        let peer = lan.name(PEER);
        lan.ip(&["netns", "add", &peer]).await;
        // With an address of its own; else it takes one of its ports', and forgets its neighbours with that port.
        lan.within(PEER, &["link", "add", "br0", "address", "02:00:00:00:00:01", "type", "bridge"]).await;
        lan.within(PEER, &["address", "add", "10.99.0.1/24", "dev", "br0"]).await;
        lan.within(PEER, &["-6", "address", "add", "2001:db8::1/64", "dev", "br0", "nodad"]).await;
        lan.within(PEER, &["link", "set", "br0", "up"]).await;
        for (number, host) in HOSTS.iter().enumerate() {
            let (name, port) = (lan.name(host), format!("to-{host}"));
            lan.ip(&["netns", "add", &name]).await;
            lan.within(PEER, &["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &name])
                .await;
            lan.within(PEER, &["link", "set", &port, "master", "br0", "up"]).await;
            let own = (format!("10.99.0.{}/24", number + 2), format!("2001:db8::{}/64", number + 2));
            lan.within(host, &["address", "add", &own.0, "dev", "eth0"]).await;
            lan.within(host, &["-6", "address", "add", &own.1, "dev", "eth0", "nodad"]).await;
            lan.within(host, &["link", "set", "eth0", "up"]).await;
        }
        lan
    }

    fn name(&self, host: &str) -> String {
        format!("{}{host}", self.prefix)
    }

    async fn ip(&self, words: &[&str]) -> String {
        Command::new("ip").args(words).run().await.unwrap().stdout_text().into_owned()
    }

    async fn within(&self, host: &str, words: &[&str]) -> String {
        let name = self.name(host);
        self.ip(&[&["-netns", name.as_str()], words].concat()).await
    }

    async fn act(&self, host: &str, verb: &str, network: &str) {
        let binary = std::env::current_exe().unwrap();
        let command = Command::new("ip").args(["netns", "exec", &self.name(host)]).arg(binary);
        let command = command.args(["--exact", "address::tests::acts_in_a_namespace"]);
        let output = command.env(ACT, format!("{verb} {network}")).run_any_status().await.unwrap();
        assert!(output.status.success(), "{verb} in {host}: {}", output.stdout_text());
    }

    async fn mac(&self, host: &str) -> String {
        let text = self.within(host, &["-o", "link", "show", "dev", "eth0"]).await;
        text.split_once("link/ether ").unwrap().1.split(' ').next().unwrap().to_owned()
    }

    /// Where the peer believes the address to be.
    async fn believed(&self, address: &str) -> String {
        let text = self.within(PEER, &["neigh", "show", address]).await;
        text.split_once("lladdr ")
            .map_or(text.clone(), |(_, rest)| rest.split(' ').next().unwrap().to_owned())
    }

    /// The peer believes the address to be at this host, without having been asked to send there.
    async fn wait_believed(&self, address: &str, mac: &str) {
        let began = Instant::now();
        while self.believed(address).await != mac {
            assert!(began.elapsed() < Duration::from_secs(2), "{}", self.believed(address).await);
        }
    }

    /// A host's addresses and routes, without those the kernel makes by itself after a while.
    async fn state(&self, host: &str) -> String {
        let addresses = self.within(host, &["-o", "address", "show", "dev", "eth0"]).await;
        let routes = self.within(host, &["route"]).await + &self.within(host, &["-6", "route"]).await;
        let text = format!("{addresses}{routes}");
        text.lines().filter(|line| !line.contains("fe80::")).map(|line| format!("{line}\n")).collect()
    }
}

impl Drop for Lan {
    #[expect(clippy::disallowed_methods, reason = "also after a panic, when no future runs any more")]
    fn drop(&mut self) {
        for host in HOSTS.iter().chain([&PEER]) {
            drop(std::process::Command::new("ip").args(["netns", "delete", &self.name(host)]).status());
        }
    }
}

/// What it comes to for one address.
async fn moves(network: &str) {
    let lan = Lan::new().await;
    let address = network.parse::<IpNet>().unwrap().addr().to_string();
    let (before, a, b) = (lan.state("a").await, lan.mac("a").await, lan.mac("b").await);

    lan.act("a", "take", network).await;
    lan.act(PEER, "reach", network).await;
    lan.wait_believed(&address, &a).await;

    // Host a is cut off: it still has the address, and the peer its entry.
    lan.within(PEER, &["link", "set", "to-a", "nomaster"]).await;
    lan.act("b", "take", network).await;
    lan.wait_believed(&address, &b).await;
    lan.act(PEER, "reach", network).await;

    lan.act("b", "leave", network).await;
    let gone = lan.state("b").await;
    assert!(!gone.contains(&address), "{gone}");

    lan.act("a", "leave_now", network).await;
    assert_eq!(lan.state("a").await, before, "its own addresses and routes stay");
}

#[tokio::test]
async fn real_address_moves_between_hosts() {
    moves("10.99.0.100/24").await;
}

#[tokio::test]
async fn real_single_address_moves_between_hosts() {
    moves("10.99.0.100/32").await;
}

#[tokio::test]
async fn real_address_of_version_six_moves_between_hosts() {
    moves("2001:db8::100/64").await;
}

/// Clients of the host that had the address are told.
async fn is_handed_over(network: &str) {
    let lan = Lan::new().await;
    let taken = async {
        let began = Instant::now();
        while !lan.state("a").await.contains(LEFT) {
            assert!(began.elapsed() < Duration::from_secs(10), "{network}");
        }
        lan.act("b", "take", network).await;
    };
    tokio::join!(lan.act("a", "hand_over", network), lan.act(PEER, "be_reset", network), taken);
}

#[tokio::test]
async fn real_clients_are_told_that_an_address_moved() {
    is_handed_over("10.99.0.100/24").await;
}

#[tokio::test]
async fn real_clients_of_version_six_are_told_that_an_address_moved() {
    is_handed_over("2001:db8::100/64").await;
}

#[tokio::test]
async fn real_address_elsewhere_or_with_another_length_is_let_alone() {
    let lan = Lan::new().await;
    // On another interface it is another's; with another length it is there already.
    lan.within("a", &["address", "add", "10.99.0.100/32", "dev", "lo"]).await;
    lan.act("a", "take", "10.99.0.100/24").await;
    lan.act("a", "leave", "10.99.0.100/24").await;
    assert!(lan.within("a", &["address", "show", "dev", "lo"]).await.contains("10.99.0.100/32"));
    lan.within("b", &["address", "add", "10.99.0.100/28", "dev", "eth0"]).await;
    let before = lan.state("b").await;
    lan.act("b", "keep", "10.99.0.100/24").await;
    assert_eq!(lan.state("b").await, before);
    lan.act("b", "leave", "10.99.0.100/24").await;
    assert!(!lan.state("b").await.contains("10.99.0.100"), "whatever its length");
}
