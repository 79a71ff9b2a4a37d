//! What a dump begins with: sessions at one moment, and all that there was at that moment. It writes nothing.
//!
//! What there is, is not part of a snapshot. Where schema changes cannot be held off, it is looked at before and after,
//! and where that differs, another moment is taken: else a table made in between would be in no dump, nor in the logs that
//! are replayed onto it.

use std::collections::BTreeMap;
use std::time::Duration;

use dump::manifest::ServerRecord;
use flavor::Vendor;
use server::{Connection, Limits, Sql, Target};

use super::catalog::{self, Catalog};
use super::error::{CreateError, During as _};
use super::options::CreateOptions;
use super::server_record;
use super::snapshot::{self, Snapshot};

/// Moments tried, with pauses that a change of the schema may end in.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(500);
/// The first of them that holds schema changes off on MariaDB, where they wait for it.
const FIRST_HELD: u32 = 4;

/// What is known of the server before its rows are read.
pub(super) struct Begun {
    pub(super) control: Connection,
    pub(super) server: ServerRecord,
    pub(super) catalog: Catalog,
    /// Of what the catalog has, as [`catalog::fingerprints`] tells it.
    pub(super) definitions: BTreeMap<String, String>,
}

/// Opens the sessions that read, at a moment at which there was what is known.
///
/// # Errors
/// If what there is changes all the time, or the server does not do its part.
pub(super) async fn begin(
    target: &Target,
    limits: &Limits,
    threads: usize,
    options: &CreateOptions,
) -> Result<(Begun, Snapshot), CreateError> {
    let mut control = Connection::open(target, limits).await.during(|| "log in".to_owned())?;
    let vendor = control.flavor().vendor;
    if vendor == Vendor::MySql {
        // Statistics and times are to be of now, not of yesterday.
        let fresh = Sql::plain("SET SESSION information_schema_stats_expiry = 0");
        control.execute(&fresh).await.during(|| "ask for fresh statistics".to_owned())?;
    }
    let server = server_record(&mut control).await?;
    let mut tries = 0;
    loop {
        tries += 1;
        let held =
            (vendor == Vendor::MySql || tries >= FIRST_HELD) && snapshot::hold_ddl(&mut control).await?;
        let failure = match known(&mut control, options).await {
            // A change of the schema is at it right now. Where it waits for us, nobody else would end that.
            Err(failure @ CreateError::NotShown { .. }) if !held || vendor == Vendor::MariaDb => {
                if held {
                    snapshot::let_ddl_go(&mut control).await?;
                }
                failure
            }
            Err(failure) => return Err(failure),
            Ok((catalog, definitions)) => {
                let without = options.without_coordinates;
                match snapshot::open(&mut control, (target, limits), threads, held, without).await {
                    // Held by us, commits were not to be held as well; nothing is held any more.
                    Err(failure @ CreateError::NoMoment { .. }) if held && vendor == Vendor::MariaDb => {
                        failure
                    }
                    Err(failure) => return Err(failure),
                    Ok(snapshot) => {
                        let Some(failure) = changed(&mut control, options, held, &definitions).await? else {
                            return Ok((Begun { control, server, catalog, definitions }, snapshot));
                        };
                        snapshot.close().await;
                        failure
                    }
                }
            }
        };
        if tries >= TRIES {
            return Err(failure);
        }
        tracing::info!(%failure, tries, "another moment is taken");
        tokio::time::sleep(PAUSE).await;
    }
}

/// How what there is differs from what was known before the moment; none if it does not.
async fn changed(
    control: &mut Connection,
    options: &CreateOptions,
    held: bool,
    before: &BTreeMap<String, String>,
) -> Result<Option<CreateError>, CreateError> {
    if held {
        return Ok(None);
    }
    match known(control, options).await {
        Ok((_, after)) => {
            let names = catalog::changed(before, &after);
            Ok((!names.is_empty()).then_some(CreateError::DefinitionsChanged { names }))
        }
        Err(failure @ CreateError::NotShown { .. }) => Ok(Some(failure)),
        Err(failure) => Err(failure),
    }
}

async fn known(
    control: &mut Connection,
    options: &CreateOptions,
) -> Result<(Catalog, BTreeMap<String, String>), CreateError> {
    let catalog = catalog::read(control, options).await?;
    let definitions = catalog::fingerprints(control, &catalog).await?;
    Ok((catalog, definitions))
}
