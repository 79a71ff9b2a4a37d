//! The stream of a physical backup on its way into a folder: opened and summed here, taken apart by `mbstream` or `tar`.
//!
//! Both refuse names that lead out of the folder; what they say of it is an error here, whatever they end with.

use std::io;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use blob::BlobError;
use dump::DumpError;
use flavor::Vendor;
use host::command::Command;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;

use super::partial::Partial;
use super::restore::{Physical, PhysicalError};
use crate::restore::input::Summed;
use crate::restore::survey::{check, failed};
use crate::restore::{Progress, RestoreError};

/// Bytes that are passed on at once.
const BLOCK_BYTES: usize = 1 << 20;
/// Blocks that wait for the program.
const BLOCKS: usize = 4;
/// Of what a program says, so much is read.
const LOG_BYTES_MAX: usize = 4 << 20;
/// Longest that a program may take to make files ready.
const PREPARE_LIMIT: Duration = Duration::from_hours(24);

/// Unpacks the backup, and says how many bytes it has.
///
/// # Errors
/// It is damaged or another than the manifest says, or the program fails.
pub(super) async fn unpack(
    physical: &Physical,
    partial: &Partial,
    progress: &Arc<Progress>,
) -> Result<u64, PhysicalError> {
    let command = match physical.manifest.server.vendor {
        Vendor::MariaDb => Command::new("mbstream").arg("-x").arg("-C").arg(partial.data()),
        Vendor::MySql => Command::new("tar").arg("-C").arg(partial.data()).args([
            "-xf",
            "-",
            "--no-same-owner",
            "--no-same-permissions",
            "--warning=no-timestamp",
        ]),
    };
    let what = "unpacking the backup";
    let failed = |source| PhysicalError::Program { what, source };
    let (mut input, streaming) = command.stream_in(&partial.log()).map_err(failed)?;
    let (sender, mut blocks) = mpsc::channel(BLOCKS);
    let stop = Stop::default();
    let reading = {
        let (physical, progress, stop) = (physical.clone(), Arc::clone(progress), Arc::clone(&stop.0));
        tokio::task::spawn_blocking(move || read(&physical, &sender, &stop, &progress))
    };
    while let Some(block) = blocks.recv().await {
        let block: Vec<u8> = block;
        if input.write_all(&block).await.is_err() {
            break;
        }
    }
    // It is read to its end also when the program gives up: only then it is known whose fault it is.
    drop(blocks);
    drop(input);
    let bytes = reading.await.map_err(|error| RestoreError::Worker(error.to_string()))??;
    let ended = streaming.finish().await;
    let said = host::files::read_bounded(&partial.log(), LOG_BYTES_MAX)?;
    match String::from_utf8_lossy(&said).lines().find(|line| !line.trim().is_empty()) {
        Some(line) => Err(PhysicalError::Said { what, said: line.to_owned() }),
        None => ended.map(|()| bytes).map_err(failed),
    }
}

/// Ends the reader when nobody waits for it any more.
#[derive(Default)]
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn read(
    physical: &Physical,
    sender: &mpsc::Sender<Vec<u8>>,
    stop: &AtomicBool,
    progress: &Progress,
) -> Result<u64, RestoreError> {
    let name = &physical.record.name;
    let (raw, sum) = Summed::new(physical.file.raw().map_err(failed(name))?);
    let mut text = physical.file.text_of(Box::new(raw)).map_err(broken(name, 0))?;
    let mut bytes = 0;
    loop {
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        let read = text.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut block);
        read.map_err(broken(name, bytes))?;
        if block.is_empty() || stop.load(Ordering::Relaxed) {
            break;
        }
        bytes += block.len() as u64;
        progress.loaded(block.len() as u64, 0);
        // The program may have given up.
        drop(sender.blocking_send(block));
    }
    check(name, &(physical.record.sha256.to_lowercase(), physical.record.bytes), &sum)?;
    Ok(bytes)
}

/// A stream that breaks off is damaged, unless its place or the disk says that it is at fault.
fn broken(file: &str, offset: u64) -> impl FnOnce(io::Error) -> RestoreError {
    let file = file.to_owned();
    move |source| {
        let of_place = source.get_ref().and_then(|inner| inner.downcast_ref::<BlobError>());
        match of_place {
            Some(BlobError::Short { .. } | BlobError::Different { .. }) => {}
            Some(_) => return RestoreError::File { file, source },
            None if source.raw_os_error().is_some() => return RestoreError::File { file, source },
            None => {}
        }
        RestoreError::Damaged { file, source: DumpError::Read { offset, source } }
    }
}

/// Makes unpacked files a data directory: MariaDB's log is applied, and an identity is not taken over.
///
/// # Errors
/// mariadb-backup fails, or the system refuses.
pub(super) async fn prepare(vendor: Vendor, data: &Path) -> Result<(), PhysicalError> {
    match vendor {
        Vendor::MariaDb => {
            let command = Command::new("mariadb-backup")
                .args(["--no-defaults", "--prepare"])
                .arg(format!("--target-dir={}", data.display()))
                .timeout(PREPARE_LIMIT);
            let ran = command.run().await;
            ran.map_err(|source| PhysicalError::Program { what: "making the files ready", source })?;
        }
        // Two servers with one server_uuid cannot replicate from each other; without the file a server makes its own.
        Vendor::MySql => host::files::remove(&data.join("auto.cnf"))?,
    }
    Ok(())
}
