//! An address that moves between hosts: put on an interface, announced to the neighbours, taken off again.
//!
//! Whose it is at a moment is decided elsewhere. Packets are built by `announcement`, which is pure; the kernel is
//! asked by `route`.

mod announcement;
mod departure;
mod route;

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, CacheInfo,
};
use rustix::io::Errno;

use route::Route;

pub use departure::Departure;

/// Between two announcements.
const PAUSE: Duration = Duration::from_millis(100);

/// A lifetime without an end (`INFINITY_LIFE_TIME` of the kernel).
const FOR_EVER_SECONDS: u32 = u32::MAX;

/// An address with the length of its network, and the interface it is put on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FloatingAddress {
    /// Address and length.
    pub network: IpNet,
    /// The interface's name.
    pub interface: String,
}

/// The address could not be moved.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// There is no such interface here.
    #[error("there is no interface `{interface}`")]
    NoInterface {
        /// Its name.
        interface: String,
    },
    /// The kernel refused, or did not answer in two seconds.
    #[error("cannot {operation} {address} on `{interface}`")]
    Kernel {
        /// What was tried.
        operation: &'static str,
        /// The address.
        address: IpNet,
        /// The interface.
        interface: String,
        /// Its answer.
        source: io::Error,
    },
}

impl AddressError {
    /// The next thing to do.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoInterface { .. } => {
                "look with `ip link`, and correct `interface` under [ha.address]".to_owned()
            }
            Self::Kernel { operation: "announce" | "watch", interface, .. } => {
                format!(
                    "it needs CAP_NET_RAW and an Ethernet interface that is up; look with `ip link show dev {interface}`"
                )
            }
            Self::Kernel { interface, .. } => {
                format!("it needs CAP_NET_ADMIN; look with `ip address show dev {interface}`")
            }
        }
    }
}

impl FloatingAddress {
    /// Puts it on the interface. One that is there stays as it is.
    ///
    /// # Errors
    /// There is no such interface, or the kernel refuses.
    pub async fn add(&self) -> Result<(), AddressError> {
        self.aside("add", Self::add_now).await
    }

    /// Takes it off. One that is not there is no error.
    ///
    /// # Errors
    /// There is no such interface, or the kernel refuses.
    pub async fn remove(&self) -> Result<(), AddressError> {
        self.aside("remove", Self::remove_now).await.map(drop)
    }

    /// It is on the interface.
    ///
    /// # Errors
    /// There is no such interface, or the kernel refuses.
    pub async fn is_present(&self) -> Result<bool, AddressError> {
        self.aside("look for", |address| {
            let (mut route, index) = address.route("look for")?;
            Ok(address.find(&mut route, index)?.is_some())
        })
        .await
    }

    /// As [`Self::remove`], on the calling thread, which needs no runtime. Blocks it for two seconds at most, unless
    /// the kernel itself hangs. `false` if the address was not there.
    ///
    /// # Errors
    /// As [`Self::remove`].
    pub fn remove_now(&self) -> Result<bool, AddressError> {
        let (mut route, index) = self.route("remove")?;
        let Some(message) = self.find(&mut route, index)? else { return Ok(false) };
        // Somebody else may have been faster.
        unless(route.remove(message), Errno::ADDRNOTAVAIL).map_err(|source| self.refused("remove", source))
    }

    /// Tells the neighbours that the address is here now: gratuitous ARP, or unsolicited neighbour advertisements, the
    /// first at once and the others a tenth of a second apart. Five do for a network that drops some of them.
    ///
    /// # Errors
    /// The interface has no hardware address, or packets cannot be sent.
    pub async fn announce(&self, times: u32) -> Result<(), AddressError> {
        let failed = |source| self.refused("announce", source);
        let mut channel = announcement::Channel::open(&self.interface).map_err(failed)?;
        for round in 0..times {
            if round > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            channel.send(self.network.addr()).map_err(failed)?;
        }
        Ok(())
    }

    /// Before it is taken off: its clients can be told when another host has it. See [`Departure`].
    ///
    /// # Errors
    /// Sockets for packets cannot be had.
    pub fn depart(&self) -> Result<Departure, AddressError> {
        Departure::begin(self.network.addr()).map_err(|source| self.refused("watch", source))
    }

