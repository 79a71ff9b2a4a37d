//! Accounts and privileges as each server writes them.
//!
//! Statement texts take literals that the caller has quoted: this crate does not depend on the quoting crate.

use std::net::IpAddr;

use crate::{Capability, Flavor, Vendor};

/// A privilege by what it is for; its name differs by server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// See other accounts' threads and InnoDB status.
    Process,
    /// Read binlog and replication coordinates.
    ReplicationMonitor,
    /// Be a replica.
    Replicate,
    /// `FLUSH ...`.
    Reload,
    /// Take a backup lock and read the redo log while doing so.
    Backup,
    /// Read any table.
    Select,
    /// `SHOW CREATE VIEW`.
    ShowView,
    /// See triggers.
    Trigger,
    /// See events.
    Event,
    /// `LOCK TABLES`.
    LockTables,
    /// See databases it has no privilege on.
    ShowDatabases,
}

impl Flavor {
    /// The names a privilege has on this server, as `SHOW GRANTS` prints them. Several where the server split
    /// one privilege; empty where it needs none of its own.
    /// Sources: MariaDB "GRANT" (BINLOG MONITOR and SLAVE MONITOR replace REPLICATION CLIENT from 10.5.2 and
    /// 10.5.9); MySQL "Privileges Provided by MySQL" (BACKUP_ADMIN from 8.0).
    #[must_use]
    pub fn privilege(self, privilege: Privilege) -> &'static [&'static str] {
        match (privilege, self.vendor) {
            (Privilege::Process, _) => &["PROCESS"],
            (Privilege::ReplicationMonitor, Vendor::MariaDb) => &["BINLOG MONITOR", "SLAVE MONITOR"],
            (Privilege::ReplicationMonitor, Vendor::MySql) => &["REPLICATION CLIENT"],
            (Privilege::Replicate, _) => &["REPLICATION SLAVE"],
            (Privilege::Reload, _) => &["RELOAD"],
            (Privilege::Backup, Vendor::MariaDb) => &[],
            (Privilege::Backup, Vendor::MySql) => &["BACKUP_ADMIN"],
            (Privilege::Select, _) => &["SELECT"],
            (Privilege::ShowView, _) => &["SHOW VIEW"],
            (Privilege::Trigger, _) => &["TRIGGER"],
            (Privilege::Event, _) => &["EVENT"],
            (Privilege::LockTables, _) => &["LOCK TABLES"],
            (Privilege::ShowDatabases, _) => &["SHOW DATABASES"],
        }
    }

    /// The authentication plugin for accounts with a password that cloud clients use. Connector/J and PyMySQL
    /// both speak `caching_sha2_password`, which MySQL has by default; on MariaDB they share only
    /// `mysql_native_password` (Connector/J has no ed25519 plugin).
    #[must_use]
    pub const fn password_plugin(self) -> &'static str {
        match self.vendor {
            Vendor::MariaDb => "mysql_native_password",
            Vendor::MySql => "caching_sha2_password",
        }
    }

    /// The host part of an account for clients of a network, or `None` where this server has no form for it.
    /// MySQL from 8.0.23 takes CIDR; both take `address/netmask`. Neither has a form for an IPv6 network
    /// (MySQL manual, "Specifying Account Names"; MariaDB, "CREATE USER: Account Names").
    #[must_use]
    pub fn account_host(self, address: IpAddr, prefix_bits: u8) -> Option<String> {
        match address {
            IpAddr::V4(v4) if prefix_bits >= 32 => Some(v4.to_string()),
            IpAddr::V4(v4) if self.can(Capability::AccountHostCidr) => Some(format!("{v4}/{prefix_bits}")),
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix_bits)).unwrap_or(0);
                Some(format!("{v4}/{}", std::net::Ipv4Addr::from(mask)))
            }
            IpAddr::V6(v6) if prefix_bits >= 128 => Some(v6.to_string()),
            IpAddr::V6(_) => None,
        }
    }

    /// `CREATE USER` with a password. `account` is a quoted account, `password` a quoted string literal.
    #[must_use]
    pub fn create_user(self, account: &str, plugin: &str, password: &str, require_tls: bool) -> String {
        let require = if require_tls { "SSL" } else { "NONE" };
        format!("CREATE USER IF NOT EXISTS {account} {} REQUIRE {require}", self.identified(plugin, password))
    }

    /// `ALTER USER` that sets the password, and with it the plugin. Arguments as in [`Self::create_user`].
    #[must_use]
    pub fn set_password(self, account: &str, plugin: &str, password: &str) -> String {
        format!("ALTER USER {account} {}", self.identified(plugin, password))
    }

    /// Statements that tie an account to the OS user of its name. `plugin_active`: whether the socket plugin is
    /// loaded; MySQL ships it and does not load it.
    #[must_use]
    pub fn socket_login(self, account: &str, plugin_active: bool) -> Vec<String> {
        match self.vendor {
            Vendor::MariaDb => vec![format!("ALTER USER {account} IDENTIFIED VIA unix_socket")],
            Vendor::MySql => {
                let install = "INSTALL PLUGIN auth_socket SONAME 'auth_socket.so'".to_owned();
                let alter = format!("ALTER USER {account} IDENTIFIED WITH auth_socket");
                if plugin_active { vec![alter] } else { vec![install, alter] }
            }
        }
    }

    fn identified(self, plugin: &str, password: &str) -> String {
        match self.vendor {
            Vendor::MariaDb => format!("IDENTIFIED VIA {plugin} USING PASSWORD({password})"),
            Vendor::MySql => format!("IDENTIFIED WITH '{plugin}' BY {password}"),
        }
    }

    /// Default `thread_stack`: what each connection's thread may take of memory besides its buffers.
    #[must_use]
    pub const fn thread_stack_bytes(self) -> u64 {
        match self.vendor {
            Vendor::MariaDb => 299_008,
            Vendor::MySql => 1_048_576,
        }
    }

    /// Accounts and roles that a fresh server of this vendor or its distribution package has, and needs.
    #[must_use]
    pub const fn own_accounts(self) -> &'static [(&'static str, &'static str)] {
        match self.vendor {
            Vendor::MariaDb => &[
                ("root", "localhost"),
                ("mysql", "localhost"),
                ("mariadb.sys", "localhost"),
                ("debian-sys-maint", "localhost"),
                ("PUBLIC", ""),
            ],
            Vendor::MySql => &[
                ("root", "localhost"),
                ("mysql.sys", "localhost"),
                ("mysql.session", "localhost"),
                ("mysql.infoschema", "localhost"),
                ("debian-sys-maint", "localhost"),
            ],
        }
    }
}
