//! Finding the spec, and which of its nodes this host is.

use std::path::{Path, PathBuf};

use spec::{Node, Spec};

use crate::cli::SpecArgs;
use crate::failure::Failure;
use crate::output;

/// Where the spec is looked for when no file is named.
const PLACES: [&str; 2] = ["mainstay.toml", "/etc/mainstay/mainstay.toml"];

/// A spec and where it came from.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) spec: Spec,
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// Whether there is a spec to load.
pub(crate) fn is_there(args: &SpecArgs) -> bool {
    args.config.is_some() || PLACES.iter().any(|place| Path::new(place).exists())
}

/// Reads and checks the spec; its warnings go to standard error.
pub(crate) fn load(args: &SpecArgs) -> Result<Loaded, Failure> {
    let path = match &args.config {
        Some(path) => path.clone(),
        None => PLACES.iter().map(PathBuf::from).find(|path| path.exists()).ok_or_else(|| {
            Failure::said(
                "there is no mainstay.toml here nor in /etc/mainstay",
                "write one with `mainstay init`, or name it with --config",
            )
        })?,
    };
    let text = host::files::read_text(&path, spec::SPEC_BYTES_MAX)
        .map_err(|error| Failure::new(error, "write one with `mainstay init`, or name it with --config"))?;
    let (spec, warnings) = Spec::parse(&text, &path.to_string_lossy()).map_err(|errors| {
        Failure::said(
            format!("the spec is wrong\n{errors}"),
            "correct the lines shown; docs/spec.md lists every key",
        )
    })?;
    for warning in &warnings {
        output::message(&warning.to_string());
    }
    Ok(Loaded { spec, path, text })
}

/// The node this host is: the one named, else the only one, else the one with this host's name or address.
pub(crate) async fn this_node(loaded: &Loaded, args: &SpecArgs) -> Result<Node, Failure> {
    let spec = &loaded.spec;
    let names = || spec.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(name) = &args.node {
        return spec.node(name).cloned().ok_or_else(|| {
            Failure::said(format!("the spec has no node {name}"), format!("its nodes are {}", names()))
        });
    }
    if let [only] = spec.nodes.as_slice() {
        return Ok(only.clone());
    }
    let host = host::facts::collect().await?;
    let here: Vec<&Node> = spec
        .nodes
        .iter()
        .filter(|node| {
            node.name == host.hostname
                || (!node.address.is_loopback() && host.addresses.contains(&node.address))
        })
        .collect();
    match here.as_slice() {
        [node] => Ok((*node).clone()),
        _ => Err(Failure::said(
            format!("no single node of the spec has the name {} or an address of this host", host.hostname),
            format!("say which it is with --node: {}", names()),
        )),
    }
}

/// The node or witness this host is: the one named, else the witness with this host's name or address, else as
/// [`this_node`] finds it.
pub(crate) async fn this_member(loaded: &Loaded, args: &SpecArgs) -> Result<String, Failure> {
    if let Some(name) = &args.node {
        return Ok(name.clone());
    }
    let witnesses = loaded.spec.ha.as_ref().map_or(&[][..], |ha| &ha.witnesses);
    if !witnesses.is_empty() {
        let host = host::facts::collect().await?;
        let here = witnesses.iter().find(|witness| {
            witness.name == host.hostname
                || (!witness.address.is_loopback() && host.addresses.contains(&witness.address))
        });
        if let Some(witness) = here {
            return Ok(witness.name.clone());
        }
    }
    this_node(loaded, args).await.map(|node| node.name)
}

/// The cluster's agents. This host need not be one of the spec's.
pub(crate) async fn client(loaded: &Loaded, args: &SpecArgs) -> Result<agent::Client, Failure> {
    let name = match this_member(loaded, args).await {
        Ok(name) => name,
        // The name only says who is asked first.
        Err(failure) => loaded.spec.nodes.first().map(|node| node.name.clone()).ok_or(failure)?,
    };
    Ok(agent::Client::new(agent::Config::new(&loaded.spec, &name)?))
}

/// Says in words that no agent answers, and what to do about it.
pub(crate) fn unanswered(error: agent::AgentError) -> Failure {
    if let agent::AgentError::Peer { answered, .. } = &error {
        if *answered {
            return Failure::new(error, "mainstay explain");
        }
        return Failure::new(
            anyhow::Error::new(error).context("no agent of the cluster answers"),
            "see on its hosts whether `mainstay agent` runs, and what it logs",
        );
    }
    error.into()
}

/// A path as absolute, for messages and files that outlive this process's folder.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}
