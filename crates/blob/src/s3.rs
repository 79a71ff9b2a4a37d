//! A part of an S3-compatible bucket as a place: small objects in one request, large ones in parts, all retried.
//!
//! It makes no bucket. Parts of an upload that was cut off by a kill stay invisible in the store until its lifecycle
//! rule removes them.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum};
use object_store::path::Path;
use object_store::{
    BackoffConfig, Certificate, ClientOptions, GetOptions, GetRange, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, RetryConfig,
};
use secrecy::ExposeSecret as _;
use tokio::task::JoinSet;

use crate::address::{Credentials, S3Address};
use crate::error::{BlobError, reason};
use crate::place::{Entry, Written};

/// Bytes of a part: all but the last have the same, as some stores demand.
const PART_BYTES: usize = 8 << 20;
/// Parts on their way at once.
const PARTS_AT_ONCE: usize = 2;
/// Parts that stores take.
const PARTS_MAX: usize = 10_000;

#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    store: Arc<AmazonS3>,
    prefix: String,
    shown: String,
}

impl Bucket {
    pub(crate) fn open(
        at: &S3Address,
        credentials: Option<&Credentials>,
        shown: &str,
    ) -> Result<Self, BlobError> {
        let bad = |problem: String| BlobError::BadAddress { address: shown.to_owned(), problem };
        // Only Amazon's own machines have a role to log in with.
        if credentials.is_none() && at.store.endpoint.is_some() {
            let problem =
                "none are named, neither in a file nor in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
            return Err(BlobError::BadCredentials { problem });
        }
        // The client ends the process where there is no provider of TLS, even for a store without TLS. An error only
        // says that another thread was faster.
        if rustls::crypto::CryptoProvider::get_default().is_none()
            && rustls::crypto::aws_lc_rs::default_provider().install_default().is_err()
        {
            tracing::debug!("a TLS provider was installed in the meantime");
        }
        let patience = at.store.patience;
        let mut client = ClientOptions::new()
            .with_timeout_disabled()
            .with_connect_timeout(patience.connect)
            .with_read_timeout(patience.silence);
        if let Some(pem) = &at.store.ca_pem {
            for certificate in Certificate::from_pem_bundle(pem).map_err(|error| bad(error.to_string()))? {
                client = client.with_root_certificate(certificate);
            }
        }
        let is_plain = at.store.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&at.bucket)
            .with_region(&at.store.region)
            .with_virtual_hosted_style_request(!at.store.is_path_style)
            .with_checksum_algorithm(Checksum::SHA256)
            .with_client_options(client.with_allow_http(is_plain))
            .with_allow_http(is_plain)
            .with_retry(RetryConfig {
                backoff: BackoffConfig::default(),
                max_retries: patience.retries,
                retry_timeout: patience.retrying,
            });
        if let Some(endpoint) = &at.store.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(credentials) = credentials {
            builder = builder
                .with_access_key_id(credentials.access_key.expose_secret())
                .with_secret_access_key(credentials.secret_key.expose_secret());
            if let Some(token) = &credentials.token {
                builder = builder.with_token(token.expose_secret());
            }
        }
        let store = builder.build().map_err(|error| bad(reason(&error)))?;
        Ok(Self { store: Arc::new(store), prefix: at.prefix.clone(), shown: shown.to_owned() })
    }

    fn path(&self, name: &str) -> Result<Path, BlobError> {
        let whole = match (self.prefix.as_str(), name) {
            ("", name) | (name, "") => name.to_owned(),
            (prefix, name) => format!("{prefix}/{name}"),
        };
        let problem = "the store's client refuses it";
        Path::parse(whole).map_err(|_| BlobError::BadName { name: name.to_owned(), problem })
    }

    fn failed(&self, operation: &'static str, name: &str, error: &object_store::Error) -> BlobError {
        let name = if name.is_empty() { "objects" } else { name }.to_owned();
        let place = self.shown.clone();
        if matches!(error, object_store::Error::NotFound { .. }) && operation != "write" {
            return BlobError::NotFound { name, place };
        }
        BlobError::Store { operation, name, place, reason: reason(error) }
    }

    pub(crate) fn put(&self, name: &str) -> Upload {
        Upload {
            bucket: self.clone(),
            name: name.to_owned(),
            held: BytesMut::new(),
            parts: 0,
            upload: None,
            sending: JoinSet::new(),
        }
    }

    /// Makes a small object unless something has the name already. Whether it was made.
    pub(crate) async fn create(
        &self,
        name: &str,
        content: Bytes,
        written: &Written,
    ) -> Result<bool, BlobError> {
        let path = self.path(name)?;
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&path, PutPayload::from_bytes(content), options).await {
            Ok(_) => self.see(name, written).await.map(|()| true),
            // The answer to a first try may have been lost: then it is there, byte for byte.
            Err(object_store::Error::AlreadyExists { .. }) => Ok(self.reads_back(name, written).await),
            Err(error) => Err(self.failed("write", name, &error)),
        }
    }

    pub(crate) async fn get(
        &self,
        name: &str,
        range: Option<Range<u64>>,
    ) -> Result<(Source, u64), BlobError> {
        let path = self.path(name)?;
        let expected = range.as_ref().map(|range| range.end.saturating_sub(range.start));
        if expected == Some(0) {
            return Ok((Source { stream: futures_util::stream::empty().boxed() }, 0));
        }
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let got = self.store.get_opts(&path, options).await;
        let got = got.map_err(|error| self.failed("read", name, &error))?;
        let bytes = expected.unwrap_or(got.meta.size);
        Ok((Source { stream: got.into_stream() }, bytes))
    }

    pub(crate) async fn list(&self, prefix: &str, limit: usize) -> Result<Vec<Entry>, BlobError> {
        let path = self.path(prefix)?;
        let mut stream = self.store.list(Some(&path).filter(|path| !path.as_ref().is_empty()));
        let mut entries = Vec::new();
        while let Some(meta) = stream.try_next().await.map_err(|error| self.failed("list", prefix, &error))? {
            if entries.len() == limit {
                let (prefix, place) = (prefix.to_owned(), self.shown.clone());
                return Err(BlobError::TooMany { prefix, place, limit });
            }
            entries.extend(self.entry(&meta));
        }
        Ok(entries)
    }

    pub(crate) async fn folders(&self, prefix: &str) -> Result<Vec<String>, BlobError> {
        let path = self.path(prefix)?;
        let listed =
            self.store.list_with_delimiter(Some(&path).filter(|path| !path.as_ref().is_empty())).await;
        let listed = listed.map_err(|error| self.failed("list", prefix, &error))?;
        let names = listed.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_owned));
        Ok(names.filter(|name| !name.starts_with('.')).collect())
    }

    pub(crate) async fn stat(&self, name: &str) -> Result<Option<Entry>, BlobError> {
        match self.store.head(&self.path(name)?).await {
            Ok(meta) => Ok(self.entry(&meta)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("look at", name, &error)),
        }
    }

    pub(crate) async fn delete(&self, name: &str) -> Result<(), BlobError> {
        match self.store.delete(&self.path(name)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("remove", name, &error)),
        }
    }

    /// A store that said yes and has no such object, or another size, is not believed.
    async fn see(&self, name: &str, written: &Written) -> Result<(), BlobError> {
        let different = |problem: String| BlobError::Different {
            name: name.to_owned(),
            place: self.shown.clone(),
            problem,
        };
        match self.stat(name).await? {
            None => Err(different("the store took it, and has no such object".to_owned())),
            Some(entry) if entry.bytes != written.bytes => {
                Err(different(format!("the store has {} bytes of {}", entry.bytes, written.bytes)))
            }
            Some(_) => Ok(()),
        }
    }

    async fn reads_back(&self, name: &str, written: &Written) -> bool {
        let place = crate::place::Place::of_bucket(self.clone(), self.shown.clone());
        place.verify(name, written).await.is_ok()
    }

    /// An object as it is named here; none for what is outside of the prefix.
    fn entry(&self, meta: &ObjectMeta) -> Option<Entry> {
        let name = meta.location.as_ref();
        let name =
            if self.prefix.is_empty() { name } else { name.strip_prefix(&self.prefix)?.strip_prefix('/')? };
        Some(Entry {
            name: name.to_owned(),
            bytes: meta.size,
            modified_seconds: meta.last_modified.timestamp(),
        })
    }
}

