//! Prints how long throwaway clusters take to get ready: `cargo run -p lab --example startup`.
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::path::PathBuf;
use std::time::Instant;

use flavor::Vendor;
use lab::{Lab, LabError, Topology, UpOptions};

#[tokio::main]
async fn main() -> Result<(), LabError> {
    let lab = Lab::open(lab::default_root()?)?;
    let mysql_root = std::env::var_os("MAINSTAY_TEST_MYSQL_ROOT").map(PathBuf::from);
    for (vendor, topology) in [
        (Vendor::MariaDb, Topology::Single),
        (Vendor::MariaDb, Topology::Single),
        (Vendor::MariaDb, Topology::Replication),
        (Vendor::MariaDb, Topology::Galera),
        (Vendor::MySql, Topology::Single),
        (Vendor::MySql, Topology::Single),
        (Vendor::MySql, Topology::Replication),
    ] {
        let mut options = UpOptions::new("startup", topology, vendor);
        options.server_root = mysql_root.clone().filter(|_| vendor == Vendor::MySql);
        let started = Instant::now();
        match lab.up(&options).await {
            Ok(cluster) => println!(
                "{} {topology:?} of {}: {:.2} s",
                cluster.flavor,
                cluster.nodes.len(),
                started.elapsed().as_secs_f64()
            ),
            Err(LabError::Program(error)) => {
                println!("{vendor} {topology:?}: skipped, {error}");
                continue;
            }
            Err(error) => return Err(error),
        }
        lab.down("startup").await?;
    }
    Ok(())
}
