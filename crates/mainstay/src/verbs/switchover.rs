//! `mainstay switchover`: hands the primary's role over in order. Also what every request to the agents has in common.

use std::fmt;

use agent::Client;
use host::users;
use serde::Serialize;

use crate::cli::SwitchoverArgs;
use crate::context;
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};

/// What came of a request.
#[derive(Debug, Serialize)]
pub(crate) struct Done {
    pub(crate) done: bool,
    pub(crate) text: String,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

pub(crate) async fn run(format: Format, args: &SwitchoverArgs) -> Verb {
    let loaded = context::load(&args.spec)?;
    let client = context::client(&loaded, &args.spec).await?;
    let cluster = client.cluster().await.map_err(context::unanswered)?;
    let from = cluster.leader.as_ref().map_or_else(|| "nobody".to_owned(), |leader| leader.node.to_string());
    let to = args.to.as_deref().unwrap_or("the best replica");
    confirm(args.yes, &format!("The primary is {from}. Hand over to {to}? [y/N]"))?;
    let epoch = cluster.state.map(|state| state.epoch);
    ask(format, &client, "/switchover", args.to.as_deref(), epoch).await
}

/// Asks the agents and shows what came of it.
pub(crate) async fn ask(
    format: Format,
    client: &Client,
    path: &str,
    node: Option<&str>,
    epoch: Option<u64>,
) -> Verb {
    let answer = client.ask(path, node, epoch, &who()).await.map_err(context::unanswered)?;
    if answer.done {
        output::result(format, &Done { done: true, text: answer.text });
        return Ok(Outcome::Good);
    }
    if format == Format::Json {
        output::result(format, &Done { done: false, text: answer.text.clone() });
    }
    Err(Failure::said(answer.text, "mainstay explain"))
}

/// Asks a question that y answers, unless told not to.
pub(crate) fn confirm(yes: bool, question: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    match output::ask(question) {
        Some(answer) if ["y", "yes"].contains(&answer.to_ascii_lowercase().as_str()) => Ok(()),
        Some(_) => Err(Failure::said("not confirmed; nothing was changed", "answer y to go on")),
        None => {
            Err(Failure::said("there is no terminal to ask on; nothing was changed", "give --yes to go on"))
        }
    }
}

/// Asks for a node's name to be typed.
pub(crate) fn confirm_name(question: &str, name: &str) -> Result<(), Failure> {
    match output::ask(question) {
        Some(answer) if answer == name => Ok(()),
        Some(_) => Err(Failure::said("not confirmed; nothing was changed", "type the node's name exactly")),
        None => {
            Err(Failure::said("there is no terminal to ask on; nothing was changed", "give --yes to go on"))
        }
    }
}

/// Who asks, for the history: `user@host`, and who they were before sudo.
fn who() -> String {
    let user = std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty());
    let user = user.unwrap_or_else(|| users::user_name(users::current_uid()));
    format!("{user}@{}", users::hostname())
}
