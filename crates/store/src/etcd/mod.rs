//! The store in an etcd cluster: its settings, and what each call of the contract is in etcd's terms.
//!
//! Which endpoint is asked, and when another one is, is decided in `endpoints`; what an answer means, in `answers`.

mod answers;
mod endpoints;
mod watch;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{
    Certificate, Client, CompareOp, ConnectOptions, GetOptions, Identity, ResponseHeader, TlsOptions, Txn,
    TxnOp, WatchOptions,
};
use secrecy::{ExposeSecret as _, SecretString};

use self::answers::is_stale_token;
use self::endpoints::Endpoints;
pub(crate) use self::watch::EtcdWatch;
use crate::StoreError;
use crate::model::{
    Committed, Compare, Entry, SNAPSHOT_BYTES_MAX, SNAPSHOT_KEYS_MAX, Snapshot, Write, check_key, limit,
};

/// Longest wait for a TCP connection. A request has time for another endpoint after it.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// When an idle connection is probed, so that those of lost members end.
const TCP_KEEPALIVE: Duration = Duration::from_secs(10);
/// Longest answer: the largest snapshot, with the prefix and some bytes around each key.
const ANSWER_BYTES_MAX: usize = SNAPSHOT_BYTES_MAX + SNAPSHOT_KEYS_MAX * 300;

/// How to reach the etcd cluster.
#[derive(Clone, Debug)]
pub struct EtcdOptions {
    /// URLs of its members, `http://` or `https://`, not mixed. One is enough to work, all of them to survive.
    pub endpoints: Vec<String>,
    /// What all keys begin with, such as `/mainstay/`. A `/` is added at its end if there is none.
    pub prefix: String,
    /// Who to authenticate as, if etcd's authentication is on.
    pub user: Option<EtcdUser>,
    /// TLS, needed for `https://`.
    pub tls: Option<EtcdTls>,
}

/// A user of etcd, who needs a role with `readwrite` on the prefix and no more.
#[derive(Clone, Debug)]
pub struct EtcdUser {
    /// The name.
    pub name: String,
    /// The password.
    pub password: SecretString,
}

/// Whom to trust, and who to be.
#[derive(Clone, Debug)]
pub struct EtcdTls {
    /// The certificate authority of the members' certificates, in PEM. The host's own list is not used.
    pub ca_pem: String,
    /// The client certificate, if the members ask for one.
    pub identity: Option<EtcdIdentity>,
}

/// A client certificate with its key.
#[derive(Clone, Debug)]
pub struct EtcdIdentity {
    /// The certificate, with intermediate ones after it, in PEM.
    pub certificate_pem: String,
    /// Its private key, in PEM.
    pub key_pem: SecretString,
}

/// The etcd backend. Clones share the connections.
#[derive(Clone, Debug)]
pub(crate) struct Etcd {
    endpoints: Arc<Endpoints>,
    prefix: Arc<str>,
}

impl Etcd {
    pub(crate) fn new(options: EtcdOptions) -> Result<Self, StoreError> {
        check_endpoints(&options.endpoints, options.tls.is_some())?;
        let prefix = checked_prefix(options.prefix)?;
        let mut connect = ConnectOptions::new()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_tcp_keepalive(TCP_KEEPALIVE)
            .with_keep_alive_while_idle(false)
            // A member that has lost its cluster says so at once instead of waiting for it.
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some(user) = options.user {
            connect = connect.with_user(user.name, user.password.expose_secret());
        }
        if let Some(tls) = options.tls {
            let mut settings = TlsOptions::new().ca_certificate(Certificate::from_pem(tls.ca_pem));
            if let Some(EtcdIdentity { certificate_pem, key_pem }) = tls.identity {
                settings = settings.identity(Identity::from_pem(certificate_pem, key_pem.expose_secret()));
            }
            connect = connect.with_tls(settings);
        }
        Ok(Self { endpoints: Endpoints::new(&options.endpoints, connect), prefix: prefix.into() })
    }

    pub(crate) async fn snapshot(&self, timeout: Duration) -> Result<Snapshot, StoreError> {
        let read = |client: Client| {
            let mut kv = client.kv_client().max_decoding_message_size(ANSWER_BYTES_MAX);
            let limit = i64::try_from(SNAPSHOT_KEYS_MAX + 1).unwrap_or(i64::MAX);
            let options = GetOptions::new().with_prefix().with_limit(limit);
            let prefix = self.prefix.as_bytes().to_vec();
            async move { kv.get(prefix, Some(options)).await }
        };
        let mut response = self.endpoints.read(timeout, read).await?;
        let revision = revision_of(response.header())?;
        let mut entries = BTreeMap::new();
        for pair in response.take_kvs() {
            let (created, modified) = (unsigned(pair.create_revision())?, unsigned(pair.mod_revision())?);
            let (key, value) = pair.into_key_value();
            // What has no key of ours was put there by someone else, and must not stop the cluster.
            let key = key.strip_prefix(self.prefix.as_bytes()).and_then(|key| std::str::from_utf8(key).ok());
            let Some(key) = key.filter(|key| check_key(key).is_ok()) else { continue };
            entries.insert(key.to_owned(), Entry { value, created, modified });
        }
        limit(
            "the number of keys in the store",
            usize::try_from(response.count()).unwrap_or(usize::MAX),
            SNAPSHOT_KEYS_MAX,
        )?;
        Ok(Snapshot { revision, entries })
    }

