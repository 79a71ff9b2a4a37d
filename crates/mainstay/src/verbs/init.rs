//! `mainstay init`: a commented spec from what is found on the host. It never overwrites one.

use host::files::{self, Ownership};
use spec::Cloud;

use crate::cli::{CloudArg, InitArgs};
use crate::context::absolute;
use crate::failure::{Failure, Outcome, Verb};
use crate::output;

pub(crate) async fn run(args: &InitArgs) -> Verb {
    let found = setup::find_host().await?;
    let text = spec::template(cloud(args.cloud), &found);
    if args.stdout {
        output::text(&text);
        return Ok(Outcome::Good);
    }
    let path = absolute(&args.config);
    if path.exists() {
        return Err(Failure::said(
            format!("{} is there already", path.display()),
            "edit it, or name another file with --config; `mainstay init --stdout` prints a fresh one",
        ));
    }
    files::write_atomic(&path, text.as_bytes(), &Ownership::mode(0o644))?;
    output::text(&format!(
        "Wrote {}.\nRead it through, set the networks your clients are in, then run:\n  mainstay plan --config {}",
        path.display(),
        path.display()
    ));
    Ok(Outcome::Good)
}

pub(crate) const fn cloud(arg: CloudArg) -> Cloud {
    match arg {
        CloudArg::Cloudstack => Cloud::Cloudstack,
        CloudArg::Openstack => Cloud::Openstack,
        CloudArg::None => Cloud::None,
    }
}
