//! What operators ask of the agents: `switchover`, `failover`, `pause`, `resume`, `maintenance`, `reinit`, `explain`,
//! `history`.

use std::fmt;

use agent::{Client, Cluster, Explained, HistoryEntry};
use flavor::GtidSet;
use serde::Serialize;

use crate::cli::SpecArgs;
use crate::context;
use crate::failure::{Failure, Outcome, Verb};
use crate::ha_args::{ClusterArgs, FailoverArgs, MaintenanceArgs, ReinitArgs, SwitchoverArgs, Switch};
use crate::output::{self, Format};

/// The agents of a spec; this host's is asked first where the host is one of theirs.
fn client(args: &SpecArgs) -> Result<Client, Failure> {
    let loaded = context::load(args)?;
    let first = loaded.spec.nodes.first().map(|node| node.name.clone()).unwrap_or_default();
    let here = host::users::hostname();
    let is_here = loaded.spec.nodes.iter().any(|node| node.name == here);
    let name = args.node.clone().unwrap_or(if is_here { here } else { first });
    Ok(Client::new(agent::Config::new(&loaded.spec, &name)?))
}

/// Who asks, for the history.
fn asker() -> String {
    format!("{}@{}", host::users::user_name(host::users::current_uid()), host::users::hostname())
}

/// What came of a request.
#[derive(Debug, Serialize)]
struct Done {
    done: bool,
    text: String,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

async fn ask(format: Format, client: &Client, path: &str, node: Option<&str>, epoch: Option<u64>) -> Verb {
    let answer = client.ask(path, node, epoch, &asker()).await?;
    if !answer.done {
        return Err(Failure::said(answer.text, "`mainstay explain` says what each node thinks"));
    }
    output::result(format, &Done { done: true, text: answer.text });
    Ok(Outcome::Good)
}

fn confirmed(question: &str, wanted: &str, yes: bool) -> Result<(), Failure> {
    if yes || output::ask(question).as_deref() == Some(wanted) {
        return Ok(());
    }
    Err(Failure::said("not done", "--yes answers for scripts"))
}

pub(crate) async fn switchover(format: Format, args: &SwitchoverArgs) -> Verb {
    let client = client(&args.spec)?;
    let cluster = client.cluster().await?;
    let (primary, epoch) = leader(&cluster);
    let to = args.to.as_deref().unwrap_or("the best replica");
    let question = format!("{primary} is the primary in epoch {epoch}. Hand over to {to}? Writes stop for a moment. [y/N]");
    confirmed(&question, "y", args.yes)?;
    ask(format, &client, "/switchover", args.to.as_deref(), Some(epoch)).await
}

fn leader(cluster: &Cluster) -> (String, u64) {
    let epoch = cluster.state.as_ref().map_or(0, |state| state.epoch);
    let leader = cluster.leader.as_ref().map_or_else(|| "nobody".to_owned(), |leader| leader.node.to_string());
    (leader, epoch)
}

/// What the other nodes last reported and the node does not hold.
fn would_be_lost(cluster: &Cluster, to: &str) -> Result<GtidSet, Failure> {
    let member = cluster.members.iter().find(|(name, _)| name.0 == to).map(|(_, member)| member);
    let member = member.ok_or_else(|| Failure::said(format!("{to} never reported"), "look with `mainstay explain`"))?;
    let mut known = GtidSet::default();
    for other in cluster.members.values() {
        known.extend(&other.server.position);
    }
    Ok(known.subtract(&member.server.position))
}

pub(crate) async fn failover(format: Format, args: &FailoverArgs) -> Verb {
    let client = client(&args.spec)?;
    let cluster = client.cluster().await?;
    let (primary, epoch) = leader(&cluster);
    let lost = would_be_lost(&cluster, &args.to)?;
    let loss = if lost.is_empty() {
        "By the last reports nothing is lost, which is not a proof: what was acknowledged after them is not known.".to_owned()
    } else {
        format!("By the last reports these transactions are lost: {lost}")
    };
    output::message(&format!("The lease was last {primary}'s, in epoch {epoch}. {loss}"));
    if args.yes && !lost.is_empty() && !args.accept_loss {
        return Err(Failure::said("not done, since transactions would be lost", "add --accept-loss if that is meant"));
    }
    confirmed(&format!("Type the node's name to promote {}:", args.to), &args.to, args.yes)?;
    ask(format, &client, "/failover", Some(&args.to), Some(epoch)).await
}

pub(crate) async fn reinit(format: Format, args: &ReinitArgs) -> Verb {
    let client = client(&args.spec)?;
    let question = format!("Replace the data of {} by a new copy of the primary's? [y/N]", args.target);
    confirmed(&question, "y", args.yes)?;
    ask(format, &client, "/reinit", Some(&args.target), None).await
}

pub(crate) async fn pause(format: Format, args: &ClusterArgs, on: bool) -> Verb {
    client(&args.spec)?.pause(on).await?;
    let text = if on {
        "paused: nobody is promoted; a primary whose lease runs out is fenced all the same"
    } else {
        "resumed"
    };
    output::result(format, &Done { done: true, text: text.to_owned() });
    Ok(Outcome::Good)
}

pub(crate) async fn maintenance(format: Format, args: &MaintenanceArgs) -> Verb {
    let on = args.to == Switch::On;
    client(&args.spec)?.maintenance(&args.target, on).await?;
    let text = if on { "is left alone" } else { "takes part again" };
    output::result(format, &Done { done: true, text: format!("{} {text}", args.target) });
    Ok(Outcome::Good)
}

/// What every agent last decided.
#[derive(Debug, Serialize)]
struct Explanations(Vec<Explanation>);

#[derive(Debug, Serialize)]
struct Explanation {
    node: String,
    explained: Option<Explained>,
    error: Option<String>,
}

impl fmt::Display for Explanations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Explanation { node, explained, error } in &self.0 {
            if let Some(error) = error {
                writeln!(f, "{node}  does not say: {error}")?;
            }
            let Some(explained) = explained else { continue };
            writeln!(f, "{node}  {}", explained.sentence)?;
            for veto in &explained.vetoes {
                writeln!(f, "      against more: {veto}")?;
            }
            for setting in &explained.unsafe_settings {
                writeln!(f, "      not durable: {setting}")?;
            }
            if let Some(error) = &explained.store_error {
                writeln!(f, "      store: {error}")?;
            }
        }
        Ok(())
    }
}

pub(crate) async fn explain(format: Format, args: &ClusterArgs) -> Verb {
    let answers = client(&args.spec)?.explain().await;
    let explanations = answers.into_iter().map(|(node, answer)| {
        let (explained, error) = match answer {
            Ok(explained) => (Some(explained), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Explanation { node: node.0, explained, error }
    });
    let explanations = Explanations(explanations.collect());
    let silent = explanations.0.iter().any(|explanation| explanation.error.is_some());
    output::result(format, &explanations);
    Ok(if silent { Outcome::Differs } else { Outcome::Good })
}

/// The epochs of a cluster.
#[derive(Debug, Serialize)]
struct History(Vec<HistoryEntry>);

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.0 {
            let HistoryEntry { epoch, at, primary, before, reason, lost, .. } = entry;
            writeln!(f, "epoch {epoch}  {at:.0}  {before} -> {primary}  {reason}")?;
            if !lost.is_empty() {
                writeln!(f, "      lost: {lost}")?;
            }
        }
        Ok(())
    }
}

pub(crate) async fn history(format: Format, args: &ClusterArgs) -> Verb {
    let cluster = client(&args.spec)?.cluster().await?;
    output::result(format, &History(cluster.history));
    Ok(Outcome::Good)
}
