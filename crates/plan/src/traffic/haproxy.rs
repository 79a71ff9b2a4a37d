//! `haproxy.cfg`: clients go to the node that says it is primary, and readers to replicas.
//!
//! Which node that is stays the agents' matter: the proxy chooses nothing, it asks.

use std::net::SocketAddr;

use spec::{Ha, Listen, Node, Spec};

use super::{TrafficError, agents, header};
use crate::sizing::demand;

/// How far behind a replica may be that serves readers.
const READER_LAG_SECONDS: u32 = 10;

/// `haproxy.cfg`, whole, for HAProxy 2.4 and later.
///
/// # Errors
/// [`TrafficError::NoAgents`] where nobody answers the health checks.
pub fn haproxy(spec: &Spec) -> Result<String, TrafficError> {
    let ha = agents(spec)?;
    // One that is behind on purpose is never primary, and its answers are old.
    let nodes: Vec<&Node> = spec.nodes.iter().filter(|node| node.delay_seconds == 0).collect();
    let mut text = header(spec, "HAProxy", "mainstay render haproxy");
    text.push_str(&process(spec, ha));
    text.push_str(&writer(spec, ha, &nodes));
    if let Some(listen) = ha.proxy.read_listen {
        text.push_str(&reader(spec, ha, &nodes, listen));
    }
    Ok(text)
}

fn process(spec: &Spec, ha: &Ha) -> String {
    // The server is to be the one that says there are too many connections: it says it in the client's protocol.
    let connections = demand(spec, None).connections.saturating_mul(2).max(2000);
    format!(
        "
global
    log stdout format raw daemon notice
    user haproxy
    group haproxy
    chroot /var/lib/haproxy
    stats socket /run/haproxy/mainstay.sock mode 600 level admin
    maxconn {connections}

defaults
    mode tcp
    # Changes of nodes are logged, connections are not.
    log global
    timeout connect 2s
    # A management server keeps a connection, and the locks taken with it, for as long as a schema upgrade takes.
    timeout client 2h
    timeout server 2h
    # Without packets of their own, firewalls on the way forget idle connections.
    option clitcpka
    option srvtcpka
    # No `option redispatch`: with it, who connects in the moment of a failover waits a second for nothing.
    # Half of the lease ({} ms): an agent that is paused for less is waited for, and one that is not has lost its
    # lease by the second check. A refusal counts at once.
    timeout check {}ms
",
        ha.ttl_ms,
        ha.ttl_ms / 2
    )
}

fn writer(spec: &Spec, ha: &Ha, nodes: &[&Node]) -> String {
    let port = ha.api.health_port;
    let mut text = format!(
        "
# Clients that write. GET /primary is 200 on the holder of the lease alone, and only while its writes are open; so at
# most one server is up, `balance first` has no choice to make, and a node that returns takes nothing back by itself.
# The agent answers from memory, so that asking five times a second costs nothing. Right after a start all servers
# count as up until their first check, for a fifth of a second; replicas refuse writes then as ever.
listen mainstay-writer
    bind {}
    balance first
    option httpchk GET /primary
    http-check expect status 200
    # down: twice refused, at most 250 ms; up: answered once. Connections of a node that is down are cut, so that pools
    # open new ones.
    default-server check port {port} inter 200ms fastinter 50ms downinter 100ms rise 1 fall 2 on-marked-down shutdown-sessions
",
        bind(spec, ha.proxy.listen)
    );
    servers(nodes, &mut text);
    text
}

fn reader(spec: &Spec, ha: &Ha, nodes: &[&Node], listen: Listen) -> String {
    let port = ha.api.health_port;
    let mut text = format!(
        "
# Clients that only read: replicas at most {READER_LAG_SECONDS} s behind, and the primary when there is none. Connections stay when their
# replica falls behind: what is read is old, and not wrong.
listen mainstay-reader
    bind {}
    balance leastconn
    use_backend mainstay-writer if {{ nbsrv(mainstay-reader) eq 0 }}
    option httpchk GET /replica?lag={READER_LAG_SECONDS}s
    http-check expect status 200
    default-server check port {port} inter 1s fastinter 200ms downinter 500ms rise 2 fall 2
",
        bind(spec, listen)
    );
    servers(nodes, &mut text);
    text
}

fn servers(nodes: &[&Node], text: &mut String) {
    for node in nodes {
        text.push_str(&format!("    server {} {}\n", node.name, SocketAddr::new(node.address, node.port)));
    }
}

/// Where to listen. All addresses are those of IPv6 too only where the nodes use it: elsewhere the kernel may have none.
fn bind(spec: &Spec, listen: Listen) -> String {
    match listen.address {
        Some(_) => listen.to_string(),
        None if spec.nodes.iter().any(|node| node.address.is_ipv6()) => format!(":::{} v4v6", listen.port),
        None => format!(":{}", listen.port),
    }
}
