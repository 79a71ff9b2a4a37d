//! One run: a cluster, a client, faults one after the other, and what came of each.
//!
//! Numbers are put together in `report`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use flavor::Vendor;

use crate::acks::{Ack, longest_gap_us, split_at, writes_by_replaced};
use crate::check::missing_after_catch_up;
use crate::client::Client;
use crate::cluster::{Cluster, Kind, Parts};
use crate::disk;
use crate::fault::{Effect, Fault};
use crate::group::Trees;
use crate::hosts::{Network, remove_folder, run_folder_name};
use crate::mainstay::Endpoint;
use crate::node::{Node, POLL};

/// A fault is healed after this long, whether or not writes go on.
const FAULT_LIMIT: Duration = Duration::from_secs(60);

/// After a fault is healed, writes must go on within this.
const RESTORE_LIMIT: Duration = Duration::from_secs(60);

/// Writes "go on" when for this long ...
const STEADY: Duration = Duration::from_secs(3);
/// ... no gap was longer than this.
const STEADY_GAP: Duration = Duration::from_millis(700);

/// What a run is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// The kind of cluster.
    pub kind: Kind,
    /// Where folders are made; on the disk that is to be tested.
    pub base: PathBuf,
    /// Where MySQL is.
    pub trees: Trees,
    /// Mainstay's binary.
    pub mainstay: Option<PathBuf>,
    /// Whose servers, where there is a choice.
    pub vendor: Vendor,
    /// How the client reaches Mainstay's primary.
    pub endpoint: Endpoint,
    /// Give every node a small disk of its own.
    pub small_disks: bool,
    /// Leave the folder when the run is over.
    pub keep: bool,
}

/// What came of one fault.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which.
    pub fault: Fault,
    /// The node it befell.
    pub node: String,
    /// Longest time without an acknowledged write, in milliseconds, from the fault until writes went on.
    pub outage_ms: u64,
    /// Longest time without one while the cluster was made whole again, in milliseconds.
    pub return_ms: u64,
    /// Writes went on, at the latest after the fault was healed.
    pub restored: bool,
    /// The writer moved though the fault should not have moved it.
    pub moved_falsely: bool,
    /// Rows acknowledged since the last fault that a server does not have.
    pub lost: usize,
    injected_us: u64,
    healed_us: u64,
}

/// What came of the whole run.
#[derive(Clone, Debug)]
pub struct Outcomes {
    /// One for each fault, in order.
    pub faults: Vec<Outcome>,
    /// Acknowledged writes.
    pub acked: usize,
    /// Acknowledged rows that any server lacked after a fault or in the end.
    pub lost: usize,
    /// Writes acknowledged by a server that another had replaced.
    pub dual_writers: usize,
}

/// A cluster under the client's writes. Dropping it ends and removes everything.
#[derive(Debug)]
pub struct Run {
    client: Client,
    cluster: Cluster,
    // Below what runs in it: fields are dropped in this order.
    network: Network,
    folder: Folder,
    outcomes: Vec<Outcome>,
    checked_us: u64,
    lost: usize,
}

