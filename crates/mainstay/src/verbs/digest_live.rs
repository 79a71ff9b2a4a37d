//! `mainstay digest live`: what a running server does, as a report each interval.

use std::time::Duration;

use digest::Digest;
use digest::event::Moment;
use digest::live::{Counters, ProcessList, Running, Snapshot, add_between};
use digest::report::FileRead;
use server::{Connection, Limits, Row, Sql};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior};

use crate::cli::{DigestLiveArgs, LiveSourceArg};
use crate::failure::{Failure, Outcome, Verb};
use crate::output::{self, Format};
use crate::verbs::digest::{self as shared, Plan};
use crate::verbs::facts::target;

/// The server's counters, and the names that slow logs have for them.
const SUMS: [(&str, &str); 12] = [
    ("SUM_TIMER_WAIT", "Query_time"),
    ("SUM_LOCK_TIME", "Lock_time"),
    ("SUM_ROWS_SENT", "Rows_sent"),
    ("SUM_ROWS_EXAMINED", "Rows_examined"),
    ("SUM_ROWS_AFFECTED", "Rows_affected"),
    ("SUM_ERRORS", "Errors"),
    ("SUM_WARNINGS", "Warnings"),
    ("SUM_CREATED_TMP_TABLES", "Tmp_tables"),
    ("SUM_CREATED_TMP_DISK_TABLES", "Tmp_disk_tables"),
    ("SUM_SELECT_FULL_JOIN", "Full_joins"),
    ("SUM_SORT_MERGE_PASSES", "Merge_passes"),
    ("SUM_NO_INDEX_USED", "No_index_used"),
];
/// The tables that are read here, which are not to count as the server's work.
const OWN: [&str; 2] = ["events_statements_summary_by_digest", "events_statements_histogram_by_digest"];
/// What the statements beyond those that the server keeps apart are called.
const BEYOND: &str = "(statements beyond performance_schema_digests_size)";
/// Characters from which on the server's example may be cut off.
const SAMPLE_CHARS_MAX: usize = 1000;

pub(crate) async fn run(format: Format, args: &DigestLiveArgs) -> Verb {
    let plan = Plan::new(format, &args.report, "Query_time:sum");
    if args.count != 1 {
        plan.check_intervals()?;
    }
    let mut connection = Connection::open(&target(&args.connect)?, &Limits::default()).await?;
    let source = match args.source {
        Some(source) => source,
        None => found_source(&mut connection).await?,
    };
    let watch = Watch {
        plan,
        name: name(source),
        interval: Duration::from_secs(args.interval.into()),
        count: args.count,
    };
    match source {
        LiveSourceArg::Statements => statements(&watch, &mut connection).await,
        LiveSourceArg::Processlist => {
            process_list(&watch, &mut connection, Duration::from_millis(args.every.into())).await
        }
    }
}

/// How long to watch, and what to make of it.
struct Watch {
    plan: Plan,
    name: &'static str,
    interval: Duration,
    count: u64,
}

const fn name(source: LiveSourceArg) -> &'static str {
    match source {
        LiveSourceArg::Statements => "performance_schema",
        LiveSourceArg::Processlist => "process list",
    }
}

impl Watch {
    fn digest(&self) -> Digest {
        Digest::new(self.plan.settings(shared::now()))
    }

    fn show(&self, digest: &Digest) -> Result<(), Failure> {
        let file = FileRead { name: self.name.to_owned(), bytes: 0, problem: None };
        if self.count == 1 {
            output::text(&self.plan.rendered(&self.plan.report(digest, vec![file]), false)?);
            return Ok(());
        }
        self.plan.show_interval(digest, vec![file])
    }

    const fn is_over(&self, shown: u64) -> bool {
        self.count > 0 && shown >= self.count
    }
}

fn moment() -> Moment {
    Moment { seconds: shared::now().utc_seconds, has_t: true }
}

/// Where statements are counted on this server.
async fn found_source(connection: &mut Connection) -> Result<LiveSourceArg, Failure> {
    let sql = "SELECT enabled AS e FROM performance_schema.setup_consumers WHERE name = 'statements_digest'";
    let is_on = match connection.query(&Sql::plain(sql)).await {
        Ok(rows) => rows.first().and_then(|row| row.text("e")) == Some("YES"),
        Err(error) => {
            tracing::debug!(%error, "performance_schema cannot be read");
            false
        }
    };
    let is_on = is_on && {
        let rows = connection.query(&Sql::plain("SELECT @@GLOBAL.performance_schema AS p")).await?;
        rows.first().and_then(|row| row.text("p")) == Some("1")
    };
    if !is_on {
        output::message(
            "performance_schema counts no statements here: the process list is looked at instead",
        );
    }
    Ok(if is_on { LiveSourceArg::Statements } else { LiveSourceArg::Processlist })
}

