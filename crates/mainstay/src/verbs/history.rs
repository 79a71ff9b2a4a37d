//! `mainstay history`: the epochs of the cluster.

use std::fmt;

use agent::HistoryEntry;
use serde::Serialize;

use crate::cli::HistoryArgs;
use crate::context;
use crate::failure::{Outcome, Verb};
use crate::output::{self, Format};

#[derive(Debug, Serialize)]
struct History {
    epochs: Vec<HistoryEntry>,
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        let rows = self.epochs.iter().map(|entry| {
            vec![
                entry.epoch.to_string(),
                entry.at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
                or_dash(&entry.primary),
                or_dash(&entry.before),
                or_dash(&entry.lost),
                entry.reason.clone(),
            ]
        });
        let header = ["EPOCH", "WHEN", "PRIMARY", "BEFORE", "LOST", "REASON"].map(str::to_owned).to_vec();
        f.write_str(&output::table(std::iter::once(header).chain(rows).collect()))
    }
}

pub(crate) async fn run(format: Format, args: &HistoryArgs) -> Verb {
    let loaded = context::load(&args.spec)?;
    let client = context::client(&loaded, &args.spec).await?;
    let cluster = client.cluster().await.map_err(context::unanswered)?;
    output::result(format, &History { epochs: cluster.history });
    Ok(Outcome::Good)
}
