//! Values that TOML has no type for: sizes, networks, paths, names.

use std::net::{IpAddr, SocketAddr};
use std::path::{Component, PathBuf};

use ipnet::IpNet;

use crate::ha_model::Listen;

/// Longest path: InnoDB takes no longer file names.
const PATH_BYTES_MAX: usize = 512;
/// Longest socket, its final zero left out.
const SOCKET_BYTES_MAX: usize = 107;

/// Bytes with a unit: `64G`, `512MiB`, `1.5T` is refused; units are powers of 1024.
pub(crate) fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 = text.get(..digits)?.parse().ok()?;
    let shift = match text.get(digits..)?.trim().to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// Where a network is written, which decides what it may be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum NetworkUse {
    /// Account hosts: no server has a form for an IPv6 network.
    Accounts,
    /// The firewall.
    Firewall,
}

/// A network: `10.0.1.0/24`, or one address. The error is what to write instead.
pub(crate) fn network(text: &str, using: NetworkUse) -> Result<IpNet, String> {
    let network: IpNet = match text.parse::<IpNet>() {
        Ok(network) => network,
        Err(_) => match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => return Err("expected a network such as 10.0.1.0/24, or one address".to_owned()),
        },
    };
    if network != network.trunc() {
        return Err(format!("host bits are set, did you mean {}?", network.trunc()));
    }
    if network.prefix_len() == 0 {
        return Err("this is the whole Internet: name the networks that clients are really in".to_owned());
    }
    if using == NetworkUse::Accounts && matches!(network, IpNet::V6(v6) if v6.prefix_len() < 128) {
        return Err(
            "neither MySQL nor MariaDB has accounts for an IPv6 network: name its addresses one by one"
                .to_owned(),
        );
    }
    Ok(network)
}

/// An absolute path without `..` or NUL. The error is what is wrong.
pub(crate) fn path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if text.chars().any(char::is_control) {
        return Err("a path cannot hold that character".to_owned());
    }
    if text.len() > PATH_BYTES_MAX {
        return Err(format!("expected at most {PATH_BYTES_MAX} bytes"));
    }
    if !path.is_absolute() {
        return Err("expected an absolute path, beginning with /".to_owned());
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err("`..` is not allowed: write the path it leads to".to_owned());
    }
    if !path.components().any(|part| matches!(part, Component::Normal(_))) {
        return Err("this is the root of all files: name something in it".to_owned());
    }
    Ok(path)
}

/// A Unix socket's path, which the kernel bounds (unix(7), `sun_path`).
pub(crate) fn socket(text: &str) -> Result<PathBuf, String> {
    if text.len() > SOCKET_BYTES_MAX {
        return Err(format!("expected at most {SOCKET_BYTES_MAX} bytes: the kernel takes no longer socket"));
    }
    path(text)
}

/// An address that one host has.
pub(crate) fn host_address(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| "expected an IP address such as 10.0.0.11".to_owned())?;
    let everybody = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    if address.is_unspecified() || address.is_multicast() || everybody {
        return Err("no host has this address: expected one such as 10.0.0.11".to_owned());
    }
    if address.to_canonical() != address {
        return Err(format!("did you mean {}?", address.to_canonical()));
    }
    Ok(address)
}

/// An address with the length of its network: `10.0.0.100/24`.
pub(crate) fn address_in_network(text: &str) -> Result<IpNet, String> {
    let network: IpNet = text
        .parse()
        .map_err(|_| "expected an address and the length of its network, such as 10.0.0.100/24".to_owned())?;
    host_address(&network.addr().to_string())?;
    let ends = match network {
        IpNet::V4(v4) if v4.prefix_len() < 31 => v4.addr() == v4.network() || v4.addr() == v4.broadcast(),
        IpNet::V6(v6) if v6.prefix_len() < 127 => v6.addr() == v6.network(),
        IpNet::V4(_) | IpNet::V6(_) => false,
    };
    if ends {
        return Err("this is the network itself: expected an address in it, such as 10.0.0.100/24".to_owned());
    }
    Ok(network)
}

/// Name of a network interface (`dev_valid_name` in the kernel).
pub(crate) fn interface(text: &str) -> Result<String, String> {
    let fits = (1..=15).contains(&text.len())
        && !matches!(text, "." | "..")
        && !text.starts_with('-')
        && text.chars().all(|c| c.is_ascii_graphic() && !"/:\"'\\{}#!".contains(c));
    if fits { Ok(text.to_owned()) } else { Err("expected the name of an interface, such as eth0".to_owned()) }
}

/// Where to listen: `:3306`, `10.0.0.100:3306` or `[2001:db8::1]:3306`.
pub(crate) fn listen(text: &str) -> Result<Listen, String> {
    let expected = || "expected :3306, 10.0.0.100:3306 or [2001:db8::1]:3306".to_owned();
    let listen = match text.strip_prefix(':') {
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Listen { address: None, port: port.parse().map_err(|_| expected())? }
        }
        Some(_) => return Err(expected()),
        None => {
            let socket: SocketAddr = text.parse().map_err(|_| expected())?;
            if socket.ip().is_unspecified() {
                return Err(format!("did you mean :{}?", socket.port()));
            }
            host_address(&socket.ip().to_string())?;
            Listen { address: Some(socket.ip()), port: socket.port() }
        }
    };
    if listen.port == 0 { Err(expected()) } else { Ok(listen) }
}

