//! `mainstay agent` and `mainstay fencer`: the daemons of a node.

use agent::Config;
use host::supervise::stop_signal;

use crate::cli::{AgentArgs, FencerArgs, SpecArgs};
use crate::context;
use crate::failure::{Failure, Outcome, Verb};

pub(crate) async fn run(args: &AgentArgs) -> Verb {
    let stop = stop_signal()?;
    agent::run(config(&args.spec).await?, stop).await?;
    Ok(Outcome::Good)
}

pub(crate) async fn fencer(args: &FencerArgs) -> Verb {
    let stop = stop_signal()?;
    agent::run_fencer(&config(&args.spec).await?, stop).await?;
    Ok(Outcome::Good)
}

async fn config(args: &SpecArgs) -> Result<Config, Failure> {
    let loaded = context::load(args)?;
    let name = context::this_member(&loaded, args).await?;
    Ok(Config::new(&loaded.spec, &name)?)
}
