//! Certificates: which must be made or renewed, and whether the server must read them again.
//!
//! The CA lives on the first node of the spec (where `apply --all` runs); other nodes get their certificates
//! from there and never hold the CA's key.

use facts::{CertificateFacts, Seen, ServerFacts};
use spec::{Node, Spec, Tls};

use crate::observation::{Observation, TlsFiles};
use crate::step::{Action, CertificateKind, Change, Finding, Risk, Severity, Step};

const DAY_SECONDS: i64 = 86_400;

/// Steps and findings for certificates, and whether the server's certificate is (re)made by them.
pub(crate) struct TlsSteps {
    pub(crate) steps: Vec<Step>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) server_certificate_changes: bool,
}

pub(crate) fn tls_steps(spec: &Spec, node: &Node, observation: &Observation) -> TlsSteps {
    let mut out = TlsSteps { steps: Vec::new(), findings: Vec::new(), server_certificate_changes: false };
    let (Some(tls), Some(files)) = (&spec.tls, &observation.state.tls) else { return out };
    let now = observation.taken_at.as_second();
    let ca_is_new = match certificate_authority(spec, node, tls, files, now) {
        Ca::Good => false,
        Ca::Create(step) => {
            out.steps.push(*step);
            true
        }
        Ca::Missing(finding) => {
            out.findings.push(finding);
            return out;
        }
    };
    let hostname = &observation.state.host.hostname;
    let names = server_names(spec, node, hostname);
    for (kind, seen, names) in [
        (CertificateKind::Server, &files.server, names),
        (CertificateKind::Client, &files.client, Vec::new()),
    ] {
        // The host's own name is a courtesy where the certificate is made here; a certificate that came from the
        // first node cannot have it, and is none the worse.
        let needed = if names.is_empty() { Vec::new() } else { server_names(spec, node, "") };
        let Some(why) = why_issue(seen, ca_is_new, tls, &needed, now) else { continue };
        if !ca_is_new && files.ca_key.known().is_none() {
            out.findings.push(no_ca_key(kind, &why));
            continue;
        }
        out.server_certificate_changes |= kind == CertificateKind::Server;
        out.steps.push(issue(spec, node, tls, kind, names, seen, why));
    }
    out.steps.extend(own_key(spec, tls, files, observation, &out));
    out
}

/// A key that came from the first node before the server's package, and its user with it, was there.
fn own_key(
    spec: &Spec,
    tls: &Tls,
    files: &TlsFiles,
    observation: &Observation,
    out: &TlsSteps,
) -> Option<Step> {
    let owner = &spec.service.user;
    let found = files.server_key.known()?;
    if !observation.state.run_as_root || out.server_certificate_changes || found.owner == *owner {
        return None;
    }
    let path = tls.dir.join("server-key.pem");
    Some(Step {
        id: "tls/key-owner".to_owned(),
        title: format!("give {} to {owner}", path.display()),
        reason: "the server could not read it".to_owned(),
        source: None,
        risk: Risk::None,
        restarts: false,
        changes: vec![Change {
            what: "owner".to_owned(),
            found: Some(found.owner.clone()),
            wanted: Some(owner.clone()),
            why: String::new(),
        }],
        action: Action::OwnKey { path, owner: owner.clone() },
    })
}

