//! From the document to a [`Spec`]: each section in turn, then what must hold between them.
#![expect(clippy::wildcard_enum_match_arm, reason = "any other kind of TOML value is the wrong one")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use flavor::Vendor;
use ipnet::IpNet;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::keys::SECTIONS;
use crate::model::{
    Accounts, Cloud, Cluster, Config, Firewall, Machine, Node, Package, Paths, Preflight, RestartPolicy,
    Service, ServiceManager, Share, Spec, Tls, Topology, Unmanaged,
};
use crate::problem::{Problem, SpecErrors, Warning};
use crate::read::{At, Problems, Section, clip, integer, is_secret, kind_of, nearest};
use crate::values::{self, NetworkUse};

/// The largest spec.
pub const SPEC_BYTES_MAX: usize = 1 << 20;
const NODES_MAX: usize = 64;
pub(crate) const NETWORKS_MAX: usize = 256;
const MEMORY_MIN: u64 = 512 << 20;
const MEMORY_MAX: u64 = 64 << 40;
const GIB: u64 = 1 << 30;

/// Variables that another key of the spec sets, and which.
const OWNED_VARIABLES: &[(&str, &str)] = &[
    ("server_id", "`server_id` of the node"),
    ("datadir", "`data_dir` of the node"),
    ("socket", "`socket` of the node"),
    ("port", "`port` of the node"),
    ("bind_address", "`bind` in [config]"),
    ("ssl_ca", "[tls]"),
    ("ssl_cert", "[tls]"),
    ("ssl_key", "[tls]"),
    ("require_secure_transport", "`require` in [tls]"),
    ("log_bin", "nothing: the binary log is always on"),
];

impl Spec {
    /// Reads a spec. `file_name` is only for messages.
    ///
    /// # Errors
    /// Everything that is wrong with it, in one go.
    pub fn parse(text: &str, file_name: &str) -> Result<(Self, Vec<Warning>), SpecErrors> {
        let failed = |problems| SpecErrors::new(file_name, text, problems);
        if text.len() > SPEC_BYTES_MAX {
            let message = format!("the file has {} bytes; {SPEC_BYTES_MAX} are possible", text.len());
            return Err(failed(vec![Problem { span: 0..0, message, label: String::new() }]));
        }
        let document = match DeTable::parse(text) {
            Ok(document) => document,
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                return Err(failed(vec![Problem {
                    span,
                    message: error.message().to_owned(),
                    label: "not TOML from here".to_owned(),
                }]));
            }
        };
        let problems = Problems::default();
        let spec =
            Document { root: document.get_ref(), problems: &problems, end: text.trim_end().len() }.spec();
        let (found, warned) = problems.into_parts();
        match spec {
            Some(spec) if found.is_empty() => {
                Ok((spec, warned.iter().map(|problem| Warning::new(file_name, text, problem)).collect()))
            }
            Some(_) | None => Err(failed(found)),
        }
    }

    /// The node of this name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }
}

pub(crate) struct Document<'a> {
    root: &'a DeTable<'a>,
    pub(crate) problems: &'a Problems,
    /// Where the text ends: the place of what is missing.
    pub(crate) end: usize,
}

impl<'a> Document<'a> {
    fn spec(&self) -> Option<Spec> {
        self.refuse_unknown_sections();
        let cluster = self.cluster();
        let paths = self.paths();
        let nodes = self.nodes(cluster.as_ref().map(|cluster| cluster.topology));
        let cloud = cluster.as_ref().map_or(Cloud::None, |cluster| cluster.cloud);
        let cloudstack = self.cloudstack(cloud, &paths, nodes.first());
        let openstack = self.openstack(cloud, &paths);
        let vendor = cluster.as_ref().map_or(Vendor::MariaDb, |cluster| cluster.server);
        Some(Spec {
            service: self.service(vendor),
            package: self.package(),
            machine: self.machine(),
            config: self.config(),
            preflight: self.preflight(),
            firewall: self.firewall(),
            tls: self.tls(),
            accounts: self.accounts(),
            cluster: cluster?,
            nodes,
            paths,
            cloudstack,
            openstack,
        })
    }

