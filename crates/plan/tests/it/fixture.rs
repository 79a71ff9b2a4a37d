//! Observations to plan from: hosts and servers as they were seen, with single things changed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use facts::{
    AccountFacts, AuthHash, DatabaseFacts, DiskMeasure, HostFacts, PackageManager, Replication, Seen,
    ServerFacts, ServerTls,
};
use flavor::{Flavor, Vendor, Version};
use plan::{
    CloudStackSeen, LoadMark, Measured, Observation, Options, PasswordMatch, Plan, SecretSeen, State,
    TlsFiles, make, wanted_accounts,
};
use spec::{ServiceManager, Spec};

/// A CloudStack cluster of one node on this vendor's server.
pub(crate) fn cloudstack_spec(vendor: Vendor) -> Spec {
    spec(&format!(
        r#"
[cluster]
name = "zone1"
server = "{}"
topology = "single"
cloud = "cloudstack"

[[node]]
name = "db1"
address = "10.0.0.11"

[service]
restart = "when-needed"

[cloudstack]
management_servers = 2
networks = ["10.0.1.0/24"]
schema_dir = "/usr/share/cloudstack-management/setup"
"#,
        vendor.name().to_lowercase()
    ))
}

pub(crate) fn spec(text: &str) -> Spec {
    Spec::parse(text, "mainstay.toml").map(|(spec, _)| spec).unwrap_or_else(|errors| panic!("{errors}"))
}

pub(crate) fn flavor(vendor: Vendor) -> Flavor {
    match vendor {
        Vendor::MariaDb => Flavor { vendor, version: Version::new(10, 11, 19) },
        Vendor::MySql => Flavor { vendor, version: Version::new(9, 7, 4) },
    }
}

fn variables(vendor: Vendor) -> BTreeMap<String, String> {
    let text = match vendor {
        Vendor::MariaDb => include_str!("fixtures/mariadb-10.11.tsv"),
        Vendor::MySql => include_str!("fixtures/mysql-9.7.tsv"),
    };
    text.lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// A server as it is right after installation.
pub(crate) fn fresh_server(vendor: Vendor) -> ServerFacts {
    ServerFacts {
        flavor: flavor(vendor),
        version_text: flavor(vendor).version.to_string(),
        version_comment: String::new(),
        hostname: "db1".to_owned(),
        port: 3306,
        socket: PathBuf::from("/run/mysqld/mysqld.sock"),
        data_dir: PathBuf::from("/var/lib/mysql/"),
        server_id: 1,
        server_uuid: Seen::Absent,
        read_only: false,
        super_read_only: Seen::Absent,
        tls: ServerTls { enabled: vendor == Vendor::MySql, required: false, not_after: Seen::Absent },
        replication: Replication {
            sources: Seen::Known(Vec::new()),
            replicas: 0,
            gtid_position: String::new(),
            semi_sync_ackers: Seen::Absent,
        },
        galera: Seen::Absent,
        variables: variables(vendor),
        variable_origins: BTreeMap::new(),
        persisted: BTreeMap::new(),
        plugins: Vec::new(),
        accounts: Seen::Known(vec![account("root", "localhost", socket_plugin(vendor), &[])]),
        databases: Vec::new(),
    }
}

const fn socket_plugin(vendor: Vendor) -> &'static str {
    match vendor {
        Vendor::MariaDb => "unix_socket",
        Vendor::MySql => "auth_socket",
    }
}

pub(crate) fn account(user: &str, host: &str, plugin: &str, grants: &[&str]) -> AccountFacts {
    AccountFacts {
        user: user.to_owned(),
        host: host.to_owned(),
        plugin: plugin.to_owned(),
        auth: AuthHash::new(Vec::new()),
        other_plugins: Vec::new(),
        tls: String::new(),
        locked: false,
        is_role: false,
        grants: grants.iter().map(|line| (*line).to_owned()).collect(),
    }
}

pub(crate) fn database(name: &str, tables: u64) -> DatabaseFacts {
    DatabaseFacts {
        name: name.to_owned(),
        charset: "utf8mb4".to_owned(),
        collation: "utf8mb4_general_ci".to_owned(),
        tables,
    }
}

fn host() -> HostFacts {
    HostFacts {
        hostname: "db1".to_owned(),
        os_id: "debian".to_owned(),
        os_version: "12".to_owned(),
        os_name: "Debian GNU/Linux 12 (bookworm)".to_owned(),
        kernel: "6.1.0".to_owned(),
        cpus: 8,
        memory_bytes: 32 << 30,
        systemd: true,
        package_manager: Seen::Known(PackageManager::Apt),
        selinux: Seen::Absent,
        apparmor: Seen::Absent,
        time_synchronised: Seen::Known(true),
        addresses: vec!["127.0.0.1".parse().unwrap(), "10.0.0.11".parse().unwrap()],
    }
}

