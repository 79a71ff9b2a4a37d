//! `mainstay status`: every node of the cluster at one glance.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use agent::Cluster;
use serde::Serialize;
use setup::ClusterStatus;

use crate::cli::{SpecArgs, StatusArgs};
use crate::context::{self, Loaded};
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};

/// Between two looks of `--watch`.
const WATCH_EVERY: Duration = Duration::from_secs(2);

#[derive(Serialize)]
struct Status {
    #[serde(flatten)]
    cluster: ClusterStatus,
    /// What agents report; none without `[ha]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    ha: Option<Agents>,
}

/// What the agents report, or why none does.
#[derive(Serialize)]
struct Agents {
    leader: Option<String>,
    epoch: Option<u64>,
    ackers: Vec<String>,
    paused: bool,
    members: BTreeMap<String, MemberStatus>,
    error: Option<String>,
}

#[derive(Serialize)]
struct MemberStatus {
    role: &'static str,
    server: Option<ha::Health>,
    frozen: Option<u64>,
    maintenance: bool,
    work: Option<String>,
}

impl Agents {
    fn new(cluster: &Cluster) -> Self {
        let leader = cluster.leader.as_ref().filter(|leader| leader.released.is_none());
        let members = cluster.members.iter().map(|(name, member)| {
            let role = match &member.server.following {
                _ if member.witness => "witness",
                _ if leader.is_some_and(|leader| leader.node == *name) => "primary",
                Some(_) => "replica",
                None => "-",
            };
            let status = MemberStatus {
                role,
                server: (!member.witness).then_some(member.server.health),
                frozen: member.frozen,
                maintenance: cluster.maintenance.contains(name),
                work: member.work.clone(),
            };
            (name.0.clone(), status)
        });
        let ackers = cluster.state.iter().flat_map(|state| state.lineage.sync.ackers.keys());
        Self {
            leader: leader.map(|leader| leader.node.0.clone()),
            epoch: cluster.state.as_ref().map(|state| state.epoch),
            ackers: ackers.map(|name| name.0.clone()).collect(),
            paused: cluster.paused,
            members: members.collect(),
            error: None,
        }
    }

    fn silent(failure: &Failure) -> Self {
        let error = failure.lines().into_iter().next();
        let error = error.map(|line| line.trim_start_matches("error: ").to_owned());
        Self { leader: None, epoch: None, ackers: Vec::new(), paused: false, members: BTreeMap::new(), error }
    }
}

impl fmt::Display for Agents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(error) = &self.error {
            return writeln!(f, "Agents: {error}");
        }
        let leader = self.leader.as_deref().unwrap_or("nobody");
        let epoch = self.epoch.map_or_else(|| "none yet".to_owned(), |epoch| epoch.to_string());
        let ackers = if self.ackers.is_empty() { "none".to_owned() } else { self.ackers.join(", ") };
        let paused = if self.paused { "; paused" } else { "" };
        writeln!(f, "Agents: leader {leader}, epoch {epoch}, acknowledging {ackers}{paused}\n")?;
        let dash = || "-".to_owned();
        let rows = self.members.iter().map(|(name, member)| {
            let server = member.server.map_or("-", |health| match health {
                ha::Health::Down => "down",
                ha::Health::Starting => "starting",
                ha::Health::Running => "running",
                ha::Health::Hung => "hung",
            });
            vec![
                name.clone(),
                member.role.to_owned(),
                server.to_owned(),
                member.frozen.map_or_else(dash, |epoch| format!("epoch {epoch}")),
                if member.maintenance { "yes".to_owned() } else { dash() },
                member.work.clone().unwrap_or_else(dash),
            ]
        });
        let header = ["HOST", "ROLE", "SERVER", "FROZEN", "MAINTENANCE", "WORK"].map(str::to_owned).to_vec();
        f.write_str(&output::table(std::iter::once(header).chain(rows).collect()))
    }
}

impl Status {
    fn is_good(&self) -> bool {
        self.cluster.is_good() && self.ha.as_ref().is_none_or(|ha| ha.leader.is_some())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cluster = self.cluster.to_string();
        write!(f, "{cluster}")?;
        let Some(ha) = &self.ha else { return Ok(()) };
        let gap = if cluster.ends_with('\n') { "\n" } else { "\n\n" };
        write!(f, "{gap}{ha}")
    }
}

pub(crate) async fn run(format: Format, args: &StatusArgs) -> Verb {
    let loaded = context::load(&args.spec)?;
    // Anybody who reaches the nodes may ask, from a host that is none of them too.
    let here = context::this_node(&loaded, &args.spec).await.ok().map(|node| node.name);
    loop {
        let cluster = setup::cluster_status(&loaded.spec, here.as_deref(), jiff::Timestamp::now()).await;
        let ha = match &loaded.spec.ha {
            Some(_) => {
                Some(agents(&loaded, &args.spec).await.unwrap_or_else(|failure| Agents::silent(&failure)))
            }
            None => None,
        };
        let status = Status { cluster, ha };
        if !args.watch {
            output::result(format, &status);
            return Ok(if status.is_good() { Outcome::Good } else { Outcome::Differs });
        }
        match format {
            Format::Text => output::page(&status.to_string()),
            Format::Json => output::result(format, &status),
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

async fn agents(loaded: &Loaded, args: &SpecArgs) -> Result<Agents, Failure> {
    let client = context::client(loaded, args).await?;
    let cluster = client.cluster().await.map_err(context::unanswered)?;
    Ok(Agents::new(&cluster))
}
