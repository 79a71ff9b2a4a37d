//! Which login is used for what: the administrator over the socket, the monitor account over TLS.

use std::path::Path;

use host::secrets;
use server::{OptionFile, Target, Tls};
use spec::{Node, Spec};

use crate::error::SetupError;

/// The login apply uses on the node it runs on.
///
/// # Errors
/// When the option file named in the spec cannot be used.
pub fn admin_target(spec: &Spec, node: &Node) -> Result<Target, SetupError> {
    match &spec.accounts.admin_defaults_file {
        None => Ok(Target::socket(&node.socket, &spec.accounts.admin_user)),
        Some(path) => {
            let file = OptionFile::read(path)
                .map_err(|source| SetupError::OptionFile { path: path.clone(), source })?;
            Ok(file.into_target(&spec.accounts.admin_user, &node.socket))
        }
    }
}

/// The monitor account over TCP, verified under the cluster's CA.
///
/// # Errors
/// When the account's secret file cannot be used.
pub fn monitor_target(spec: &Spec, node: &Node) -> Result<Target, SetupError> {
    let password = secrets::read(&spec.paths.secrets.join("mainstay_monitor"))?;
    let tls = match &spec.tls {
        Some(tls) => Tls::Verify { ca: Some(tls.dir.join("ca.pem")), server_name: None, client_cert: None },
        None => Tls::Off,
    };
    Ok(Target::tcp(node.address.to_string(), node.port, "mainstay_monitor")
        .with_password(password)
        .with_tls(tls))
}

/// The login `status` uses: the socket where it is this host's, the monitor account elsewhere.
///
/// # Errors
/// As [`admin_target`] and [`monitor_target`].
pub fn node_target(spec: &Spec, node: &Node, here: bool) -> Result<Target, SetupError> {
    // A socket of that name on this host is another node's when the node is elsewhere.
    let is_here = (here || node.address.is_loopback()) && Path::exists(&node.socket);
    if is_here { admin_target(spec, node) } else { monitor_target(spec, node) }
}
