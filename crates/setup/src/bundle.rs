//! What another node of the cluster needs before it can apply: the spec, the shared secrets, its certificates.
//!
//! A bundle travels over the standard input of an SSH connection, never in arguments or temporary files. It is
//! not encrypted by itself and is never written to disk as a whole.

use std::path::{Path, PathBuf};

use facts::Seen;
use host::files::{self, Ownership};
use host::{pki, secrets, users};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use spec::{Node, Spec, Tls};

use crate::error::SetupError;

/// A bundle of some 30 small files.
pub const BUNDLE_BYTES_MAX: usize = 4 << 20;
/// A certificate or key.
const PEM_BYTES_MAX: usize = 64 << 10;
const DAY_SECONDS: i64 = 86_400;

/// The files another node needs.
#[derive(Serialize, Deserialize)]
pub struct Bundle {
    files: Vec<File>,
}

#[derive(Serialize, Deserialize)]
struct File {
    path: PathBuf,
    mode: u32,
    /// Whether the server must be able to read it: it is then owned by the service's user.
    for_server: bool,
    content: String,
}

impl Bundle {
    /// Collects what `node` needs. `spec_path` is where the spec goes there.
    ///
    /// # Errors
    /// When a secret or the CA cannot be read, or a certificate cannot be made.
    pub fn collect(spec: &Spec, spec_text: &str, spec_path: &Path, node: &Node) -> Result<Self, SetupError> {
        let file = |path: &Path, mode, content: &str| File {
            path: path.to_path_buf(),
            mode,
            for_server: false,
            content: content.to_owned(),
        };
        let mut all = vec![file(spec_path, 0o644, spec_text)];
        for path in shared_secrets(spec) {
            let secret = secrets::read(&path)?;
            all.push(file(&path, 0o600, &format!("{}\n", secret.expose_secret())));
        }
        if let Some(tls) = &spec.tls {
            let ca = files::read_text(&tls.dir.join("ca.pem"), PEM_BYTES_MAX)?;
            all.push(file(&tls.dir.join("ca.pem"), 0o644, &ca));
            for (stem, usage) in [("server", pki::Usage::Server), ("client", pki::Usage::Client)] {
                let (cert, key) = certificate_of(spec, tls, node, stem, usage, &ca)?;
                let mut key = file(&tls.dir.join(format!("{stem}-key.pem")), 0o600, key.expose_secret());
                key.for_server = stem == "server";
                all.push(key);
                all.push(file(&tls.dir.join(format!("{stem}-cert.pem")), 0o644, &cert));
            }
        }
        Ok(Self { files: all })
    }

    /// The bundle as JSON. It holds secrets.
    #[must_use]
    pub fn to_secret_json(&self) -> SecretString {
        SecretString::from(serde_json::to_string(self).unwrap_or_default())
    }

    /// The spec's text; it is always the first file.
    #[must_use]
    pub fn spec_text(&self) -> Option<&str> {
        self.files.first().map(|file| file.content.as_str())
    }

    /// Writes the files that differ from what is here; returns their paths.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn unpack(&self, service_user: &str) -> Result<Vec<PathBuf>, SetupError> {
        let mut written = Vec::new();
        for file in &self.files {
            let same =
                files::read_text(&file.path, BUNDLE_BYTES_MAX).is_ok_and(|present| present == file.content);
            if same {
                continue;
            }
            if let Some(folder) = file.path.parent() {
                let mode = if file.mode == 0o600 && !file.for_server { 0o700 } else { 0o755 };
                if !folder.exists() {
                    files::ensure_dir(folder, &Ownership::mode(mode))?;
                }
            }
            // The server's package, and its user with it, may not be there yet: apply mends the owner then.
            let owner = match users::user(service_user) {
                Ok(Some(user)) if file.for_server && users::is_root() => Some(user.name),
                _ => None,
            };
            files::write_atomic(
                &file.path,
                file.content.as_bytes(),
                &Ownership { mode: file.mode, owner, group: None },
            )?;
            written.push(file.path.clone());
        }
        Ok(written)
    }
}

/// Secrets every node shares: all accounts' passwords, since accounts replicate, and CloudStack's keys.
fn shared_secrets(spec: &Spec) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(&spec.paths.secrets) else { return Vec::new() };
    let mut paths: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file()).collect();
    paths.sort();
    paths
}

/// The certificate of another node, made once and kept in this node's state folder until it must be renewed.
fn certificate_of(
    spec: &Spec,
    tls: &Tls,
    node: &Node,
    stem: &str,
    usage: pki::Usage,
    ca: &str,
) -> Result<(String, SecretString), SetupError> {
    let folder = spec.paths.state.join("nodes").join(&node.name);
    let [cert, key] = ["cert", "key"].map(|part| folder.join(format!("{stem}-{part}.pem")));
    let now = jiff::Timestamp::now();
    let names = if stem == "server" { plan::server_names(spec, node, "") } else { Vec::new() };
    let good = match pki::facts(&cert, &key, &tls.dir.join("ca.pem")) {
        Seen::Known(facts) => {
            let days = (facts.not_after_epoch_seconds - now.as_second()) / DAY_SECONDS;
            facts.valid_under_ca
                && days >= i64::from(tls.renew_before_days)
                && names.iter().all(|name| facts.names.contains(name))
        }
        Seen::Unknown(_) | Seen::Absent => false,
    };
    if !good {
        let ca_key = SecretString::from(files::read_text(&tls.dir.join("ca-key.pem"), PEM_BYTES_MAX)?);
        let request = pki::Request { common_name: node.name.clone(), names, usage, days: tls.days };
        let pair = pki::issue(ca, &ca_key, &request, now)?;
        files::ensure_dir(&folder, &Ownership::mode(0o700))?;
        files::write_atomic(&key, pair.key_pem.expose_secret().as_bytes(), &Ownership::mode(0o600))?;
        files::write_atomic(&cert, pair.cert_pem.as_bytes(), &Ownership::mode(0o644))?;
    }
    Ok((files::read_text(&cert, PEM_BYTES_MAX)?, SecretString::from(files::read_text(&key, PEM_BYTES_MAX)?)))
}
