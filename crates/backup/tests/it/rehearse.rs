//! A backup is verified once its recovery has been rehearsed, and a damaged one is not.

use std::fs;

use backup::create::CreateOptions;
use backup::rehearse::{RehearseError, Rehearsed, Watched, choose, rehearse};
use backup::repository::Repository;
use backup::restore::RestoreError;
use dump::Proof;
use dump::manifest::FileRole;
use jiff::Timestamp;

use crate::harness::{Bench, run, vendors};
use crate::replay::{SCHEMA, archive, options, work};

async fn rehearsed(source: &Bench) -> Result<Rehearsed, RehearseError> {
    let repository = Repository::new(source.place());
    let (id, whole) = choose(&repository, None).await?;
    let lines = ["skip-log-bin", "local-infile = ON", "skip-networking = ON"];
    let throwaway = Bench::with(whole.manifest.server.vendor, &lines).await;
    let done =
        rehearse(&repository, (&id, &whole), &throwaway.target(), &options(), &Watched::default()).await;
    throwaway.down().await;
    done
}

async fn proof(source: &Bench) -> Proof {
    Repository::new(source.place()).list().await.unwrap()[0].proof()
}

#[tokio::test(flavor = "multi_thread")]
async fn real_a_rehearsal_verifies_a_backup_and_no_damaged_one() {
    for vendor in vendors().await {
        let source = Bench::new(vendor).await;
        let mut connection = source.connect().await;
        run(&mut connection, SCHEMA).await;
        let manifest = source.create(&CreateOptions::new("shop")).await.unwrap();

        // Without an archive the backup alone is what a recovery gives.
        let done = rehearsed(&source).await.unwrap();
        assert!(done.verified && done.replayed.is_none() && done.recovery_point.of == "backup", "{done:?}");
        let repository = Repository::new(source.place());
        let id = manifest.id.parse().unwrap();
        repository.clear_marks(&id).await.unwrap();

        work(&mut connection, 1).await;
        archive(&source).await;
        assert_eq!(proof(&source).await, Proof::None);
        let done = rehearsed(&source).await.unwrap();
        assert_eq!(done.problems, Vec::<String>::new());
        assert!(done.verified && done.tables_checked >= 5, "{done:?}");
        assert_eq!(done.rows, manifest.rows());
        assert_eq!(done.tables_verified, manifest.tables.len());
        assert!(done.replayed.as_ref().unwrap().transactions > 10, "{done:?}");
        assert!(done.phases.recovery_seconds > 0.0 && done.recovery_point.of == "archive", "{done:?}");
        assert_eq!(proof(&source).await, Proof::Restored);
        println!("{vendor}: {done:?}");

        // A byte that is another one.
        let rows = manifest.files.iter().find(|file| file.role == FileRole::Rows).unwrap();
        let path = source.place_path().join(&manifest.id).join(&rows.name);
        let sound = fs::read(&path).unwrap();
        let mut damaged = sound.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        put(&path, &damaged);
        let error = rehearsed(&source).await.unwrap_err();
        assert!(
            matches!(
                &error,
                RehearseError::Restore(RestoreError::Damaged { .. } | RestoreError::Differs { .. })
            ),
            "{error}"
        );
        assert_eq!(proof(&source).await, Proof::None);
        put(&path, &sound);
        assert!(repository.verify(&id, Timestamp::now(), &mut |_| {}).await.unwrap().problems.is_empty());
        assert_eq!(proof(&source).await, Proof::ReadBack);
        source.down().await;
    }
}

#[expect(clippy::disallowed_methods, reason = "a test damages a file, and mends it")]
fn put(path: &std::path::Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}
