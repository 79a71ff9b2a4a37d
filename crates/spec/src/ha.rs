//! The `[ha]` section: each value by itself, then what must hold between them and the nodes.
//!
//! Whether etcd answers, a device exists or a hook can be run is not asked here.

use std::net::IpAddr;
use std::path::PathBuf;

use flavor::Vendor;
use url::{Host, Url};

use crate::check::{Document, find_in, table_of};
use crate::ha_model::{
    Durability, FloatingAddress, Ha, HaApi, HaStore, Hooks, Listen, OutsideAddress, OutsideKeeper, Proxy,
    Witness,
};
use crate::model::{Node, Paths, ServiceManager, Topology};
use crate::read::Section;
use crate::values;

const ENDPOINTS_MAX: usize = 16;
const WITNESSES_MAX: usize = 16;
/// The keys of a store that belong to one kind only.
const ETCD_KEYS: [&str; 7] = ["endpoints", "prefix", "user", "password_file", "ca", "cert", "key"];

/// What the section is read against. A part is `None` where the text has a wrong one: then nothing follows from it.
pub(crate) struct Around<'a> {
    pub(crate) cluster: Option<&'a str>,
    pub(crate) server: Option<Vendor>,
    pub(crate) topology: Option<Topology>,
    pub(crate) manager: ServiceManager,
    pub(crate) paths: &'a Paths,
    pub(crate) is_encrypted: bool,
    pub(crate) nodes: Option<&'a Vec<Node>>,
}

impl<'a> Document<'a> {
    pub(crate) fn ha(&self, around: &Around<'_>) -> Option<Ha> {
        let section = self.section("ha");
        if !section.is_there() {
            return None;
        }
        let store = self.store(&section, around);
        let witnesses = self.witnesses(around.nodes.map_or(&[], Vec::as_slice));
        let durabilities = [("lossless", Durability::Lossless), ("available", Durability::Available)];
        let durability = section.word_or("durability", &durabilities, Durability::Lossless);
        let (ttl_ms, renew_ms) = lease(&section);
        let (address, outside_address) = self.floating(around, &witnesses);
        let ha = Ha {
            durability: durability.unwrap_or(Durability::Lossless),
            ttl_ms,
            renew_ms,
            hang_ms: small(&section, "hang_ms", 500, 60_000, 2000),
            failovers_per_hour: small(&section, "failovers_per_hour", 1, 1000, 6),
            max_loss_transactions: section
                .number("max_loss_transactions", 0, 1_000_000_000)
                .map_or(0, |number| number.value),
            reseed: section.boolean("reseed").unwrap_or(true),
            wait_for_acks: small(&section, "wait_for_acks", 1, 16, 1),
            api: self.api(around),
            address,
            outside_address,
            watchdog: self.watchdog(),
            hooks: self.hooks(),
            proxy: self.proxy(around),
            witnesses,
            store: store?,
        };
        if durability == Some(Durability::Lossless) && ha.max_loss_transactions > 0 {
            section.problem(
                section.place("max_loss_transactions"),
                "a loss is accepted, and `durability` is \"lossless\"",
                "set `durability = \"available\"`, or remove this",
            );
        }
        topology(&section, around, &ha.store);
        encryption(&section, around, &ha.api);
        self.replicas(&section, around, &ha);
        Some(ha)
    }

