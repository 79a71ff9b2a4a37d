//! From the document to a [`Spec`]: each section in turn, then what must hold between them.
#![expect(clippy::wildcard_enum_match_arm, reason = "any other kind of TOML value is the wrong one")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use flavor::Vendor;
use ipnet::IpNet;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::ha::Around;
use crate::keys::SECTIONS;
use crate::model::{
    Accounts, Cloud, Cluster, Config, Firewall, Machine, Node, Package, Paths, Preflight, RestartPolicy,
    Service, ServiceManager, Share, Spec, Tls, Topology, Unmanaged,
};
use crate::problem::{PROBLEMS_MAX, Problem, SpecErrors, Warning, line_and_column};
use crate::read::{At, Problems, Section, clip, kind_of, nearest};
use crate::values::{self, NetworkUse};

/// The largest spec.
pub const SPEC_BYTES_MAX: usize = 1 << 20;
const NETWORKS_MAX: usize = 256;
const MEMORY_MIN: u64 = 512 << 20;
const MEMORY_MAX: u64 = 64 << 40;
const GIB: u64 = 1 << 30;

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
        // What is read around a mistake in the syntax is a guess, so the content waits until there is none.
        let (document, mistakes) = DeTable::parse_recoverable(text);
        if !mistakes.is_empty() {
            return Err(failed(syntax(text, &mistakes)));
        }
        let problems = Problems::default();
        let spec =
            Document { root: document.get_ref(), text, problems: &problems, end: text.trim_end().len() }
                .spec();
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

    /// Networks that the database's clients are in: the cloud's, those of `[accounts]`, and the nodes as
    /// networks of one address. Sorted, each once.
    #[must_use]
    pub fn all_client_networks(&self) -> Vec<IpNet> {
        let cloudstack = self.cloudstack.iter().flat_map(|cloud| &cloud.networks);
        let openstack = self.openstack.iter().flat_map(|cloud| &cloud.networks);
        let nodes = self.nodes.iter().map(|node| IpNet::from(node.address));
        let networks: BTreeSet<IpNet> =
            cloudstack.chain(openstack).chain(&self.accounts.networks).copied().chain(nodes).collect();
        networks.into_iter().collect()
    }
}

/// The mistakes in the syntax, one a line: those after the first follow from it.
fn syntax(text: &str, mistakes: &[toml::de::Error]) -> Vec<Problem> {
    let mut problems: Vec<Problem> = mistakes
        .iter()
        .take(PROBLEMS_MAX)
        .map(|mistake| Problem {
            span: mistake.span().unwrap_or(0..0),
            message: mistake.message().to_owned(),
            label: "not TOML from here".to_owned(),
        })
        .collect();
    problems.sort_by_key(|problem| problem.span.start);
    let mut lines = BTreeSet::new();
    problems.retain(|problem| lines.insert(line_and_column(text, problem.span.start).0));
    problems
}

/// What `[cluster]` says. A word is `None` where it is wrong, so that nothing is concluded from it.
#[derive(Default)]
struct ClusterRead {
    name: Option<String>,
    server: Option<Vendor>,
    topology: Option<Topology>,
    cloud: Option<Cloud>,
}

pub(crate) struct Document<'a> {
    root: &'a DeTable<'a>,
    pub(crate) text: &'a str,
    pub(crate) problems: &'a Problems,
    /// Where the text ends: the place of what is missing.
    pub(crate) end: usize,
}

