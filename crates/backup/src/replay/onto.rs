//! [`replay_onto`]: a server that was started on a physical backup, brought up to a point. It puts no files back.
//!
//! Whether the server holds that backup, only MySQL's can tell. One that has committed anything of its own is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::server::{Connection, Limits, Loader, Sql, Target};
use flavor::{GtidSet, Vendor};

use super::error::ReplayError;
use super::notes::Notes;
use super::server::{adopt_position, hold_events, opened, point_of, set_position};
use super::{Progress, ServerRewind, ServerRewindError, replay};
use crate::repository::Repository;
use crate::rewind::Base;

/// Replays the archive from a physical backup to the point, onto a server that runs on that backup. Nothing of it goes to
/// the server's binary log.
///
/// # Errors
/// As [`ServerRewindError`] lists. A run that was ended goes on when the same is called again.
pub async fn replay_onto(
    repository: &Repository,
    mut base: Base,
    target: &Target,
    replaying: &Arc<Progress>,
) -> Result<ServerRewind, ServerRewindError> {
    let mut loader = opened(target, false).await?;
    let (backup, point) = (base.id.to_string(), point_of(&base));
    match Notes::read(&mut loader).await? {
        Some(notes) if (&notes.backup, &notes.point) != (&backup, &point) => {
            return Err(ServerRewindError::Another { backup: notes.backup, point: notes.point });
        }
        Some(_) => adopt_position(&mut loader, &mut base).await?,
        None => {
            check_untouched(target, &mut loader, &base).await?;
            adopt_position(&mut loader, &mut base).await?;
            Notes::begin(&mut loader, &backup, &point).await?;
            Notes::restored(&mut loader).await?;
        }
    }
    let mut remarks = Vec::new();
    hold_events(&mut loader, &mut remarks).await?;
    let replayed = replay(&repository.archive(), &base, target, false, replaying).await?;
    let there = match base.whole.manifest.server.vendor {
        Vendor::MySql => base.from.gtids.clone(),
        Vendor::MariaDb => GtidSet::default(),
    };
    set_position(&mut loader, &base, &without(&replayed.gtids, &there), &mut remarks).await;
    Notes::end(&mut loader).await?;
    loader.close().await;
    Ok(ServerRewind { restored: None, restore_seconds: 0.0, replayed, remarks })
}

/// What is to be told to a server, without what it knows already.
fn without(gtids: &str, there: &GtidSet) -> String {
    match GtidSet::parse(gtids) {
        Ok(all) if !there.is_empty() => all.subtract(there).to_string(),
        Ok(_) | Err(_) => gtids.to_owned(),
    }
}

/// Whether a position of MariaDB's is after another one in a domain that both have, whoever wrote there.
fn is_beyond(reached: &str, from: &str) -> bool {
    let parts = |entry: &str| {
        let mut parts = entry.trim().split('-');
        let domain: u32 = parts.next()?.parse().ok()?;
        Some((domain, parts.nth(1)?.parse::<u64>().ok()?))
    };
    let from: BTreeMap<u32, u64> = from.split(',').filter_map(parts).collect();
    let mut reached = reached.split(',').filter_map(parts);
    reached.any(|(domain, number)| from.get(&domain).is_some_and(|last| number > *last))
}

/// Refuses a server that has a history of its own after the backup.
async fn check_untouched(target: &Target, loader: &mut Loader, base: &Base) -> Result<(), ReplayError> {
    let asking = || ReplayError::server("asking what the server has");
    let connection = Connection::open(target, &Limits::default()).await.map_err(asking())?;
    let vendor = connection.flavor().vendor;
    connection.close().await;
    let taken = base.whole.manifest.server.vendor;
    if vendor != taken {
        return Err(ReplayError::Refused(format!("the server is {vendor}, and the backup is of {taken}")));
    }
    if base.from.gtids.is_empty() {
        let problem = "the backup has no GTIDs, so that it cannot be told what the server has already: replay the logs by \
                       hand, with mysqlbinlog";
        return Err(ReplayError::Refused(problem.to_owned()));
    }
    // What is its own, and (MariaDB) how far it was brought before: MySQL's is skipped by its GTID.
    let sql = match vendor {
        Vendor::MariaDb => "SELECT @@GLOBAL.gtid_binlog_pos AS own, @@GLOBAL.gtid_slave_pos AS reached",
        Vendor::MySql => {
            "SELECT IF(INSTR(@@GLOBAL.gtid_executed, @@GLOBAL.server_uuid), @@GLOBAL.gtid_executed, '') AS own, \
             '' AS reached"
        }
    };
    let rows = loader.query(&Sql::plain(sql)).await.map_err(asking())?;
    let text = |name| rows.first().and_then(|row| row.text(name)).unwrap_or_default();
    let reached = text("reached");
    let problem = if !text("own").is_empty() {
        format!(
            "the server has committed something of its own since the backup was put back: it has {}",
            text("own")
        )
    } else if is_beyond(reached, &base.from.gtids.replication_position()) {
        format!("the server has been brought beyond the backup already, to {reached}")
    } else {
        return Ok(());
    };
    Err(ReplayError::Refused(format!(
        "{problem}; if that is not enough, put the backup back anew with `mainstay restore --datadir`, and let nobody \
         write before this is done"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_is_told_to_the_server() {
        let uuid = "07070707-0707-0707-0707-070707070707";
        let there = GtidSet::parse(&format!("{uuid}:1-5")).unwrap();
        assert_eq!(without(&format!("{uuid}:1-7"), &there), format!("{uuid}:6-7"));
        assert!(is_beyond("0-1-8", "0-2-7,1-1-9") && is_beyond("5-1-1,1-1-10", "0-2-7,1-1-9"));
        assert!(!is_beyond("0-3-7,1-1-2,4-1-9", "0-2-7,1-1-9") && !is_beyond("", "0-2-7"));
        assert_eq!(without("0-1-7", &GtidSet::default()), "0-1-7");
    }
}
