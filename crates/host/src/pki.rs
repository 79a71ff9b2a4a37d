//! A private certificate authority, the certificates it signs, and what certificates on disk are.
//!
//! All keys are ECDSA P-256, all certificates X.509 version 3: MariaDB's and MySQL's own tools make version 1
//! ones, which newer clients refuse. The time is an input. Nothing is written to disk here, and when a
//! certificate is due for renewal is decided by planning.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use facts::{CertificateFacts, Seen};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData as _, date_time_ymd,
};
use secrecy::{ExposeSecret as _, SecretString};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::files;

/// A certificate is valid from so long before its making: clocks of clients may be behind.
pub const BACKDATED_SECONDS: i64 = 300;

/// Longest PEM file that is read.
const PEM_BYTES_MAX: usize = 256 << 10;

/// Most days a certificate may be valid: beyond, dates have no place in 32 bits of some clients.
const DAYS_MAX: u32 = 36_500;

/// Why a certificate could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The request asks for something no certificate can have.
    #[error("no certificate can be made with {what} `{value}`")]
    Request {
        /// Of which kind it is, such as `the name`.
        what: &'static str,
        /// The value.
        value: String,
    },
    /// The cryptography refused.
    #[error("cannot {operation}")]
    Crypto {
        /// What was attempted.
        operation: &'static str,
        /// The refusal.
        source: rcgen::Error,
    },
    /// The text is not a certificate.
    #[error("not a certificate: {why}")]
    NotACertificate {
        /// Why.
        why: String,
    },
}

impl PkiError {
    /// The next thing to do.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Request { .. } => "check the nodes' names and addresses and `days` under `[tls]`".to_owned(),
            Self::Crypto { .. } => {
                "check the CA with `openssl x509 -noout -text -in ca.pem` and `openssl pkey -check -in ca-key.pem`"
                    .to_owned()
            }
            Self::NotACertificate { .. } => {
                "look with `openssl x509 -noout -text -in FILE`; move it away to have a new one made".to_owned()
            }
        }
    }
}

/// A certificate and its private key, both as PEM.
#[derive(Clone, Debug)]
pub struct CertPair {
    /// The certificate.
    pub cert_pem: String,
    /// The private key, PKCS #8.
    pub key_pem: SecretString,
}

/// The authority's own certificate and key.
pub type CaPair = CertPair;

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// A server shows it to clients; it may also act as a client, as a replica does towards its primary.
    Server,
    /// A client shows it to servers.
    Client,
}

/// What certificate is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Subject common name.
    pub common_name: String,
    /// DNS names and addresses that clients may know the server by.
    pub names: Vec<String>,
    /// What it is for.
    pub usage: Usage,
    /// How many days from now it is valid.
    pub days: u32,
}

/// Makes an authority that can sign certificates and nothing below it can.
///
/// # Errors
/// The name or the number of days is out of range, or no key can be made.
pub fn create_ca(common_name: &str, days: u32, now: Timestamp) -> Result<CaPair, PkiError> {
    let mut params = params(common_name, days, now)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().map_err(|source| PkiError::Crypto { operation: "make a key", source })?;
    let cert = params
        .self_signed(&key)
        .map_err(|source| PkiError::Crypto { operation: "sign the authority's certificate", source })?;
    Ok(CertPair { cert_pem: cert.pem(), key_pem: SecretString::from(key.serialize_pem()) })
}

/// Makes a key and a certificate for it, signed by the authority.
///
/// # Errors
/// The request or the authority is not usable.
pub fn issue(
    ca_cert_pem: &str,
    ca_key_pem: &SecretString,
    request: &Request,
    now: Timestamp,
) -> Result<CertPair, PkiError> {
    let crypto = |operation| move |source| PkiError::Crypto { operation, source };
    let ca_key = KeyPair::from_pem(ca_key_pem.expose_secret()).map_err(crypto("read the authority's key"))?;
    let issuer =
        Issuer::from_ca_cert_pem(ca_cert_pem, ca_key).map_err(crypto("read the authority's certificate"))?;
    let mut params = params(&request.common_name, request.days, now)?;
    for name in &request.names {
        params.subject_alt_names.extend(
            CertificateParams::new(vec![name.clone()])
                .map_err(|_| PkiError::Request { what: "the name", value: name.clone() })?
                .subject_alt_names,
        );
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match request.usage {
        Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
    };
    let key = KeyPair::generate().map_err(crypto("make a key"))?;
    let cert = params.signed_by(&key, &issuer).map_err(crypto("sign the certificate"))?;
    Ok(CertPair { cert_pem: cert.pem(), key_pem: SecretString::from(key.serialize_pem()) })
}

fn params(common_name: &str, days: u32, now: Timestamp) -> Result<CertificateParams, PkiError> {
    // RFC 5280 limits a common name to 64 characters; longer ones are refused by some clients only.
    if common_name.is_empty() || common_name.chars().count() > 64 {
        return Err(PkiError::Request { what: "the common name", value: common_name.to_owned() });
    }
    if days == 0 || days > DAYS_MAX {
        return Err(PkiError::Request { what: "the number of days", value: days.to_string() });
    }
    let since_1970 = |seconds: i64| {
        let seconds = u64::try_from(seconds)
            .map_err(|_| PkiError::Request { what: "the time", value: now.to_string() })?;
        Ok(date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds))
    };
    let mut params = CertificateParams::default();
    params.not_before = since_1970(now.as_second() - BACKDATED_SECONDS)?;
    params.not_after = since_1970(now.as_second() + i64::from(days) * 86_400)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    Ok(params)
}

