//! The archive of real servers' logs: every byte, over restarts, cut-off archivers, merges and failovers.
//!
//! Tests fail when a byte or an acknowledged row is missing, or when a gap is not seen.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use backup::archive::{
    Archive, ArchiveError, ArchiveNews, ArchiveOptions, Archived, CoverFrom, LogReader, Purge, RunReason,
    RunSegments, archive_follow, archive_once,
};
use backup::seal::Identities;
use binlog::{ReadOptions, Tables, Value, Verb, walk};
use blob::{Address, Place};
use flavor::{GtidSet, Vendor};
use lab::{ClusterState, Lab, Topology, UpOptions};
use server::{Connection, Limits, Sql, Target};

use crate::harness::{mysql_root, run, value, vendors};

const LIMIT: Duration = Duration::from_secs(120);
/// Archivers are killed here all the time, and nobody likes to wait for what they leave.
const LEASE: Duration = Duration::from_millis(60);

/// Servers with logs, and a folder for the archive.
pub(crate) struct Logged {
    lab: Lab,
    cluster: ClusterState,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) lease: Duration,
    /// What opens the archive, where it is encrypted.
    pub(crate) opener: Option<Identities>,
}

impl Logged {
    pub(crate) async fn up(vendor: Vendor, nodes: usize, lines: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lab = Lab::open(folder.path().join("lab")).unwrap();
        let topology = if nodes == 1 { Topology::Single } else { Topology::Replication };
        let mut options = UpOptions::new("t", topology, vendor);
        options.nodes = nodes;
        options.server_root = if vendor == Vendor::MySql { mysql_root() } else { None };
        options.semi_sync = nodes > 1;
        let own = ["log-bin = binlog", "binlog-format = ROW", "server-id = 7"];
        let gtids = ["gtid-mode = ON", "enforce-gtid-consistency = ON"];
        let mut all: Vec<&str> = if nodes == 1 { own.to_vec() } else { Vec::new() };
        if nodes == 1 && vendor == Vendor::MySql {
            all.extend(gtids);
        }
        all.extend(lines);
        options.extra_config = all.iter().map(|line| (*line).to_owned()).collect();
        let cluster = lab.up(&options).await.unwrap();
        std::fs::create_dir(folder.path().join("place")).unwrap();
        Self { lab, cluster, folder, lease: LEASE, opener: None }
    }

    pub(crate) fn target(&self, node: usize) -> Target {
        self.cluster.nodes[node].root_target()
    }

    pub(crate) async fn connect(&self, node: usize) -> Connection {
        Connection::open(&self.target(node), &Limits::default()).await.unwrap()
    }

    pub(crate) fn archive(&self) -> Archive {
        self.archive_of(self.opener.clone())
    }

    pub(crate) fn archive_of(&self, opener: Option<Identities>) -> Archive {
        let place = Place::open(&Address::Folder(self.folder.path().join("place")), None).unwrap();
        Archive::new(place).with_identities(opener.unwrap_or_default())
    }

    pub(crate) fn options(&self, node: usize) -> ArchiveOptions {
        let server_id = 0x8000_0000 + u32::try_from(node).unwrap();
        ArchiveOptions { server_id, lease: self.lease, ..options_for(self.target(node)) }
    }

    pub(crate) async fn once(&self, node: usize) -> Result<Archived, ArchiveError> {
        archive_once(&self.archive(), &self.options(node), &mut |_| {}).await
    }

    async fn restart(&self) {
        self.lab.stop("t", None).await.unwrap();
        self.lab.start("t", None).await.unwrap();
    }

    pub(crate) async fn down(self) {
        self.lab.down("t").await.unwrap();
    }

    fn log_file(&self, node: usize, log: &str) -> PathBuf {
        self.cluster.nodes[node].datadir.join(log)
    }

