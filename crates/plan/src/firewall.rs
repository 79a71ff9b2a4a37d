//! The nftables table that lets only the listed networks reach the database's ports.
//!
//! The text is written the way `nft list table` prints it, so what is there compares with what is wanted word by
//! word. It is one table of Mainstay's own; no other table is read or touched. Another table may still drop what
//! this one accepts: an accept ends only its own chain.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use spec::{Node, Spec, Topology};

/// Name of the table, in family `inet`.
pub const TABLE: &str = "mainstay";

/// Galera's ports between nodes: replication, incremental and full state transfer.
const GALERA_PORTS: [u16; 3] = [4444, 4567, 4568];

/// The table's whole text for this node.
#[must_use]
pub fn ruleset(spec: &Spec, node: &Node) -> String {
    let nodes: Vec<IpNet> = spec.nodes.iter().map(|node| IpNet::from(node.address)).collect();
    let mut clients = spec.all_client_networks();
    clients.extend(spec.firewall.iter().flat_map(|firewall| firewall.allow.iter().copied()));
    let mut rules = vec!["iif \"lo\" accept".to_owned()];
    let mut sets = String::new();
    door(&mut sets, &mut rules, "clients", &format!("tcp dport {}", node.port), &clients);
    if spec.cluster.topology == Topology::Galera {
        let ports: Vec<String> = GALERA_PORTS.iter().map(u16::to_string).collect();
        door(&mut sets, &mut rules, "nodes", &format!("tcp dport {{ {} }}", ports.join(", ")), &nodes);
    }
    let mut text = format!("table inet {TABLE} {{\n{sets}\tchain input {{\n");
    text.push_str("\t\ttype filter hook input priority filter - 10; policy accept;\n");
    for rule in rules {
        text.push_str(&format!("\t\t{rule}\n"));
    }
    text.push_str("\t}\n}\n");
    text
}

fn door(sets: &mut String, rules: &mut Vec<String>, name: &str, ports: &str, networks: &[IpNet]) {
    let v4: Vec<Ipv4Net> = networks
        .iter()
        .filter_map(|network| match network {
            IpNet::V4(v4) => Some(v4.trunc()),
            IpNet::V6(_) => None,
        })
        .collect();
    let v6: Vec<Ipv6Net> = networks
        .iter()
        .filter_map(|network| match network {
            IpNet::V6(v6) => Some(v6.trunc()),
            IpNet::V4(_) => None,
        })
        .collect();
    let v4 = elements(Ipv4Net::aggregate(&v4).into_iter().map(IpNet::V4).collect());
    let v6 = elements(Ipv6Net::aggregate(&v6).into_iter().map(IpNet::V6).collect());
    for (family, kind, elements) in [("ip", "ipv4_addr", v4), ("ip6", "ipv6_addr", v6)] {
        if elements.is_empty() {
            continue;
        }
        let set = format!("{name}_{}", if family == "ip" { "v4" } else { "v6" });
        sets.push_str(&format!(
            "\tset {set} {{\n\t\ttype {kind}\n\t\tflags interval\n\t\telements = {{ {elements} }}\n\t}}\n\n"
        ));
        rules.push(format!("{ports} {family} saddr @{set} accept"));
    }
    rules.push(format!("{ports} drop"));
}

fn elements(mut networks: Vec<IpNet>) -> String {
    networks.sort_by_key(IpNet::network);
    let texts: Vec<String> = networks.iter().map(element).collect();
    texts.join(", ")
}

/// nft prints a network of one address as the address.
fn element(network: &IpNet) -> String {
    let whole = match network.network() {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    };
    if network.prefix_len() == whole { network.network().to_string() } else { network.to_string() }
}

/// Whether two texts of the table say the same: nft wraps long lines of elements and indents as it likes.
#[must_use]
pub fn same_rules(left: &str, right: &str) -> bool {
    left.split_whitespace().eq(right.split_whitespace())
}
