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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const SPEC: &str = "[cluster]\nname = \"t\"\nserver = \"mariadb\"\ntopology = \"replication\"\n\
        [[node]]\nname = \"a\"\naddress = \"10.0.0.1\"\nserver_id = 1\n\
        [[node]]\nname = \"b\"\naddress = \"10.0.0.2\"\nserver_id = 2\n\
        [[node]]\nname = \"c\"\naddress = \"10.0.0.3\"\nserver_id = 3\n";

    fn cluster(positions: &[(&str, &str)]) -> Cluster {
        let members = positions.iter().map(|(name, position)| {
            let mut server = ha::ServerReport::unseen();
            server.position = GtidSet::parse(position).unwrap();
            let member = ha::Member {
                agent: String::new(),
                beat: 0,
                seen: 0,
                witness: false,
                server,
                epoch: 1,
                version: 0,
                opened: None,
                frozen: None,
                tags: ha::Tags::default(),
                work: None,
            };
            (NodeName::new(*name), member)
        });
        Cluster {
            leader: None,
            state: None,
            members: members.collect(),
            paused: false,
            maintenance: Vec::new(),
            request: None,
            history: Vec::new(),
            answer: None,
        }
    }

    fn loss(positions: &[(&str, &str)], to: &str) -> Loss {
        let (spec, _) = Spec::parse(SPEC, "test").unwrap();
        Loss::of(&spec, &cluster(positions), &NodeName::new(to)).unwrap()
    }

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    #[test]
    fn what_another_holds_beyond_the_target_is_lost() {
        let (nine, five) = (format!("{UUID}:1-9"), format!("{UUID}:1-5"));
        let positions = [("a", nine.as_str()), ("b", five.as_str()), ("c", five.as_str())];
        let lost = loss(&positions, "b");
        assert_eq!(lost.beyond.keys().map(|name| name.0.as_str()).collect::<Vec<_>>(), ["a"]);
        assert_eq!(lost.beyond[&NodeName::new("a")], GtidSet::parse(&format!("{UUID}:6-9")).unwrap());
        assert!(!lost.is_none() && lost.to_string().contains("up to 4 transactions"), "{lost}");
        assert!(loss(&positions, "a").is_none());
    }

    #[test]
    fn a_node_that_never_reported_may_hold_anything() {
        let five = format!("{UUID}:1-5");
        let lost = loss(&[("b", &five), ("c", &five)], "b");
        assert_eq!(lost.unknown, [NodeName::new("a")]);
        assert!(!lost.is_none());
    }

    #[test]
    fn one_that_never_reported_is_not_promoted() {
        let (spec, _) = Spec::parse(SPEC, "test").unwrap();
        assert!(Loss::of(&spec, &cluster(&[]), &NodeName::new("b")).is_err());
    }
}
