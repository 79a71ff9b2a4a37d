//! `mainstay supervise`: keeps a server running where there is no systemd. Started by apply, not by people.

use crate::cli::SuperviseArgs;
use crate::failure::{Outcome, Verb};

pub(crate) async fn run(args: &SuperviseArgs) -> Verb {
    setup::supervise(&args.state, &args.node, &args.command).await?;
    Ok(Outcome::Good)
}
