//! `apply --all`'s two ends: handing a node its bundle over SSH, and `mainstay receive`, which takes it.

use std::io::Read;

use setup::{BUNDLE_BYTES_MAX, Bundle, Remote};
use spec::{Node, Spec};

use crate::cli::ReceiveArgs;
use crate::context::Loaded;
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};

/// Has another node apply: same binary, its bundle, its own plan.
pub(crate) async fn apply_there(loaded: &Loaded, node: &Node, format: Format, yes: bool) -> Verb {
    let remote = Remote::new(node);
    remote.ensure_binary().await?;
    remote.hand_over(&loaded.spec, &loaded.text, node).await?;
    match remote.apply(node, format == Format::Json, yes).await? {
        0 => Ok(Outcome::Good),
        2 => Ok(Outcome::Differs),
        code => Err(Failure::said(
            format!("apply on node {} ended with exit code {code}", node.name),
            format!("its own message is above; run `mainstay apply` on {} itself to go on", node.name),
        )),
    }
}

pub(crate) async fn run(args: &ReceiveArgs) -> Verb {
    let mut json = Vec::new();
    let limit = u64::try_from(BUNDLE_BYTES_MAX).unwrap_or(u64::MAX);
    std::io::stdin().lock().take(limit).read_to_end(&mut json)?;
    let bundle: Bundle = serde_json::from_slice(&json).map_err(|_| {
        Failure::said(
            "what came over standard input is no bundle",
            "run `mainstay apply --all` on the first node",
        )
    })?;
    let spec = spec_in(&bundle)?;
    if spec.node(&args.node).is_none() {
        return Err(Failure::said(
            format!("the bundle's spec has no node {}", args.node),
            "run `mainstay apply --all` again",
        ));
    }
    for path in bundle.unpack(&spec.service.user)? {
        output::message(&format!("wrote {}", path.display()));
    }
    Ok(Outcome::Good)
}

fn spec_in(bundle: &Bundle) -> Result<Spec, Failure> {
    let text = bundle
        .spec_text()
        .ok_or_else(|| Failure::said("the bundle holds no spec", "run `mainstay apply --all` again"))?;
    let (spec, _) = Spec::parse(text, "the bundle's spec")
        .map_err(|errors| Failure::said(errors.to_string(), "run the same version on both nodes"))?;
    Ok(spec)
}
