//! A conversation with the kernel about addresses (rtnetlink(7)): one question, one answer, on a blocking socket.
//!
//! Blocking and without a runtime, because the fence asks too, when nothing else in its process may be trusted to
//! run. What to ask is the caller's.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

/// The kernel answers at once, or something is very wrong.
pub(super) const LIMIT: Duration = Duration::from_secs(2);
/// The kernel never sends more than this at once (NLMSG_GOODSIZE of the largest pages).
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// A list that changed while it was written is asked for again, so often at most.
const TRIES: usize = 3;

/// The socket.
pub(super) struct Route {
    socket: OwnedFd,
    sequence: u32,
    until: Instant,
}

impl Route {
    /// A socket in this process's network namespace. It gives up [`LIMIT`] from now.
    pub(super) fn open() -> io::Result<Self> {
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        Ok(Self { socket, sequence: 0, until: Instant::now() + LIMIT })
    }

    /// The number of the interface with this name; `None` if there is no such interface.
    pub(super) fn index(&self, interface: &str) -> io::Result<Option<u32>> {
        match rustix::net::netdevice::name_to_index(&self.socket, interface) {
            Ok(index) => Ok(Some(index)),
            Err(rustix::io::Errno::NODEV) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The addresses of one interface.
    pub(super) fn addresses(&mut self, index: u32) -> io::Result<Vec<AddressMessage>> {
        for _ in 0..TRIES {
            let mut found = Vec::new();
            let question = RouteNetlinkMessage::GetAddress(AddressMessage::default());
            let whole = self.ask(question, NLM_F_DUMP, &mut |message| {
                if let RouteNetlinkMessage::NewAddress(address) = message
                    && address.header.index == index
                {
                    found.push(address);
                }
            })?;
            if whole {
                return Ok(found);
            }
        }
        Err(io::Error::other("the interface's addresses keep changing"))
    }

    /// Adds an address; one that is there already is an error (`EEXIST`).
    pub(super) fn add(&mut self, address: AddressMessage) -> io::Result<()> {
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        self.ask(RouteNetlinkMessage::NewAddress(address), flags, &mut drop).map(drop)
    }

    /// Takes an address off; one that is not there is an error (`EADDRNOTAVAIL`).
    pub(super) fn remove(&mut self, address: AddressMessage) -> io::Result<()> {
        self.ask(RouteNetlinkMessage::DelAddress(address), NLM_F_ACK, &mut drop).map(drop)
    }

    /// Sends the question and reads until its last answer. `false` if the list changed meanwhile.
    fn ask(
        &mut self,
        question: RouteNetlinkMessage,
        flags: u16,
        each: &mut dyn FnMut(RouteNetlinkMessage),
    ) -> io::Result<bool> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(question));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        sendto(&self.socket, &bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut buffer = vec![0; ANSWER_BYTES_MAX];
        let mut whole = true;
        loop {
            let read = self.receive(&mut buffer)?;
            let mut rest = buffer.get(..read).unwrap_or_default();
            while !rest.is_empty() {
                let answer =
                    NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
                rest = rest.get(aligned(answer.header.length)..).unwrap_or_default();
                if answer.header.sequence_number != self.sequence {
                    continue;
                }
                whole &= answer.header.flags & NLM_F_DUMP_INTR == 0;
                match answer.payload {
                    NetlinkPayload::InnerMessage(inner) => each(inner),
                    NetlinkPayload::Done(_) => return Ok(whole),
                    NetlinkPayload::Error(error) if error.code.is_none() => return Ok(whole),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    NetlinkPayload::Noop | NetlinkPayload::Overrun(_) | _ => {}
                }
            }
        }
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        set_socket_timeout(&self.socket, Timeout::Recv, Some(left))?;
        match recv(&self.socket, buffer, RecvFlags::empty()) {
            Ok((read, _)) => Ok(read),
            Err(rustix::io::Errno::AGAIN) => Err(io::ErrorKind::TimedOut.into()),
            // Read again by the caller: nothing was received.
            Err(rustix::io::Errno::INTR) => Ok(0),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Messages begin at multiples of four bytes; one without a length would be read for ever.
fn aligned(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX).saturating_add(3).max(4) & !3
}
