//! `mainstay maintenance`: whether agents leave a node alone.

use crate::cli::{MaintenanceArgs, SwitchArg};
use crate::context;
use crate::failure::{Outcome, Verb};
use crate::output::{self, Format};
use crate::verbs::switchover::Done;

pub(crate) async fn run(format: Format, args: &MaintenanceArgs) -> Verb {
    let loaded = context::load(&args.spec)?;
    let client = context::client(&loaded, &args.spec).await?;
    let on = args.switch == SwitchArg::On;
    client.maintenance(&args.name, on).await.map_err(context::unanswered)?;
    let text = if on { "is left alone" } else { "is looked after again" };
    output::result(format, &Done { done: true, text: format!("{} {text}.", args.name) });
    Ok(Outcome::Good)
}