/// An object on its way.
#[derive(Debug)]
pub(crate) struct Upload {
    bucket: Bucket,
    name: String,
    held: BytesMut,
    parts: usize,
    /// Begun with the first whole part.
    upload: Option<Box<dyn MultipartUpload>>,
    sending: JoinSet<object_store::Result<()>>,
}

impl Upload {
    pub(crate) async fn write(&mut self, mut chunk: Bytes) -> Result<(), BlobError> {
        while self.held.len() + chunk.len() > PART_BYTES {
            let room = PART_BYTES.saturating_sub(self.held.len());
            self.held.extend_from_slice(&chunk.split_to(room.min(chunk.len())));
            let part = self.held.split().freeze();
            self.send(part).await?;
        }
        self.held.extend_from_slice(&chunk);
        Ok(())
    }

    async fn send(&mut self, part: Bytes) -> Result<(), BlobError> {
        if self.parts == PARTS_MAX {
            let limit_bytes = u64::try_from(PARTS_MAX * PART_BYTES).unwrap_or(u64::MAX);
            let (name, place) = (self.name.clone(), self.bucket.shown.clone());
            return Err(BlobError::TooLarge { name, place, limit_bytes });
        }
        if self.upload.is_none() {
            let path = self.bucket.path(&self.name)?;
            let begun = self.bucket.store.put_multipart(&path).await;
            self.upload = Some(begun.map_err(|error| self.failed(&error))?);
        }
        self.wait(PARTS_AT_ONCE - 1).await?;
        if let Some(upload) = &mut self.upload {
            self.sending.spawn(upload.put_part(PutPayload::from_bytes(part)));
            self.parts += 1;
        }
        Ok(())
    }

