//! `mainstay status`: every node of the cluster at one glance.

use std::time::Duration;

use crate::cli::StatusArgs;
use crate::context;
use crate::failure::{Outcome, Verb};
use crate::output::{self, Format};

/// Between two looks of `--watch`.
const WATCH_EVERY: Duration = Duration::from_secs(2);

pub(crate) async fn run(format: Format, args: &StatusArgs) -> Verb {
    let loaded = context::load(&args.spec)?;
    loop {
        let status = setup::cluster_status(&loaded.spec, jiff::Timestamp::now()).await;
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