impl Run {
    /// Sets the cluster up and waits until writes go through.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn start(options: &Options) -> Result<Self> {
        let folder = Folder::create(&options.base, options.keep)?;
        let network = Cluster::hosts().await?;
        if options.small_disks {
            for host in network.hosts() {
                disk::mount(&folder.path.join(&host.name)).await?;
            }
        }
        let parts = Parts {
            folder: folder.path.clone(),
            trees: options.trees.clone(),
            mainstay: options.mainstay.clone(),
            vendor: options.vendor,
            endpoint: options.endpoint,
        };
        let cluster = Cluster::create(options.kind, &network, &parts).await?;
        let (address, port) = cluster.endpoint();
        let client = Client::start(network.host("client")?, address, port, &folder.path.join("acked.log"))?;
        let run = Self { client, cluster, network, folder, outcomes: Vec::new(), checked_us: 0, lost: 0 };
        if !run.wait_steady(0, Duration::ZERO, RESTORE_LIMIT).await {
            let error = run.client.last_error().unwrap_or_default();
            anyhow::bail!("the client cannot write steadily: {error}");
        }
        Ok(run)
    }

    /// The cluster.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Where everything of the run is kept.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder.path
    }

    /// Brings a fault on, waits until writes go on, heals it, waits until the cluster is whole, and checks that
    /// nothing is lost.
    ///
    /// # Errors
    /// If the harness itself fails, or the cluster cannot be made whole.
    pub async fn fault(&mut self, fault: Fault) -> Result<&Outcome> {
        let writer = self.writer()?.clone();
        let injected_us = self.client.now_us();
        fault.inject(&self.cluster, &self.network, &writer).await?;
        let mut restored = self.wait_steady(injected_us, fault.watched_at_least(), FAULT_LIMIT).await;
        let moved = self.writer()?.server_id != writer.server_id;
        let mut settled_us = self.client.now_us();
        let healed_us = settled_us;
        fault.heal(&self.cluster, &self.network, &writer).await?;
        if !restored {
            restored = self.wait_steady(healed_us, Duration::ZERO, RESTORE_LIMIT).await;
            settled_us = self.client.now_us();
        }
        let whole = self.cluster.make_whole().await;
        whole.with_context(|| format!("after {} of {}", fault.name(), writer.host.name))?;
        self.wait_steady(self.client.now_us(), Duration::ZERO, RESTORE_LIMIT).await;
        let lost = self.check_all().await?;
        let acks = self.client.acks_since(injected_us);
        self.outcomes.push(Outcome {
            fault,
            node: writer.host.name.clone(),
            outage_ms: longest_gap_us(&acks, injected_us, settled_us) / 1000,
            return_ms: longest_gap_us(&acks, settled_us, self.client.now_us()) / 1000,
            restored,
            moved_falsely: moved && fault.effect() == Effect::Stays,
            lost,
            injected_us,
            healed_us,
        });
        self.outcomes.last().context("no outcome")
    }

    /// Ends the client and checks every server for every acknowledged row.
    ///
    /// # Errors
    /// If a server does not answer.
    pub async fn finish(self) -> Result<Outcomes> {
        // Dropped in the opposite order: what runs is ended before its folder is removed.
        let Self { folder: _folder, network: _network, cluster, client, outcomes, mut lost, .. } = self;
        let acks = client.finish().await?;
        let ids: Vec<u64> = acks.iter().map(|ack| ack.id).collect();
        lost = lost.max(lost_rows(cluster.nodes(), &ids).await?);
        let dual_writers = dual_writers(&acks, &outcomes);
        Ok(Outcomes { faults: outcomes, acked: ids.len(), lost, dual_writers })
    }

    /// The node that acknowledged last.
    fn writer(&self) -> Result<&Node> {
        let ack = self.client.last_ack().context("nothing was ever acknowledged")?;
        let node = self.cluster.nodes().iter().find(|node| node.server_id == ack.server);
        node.with_context(|| format!("a server with id {} acknowledged", ack.server))
    }

    /// Rows acknowledged since the last check that a server does not have, replicas after they had time to catch up.
    async fn check_all(&mut self) -> Result<usize> {
        let acks = self.client.acks_since(self.checked_us);
        let ids: Vec<u64> = acks.iter().map(|ack| ack.id).collect();
        let lost = lost_rows(self.cluster.nodes(), &ids).await?;
        if let Some(last) = acks.last() {
            self.checked_us = last.received_us;
        }
        self.lost += lost;
        Ok(lost)
    }

    /// Waits until writes go on: at least `least` after `from_us`, and steadily. `false` after `limit`.
    async fn wait_steady(&self, from_us: u64, least: Duration, limit: Duration) -> bool {
        let us = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        loop {
            let now_us = self.client.now_us();
            let steady = now_us.checked_sub(us(STEADY)).filter(|begin_us| *begin_us >= from_us);
            let steady = steady.is_some_and(|begin_us| {
                longest_gap_us(&self.client.acks_since(begin_us), begin_us, now_us) < us(STEADY_GAP)
            });
            if steady && now_us >= from_us.saturating_add(us(least)) {
                return true;
            }
            if now_us > from_us.saturating_add(us(limit)) {
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// How many of these rows any server lacks.
async fn lost_rows(nodes: &[Node], ids: &[u64]) -> Result<usize> {
    let mut lost = BTreeSet::new();
    for node in nodes {
        let lacking = missing_after_catch_up(node, ids).await?;
        if let Some(id) = lacking.first() {
            tracing::error!(
                node = node.host.name,
                rows = lacking.len(),
                first = id,
                "acknowledged rows are missing"
            );
        }
        lost.extend(lacking);
    }
    Ok(lost.len())
}

/// Takeovers are told apart by the moments faults came and went: between two of them, at most one is legitimate.
fn dual_writers(acks: &[Ack], outcomes: &[Outcome]) -> usize {
    let moments: Vec<u64> =
        outcomes.iter().flat_map(|outcome| [outcome.injected_us, outcome.healed_us]).collect();
    split_at(acks, &moments).into_iter().map(writes_by_replaced).sum()
}

/// The run's folder, removed at its end.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn create(base: &Path, keep: bool) -> Result<Self> {
        let path = base.join(run_folder_name());
        ensure!(!path.exists(), "{} exists", path.display());
        host::files::ensure_dir(&path, &host::files::Ownership::mode(0o700))?;
        Ok(Self { path, keep })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.keep {
            tracing::info!(folder = %self.path.display(), "kept");
        } else if let Err(error) = remove_folder(&self.path) {
            tracing::warn!(folder = %self.path.display(), "cannot be removed: {error:#}");
        }
    }
}