/// A host with a freshly installed server on it.
pub(crate) fn fresh(vendor: Vendor) -> Observation {
    Observation {
        node: "db1".to_owned(),
        taken_at: "2026-11-21T03:00:00Z".parse().unwrap(),
        state: State {
            host: host(),
            packages: Vec::new(),
            service_manager: ServiceManager::Systemd,
            service: Seen::Known(facts::ServiceFacts { running: true, enabled: true, program: Seen::Absent }),
            run_as_root: true,
            installed_flavor: Seen::Absent,
            data_dir_in_use: Seen::Known(true),
            kept_by_agent: false,
            server: Seen::Known(fresh_server(vendor)),
            config_path: PathBuf::from("/etc/mysql/mariadb.conf.d/zz-mainstay.cnf"),
            config_content: Seen::Absent,
            tls: Some(TlsFiles {
                ca: Seen::Absent,
                ca_key: Seen::Absent,
                server: Seen::Absent,
                client: Seen::Absent,
                server_key: Seen::Absent,
                unread: false,
            }),
            secrets: BTreeMap::new(),
            passwords: BTreeMap::new(),
            firewall: None,
            cloudstack: Some(CloudStackSeen {
                load: Seen::Absent,
                version: Seen::Absent,
                schema_files: Seen::Known(vec![
                    ("create-database.sql".to_owned(), "a1".repeat(32)),
                    ("create-schema.sql".to_owned(), "b2".repeat(32)),
                ]),
                properties: Seen::Absent,
                property_warnings: Vec::new(),
                management_servers: Vec::new(),
                key_file: None,
                pools: Seen::Absent,
            }),
        },
        measured: Measured {
            disk: Seen::Known(DiskMeasure {
                free_bytes: 400 << 30,
                size_bytes: 500 << 30,
                free_inodes: Seen::Known(30_000_000),
                filesystem: "ext4".to_owned(),
                write_iops: Seen::Known(21_000),
                fsync_median_us: Seen::Known(210),
                fsync_p99_us: Seen::Known(900),
            }),
            round_trips_us: Vec::new(),
            port_taken_by: Seen::Absent,
        },
    }
}

/// The same host after its plan was carried out: what the plan wants is what is there.
pub(crate) fn applied(spec: &Spec, vendor: Vendor) -> Observation {
    let mut seen = fresh(vendor);
    let first = plan_for(spec, &seen);
    for step in &first.steps {
        if let plan::Action::WriteConfig { content, .. } = &step.action {
            seen.state.config_content = Seen::Known(content.clone());
        }
    }
    let wanted = wanted_accounts(spec, flavor(vendor)).unwrap();
    let certificate = facts::CertificateFacts {
        not_before_epoch_seconds: 0,
        not_after_epoch_seconds: seen.taken_at.as_second() + 800 * 86_400,
        common_name: "db1".to_owned(),
        names: ["10.0.0.11", "db1", "localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec(),
        version: 3,
        valid_under_ca: true,
    };
    let ca = facts::CertificateFacts { not_after_epoch_seconds: i64::MAX, ..certificate.clone() };
    if let Some(tls) = &mut seen.state.tls {
        tls.ca = Seen::Known(ca);
        tls.server = Seen::Known(certificate.clone());
        tls.client = Seen::Known(certificate);
        tls.ca_key = Seen::Known(facts::FileFacts {
            sha256: String::new(),
            mode: 0o600,
            owner: "root".to_owned(),
            group: "root".to_owned(),
            length_bytes: 1,
        });
    }
    let Seen::Known(server) = &mut seen.state.server else { panic!("a fresh server runs") };
    for change in first.steps.iter().flat_map(|step| &step.changes) {
        if server.variables.contains_key(&change.what) {
            server.variables.insert(change.what.clone(), change.wanted.clone().unwrap_or_default());
        }
    }
    let Seen::Known(accounts) = &mut server.accounts else { panic!("accounts are readable") };
    for account in &wanted {
        let lines: Vec<String> = account
            .grants
            .iter()
            .map(|(object, privileges)| {
                let on = match object {
                    plan::GrantObjectWanted::Global => "*.*".to_owned(),
                    plan::GrantObjectWanted::Database(name) => format!("`{}`.*", name.replace('_', "\\_")),
                };
                format!("GRANT {} ON {on} TO `{}`@`{}`", privileges.join(", "), account.user, account.host)
            })
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let mut facts = self::account(&account.user, &account.host, account.plugin, &lines);
        facts.tls = if account.require_tls { "ANY".to_owned() } else { String::new() };
        facts.auth = AuthHash::new(b"*hash".to_vec());
        accounts.push(facts);
        seen.state.passwords.insert(format!("{}@{}", account.user, account.host), PasswordMatch::Same);
        seen.state.secrets.insert(account.password_file.clone(), SecretSeen::Present);
    }
    if spec.cloudstack.is_some() {
        server.databases = vec![database("cloud", 136), database("cloud_usage", 15)];
        let cloudstack = seen.state.cloudstack.as_mut().unwrap();
        cloudstack.version = Seen::Known(("4.0.0".to_owned(), true));
        cloudstack.load = Seen::Known(LoadMark { finished: true, at: "2026-11-21 03:00:00".to_owned() });
    }
    for service in spec.openstack.iter().flat_map(|openstack| &openstack.services) {
        server.databases.extend(service.databases.iter().map(|name| database(name, 40)));
    }
    seen
}

/// The plan for the spec's first node, which must satisfy the linter.
pub(crate) fn plan_for(spec: &Spec, seen: &Observation) -> Plan {
    plan_with(spec, seen, &Options::default())
}

pub(crate) fn plan_with(spec: &Spec, seen: &Observation, options: &Options) -> Plan {
    let plan = make(spec, &spec.nodes[0], seen, options);
    assert_eq!(plan::lint(&plan), []);
    plan
}

/// The running server of an observation.
pub(crate) fn server(seen: &mut Observation) -> &mut ServerFacts {
    match &mut seen.state.server {
        Seen::Known(server) => server,
        Seen::Unknown(_) | Seen::Absent => panic!("the fixture's server runs"),
    }
}