    fn store(&self, outer: &Section<'_>, around: &Around<'_>) -> Option<HaStore> {
        #[derive(Clone, Copy, PartialEq, Eq)]
        enum Kind {
            Etcd,
            File,
        }
        let section = self.inner("ha", "store", "ha.store");
        if !section.is_there() {
            if self.inner_is_absent("ha", "store") {
                let label = "add it with `kind = \"etcd\"` and `endpoints`";
                outer.problem(outer.span.clone(), "[ha] without [ha.store]", label);
            }
            return None;
        }
        section.required_text("kind");
        let kind = section.word("kind", &[("etcd", Kind::Etcd), ("file", Kind::File)])?.value;
        let (own, others): (_, &[&'static str]) = match kind {
            Kind::Etcd => ("etcd", &["path"]),
            Kind::File => ("file", &ETCD_KEYS),
        };
        for &name in others.iter().filter(|name| section.has(name)) {
            self.problems.warn(
                section.place(name),
                format!("`{name}` does nothing with `kind = \"{own}\"`"),
                "remove it",
            );
        }
        match kind {
            Kind::Etcd => Some(self.etcd(&section, around)),
            Kind::File => {
                Some(HaStore::File { path: self.path_or(&section, "path", around.paths.state.join("store")) })
            }
        }
    }

    fn etcd(&self, section: &Section<'_>, around: &Around<'_>) -> HaStore {
        let user =
            section.text("user").and_then(|text| self.checked(text, |text| values::sql_name(text, 255)));
        let password_file = self.path(section, "password_file");
        let (cert, key) = (self.path(section, "cert"), self.path(section, "key"));
        for (one, other) in
            [("user", "password_file"), ("password_file", "user"), ("cert", "key"), ("key", "cert")]
        {
            if section.has(one) && !section.has(other) {
                section.problem(
                    section.place(one),
                    format!("`{one}` without `{other}`"),
                    format!("add `{other}`, or remove this"),
                );
            }
        }
        let endpoints = self.endpoints(section, password_file.is_some());
        let tls = ["ca", "cert"].into_iter().find(|name| section.has(name));
        if let Some(name) = tls
            && !endpoints.is_empty()
            && endpoints.iter().all(|endpoint| endpoint.starts_with("http:"))
        {
            section.problem(
                section.place(name),
                format!("`{name}`, and no endpoint has TLS"),
                "write endpoints with https://, or remove this",
            );
        }
        let prefix = section.text("prefix").and_then(|text| self.checked(text, values::key_prefix));
        HaStore::Etcd {
            endpoints,
            user,
            password_file,
            ca: self.path(section, "ca"),
            cert,
            key,
            prefix: prefix.unwrap_or_else(|| format!("/mainstay/{}/", around.cluster.unwrap_or_default())),
        }
    }

    fn endpoints(&self, section: &Section<'_>, password: bool) -> Vec<String> {
        if !section.has("endpoints") || section.is_empty_list("endpoints") {
            section.problem(
                section.place("endpoints"),
                "etcd without `endpoints`",
                "add `endpoints = [\"https://10.0.0.1:2379\"]`",
            );
        }
        let mut endpoints: Vec<String> = Vec::new();
        for text in section.texts("endpoints", ENDPOINTS_MAX) {
            let span = text.span.clone();
            match endpoint(&text.value) {
                // The text may hold a password, so it is not repeated.
                Err(label) => section.problem(span, "this endpoint cannot be used", label),
                Ok(endpoint) if endpoints.contains(&endpoint.text) => {
                    section.problem(
                        span,
                        format!("endpoint {} twice in one list", endpoint.text),
                        "remove one",
                    );
                }
                Ok(endpoint) => {
                    if password && endpoint.in_the_clear {
                        section.problem(
                            span,
                            "the password would go over the network in the clear",
                            "write https://, or log in with `cert` and `key`",
                        );
                    }
                    endpoints.push(endpoint.text);
                }
            }
        }
        endpoints
    }

    fn api(&self, around: &Around<'_>) -> HaApi {
        let section = self.inner("ha", "api", "ha.api");
        let api = HaApi {
            health_port: port(&section, "health_port", 8008),
            agent_check_port: section
                .number("agent_check_port", 1, 65_535)
                .and_then(|port| u16::try_from(port.value).ok()),
            api_port: port(&section, "api_port", 8009),
            token_file: self.path_or(&section, "token_file", around.paths.secrets.join("api_token")),
            bind: section.texts("bind", 16).into_iter().filter_map(|text| self.address(text)).collect(),
        };
        if api.health_port == api.api_port {
            let name = if section.has("api_port") { "api_port" } else { "health_port" };
            section.problem(
                section.place(name),
                format!("health and API both on port {}", api.api_port),
                "give each its own",
            );
        }
        if api.agent_check_port.is_some_and(|port| port == api.health_port || port == api.api_port) {
            section.problem(
                section.place("agent_check_port"),
                "`agent_check_port` is the port of the health checks or the API".to_owned(),
                "give each its own",
            );
        }
        let check = api.agent_check_port.map(|port| ("agent_check_port", port));
        for (name, port) in
            [("health_port", api.health_port), ("api_port", api.api_port)].into_iter().chain(check)
        {
            if let Some(node) = around.nodes.into_iter().flatten().find(|node| node.port == port) {
                section.problem(
                    section.place(name),
                    format!("`{name}` is {port}, the port of node {}'s server", node.name),
                    "give each its own",
                );
            }
        }
        api
    }

    /// The floating address: the agents' own, or that of another keeper.
    fn floating(
        &self,
        around: &Around<'_>,
        witnesses: &[Witness],
    ) -> (Option<FloatingAddress>, Option<OutsideAddress>) {
        let section = self.inner("ha", "address", "ha.address");
        let keepers = [
            ("agents", None),
            ("keepalived", Some(OutsideKeeper::Keepalived)),
            ("pacemaker", Some(OutsideKeeper::Pacemaker)),
        ];
        let keeper = section.word_or("keeper", &keepers, None);
        let address = self.floating_address(&section, around, witnesses);
        match (keeper, address) {
            (Some(None), address) => (address, None),
            (Some(Some(keeper)), Some(address)) => (None, Some(OutsideAddress { keeper, address })),
            (Some(Some(_)), None) | (None, _) => (None, None),
        }
    }

    fn floating_address(
        &self,
        section: &Section<'_>,
        around: &Around<'_>,
        witnesses: &[Witness],
    ) -> Option<FloatingAddress> {
        let address = section.required_text("address");
        let place = section.place("address");
        let network = address.and_then(|text| self.checked(text, values::address_in_network));
        let interface =
            section.required_text("interface").and_then(|text| self.checked(text, values::interface));
        let network = network?;
        let nodes = around.nodes.into_iter().flatten().map(|node| (&node.name, node.address));
        let mut hosts = nodes.chain(witnesses.iter().map(|witness| (&witness.name, witness.address)));
        if let Some((name, _)) = hosts.find(|(_, address)| *address == network.addr()) {
            section.problem(
                place.clone(),
                format!("the floating address is the own one of {name}"),
                "expected an address that no host has",
            );
        }
        Some(FloatingAddress { network, interface: interface? })
    }

    fn watchdog(&self) -> Option<PathBuf> {
        let section = self.inner("ha", "watchdog", "ha.watchdog");
        section.is_there().then(|| self.path_or(&section, "device", "/dev/watchdog"))
    }

    fn hooks(&self) -> Hooks {
        let section = self.inner("ha", "hooks", "ha.hooks");
        let hook = |name| {
            let mut words = section.texts(name, 64).into_iter();
            let Some(program) = words.next() else { return Vec::new() };
            let text = program.value.clone();
            let program = self.checked(program, values::path).map(|_| text);
            let arguments = words.filter_map(|word| self.checked(word, values::argument));
            program.into_iter().chain(arguments).collect()
        };
        Hooks {
            promoted: hook("promoted"),
            demoted: hook("demoted"),
            fenced: hook("fenced"),
            timeout_ms: small(&section, "timeout_ms", 100, 60_000, 5000),
        }
    }

    fn witnesses(&self, nodes: &[Node]) -> Vec<Witness> {
        let table = self.find("ha").and_then(|(value, _)| table_of(value));
        let Some((value, _)) = table.and_then(|table| find_in(table, "witness")) else { return Vec::new() };
        let mut witnesses: Vec<Witness> = Vec::new();
        for section in self.sections("ha.witness", value, WITNESSES_MAX) {
            let name = section.required_text("name").and_then(|text| self.checked(text, values::name));
            let address =
                section.required_text("address").and_then(|text| self.checked(text, values::host_address));
            let (Some(name), Some(address)) = (name, address) else { continue };
            let hosts = nodes.iter().map(|node| (&node.name, node.address));
            let mut hosts = hosts.chain(witnesses.iter().map(|other| (&other.name, other.address)));
            if let Some((other, at)) = hosts.find(|(other, at)| **other == name || *at == address) {
                let (key, what) = if *other == name { ("name", "named") } else { ("address", "at") };
                let value = if *other == name { other.clone() } else { at.to_string() };
                section.problem(
                    section.place(key),
                    format!("a second member {what} {value}"),
                    "expected one that no node and no other witness has",
                );
            }
            witnesses.push(Witness { name, address });
        }
        witnesses
    }

    fn proxy(&self, around: &Around<'_>) -> Proxy {
        let section = self.inner("ha", "proxy", "ha.proxy");
        let listen = |name| section.text(name).and_then(|text| self.checked(text, values::listen));
        let proxy = Proxy {
            listen: listen("listen").unwrap_or(Listen { address: None, port: 3306 }),
            read_listen: listen("read_listen"),
        };
        if let Some(reader) = proxy.read_listen
            && reader.port == proxy.listen.port
            && (reader.address == proxy.listen.address
                || reader.address.is_none()
                || proxy.listen.address.is_none())
        {
            section.problem(
                section.place("read_listen"),
                format!("readers and writers both at port {}", reader.port),
                "give each its own",
            );
        }
        for (name, listen) in [("listen", Some(proxy.listen)), ("read_listen", proxy.read_listen)] {
            let taken = |node: &&Node| {
                listen.is_some_and(|listen| (listen.address, listen.port) == (Some(node.address), node.port))
            };
            if let Some(node) = around.nodes.into_iter().flatten().find(taken) {
                section.problem(
                    section.place(name),
                    format!("the server of node {} listens there", node.name),
                    "expected an address of the proxy's own, or another port",
                );
            }
        }
        proxy
    }

    /// Whether the nodes can do what is promised of them.
    fn replicas(&self, section: &Section<'_>, around: &Around<'_>, ha: &Ha) {
        let place = section.place("wait_for_acks");
        if around.server == Some(Vendor::MariaDb) && ha.wait_for_acks > 1 {
            let label = "MariaDB has no setting for more: set 1, or `server = \"mysql\"`";
            section.problem(place, format!("wait_for_acks = {} with MariaDB", ha.wait_for_acks), label);
            return;
        }
        let Some(nodes) = around.nodes.filter(|nodes| nodes.len() > 1) else { return };
        let promotable: Vec<&Node> = nodes.iter().filter(|node| node.promotion > 0).collect();
        if promotable.is_empty() {
            let label = "give one a `promotion` above 0 and no `delay_seconds`";
            section.problem(section.span.clone(), "no node may be primary", label);
            return;
        }
        if let [only] = promotable.as_slice() {
            self.problems.warn(
                section.span.clone(),
                format!("only {} may be primary", only.name),
                "nobody takes over from it: give another node a `promotion` above 0",
            );
        }
        let acking = nodes.iter().filter(|node| node.acks).count();
        // Whichever node is primary, it does not acknowledge to itself.
        let left = |primary: &&&Node| acking - usize::from(primary.acks);
        let Some(worst) = promotable.iter().min_by_key(left) else { return };
        let (fewest, waited) = (left(&worst), usize::try_from(ha.wait_for_acks).unwrap_or(usize::MAX));
        if fewest < waited && (ha.durability == Durability::Lossless || section.has("wait_for_acks")) {
            section.problem(
                place,
                format!(
                    "with {} as primary, {fewest} replicas acknowledge, and {waited} are waited for",
                    worst.name
                ),
                "set `acks = true` for more nodes, or wait for fewer",
            );
        } else if fewest == waited && ha.durability == Durability::Lossless {
            self.problems.warn(
                place,
                format!("with {} as primary, all {fewest} acknowledging replicas are waited for", worst.name),
                "writes wait while one is away: add a node, or set `durability = \"available\"`",
            );
        }
    }
}

/// The lease's life and the time between renewals, in milliseconds.
fn lease(section: &Section<'_>) -> (u32, u32) {
    let ttl_ms = small(section, "ttl_ms", 1000, 60_000, 3000);
    let renew_ms = small(section, "renew_ms", 50, 20_000, (ttl_ms / 6).clamp(50, 500));
    if renew_ms.saturating_mul(3) > ttl_ms {
        section.problem(
            section.place("renew_ms"),
            format!("a lease of {ttl_ms} ms renewed every {renew_ms} ms"),
            format!("two renewals may be lost before it ends: expected at most {}", ttl_ms / 3),
        );
    }
    (ttl_ms, renew_ms)
}

/// Whether these nodes, this store and this manager can be kept available.
fn topology(section: &Section<'_>, around: &Around<'_>, store: &HaStore) {
    let span = section.span.clone();
    if around.manager == ServiceManager::None {
        let label = "agents start and stop the server: set another `manager` in [service]";
        section.problem(span, "[ha], and `manager = \"none\"`", label);
        return;
    }
    let file = matches!(store, HaStore::File { .. });
    match around.topology {
        None => return,
        Some(Topology::Galera) => {
            let label = "agents keep `topology = \"replication\"`: remove [ha]";
            section.problem(span, "[ha] with topology galera", label);
            return;
        }
        Some(Topology::Single) if !file => {
            let label = "set `topology = \"replication\"` and add a node, or `kind = \"file\"` in [ha.store]";
            section.problem(span, "[ha] with topology single, and its store is etcd", label);
            return;
        }
        Some(Topology::Single | Topology::Replication) => {}
    }
    let Some(nodes) = around.nodes else { return };
    if nodes.len() == 1 && around.topology == Some(Topology::Replication) {
        section.problem(span, "[ha] with topology replication and one node", "add a [[node]] to take over");
    } else if file
        && let Some(first) = nodes.first()
        && !nodes.iter().all(|node| node.address == first.address)
        && !nodes.iter().all(|node| node.address.is_loopback())
    {
        let label = "a file is on one host: set `kind = \"etcd\"` in [ha.store]";
        section.problem(span, "a store of kind file, and nodes on several hosts", label);
    }
}

/// The agents' token and orders would cross a network readably.
fn encryption(section: &Section<'_>, around: &Around<'_>, api: &HaApi) {
    let Some(nodes) = around.nodes.filter(|_| !around.is_encrypted) else { return };
    let is_shown = if api.bind.is_empty() {
        nodes.iter().any(|node| !node.address.is_loopback())
    } else {
        api.bind.iter().any(|address| !address.is_loopback())
    };
    if is_shown {
        let label = "remove `enabled = false` under [tls]: the agents' API then has the node's certificate";
        section.problem(section.span.clone(), "[ha] on a network, and [tls] is not enabled", label);
    }
}

fn small(section: &Section<'_>, name: &'static str, min: u64, max: u64, default: u32) -> u32 {
    section.number(name, min, max).and_then(|number| u32::try_from(number.value).ok()).unwrap_or(default)
}

fn port(section: &Section<'_>, name: &'static str, default: u16) -> u16 {
    section.number(name, 1, 65_535).and_then(|port| u16::try_from(port.value).ok()).unwrap_or(default)
}

struct Endpoint {
    /// `SCHEME://HOST:PORT`.
    text: String,
    /// Whether what is sent can be read on a network.
    in_the_clear: bool,
}

/// A URL of an etcd member. The error is what to write instead, and repeats nothing of the text.
fn endpoint(text: &str) -> Result<Endpoint, &'static str> {
    const EXPECTED: &str = "expected a URL such as https://10.0.0.1:2379";
    let url = Url::parse(text).map_err(|_| EXPECTED)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("secrets do not belong in the spec: use `user` and `password_file`");
    }
    if !matches!(url.scheme(), "http" | "https") || url.query().is_some() || url.fragment().is_some() {
        return Err(EXPECTED);
    }
    if !matches!(url.path(), "" | "/") {
        return Err("expected no path: keys are moved with `prefix`");
    }
    let host = url.host().ok_or(EXPECTED)?;
    // A URL without a port means 80 or 443, where no etcd listens; `Url` drops such a port where it is written.
    let written = |port: u16| text.trim_end_matches('/').ends_with(&format!(":{port}")).then_some(port);
    let port = url.port().or_else(|| url.port_or_known_default().and_then(written)).filter(|port| *port > 0);
    let port = port.ok_or("expected a port, such as :2379")?;
    let loopback = match &host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => IpAddr::V4(*address).is_loopback(),
        Host::Ipv6(address) => IpAddr::V6(*address).is_loopback(),
    };
    Ok(Endpoint {
        text: format!("{}://{host}:{port}", url.scheme()),
        in_the_clear: url.scheme() == "http" && !loopback,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_urls_of_hosts() {
        for (text, wanted) in [
            ("https://10.0.0.1:2379", Some(("https://10.0.0.1:2379", false))),
            ("https://10.0.0.1:2379/", Some(("https://10.0.0.1:2379", false))),
            ("HTTPS://Etcd.Example:2379", Some(("https://etcd.example:2379", false))),
            ("https://[2001:DB8::1]:2379", Some(("https://[2001:db8::1]:2379", false))),
            ("https://etcd.example:443", Some(("https://etcd.example:443", false))),
            ("http://10.0.0.1:2379", Some(("http://10.0.0.1:2379", true))),
            ("http://localhost:2379", Some(("http://localhost:2379", false))),
            ("http://127.0.0.2:2379", Some(("http://127.0.0.2:2379", false))),
            ("http://[::1]:2379", Some(("http://[::1]:2379", false))),
            ("https://etcd.example", None),
            ("https://etcd.example:0", None),
            ("10.0.0.1:2379", None),
            ("etcd://10.0.0.1:2379", None),
            ("https://user:hunter2@10.0.0.1:2379", None),
            ("https://10.0.0.1:2379/v3", None),
            ("https://10.0.0.1:2379?x=1", None),
            ("https://:2379", None),
            ("", None),
        ] {
            let found = endpoint(text).ok();
            let found = found.as_ref().map(|endpoint| (endpoint.text.as_str(), endpoint.in_the_clear));
            assert_eq!(found, wanted, "{text}");
        }
    }
}