/// Names a server certificate is for: however a client may name this node.
#[must_use]
pub fn server_names(spec: &Spec, node: &Node, hostname: &str) -> Vec<String> {
    let mut names = vec![node.address.to_string(), node.name.clone()];
    let local = [hostname, "localhost", "127.0.0.1", "::1"].map(str::to_owned);
    for name in local.into_iter().chain(spec.shared_names()) {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

enum Ca {
    Good,
    Create(Box<Step>),
    Missing(Finding),
}

fn certificate_authority(spec: &Spec, node: &Node, tls: &Tls, files: &TlsFiles, now: i64) -> Ca {
    let signs = spec.nodes.first().is_some_and(|first| first.name == node.name);
    let why = match &files.ca {
        Seen::Known(ca) if days_left(ca, now) < i64::from(tls.days) && signs => {
            format!("the CA has {} days left, less than a certificate's life", days_left(ca, now))
        }
        Seen::Known(_) => return Ca::Good,
        Seen::Absent if signs => "there is no CA yet".to_owned(),
        Seen::Absent => {
            let first = spec.nodes.first().map_or("", |first| first.name.as_str());
            return Ca::Missing(Finding {
                id: "tls/ca".to_owned(),
                severity: Severity::Blocks,
                sentence: format!(
                    "{} is not here, and node {first} holds the CA",
                    tls.dir.join("ca.pem").display()
                ),
                fix: format!("run `mainstay apply --all` on node {first}"),
            });
        }
        Seen::Unknown(why) => {
            return Ca::Missing(Finding {
                id: "tls/ca".to_owned(),
                severity: Severity::Blocks,
                sentence: format!("{} cannot be used: {why}", tls.dir.join("ca.pem").display()),
                fix: "move it and its key away to have a new CA made, or mend it".to_owned(),
            });
        }
    };
    let life = tls.days.saturating_mul(10);
    Ca::Create(Box::new(Step {
        id: "tls/ca".to_owned(),
        title: format!("create the cluster's CA in {}", tls.dir.display()),
        reason: why,
        source: None,
        risk: Risk::None,
        restarts: false,
        changes: vec![Change {
            what: "ca.pem".to_owned(),
            found: files.ca.known().map(|ca| format!("{} days left", days_left(ca, now))),
            wanted: Some(format!("valid for {life} days")),
            why: String::new(),
        }],
        action: Action::CreateCa {
            dir: tls.dir.clone(),
            common_name: format!("Mainstay CA of {}", spec.cluster.name),
            days: life,
        },
    }))
}

fn why_issue(
    seen: &Seen<CertificateFacts>,
    ca_is_new: bool,
    tls: &Tls,
    names: &[String],
    now: i64,
) -> Option<String> {
    match seen {
        Seen::Absent => Some("there is none yet".to_owned()),
        Seen::Unknown(why) => Some(format!("the one there cannot be used: {why}")),
        Seen::Known(_) if ca_is_new => Some("the CA that signs it is new".to_owned()),
        Seen::Known(certificate) if !certificate.valid_under_ca => {
            Some("the one there is not signed by the cluster's CA, or its key does not match".to_owned())
        }
        Seen::Known(certificate) if days_left(certificate, now) < i64::from(tls.renew_before_days) => {
            Some(format!("the one there has {} days left", days_left(certificate, now)))
        }
        Seen::Known(certificate) => {
            let missing: Vec<&str> =
                names.iter().filter(|name| !certificate.names.contains(name)).map(String::as_str).collect();
            (!missing.is_empty()).then(|| format!("the one there does not name {}", missing.join(", ")))
        }
    }
}

fn no_ca_key(kind: CertificateKind, why: &str) -> Finding {
    let which = match kind {
        CertificateKind::Server => "server",
        CertificateKind::Client => "client",
    };
    Finding {
        id: format!("tls/{which}"),
        severity: Severity::Blocks,
        sentence: format!(
            "the {which} certificate must be made ({why}), and the CA's key is not on this node"
        ),
        fix: "run `mainstay apply --all` on the first node of the spec".to_owned(),
    }
}

fn issue(
    spec: &Spec,
    node: &Node,
    tls: &Tls,
    kind: CertificateKind,
    names: Vec<String>,
    seen: &Seen<CertificateFacts>,
    why: String,
) -> Step {
    let (which, owner) = match kind {
        CertificateKind::Server => ("server", spec.service.user.clone()),
        CertificateKind::Client => ("client", String::new()),
    };
    Step {
        id: format!("tls/{which}"),
        title: format!("issue the {which} certificate of {}", node.name),
        reason: why,
        source: None,
        risk: Risk::None,
        restarts: false,
        changes: vec![Change {
            what: format!("{which}-cert.pem"),
            found: seen.known().map(|certificate| certificate.names.join(", ")),
            wanted: Some(if names.is_empty() {
                format!("valid for {} days", tls.days)
            } else {
                names.join(", ")
            }),
            why: String::new(),
        }],
        action: Action::IssueCertificate {
            dir: tls.dir.clone(),
            kind,
            common_name: match kind {
                CertificateKind::Server => node.name.clone(),
                CertificateKind::Client => format!("mainstay of {}", spec.cluster.name),
            },
            names,
            days: tls.days,
            owner,
        },
    }
}

/// A step that has the running server read its certificate again, when the one it has loaded is not the file's.
pub(crate) fn reload(
    observation: &Observation,
    server: &ServerFacts,
    certificate_changes: bool,
) -> Option<Step> {
    let files = observation.state.tls.as_ref()?;
    let loaded = server.tls.not_after.known().and_then(|text| openssl_time(text));
    let on_disk = files.server.known().map(|certificate| certificate.not_after_epoch_seconds);
    let stale = matches!((loaded, on_disk), (Some(loaded), Some(on_disk)) if loaded != on_disk);
    (certificate_changes || files.unread || stale).then(|| Step {
        id: "tls/reload".to_owned(),
        title: "have the server read its certificates again".to_owned(),
        reason: "the certificate on disk is newer than the one in use".to_owned(),
        source: None,
        risk: Risk::None,
        restarts: false,
        changes: Vec::new(),
        action: Action::ReloadTls,
    })
}

/// OpenSSL's `Nov 21 04:34:43 2028 GMT` as seconds since 1970.
#[must_use]
pub fn openssl_time(text: &str) -> Option<i64> {
    let civil = jiff::fmt::strtime::parse("%b %e %H:%M:%S %Y GMT", text.trim()).ok()?.to_datetime().ok()?;
    Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

fn days_left(certificate: &CertificateFacts, now: i64) -> i64 {
    (certificate.not_after_epoch_seconds - now) / DAY_SECONDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openssl_times_parse() {
        assert_eq!(openssl_time("Nov 21 04:34:43 2028 GMT"), Some(1_858_394_083));
        assert_eq!(openssl_time("Jan  1 00:00:00 2030 GMT"), Some(1_893_456_000));
        assert_eq!(openssl_time("soon"), None);
    }
}