    /// Waits until so many parts or fewer are on their way.
    async fn wait(&mut self, most: usize) -> Result<(), BlobError> {
        while self.sending.len() > most {
            match self.sending.join_next().await {
                Some(Ok(Ok(()))) | None => {}
                Some(Ok(Err(error))) => return Err(self.failed(&error)),
                Some(Err(error)) => {
                    return Err(BlobError::Store {
                        operation: "write",
                        name: self.name.clone(),
                        place: self.bucket.shown.clone(),
                        reason: error.to_string(),
                    });
                }
            }
        }
        Ok(())
    }

    fn failed(&self, error: &object_store::Error) -> BlobError {
        self.bucket.failed("write", &self.name, error)
    }

    pub(crate) async fn finish(mut self, written: &Written) -> Result<(), BlobError> {
        let held = self.held.split().freeze();
        if self.upload.is_none() {
            let path = self.bucket.path(&self.name)?;
            let put = self.bucket.store.put(&path, PutPayload::from_bytes(held)).await;
            put.map_err(|error| self.failed(&error))?;
            return self.bucket.see(&self.name, written).await;
        }
        if !held.is_empty() {
            self.send(held).await?;
        }
        self.wait(0).await?;
        let completed = match &mut self.upload {
            Some(upload) => upload.complete().await,
            None => return Ok(()),
        };
        match completed {
            Ok(_) => {
                self.upload = None;
                self.bucket.see(&self.name, written).await
            }
            // The answer may have been lost on its way after the object was made: then it is there, byte for byte.
            Err(error) => {
                let failure = self.failed(&error);
                let (bucket, name) = (&self.bucket, &self.name);
                if bucket.see(name, written).await.is_ok() && bucket.reads_back(name, written).await {
                    self.upload = None;
                    return Ok(());
                }
                Err(failure)
            }
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(mut upload) = self.upload.take() else { return };
        self.sending.abort_all();
        // Parts without an object cost money; what cannot be told now, the store's lifecycle rule cleans up.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let name = self.name.clone();
        runtime.spawn(async move {
            if let Err(error) = upload.abort().await {
                let error = reason(&error);
                tracing::debug!(name, error, "the parts of an abandoned upload stay behind");
            }
        });
    }
}

/// An object's bytes as they come.
pub(crate) struct Source {
    stream: BoxStream<'static, object_store::Result<Bytes>>,
}

impl Source {
    pub(crate) async fn next(&mut self, name: &str, place: &str) -> Result<Option<Bytes>, BlobError> {
        self.stream.try_next().await.map_err(|error| BlobError::Store {
            operation: "read",
            name: name.to_owned(),
            place: place.to_owned(),
            reason: reason(&error),
        })
    }
}
