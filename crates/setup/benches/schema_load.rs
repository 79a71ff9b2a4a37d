//! How long a CloudStack base schema takes to load: apply, against the client program run once a file as
//! `cloudstack-setup-databases` does. Both on one server, by turns.
//!
//! `MAINSTAY_TEST_CLOUDSTACK_SETUP=FOLDER cargo bench -p setup --bench schema_load`, FOLDER being CloudStack's
//! `setup/db`. Every load begins with dropping what the one before made, which is not timed.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking, and prints what it measured"
)]

#[path = "../tests/it/harness.rs"]
mod harness;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use host::command::Command;
use plan::{Action, Options};
use server::ServerProgram;
use setup::Observe;

use crate::harness::{Bench, CLOUDSTACK, mysql_root, vendors};

const ROUNDS: usize = 7;

#[tokio::main]
async fn main() {
    let Some(folder) = std::env::var_os("MAINSTAY_TEST_CLOUDSTACK_SETUP").map(PathBuf::from) else {
        println!("skipped: MAINSTAY_TEST_CLOUDSTACK_SETUP does not name CloudStack's setup/db folder");
        return;
    };
    for vendor in vendors().await {
        let bench = Bench::new(vendor, &format!("{CLOUDSTACK}schema_dir = {folder:?}\n")).await;
        bench.converge().await;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            theirs.push(client(&bench, &folder).await);
            ours.push(apply(&bench).await);
        }
        let root = if vendor == flavor::Vendor::MySql { mysql_root() } else { None };
        let program = ServerProgram::find(root.as_deref(), vendor).await.unwrap();
        println!(
            "{}: apply's load step {}, the client {}, ratio of medians {:.2}",
            program.flavor(),
            shown(&mut ours),
            shown(&mut theirs),
            median(&mut ours) / median(&mut theirs)
        );
        bench.down().await;
    }
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn shown(times: &mut [f64]) -> String {
    format!("{:.2} s ({:.2} to {:.2})", median(times), times[0], times[times.len() - 1])
}

/// The load step of a plan that makes both databases anew: drop and create are part of what the scripts do too.
async fn apply(bench: &Bench) -> f64 {
    let options = Options { recreate: vec!["cloud".to_owned(), "cloud_usage".to_owned()] };
    let seen = setup::observe(&bench.spec, bench.node(), &Observe { measure: false }).await.unwrap();
    let plan = plan::make(&bench.spec, bench.node(), &seen, &options);
    let mut took = Took::default();
    setup::apply(&bench.spec, bench.node(), &plan, &options, &mut took).await.unwrap();
    took.0.as_secs_f64()
}

#[derive(Default)]
struct Took(Duration);

impl setup::Progress for Took {
    fn begins(&mut self, _number: usize, _of: usize, _step: &plan::Step) {}

    fn done(&mut self, step: &plan::Step, took: Duration) {
        if matches!(
            step.action,
            Action::LoadSchema { .. } | Action::CreateDatabase { .. } | Action::DropDatabase { .. }
        ) {
            self.0 += took;
        }
    }
}

/// Each file through a client of its own; the first and third drop and create the databases and accounts.
async fn client(bench: &Bench, folder: &Path) -> f64 {
    bench.run(&["DROP USER IF EXISTS cloud@'%'", "DROP USER IF EXISTS cloud@localhost"]).await;
    let root = mysql_root().filter(|_| bench.cluster.vendor == flavor::Vendor::MySql);
    let program = ServerProgram::find(root.as_deref(), bench.cluster.vendor).await.unwrap();
    let mut words = program.client_command().unwrap();
    words.extend([
        "--no-defaults".to_owned(),
        format!("--socket={}", bench.lab_node().socket.display()),
        "--user=root".to_owned(),
    ]);
    let mut seconds = 0.0;
    for file in cloudstack::schema::SETUP_FILES {
        let Ok(text) = std::fs::read(folder.join(file.name)) else { continue };
        let began = Instant::now();
        Command::from_words(&words)
            .unwrap()
            .stdin(text)
            .timeout(Duration::from_secs(300))
            .run()
            .await
            .unwrap();
        seconds += began.elapsed().as_secs_f64();
    }
    bench.run(&["DROP USER IF EXISTS cloud@'%'"]).await;
    seconds
}
