//! A new copy of the data from another node: cloned by MySQL itself, streamed by mariadb-backup between agents.
//!
//! What only this node has is saved before anything is replaced, and the old data goes only when the copy is there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use flavor::{GtidSet, Vendor};
use futures_util::{StreamExt as _, TryStreamExt as _};
use ha::{Health, NodeName, StartRole};
use host::command::Command;
use host::files::{self, Ownership};
use tokio::io::AsyncWriteExt as _;
use tokio_util::io::{ReaderStream, StreamReader};

use crate::config::Config;
use crate::database::Database;
use crate::error::AgentError;
use crate::http::Api;
use crate::node::{Node, target};
use crate::process::Process;
use crate::swap::Places;

/// A copy may take this long.
const LIMIT: Duration = Duration::from_secs(24 * 3_600);
/// After a copy that failed.
const PAUSE: Duration = Duration::from_secs(3);
/// A server on copied data may take this long to answer.
const START_LIMIT: Duration = Duration::from_secs(600);
/// At most this much of the newest binlogs is saved.
const SAVED_BYTES_MAX: u64 = 2 << 30;
/// Header in which the donor tells the history of its binlog.
const HISTORY_HEADER: &str = "x-mainstay-binlog-state";

/// Files of mariadb-backup with the position of the copy: the newer name first.
const POSITION_FILES: [&str; 2] = ["mariadb_backup_binlog_info", "xtrabackup_binlog_info"];

impl Node {
    /// Begins a copy in the background.
    pub(crate) async fn reseed(&mut self, donor: &NodeName) -> Result<(), AgentError> {
        let Some(node) = self.config.node.clone() else { return Ok(()) };
        if self.holding.is_some() {
            return Err(AgentError::Refused(
                "this node holds the lease: its data is the cluster's".to_owned(),
            ));
        }
        let vendor = self.config.spec.cluster.server;
        if vendor == Vendor::MySql && self.sight.report.health != Health::Running {
            // It is started again, and again, until a person looks or it does.
            self.sight.starts_anew();
            return Err(AgentError::Refused(
                "MySQL clones into a server that runs, and this one does not".to_owned(),
            ));
        }
        // From here on the data is nobody's proof of anything.
        self.record.change(|kept| {
            kept.opened = None;
            kept.follows = None;
            kept.incarnation += 1;
        })?;
        self.sight.report.incarnation = self.record.kept().incarnation;
        let saved = save_binlogs(&self.config, &node, self.executed()).await?;
        tracing::warn!(%donor, saved = %saved.display(), "taking a new copy of the data");
        *self.work.lock().await = Some(format!("taking a copy of {donor}"));
        let (config, work, wake) = (self.config.clone(), self.work.clone(), self.wake.clone());
        let donor = donor.clone();
        tokio::spawn(async move {
            let copied = match vendor {
                Vendor::MySql => clone(&config, &node, &donor).await,
                Vendor::MariaDb => stream(&config, &node, &donor).await,
            };
            if let Err(error) = copied {
                tracing::error!(%donor, %error, "the copy failed; trying again soon");
                *work.lock().await = Some(format!("waiting after a copy of {donor} failed: {error}"));
                tokio::time::sleep(PAUSE).await;
            }
            *work.lock().await = None;
            wake.notify_one();
        });
        Ok(())
    }
}

