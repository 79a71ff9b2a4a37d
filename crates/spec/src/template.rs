//! The commented `mainstay.toml` that `mainstay init` writes.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use flavor::Vendor;
use ipnet::IpNet;

use crate::keys::{KEYS, Key, SECTIONS, VARIABLE_EXAMPLES};
use crate::keys_kill::is_in_example;
use crate::model::Cloud;
use crate::values::{self, NetworkUse};

/// What was found on the host.
#[derive(Clone, Debug)]
pub struct Found {
    /// The host's name.
    pub hostname: String,
    /// An address that other hosts know it by.
    pub address: Option<IpAddr>,
    /// Whose server is installed, or would be.
    pub vendor: Vendor,
    /// The installed server, as text.
    pub installed: Option<String>,
    /// TCP port.
    pub port: u16,
    /// Unix socket.
    pub socket: PathBuf,
    /// Data directory.
    pub data_dir: PathBuf,
    /// RAM in bytes.
    pub memory_bytes: u64,
    /// CPUs.
    pub cpus: u32,
    /// A guess at the network clients are in.
    pub network: Option<IpNet>,
    /// CloudStack's setup scripts.
    pub cloudstack_schema_dir: Option<PathBuf>,
    /// A management server's `db.properties`.
    pub properties_file: Option<PathBuf>,
}

/// The file, commented. It parses as it is.
#[must_use]
pub fn template(cloud: Cloud, found: &Found) -> String {
    let installed: String =
        found.installed.as_deref().unwrap_or("no server yet").chars().filter(|c| !c.is_control()).collect();
    let mut text = format!(
        "# What the database under this cloud should be. See docs/spec.md for every key.\n\
         # Found on this host: {installed}, {} CPUs, {} MiB of memory.\n\
         #\n\
         #   mainstay plan     shows what differs from this file\n\
         #   mainstay apply    makes it so\n",
        found.cpus,
        found.memory_bytes >> 20
    );
    for (section, sentence) in SECTIONS {
        let written = match *section {
            "cloudstack" => cloud == Cloud::Cloudstack,
            "cloudstack.properties" => found.properties_file.is_some(),
            "openstack" => cloud == Cloud::Openstack,
            "openstack.service" | "config.variables" | "ha" | "kill" | "kill.rule" | "backup" => false,
            other => !other.starts_with("ha."),
        };
        let of_another_cloud = (section.starts_with("cloudstack") && cloud != Cloud::Cloudstack)
            || (section.starts_with("openstack") && cloud != Cloud::Openstack);
        if !of_another_cloud {
            write_section(section, sentence, written, cloud, found, &mut text);
        }
    }
    text
}

/// Writes a section; one that is not `written` is all commented out.
fn write_section(
    section: &str,
    sentence: &str,
    written: bool,
    cloud: Cloud,
    found: &Found,
    text: &mut String,
) {
    let mark = if written { "" } else { "#" };
    text.push_str(&format!("\n# {sentence}\n{mark}{}\n", crate::keys::title(section)));
    for (name, value) in VARIABLE_EXAMPLES.iter().filter(|_| section == "config.variables") {
        text.push_str(&format!("#{name} = {value}\n"));
    }
    for key in KEYS.iter().filter(|key| key.section == section && is_in_example(key)) {
        let value = chosen(section, key.name, cloud, found).filter(|_| written);
        let remark = match (&value, guessed(section, key.name, found)) {
            (Some(_), true) => " Not found on this host: change this example.".to_owned(),
            (None, _) if key.default != "required" => format!(" Default: {}.", key.default.replace('`', "")),
            (Some(_), false) | (None, _) => String::new(),
        };
        text.push_str(&format!("# {}{remark}\n", key.sentence));
        match value {
            Some(value) => text.push_str(&format!("{} = {value}\n", key.name)),
            None => text.push_str(&format!("#{} = {}\n", key.name, example(key, found.vendor))),
        }
    }
}