/// What the certificate at this path is, and whether the key and the authority beside it belong to it; absent
/// when there is none, unknown when a file cannot be read or is not a certificate.
#[must_use]
pub fn facts(cert_path: &Path, key_path: &Path, ca_path: &Path) -> Seen<CertificateFacts> {
    let read = |path: &Path| match files::read_text(path, PEM_BYTES_MAX) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(crate::reason(&error)),
    };
    let seen = || -> Result<Option<CertificateFacts>, String> {
        let Some(cert) = read(cert_path)? else { return Ok(None) };
        // The key's text must not outlive this call unguarded.
        let key = read(key_path)?.map(SecretString::from);
        let ca = read(ca_path)?;
        describe(&cert, key.as_ref(), ca.as_deref()).map(Some).map_err(|error| error.to_string())
    };
    match seen() {
        Ok(Some(facts)) => Seen::Known(facts),
        Ok(None) => Seen::Absent,
        Err(why) => Seen::Unknown(why),
    }
}

/// [`facts`] of texts. Without a key or an authority the certificate is not valid under it.
fn describe(
    cert_pem: &str,
    key_pem: Option<&SecretString>,
    ca_pem: Option<&str>,
) -> Result<CertificateFacts, PkiError> {
    let der = der_of(cert_pem)?;
    let cert = parse(&der)?;
    let key_matches = key_pem
        .and_then(|pem| KeyPair::from_pem(pem.expose_secret()).ok())
        .is_some_and(|key| key.subject_public_key_info() == cert.public_key().raw);
    let signed = ca_pem.and_then(|pem| der_of(pem).ok()).is_some_and(|der| {
        parse(&der).is_ok_and(|ca| {
            ca.is_ca()
                && cert.issuer() == ca.subject()
                && cert.verify_signature(Some(ca.public_key())).is_ok()
        })
    });
    Ok(CertificateFacts {
        not_before_epoch_seconds: cert.validity().not_before.timestamp(),
        not_after_epoch_seconds: cert.validity().not_after.timestamp(),
        common_name: common_name(&cert),
        names: names(&cert),
        version: cert.version().0.saturating_add(1),
        valid_under_ca: key_matches && signed,
    })
}

fn der_of(pem: &str) -> Result<Vec<u8>, PkiError> {
    let not = |why: String| PkiError::NotACertificate { why };
    let (_, pem) =
        x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|error| not(error.to_string()))?;
    if pem.label == "CERTIFICATE" { Ok(pem.contents) } else { Err(not(format!("it is a {}", pem.label))) }
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, PkiError> {
    let (_, cert) = X509Certificate::from_der(der)
        .map_err(|error| PkiError::NotACertificate { why: error.to_string() })?;
    Ok(cert)
}

fn common_name(cert: &X509Certificate<'_>) -> String {
    let name = cert.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    name.unwrap_or_default().to_owned()
}

