//! A script of `pcs` commands: Pacemaker holds the floating address where the agent says the primary is.
//!
//! Pacemaker neither starts the server nor chooses the primary; fencing of hosts stays its own.

use spec::{OutsideKeeper, Spec};

use super::{Installed, TrafficError, agents, header, kept_by, word};

/// A shell script: `unit` on every node writes the watching unit, then `cluster` once makes the resources.
///
/// # Errors
/// Where there are no agents, or no address that Pacemaker is to move.
pub fn pacemaker(spec: &Spec, installed: &Installed) -> Result<String, TrafficError> {
    let ha = agents(spec)?;
    let floating = kept_by(ha, OutsideKeeper::Pacemaker)?;
    Ok(format!(
        r#"#!/bin/sh
{header}#
#   sh FILE unit       on every node: the unit that tells Pacemaker whether this node is primary
#   sh FILE cluster    once, on one node: the resources
#
# The nodes of Pacemaker are to be named as in mainstay.toml, and its fencing (STONITH) is to work: without it, a host
# that is cut off keeps the address.
set -eu

case "${{1-}}" in
unit)
    cat >/etc/systemd/system/mainstay-attribute.service <<'UNIT'
[Unit]
Description=Tells Pacemaker whether this node is the primary of cluster {cluster}
After=pacemaker.service mainstay-agent.service

[Service]
# An attribute of the node, in memory only: it is gone when the node leaves Pacemaker's cluster.
ExecStart=/bin/sh -c 'while :; do if {program} health --config {spec_file} --node "$$(crm_node -n)" /primary; then primary=1; else primary=0; fi; attrd_updater -n mainstay_primary -U $$primary; sleep 1; done'
ExecStopPost=/usr/sbin/attrd_updater -n mainstay_primary -U 0
Restart=always
RestartSec=1
StandardOutput=null
UNIT
    systemctl daemon-reload
    ;;
cluster)
    # All at once: the address is never there without its rule.
    work=$(mktemp)
    trap 'rm -f "$work"' EXIT
    pcs cluster cib "$work"
    # On every node; Pacemaker starts it, so it is not enabled.
    pcs -f "$work" resource create mainstay-attribute systemd:mainstay-attribute op monitor interval=5s clone
    pcs -f "$work" resource create mainstay-address ocf:heartbeat:IPaddr2 ip={address} cidr_netmask={length} nic={interface} op monitor interval=5s
    pcs -f "$work" constraint location mainstay-address rule score=-INFINITY not_defined mainstay_primary or mainstay_primary ne 1
    pcs cluster cib-push "$work"
    ;;
*)
    echo "usage: sh FILE unit | cluster" >&2
    exit 64
    ;;
esac
"#,
        header = header(spec, "Pacemaker", "mainstay render pacemaker"),
        cluster = spec.cluster.name,
        program = word(&installed.program)?,
        spec_file = word(&installed.spec_file)?,
        address = floating.network.addr(),
        length = floating.network.prefix_len(),
        interface = floating.interface,
    ))
}
