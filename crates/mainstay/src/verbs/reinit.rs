//! `mainstay reinit`: fills a replica anew.

use crate::cli::ReinitArgs;
use crate::context;
use crate::failure::Verb;
use crate::output::Format;
use crate::verbs::switchover::{ask, confirm_name};

pub(crate) async fn run(format: Format, args: &ReinitArgs) -> Verb {
    let loaded = context::load(&args.spec)?;
    let client = context::client(&loaded, &args.spec).await?;
    let cluster = client.cluster().await.map_err(context::unanswered)?;
    if !args.yes {
        let question =
            format!("This destroys the data on {0} and copies it anew. Type {0} to go on:", args.name);
        confirm_name(&question, &args.name)?;
    }
    let epoch = cluster.state.map(|state| state.epoch);
    ask(format, &client, "/reinit", Some(&args.name), epoch).await
}
