//! Which packages a server comes in.

use facts::PackageManager;
use flavor::Vendor;
use spec::Spec;

/// The packages to have: the spec's, or the ones distributions use for this vendor's server.
#[must_use]
pub fn wanted_packages(spec: &Spec, manager: PackageManager) -> Vec<String> {
    let mut names: Vec<String> = if spec.package.names.is_empty() {
        let defaults: &[&str] = match spec.cluster.server {
            Vendor::MariaDb => &["mariadb-server", "mariadb-backup"],
            Vendor::MySql => &["mysql-server"],
        };
        defaults.iter().map(|name| (*name).to_owned()).collect()
    } else {
        spec.package.names.clone()
    };
    if spec.firewall.is_some() {
        // The same name in apt's and dnf's world.
        match manager {
            PackageManager::Apt | PackageManager::Dnf => names.push("nftables".to_owned()),
        }
    }
    names
}
