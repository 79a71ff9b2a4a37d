//! `mainstay checksum`: which rows of nodes differ.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use checksum::{Login, Method, Observer, Options, Progress, Report, Stage, Verdict};
use server::{Connection, Endpoint, Limits, Sql, Target};
use spec::{Spec, Topology};

use crate::cli::{ChecksumArgs, ConnectArgs};
use crate::context;
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};
use crate::verbs::facts;

/// Between two lines of progress.
const SHOWN_EVERY: Duration = Duration::from_secs(5);
/// Before the first one: short work needs none.
const SHOWN_AFTER: Duration = Duration::from_secs(2);
/// A node that does not answer within this is none to compare with.
const LIMITS: Limits = Limits { connect: Duration::from_secs(5), statement: Duration::from_secs(5) };

pub(crate) async fn run(format: Format, args: &ChecksumArgs) -> Verb {
    let (source, targets, galera) = servers(args).await?;
    if args.repair_sql.is_some() && targets.len() > 1 {
        return Err(Failure::said(
            format!("repair statements are for one server, and {} are compared", targets.len()),
            "name it with --source and --target",
        ));
    }
    let mut options = Options::new(match (args.exact, args.static_data, args.galera || galera) {
        (true, _, _) => Method::Exact,
        (_, true, _) => Method::Static,
        (_, _, true) => Method::Galera,
        (false, false, false) => Method::Optimistic,
    });
    options.databases.clone_from(&args.what.databases);
    options.tables.clone_from(&args.what.tables);
    options.ignored.clone_from(&args.what.ignore_table);
    options.renamed.clone_from(&args.what.renamed);
    options.thorough = args.thorough;
    options.chunk_ms = args.chunk_time;
    options.lag_limit = Duration::from_secs(args.lag_limit);
    options.load_max = args.load_max;
    options.locks = !args.no_locks;
    options.differences_max = args.max_differences;
    options.shown_max = args.show;
    let watcher = Watcher::new(args.repair_sql.clone(), options.method == Method::Galera);
    let report = checksum::compare(&source, &targets, &options, &watcher).await?;
    output::result(format, &report);
    watcher.say_what_was_written();
    outcome(&report)
}

fn outcome(report: &Report) -> Verb {
    Ok(match (report.count(&Verdict::Failed), report.is_equal()) {
        (0, true) => Outcome::Good,
        (0, false) => Outcome::Differs,
        _ if report.count(&Verdict::Differs) > 0 => Outcome::Differs,
        _ => Outcome::Negative,
    })
}

/// The server compared with, those compared, and whether they are a Galera cluster.
async fn servers(args: &ChecksumArgs) -> Result<(Login, Vec<Login>, bool), Failure> {
    if let Some(source) = &args.source {
        let targets: Result<Vec<Login>, Failure> =
            args.target.iter().map(|address| login(args, address)).collect();
        return Ok((login(args, source)?, targets?, false));
    }
    let loaded = context::load(&args.spec)?;
    let here = context::this_node(&loaded, &args.spec).await.ok().map(|node| node.name);
    let spec = &loaded.spec;
    let mut logins = Vec::new();
    for node in &spec.nodes {
        let target = match has_login(args) {
            true => login(args, &address_of(&node.address.to_string(), node.port))?.target,
            false => setup::node_target(spec, node, here.as_deref() == Some(&node.name))?,
        };
        logins.push(Login { name: node.name.clone(), target });
    }
    let primary = primary(spec, &logins).await?;
    let source = logins.remove(primary);
    if logins.is_empty() {
        return Err(Failure::said(
            "the spec has one node: there is nothing to compare it with",
            "name two servers with --source and --target",
        ));
    }
    Ok((source, logins, spec.cluster.topology == Topology::Galera))
}

/// Which node to compare the others with: the one that takes writes, in Galera the first that answers.
async fn primary(spec: &Spec, logins: &[Login]) -> Result<usize, Failure> {
    let mut writers = Vec::new();
    for (at, login) in logins.iter().enumerate() {
        let mut connection = Connection::open(&login.target, &LIMITS).await.map_err(|error| {
            let hint = error.hint().unwrap_or_else(|| "mainstay status".to_owned());
            Failure::new(anyhow::Error::new(error).context(format!("{} does not answer", login.name)), hint)
        })?;
        let rows = connection.query(&Sql::plain("SELECT @@GLOBAL.read_only AS r")).await?;
        if rows.first().and_then(|row| row.text("r")) == Some("0") {
            writers.push(at);
        }
        connection.close().await;
    }
    match writers.as_slice() {
        [only] => Ok(*only),
        [first, ..] if spec.cluster.topology == Topology::Galera => Ok(*first),
        found => Err(Failure::said(
            format!("{} nodes accept writes: it is not clear which one is the primary", found.len()),
            "name the servers with --source and --target, or see: mainstay status",
        )),
    }
}

const fn has_login(args: &ChecksumArgs) -> bool {
    let login = &args.login;
    login.user.is_some()
        || login.defaults_file.is_some()
        || login.password_file.is_some()
        || login.ask_password
}

