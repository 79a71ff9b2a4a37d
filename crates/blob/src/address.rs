//! Where a place is, and the credentials it wants: from text to checked values. Opens nothing.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::error::BlobError;
use crate::name;

/// What stores without regions take as well.
const BEST_KNOWN_REGION: &str = "us-east-1";

/// Where a place is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A part of a bucket of an S3-compatible store.
    S3(S3Address),
}

/// A part of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Address {
    /// Bucket.
    pub bucket: String,
    /// What all names begin with, without slashes at its ends; empty for none.
    pub prefix: String,
    /// What is known of the store beside its bucket.
    pub store: S3Store,
}

/// What is to be known of a store beside its bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Store {
    /// Base URL; none for Amazon's own of the region.
    pub endpoint: Option<String>,
    /// Region.
    pub region: String,
    /// Whether the bucket is in the path, and not in the host name.
    pub is_path_style: bool,
    /// PEM certificates of authorities to trust beside the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// How long it may take.
    pub patience: Patience,
}

impl Default for S3Store {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: BEST_KNOWN_REGION.to_owned(),
            is_path_style: false,
            ca_pem: None,
            patience: Patience::default(),
        }
    }
}

/// How long a store may take, and how often it is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Connecting.
    pub connect: Duration,
    /// Silence while a request is under way.
    pub silence: Duration,
    /// Tries after the first one.
    pub retries: usize,
    /// All tries of a request together.
    pub retrying: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            silence: Duration::from_secs(60),
            retries: 8,
            retrying: Duration::from_secs(180),
        }
    }
}

impl Address {
    /// Reads `/a/folder`, `file:///a/folder` or `s3://bucket/prefix`. `store` says the rest of the latter.
    ///
    /// # Errors
    /// For anything else, relative folders included.
    pub fn parse(text: &str, store: &S3Store) -> Result<Self, BlobError> {
        let bad = |problem: &str| BlobError::BadAddress { address: shown(text), problem: problem.to_owned() };
        if let Some(rest) = text.strip_prefix("s3://") {
            if rest.contains(['@', '?', '#']) {
                return Err(bad("expected s3://BUCKET/PREFIX; credentials are read from a file"));
            }
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let is_label = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(is_label) {
                return Err(bad("a bucket's name has 3 to 63 letters, digits, dots and dashes"));
            }
            let prefix = prefix.trim_end_matches('/');
            if let Err(BlobError::BadName { problem, .. }) = name::check_prefix(prefix) {
                return Err(bad(problem));
            }
            if let Some(endpoint) = &store.endpoint {
                check_endpoint(endpoint)?;
            }
            let (bucket, prefix) = (bucket.to_owned(), prefix.to_owned());
            return Ok(Self::S3(S3Address { bucket, prefix, store: store.clone() }));
        }
        let path = text.strip_prefix("file://").unwrap_or(text);
        if path.contains("://") {
            return Err(bad("expected a folder, or s3://BUCKET/PREFIX"));
        }
        if !path.starts_with('/') || path.contains('\0') {
            return Err(bad("a folder is named by its absolute path"));
        }
        Ok(Self::Folder(PathBuf::from(path)))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::S3(S3Address { bucket, prefix, .. }) if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3(S3Address { bucket, prefix, .. }) => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

/// What is before an `@` may be a password.
fn shown(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, after)) => format!("...@{after}"),
        None => text.escape_debug().to_string(),
    }
}

fn check_endpoint(endpoint: &str) -> Result<(), BlobError> {
    let bad = |problem: String| BlobError::BadAddress { address: shown(endpoint), problem };
    let url = Url::parse(endpoint).map_err(|error| bad(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(bad("an endpoint is http://HOST[:PORT] or https://HOST[:PORT]".to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("credentials are read from a file, not from the endpoint".to_owned()));
    }
    Ok(())
}

/// What a store is logged in to with.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The key's name.
    pub access_key: SecretString,
    /// The key.
    pub secret_key: SecretString,
    /// Of a session; none for a key that lasts.
    pub token: Option<SecretString>,
}

impl Credentials {
    /// Reads `aws_access_key_id = ...` and `aws_secret_access_key = ...`, one a line, as Amazon's own tools keep
    /// them. Sections other than `[default]` are passed over.
    ///
    /// # Errors
    /// If one of the two is missing.
    pub fn parse(text: &str) -> Result<Self, BlobError> {
        let (mut access, mut secret, mut token) = (None, None, None);
        let mut is_ours = true;
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                is_ours = line == "[default]";
            }
            let Some((key, value)) = line.split_once('=').filter(|_| is_ours && !line.starts_with('#'))
            else {
                continue;
            };
            let value = SecretString::from(value.trim());
            match key.trim().to_ascii_lowercase().as_str() {
                "aws_access_key_id" => access = Some(value),
                "aws_secret_access_key" => secret = Some(value),
                "aws_session_token" => token = Some(value),
                _ => {}
            }
        }
        let problem = "aws_access_key_id or aws_secret_access_key is missing in [default]";
        let bad = || BlobError::BadCredentials { problem };
        Ok(Self { access_key: access.ok_or_else(bad)?, secret_key: secret.ok_or_else(bad)?, token })
    }

    /// What `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` say; none when they say nothing.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        let variable =
            |name| std::env::var(name).ok().filter(|value| !value.is_empty()).map(SecretString::from);
        Some(Self {
            access_key: variable("AWS_ACCESS_KEY_ID")?,
            secret_key: variable("AWS_SECRET_ACCESS_KEY")?,
            token: variable("AWS_SESSION_TOKEN"),
        })
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn addresses_are_read_and_shown() {
        let store = S3Store::default();
        for (text, shown) in [
            ("/srv/backup", "/srv/backup"),
            ("file:///srv/backup", "/srv/backup"),
            ("s3://bucket", "s3://bucket"),
            ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ] {
            assert_eq!(Address::parse(text, &store).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn other_addresses_are_refused_without_their_password() {
        let store = S3Store::default();
        for text in [
            "",
            "backup",
            "../x",
            "ftp://x/y",
            "s3://a",
            "s3://",
            "s3://buc ket",
            "s3://b/../c",
            "s3://bucket/a?x=1",
        ] {
            assert!(Address::parse(text, &store).is_err(), "{text}");
        }
        let error = Address::parse("s3://key:hunter2@bucket/x", &store).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        for endpoint in ["minio:9000", "ftp://x", "http://key:hunter2@x"] {
            let store = S3Store { endpoint: Some(endpoint.to_owned()), ..S3Store::default() };
            let error = Address::parse("s3://bucket", &store).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn credentials_are_read_as_amazon_keeps_them() {
        let text = "[other]\naws_access_key_id = no\n[default]\n# a comment = x\naws_access_key_id = AK\n\
                    aws_secret_access_key=a=b/c\n";
        let credentials = Credentials::parse(text).unwrap();
        assert_eq!(credentials.access_key.expose_secret(), "AK");
        assert_eq!(credentials.secret_key.expose_secret(), "a=b/c");
        assert!(credentials.token.is_none());
        assert!(!format!("{credentials:?}").contains("a=b/c"));
        assert!(Credentials::parse("aws_access_key_id = x").is_err());
    }
}
