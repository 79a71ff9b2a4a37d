//! The commented `mainstay.toml` that `mainstay init` writes.

use std::net::IpAddr;
use std::path::PathBuf;

use flavor::Vendor;
use ipnet::IpNet;

use crate::keys::{KEYS, SECTIONS};
use crate::model::Cloud;

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
    let installed = found.installed.as_deref().unwrap_or("no server yet");
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
        let wanted = match *section {
            "cloudstack" => cloud == Cloud::Cloudstack,
            "cloudstack.properties" => cloud == Cloud::Cloudstack && found.properties_file.is_some(),
            "openstack" => cloud == Cloud::Openstack,
            "openstack.service" | "config.variables" => false,
            _ => true,
        };
        if wanted {
            write_section(section, sentence, cloud, found, &mut text);
        }
    }
    text
}

fn write_section(section: &str, sentence: &str, cloud: Cloud, found: &Found, text: &mut String) {
    let title = crate::keys::title(section);
    text.push_str(&format!("\n# {sentence}\n{title}\n"));
    for key in KEYS.iter().filter(|key| key.section == section) {
        text.push_str(&format!("# {}\n", key.sentence));
        match chosen(section, key.name, cloud, found) {
            Some(value) => text.push_str(&format!("{} = {value}\n", key.name)),
            None => text.push_str(&format!("#{} = {}\n", key.name, key.example)),
        }
    }
}

/// The value written for a key; `None` leaves it commented out with its example.
fn chosen(section: &str, name: &str, cloud: Cloud, found: &Found) -> Option<String> {
    let quoted = |text: &str| Some(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")));
    let path = |path: &Option<PathBuf>| path.as_ref().and_then(|path| quoted(&path.to_string_lossy()));
    let networks = || {
        let network = found.network.map_or_else(|| "10.0.1.0/24".to_owned(), |network| network.to_string());
        Some(format!("[\"{network}\"]"))
    };
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
        ("node", "address") => quoted(&found.address.unwrap_or(IpAddr::from([127, 0, 0, 1])).to_string()),
        ("node", "port") => Some(found.port.to_string()),
        ("node", "socket") => quoted(&found.socket.to_string_lossy()),
        ("node", "data_dir") => quoted(&found.data_dir.to_string_lossy()),
        ("package", "install") => Some(found.installed.is_none().to_string()),
        ("service", "restart") => quoted("never"),
        ("machine", "share") => quoted(if found.properties_file.is_some() { "shared" } else { "dedicated" }),
        ("cloudstack", "management_servers") => Some("1".to_owned()),
        ("cloudstack" | "openstack", "networks") => networks(),
        ("cloudstack", "schema_dir") => path(&found.cloudstack_schema_dir),
        ("cloudstack.properties", "file") => path(&found.properties_file),
        ("openstack", "services") => {
            Some("[\"keystone\", \"glance\", \"placement\", \"nova\", \"neutron\", \"cinder\"]".to_owned())
        }
        ("openstack", "workers") => Some("20".to_owned()),
        _ => None,
    }
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