fn names(cert: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = cert.subject_alternative_name() else { return Vec::new() };
    let text = |name: &GeneralName<'_>| {
        if let GeneralName::DNSName(name) = name {
            return Some((*name).to_owned());
        }
        let GeneralName::IPAddress(bytes) = name else { return None };
        let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
        let v6 = <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
        v4.or(v6).ok().map(|address| address.to_string())
    };
    extension.value.general_names.iter().filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Command, find_program};
    use crate::files::{Ownership, write_atomic};

    fn now() -> Timestamp {
        "2026-11-21T04:00:00Z".parse().unwrap()
    }

    fn request(usage: Usage) -> Request {
        let names = ["db1", "db1.example.org", "192.0.2.1", "2001:db8::1"].map(str::to_owned).to_vec();
        Request { common_name: "db1".into(), names, usage, days: 825 }
    }

    fn pair() -> (CaPair, CertPair) {
        let ca = create_ca("Mainstay CA of prod", 8250, now()).unwrap();
        let server = issue(&ca.cert_pem, &ca.key_pem, &request(Usage::Server), now()).unwrap();
        (ca, server)
    }

    #[test]
    fn what_is_issued_is_seen_again() {
        let (ca, server) = pair();
        let facts = describe(&server.cert_pem, Some(&server.key_pem), Some(&ca.cert_pem)).unwrap();
        let second = now().as_second();
        assert_eq!(
            facts,
            CertificateFacts {
                not_before_epoch_seconds: second - 300,
                not_after_epoch_seconds: second + 825 * 86_400,
                common_name: "db1".into(),
                names: request(Usage::Server).names,
                version: 3,
                valid_under_ca: true,
            }
        );
        let authority = describe(&ca.cert_pem, Some(&ca.key_pem), Some(&ca.cert_pem)).unwrap();
        assert_eq!(authority.version, 3);
        assert!(authority.valid_under_ca && authority.names.is_empty());
    }

    #[test]
    fn another_authority_or_key_is_not_valid() {
        let (ca, server) = pair();
        let (stranger, other) = pair();
        let valid = |key: Option<&SecretString>, ca: Option<&str>| {
            describe(&server.cert_pem, key, ca).unwrap().valid_under_ca
        };
        assert!(valid(Some(&server.key_pem), Some(&ca.cert_pem)));
        // The stranger has the same name: only the signature tells.
        assert!(!valid(Some(&server.key_pem), Some(&stranger.cert_pem)));
        assert!(!valid(Some(&other.key_pem), Some(&ca.cert_pem)));
        assert!(
            !valid(Some(&server.key_pem), Some(&server.cert_pem)),
            "a server's certificate is no authority"
        );
        assert!(!valid(None, Some(&ca.cert_pem)));
        assert!(!valid(Some(&server.key_pem), None));
        assert!(!valid(Some(&SecretString::from("garbage")), Some("garbage")));
    }

    #[test]
    fn requests_that_make_no_certificate_are_refused() {
        let (ca, _) = pair();
        let issue = |request: &Request| issue(&ca.cert_pem, &ca.key_pem, request, now());
        for bad in [
            Request { common_name: String::new(), ..request(Usage::Client) },
            Request { common_name: "x".repeat(65), ..request(Usage::Client) },
            Request { days: 0, ..request(Usage::Client) },
            Request { days: u32::MAX, ..request(Usage::Client) },
            Request { names: vec!["dätabase".into()], ..request(Usage::Client) },
        ] {
            assert!(matches!(issue(&bad), Err(PkiError::Request { .. })), "{bad:?}");
        }
        let error = super::issue("garbage", &ca.key_pem, &request(Usage::Client), now()).unwrap_err();
        assert_eq!(error.to_string(), "cannot read the authority's certificate");
        assert!(create_ca("CA", 1, "1960-01-01T00:00:00Z".parse().unwrap()).is_err());
    }

    #[test]
    fn files_that_are_missing_or_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let see = || facts(&path("cert.pem"), &path("key.pem"), &path("ca.pem"));
        assert!(see().is_absent());
        write_atomic(&path("cert.pem"), b"garbage", &Ownership::mode(0o644)).unwrap();
        assert!(matches!(see(), Seen::Unknown(why) if why.starts_with("not a certificate")));
        let (_, server) = pair();
        write_atomic(&path("cert.pem"), server.cert_pem.as_bytes(), &Ownership::mode(0o644)).unwrap();
        assert!(matches!(see(), Seen::Known(facts) if !facts.valid_under_ca));
        write_atomic(&path("cert.pem"), server.key_pem.expose_secret().as_bytes(), &Ownership::mode(0o600))
            .unwrap();
        assert!(matches!(see(), Seen::Unknown(why) if why.contains("PRIVATE KEY")));
    }

    #[tokio::test]
    async fn openssl_agrees() {
        if find_program("openssl").is_none() {
            println!("skipped: no openssl here");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let (ca, server) = pair();
        let client = issue(&ca.cert_pem, &ca.key_pem, &request(Usage::Client), now()).unwrap();
        for (name, text) in [
            ("ca.pem", ca.cert_pem.as_str()),
            ("server.pem", &server.cert_pem),
            ("client.pem", &client.cert_pem),
            ("key.pem", server.key_pem.expose_secret()),
        ] {
            write_atomic(&folder.path().join(name), text.as_bytes(), &Ownership::mode(0o600)).unwrap();
        }
        let at = now().as_second().to_string();
        let verify = |purpose: &str, file: &str| {
            Command::new("openssl")
                .args([
                    "verify",
                    "-x509_strict",
                    "-CAfile",
                    "ca.pem",
                    "-attime",
                    &at,
                    "-purpose",
                    purpose,
                    file,
                ])
                .folder(folder.path())
                .run()
        };
        verify("sslserver", "server.pem").await.unwrap();
        verify("sslclient", "server.pem").await.unwrap();
        verify("sslclient", "client.pem").await.unwrap();
        assert!(verify("sslserver", "client.pem").await.is_err(), "a client's certificate is no server's");
        let public = |words: &str| Command::new("openssl").args(words.split(' ')).folder(folder.path()).run();
        let of_key = public("pkey -pubout -in key.pem").await.unwrap();
        let of_cert = public("x509 -pubkey -noout -in server.pem").await.unwrap();
        assert_eq!(of_key.stdout, of_cert.stdout);
    }
}