fn address_of(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn login(args: &ChecksumArgs, address: &str) -> Result<Login, Failure> {
    let of = &args.login;
    let mut connect = ConnectArgs {
        socket: None,
        host: None,
        port: None,
        user: of.user.clone(),
        defaults_file: of.defaults_file.clone(),
        password_file: of.password_file.clone(),
        ask_password: of.ask_password,
        tls_ca: of.tls_ca.clone(),
        tls_insecure: of.tls_insecure,
        no_tls: of.no_tls,
    };
    match endpoint(address)? {
        Endpoint::Socket(path) => connect.socket = Some(path),
        Endpoint::Tcp { host, port } => (connect.host, connect.port) = (Some(host), Some(port)),
    }
    let target: Target = facts::target(&connect)?;
    Ok(Login { name: address.to_owned(), target })
}

/// `HOST`, `HOST:PORT`, `[ADDRESS]:PORT` or a socket's path.
fn endpoint(address: &str) -> Result<Endpoint, Failure> {
    let wrong = || {
        Failure::said(
            format!("`{address}` is no server's address"),
            "write it as db1.example, db1.example:3306, [fd00::1]:3306, or a socket's path such as /run/mysqld/mysqld.sock",
        )
    };
    if address.contains('/') {
        return Ok(Endpoint::Socket(PathBuf::from(address)));
    }
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(wrong)?;
            (host, port.strip_prefix(':').or_else(|| port.is_empty().then_some("3306")).ok_or_else(wrong)?)
        }
        // More than one colon: an address of IPv6 without a port.
        None if address.matches(':').count() > 1 => (address, "3306"),
        None => address.split_once(':').unwrap_or((address, "3306")),
    };
    let port = port.parse().map_err(|_| wrong())?;
    if host.is_empty() {
        return Err(wrong());
    }
    Ok(Endpoint::Tcp { host: host.to_owned(), port })
}

/// Shows progress and writes repair statements down.
struct Watcher {
    began: Instant,
    shown: Mutex<Option<Instant>>,
    repair: Option<PathBuf>,
    galera: bool,
    file: Mutex<Option<File>>,
}

impl Watcher {
    fn new(repair: Option<PathBuf>, galera: bool) -> Self {
        Self { began: Instant::now(), shown: Mutex::new(None), repair, galera, file: Mutex::new(None) }
    }

    fn say_what_was_written(&self) {
        let is_written = self.file.lock().is_ok_and(|file| file.is_some());
        if let Some(path) = self.repair.as_ref().filter(|_| is_written) {
            output::message(&format!(
                "repair statements are in {}: read them before you run them",
                path.display()
            ));
        }
    }

    fn is_due(&self) -> bool {
        let Ok(mut shown) = self.shown.lock() else { return false };
        let is_due = match *shown {
            None => self.began.elapsed() >= SHOWN_AFTER,
            Some(at) => at.elapsed() >= SHOWN_EVERY,
        };
        if is_due {
            *shown = Some(Instant::now());
        }
        is_due
    }
}

impl Observer for Watcher {
    fn progress(&self, progress: &Progress) {
        if self.is_due() {
            output::message(&line(progress, self.began.elapsed()));
        }
    }

    fn repair(&self, target: &str, statements: &str) -> std::io::Result<()> {
        let Some(path) = &self.repair else { return Ok(()) };
        if statements.is_empty() {
            return Ok(());
        }
        let mut file = self.file.lock().map_err(|_| std::io::Error::other("an earlier write broke off"))?;
        if file.is_none() {
            // It holds the tables' data. What is there already may be of another comparison.
            let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            new.write_all(checksum::repair::head(target, self.galera).as_bytes())?;
            *file = Some(new);
        }
        if let Some(file) = file.as_mut() {
            file.write_all(statements.as_bytes())?;
            file.sync_all()?;
        }
        Ok(())
    }
}

/// A line of progress, with the time left where it can be told.
fn line(progress: &Progress, elapsed: Duration) -> String {
    let target = &progress.target;
    let table = progress.table.as_ref().map(ToString::to_string).unwrap_or_default();
    match &progress.stage {
        Stage::Looking => format!("reading what tables {target} has"),
        Stage::Lag { seconds } => format!("waiting for {target} to catch up, for {seconds} s already"),
        Stage::Load { threads } => format!("waiting: {threads} threads work on {target}"),
        Stage::Settling => format!("{table} on {target}: finding the rows that differ"),
        Stage::Summing => {
            let rate = progress.rows_done * 1_000 / u64::try_from(elapsed.as_millis()).unwrap_or(1).max(1);
            let left = progress.rows_estimate.saturating_sub(progress.rows_done);
            let eta = left
                .checked_div(rate)
                .map_or_else(|| "no rows yet".to_owned(), |seconds| format!("about {seconds} s left"));
            format!("{table} on {target}: {} rows, {rate} rows/s, {eta}", progress.rows_done)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hosts_with_or_without_ports_or_sockets() {
        let tcp = |host: &str, port| Some(Endpoint::Tcp { host: host.to_owned(), port });
        for (text, expected) in [
            ("db1", tcp("db1", 3306)),
            ("db1:3307", tcp("db1", 3307)),
            ("fd00::1", tcp("fd00::1", 3306)),
            ("[fd00::1]:3307", tcp("fd00::1", 3307)),
            ("[fd00::1]", tcp("fd00::1", 3306)),
            ("/run/a.sock", Some(Endpoint::Socket("/run/a.sock".into()))),
            ("db1:x", None),
            (":3306", None),
            ("[fd00::1", None),
            ("[fd00::1]3306", None),
        ] {
            assert_eq!(endpoint(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn progress_tells_rate_and_time_left() {
        let progress = Progress {
            table: "a.t".parse().ok(),
            target: "db2".to_owned(),
            stage: Stage::Summing,
            rows_done: 1_000,
            rows_estimate: 5_000,
        };
        let text = line(&progress, Duration::from_secs(2));
        assert_eq!(text, "a.t on db2: 1000 rows, 500 rows/s, about 8 s left");
    }
}