async fn clone(config: &Config, node: &spec::Node, donor: &NodeName) -> Result<(), AgentError> {
    let mut database = Database::new(target(config, node));
    database.clone_from(config, donor, LIMIT).await?;
    // The server ends to begin on the copy; who supervises it starts it.
    let process = Process::new(&config.spec, node).await?;
    let deadline = tokio::time::Instant::now() + START_LIMIT;
    while process.running().await?.is_some() {
        if tokio::time::Instant::now() > deadline {
            return Err(AgentError::Refused("the server did not end after it was cloned into".to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Fetches a backup beside the data, makes it ready, then puts it in the data's place.
async fn stream(config: &Arc<Config>, node: &spec::Node, donor: &NodeName) -> Result<(), AgentError> {
    let process = Process::new(&config.spec, node).await?;
    let log = config.state_file("reseed.log");
    let places = Places::of(&node.data_dir);
    let fresh = places.fresh.clone();
    remove_folder(&fresh).await?;
    let owner = process.data_owner().map(str::to_owned);
    files::ensure_dir(&fresh, &Ownership { mode: 0o750, owner: owner.clone(), group: None })?;
    let history = fetch(config, donor, &fresh, &log).await?;
    let prepare =
        Command::new("mariadb-backup").arg("--prepare").arg(format!("--target-dir={}", fresh.display()));
    prepare.timeout(LIMIT).run().await?;
    let mut position = read_position(&fresh)?;
    position.extend(&history);
    if let Some(owner) = &owner {
        let chown = Command::new("chown").args(["-R", owner.as_str()]).arg(&fresh);
        chown.timeout(Duration::from_secs(600)).run().await?;
    }
    process.kill().await?;
    remove_folder(&places.old).await?;
    let swapping = places.clone();
    let swapped = tokio::task::spawn_blocking(move || swapping.swap()).await;
    swapped.map_err(|error| AgentError::Refused(format!("putting the copy in place ended: {error}")))??;
    process.start(StartRole::Keep).await?;
    let mut database = Database::new(target(config, node));
    let deadline = tokio::time::Instant::now() + START_LIMIT;
    while let Err(error) = database.look().await {
        database.forget();
        if tokio::time::Instant::now() > deadline {
            return Err(error.into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    database.adopt_history(&position).await?;
    remove_folder(&places.old).await
}

/// Streams the donor's backup into a folder. Answers with the donor's history before the backup.
async fn fetch(config: &Config, donor: &NodeName, into: &Path, log: &Path) -> Result<GtidSet, AgentError> {
    let response = crate::peers::call::<()>(config, donor, "/seed", None, None).await?;
    let peer = |reason: String| AgentError::Peer { node: donor.0.clone(), reason, answered: false };
    let history =
        response.headers().get(HISTORY_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let history = GtidSet::parse(history).map_err(|error| peer(error.to_string()))?;
    let command = Command::new("mbstream").arg("-x").arg("-C").arg(into);
    let (mut sink, streaming) = command.stream_in(log)?;
    let body = response.bytes_stream().map_err(|error| std::io::Error::other(error.without_url()));
    let mut body = StreamReader::new(body);
    tokio::io::copy(&mut body, &mut sink)
        .await
        .map_err(|error| peer(format!("the copy broke off: {error}")))?;
    sink.shutdown().await.map_err(AgentError::system("unpacking the copy"))?;
    drop(sink);
    streaming.finish().await?;
    Ok(history)
}

/// `GET /seed`: this node's data as a stream of mariadb-backup. A backup that fails ends the stream in an error, never
/// in a good end.
pub(crate) async fn seed(State(api): State<Api>) -> Response {
    match start_backup(&api.config).await {
        Ok((history, body)) => ([(HISTORY_HEADER, history)], body).into_response(),
        Err(error) => {
            let reason = serde_json::json!({ "error": error.to_string() });
            (axum::http::StatusCode::SERVICE_UNAVAILABLE, axum::Json(reason)).into_response()
        }
    }
}

async fn start_backup(config: &Config) -> Result<(String, Body), AgentError> {
    let node = config.node.as_ref().ok_or_else(|| AgentError::Refused("a witness has no data".to_owned()))?;
    if config.spec.cluster.server != Vendor::MariaDb {
        return Err(AgentError::Refused("MySQL is cloned from, not streamed".to_owned()));
    }
    let history = Database::new(target(config, node)).history_for_copy().await?.to_string();
    let scratch = config.state_file("seed");
    files::ensure_dir(&scratch, &Ownership::mode(0o700))?;
    let command = Command::new("mariadb-backup")
        .args(["--no-defaults", "--backup", "--stream=xbstream"])
        .arg(format!("--socket={}", node.socket.display()))
        .arg(format!("--user={}", config.spec.accounts.admin_user))
        .arg(format!("--datadir={}", node.data_dir.display()))
        .arg(format!("--target-dir={}", scratch.display()));
    let (stdout, streaming) = command.stream_out(&config.state_file("seed.log"))?;
    let end = futures_util::stream::once(async move {
        match streaming.finish().await {
            Ok(()) => Ok(axum::body::Bytes::new()),
            Err(error) => Err(std::io::Error::other(error)),
        }
    });
    Ok((history, Body::from_stream(ReaderStream::new(stdout).chain(end))))
}

/// The position that mariadb-backup noted: file, offset and GTIDs, separated by blanks.
fn read_position(folder: &Path) -> Result<GtidSet, AgentError> {
    let mut missing = None;
    for name in POSITION_FILES {
        match files::read_text(&folder.join(name), 64 << 10) {
            Ok(text) => {
                let gtids = text.split_whitespace().nth(2).unwrap_or_default();
                return GtidSet::parse(gtids).map_err(|error| AgentError::Refused(error.to_string()));
            }
            Err(error) => missing = Some(error),
        }
    }
    match missing {
        Some(error) => Err(error.into()),
        None => Ok(GtidSet::default()),
    }
}

async fn remove_folder(folder: &Path) -> Result<(), AgentError> {
    match tokio::fs::remove_dir_all(folder).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(AgentError::system(format!("removing {}", folder.display()))(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Copies the newest binlogs aside, with a note of what this node held.
async fn save_binlogs(config: &Config, node: &spec::Node, executed: &GtidSet) -> Result<PathBuf, AgentError> {
    let stamp = jiff::Timestamp::now().as_second();
    let folder = config.spec.paths.state.join("saved").join(format!("{}-{stamp}", config.me));
    files::ensure_dir(&config.spec.paths.state.join("saved"), &Ownership::mode(0o700))?;
    files::ensure_dir(&folder, &Ownership::mode(0o700))?;
    let note = format!("{executed}\n");
    files::write_atomic(&folder.join("executed-gtids.txt"), note.as_bytes(), &Ownership::mode(0o600))?;
    let mut database = Database::new(target(config, node));
    let index = match database.binlog_index().await {
        Ok(Some(index)) => Some(index),
        Ok(None) | Err(_) => find_index(&node.data_dir),
    };
    let Some(index) = index else { return Ok(folder) };
    let base = index.parent().unwrap_or(&node.data_dir).to_owned();
    let Ok(text) = files::read_text(&index, 1 << 20) else { return Ok(folder) };
    let mut size = 0;
    for name in text.lines().rev() {
        let path = base.join(name.trim());
        let Ok(metadata) = tokio::fs::metadata(&path).await else { continue };
        size += metadata.len();
        if size > SAVED_BYTES_MAX {
            break;
        }
        let Some(file) = path.file_name() else { continue };
        tokio::fs::copy(&path, folder.join(file)).await.map_err(AgentError::system("saving binlogs"))?;
    }
    Ok(folder)
}

/// The index of the binlogs in a data directory whose server does not answer.
fn find_index(data_dir: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(data_dir).ok()?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.find(|path| {
        path.extension().is_some_and(|extension| extension == "index")
            && path.file_name().is_some_and(|name| !name.to_string_lossy().contains("relay"))
    })
}
