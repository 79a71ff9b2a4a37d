//! `mainstay explain`: what every agent last decided, and why it does not do more.

use std::fmt;

use agent::{AgentError, Explained};
use serde::Serialize;

use crate::cli::ExplainArgs;
use crate::context;
use crate::failure::{Outcome, Verb};
use crate::output::{self, Format};

#[derive(Debug, Serialize)]
struct Explanations {
    hosts: Vec<Host>,
}

#[derive(Debug, Serialize)]
struct Host {
    host: String,
    #[serde(flatten)]
    explained: Option<Explained>,
    /// Why its agent does not say.
    error: Option<String>,
}

impl Host {
    fn new(host: String, answer: Result<Explained, AgentError>) -> Self {
        match answer {
            Ok(explained) => Self { host, explained: Some(explained), error: None },
            Err(error) => Self { host, explained: None, error: Some(error.to_string()) },
        }
    }

    fn is_good(&self) -> bool {
        self.explained.as_ref().is_some_and(|it| {
            it.vetoes.is_empty() && it.unsafe_settings.is_empty() && it.store_error.is_none()
        })
    }
}

impl fmt::Display for Explanations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Host { host, explained, error } in &self.hosts {
            if let Some(error) = error {
                writeln!(f, "{host}: no answer: {error}")?;
            }
            let Some(explained) = explained else { continue };
            writeln!(f, "{host}: {}", explained.sentence)?;
            for veto in &explained.vetoes {
                writeln!(f, "  against more: {veto}")?;
            }
            for setting in &explained.unsafe_settings {
                writeln!(f, "  unsafe: {setting}")?;
            }
            if let Some(error) = &explained.store_error {
                writeln!(f, "  the store does not answer: {error}")?;
            }
        }
        Ok(())
    }
}

pub(crate) async fn run(format: Format, args: &ExplainArgs) -> Verb {
    let loaded = context::load(&args.spec)?;
    let client = context::client(&loaded, &args.spec).await?;
    let answers = client.explain().await;
    let hosts: Vec<Host> = answers.into_iter().map(|(name, answer)| Host::new(name.0, answer)).collect();
    let explanations = Explanations { hosts };
    output::result(format, &explanations);
    let is_good = explanations.hosts.iter().all(Host::is_good);
    Ok(if is_good { Outcome::Good } else { Outcome::Differs })
}
