//! `mainstay demo`: a lab server, the CloudStack profile applied to it, its status, and what to try next.

use host::files::{self, Ownership};
use lab::{Lab, Topology, UpOptions};
use plan::Options;
use setup::{Observe, Progress};
use spec::Spec;

use crate::cli::{CloudArg, DemoArgs};
use crate::context::absolute;
use crate::failure::{Failure, Outcome, Verb};
use crate::output;
use crate::verbs::lab::{spec_for, vendor};

const NAME: &str = "demo";

pub(crate) async fn run(args: &DemoArgs) -> Verb {
    let lab = Lab::open(lab::default_root()?)?;
    if lab.cluster(NAME).is_ok() {
        output::message("Removing the demo of last time ...");
        lab.down(NAME).await?;
    }
    heading("A throwaway server", "mainstay lab up --name demo");
    let mut options = UpOptions::new(NAME, Topology::Single, vendor(args.server));
    options.server_root = args.server_root.as_deref().map(absolute);
    options.durable = true;
    let cluster = lab.up(&options).await?;
    output::text(&format!("{} runs.", cluster.flavor));

    let spec_path = cluster.folder.join("mainstay.toml");
    let text = spec_for(&cluster, CloudArg::Cloudstack, None).await?;
    files::write_atomic(&spec_path, text.as_bytes(), &Ownership::mode(0o644))?;
    let shown = spec_path.display();
    let (spec, _) = Spec::parse(&text, &spec_path.to_string_lossy())
        .map_err(|errors| Failure::said(errors.to_string(), "please report this"))?;
    let node =
        spec.nodes.first().ok_or_else(|| Failure::said("the spec has no node", "please report this"))?;

    heading("What CloudStack needs of it, against what it has", &format!("mainstay plan --config {shown}"));
    let observation = setup::observe(&spec, node, &Observe { measure: true }).await?;
    let plan = plan::make(&spec, node, &observation, &Options::default());
    output::text(&plan.to_string());

    heading("Make it so", &format!("mainstay apply --config {shown}"));
    let applied = setup::apply(&spec, node, &plan, &Options::default(), &mut Quiet).await?;
    output::text(&format!("{} steps done.", applied.steps));
    if applied.remaining.differs() {
        output::text(&applied.remaining.to_string());
        return Err(Failure::said("the node is not as the spec says", "please report the lines above"));
    }

    heading("How it is now", &format!("mainstay status --config {shown}"));
    output::text(&setup::cluster_status(&spec, jiff::Timestamp::now()).await.to_string());

    // As it was started, so that the lines can be pasted.
    let me = std::env::args().next().unwrap_or_else(|| "mainstay".to_owned());
    output::text(&format!(
        "\nTry next:\n\
         \x20 {me} lab shell demo -e 'SET GLOBAL max_connections = 50'; {me} plan --config {shown}\n\
         \x20     somebody changed a value by hand: see it; the same with `apply` mends it\n\
         \x20 {me} facts --socket {}\n\
         \x20     everything about the server\n\
         \x20 {me} lab down demo\n\
         \x20     remove it wholly\n",
        node.socket.display()
    ));
    Ok(Outcome::Good)
}

fn heading(title: &str, command: &str) {
    output::text(&format!("\n=== {title}\n$ {command}"));
}

/// Steps are shown by the plan already.
struct Quiet;

impl Progress for Quiet {
    fn begins(&mut self, number: usize, of: usize, step: &plan::Step) {
        output::message(&format!("[{number}/{of}] {}", step.title));
    }

    fn done(&mut self, _step: &plan::Step, _took: std::time::Duration) {}
}
