//! What of the archive goes when backups go.
//!
//! Tests fail when a backup that stays can no longer be rolled forward, or when what no backup needs stays.

use backup::archive::{Archive, ArchiveError, CoverFrom, archive_once};
use backup::create::CreateOptions;
use backup::repository::Repository;
use dump::KeepRules;
use dump::manifest::Manifest;
use flavor::GtidSet;
use jiff::Timestamp;
use server::{Connection, Sql};

use crate::archive::{archived_ids, options_for, work};
use crate::harness::{Bench, run, value, vendors};

/// Work that is archived to its last log's end.
async fn worked(bench: &Bench, archive: &Archive, connection: &mut Connection, round: u32) {
    work(connection, round).await;
    run(connection, &["FLUSH BINARY LOGS"]).await;
    archive_once(archive, &options_for(bench.target()), &mut |_| {}).await.unwrap();
}

fn since(manifest: &Manifest) -> CoverFrom {
    let gtids = GtidSet::parse(&manifest.coordinates.as_ref().unwrap().gtid).unwrap();
    CoverFrom { gtids, position: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_of_the_archive_goes_what_no_backup_that_stays_needs() {
    for vendor in vendors().await {
        let bench = Bench::new(vendor).await;
        let mut connection = bench.connect().await;
        let (archive, repository) = (Archive::new(bench.place()), Repository::new(bench.place()));
        worked(&bench, &archive, &mut connection, 0).await;
        let first = bench.create(&CreateOptions::new("first")).await.unwrap();
        worked(&bench, &archive, &mut connection, 1).await;
        worked(&bench, &archive, &mut connection, 2).await;
        let second = bench.create(&CreateOptions::new("second")).await.unwrap();
        let newest: i64 = value(&mut connection, "SELECT MAX(id) FROM s.t").await.parse().unwrap();
        worked(&bench, &archive, &mut connection, 3).await;

        let plan = async |last| {
            let rules = KeepRules { last, ..KeepRules::default() };
            repository.plan_prune(&rules, Timestamp::now()).await.unwrap()
        };
        let both = plan(2).await;
        assert!(both.archive.kept_for.contains(&first.id), "{vendor}: {}", both.archive.kept_for);
        let pruned = repository.prune(&both).await.unwrap();
        assert!(pruned.backups.is_empty() && pruned.segments > 0, "{vendor}: {pruned:?}");
        for manifest in [&first, &second] {
            assert_eq!(archive.cover(&since(manifest)).await.unwrap().gap, None, "{vendor}: {}", manifest.id);
        }

        let one = plan(1).await;
        let pruned = repository.prune(&one).await.unwrap();
        assert_eq!(pruned.backups, std::slice::from_ref(&first.id), "{vendor}");
        assert!(pruned.segments > 0 && pruned.segments == one.archive.segments.len() as u64, "{pruned:?}");
        let gone = archive.cover(&since(&first)).await.unwrap_err();
        assert!(matches!(gone, ArchiveError::TooLate { .. }), "{gone}");
        assert!(plan(1).await.archive.segments.is_empty(), "{vendor}: nothing is left to go");

        // The archive goes on, and all since the second backup is in it.
        worked(&bench, &archive, &mut connection, 4).await;
        assert_eq!(archive.cover(&since(&second)).await.unwrap().gap, None);
        let live =
            connection.query(&Sql::plain(format!("SELECT id FROM s.t WHERE id > {newest}"))).await.unwrap();
        let archived = archived_ids(&archive).await;
        assert!(live.len() > 50, "{vendor}: {}", live.len());
        assert!(live.iter().all(|row| archived.contains(&row.parsed("id").unwrap())), "{vendor}");
        // Of what went, no content stays behind.
        let segments: usize = archive.runs().await.unwrap().iter().map(|run| run.segments.len()).sum();
        let objects = bench.place().list("binlog").await.unwrap();
        let contents = objects.iter().filter(|entry| !entry.name.ends_with(".json")).count();
        assert_eq!(contents, segments, "{vendor}: {objects:?}");
        drop(connection);
        bench.down().await;
    }
}