    fn refuse_unknown_sections(&self) {
        let known = || SECTIONS.iter().map(|(name, _)| *name).filter(|name| !name.contains('.'));
        for (key, value) in self.root {
            let name = key.get_ref().as_ref();
            if !known().any(|known| known == name) {
                let label = nearest(name, known()).map_or_else(
                    || format!("the sections are {}", known().collect::<Vec<_>>().join(", ")),
                    |near| format!("did you mean [{near}]?"),
                );
                self.problems.add(key.span(), format!("unknown section [{}]", clip(name)), label);
            } else if name == "node" && !matches!(value.get_ref(), DeValue::Array(_)) {
                self.problems.add(
                    key.span(),
                    "a node is written [[node]]",
                    "two brackets, since there may be several",
                );
            } else if name != "node" && !matches!(value.get_ref(), DeValue::Table(_)) {
                let label = format!("expected a section: [{name}]");
                self.problems.add(key.span(), format!("`{name}` is {}", kind_of(value.get_ref())), label);
            }
        }
    }

    pub(crate) fn find(&self, name: &str) -> Option<(&'a Spanned<DeValue<'a>>, Range<usize>)> {
        find_in(self.root, name)
    }

    pub(crate) fn section(&self, name: &'static str) -> Section<'a> {
        let found = self.find(name);
        let table = found.as_ref().and_then(|(value, _)| table_of(value));
        let span = found.map_or(self.end..self.end, |(_, span)| span);
        Section::new(name, table, span, self.problems)
    }

    pub(crate) fn inner(&self, outer: &'static str, name: &str, full: &'static str) -> Section<'a> {
        let table = self.find(outer).and_then(|(value, _)| table_of(value));
        let found = table.and_then(|table| find_in(table, name));
        let span = found.as_ref().map_or(self.end..self.end, |(_, span)| span.clone());
        Section::new(full, found.and_then(|(value, _)| table_of(value)), span, self.problems)
    }

    fn cluster(&self) -> Option<Cluster> {
        let section = self.section("cluster");
        if !section.is_there() {
            self.problems.add(
                self.end..self.end,
                "there is no [cluster]",
                "`mainstay init --stdout` prints a whole spec",
            );
            return None;
        }
        let name = section.required_text("name").and_then(|text| self.checked(text, values::name));
        section.required_text("server");
        let server = section.word("server", &[("mariadb", Vendor::MariaDb), ("mysql", Vendor::MySql)]);
        let topologies = [
            ("single", Topology::Single),
            ("replication", Topology::Replication),
            ("galera", Topology::Galera),
        ];
        let topology = section.word("topology", &topologies).map_or(Topology::Single, |word| word.value);
        let clouds =
            [("none", Cloud::None), ("cloudstack", Cloud::Cloudstack), ("openstack", Cloud::Openstack)];
        let cloud = section.word("cloud", &clouds).map_or(Cloud::None, |word| word.value);
        if topology == Topology::Galera && server.as_ref().is_some_and(|server| server.value == Vendor::MySql)
        {
            section.problem(
                section.place("topology"),
                "galera with MySQL",
                "Galera comes with MariaDB: `server = \"mariadb\"`",
            );
        }
        Some(Cluster { name: name?, server: server?.value, topology, cloud })
    }

    pub(crate) fn checked<T>(
        &self,
        text: At<String>,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        match check(&text.value) {
            Ok(value) => Some(value),
            Err(label) => {
                self.problems.add(text.span, format!("\"{}\" cannot be used here", clip(&text.value)), label);
                None
            }
        }
    }

    pub(crate) fn path(&self, section: &Section<'_>, name: &'static str) -> Option<PathBuf> {
        self.checked(section.text(name)?, values::path)
    }

    pub(crate) fn path_or(
        &self,
        section: &Section<'_>,
        name: &'static str,
        default: impl AsRef<Path>,
    ) -> PathBuf {
        self.path(section, name).unwrap_or_else(|| default.as_ref().to_path_buf())
    }