/// What keys in a store begin with.
pub(crate) fn key_prefix(text: &str) -> Result<String, String> {
    let fits = (1..=200).contains(&text.len())
        && text.starts_with('/')
        && text.ends_with('/')
        && text.chars().all(|c| c.is_ascii_graphic());
    if fits { Ok(text.to_owned()) } else { Err("expected text such as /mainstay/zone1/".to_owned()) }
}

/// An argument of the server's command line.
pub(crate) fn argument(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err("expected printable characters".to_owned());
    }
    Ok(text.to_owned())
}

/// An account's user that a client may have: not the administrator's, the server's or Mainstay's own.
pub(crate) fn client_user(text: &str, admin: &str) -> Result<String, String> {
    let user = sql_name(text, 32)?;
    let taken = user == admin
        || ["root", "mysql", "mariadb.sys", "debian-sys-maint", "PUBLIC"].contains(&user.as_str())
        || ["mysql.", "mainstay_"].iter().any(|prefix| user.starts_with(prefix));
    if taken {
        Err("this account has another use: choose a name for the cloud's own".to_owned())
    } else {
        Ok(user)
    }
}

/// A database that a client may have.
pub(crate) fn client_database(text: &str) -> Result<String, String> {
    let database = sql_name(text, 64)?;
    let own = ["mysql", "sys", "information_schema", "performance_schema"];
    if own.iter().any(|own| own.eq_ignore_ascii_case(&database)) {
        return Err("this database is the server's own".to_owned());
    }
    Ok(database)
}

/// A cluster's or node's name.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let fits = !text.is_empty()
        && text.len() <= 32
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if fits {
        Ok(text.to_owned())
    } else {
        Err("expected letters, digits, `-` and `_`, 1 to 32 of them".to_owned())
    }
}

/// An account's user or a database: bounded, printable.
pub(crate) fn sql_name(text: &str, chars_max: usize) -> Result<String, String> {
    let fits = !text.is_empty()
        && text.chars().count() <= chars_max
        && !text.chars().any(char::is_control)
        && !text.ends_with(' ');
    if fits { Ok(text.to_owned()) } else { Err(format!("expected 1 to {chars_max} printable characters")) }
}

/// A word that goes to another program: no blanks, no options.
pub(crate) fn word(text: &str) -> Result<String, String> {
    let fits = !text.is_empty()
        && text.len() <= 255
        && !text.starts_with('-')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:@[]+~/".contains(c));
    if fits { Ok(text.to_owned()) } else { Err("expected a word of letters, digits and -_.:@".to_owned()) }
}

/// FNV-1a over the address, never zero: a server id for IPv6 nodes that is the same on every run.
pub(crate) fn hashed_server_id(address: &str) -> u32 {
    let mut hash: u32 = 0x811c_9dc5;
    for byte in address.bytes() {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    hash.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("64G", Some(64 << 30)),
            ("512 MiB", Some(512 << 20)),
            ("10", Some(10)),
            ("1kb", Some(1024)),
            ("2T", Some(2 << 40)),
            ("1.5G", None),
            ("G", None),
            ("", None),
            ("99999999999999999999G", None),
            ("20000000000T", None),
        ] {
            assert_eq!(size(text), bytes, "{text}");
        }
    }

    #[test]
    fn addresses_to_listen_on_have_ports() {
        for (text, shown) in [
            (":3306", Some(":3306")),
            ("10.0.0.100:3306", Some("10.0.0.100:3306")),
            ("[2001:DB8::1]:3306", Some("[2001:db8::1]:3306")),
            ("3306", None),
            (":", None),
            (":0", None),
            (":+1", None),
            (":65536", None),
            ("2001:db8::1:3306", None),
            ("0.0.0.0:3306", None),
            ("255.255.255.255:3306", None),
            ("db.example:3306", None),
        ] {
            assert_eq!(listen(text).ok().map(|listen| listen.to_string()).as_deref(), shown, "{text}");
        }
    }

    #[test]
    fn a_floating_address_is_one_of_a_host() {
        for (text, good) in [
            ("10.0.0.100/24", true),
            ("10.0.0.100/32", true),
            ("10.0.0.0/31", true),
            ("2001:db8::64/64", true),
            ("10.0.0.100", false),
            ("10.0.0.0/24", false),
            ("10.0.0.255/24", false),
            ("2001:db8::/64", false),
            ("0.0.0.0/0", false),
            ("224.0.0.1/24", false),
            ("::ffff:10.0.0.1/128", false),
        ] {
            assert_eq!(address_in_network(text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn interfaces_are_named_as_the_kernel_does() {
        for (text, good) in [
            ("eth0", true),
            ("bond0.100", true),
            ("enp3s0f0np0", true),
            ("", false),
            ("..", false),
            ("-x", false),
            ("a/b", false),
            ("eth0 eth1", false),
            ("enp3s0f0np0xxxxx", false),
        ] {
            assert_eq!(interface(text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn networks_are_what_servers_understand() {
        for (text, good) in [
            ("10.0.1.0/24", true),
            ("10.0.1.7", true),
            ("2001:db8::1", true),
            ("10.0.1.5/24", false),
            ("0.0.0.0/0", false),
            ("2001:db8::/64", false),
            ("10.0.1", false),
            ("10.0.1.0/33", false),
        ] {
            assert_eq!(network(text, NetworkUse::Accounts).is_ok(), good, "{text}");
        }
        assert!(network("2001:db8::/64", NetworkUse::Firewall).is_ok());
    }
}
