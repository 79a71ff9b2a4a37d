//! Another node, over OpenSSH: the same binary there, its bundle, and its apply.
//!
//! OpenSSH's own configuration decides keys, known hosts and jump hosts. Nothing secret is in an argument.

use std::path::Path;
use std::time::Duration;

use host::command::Command;
use host::files;
use spec::{Node, Spec};

use crate::bundle::Bundle;
use crate::error::SetupError;

/// Where the binary goes on other nodes.
const BINARY: &str = "/usr/local/bin/mainstay";
/// Where the spec goes on other nodes.
pub(crate) const SPEC_PATH: &str = "/etc/mainstay/mainstay.toml";
/// A binary of some 50 MB over a slow link.
const COPY_LIMIT: Duration = Duration::from_secs(600);
const ASK_LIMIT: Duration = Duration::from_secs(60);
/// A whole apply: package, schema, restart.
const APPLY_LIMIT: Duration = Duration::from_secs(3600);
/// This binary may grow; past this something is wrong.
const BINARY_BYTES_MAX: usize = 512 << 20;

/// A node reached over SSH.
pub struct Remote {
    words: Vec<String>,
    name: String,
}

impl Remote {
    /// The node's `ssh` of the spec, else root at its address.
    #[must_use]
    pub fn new(node: &Node) -> Self {
        let place = node.ssh.clone().unwrap_or_else(|| format!("root@{}", node.address));
        let mut words: Vec<String> =
            ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"].map(str::to_owned).to_vec();
        // `user@host:port`, where the host may be an IPv6 address in brackets.
        match place.rsplit_once(':') {
            Some((host, port))
                if port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']')) =>
            {
                words.extend(["-p".to_owned(), port.to_owned(), host.replace(['[', ']'], "")]);
            }
            Some(_) | None => words.push(place.replace(['[', ']'], "")),
        }
        words.push("--".to_owned());
        Self { words, name: node.name.clone() }
    }

    fn command(&self, remote: &str) -> Result<Command, SetupError> {
        let command = Command::from_words(&self.words)
            .ok_or_else(|| SetupError::refused("no ssh command", "please report this"))?;
        Ok(command.arg(remote))
    }

    /// Has the node run this very binary.
    ///
    /// # Errors
    /// When the node cannot be reached or the binary not be copied.
    pub async fn ensure_binary(&self) -> Result<(), SetupError> {
        let me = std::env::current_exe().map_err(|error| {
            SetupError::refused(
                format!("this program's own path is not known: {error}"),
                "run it by its full path",
            )
        })?;
        let binary = files::read_bounded(&me, BINARY_BYTES_MAX)?;
        let ours = files::sha256_hex(&binary);
        let asked = self
            .command(&format!("sha256sum {BINARY} 2>/dev/null || true"))?
            .timeout(ASK_LIMIT)
            .run()
            .await?;
        if asked.stdout_text().starts_with(&ours) {
            return Ok(());
        }
        tracing::info!(node = self.name, "copying this binary");
        let install =
            format!("umask 022 && cat > {BINARY}.new && chmod 0755 {BINARY}.new && mv {BINARY}.new {BINARY}");
        self.command(&install)?.stdin(binary).timeout(COPY_LIMIT).run().await?;
        Ok(())
    }

    /// Hands over the node's bundle.
    ///
    /// # Errors
    /// When it cannot be collected here or taken over there.
    pub async fn hand_over(&self, spec: &Spec, spec_text: &str, node: &Node) -> Result<(), SetupError> {
        let bundle = Bundle::collect(spec, spec_text, Path::new(SPEC_PATH), node)?;
        let receive = format!("{BINARY} receive --node {}", node.name);
        self.command(&receive)?.secret_stdin(bundle.to_secret_json()).timeout(COPY_LIMIT).run().await?;
        Ok(())
    }

    /// Runs apply there, on this terminal; returns its exit code.
    ///
    /// # Errors
    /// When the node cannot be reached.
    pub async fn apply(&self, node: &Node, json: bool, yes: bool) -> Result<i32, SetupError> {
        let mut remote = format!("{BINARY} apply --config {SPEC_PATH} --node {}", node.name);
        if json {
            remote.push_str(" --json");
        }
        if yes {
            remote.push_str(" --yes");
        }
        let status = self.command(&remote)?.timeout(APPLY_LIMIT).run_on_terminal().await?;
        Ok(status.code().unwrap_or(1))
    }
}