    /// Every log of the last run, byte for byte as the server has it.
    pub(crate) async fn compare(&self, node: usize) -> usize {
        let archive = self.archive();
        let run = archive.last_run().await.unwrap().unwrap();
        assert_eq!(run.gap(), None);
        let mut logs: Vec<&str> = run.segments.iter().map(|name| name.log.as_str()).collect();
        logs.dedup();
        for log in &logs {
            let names: Vec<_> = run.segments.iter().filter(|name| name.log == *log).cloned().collect();
            let segments = archive.segments(&names).await.unwrap();
            let end = usize::try_from(segments.last().unwrap().end).unwrap();
            let mut reader = LogReader::open(&archive, &segments).unwrap();
            let read = tokio::task::spawn_blocking(move || {
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes).map(|_| bytes)
            });
            let archived = read.await.unwrap().unwrap();
            let mut file = std::fs::read(self.log_file(node, log)).unwrap();
            // The one thing that changes in a log after it was written: whether it is in use.
            file[21] &= !1;
            assert_eq!(archived.len(), end, "{log}");
            let at = archived.iter().zip(&file).position(|(left, right)| left != right);
            assert_eq!(at, None, "{log} differs there");
            // MariaDB notes in the log, some time later, which logs a crash would need.
            let mut end = end;
            while logs.last() == Some(log) && file.get(end + 4) == Some(&161) {
                end += usize::from(file[end + 9]);
            }
            assert_eq!(end, file.len(), "{log} goes on");
        }
        logs.len()
    }
}

/// An archiver that writes small segments soon.
pub(crate) fn options_for(target: Target) -> ArchiveOptions {
    ArchiveOptions {
        target,
        limits: Limits::default(),
        server_id: 0x8000_0000,
        segment_age: Duration::from_millis(50),
        segment_bytes: 64 << 10,
        accepts_gap: false,
        purge: Purge::Watch,
        lease: LEASE,
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        // A test that failed still leaves nothing running; `down` has been called when it passed.
        for process in server::ServerProcess::find_all(self.folder.path()).unwrap_or_default() {
            let _ = process.signal(server::Signal::KILL);
        }
    }
}

/// Ids of the table `s.t` that were inserted according to the archive.
pub(crate) async fn archived_ids(archive: &Archive) -> BTreeSet<i64> {
    let mut ids = BTreeSet::new();
    for run in archive.runs().await.unwrap() {
        assert_eq!(run.gap(), None);
        for names in run.segments.chunk_by(|left, right| left.log == right.log) {
            let segments = archive.segments(names).await.unwrap();
            let reader = LogReader::open(archive, &segments).unwrap();
            ids.extend(tokio::task::spawn_blocking(move || ids_in(reader)).await.unwrap());
        }
    }
    ids
}