    pub(crate) fn address(&self, text: At<String>) -> Option<IpAddr> {
        self.checked(text, |text| {
            text.parse().map_err(|_| "expected an IP address such as 10.0.0.11".to_owned())
        })
    }

    pub(crate) fn networks(
        &self,
        section: &Section<'_>,
        name: &'static str,
        using: NetworkUse,
    ) -> Vec<IpNet> {
        let mut networks: Vec<IpNet> = section
            .texts(name, NETWORKS_MAX)
            .into_iter()
            .filter_map(|text| self.checked(text, |text| values::network(text, using)))
            .collect();
        networks.sort();
        networks.dedup();
        networks
    }

    fn paths(&self) -> Paths {
        let section = self.section("paths");
        Paths {
            state: self.path_or(&section, "state", "/var/lib/mainstay"),
            secrets: self.path_or(&section, "secrets", "/etc/mainstay/secrets"),
        }
    }

    fn nodes(&self, topology: Option<Topology>) -> Vec<Node> {
        let Some((value, span)) = self.find("node") else {
            self.problems.add(
                self.end..self.end,
                "there is no [[node]]",
                "add one with `name` and `address`",
            );
            return Vec::new();
        };
        let DeValue::Array(items) = value.get_ref() else { return Vec::new() };
        if items.len() > NODES_MAX {
            self.problems.add(
                span,
                format!("{} nodes", items.len()),
                format!("at most {NODES_MAX} are possible"),
            );
            return Vec::new();
        }
        let nodes: Vec<(Node, Range<usize>)> = items
            .iter()
            .filter_map(|item| {
                let section = Section::new("node", table_of(item), item.span(), self.problems);
                Some((self.node(&section)?, item.span()))
            })
            .collect();
        self.unique(&nodes);
        if topology == Some(Topology::Single)
            && let Some((_, second)) = nodes.get(1)
        {
            self.problems.add(
                second.clone(),
                "a second node with topology single",
                "set `topology = \"replication\"` or \"galera\", or remove it",
            );
        }
        if topology == Some(Topology::Replication) && nodes.len() == 1 {
            self.problems.warn(
                span,
                "replication with one node",
                "add a replica, or set `topology = \"single\"`",
            );
        } else if topology == Some(Topology::Galera) && nodes.len().is_multiple_of(2) {
            self.problems.warn(
                span,
                format!("galera with {} nodes", nodes.len()),
                "an odd number keeps a majority when the network splits",
            );
        }
        nodes.into_iter().map(|(node, _)| node).collect()
    }

    fn node(&self, section: &Section<'_>) -> Option<Node> {
        let name = section.required_text("name").and_then(|text| self.checked(text, values::name));
        let address = section.required_text("address").and_then(|text| self.address(text));
        let port =
            section.number("port", 1, 65_535).map_or(3306, |port| u16::try_from(port.value).unwrap_or(3306));
        let socket = self.path_or(section, "socket", "/run/mysqld/mysqld.sock");
        let data_dir = self.path_or(section, "data_dir", "/var/lib/mysql");
        let given =
            section.number("server_id", 1, u64::from(u32::MAX)).and_then(|id| u32::try_from(id.value).ok());
        let ssh = section.text("ssh").and_then(|text| self.checked(text, values::word));
        let address = address?;
        Some(Node {
            name: name?,
            address,
            port,
            socket,
            data_dir,
            server_id: given.unwrap_or_else(|| server_id(address, port)),
            ssh,
        })
    }

    fn unique(&self, nodes: &[(Node, Range<usize>)]) {
        for (at, (node, span)) in nodes.iter().enumerate() {
            for (earlier, _) in nodes.iter().take(at) {
                let same = if earlier.name == node.name {
                    Some(format!("name {}", node.name))
                } else if (earlier.address, earlier.port) == (node.address, node.port) {
                    Some(format!("address {} and port {}", node.address, node.port))
                } else if earlier.server_id == node.server_id {
                    Some(format!("server_id {}", node.server_id))
                } else {
                    None
                };
                if let Some(same) = same {
                    self.problems.add(
                        span.clone(),
                        format!("a second node with the {same}"),
                        format!("node {} has it already", earlier.name),
                    );
                }
            }
        }
    }

