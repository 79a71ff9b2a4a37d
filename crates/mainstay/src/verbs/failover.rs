//! `mainstay failover`: promotes a node that the agents would not, after showing what that loses.

use std::collections::BTreeMap;
use std::fmt;

use agent::Cluster;
use flavor::GtidSet;
use ha::NodeName;
use spec::Spec;

use crate::cli::FailoverArgs;
use crate::context;
use crate::failure::{Failure, Verb};
use crate::output::{self, Format};
use crate::verbs::switchover::{ask, confirm_name};

/// What a promotion would leave behind, as far as the nodes' last reports tell.
#[derive(Debug, Default, PartialEq, Eq)]
struct Loss {
    /// What each other node held that the new primary does not.
    beyond: BTreeMap<NodeName, GtidSet>,
    /// Nodes that never reported.
    unknown: Vec<NodeName>,
}

impl Loss {
    fn of(spec: &Spec, cluster: &Cluster, to: &NodeName) -> Result<Self, Failure> {
        let target = cluster.members.get(to).filter(|member| !member.witness).ok_or_else(|| {
            Failure::said(
                format!("{to} is no node that reported to the store"),
                "look with `mainstay status` which nodes have",
            )
        })?;
        let mut loss = Self::default();
        for name in spec.nodes.iter().map(|node| NodeName::new(&node.name)).filter(|name| name != to) {
            match cluster.members.get(&name) {
                Some(member) => {
                    let beyond = member.server.position.subtract(&target.server.position);
                    if !beyond.is_empty() {
                        loss.beyond.insert(name, beyond);
                    }
                }
                None => loss.unknown.push(name),
            }
        }
        Ok(loss)
    }

    fn is_none(&self) -> bool {
        self.beyond.is_empty() && self.unknown.is_empty()
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            writeln!(f, "No node reported anything that the new primary does not hold.")?;
        }
        for (name, beyond) in &self.beyond {
            writeln!(f, "Lost of what {name} held: up to {} transactions, {beyond}", beyond.count())?;
        }
        for name in &self.unknown {
            writeln!(f, "Lost of what {name} held: not known, it has not reported")?;
        }
        write!(f, "What a node wrote after its last report is not in this.")
    }
}

pub(crate) async fn run(format: Format, args: &FailoverArgs) -> Verb {
    let loaded = context::load(&args.spec)?;
    let client = context::client(&loaded, &args.spec).await?;
    let cluster = client.cluster().await.map_err(context::unanswered)?;
    let loss = Loss::of(&loaded.spec, &cluster, &NodeName::new(&args.to))?;
    output::message(&loss.to_string());
    if !args.yes {
        confirm_name(&format!("Type {} to promote it:", args.to), &args.to)?;
    } else if !loss.is_none() && !args.accept_loss {
        return Err(Failure::said(
            "transactions would be lost; nothing was changed",
            "give --accept-loss as well if they may be",
        ));
    }
    let epoch = cluster.state.map(|state| state.epoch);
    ask(format, &client, "/failover", Some(&args.to), epoch).await
}
