//! Both guards against real processes; the agent that hangs and the host with a floating address are this program,
//! started once more.

use std::process::{Child, Stdio};
use std::time::Instant;

use super::record::RecordReader;
use super::*;
use crate::command::Command;
use crate::supervise::stop_signal;

/// Longer than any test here.
const LONG: Duration = Duration::from_secs(100);

/// The server: a child of this program, that ends with the test however that ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a process to be killed, and to be waited for without a runtime"
)]
fn sleeper() -> (Server, ProcessId) {
    let child = std::process::Command::new("sleep").arg("100").stdin(Stdio::null()).spawn().unwrap();
    let process = ProcessId::of(child.id()).unwrap();
    (Server(child), process)
}

/// Waits for the process's end; returns when that was, as time since boot.
fn wait_dead(process: ProcessId) -> Duration {
    wait("it lives", || !process.is_alive());
    boottime()
}

fn wait(otherwise: &str, what: impl Fn() -> bool) {
    let began = Instant::now();
    while !what() {
        assert!(began.elapsed() < Duration::from_secs(10), "{otherwise}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn guard(folder: &Path) -> Guard {
    Guard::open(&folder.join("fence"), None).unwrap()
}

#[test]
fn the_process_ends_within_a_tenth_of_a_second_of_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(folder.path());
    // The best of some: another test may hold the processor for longer than that.
    let late = (0..5).map(|epoch| {
        let (_server, process) = sleeper();
        let deadline = boottime() + Duration::from_millis(100);
        guard.arm(deadline, epoch, process).unwrap();
        assert!(!guard.has_fired());
        let died = wait_dead(process);
        assert!(died >= deadline, "killed before the deadline");
        wait("it does not say so", || guard.has_fired());
        assert!(!guard.extend(boottime() + LONG), "too late to put it off");
        died - deadline
    });
    let best = late.min().unwrap();
    assert!(best < Duration::from_millis(100), "{best:?}");
}

#[test]
fn the_deadline_is_put_off_and_never_brought_forward() {
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(folder.path());
    assert!(!guard.extend(boottime() + LONG), "nothing is armed");
    let (_server, process) = sleeper();
    guard.arm(boottime() + Duration::from_millis(200), 3, process).unwrap();
    let last = boottime() + Duration::from_millis(600);
    assert!(guard.extend(last));
    assert!(guard.extend(boottime()), "an earlier one changes nothing");
    assert_eq!(guard.armed().unwrap().deadline, last);
    assert!(wait_dead(process) >= last, "killed before the deadline it was put off to");
}

/// As when a whole host was paused, and the renewal is the first to run again.
#[test]
fn a_deadline_that_has_gone_by_is_not_put_off() {
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(folder.path());
    let (_server, process) = sleeper();
    // So often that it is before the thread some time.
    for epoch in 0..50 {
        guard.arm(boottime(), epoch, process).unwrap();
        assert!(!guard.extend(boottime() + LONG), "put off in round {epoch}");
    }
    wait_dead(process);
}

#[test]
fn a_disarmed_fence_kills_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(folder.path());
    let (_server, process) = sleeper();
    guard.arm(boottime() + Duration::from_millis(100), 3, process).unwrap();
    guard.disarm();
    assert!(guard.armed().is_none() && !guard.extend(boottime() + LONG));
    // Another guard that acts later shows that the time for it has gone by.
    let (_other, marker) = sleeper();
    let elsewhere = tempfile::tempdir().unwrap();
    let second = self::guard(elsewhere.path());
    second.arm(boottime() + Duration::from_millis(300), 4, marker).unwrap();
    wait_dead(marker);
    assert!(!guard.has_fired());
    assert!(process.is_alive());
}

#[test]
fn a_process_with_the_id_of_the_armed_one_is_let_alone() {
    let folder = tempfile::tempdir().unwrap();
    let guard = guard(folder.path());
    let (_server, process) = sleeper();
    let before = ProcessId { start_ticks: process.start_ticks - 1, ..process };
    guard.arm(boottime(), 3, before).unwrap();
    wait("the thread does not act", || guard.has_fired());
    assert!(process.is_alive());
}

#[test]
fn an_agent_that_comes_back_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, process) = sleeper();
    guard(folder.path()).arm(boottime() + LONG, 9, process).unwrap();
    let second = guard(folder.path());
    let armed = second.armed().unwrap();
    assert_eq!((armed.epoch, armed.process), (9, process));
    second.disarm();
    assert!(guard(folder.path()).armed().is_none());
    assert!(process.is_alive());

    // One that comes back too late ends what is past its time.
    second.arm(boottime() + LONG, 10, process).unwrap();
    drop(second);
    let file = RecordFile::open(&folder.path().join("fence")).unwrap();
    let Reading::Armed(armed) = file.read() else { panic!("{:?}", file.read()) };
    file.write(Some(&Armed { deadline: boottime(), ..armed })).unwrap();
    let third = guard(folder.path());
    wait_dead(process);
    drop(third);
}

