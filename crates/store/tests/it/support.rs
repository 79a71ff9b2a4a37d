//! Real etcd members for the tests: private free ports on the loopback address, data in a temporary folder, stopped
//! by pid, and killed by the kernel if the test itself is.

use std::fs::{File, read_to_string};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcd_client::Client;
use rustix::process::{Pid, Signal, kill_process};
use store::{EtcdOptions, Store, StoreError};
use tempfile::TempDir;

const START_LIMIT: Duration = Duration::from_secs(30);
const STARTS: usize = 3;

/// Runs `$body` if this machine has etcd, and says so if not.
macro_rules! with_etcd {
    ($body:expr) => {
        if $crate::support::has_etcd() { $body.await } else { println!("skipped: no `etcd` here") }
    };
}
pub(crate) use with_etcd;

pub(crate) fn has_etcd() -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join("etcd").exists())
}

/// One member: where it listens, and its process while it runs.
pub(crate) struct Member {
    name: String,
    folder: PathBuf,
    pub(crate) url: String,
    peer_url: String,
    arguments: Vec<String>,
    process: Option<Child>,
}

/// Some members that make up one cluster.
pub(crate) struct Cluster {
    pub(crate) folder: TempDir,
    pub(crate) members: Vec<Member>,
}

fn free_ports(count: usize) -> Vec<u16> {
    // All are held until all are known, so that none is given twice.
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

#[expect(clippy::disallowed_methods, reason = "a test starts and stops its own servers")]
pub(crate) fn command(program: &str) -> Command {
    Command::new(program)
}

impl Member {
    fn spawn(&mut self, cluster: &str) {
        let log = File::options().create(true).append(true).open(self.folder.join("log")).unwrap();
        // Without this, a test that is killed would leave its servers behind.
        let mut start = command("setpriv");
        start.args(["--pdeathsig", "KILL", "--", "etcd", "--logger", "zap", "--log-level", "warn"]);
        start.args(["--name", &self.name]).arg("--data-dir").arg(self.data());
        start.args(["--listen-client-urls", &self.url, "--advertise-client-urls", &self.url]);
        start.args(["--listen-peer-urls", &self.peer_url, "--initial-advertise-peer-urls", &self.peer_url]);
        start.args(["--initial-cluster", cluster, "--initial-cluster-state", "new"]);
        start.args(&self.arguments);
        start.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(start.spawn().unwrap());
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_none_or(|process| process.try_wait().unwrap().is_some())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.process.as_ref().unwrap().id();
        kill_process(Pid::from_raw(id.cast_signed()).unwrap(), signal).unwrap();
        if signal == Signal::STOP {
            // The kernel stops thread after thread; until the last one, the member may still answer.
            while !is_stopped(id) {
                std::thread::yield_now();
            }
        }
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Cluster {
    pub(crate) async fn one() -> Self {
        Self::start(1, &[]).await
    }

    /// Starts the members and waits until they have a leader. `arguments` are added to each command line.
    pub(crate) async fn start(count: usize, arguments: &[String]) -> Self {
        for _ in 0..STARTS {
            let cluster = Self::begun(count, arguments);
            // A port may have been taken by someone else in between: then with others.
            if let Some(cluster) = cluster.wait_until_listening().await {
                cluster.wait_until_led().await;
                return cluster;
            }
        }
        panic!("etcd did not start {STARTS} times");
    }

    fn begun(count: usize, arguments: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let scheme =
            if arguments.iter().any(|argument| argument == "--cert-file") { "https" } else { "http" };
        let ports = free_ports(count * 2);
        let members = ports.chunks(2).enumerate().map(|(index, ports)| {
            let name = format!("m{index}");
            let member_folder = folder.path().join(&name);
            std::fs::create_dir(&member_folder).unwrap();
            Member {
                name,
                folder: member_folder,
                url: format!("{scheme}://127.0.0.1:{}", ports[0]),
                peer_url: format!("http://127.0.0.1:{}", ports[1]),
                arguments: arguments.to_vec(),
                process: None,
            }
        });
        let mut cluster = Self { members: members.collect(), folder };
        for index in 0..count {
            cluster.spawn(index);
        }
        cluster
    }

    /// `None` if a member ended instead.
    async fn wait_until_listening(mut self) -> Option<Self> {
        let began = Instant::now();
        loop {
            if self.members.iter_mut().any(Member::has_ended) {
                println!("{}", read_to_string(self.members[0].folder.join("log")).unwrap());
                return None;
            }
            let listening = self.members.iter().all(|member| {
                let address = member.url.split_once("//").unwrap().1;
                std::net::TcpStream::connect(address).is_ok()
            });
            if listening {
                return Some(self);
            }
            assert!(began.elapsed() < START_LIMIT, "etcd did not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Every member listens before the last of them has found its leader.
    async fn wait_until_led(&self) {
        for url in self.urls().into_iter().filter(|url| url.starts_with("http://")) {
            until_it_reads(&Store::etcd(options(vec![url])).unwrap(), START_LIMIT).await;
        }
    }

    pub(crate) fn spawn(&mut self, index: usize) {
        let peers: Vec<_> =
            self.members.iter().map(|member| format!("{}={}", member.name, member.peer_url)).collect();
        self.members[index].spawn(&peers.join(","));
    }

    /// What `etcdctl snapshot restore` needs to know of the only member.
    pub(crate) fn restore_arguments(&self) -> Vec<String> {
        let member = &self.members[0];
        let peer = format!("{}={}", member.name, member.peer_url);
        [
            "--name",
            &member.name,
            "--initial-cluster",
            &peer,
            "--initial-advertise-peer-urls",
            &member.peer_url,
        ]
        .map(ToOwned::to_owned)
        .to_vec()
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.members.iter().map(|member| member.url.clone()).collect()
    }

    /// The addresses with the given member first, which is the one a new store asks first.
    pub(crate) fn urls_from(&self, first: usize) -> Vec<String> {
        let mut urls = self.urls();
        urls.rotate_left(first);
        urls
    }

    pub(crate) fn options(&self) -> EtcdOptions {
        options(self.urls())
    }

    pub(crate) fn store(&self) -> Store {
        Store::etcd(self.options()).unwrap()
    }

    /// The member that leads, by its place. Waits while there is none.
    pub(crate) async fn leader(&self) -> usize {
        let began = Instant::now();
        loop {
            for (index, member) in self.members.iter().enumerate() {
                let asked = tokio::time::timeout(Duration::from_millis(500), leads(&member.url)).await;
                if let Ok(Ok(true)) = asked {
                    return index;
                }
            }
            assert!(began.elapsed() < START_LIMIT, "no member is the leader");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A client of etcd that is not ours.
    pub(crate) async fn client(&self) -> Client {
        Client::connect([&self.members[0].url], None).await.unwrap()
    }
}

/// `true` if the member there says that it leads.
async fn leads(url: &str) -> Result<bool, etcd_client::Error> {
    let status = Client::connect([url], None).await?.status().await?;
    Ok(status.header().is_some_and(|header| header.member_id() == status.leader()))
}

fn is_stopped(id: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{id}/task")).unwrap();
    threads.flatten().all(|thread| {
        // A thread that has ended meanwhile does not count.
        let stat = read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
    })
}

pub(crate) fn options(endpoints: Vec<String>) -> EtcdOptions {
    EtcdOptions { endpoints, prefix: "/mainstay/test/".to_owned(), user: None, tls: None }
}

/// Reads until it works, and says how long that took.
pub(crate) async fn until_it_reads(store: &Store, limit: Duration) -> Duration {
    let began = Instant::now();
    loop {
        match store.snapshot().await {
            Ok(_) => return began.elapsed(),
            Err(error) => assert!(began.elapsed() < limit, "still: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Writes until it works, and says how long that took. Nothing but the passing faults of a cluster may be in the way.
pub(crate) async fn until_it_writes(store: &Store, limit: Duration) -> Duration {
    let began = Instant::now();
    loop {
        match store.commit(&[], &[store::Write::Put("until".to_owned(), b"it writes".to_vec())]).await {
            Ok(_) => return began.elapsed(),
            Err(
                error @ (StoreError::Unreachable { .. }
                | StoreError::Timeout { .. }
                | StoreError::Unknown { .. }),
            ) => assert!(began.elapsed() < limit, "still: {error}"),
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn put(key: &str, value: &str) -> store::Write {
    store::Write::Put(key.to_owned(), value.as_bytes().to_vec())
}

pub(crate) fn absent(key: &str) -> store::Compare {
    store::Compare::Absent(key.to_owned())
}

pub(crate) fn modified(key: &str, revision: u64) -> store::Compare {
    store::Compare::Modified(key.to_owned(), revision)
}

/// The revision of a commit that must have happened.
pub(crate) fn done(committed: Result<store::Committed, StoreError>) -> u64 {
    match committed.unwrap() {
        store::Committed::Done { revision } => revision,
        store::Committed::Conflict => panic!("a conflict"),
    }
}

pub(crate) fn write_file(path: &Path, content: &[u8]) {
    use std::io::Write as _;
    File::create(path).unwrap().write_all(content).unwrap();
}
