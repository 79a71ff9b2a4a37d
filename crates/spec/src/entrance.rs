//! Where clients reach the database: a node, an address that follows the primary, or a proxy.

use crate::ha_model::Ha;
use crate::model::{Node, Spec};

/// A host and port for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entrance {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Spec {
    /// Where clients connect. `db_host` is what the spec says of it, if anything.
    ///
    /// With agents: the address that follows the primary, else a proxy where `[ha.proxy]` listens; that is on the
    /// client's own host when it listens on all addresses. Without: the node.
    #[must_use]
    pub fn entrance(&self, db_host: Option<&str>, node: &Node) -> Entrance {
        let named = |host: &str, port: u16| Entrance { host: host.to_owned(), port };
        let Some(ha) = &self.ha else {
            let host = db_host.map_or_else(|| node.address.to_string(), str::to_owned);
            return Entrance { host, port: node.port };
        };
        match (db_host, ha.moving_address()) {
            (None, Some(moving)) => named(&moving, node.port),
            (Some(host), Some(moving)) if host == moving => named(host, node.port),
            (Some(host), _) => named(host, ha.proxy.listen.port),
            (None, None) => {
                let listen = ha.proxy.listen;
                let host =
                    listen.address.map_or_else(|| "127.0.0.1".to_owned(), |address| address.to_string());
                Entrance { host, port: listen.port }
            }
        }
    }

    /// Names by which clients may reach any node, other than the node's own.
    #[must_use]
    pub fn shared_names(&self) -> Vec<String> {
        let properties = self.cloudstack.as_ref().and_then(|cloud| cloud.properties.as_ref());
        let of_clouds = properties
            .and_then(|properties| properties.db_host.clone())
            .into_iter()
            .chain(self.openstack.as_ref().and_then(|cloud| cloud.db_host.clone()));
        let proxy =
            self.ha.as_ref().and_then(|ha| ha.proxy.listen.address).map(|address| address.to_string());
        let moving = self.ha.as_ref().and_then(Ha::moving_address);
        of_clouds.chain(proxy).chain(moving).collect()
    }
}

impl Ha {
    /// The address that follows the primary, whoever moves it.
    fn moving_address(&self) -> Option<String> {
        let outside = self.outside_address.as_ref().map(|outside| &outside.address);
        self.address.as_ref().or(outside).map(|address| address.network.addr().to_string())
    }
}
