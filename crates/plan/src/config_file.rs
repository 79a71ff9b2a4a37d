//! The one drop-in option file: rendering it, and where it goes by default.
//!
//! It is written whole each time, so what a person adds to it by hand shows as a difference. It never touches
//! the distribution's own files; it only sorts after them.

use std::path::PathBuf;

use facts::{HostFacts, PackageManager, Seen};
use flavor::Vendor;

use crate::settings::{Inputs, grouped};

/// First line of the file.
pub const HEADER: &str = "# Written by mainstay from mainstay.toml. Edits are undone by the next apply;";

/// The file for this spec on this server.
pub(crate) fn render(inputs: &Inputs<'_>) -> String {
    let mut text = format!(
        "{HEADER}\n# set [config.variables] in mainstay.toml instead.\n\
         # cluster {}, node {}, for {}\n\n[mysqld]\n",
        inputs.spec.cluster.name, inputs.node.name, inputs.flavor
    );
    for (title, settings) in grouped(inputs) {
        let lines: Vec<String> = settings
            .iter()
            .filter_map(|setting| {
                let value = setting.file_value.as_ref()?;
                Some(format!(
                    "# {} [{}]\n{} = {}\n",
                    setting.reason,
                    setting.source,
                    setting.name,
                    quoted(value)
                ))
            })
            .collect();
        if !lines.is_empty() {
            text.push_str(&format!("\n### {title}\n{}", lines.concat()));
        }
    }
    text
}

/// A value as the option file reader takes it back: quoted when it holds what the reader would cut at.
fn quoted(value: &str) -> String {
    if value.contains(['#', ' ', '\t', '\'', '"', '\\']) {
        format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        value.to_owned()
    }
}

/// Where the drop-in goes when the spec names no place: the folder this distribution's server package includes,
/// with a name that sorts last.
#[must_use]
pub fn default_config_file(vendor: Vendor, host: &HostFacts) -> PathBuf {
    let folder = match (vendor, &host.package_manager) {
        (Vendor::MariaDb, Seen::Known(PackageManager::Dnf))
        | (Vendor::MySql, Seen::Known(PackageManager::Dnf)) => "/etc/my.cnf.d",
        (Vendor::MariaDb, _) => "/etc/mysql/mariadb.conf.d",
        (Vendor::MySql, _) => "/etc/mysql/mysql.conf.d",
    };
    PathBuf::from(folder).join("zz-mainstay.cnf")
}