fn ids_in(reader: LogReader) -> Vec<i64> {
    let mut ids = Vec::new();
    let options = ReadOptions { is_stream: true, ..ReadOptions::default() };
    walk(reader, options, &mut Tables::default(), |item| {
        if let Some((rows, table)) = item.rows()?
            && table.name == "t"
            && rows.verb == Verb::Insert
        {
            for row in rows.decode(table)? {
                match &row?.after.unwrap()[0] {
                    Some(Value::Int(id)) => ids.push(*id),
                    other => panic!("{other:?}"),
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    ids
}

fn start() -> CoverFrom {
    // Nothing has been done yet: what every run's first log may begin with.
    CoverFrom { gtids: GtidSet::default(), position: None }
}

/// Plain statements of all kinds, and a transaction larger than what is held back.
pub(crate) async fn work(connection: &mut Connection, round: u32) {
    run(connection, &[
        "CREATE DATABASE IF NOT EXISTS s",
        "CREATE TABLE IF NOT EXISTS s.t (id BIGINT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(200), b LONGBLOB)",
        "INSERT INTO s.t (v) VALUES ('one'), ('two'), (REPEAT('x', 200))",
        "INSERT INTO s.t (v, b) VALUES ('large', REPEAT('payload ', 200000))",
        "UPDATE s.t SET v = REVERSE(v), b = NULL WHERE id % 2 = 0",
        &format!("CREATE TABLE s.ddl{round} (id INT PRIMARY KEY) ENGINE=InnoDB"),
        &format!("ALTER TABLE s.ddl{round} ADD COLUMN more INT"),
        "XA START 'x'",
        "INSERT INTO s.t (v) VALUES ('xa')",
        "XA END 'x'",
        "XA PREPARE 'x'",
        "XA COMMIT 'x'",
        "DELETE FROM s.t WHERE id % 3 = 0",
    ])
    .await;
    for number in 0..50 {
        run(connection, &[&format!("INSERT INTO s.t (v) VALUES ('row {number}')")]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_the_archive_has_every_byte() {
    for vendor in vendors().await {
        // MariaDB keeps statements' texts to itself unless a replica asks for them.
        let mut lines = vec!["max-binlog-size = 1M", "max-allowed-packet = 64M"];
        if vendor == Vendor::MariaDb {
            lines.push("binlog-annotate-row-events = OFF");
        }
        let logged = Logged::up(vendor, 1, &lines).await;
        let mut connection = logged.connect(0).await;
        let mut segments = 0;
        for round in 0..3 {
            work(&mut connection, round).await;
            segments += logged.once(0).await.unwrap().segments;
            logged.compare(0).await;
            run(&mut connection, &["FLUSH BINARY LOGS", "INSERT INTO s.t (v) VALUES ('after the flush')"])
                .await;
        }
        // Larger than what is held back.
        run(&mut connection, &["INSERT INTO s.t (v, b) VALUES ('huge', REPEAT('0123456789', 4000000))"])
            .await;
        let archived = logged.once(0).await.unwrap();
        assert!(archived.bytes > 40_000_000, "{archived:?}");
        logged.compare(0).await;
        // Nothing new: nothing happens.
        assert_eq!(logged.once(0).await.unwrap().segments, 0);
        connection.close().await;
        logged.restart().await;
        let mut connection = logged.connect(0).await;
        work(&mut connection, 9).await;
        segments += logged.once(0).await.unwrap().segments;
        // Whatever the last event is, its transaction is whole and archived.
        for last in [
            "DROP TABLE s.ddl0",
            "CREATE TABLE s.copied AS SELECT id, v FROM s.t",
            "CREATE TABLE s.plain (id INT PRIMARY KEY) ENGINE=MyISAM",
            "INSERT INTO s.plain VALUES (1)",
            "GRANT SELECT ON s.* TO 'someone'@'localhost'",
        ] {
            if last.starts_with("GRANT") {
                run(&mut connection, &["CREATE USER 'someone'@'localhost'"]).await;
            }
            run(&mut connection, &[last]).await;
            segments += logged.once(0).await.unwrap().segments;
            logged.compare(0).await;
        }
        let logs = logged.compare(0).await;
        assert!(logs > 5 && segments > 20, "{vendor}: {logs} logs, {segments} segments");
        // What logs have more than one segment of was made one.
        let archive = logged.archive();
        let last = archive.last_run().await.unwrap().unwrap();
        assert_eq!(last.run.reason, RunReason::First);
        assert!(last.segments.len() < logs + 20 && last.superseded.is_empty(), "{:?}", last.segments);
        assert_eq!(archive.runs().await.unwrap().len(), 1);
        let check = archive.check().await.unwrap();
        assert_eq!(check.problems, Vec::<String>::new());
        // The server and the archive agree on what was done.
        let executed = match vendor {
            Vendor::MySql => "SELECT @@GLOBAL.gtid_executed",
            Vendor::MariaDb => "SELECT @@GLOBAL.gtid_binlog_state",
        };
        let executed = GtidSet::parse(&value(&mut connection, executed).await).unwrap();
        let segment = archive.segment(last.segments.last().unwrap()).await.unwrap();
        assert_eq!(segment.gtids_after().to_string(), executed.to_string(), "{vendor}");
        println!("{vendor}: {logs} logs, {segments} segments, {} bytes, equal", check.bytes);
        connection.close().await;
        logged.down().await;
    }
}

/// Inserts rows as fast as it can; every id that was acknowledged is given back.
async fn writer(target: Target, first: i64, is_over: Arc<AtomicBool>, count: Arc<AtomicU64>) -> Vec<i64> {
    let mut acknowledged = Vec::new();
    let Ok(mut connection) = Connection::open(&target, &Limits::default()).await else { return acknowledged };
    let mut id = first;
    while !is_over.load(Ordering::Relaxed) {
        let sql = format!("INSERT INTO s.t (id, v) VALUES ({id}, REPEAT('w', 100))");
        if connection.execute(&Sql::plain(sql)).await.is_err() {
            break;
        }
        acknowledged.push(id);
        count.fetch_add(1, Ordering::Relaxed);
        id += 1;
    }
    acknowledged
}

pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < LIMIT, "{what} did not come about");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Names socket, user, place, the lease's milliseconds and a number for the server to the archiver that is to be killed.
const ARCHIVER: &str = "MAINSTAY_TEST_ARCHIVER";

/// An archiver of its own, which is this program once more.
#[expect(clippy::disallowed_methods, reason = "a process to be killed")]
pub(crate) fn process(logged: &Logged, server_id: u32) -> std::process::Child {
    let node = &logged.cluster.nodes[0];
    let place = logged.folder.path().join("place");
    let lease_ms = logged.lease.as_millis();
    let settings =
        format!("{}|{}|{}|{lease_ms}|{server_id}", node.socket.display(), node.root_user, place.display());
    std::process::Command::new(std::env::current_exe().unwrap())
        .args(["archive::an_archiver_as_a_process", "--exact"])
        .env(ARCHIVER, settings)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archiver_as_a_process() {
    let Ok(settings) = std::env::var(ARCHIVER) else { return };
    let [socket, user, place, lease_ms, server_id] = settings.split('|').collect::<Vec<_>>()[..] else {
        panic!("{settings}")
    };
    let archive = Archive::new(Place::open(&Address::Folder(place.into()), None).unwrap());
    let options = ArchiveOptions {
        target: Target::socket(socket, user),
        limits: Limits::default(),
        server_id: 0x8000_0000 + server_id.parse::<u32>().unwrap(),
        segment_age: Duration::from_millis(50),
        segment_bytes: 64 << 10,
        accepts_gap: false,
        purge: Purge::Watch,
        lease: Duration::from_millis(lease_ms.parse().unwrap()),
    };
    archive_follow(&archive, &options, std::future::pending(), &mut |_| {}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn real_an_archiver_that_is_cut_off_at_any_moment_goes_on_without_gap_or_double() {
    for vendor in vendors().await {
        let annotate = if vendor == Vendor::MariaDb {
            "binlog-annotate-row-events = OFF"
        } else {
            "max-binlog-size = 256K"
        };
        let logged = Logged::up(vendor, 1, &["max-binlog-size = 256K", annotate]).await;
        let mut connection = logged.connect(0).await;
        run(
            &mut connection,
            &["CREATE DATABASE s", "CREATE TABLE s.t (id BIGINT PRIMARY KEY, v VARCHAR(200))"],
        )
        .await;
        let is_over = Arc::new(AtomicBool::new(false));
        let count = Arc::new(AtomicU64::new(0));
        let writing = tokio::spawn(writer(logged.target(0), 1, Arc::clone(&is_over), Arc::clone(&count)));
        let mut seed = 0x9e37_79b9_u64;
        for number in 0..40 {
            let (archive, options) = (logged.archive(), logged.options(0));
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // The moment is what is tried out here.
            let moment = Duration::from_millis(100 + (seed >> 33) % 280);
            if number % 2 == 0 {
                let mut archiver = process(&logged, 1);
                tokio::time::sleep(moment).await;
                assert_eq!(archiver.try_wait().unwrap(), None, "it ended by itself");
                archiver.kill().unwrap();
                archiver.wait().unwrap();
                continue;
            }
            let archiving = tokio::spawn(async move {
                archive_follow(&archive, &options, std::future::pending(), &mut |_| {}).await
            });
            tokio::time::sleep(moment).await;
            assert!(!archiving.is_finished(), "{:?}", archiving.await);
            archiving.abort();
            // It is gone when it has let go of everything.
            let _ = archiving.await;
        }
        is_over.store(true, Ordering::Relaxed);
        let acknowledged = writing.await.unwrap();
        logged.once(0).await.unwrap();
        let logs = logged.compare(0).await;
        assert!(acknowledged.len() > 100 && logs > 1, "{} rows in {logs} logs", acknowledged.len());
        assert_eq!(logged.archive().runs().await.unwrap().len(), 1);
        assert_eq!(logged.archive().check().await.unwrap().problems, Vec::<String>::new());
        println!(
            "{vendor}: {} rows in {logs} logs, equal after 20 archivers were killed and 20 cut off",
            acknowledged.len()
        );
        connection.close().await;
        logged.down().await;
    }
}

/// What leads on from the end of the first run is the second one, and from before it both, with nothing missing.
async fn covers_both(archive: &Archive, runs: &[RunSegments]) {
    let last = archive.segment(runs[0].segments.last().unwrap()).await.unwrap();
    let cover = archive.cover(&CoverFrom { gtids: last.gtids_after(), position: None }).await.unwrap();
    assert_eq!((cover.gap, &cover.logs[0].run.id), (None, &runs[1].run.id));
    let first = archive.segment(&runs[0].segments[0]).await.unwrap();
    let cover = archive.cover(&CoverFrom { gtids: first.gtids_before.clone(), position: None }).await;
    if first.gtids_before.is_empty() {
        assert!(matches!(cover, Err(ArchiveError::TooLate { .. })), "{cover:?}");
    } else {
        let cover = cover.unwrap();
        assert_eq!((cover.gap, &cover.logs[0].run.id), (None, &runs[0].run.id));
        assert_eq!(cover.logs.last().unwrap().run.id, runs[1].run.id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_every_acknowledged_row_is_in_the_archive_after_a_failover() {
    for vendor in vendors().await {
        let logged = Logged::up(vendor, 2, &["max-binlog-size = 256K"]).await;
        let mut primary = logged.connect(0).await;
        run(&mut primary, &["CREATE DATABASE s", "CREATE TABLE s.t (id BIGINT PRIMARY KEY, v VARCHAR(200))"])
            .await;
        let news = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (archive, options, heard) = (logged.archive(), logged.options(0), Arc::clone(&news));
        let archiving = tokio::spawn(async move {
            let stopped = Box::pin(async { stopped.await.unwrap_or(()) });
            archive_follow(&archive, &options, stopped, &mut |news| {
                if matches!(news, ArchiveNews::Archived { .. }) {
                    heard.fetch_add(1, Ordering::Relaxed);
                }
            })
            .await
        });
        let (is_over, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let writing = tokio::spawn(writer(logged.target(0), 1, Arc::clone(&is_over), Arc::clone(&count)));
        until("archiving under load", async || {
            news.load(Ordering::Relaxed) > 5 && count.load(Ordering::Relaxed) > 500
        })
        .await;
        logged.lab.kill("t", Some(&logged.cluster.nodes[0].name)).await.unwrap();
        let mut acknowledged = writing.await.unwrap();
        stop.send(()).unwrap();
        archiving.await.unwrap().unwrap();
        // The replica takes over what it has received, and goes on.
        let mut replica = logged.connect(1).await;
        let all = *acknowledged.last().unwrap();
        until("the replica catching up", async || {
            value(&mut replica, "SELECT COALESCE(MAX(id), 0) FROM s.t").await.parse::<i64>().unwrap() >= all
        })
        .await;
        run(&mut replica, &["STOP REPLICA", "SET GLOBAL read_only = OFF"]).await;
        let (is_over, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let writing =
            tokio::spawn(writer(logged.target(1), all + 1000, Arc::clone(&is_over), Arc::clone(&count)));
        until("writing to the new primary", async || count.load(Ordering::Relaxed) > 100).await;
        is_over.store(true, Ordering::Relaxed);
        acknowledged.extend(writing.await.unwrap());
        logged.once(1).await.unwrap();
        let archive = logged.archive();
        let runs = archive.runs().await.unwrap();
        let reasons: Vec<RunReason> = runs.iter().map(|run| run.run.reason).collect();
        assert_eq!(reasons, [RunReason::First, RunReason::Failover]);
        assert_eq!(runs[1].run.after.as_ref(), Some(&runs[0].run.id));
        let ids = archived_ids(&archive).await;
        let missing: Vec<&i64> = acknowledged.iter().filter(|id| !ids.contains(id)).collect();
        assert!(
            missing.is_empty(),
            "{vendor}: {} of {} are missing: {missing:?}",
            missing.len(),
            acknowledged.len()
        );
        covers_both(&archive, &runs).await;
        println!("{vendor}: {} rows acknowledged, {} found in two runs", acknowledged.len(), ids.len());
        replica.close().await;
        primary.close().await;
        logged.down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_a_gap_is_seen_and_said() {
    for vendor in vendors().await {
        let logged = Logged::up(vendor, 1, &[]).await;
        let mut connection = logged.connect(0).await;
        work(&mut connection, 0).await;
        logged.once(0).await.unwrap();
        // Two logs come and go that nobody archives.
        run(
            &mut connection,
            &["FLUSH BINARY LOGS", "INSERT INTO s.t (v) VALUES ('lost')", "FLUSH BINARY LOGS"],
        )
        .await;
        let logs = connection.query(&Sql::plain("SHOW BINARY LOGS")).await.unwrap();
        let newest = logs.last().unwrap().text_at(0).unwrap().to_owned();
        // The last archiver's session may still be about to end.
        until("purging", async || {
            run(&mut connection, &[&format!("PURGE BINARY LOGS TO '{newest}'")]).await;
            let logs = connection.query(&Sql::plain("SHOW BINARY LOGS")).await.unwrap();
            logs.first().unwrap().text_at(0) == Some(&newest)
        })
        .await;
        let error = logged.once(0).await.unwrap_err();
        assert!(matches!(error, ArchiveError::Gap { .. }), "{vendor}: {error}");
        assert!(error.to_string().contains(&newest), "{error}");
        assert!(error.hint().unwrap().contains("--accept-gap"));
        // Following does not wait for what no waiting mends.
        let (archive, mut options) = (logged.archive(), logged.options(0));
        let followed = archive_follow(&archive, &options, std::future::pending(), &mut |_| {}).await;
        assert!(matches!(followed, Err(ArchiveError::Gap { .. })), "{followed:?}");
        options.accepts_gap = true;
        archive_once(&archive, &options, &mut |_| {}).await.unwrap();
        let runs = archive.runs().await.unwrap();
        assert_eq!(runs[1].run.reason, RunReason::AcceptedGap);
        // What leads on from before the gap ends at it.
        let first = archive.segment(&runs[0].segments[0]).await.unwrap();
        let cover = archive.cover(&CoverFrom { gtids: first.gtids_after(), position: None }).await.unwrap();
        assert!(cover.gap.as_ref().unwrap().contains(&runs[1].run.id), "{cover:?}");
        let status = archive.status(jiff::Timestamp::now()).await.unwrap();
        assert_eq!(status.gaps.len(), 1, "{status:?}");
        let too_early = archive.cover(&start()).await;
        assert!(matches!(too_early, Err(ArchiveError::TooLate { .. })), "{too_early:?}");
        connection.close().await;
        logged.down().await;
    }
}