    fn package(&self) -> Package {
        let section = self.section("package");
        Package {
            install: section.boolean("install").unwrap_or(false),
            names: section
                .texts("names", 32)
                .into_iter()
                .filter_map(|text| self.checked(text, values::word))
                .collect(),
        }
    }

    fn service(&self, vendor: Vendor) -> Service {
        let section = self.section("service");
        let managers = [
            ("auto", ServiceManager::Auto),
            ("systemd", ServiceManager::Systemd),
            ("process", ServiceManager::Process),
            ("none", ServiceManager::None),
        ];
        let restarts = [("never", RestartPolicy::Never), ("when-needed", RestartPolicy::WhenNeeded)];
        let unit = match vendor {
            Vendor::MariaDb => "mariadb",
            Vendor::MySql => "mysql",
        };
        Service {
            manager: section.word("manager", &managers).map_or(ServiceManager::Auto, |word| word.value),
            unit: section
                .text("unit")
                .and_then(|text| self.checked(text, values::word))
                .unwrap_or_else(|| unit.to_owned()),
            command: section.texts("command", 64).into_iter().map(|text| text.value).collect(),
            supervise: section.boolean("supervise").unwrap_or(true),
            user: section
                .text("user")
                .and_then(|text| self.checked(text, values::word))
                .unwrap_or_else(|| "mysql".to_owned()),
            restart: section.word("restart", &restarts).map_or(RestartPolicy::Never, |word| word.value),
        }
    }

    fn machine(&self) -> Machine {
        let section = self.section("machine");
        let shares = [("dedicated", Share::Dedicated), ("shared", Share::Shared)];
        let memory = section.size("memory").filter(|memory| {
            let fits = (MEMORY_MIN..=MEMORY_MAX).contains(&memory.value);
            if !fits {
                section.problem(memory.span.clone(), "impossible size of a machine", "expected 512M to 64T");
            }
            fits
        });
        Machine {
            share: section.word("share", &shares).map_or(Share::Dedicated, |word| word.value),
            memory_bytes: memory.map(|memory| memory.value),
            cpus: section.number("cpus", 1, 4096).and_then(|cpus| u32::try_from(cpus.value).ok()),
        }
    }

    fn config(&self) -> Config {
        let section = self.section("config");
        let variables = self
            .find("config")
            .and_then(|(value, _)| table_of(value))
            .and_then(|table| find_in(table, "variables"));
        Config {
            file: self.path(&section, "file"),
            bind: section.texts("bind", 16).into_iter().filter_map(|text| self.address(text)).collect(),
            variables: variables.map_or_else(BTreeMap::new, |(value, _)| self.variables(value)),
        }
    }

