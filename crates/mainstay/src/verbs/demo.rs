//! `mainstay demo`: three servers set up for CloudStack and kept available by agents; the primary is killed under a
//! client's writes, and what came of it is shown.

use std::time::Duration;

use jiff::Timestamp;
use lab::{ClusterState, Lab, NodeState, Topology, UpOptions};
use plan::Options;
use setup::Observe;
use spec::Spec;

use crate::cli::{CloudArg, DemoArgs, HistoryArgs, SpecArgs, StatusArgs};
use crate::context::absolute;
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};
use crate::verbs::demo_writer::{self, Seen, Writer};
use crate::verbs::lab::vendor;
use crate::verbs::lab_spec::spec_file;
use crate::verbs::{history, lab_agents, status};

const NAME: &str = "demo";
/// How long the client writes before the primary is killed, and after it writes again.
const WRITES_FOR: Duration = Duration::from_secs(2);
/// How long the client may have to wait for a new primary, and the old one to be a replica again.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) async fn run(args: &DemoArgs) -> Verb {
    let lab = Lab::open(lab::default_root()?)?;
    if lab.cluster(NAME).is_ok() {
        output::message("Removing the demo of last time ...");
        lab.down(NAME).await?;
    }
    heading(
        "Three servers, as on three hosts",
        &format!("mainstay lab up --name {NAME} --topology replication --agents"),
    );
    let mut options = UpOptions::new(NAME, Topology::Replication, vendor(args.server));
    options.server_root = args.server_root.as_deref().map(absolute);
    options.durable = true;
    options.apart = true;
    let cluster = lab.up(&options).await?;
    output::text(&format!(
        "{} x {} run, empty, and know nothing of each other.",
        cluster.nodes.len(),
        cluster.flavor
    ));

    let first = first(&cluster)?;
    let shown = spec_file(&cluster, first).display().to_string();
    let spec = set_up(&cluster, first, &shown).await?;

    heading("An agent and a fencer beside each", "mainstay agent; mainstay fencer");
    lab_agents::start_agents(&lab, &cluster).await?;
    show_status(&shown, first).await?;
    kill_the_primary(&lab, &cluster, &spec).await?;

    heading("What the cluster says of it", &format!("mainstay history --config {shown}"));
    let place = SpecArgs { config: Some(shown.clone().into()), node: Some(first.name.clone()) };
    history::run(Format::Text, &HistoryArgs { spec: place }).await?;
    show_status(&shown, first).await?;

    // As it was started, so that the lines can be pasted.
    let me = std::env::args().next().unwrap_or_else(|| "mainstay".to_owned());
    output::text(&format!(
        "\nTry next:\n\
         \x20 {me} switchover --config {shown}\n\
         \x20     hand over to another node, in order\n\
         \x20 {me} explain --config {shown}\n\
         \x20     what each agent last decided, and why\n\
         \x20 {me} lab pause {NAME} node2; {me} status --watch --config {shown} --node node1\n\
         \x20     a server that hangs (lab resume thaws it)\n\
         \x20 {me} lab down {NAME}\n\
         \x20     remove it wholly\n"
    ));
    Ok(Outcome::Good)
}

fn first(cluster: &ClusterState) -> Result<&NodeState, Failure> {
    cluster.nodes.first().ok_or_else(|| Failure::said("the cluster has no nodes", "please report this"))
}

fn heading(title: &str, command: &str) {
    output::text(&format!("\n=== {title}\n$ {command}"));
}

/// Plan and apply on the first node, apply on the others.
async fn set_up(cluster: &ClusterState, first: &NodeState, shown: &str) -> Result<Spec, Failure> {
    let spec = lab_agents::write_spec(cluster, first, CloudArg::Cloudstack).await?;
    let node =
        spec.node(&first.name).ok_or_else(|| Failure::said("the spec has no node", "please report this"))?;
    heading(
        "What CloudStack needs of it, against what it has",
        &format!("mainstay plan --config {shown} --node {}", first.name),
    );
    let observation = setup::observe(&spec, node, &Observe { measure: true }).await?;
    output::text(&plan::make(&spec, node, &observation, &Options::default()).to_string());
    for node in &cluster.nodes {
        heading(
            "Make it so",
            &format!("mainstay apply --config {} --node {}", spec_file(cluster, node).display(), node.name),
        );
        let spec = match node.name == first.name {
            true => spec.clone(),
            false => lab_agents::write_spec(cluster, node, CloudArg::Cloudstack).await?,
        };
        let steps = lab_agents::apply(&spec, node).await?;
        output::text(&format!("{steps} steps done."));
    }
    Ok(spec)
}

async fn show_status(shown: &str, node: &NodeState) -> Result<(), Failure> {
    heading("How it is now", &format!("mainstay status --config {shown} --node {}", node.name));
    let spec = SpecArgs { config: Some(shown.into()), node: Some(node.name.clone()) };
    status::run(Format::Text, &StatusArgs { spec, watch: false }).await?;
    Ok(())
}

async fn kill_the_primary(lab: &Lab, cluster: &ClusterState, spec: &Spec) -> Result<(), Failure> {
    let nobody = || Failure::said("no node is primary", "mainstay explain says why");
    let primary = lab_agents::primary(cluster).await.ok_or_else(nobody)?;
    heading(
        "A client writes, and the primary is killed",
        &format!("mainstay lab kill {NAME} {}", primary.name),
    );
    demo_writer::make_table(primary).await?;
    let writer = Writer::start(cluster, spec)?;
    tokio::time::sleep(WRITES_FOR).await;
    let before = writer.seen();
    let killed = Timestamp::now();
    lab.kill(NAME, Some(&primary.name)).await?;
    tell(
        killed,
        &format!(
            "{} killed with SIGKILL; the client has {} writes acknowledged",
            primary.name,
            before.acked.len()
        ),
    );
    let again = wait(|| first_by_another(&writer.seen(), &primary.name)).await;
    let Some((at, by)) = again else {
        return Err(Failure::said("no other node took over within a minute", "mainstay explain says why"));
    };
    let gap = at.duration_since(killed).as_millis();
    tell(at, &format!("{by} acknowledges writes, {gap} ms after the kill"));
    let returned = async {
        let deadline = tokio::time::Instant::now() + LIMIT;
        while tokio::time::Instant::now() < deadline && !lab_agents::is_whole(cluster).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    returned.await;
    if lab_agents::is(cluster, primary, "/replica").await {
        tell(Timestamp::now(), &format!("{} is back, a replica of {by}", primary.name));
    }
    tokio::time::sleep(WRITES_FOR).await;
    let seen = writer.stop().await;
    let now = lab_agents::primary(cluster).await.ok_or_else(nobody)?;
    let lost = demo_writer::lost(now, &seen).await?;
    tell(
        Timestamp::now(),
        &format!(
            "{} writes were acknowledged in all; {} of them are missing on {}",
            seen.acked.len(),
            lost,
            now.name
        ),
    );
    if lost > 0 {
        return Err(Failure::said("acknowledged writes were lost", "please report this"));
    }
    Ok(())
}

fn tell(at: Timestamp, what: &str) {
    output::text(&format!("{}  {what}", at.strftime("%H:%M:%S.%3f")));
}

/// When another node than the one named first acknowledged, and which.
fn first_by_another(seen: &Seen, name: &str) -> Option<(Timestamp, String)> {
    seen.acked.iter().find(|write| write.by != name).map(|write| (write.at, write.by.clone()))
}

async fn wait<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = tokio::time::Instant::now() + LIMIT;
    loop {
        let found = look();
        if found.is_some() || tokio::time::Instant::now() >= deadline {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