    pub(crate) async fn commit(
        &self,
        compares: &[Compare],
        writes: &[Write],
        timeout: Duration,
    ) -> Result<Committed, StoreError> {
        let compares: Vec<_> = compares.iter().map(|compare| self.compared(compare)).collect();
        let operations: Vec<_> = writes.iter().map(|write| self.written(write)).collect();
        let transaction = Txn::new().when(compares).and_then(operations);
        let call = |mut client: Client| {
            let transaction = transaction.clone();
            async move { client.txn(transaction).await }
        };
        let response = if writes.is_empty() {
            self.endpoints.read(timeout, call).await?
        } else {
            self.endpoints.write(timeout, |client| self.probe(client), call).await?
        };
        if !response.succeeded() {
            return Ok(Committed::Conflict);
        }
        // It is done; an answer without its revision is no answer.
        let revision = revision_of(response.header())
            .map_err(|error| StoreError::Unknown { reason: error.to_string() })?;
        Ok(Committed::Done { revision })
    }

    /// The smallest linearizable read, which only a member in touch with its leader answers.
    fn probe(&self, mut client: Client) -> impl Future<Output = Result<(), etcd_client::Error>> + use<> {
        let options = GetOptions::new().with_prefix().with_keys_only().with_limit(1);
        let prefix = self.prefix.as_bytes().to_vec();
        async move { client.get(prefix, Some(options)).await.map(drop) }
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn compared(&self, compare: &Compare) -> etcd_client::Compare {
        // etcd counts in i64; what does not fit is no key's revision.
        let revision = i64::try_from(compare.revision()).unwrap_or(i64::MAX);
        etcd_client::Compare::mod_revision(self.key(compare.key()), CompareOp::Equal, revision)
    }

    fn written(&self, write: &Write) -> TxnOp {
        match write {
            Write::Put(key, value) => TxnOp::put(self.key(key), value.clone(), None),
            Write::Delete(key) => TxnOp::delete(self.key(key), None),
        }
    }

    pub(crate) async fn watch(&self, from_revision: u64, timeout: Duration) -> Result<EtcdWatch, StoreError> {
        let next = i64::try_from(from_revision.saturating_add(1)).unwrap_or(i64::MAX);
        let begin = |mut client: Client| {
            let prefix = self.prefix.as_bytes().to_vec();
            async move {
                let options = || WatchOptions::new().with_prefix().with_fragment().with_start_revision(next);
                let mut stream = client.watch(prefix.clone(), Some(options())).await?;
                let mut first = stream.message().await?;
                if first
                    .as_ref()
                    .is_some_and(|first| first.canceled() && is_stale_token(first.cancel_reason()))
                {
                    // A stream takes its token along when it begins; etcd says only here that it is too old.
                    client.refresh_token().await?;
                    stream = client.watch(prefix, Some(options())).await?;
                    first = stream.message().await?;
                }
                let first =
                    first.ok_or_else(|| etcd_client::Error::WatchError("it ended at once".to_owned()))?;
                Ok((stream, first))
            }
        };
        let (stream, first) = self.endpoints.read(timeout, begin).await?;
        watch::refuse_cancelled(&first)?;
        Ok(EtcdWatch::new(stream, from_revision, timeout))
    }

    pub(crate) async fn compact(&self, keep_from: u64, timeout: Duration) -> Result<(), StoreError> {
        let Ok(revision @ 1..) = i64::try_from(keep_from) else { return Ok(()) };
        let compact = |mut client: Client| async move {
            match client.compact(revision, None).await {
                Err(etcd_client::Error::GRpcStatus(status))
                    if status.message().contains("has been compacted") =>
                {
                    Ok(())
                }
                other => other.map(drop),
            }
        };
        self.endpoints.read(timeout, compact).await
    }
}

fn revision_of(header: Option<&ResponseHeader>) -> Result<u64, StoreError> {
    let header =
        header.ok_or_else(|| StoreError::Corrupt { reason: "etcd's answer has no header".to_owned() })?;
    unsigned(header.revision())
}

fn unsigned(revision: i64) -> Result<u64, StoreError> {
    u64::try_from(revision)
        .map_err(|_| StoreError::Corrupt { reason: format!("etcd's revision is {revision}") })
}

fn check_endpoints(endpoints: &[String], has_tls: bool) -> Result<(), StoreError> {
    let refuse = |reason: String| Err(StoreError::Config { reason });
    if endpoints.is_empty() {
        return refuse("there is no endpoint".to_owned());
    }
    for url in endpoints {
        let (authority, is_https) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(authority), _) => (authority, true),
            (None, Some(authority)) => (authority, false),
            (None, None) => return refuse(format!("`{url}` begins neither with https:// nor with http://")),
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        if authority.is_empty() || !authority.bytes().all(is_allowed) {
            return refuse(format!("`{url}` is not a scheme, a host and a port"));
        }
        if is_https && !has_tls {
            return refuse(format!("`{url}` needs a certificate authority"));
        }
        if !is_https && has_tls {
            return refuse(format!("`{url}` does not use TLS, but there are settings for it"));
        }
    }
    Ok(())
}

fn checked_prefix(mut prefix: String) -> Result<String, StoreError> {
    if check_key(&prefix).is_err() {
        return Err(StoreError::Config { reason: format!("`{prefix}` is no prefix for keys") });
    }
    if !prefix.ends_with('/') {
        prefix.push('/');
    }
    Ok(prefix)
}