    fn variables(&self, value: &Spanned<DeValue<'_>>) -> BTreeMap<String, String> {
        let Some(table) = table_of(value) else {
            self.problems.add(
                value.span(),
                "`variables` in [config] is not a section",
                "write [config.variables]",
            );
            return BTreeMap::new();
        };
        let mut variables = BTreeMap::new();
        for (key, value) in table {
            let name = key.get_ref().to_lowercase().replace('-', "_");
            let text = match value.get_ref() {
                DeValue::String(text) => text.to_string(),
                DeValue::Boolean(boolean) => if *boolean { "ON" } else { "OFF" }.to_owned(),
                DeValue::Integer(number) => {
                    integer(number).map_or_else(|| number.as_str().to_owned(), |number| number.to_string())
                }
                DeValue::Float(number) => number.as_str().to_owned(),
                other @ (DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_)) => {
                    self.problems.add(
                        value.span(),
                        format!("`{name}` in [config.variables] is {}", kind_of(other)),
                        "expected text, a number, true or false",
                    );
                    continue;
                }
            };
            if let Some((_, instead)) = OWNED_VARIABLES.iter().find(|(owned, _)| *owned == name) {
                self.problems.add(
                    key.span(),
                    format!("`{name}` cannot be set in [config.variables]"),
                    format!("use {instead}"),
                );
            } else if !name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.')
                || is_secret(&name)
            {
                self.problems.add(
                    key.span(),
                    format!("`{}` is not a variable for the option file", clip(&name)),
                    "letters, digits and `_`, and no secrets",
                );
            } else if text.chars().any(char::is_control) {
                self.problems.add(
                    value.span(),
                    format!("the value of `{name}` holds control characters"),
                    "an option is one line",
                );
            } else {
                variables.insert(name, text);
            }
        }
        variables
    }

    fn preflight(&self) -> Preflight {
        let section = self.section("preflight");
        let small = |name, default: u32| {
            section
                .number(name, 0, 100_000_000)
                .and_then(|number| u32::try_from(number.value).ok())
                .unwrap_or(default)
        };
        Preflight {
            measure_disk: section.boolean("measure_disk").unwrap_or(true),
            iops_min: small("iops_min", 5000),
            round_trip_max_us: small("round_trip_max_us", 1000),
            disk_free_min_bytes: section.size("disk_free_min").map_or(20 * GIB, |size| size.value),
            peers: section
                .texts("peers", 64)
                .into_iter()
                .filter_map(|text| self.checked(text, values::word))
                .collect(),
        }
    }

    fn firewall(&self) -> Option<Firewall> {
        let section = self.section("firewall");
        let allow = self.networks(&section, "allow", NetworkUse::Firewall);
        section.boolean("enabled").unwrap_or(false).then_some(Firewall { allow })
    }

    fn tls(&self) -> Option<Tls> {
        let section = self.section("tls");
        let days = |name, min, max, default: u32| {
            section.number(name, min, max).and_then(|days| u32::try_from(days.value).ok()).unwrap_or(default)
        };
        let tls = Tls {
            dir: self.path_or(&section, "dir", "/etc/mainstay/tls"),
            require: section.boolean("require").unwrap_or(false),
            days: days("days", 30, 3650, 825),
            renew_before_days: days("renew_before_days", 1, 1000, 30),
        };
        if tls.renew_before_days >= tls.days {
            section.problem(
                section.place("renew_before_days"),
                "certificates would be renewed on every run",
                format!("expected less than the {} days of `days`", tls.days),
            );
        }
        section.boolean("enabled").unwrap_or(true).then_some(tls)
    }

    fn accounts(&self) -> Accounts {
        let section = self.section("accounts");
        let unmanaged = [("report", Unmanaged::Report), ("drop", Unmanaged::Drop)];
        Accounts {
            admin_user: section
                .text("admin_user")
                .and_then(|text| self.checked(text, |text| values::sql_name(text, 32)))
                .unwrap_or_else(|| "root".to_owned()),
            admin_defaults_file: self.path(&section, "admin_defaults_file"),
            unmanaged: section.word("unmanaged", &unmanaged).map_or(Unmanaged::Report, |word| word.value),
            networks: self.networks(&section, "networks", NetworkUse::Accounts),
        }
    }
}

pub(crate) fn table_of<'a>(value: &'a Spanned<DeValue<'a>>) -> Option<&'a DeTable<'a>> {
    match value.get_ref() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

pub(crate) fn find_in<'a>(
    table: &'a DeTable<'a>,
    name: &str,
) -> Option<(&'a Spanned<DeValue<'a>>, Range<usize>)> {
    table.iter().find(|(key, _)| key.get_ref().as_ref() == name).map(|(key, value)| (value, key.span()))
}

/// A server id from the address: unique where addresses and ports are.
fn server_id(address: IpAddr, port: u16) -> u32 {
    let base = match address {
        IpAddr::V4(v4) => u32::from(v4),
        IpAddr::V6(v6) => values::hashed_server_id(&v6.to_string()),
    };
    base.wrapping_add(u32::from(port)).wrapping_sub(3306).max(1)
}