/// Runs the separate process's loop in this one while something is done.
async fn with_fencer(folder: &Path, act: impl FnOnce() + Send + 'static) {
    let (path, log) = (folder.join("fence"), folder.join("log"));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let fencer = async { run_fencer(&path, &log, None, async { drop(stopped.await) }).await };
    let acting = async {
        tokio::task::spawn_blocking(act).await.unwrap();
        stop.send(()).unwrap();
    };
    tokio::join!(fencer, acting).0.unwrap();
}

#[tokio::test]
async fn the_fencer_waits_for_a_record_and_ends_what_the_agent_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    with_fencer(folder.path(), move || {
        // It has looked, and found none.
        thread::sleep(Duration::from_millis(100));
        let (_server, process) = sleeper();
        let deadline = boottime() + Duration::from_millis(100);
        guard(&path).arm(deadline, 7, process).unwrap();
        assert!(wait_dead(process) >= deadline + fencer::GRACE, "that is the agent's own time");
        let line = format!(" epoch 7: killed process {}\n", process.pid);
        let log = path.join("log");
        wait("nothing is logged", || std::fs::read_to_string(&log).is_ok_and(|text| text.ends_with(&line)));
        assert_eq!(std::fs::read_to_string(&log).unwrap().lines().count(), 1);
    })
    .await;
}

/// Of what may be in the file, only a whole record of this boot ends a process.
#[tokio::test]
async fn the_fencer_heeds_only_a_whole_record_of_this_boot() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let (_server, process) = sleeper();
    let (_other, marker) = sleeper();
    with_fencer(folder.path(), move || {
        let guard = guard(&path);
        let record = path.join("fence");
        guard.arm(boottime() + LONG, 1, process).unwrap();
        let armed = std::fs::read_to_string(&record).unwrap();
        guard.disarm();
        let boot = armed.split(' ').nth(1).unwrap();
        // The checksum of another boot's record is right, that of the torn one is not.
        let file = RecordFile::open(&record).unwrap();
        file.write(Some(&Armed { deadline: boottime(), epoch: 1, process, address: None })).unwrap();
        let past = std::fs::read_to_string(&record).unwrap();
        file.write(None).unwrap();
        let line = past.trim_end().split_once(' ').unwrap().1.replace(boot, "another");
        let sum: String = crate::files::sha256_hex(line.as_bytes()).chars().take(16).collect();
        let torn = past.replacen('1', "2", 1);
        assert_ne!(torn, past);
        for text in [format!("{:512}", format!("{sum} {line}\n")), torn, "\0".repeat(512), String::new()] {
            put(&record, &text);
            // So long that it has looked.
            thread::sleep(fencer::GRACE + Duration::from_millis(150));
            assert!(process.is_alive(), "{text}");
        }
        // The same with a whole record, to see that it did look.
        put(&record, &past.replace(&past, &armed));
        file.write(Some(&Armed { deadline: boottime(), epoch: 2, process: marker, address: None })).unwrap();
        wait_dead(marker);
        assert!(process.is_alive());
    })
    .await;
}

fn put(path: &Path, text: &str) {
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(text.as_bytes(), 0).unwrap();
    file.set_len(text.len() as u64).unwrap();
}

/// An agent that dies while it writes the record is not let off.
#[tokio::test]
async fn a_record_that_is_torn_later_stays_armed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    with_fencer(folder.path(), move || {
        let (_server, process) = sleeper();
        let deadline = boottime() + Duration::from_millis(600);
        guard(&path).arm(deadline, 7, process).unwrap();
        thread::sleep(Duration::from_millis(200));
        put(&path.join("fence"), "half of a rec");
        assert!(wait_dead(process) >= deadline);
    })
    .await;
}

/// This program once more, running one of the tests below for its effect. It ends with the test.
struct Again(ProcessId);

impl Again {
    fn start(test: &str, variable: &str, value: &str, log: &Path) -> Self {
        let binary = std::env::current_exe().unwrap();
        let command = Command::new(binary).args(["--exact", &format!("fence::tests::{test}")]);
        Self(command.env(variable, value).start_detached(log).unwrap())
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        drop(self.0.signal(Signal::KILL));
    }
}

const FOLDER: &str = "MAINSTAY_TEST_FENCE";
const SERVER: &str = "MAINSTAY_TEST_FENCE_SERVER";
const HOST: &str = "MAINSTAY_TEST_FENCE_HOST";

/// How far ahead the agent below arms.
const LEASE: Duration = Duration::from_millis(300);

/// Not a test by itself: an agent that renews until it is stopped.
#[test]
fn acts_as_agent() {
    let Some(value) = std::env::var_os(SERVER) else { return };
    let value = value.into_string().unwrap();
    let (folder, process) = value.split_once('|').unwrap();
    let guard = guard(Path::new(folder));
    guard.arm(boottime() + LEASE, 7, process.parse().unwrap()).unwrap();
    while guard.extend(boottime() + LEASE) {
        thread::sleep(Duration::from_millis(20));
    }
}