/// Whether the value written for a key is an example, because the host did not tell.
fn guessed(section: &str, name: &str, found: &Found) -> bool {
    match (section, name) {
        ("node", "address") => usable_address(found).is_none(),
        ("cloudstack" | "openstack", "networks") => usable_network(found).is_none(),
        _ => false,
    }
}

/// The network that was found, if accounts may have it.
fn usable_network(found: &Found) -> Option<String> {
    let network = found.network?.trunc().to_string();
    values::network(&network, NetworkUse::Accounts).ok().map(|network| network.to_string())
}

/// A key's example, for the server that the template is for.
fn example(key: &Key, vendor: Vendor) -> &'static str {
    match (vendor, key.section, key.name) {
        (Vendor::MySql, "package", "names") => "[\"mysql-server\"]",
        (Vendor::MySql, "service", "unit") => "\"mysql\"",
        (Vendor::MySql, "service", "command") => "[\"/usr/sbin/mysqld\"]",
        (Vendor::MySql, "config", "file") => "\"/etc/mysql/mysql.conf.d/zz-mainstay.cnf\"",
        _ => key.example,
    }
}

/// The value written for a key; `None` leaves it commented out with its example.
fn chosen(section: &str, name: &str, cloud: Cloud, found: &Found) -> Option<String> {
    let quoted = |text: &str| Some(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")));
    // A path that the spec would refuse is left to its default.
    let path = |path: &Path| path.to_str().filter(|text| values::path(text).is_ok()).and_then(quoted);
    let networks =
        || Some(format!("[\"{}\"]", usable_network(found).unwrap_or_else(|| "10.0.1.0/24".to_owned())));
    match (section, name) {
        ("cluster", "name") => quoted("zone1"),
        ("cluster", "server") => quoted(match found.vendor {
            Vendor::MariaDb => "mariadb",
            Vendor::MySql => "mysql",
        }),
        ("cluster", "topology") => quoted("single"),
        ("cluster", "cloud") => quoted(match cloud {
            Cloud::None => "none",
            Cloud::Cloudstack => "cloudstack",
            Cloud::Openstack => "openstack",
        }),
        ("node", "name") => quoted(&node_name(&found.hostname)),
        ("node", "address") => {
            quoted(&usable_address(found).unwrap_or(IpAddr::from([127, 0, 0, 1])).to_string())
        }
        ("node", "port") => Some(found.port.max(1).to_string()),
        ("node", "socket") => {
            path(&found.socket).filter(|_| values::socket(&found.socket.to_string_lossy()).is_ok())
        }
        ("node", "data_dir") => path(&found.data_dir),
        ("package", "install") => Some(found.installed.is_none().to_string()),
        ("service", "restart") => quoted("never"),
        ("machine", "share") => quoted(if found.properties_file.is_some() { "shared" } else { "dedicated" }),
        ("cloudstack", "management_servers") => Some("1".to_owned()),
        ("cloudstack" | "openstack", "networks") => networks(),
        ("cloudstack", "schema_dir") => found.cloudstack_schema_dir.as_deref().and_then(path),
        ("cloudstack.properties", "file") => found.properties_file.as_deref().and_then(path),
        ("openstack", "services") => {
            Some("[\"keystone\", \"glance\", \"placement\", \"nova\", \"neutron\", \"cinder\"]".to_owned())
        }
        ("openstack", "workers") => Some("20".to_owned()),
        _ => None,
    }
}

/// The address that was found, if a node may have it.
fn usable_address(found: &Found) -> Option<IpAddr> {
    let address = found.address?.to_canonical();
    values::host_address(&address.to_string()).ok()
}

fn node_name(hostname: &str) -> String {
    let name: String = hostname
        .split('.')
        .next()
        .unwrap_or("")
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-' || *c == '_')
        .take(32)
        .collect();
    if name.is_empty() { "db1".to_owned() } else { name }
}
