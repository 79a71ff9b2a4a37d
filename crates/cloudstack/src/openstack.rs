//! OpenStack's connection URLs, and which file, section and option each goes to.

use std::fmt::Write;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

/// Where a URL goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Database.
    pub database: String,
    /// Configuration file.
    pub file: String,
    /// Section in it.
    pub section: String,
    /// Option in that.
    pub option: String,
    /// What else must be done with it; empty when nothing.
    pub remark: String,
}

fn target(database: &str, file: &str, section: &str, option: &str, remark: &str) -> Target {
    Target {
        database: database.to_owned(),
        file: file.to_owned(),
        section: section.to_owned(),
        option: option.to_owned(),
        remark: remark.to_owned(),
    }
}

/// Where a service's URLs go. Source: each service's configuration reference.
#[must_use]
pub fn targets(service: &str) -> Vec<Target> {
    match service {
        "nova" => vec![
            target("nova_api", "/etc/nova/nova.conf", "api_database", "connection", ""),
            target(
                "nova_cell0",
                "/etc/nova/nova.conf",
                "not in a file",
                "database_connection",
                "nova-manage cell_v2 map_cell0 --database_connection URL",
            ),
            target("nova", "/etc/nova/nova.conf", "database", "connection", ""),
        ],
        "glance" => vec![target("glance", "/etc/glance/glance-api.conf", "database", "connection", "")],
        "placement" => {
            vec![target("placement", "/etc/placement/placement.conf", "placement_database", "connection", "")]
        }
        "ironic" | "manila" | "heat" | "cinder" | "neutron" | "keystone" | "barbican" | "magnum"
        | "trove" | "aodh" | "mistral" | "octavia" => {
            vec![target(service, &format!("/etc/{service}/{service}.conf"), "database", "connection", "")]
        }
        "designate" => {
            vec![target("designate", "/etc/designate/designate.conf", "storage:sqlalchemy", "connection", "")]
        }
        "gnocchi" => vec![target("gnocchi", "/etc/gnocchi/gnocchi.conf", "indexer", "url", "")],
        _ => Vec::new(),
    }
}

/// A SQLAlchemy URL for PyMySQL. It names `utf8mb4`: with `utf8`, as older guides have it, characters beyond three
/// bytes in a resource's name fail to be stored.
#[must_use]
pub fn connection_url(
    user: &str,
    password: &SecretString,
    host: &str,
    port: u16,
    database: &str,
    ca: Option<&Path>,
) -> SecretString {
    let host =
        if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    // PyMySQL sends a password as Latin-1: each byte of its UTF-8 form goes in as a character of its own, so that the
    // server gets the bytes that the account was made with.
    let password: String = password.expose_secret().bytes().map(char::from).collect();
    let mut url = format!(
        "mysql+pymysql://{}:{}@{host}:{port}/{}?charset=utf8mb4",
        encoded(user),
        encoded(&password),
        encoded(database)
    );
    if let Some(ca) = ca {
        // With a CA, PyMySQL verifies certificate and name by itself. `ssl_verify_*` beside it would make it forget
        // the CA, since SQLAlchemy passes the two in different ways.
        let _ = write!(url, "&ssl_ca={}", encoded_path(&ca.to_string_lossy()));
    }
    SecretString::from(url)
}

/// Every byte outside RFC 3986's unreserved ones, percent-encoded.
fn encoded(text: &str) -> String {
    percent(text, "-._~")
}

fn encoded_path(text: &str) -> String {
    percent(text, "-._~/")
}

fn percent(text: &str, kept: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.bytes().any(|keep| keep == byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_password_fits_in_a_url() {
        for (password, wanted) in [
            ("plain", "mysql+pymysql://nova:plain@10.0.0.5:3306/nova_api?charset=utf8mb4"),
            (
                "p$\"'\\@:/é%",
                "mysql+pymysql://nova:p%24%22%27%5C%40%3A%2F%C3%83%C2%A9%25@10.0.0.5:3306/nova_api?charset=utf8mb4",
            ),
        ] {
            let url =
                connection_url("nova", &SecretString::from(password), "10.0.0.5", 3306, "nova_api", None);
            assert_eq!(url.expose_secret(), wanted);
        }
        let url = connection_url(
            "a",
            &SecretString::from("b"),
            "2001:db8::1",
            1,
            "c",
            Some(Path::new("/etc/x y.pem")),
        );
        assert_eq!(
            url.expose_secret(),
            "mysql+pymysql://a:b@[2001:db8::1]:1/c?charset=utf8mb4&ssl_ca=/etc/x%20y.pem"
        );
    }
}