/// Not a test by itself: the separate process.
#[tokio::test]
async fn acts_as_fencer() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    run_fencer(&folder.join("fence"), &folder.join("log"), None, stop_signal().unwrap()).await.unwrap();
}

#[tokio::test]
async fn the_fencer_ends_the_server_of_an_agent_that_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let (path, log) = (folder.path().display().to_string(), folder.path().join("log"));
    let (_server, process) = sleeper();
    let fencer = Again::start("acts_as_fencer", FOLDER, &path, &folder.path().join("fencer.out"));
    let agent =
        Again::start("acts_as_agent", SERVER, &format!("{path}|{process}"), &folder.path().join("agent.out"));
    let mut reader = RecordReader::new(&folder.path().join("fence")).unwrap();
    let began = Instant::now();
    while !matches!(reader.read(), Reading::Armed(_)) {
        assert!(began.elapsed() < Duration::from_secs(10), "the agent does not arm");
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(LEASE * 3);
    assert!(process.is_alive() && agent.0.is_alive(), "it is renewed");
    assert!(!log.exists(), "the fencer has nothing to do");

    agent.0.signal(Signal::STOP).unwrap();
    wait("the agent runs on", || agent.0.is_stopped());
    let Reading::Armed(armed) = reader.read() else { panic!("{:?}", reader.read()) };
    let died = wait_dead(process);
    assert!(died >= armed.deadline + fencer::GRACE);
    let late = died - armed.deadline;
    assert!(late < Duration::from_secs(1), "{late:?}");
    wait("nothing is logged", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains(" epoch 7: killed"))
    });

    agent.0.signal(Signal::CONT).unwrap();
    assert!(agent.0.wait_end(Duration::from_secs(10)).await.unwrap(), "its lease is over, and it notices");
    fencer.0.signal(Signal::TERM).unwrap();
    assert!(fencer.0.wait_end(Duration::from_secs(10)).await.unwrap());
    let said = std::fs::read_to_string(folder.path().join("fencer.out")).unwrap();
    assert!(said.contains("1 passed"), "{said}");
}

/// Not a test by itself: what the next one runs inside a namespace.
#[tokio::test]
async fn acts_on_a_host_with_an_address() {
    let Some(folder) = std::env::var_os(HOST) else { return };
    let folder = std::path::PathBuf::from(folder);
    let address =
        FloatingAddress { network: "10.98.0.100/24".parse().unwrap(), interface: "eth0".to_owned() };
    let record = folder.join("fence");

    // The agent's own thread.
    address.add().await.unwrap();
    let (_server, process) = sleeper();
    let guard = Guard::open(&record, Some(address.clone())).unwrap();
    guard.arm(boottime() + Duration::from_millis(100), 1, process).unwrap();
    wait_dead(process);
    wait("the thread does not say so", || guard.has_fired());
    assert!(!address.is_present().await.unwrap());

    // The separate process, where the agent got as far as killing the server.
    address.add().await.unwrap();
    guard.arm(boottime() + Duration::from_millis(100), 2, process).unwrap();
    drop(guard);
    let log = folder.join("log");
    let written = log.clone();
    with_fencer(&folder, move || {
        let line = format!(" epoch 2: process {} had ended, removed the floating address\n", process.pid);
        wait("nothing is logged", || {
            std::fs::read_to_string(&written).is_ok_and(|text| text.ends_with(&line))
        });
    })
    .await;
    assert!(!address.is_present().await.unwrap());
    assert_eq!(std::fs::read_to_string(&log).unwrap().lines().count(), 1);
}

#[tokio::test]
async fn real_fence_removes_the_floating_address() {
    let folder = tempfile::tempdir().unwrap();
    let namespace = Namespace(format!("mst{:08x}f", rand::random::<u32>()));
    let ip = |words: &str| Command::new("ip").args(words.replace("NAME", &namespace.0).split(' ')).run();
    ip("netns add NAME").await.unwrap();
    ip("-netns NAME link add eth0 type veth peer name peer0").await.unwrap();
    ip("-netns NAME link set eth0 up").await.unwrap();
    let binary = std::env::current_exe().unwrap();
    let command = Command::new("ip").args(["netns", "exec", &namespace.0]).arg(binary);
    let command = command.args(["--exact", "fence::tests::acts_on_a_host_with_an_address"]);
    let output = command.env(HOST, folder.path()).run_any_status().await.unwrap();
    assert!(output.status.success(), "{}", output.stdout_text());
}

struct Namespace(String);

impl Drop for Namespace {
    #[expect(clippy::disallowed_methods, reason = "also after a panic, when no future runs any more")]
    fn drop(&mut self) {
        drop(std::process::Command::new("ip").args(["netns", "delete", &self.0]).status());
    }
}
