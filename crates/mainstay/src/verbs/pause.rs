//! `mainstay pause` and `mainstay resume`: whether agents change roles.

use crate::cli::{PauseArgs, ResumeArgs, SpecArgs};
use crate::context;
use crate::failure::{Outcome, Verb};
use crate::output::{self, Format};
use crate::verbs::switchover::Done;

pub(crate) async fn pause(format: Format, args: &PauseArgs) -> Verb {
    set(format, &args.spec, true, "Paused: no roles change until `mainstay resume`.").await
}

pub(crate) async fn resume(format: Format, args: &ResumeArgs) -> Verb {
    set(format, &args.spec, false, "Resumed: roles change as needed.").await
}

async fn set(format: Format, args: &SpecArgs, on: bool, text: &str) -> Verb {
    let loaded = context::load(args)?;
    let client = context::client(&loaded, args).await?;
    client.pause(on).await.map_err(context::unanswered)?;
    output::result(format, &Done { done: true, text: text.to_owned() });
    Ok(Outcome::Good)
}
