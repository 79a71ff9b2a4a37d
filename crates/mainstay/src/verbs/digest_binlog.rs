//! `mainstay digest binlog`: the statements of binary logs, and the rows they changed, as a digest.
//!
//! Rows go with the statement that the log names before them; without one they go with their verb and table, one event
//! a transaction.

use std::ops::ControlFlow;

use binlog::{Damages, Item, OnDamage, Step, Table, Tables, Tracker, Used};
use digest::amount::Amount;
use digest::attribute::Attribute;
use digest::event::{Event, Moment, Position, Sink as _};
use digest::report::FileRead;
use digest::{Digest, Settings};
use tokio::task::block_in_place;

use crate::cli::DigestBinlogArgs;
use crate::failure::{Outcome, Verb};
use crate::output::Format;
use crate::verbs::binlog_source::Logs;
use crate::verbs::digest::{self as shared, Plan};
use crate::verbs::digest_read::Gathered;

/// Bytes of a statement that are kept until its rows have been seen.
const STATEMENT_BYTES_MAX: usize = 1 << 20;

pub(crate) async fn run(format: Format, args: &DigestBinlogArgs) -> Verb {
    shared::check_periods(&args.report, None)?;
    let plan = Plan::new(format, &args.report, "Rows_affected:sum");
    let logs = Logs::open(&args.logs, None).await?;
    block_in_place(|| read(&plan, args, logs))
}

fn read(plan: &Plan, args: &DigestBinlogArgs, mut logs: Logs) -> Verb {
    let options = super::binlog::options(&args.logs, OnDamage::Skip);
    let mut collector = Collector::new(plan.settings(shared::now()));
    let mut tables = Tables::default();
    let mut damages = Damages::default();
    let mut files = Vec::new();
    while let Some(log) = logs.next() {
        let walked = logs.walk(options, &mut tables, |item| collector.see(item))?;
        collector.end_log();
        files.push(FileRead { name: log.name, bytes: walked.bytes, problem: None });
        damages.absorb(walked.damages);
    }
    let shown = plan.show(Gathered { digest: collector.digest, files }, None)?;
    let told = super::binlog::told(&damages);
    Ok(if told == Outcome::Good { shown } else { told })
}

/// The statement whose rows are being counted.
#[derive(Debug, Default)]
struct Running {
    /// Its text, or its verb and table.
    statement: Vec<u8>,
    statement_bytes: u64,
    /// Whether the log names it; else rows of another table or verb are another.
    is_named: bool,
    db: Vec<u8>,
    seconds: u32,
    offset: u64,
    rows: u64,
    bytes: u64,
}

struct Collector {
    digest: Digest,
    tracker: Tracker,
    running: Option<Running>,
    rows_bytes: Option<Attribute>,
    file: u32,
}

impl Collector {
    fn new(settings: Settings) -> Self {
        let mut digest = Digest::new(settings);
        let rows_bytes = digest.names().attribute(b"Bytes");
        Self { digest, tracker: Tracker::default(), running: None, rows_bytes, file: 0 }
    }

    fn see(&mut self, item: &Item<'_>) -> Used {
        let (step, ends) = self.tracker.see(item)?;
        match step {
            Step::Begins => self.end_statement(),
            Step::RowsStatement(text) => self.begin(item, text, b"", true),
            // Rows may come behind it: those of CREATE TABLE ... SELECT.
            Step::Statement(query) => self.begin(item, &query.statement, &query.database, true),
            Step::Rows(rows, table) => {
                let count = rows.count(table)?;
                self.rows(item, rows.verb, table, count);
            }
            Step::Outside | Step::Inside => {}
        }
        if ends {
            self.end_statement();
            self.tracker.take();
        }
        Ok(ControlFlow::Continue(()))
    }

    fn begin(&mut self, item: &Item<'_>, statement: &[u8], db: &[u8], is_named: bool) {
        self.end_statement();
        let kept = statement.get(..STATEMENT_BYTES_MAX).unwrap_or(statement);
        self.running = Some(Running {
            statement: kept.trim_ascii_end().to_vec(),
            statement_bytes: statement.len() as u64,
            is_named,
            db: db.to_vec(),
            seconds: item.header.timestamp_seconds,
            offset: item.offset,
            rows: 0,
            bytes: if is_named { u64::from(item.header.event_bytes) } else { 0 },
        });
    }

    fn rows(&mut self, item: &Item<'_>, verb: binlog::Verb, table: &Table, rows: u64) {
        let is_running = self.running.as_ref().is_some_and(|running| running.is_named);
        if !is_running {
            let text = pseudo(verb, table);
            if self.running.as_ref().is_none_or(|running| running.statement != text.as_bytes()) {
                self.begin(item, text.as_bytes(), table.database.as_bytes(), false);
            }
        }
        if let Some(running) = &mut self.running {
            running.rows += rows;
            running.bytes += u64::from(item.header.event_bytes);
            if running.db.is_empty() {
                running.db = table.database.clone().into_bytes();
            }
        }
    }

    fn end_statement(&mut self) {
        let Some(running) = self.running.take() else { return };
        let mut amounts = vec![
            (Attribute::ROWS_AFFECTED, Amount::whole(running.rows)),
            (Attribute::QUERY_LENGTH, Amount::whole(running.statement_bytes)),
        ];
        amounts.extend(self.rows_bytes.map(|attribute| (attribute, Amount::whole(running.bytes))));
        let moment = Moment { seconds: i64::from(running.seconds), has_t: true };
        let mut event = Event::new(&running.statement);
        event.statement_bytes = running.statement_bytes;
        event.moment = Some(moment).filter(|moment| moment.seconds > 0);
        event.db = Some(running.db.as_slice()).filter(|db| !db.is_empty());
        event.thread = self.tracker.current().and_then(|current| current.thread_id).map(u64::from);
        event.position = Position { file: self.file, offset: running.offset };
        event.amounts = &amounts;
        self.digest.take(&event);
    }

    fn end_log(&mut self) {
        self.end_statement();
        self.tracker.end_log();
        self.file += 1;
    }
}

/// What stands for a statement that is not logged.
fn pseudo(verb: binlog::Verb, table: &Table) -> String {
    let (database, name) = (&table.database, &table.name);
    match verb {
        binlog::Verb::Insert => format!("INSERT INTO {database}.{name}"),
        binlog::Verb::Update => format!("UPDATE {database}.{name}"),
        binlog::Verb::Delete => format!("DELETE FROM {database}.{name}"),
    }
}
