//! `mainstay kill` on real servers: the right one of those in one another's way, nobody in a dry run, the protected never.
//!
//! Sessions are the server's own client on the lab's server, as root; `keeper` is Mainstay's login.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bench::{Bench, Ran, servers, tool, write, write_secret};

const LIMIT: Duration = Duration::from_secs(60);
const PASSWORD: &str = "only-for-this-test";

/// A client's session, ended with the test.
struct Client {
    child: Child,
    /// None once the client has been told that there is no more.
    input: Option<ChildStdin>,
    id: u64,
}

impl Client {
    fn say(&mut self, statement: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(format!("{statement};\n").as_bytes()).unwrap();
        input.flush().unwrap();
    }

    /// Whether the session has been ended: the client learns of it with its next statement.
    fn sees_its_end(mut self) -> bool {
        self.say("SELECT 1");
        !self.finish()
    }

    /// Waits until the client has done all that it was told; whether that went well.
    fn finish(mut self) -> bool {
        self.input = None;
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            assert!(began.elapsed() < LIMIT, "the client waits on");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server with a table, an account for Mainstay with no more than it needs, and a log.
struct Scene {
    bench: Bench,
    log: PathBuf,
    password: PathBuf,
    marks: u32,
}

impl Scene {
    fn new(server: &'static str) -> Self {
        let bench = Bench::for_cloud(server, "none", "");
        let rights = match server {
            "mariadb" => "PROCESS, CONNECTION ADMIN",
            // Sessions of root can be ended only by those who have its SYSTEM_USER.
            _ => "PROCESS, CONNECTION_ADMIN, SYSTEM_USER",
        };
        bench.sql(&format!(
            "CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY, v INT); \
             INSERT INTO shop.orders VALUES (1, 1), (2, 2); \
             CREATE USER keeper@localhost IDENTIFIED BY '{PASSWORD}'; GRANT {rights} ON *.* TO keeper@localhost; \
             CREATE USER mainstay_probe@localhost IDENTIFIED BY '{PASSWORD}'"
        ));
        if server == "mariadb" {
            bench.sql("INSTALL SONAME 'metadata_lock_info'");
        } else {
            bench.sql("GRANT SELECT ON performance_schema.* TO keeper@localhost");
        }
        let (log, password) =
            (bench.folder.path().join("kill/audit.jsonl"), bench.folder.path().join("password"));
        write_secret(&password, PASSWORD);
        Self { bench, log, password, marks: 0 }
    }

    fn kill(&self, flags: &[&str]) -> Ran {
        let (socket, password) =
            (self.bench.node_path("socket"), self.password.to_string_lossy().into_owned());
        let socket = socket.to_string_lossy().into_owned();
        let log = self.log.to_string_lossy().into_owned();
        let mut args =
            vec!["kill", "--json", "--socket", &socket, "--user", "keeper", "--password-file", &password];
        args.extend(["--log", &log]);
        args.extend(flags);
        self.bench.run(&args)
    }

    /// A new session of the server's own client.
    fn client(&mut self) -> Client {
        self.marks += 1;
        let mark = format!("mark{}", self.marks);
        let mut child = self.bench.shell("node1");
        let mut input = child.stdin.take().unwrap();
        // A slow machine is not to end a wait. How it is found among the sessions: whoever holds this lock.
        let begin = format!("SET SESSION innodb_lock_wait_timeout = 3600;\nSELECT GET_LOCK('{mark}', 1);\n");
        input.write_all(begin.as_bytes()).unwrap();
        input.flush().unwrap();
        let find = format!("SELECT CONCAT('id=', IS_USED_LOCK('{mark}')) AS it");
        let id = self.until(&find, |out| out.contains("id="));
        let id = id.rsplit("id=").next().unwrap().trim().parse().unwrap();
        input.write_all(format!("SELECT RELEASE_LOCK('{mark}');\n").as_bytes()).unwrap();
        input.flush().unwrap();
        self.until(&find, |out| !out.contains("id="));
        Client { child, input: Some(input), id }
    }

    /// Asks again until the answer is so.
    fn until(&self, statement: &str, is_so: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let out = self.bench.sql(statement);
            if is_so(&out) {
                return out;
            }
            assert!(began.elapsed() < LIMIT, "{statement}: {out}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn until_count(&self, condition: &str, count: usize) {
        let statement = format!(
            "SELECT CONCAT('n=', COUNT(*)) AS it FROM information_schema.PROCESSLIST WHERE {condition}"
        );
        self.until(&statement, |out| out.contains(&format!("n={count}\n")));
    }

    /// Looks again and again, without ending anybody, until just these would be. Clients that have ended are listed for a
    /// moment after, and nobody else can be asked: whoever asks is such a one.
    fn until_chosen(&self, flags: &[&str], chosen: &[u64], never: u64) -> Value {
        let began = Instant::now();
        loop {
            let report: Value = serde_json::from_str(&self.kill(flags).out).unwrap();
            let found = ids(&report, "kills");
            assert!(!found.contains(&never), "{}: {report}", self.bench.server);
            if found == chosen {
                return report;
            }
            assert!(began.elapsed() < LIMIT, "{}: {report}", self.bench.server);
        }
    }

    /// The server's own sessions that it keeps.
    fn event_scheduler(&self) -> String {
        let statement = "SELECT CONCAT('n=', ID) AS it FROM information_schema.PROCESSLIST WHERE USER = 'event_scheduler'";
        self.until(statement, |out| out.contains("n="))
    }

    fn until_idle(&self, client: &Client) {
        self.until_count(&format!("ID = {} AND COMMAND = 'Sleep'", client.id), 1);
    }

    fn until_metadata_waits(&self, count: usize) {
        self.until_count("STATE = 'Waiting for table metadata lock'", count);
    }

    fn until_transaction(&self) {
        let statement = "SELECT CONCAT('n=', COUNT(*)) AS it FROM information_schema.INNODB_TRX";
        self.until(statement, |out| out.contains("n=1\n"));
    }

    fn until_row_waits(&self, count: usize) {
        let statement = "SELECT CONCAT('n=', COUNT(*)) AS it FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'";
        self.until(statement, |out| out.contains(&format!("n={count}\n")));
    }

    fn is_there(&self, id: u64) -> bool {
        let statement = format!(
            "SELECT CONCAT('n=', COUNT(*)) AS it FROM information_schema.PROCESSLIST WHERE ID = {id}"
        );
        self.bench.sql(&statement).contains("n=1\n")
    }

    fn log_lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn ids(report: &Value, list: &str) -> Vec<u64> {
    report["verdict"][list].as_array().unwrap().iter().map(|one| one["id"].as_u64().unwrap()).collect()
}

#[test]
fn real_kill_ends_the_blocker_and_nobody_else() {
    for server in servers() {
        let mut scene = Scene::new(server);
        rows(&mut scene);
        metadata(&mut scene);
        queries(&mut scene);
        refused(&mut scene);
    }
}

/// One holds a row, two wait for it.
fn rows(scene: &mut Scene) {
    let server = scene.bench.server;
    let (mut holder, mut first, mut second) = (scene.client(), scene.client(), scene.client());
    holder.say("BEGIN; UPDATE shop.orders SET v = 10 WHERE id = 1");
    scene.until_idle(&holder);
    scene.until_transaction();
    first.say("UPDATE shop.orders SET v = v + 1 WHERE id = 1");
    scene.until_row_waits(1);
    second.say("UPDATE shop.orders SET v = v + 1 WHERE id = 1");
    scene.until_row_waits(2);

    let rule = ["--blocks", "2", "--locks", "rows", "--victims", "blocker", "--kill", "connection"];
    let dry = scene.kill(&rule).json(2);
    assert_eq!(ids(&dry, "kills"), [holder.id], "{server}: {dry}");
    assert_eq!((&dry["mode"], &dry["ended"]), (&"dry-run".into(), &Value::Array(Vec::new())));
    assert!(scene.is_there(holder.id) && scene.log_lines().is_empty(), "{server}: a dry run did something");
    scene.until_row_waits(2);
    assert_eq!(
        ids(&scene.kill(&["--blocks", "3", "--victims", "blocker"]).json(0), "kills"),
        Vec::<u64>::new()
    );
    let shielded = scene.kill(&[&rule[..], &["--protect", "root@localhost", "--yes"]].concat()).json(0);
    assert_eq!(ids(&shielded, "spared"), [holder.id], "{server}: {shielded}");
    assert!(scene.is_there(holder.id) && scene.log_lines().is_empty());

    let done = scene.kill(&[&rule[..], &["--yes"]].concat()).json(0);
    assert_eq!(ids(&done, "kills"), [holder.id], "{server}: {done}");
    assert_eq!(done["ended"][0]["outcome"], "killed", "{server}: {done}");
    let reason = done["verdict"]["kills"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("with 1 changed row, blocking 2 sessions"), "{server}: {reason}");
    assert!(first.finish() && second.finish(), "{server}: who waited goes on");
    assert!(holder.sees_its_end(), "{server}: the holder's session goes on");
    let value = scene.bench.sql("SELECT CONCAT('v=', v) FROM shop.orders WHERE id = 1");
    assert!(value.contains("v=3\n"), "{server}: the holder's change was rolled back: {value}");
    let log = scene.log_lines();
    assert_eq!(
        log.iter().map(|line| line["event"].as_str().unwrap()).collect::<Vec<_>>(),
        ["kill-begins", "kill-ends"]
    );
    for key in ["at", "run", "node", "detail", "kill", "outcome"] {
        assert!(!log[1][key].is_null(), "{server}: {key} in {}", log[1]);
    }
    for key in ["id", "user", "host", "time_ms", "reason", "rule"] {
        assert!(!log[1]["kill"][key].is_null(), "{server}: {key} in {}", log[1]);
    }
}

/// A reader that has gone idle in its transaction, DDL that waits for it, and a reader behind that.
fn metadata(scene: &mut Scene) {
    let server = scene.bench.server;
    let (mut holder, mut ddl, mut reader) = (scene.client(), scene.client(), scene.client());
    holder.say("BEGIN; SELECT * FROM shop.orders");
    scene.until_transaction();
    scene.until_idle(&holder);
    ddl.say("ALTER TABLE shop.orders ADD COLUMN note INT");
    scene.until_metadata_waits(1);
    reader.say("SELECT * FROM shop.orders WHERE v = 12345");
    scene.until_metadata_waits(2);

    let rule = ["--blocks", "2", "--locks", "metadata", "--victims", "blocker", "--kill", "connection"];
    let dry = scene.kill(&rule).json(2);
    assert_eq!(ids(&dry, "kills"), [holder.id], "{server}: {dry}");
    // A kill of the query the holder does not run would help nobody.
    let idle = scene.kill(&["--blocks", "2", "--victims", "blocker", "--yes"]).json(0);
    assert_eq!(
        (ids(&idle, "kills"), ids(&idle, "spared")),
        (Vec::new(), vec![holder.id]),
        "{server}: {idle}"
    );
    assert!(scene.is_there(holder.id));

    let done = scene.kill(&[&rule[..], &["--yes"]].concat()).json(0);
    assert_eq!(done["ended"][0]["outcome"], "killed", "{server}: {done}");
    assert!(ddl.finish() && reader.finish(), "{server}: who waited goes on");
    assert!(holder.sees_its_end(), "{server}: the holder's session goes on");
    let column = scene.bench.sql("SHOW COLUMNS FROM shop.orders LIKE 'note'");
    assert!(column.contains("note"), "{server}: {column}");
    let log = std::fs::read_to_string(&scene.log).unwrap();
    assert!(!log.contains("12345"), "{server}: values of statements are in the log");
}

/// A query is ended by its query id, and its session goes on.
fn queries(scene: &mut Scene) {
    let server = scene.bench.server;
    let (mut sleeper, mut other) = (scene.client(), scene.client());
    sleeper.say("SELECT SLEEP(301)");
    other.say("SELECT SLEEP(302) FROM shop.orders");
    scene.until_count("INFO LIKE 'SELECT SLEEP(30%'", 2);
    // That of `select sleep(?)`, as any digest tool has it.
    let rule = ["--query-id", "F9A57DD5A41825CA", "--victims", "all", "--yes"];
    let done = scene.kill(&rule).json(0);
    assert_eq!(ids(&done, "kills"), [sleeper.id], "{server}: {done}");
    let kill = &done["verdict"]["kills"][0];
    assert_eq!(kill["fingerprint"], "select sleep(?)", "{server}: {kill}");
    assert!(kill["query_id"].as_str().unwrap().ends_with("F9A57DD5A41825CA"), "{server}: {kill}");
    assert_eq!(kill["action"], "query");
    scene.until_count("INFO LIKE 'SELECT SLEEP(301%'", 0);
    if server == "mysql" {
        // MariaDB's client ends when its query does.
        scene.until_idle(&sleeper);
    }
    assert_eq!(ids(&scene.kill(&rule).json(0), "kills"), Vec::<u64>::new());
    scene.until_count(&format!("ID = {} AND COMMAND = 'Query'", other.id), 1);
}

/// What the server refuses is tried with each look, and recorded once.
fn refused(scene: &mut Scene) {
    let server = scene.bench.server;
    let mut sleeper = scene.client();
    sleeper.say("SELECT SLEEP(304)");
    scene.until_count(&format!("ID = {} AND COMMAND = 'Query'", sleeper.id), 1);
    let right = if server == "mariadb" { "CONNECTION ADMIN" } else { "SYSTEM_USER" };
    scene.bench.sql(&format!("REVOKE {right} ON *.* FROM keeper@localhost"));
    let before = scene.log_lines().len();
    let rule = ["--match-statement", "SLEEP.304", "--victims", "all", "--yes"];
    let ran = scene.kill(&[&rule[..], &["--interval", "1s", "--run-time", "5s"]].concat());
    assert!(ran.code == Some(2) && ran.out.matches("\"failed\"").count() >= 2, "{server}: {ran:?}");
    let log = scene.log_lines();
    assert_eq!((log.len(), &log[before + 1]["outcome"]), (before + 2, &"failed".into()), "{server}: {log:?}");
    assert!(scene.is_there(sleeper.id), "{server}");
}

#[test]
fn real_kill_never_ends_the_protected() {
    for server in servers() {
        let mut scene = Scene::new(server);
        scene.bench.sql("SET GLOBAL event_scheduler = ON");
        let (mut holder, plain) = (scene.client(), scene.client());
        holder.say("SELECT GET_LOCK('DatabaseUpgrade', 10)");
        scene.until("SELECT CONCAT('u=', IS_USED_LOCK('DatabaseUpgrade')) AS it", |out| out.contains("u="));
        scene.until_idle(&holder);
        scene.until_idle(&plain);
        scene.until_count(
            &format!("ID IN ({}, {}) AND COMMAND = 'Sleep' AND TIME >= 1", holder.id, plain.id),
            2,
        );
        let everyone =
            ["--match-command", "*", "--victims", "all", "--kill", "connection", "--limit", "10000"];
        let scheduler = scene.event_scheduler();
        let dry = scene.until_chosen(&everyone, &[plain.id], holder.id);
        let why = |id: u64| {
            let spared = dry["verdict"]["spared"].as_array().unwrap();
            spared.iter().find(|one| one["id"] == id).unwrap()["why"].clone()
        };
        assert_eq!(why(holder.id)["kind"], "holds-user-lock", "{server}");
        // MySQL folds the names of such locks.
        let name = why(holder.id)["detail"].as_str().unwrap().to_lowercase();
        assert_eq!(name, "databaseupgrade", "{server}");

        let done = scene.kill(&[&everyone[..], &["--yes"]].concat()).json(0);
        assert_eq!(ids(&done, "kills"), [plain.id], "{server}: {done}");
        assert!(scene.is_there(holder.id), "{server}: the lock's holder is gone");
        assert_eq!(scheduler, scene.event_scheduler(), "{server}: it is another one now");
        assert!(plain.sees_its_end(), "{server}: its session goes on");
        unseen_locks(&scene, holder.id);
    }
}

/// Where the server does not tell who holds such locks, whoever may is left alone.
fn unseen_locks(scene: &Scene, holder: u64) {
    match scene.bench.server {
        "mariadb" => scene.bench.sql("UNINSTALL SONAME 'metadata_lock_info'"),
        _ => scene.bench.sql("REVOKE SELECT ON performance_schema.* FROM keeper@localhost"),
    };
    let rule = ["--match-user", "root", "--idle-time", "1s", "--victims", "all", "--yes"];
    let ran = scene.kill(&rule);
    assert!(scene.is_there(holder), "{ran:?}");
    let blind = ran.json(0);
    assert_eq!(ids(&blind, "kills"), Vec::<u64>::new(), "{blind}");
    assert_eq!(blind["verdict"]["spared"][0]["why"]["kind"], "may-hold-user-lock", "{blind}");
    assert!(blind["verdict"]["notes"][0].as_str().unwrap().contains("GET_LOCK is not known"), "{blind}");
}

#[test]
fn real_rules_of_the_spec_are_as_those_of_flags() {
    for server in servers() {
        let mut scene = Scene::new(server);
        let mut sleeper = scene.client();
        sleeper.say("SELECT SLEEP(303)");
        scene.until_count("INFO LIKE 'SELECT SLEEP(303%' AND TIME >= 2", 1);
        let spec = std::fs::read_to_string(scene.bench.spec()).unwrap();
        let more = "\n[kill]\nprotect = [\"backup\"]\nallow = [\"login-account\"]\n\n[[kill.rule]]\nname = \"sleepers\"\n\
                    fingerprint = [\"select sleep(1)\"]\nbusy_time = \"1s\"\nvictims = \"all\"\n";
        write(&scene.bench.spec(), &format!("{spec}{more}"));
        let dry = scene.bench.on_spec(&["kill", "--json"]).json(2);
        assert_eq!(ids(&dry, "kills"), [sleeper.id], "{server}: {dry}");
        assert_eq!(dry["verdict"]["kills"][0]["rule"], "sleepers");
        let done = scene.bench.on_spec(&[
            "kill",
            "--rule",
            "sleepers",
            "--yes",
            "--interval",
            "1s",
            "--run-time",
            "2s",
        ]);
        assert_eq!(done.code, Some(0), "{server}: {done:?}");
        assert!(done.out.contains(&format!("killed query of session {}", sleeper.id)), "{server}: {done:?}");
        scene.until_count("INFO LIKE 'SELECT SLEEP(303%'", 0);
        let events = std::fs::read_to_string(scene.bench.own("state").join("audit.jsonl")).unwrap();
        assert_eq!(events.lines().count(), 2, "{server}: {events}");
        assert!(events.contains("\"node\":\"node1\""), "{server}: {events}");
        let unknown = scene.bench.on_spec(&["kill", "--rule", "nosuch"]);
        assert!(unknown.err.contains("its rules are sleepers"), "{unknown:?}");
    }
}

const NODES: [&str; 3] = ["node1", "node2", "node3"];

/// Waits until something is so.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LIMIT, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The agents of a cluster's nodes, ended with the test.
struct Agents<'a> {
    bench: &'a Bench,
    log: PathBuf,
    running: Vec<Child>,
}

impl<'a> Agents<'a> {
    /// Starts agents whose specs have this at their end, in place of those that run.
    fn start(bench: &'a Bench, more: &str, log: &str) -> Self {
        let mut agents = Self { bench, log: bench.folder.path().join(log), running: Vec::new() };
        for node in NODES {
            let spec = agents.spec(node);
            for pid in running(&spec) {
                assert_eq!(tool("kill", &["-TERM", &pid]).unwrap().code, Some(0));
            }
            until("an agent goes on", || running(&spec).is_empty());
            let text = std::fs::read_to_string(&spec).unwrap();
            let text = text.split("\n[kill]").next().unwrap();
            write(Path::new(&spec), &format!("{text}{more}"));
            let log = format!("{}-{node}", agents.log.display());
            let config = format!("--config={spec}");
            agents.running.push(bench.start_daemon(&["agent", "--node", node, &config], Path::new(&log)));
        }
        agents
    }

    fn spec(&self, node: &str) -> String {
        self.bench.own(node).join("mainstay.toml").to_string_lossy().into_owned()
    }

    /// The primary, once there is one and the others follow it.
    fn primary(&self) -> &'static str {
        let is = |node: &str, path: &str| {
            self.bench.run(&["health", "--config", &self.spec(node), "--node", node, path]).code == Some(0)
        };
        until("the cluster is not whole", || {
            NODES.iter().all(|node| is(node, "/primary") || is(node, "/replica"))
                && NODES.iter().any(|node| is(node, "/primary"))
        });
        NODES.into_iter().find(|node| is(node, "/primary")).expect("it has just been there")
    }

    /// A session that sleeps, and nothing else on this node does for so long.
    fn sleeper(&self, node: &str, seconds: u32) -> Client {
        let mut child = self.bench.shell(node);
        let input = child.stdin.take();
        let mut client = Client { child, input, id: 0 };
        client.say(&format!("SELECT SLEEP({seconds})"));
        until("it does not sleep", || self.sleeps(node, seconds));
        client
    }

    fn sleeps(&self, node: &str, seconds: u32) -> bool {
        let statement = format!(
            "SELECT CONCAT('n=', COUNT(*)) AS it FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT SLEEP({seconds}%'"
        );
        let ran = self.bench.run(&["lab", "shell", "t", node, "--execute", &statement]);
        ran.out.contains("n=1\n")
    }

    /// Whom this node's agent has ended, as its audit log says.
    fn killed(&self, node: &str) -> usize {
        let log = self.bench.own(node).join("state/audit.jsonl");
        let text = std::fs::read_to_string(log).unwrap_or_default();
        text.lines()
            .filter(|line| line.contains("\"event\":\"kill-ends\"") && line.contains("\"killed\""))
            .count()
    }

    fn log(&self, node: &str) -> String {
        std::fs::read_to_string(format!("{}-{node}", self.log.display())).unwrap_or_default()
    }
}

impl Drop for Agents<'_> {
    fn drop(&mut self) {
        for agent in &mut self.running {
            // It may have ended.
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}

/// The processes that are the agent of a spec.
fn running(spec: &str) -> Vec<String> {
    let config = format!("--config={spec}");
    let is_agent = |pid: &String| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        words.contains(&&b"agent"[..]) && words.contains(&config.as_bytes())
    };
    let processes = std::fs::read_dir("/proc").unwrap().map_while(Result::ok);
    processes.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(is_agent).collect()
}

#[test]
fn real_agents_end_by_the_spec_on_the_primary_alone() {
    for server in servers() {
        let bench = Bench::with_agents(server, "none");
        let section = |more: &str| {
            format!(
                "\n[kill]\ninterval = \"1s\"\nallow = [\"login-account\"]\n{more}[[kill.rule]]\nname = \"sleepers\"\n\
                 fingerprint = [\"select sleep(1)\"]\nbusy_time = \"1s\"\nvictims = \"all\"\n"
            )
        };
        // A dry run, since the section does not say otherwise.
        let agents = Agents::start(&bench, &section(""), "dry");
        let primary = agents.primary();
        let sleepers = NODES.map(|node| agents.sleeper(node, 401));
        until("it says nothing", || agents.log(primary).contains("[kill] would end it"));
        for node in NODES {
            assert!(agents.sleeps(node, 401), "{server}: a dry run ended a query on {node}");
            assert_eq!(agents.killed(node), 0, "{server}: {node}");
        }
        drop((sleepers, agents));

        let agents = Agents::start(&bench, &section("dry_run = false\n"), "real");
        let primary = agents.primary();
        let others: Vec<(&str, Client)> = NODES
            .into_iter()
            .filter(|node| *node != primary)
            .map(|node| (node, agents.sleeper(node, 402)))
            .collect();
        // The server keeps the sleepers of clients that have gone.
        until("it sleeps on", || !agents.sleeps(primary, 401));
        let before = agents.killed(primary);
        // Two, one after the other: the agents of the others have looked in the meantime.
        for ended in 1..=2 {
            let mut child = bench.shell(primary);
            let mut sleeper = Client { input: child.stdin.take(), child, id: 0 };
            sleeper.say("SELECT SLEEP(403)");
            until("nobody was ended", || agents.killed(primary) == before + ended);
            until("it sleeps on", || !agents.sleeps(primary, 403));
        }
        for (node, _) in &others {
            assert!(agents.sleeps(node, 402), "{server}: {node} is not the primary, {primary} is");
            assert_eq!(agents.killed(node), 0, "{server}: {node}");
        }
    }
}
