//! `keepalived.conf` of one node: VRRP holds the floating address where the agent says the primary is.
//!
//! VRRP elects nobody here: every node but the primary is held in the fault state by its own agent's answer.

use std::net::IpAddr;

use spec::{Node, OutsideKeeper, Spec};

use super::{Installed, TrafficError, agents, header, kept_by, word};

/// `keepalived.conf`, whole, for the node of this name; keepalived 2.0 and later.
///
/// # Errors
/// Where there are no agents, no such node, or no address that keepalived is to move.
pub fn keepalived(spec: &Spec, node: &str, installed: &Installed) -> Result<String, TrafficError> {
    let ha = agents(spec)?;
    if ha.witnesses.iter().any(|witness| witness.name == node) {
        return Err(TrafficError::Witness(node.to_owned()));
    }
    let node = spec.node(node).ok_or_else(|| TrafficError::NoMember(node.to_owned()))?;
    let floating = kept_by(ha, OutsideKeeper::Keepalived)?;
    let address = floating.network.addr();
    if let Some(other) = spec.nodes.iter().find(|node| node.address.is_ipv4() != address.is_ipv4()) {
        return Err(TrafficError::Families { address, node: other.name.clone() });
    }
    Ok(format!(
        "{header}
global_defs {{
    router_id mainstay_{cluster}_{name}
    # A program that anybody but root can change is not run.
    enable_script_security
    script_user root
    vrrp_version 3
}}

# Succeeds while this node holds the lease and its writes are open.
vrrp_script mainstay_primary {{
    script \"{program} health --config {spec_file} --node {name} /primary\"
    interval 1
    timeout 1
    rise 1
    fall 1
    init_fail
}}

vrrp_instance mainstay {{
    # All begin as backup with one priority. The check has no weight: failing it puts the node into the fault state,
    # where it gives the address up, so that only the primary can take it. `nopreempt` makes the new primary wait until
    # the old one has let go, instead of taking an address that is still in use.
    state BACKUP
    nopreempt
    priority 100
    interface {interface}
    # From the address: another router on this network with the same number would fight with this one.
    virtual_router_id {router}
    advert_int 0.2
    unicast_src_ip {own}
    unicast_peer {{
{peers}    }}
    virtual_ipaddress {{
        {network} dev {interface}
    }}
    # Switches that missed the first announcement hear another.
    garp_master_delay 1
    garp_master_refresh 30
    track_script {{
        mainstay_primary
    }}
}}
",
        header = header(
            spec,
            &format!("keepalived on node {}", node.name),
            &format!("mainstay render keepalived --node {}", node.name)
        ),
        cluster = spec.cluster.name,
        name = node.name,
        program = word(&installed.program)?,
        spec_file = word(&installed.spec_file)?,
        interface = floating.interface,
        router = router_id(address),
        own = node.address,
        peers = peers(spec, node),
        network = floating.network,
    ))
}

fn peers(spec: &Spec, node: &Node) -> String {
    let others = spec.nodes.iter().filter(|other| other.address != node.address);
    others.map(|other| format!("        {}\n", other.address)).collect()
}

/// A number from 1 to 255: the address's last byte, which differs between addresses of a small network.
fn router_id(address: IpAddr) -> u8 {
    let last = match address {
        IpAddr::V4(v4) => v4.octets().last().copied(),
        IpAddr::V6(v6) => v6.octets().last().copied(),
    };
    last.unwrap_or(0).max(1)
}