impl<'a> Document<'a> {
    fn spec(&self) -> Option<Spec> {
        self.refuse_unknown_sections();
        let cluster = self.cluster();
        let paths = self.paths();
        let accounts = self.accounts();
        let service = self.service(cluster.server);
        let tls = self.tls();
        let before = self.problems.count();
        let nodes = self.nodes(cluster.topology);
        let around = Around {
            cluster: cluster.name.as_deref(),
            server: cluster.server,
            topology: cluster.topology,
            manager: service.manager,
            paths: &paths,
            is_encrypted: tls.is_some(),
            nodes: (self.problems.count() == before).then_some(&nodes),
        };
        let ha = self.ha(&around);
        let cloudstack = self.cloudstack(cluster.cloud, &paths, &accounts, nodes.first());
        let openstack = self.openstack(cluster.cloud, &paths, &accounts);
        Some(Spec {
            service,
            package: self.package(),
            machine: self.machine(),
            config: self.config(),
            preflight: self.preflight(),
            firewall: self.firewall(),
            tls,
            accounts,
            cluster: Cluster {
                name: cluster.name?,
                server: cluster.server?,
                topology: cluster.topology?,
                cloud: cluster.cloud?,
            },
            nodes,
            paths,
            cloudstack,
            openstack,
            ha,
            kill: self.kill(),
            backup: self.backup(),
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
        let inner = found.and_then(|(value, _)| {
            if table_of(value).is_none() {
                let message = format!("`{name}` in [{outer}] is {}", kind_of(value.get_ref()));
                self.problems.add(value.span(), message, format!("expected a section: [{full}]"));
            }
            table_of(value)
        });
        Section::new(full, inner, span, self.problems)
    }

    /// Whether nothing is written under this name in a section, nor under one that is nearly it.
    pub(crate) fn inner_is_absent(&self, outer: &str, name: &str) -> bool {
        let table = self.find(outer).and_then(|(value, _)| table_of(value));
        let mut keys = table.into_iter().flatten().map(|(key, _)| key.get_ref().as_ref());
        !keys.any(|written| nearest(written, std::iter::once(name)).is_some())
    }

    /// The sections of a name that may be there several times.
    pub(crate) fn sections(
        &self,
        name: &'static str,
        value: &'a Spanned<DeValue<'a>>,
        max: usize,
    ) -> Vec<Section<'a>> {
        let title = crate::keys::title(name);
        let DeValue::Array(items) = value.get_ref() else {
            self.problems.add(
                value.span(),
                format!("`{name}` is {}", kind_of(value.get_ref())),
                format!("it is written {title}, with two brackets, since there may be several"),
            );
            return Vec::new();
        };
        if items.len() > max {
            self.problems.add(
                value.span(),
                format!("{} times {title}", items.len()),
                format!("at most {max} are possible"),
            );
            return Vec::new();
        }
        items
            .iter()
            .filter_map(|item| {
                let table = table_of(item);
                if table.is_none() {
                    let message = format!("`{name}` holds {}", kind_of(item.get_ref()));
                    self.problems.add(item.span(), message, format!("expected sections: {title}"));
                }
                table.map(|table| Section::new(name, Some(table), item.span(), self.problems))
            })
            .collect()
    }

    /// Whether a section is there under a name that is nearly this one.
    pub(crate) fn misspelt(&self, name: &str) -> bool {
        let known = || SECTIONS.iter().map(|(name, _)| *name);
        self.root
            .iter()
            .map(|(key, _)| key.get_ref().as_ref())
            .any(|written| !known().any(|known| known == written) && nearest(written, known()) == Some(name))
    }

    fn cluster(&self) -> ClusterRead {
        let section = self.section("cluster");
        if !section.is_there() {
            self.problems.add(
                self.end..self.end,
                "there is no [cluster]",
                "`mainstay init --stdout` prints a whole spec",
            );
            return ClusterRead::default();
        }
        let name = section.required_text("name").and_then(|text| self.checked(text, values::name));
        section.required_text("server");
        let server = section
            .word("server", &[("mariadb", Vendor::MariaDb), ("mysql", Vendor::MySql)])
            .map(|word| word.value);
        let topologies = [
            ("single", Topology::Single),
            ("replication", Topology::Replication),
            ("galera", Topology::Galera),
        ];
        let topology = section.word_or("topology", &topologies, Topology::Single);
        let clouds =
            [("none", Cloud::None), ("cloudstack", Cloud::Cloudstack), ("openstack", Cloud::Openstack)];
        let cloud = section.word_or("cloud", &clouds, Cloud::None);
        if topology == Some(Topology::Galera) && server == Some(Vendor::MySql) {
            section.problem(
                section.place("topology"),
                "galera with MySQL",
                "Galera comes with MariaDB: `server = \"mariadb\"`",
            );
        }
        ClusterRead { name, server, topology, cloud }
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

    fn service(&self, vendor: Option<Vendor>) -> Service {
        let section = self.section("service");
        let managers = [
            ("auto", ServiceManager::Auto),
            ("systemd", ServiceManager::Systemd),
            ("process", ServiceManager::Process),
            ("none", ServiceManager::None),
        ];
        let restarts = [("never", RestartPolicy::Never), ("when-needed", RestartPolicy::WhenNeeded)];
        let unit = match vendor {
            Some(Vendor::MariaDb) | None => "mariadb",
            Some(Vendor::MySql) => "mysql",
        };
        Service {
            manager: section.word("manager", &managers).map_or(ServiceManager::Auto, |word| word.value),
            unit: section
                .text("unit")
                .and_then(|text| self.checked(text, values::word))
                .unwrap_or_else(|| unit.to_owned()),
            command: section
                .texts("command", 64)
                .into_iter()
                .filter_map(|text| self.checked(text, values::argument))
                .collect(),
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