async fn statements(watch: &Watch, connection: &mut Connection) -> Verb {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut before = snapshot(connection).await?;
    let mut due = Instant::now() + watch.interval;
    let mut shown = 0;
    loop {
        let is_interrupted = tokio::select! {
            () = tokio::time::sleep_until(due) => false,
            _ = interrupted.recv() => true,
            _ = terminated.recv() => true,
        };
        let after = snapshot(connection).await?;
        let mut digest = watch.digest();
        let resets = add_between(&before, &after, moment(), &mut digest);
        if resets > 0 {
            output::message(&format!(
                "{resets} of the server's counters were reset meanwhile: what they counted is lost"
            ));
        }
        watch.show(&digest)?;
        before = after;
        shown += 1;
        due += watch.interval;
        if is_interrupted || watch.is_over(shown) {
            return Ok(Outcome::Good);
        }
    }
}

/// The server's counters now.
async fn snapshot(connection: &mut Connection) -> Result<Snapshot, Failure> {
    let sql = "SELECT * FROM performance_schema.events_statements_summary_by_digest";
    let rows = connection.query(&Sql::plain(sql)).await?;
    // Servers that know percentiles have the histograms they come from.
    let has_histograms = rows
        .first()
        .is_some_and(|row| row.columns().iter().any(|column| column.eq_ignore_ascii_case("QUANTILE_95")));
    let mut snapshot = Snapshot::default();
    for row in &rows {
        let Some((key, counters)) = counters(row) else { continue };
        snapshot.digests.insert(key, counters);
    }
    if has_histograms {
        let sql = "SELECT schema_name AS s, digest AS d, bucket_timer_high AS h, count_bucket AS c \
            FROM performance_schema.events_statements_histogram_by_digest WHERE count_bucket > 0";
        for row in connection.query(&Sql::plain(sql)).await? {
            let key = (row.text("s").map(str::to_owned), row.text("d").map(str::to_owned));
            let (Some(bound), Some(many)) = (row.parsed("h"), row.parsed("c")) else { continue };
            if let Some(counters) = snapshot.digests.get_mut(&key) {
                counters.times.push((bound, many));
            }
        }
    }
    Ok(snapshot)
}

/// Schema and digest.
type DigestKey = (Option<String>, Option<String>);

/// A digest's counters; none for what is read here.
fn counters(row: &Row) -> Option<(DigestKey, Counters)> {
    let text = row.text("DIGEST_TEXT").unwrap_or(BEYOND);
    if OWN.iter().any(|own| text.contains(own)) {
        return None;
    }
    // With its literals it has the query id that it has in a slow log.
    let sample = row.text("QUERY_SAMPLE_TEXT").filter(|sample| sample.chars().count() < SAMPLE_CHARS_MAX);
    let statement = sample.filter(|sample| !sample.trim().is_empty()).unwrap_or(text).to_owned();
    let sums = SUMS.iter().filter_map(|(column, name)| Some((*name, row.parsed(column)?))).collect();
    let key = (row.text("SCHEMA_NAME").map(str::to_owned), row.text("DIGEST").map(str::to_owned));
    Some((key, Counters { statement, count: row.parsed("COUNT_STAR")?, sums, times: Vec::new() }))
}

async fn process_list(watch: &Watch, connection: &mut Connection, every: Duration) -> Verb {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let began = Instant::now();
    let mut due = began + watch.interval;
    let mut looks = tokio::time::interval(every);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut list = ProcessList::default();
    let mut digest = watch.digest();
    let mut shown = 0;
    loop {
        let is_interrupted = tokio::select! {
            _ = looks.tick() => false,
            _ = interrupted.recv() => true,
            _ = terminated.recv() => true,
        };
        let rows = connection.query(&Sql::plain("SHOW FULL PROCESSLIST")).await?;
        let own = u64::from(connection.connection_id());
        let running = rows.iter().filter_map(running).filter(|it| it.thread != own).collect();
        let millis = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
        list.look(millis, running, moment(), &mut digest);
        let is_last = is_interrupted || watch.is_over(shown + 1);
        if is_interrupted || Instant::now() >= due {
            if is_last {
                list.finish(moment(), &mut digest);
            }
            watch.show(&digest)?;
            digest = watch.digest();
            shown += 1;
            due += watch.interval;
            if is_last {
                return Ok(Outcome::Good);
            }
        }
    }
}

/// A statement that runs. Connections that wait for one, and the server's own threads, are none.
fn running(row: &Row) -> Option<Running> {
    let statement = row.bytes("Info").map(|text| String::from_utf8_lossy(text).into_owned())?;
    let is_statement = matches!(row.text("Command"), Some("Query" | "Execute"));
    if !is_statement || statement.is_empty() {
        return None;
    }
    let host = row.text("Host").unwrap_or_default();
    Some(Running {
        thread: row.parsed("Id")?,
        user: row.text("User").unwrap_or_default().to_owned(),
        host: host.rsplit_once(':').map_or(host, |(host, _)| host).to_owned(),
        db: row.text("db").map(str::to_owned),
        seconds: row.parsed("Time").unwrap_or(0),
        statement,
    })
}
