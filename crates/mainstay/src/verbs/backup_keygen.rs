//! `mainstay backup keygen`: an identity to open encrypted backups with.

use std::fmt;
use std::path::PathBuf;

use backup::seal::Identities;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use crate::cli::BackupKeygenArgs;
use crate::failure::{Outcome, Verb};
use crate::output::{self, Format};

/// What was made.
#[derive(Serialize)]
struct Made {
    recipient: String,
    identity_file: PathBuf,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.recipient)
    }
}

pub(crate) fn run(format: Format, args: &BackupKeygenArgs) -> Verb {
    let identity = Identities::generate();
    let recipient = identity.recipients().names().concat();
    let (now, text) = (Timestamp::now(), identity.text());
    let text = format!("# created: {now:.0}\n# public key: {recipient}\n{}", text.expose_secret());
    host::secrets::write_new_lines(&args.out, &SecretString::from(text))?;
    output::message(&format!(
        "{} opens what is encrypted to the recipient below: keep a copy of it, away from the backups",
        args.out.display()
    ));
    output::result(format, &Made { recipient, identity_file: args.out.clone() });
    Ok(Outcome::Good)
}