    fn add_now(&self) -> Result<(), AddressError> {
        let (mut route, index) = self.route("add")?;
        let others = route.addresses(index).map_err(|source| self.refused("add", source))?;
        if others.iter().any(|message| is_it(message, self.network.addr())) {
            return Ok(());
        }
        let message = message(self.network, index, others.iter().any(|other| is_beside(other, self.network)));
        unless(route.add(message), Errno::EXIST).map(drop).map_err(|source| self.refused("add", source))
    }

    fn route(&self, operation: &'static str) -> Result<(Route, u32), AddressError> {
        let failed = |source| self.refused(operation, source);
        let route = Route::open().map_err(failed)?;
        let index = route.index(&self.interface).map_err(failed)?;
        let index = index.ok_or_else(|| AddressError::NoInterface { interface: self.interface.clone() })?;
        Ok((route, index))
    }

    fn find(&self, route: &mut Route, index: u32) -> Result<Option<AddressMessage>, AddressError> {
        let addresses = route.addresses(index).map_err(|source| self.refused("look for", source))?;
        Ok(addresses.into_iter().find(|message| is_it(message, self.network.addr())))
    }

    /// Runs on a thread where blocking harms nobody.
    async fn aside<T: Send + 'static>(
        &self,
        operation: &'static str,
        act: impl FnOnce(&Self) -> Result<T, AddressError> + Send + 'static,
    ) -> Result<T, AddressError> {
        let address = self.clone();
        let acting = tokio::task::spawn_blocking(move || act(&address));
        match tokio::time::timeout(route::LIMIT * 2, acting).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(lost)) => Err(self.refused(operation, io::Error::other(lost))),
            Err(_) => Err(self.refused(operation, io::ErrorKind::TimedOut.into())),
        }
    }

    fn refused(&self, operation: &'static str, source: io::Error) -> AddressError {
        AddressError::Kernel { operation, address: self.network, interface: self.interface.clone(), source }
    }
}

/// What the kernel is asked to add. `has_route`: the interface has another address of the same network, so the route
/// there is that one's, and must not come and go with this one.
fn message(network: IpNet, index: u32, has_route: bool) -> AddressMessage {
    let mut message = AddressMessage::default();
    let address = network.addr();
    message.header.family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = network.prefix_len();
    message.attributes.extend([AddressAttribute::Address(address), AddressAttribute::Local(address)]);
    if let IpNet::V4(network) = network
        && network.prefix_len() < 31
    {
        message.attributes.push(AddressAttribute::Broadcast(network.broadcast()));
    }
    message.header.index = index;
    let mut flags = AddressFlags::empty();
    flags.set(AddressFlags::Noprefixroute, has_route);
    if network.addr().is_ipv6() {
        // Without duplicate address detection, which would hold it back for a second.
        message.header.flags |= AddressHeaderFlags::Nodad;
        flags |= AddressFlags::Nodad;
        // Deprecated at once: reachable, but no connection of this host begins at an address that will go away.
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_valid = FOR_EVER_SECONDS;
        message.attributes.push(AddressAttribute::CacheInfo(lifetime));
    }
    message.attributes.push(AddressAttribute::Flags(flags));
    message
}

fn is_it(message: &AddressMessage, wanted: IpAddr) -> bool {
    own(message) == Some(wanted)
}

/// Another address of the same network.
fn is_beside(message: &AddressMessage, network: IpNet) -> bool {
    message.header.prefix_len == network.prefix_len()
        && own(message).is_some_and(|address| network.contains(&address) && address != network.addr())
}

/// The interface's own address: `IFA_LOCAL`, and where that is missing (IPv6) `IFA_ADDRESS`, which otherwise is the
/// other end of a link of two.
fn own(message: &AddressMessage) -> Option<IpAddr> {
    let mut address = None;
    for attribute in &message.attributes {
        if let AddressAttribute::Local(local) = attribute {
            return Some(*local);
        }
        if let AddressAttribute::Address(found) = attribute {
            address = Some(*found);
        }
    }
    address
}

/// `true` if it was done, `false` if there was nothing to do.
fn unless(outcome: io::Result<()>, nothing_to_do: Errno) -> io::Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(nothing_to_do.raw_os_error()) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
