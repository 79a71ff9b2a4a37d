//! The `[[node]]` sections: each node by itself, then what must differ between them.
//!
//! Whether a node can be reached is not asked here.

use std::net::IpAddr;

use toml::de::DeValue;

use crate::check::Document;
use crate::model::{Node, Topology};
use crate::problem::line_and_column;
use crate::read::Section;
use crate::values;

const NODES_MAX: usize = 64;
const MYSQL_PORT: u16 = 3306;
/// A week.
const DELAY_SECONDS_MAX: u64 = 604_800;

impl<'a> Document<'a> {
    /// `topology` is `None` where the text has a wrong one: then nothing follows from it.
    pub(crate) fn nodes(&self, topology: Option<Topology>) -> Vec<Node> {
        let found = self.find("node");
        let span = found.as_ref().map_or(self.end..self.end, |(_, span)| span.clone());
        let value = found.map(|(value, _)| value);
        let none = value.is_none_or(|value| matches!(value.get_ref(), DeValue::Array(all) if all.is_empty()));
        if none {
            self.problems.add(span, "there is no [[node]]", "add one with `name` and `address`");
            return Vec::new();
        }
        let sections = value.map_or_else(Vec::new, |value| self.sections("node", value, NODES_MAX));
        let count = sections.len();
        if topology == Some(Topology::Single)
            && let Some(second) = sections.get(1)
        {
            self.problems.add(
                second.span.clone(),
                "a second node with topology single",
                "set `topology = \"replication\"` or \"galera\", or remove it",
            );
        }
        if topology == Some(Topology::Replication) && count == 1 {
            self.problems.warn(
                span,
                "replication with one node",
                "add a replica, or set `topology = \"single\"`",
            );
        } else if topology == Some(Topology::Galera) && count.is_multiple_of(2) {
            self.problems.warn(
                span,
                format!("galera with {count} nodes"),
                "an odd number keeps a majority when the network splits",
            );
        }
        let nodes: Vec<(Node, Section<'_>)> =
            sections.into_iter().filter_map(|section| Some((self.node(&section)?, section))).collect();
        for (at, node) in nodes.iter().enumerate() {
            self.compare(node, nodes.get(..at).unwrap_or_default());
        }
        nodes.into_iter().map(|(node, _)| node).collect()
    }

    fn node(&self, section: &Section<'_>) -> Option<Node> {
        let name = section.required_text("name").and_then(|text| self.checked(text, values::name));
        let address =
            section.required_text("address").and_then(|text| self.checked(text, values::host_address));
        let port = section
            .number("port", 1, 65_535)
            .map_or(MYSQL_PORT, |port| u16::try_from(port.value).unwrap_or(MYSQL_PORT));
        let socket = section.text("socket").and_then(|text| self.checked(text, values::socket));
        let data_dir = self.path_or(section, "data_dir", "/var/lib/mysql");
        let given =
            section.number("server_id", 1, u64::from(u32::MAX)).and_then(|id| u32::try_from(id.value).ok());
        let ssh = section.text("ssh").and_then(|text| self.checked(text, values::word));
        let (promotion, acks, delay_seconds) = Self::part(section);
        let address = address?;
        Some(Node {
            name: name?,
            address,
            port,
            socket: socket.unwrap_or_else(|| "/run/mysqld/mysqld.sock".into()),
            data_dir,
            server_id: given.unwrap_or_else(|| server_id(address, port)),
            ssh,
            promotion,
            acks,
            delay_seconds,
        })
    }

    /// A node's part in availability: promotion, acks, delay in seconds. A delayed replica holds too little to be
    /// waited for, so what says otherwise is a contradiction.
    fn part(section: &Section<'_>) -> (u32, bool, u32) {
        let number = |name, max| {
            section.number(name, 0, max).map(|number| u32::try_from(number.value).unwrap_or(u32::MAX))
        };
        let (promotion, acks) = (number("promotion", 1000), section.boolean("acks"));
        let delay_seconds = number("delay_seconds", DELAY_SECONDS_MAX).unwrap_or(0);
        if delay_seconds == 0 {
            return (promotion.unwrap_or(100), acks.unwrap_or(true), 0);
        }
        if promotion.is_some_and(|promotion| promotion > 0) {
            section.problem(
                section.place("promotion"),
                "a delayed node that may be promoted",
                "set `promotion = 0`, or remove `delay_seconds`",
            );
        }
        if acks == Some(true) {
            section.problem(
                section.place("acks"),
                "a delayed node that acknowledges",
                "set `acks = false`, or remove `delay_seconds`",
            );
        }
        (0, false, delay_seconds)
    }

    /// Adds a problem for each thing that a node has in common with an earlier one.
    fn compare(&self, (node, section): &(Node, Section<'_>), earlier: &[(Node, Section<'_>)]) {
        let first = |same: &dyn Fn(&Node) -> bool| earlier.iter().find(|(other, _)| same(other));
        let line = |other: &Section<'_>, key| line_and_column(self.text, other.place(key).start).0;
        if let Some((_, other)) = first(&|other| other.name == node.name) {
            section.problem(
                section.place("name"),
                format!("a second node named {}", node.name),
                format!("the first is in line {}", line(other, "name")),
            );
        }
        let place = |other: &Node| (other.address, other.port) == (node.address, node.port);
        if let Some((_, other)) = first(&place) {
            section.problem(
                section.place("address"),
                format!("a second node at {} port {}", node.address, node.port),
                format!("the first is in line {}", line(other, "address")),
            );
            return;
        }
        if let Some((other, at)) = first(&|other| other.server_id == node.server_id) {
            let label = if section.has("server_id") || at.has("server_id") {
                format!("the node in line {} has it already", line(at, "server_id"))
            } else {
                format!("it follows from the address, as that of {} does: write one yourself", other.name)
            };
            section.problem(
                section.place("server_id"),
                format!("a second node with the server_id {}", node.server_id),
                label,
            );
        }
        let folder = |other: &Node| other.address == node.address && other.data_dir == node.data_dir;
        let socket = |other: &Node| other.address == node.address && other.socket == node.socket;
        for (key, same) in [("data_dir", first(&folder)), ("socket", first(&socket))] {
            if let Some((other, _)) = same {
                section.problem(
                    section.place(key),
                    format!("nodes {} and {} are on one host with one `{key}`", other.name, node.name),
                    "give each its own",
                );
            }
        }
    }
}

/// A server id from the address: an IPv4 address as a number, moved by the port's distance from 3306 so that
/// several servers on one host differ. Two nodes may still meet, which `compare` finds.
fn server_id(address: IpAddr, port: u16) -> u32 {
    let base = match address {
        IpAddr::V4(v4) => u32::from(v4),
        IpAddr::V6(v6) => values::hashed_server_id(&v6.to_string()),
    };
    base.wrapping_add(u32::from(port)).wrapping_sub(u32::from(MYSQL_PORT)).max(1)
}
