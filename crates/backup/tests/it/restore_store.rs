//! `restore` from an S3-compatible store that fails in the middle: told as what it is, and gone on with.

use std::sync::Arc;
use std::time::Duration;

use backup::create::CreateOptions;
use backup::restore::{Progress, RestoreError, RestoreOptions, Selection, Source, Survey, restore};
use backup::seal::Identities;
use blob::{Patience, Place};
use server::Limits;

use crate::harness::{Bench, run, value, vendors};
use crate::proxy::{self, Fault};
use crate::restore::options;
use crate::store::{Store, place_at};

async fn survey(place: &Place, id: &str) -> Result<Survey, RestoreError> {
    let source = Source::in_place(place.clone(), id, &Identities::default()).await?;
    let reading = tokio::task::spawn_blocking(move || source.survey(&Selection::default(), 2, false));
    reading.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn real_a_store_that_fails_is_named_and_the_next_run_goes_on() {
    for vendor in vendors().await {
        let Some(store) = Store::start() else { return };
        let bench = Bench::logging(vendor, &["local-infile = ON"]).await;
        let mut connection = bench.connect().await;
        run(&mut connection, &["CREATE DATABASE shop"]).await;
        for table in ["a", "b", "c"] {
            let create =
                format!("CREATE TABLE shop.{table} (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(60))");
            let first = format!("INSERT INTO shop.{table} (v) VALUES ('one'), ('two'), (NULL), ('four')");
            let more = format!(
                "INSERT INTO shop.{table} (v) SELECT SHA2(one.id, 224) FROM shop.{table} one, shop.{table} two"
            );
            run(&mut connection, &[&create, &first, &more, &more]).await;
        }
        let (progress, limits) = (Arc::new(backup::create::Progress::default()), Limits::default());
        let created = CreateOptions::new("shop");
        let manifest =
            backup::create::create(&bench.target(), &limits, &store.place("cloud"), &created, &progress)
                .await
                .unwrap();
        let (port, faults) = proxy::start(store.port).await;
        // No tries of its own, so that one fault is one failure.
        let patience = Patience { retries: 0, retrying: Duration::from_secs(1), ..Patience::default() };
        let place = place_at(port, "cloud", patience);

        faults.add("GET", "shop.b.", Fault::Status(500));
        let error = survey(&place, &manifest.id).await.unwrap_err();
        assert!(matches!(error, RestoreError::Blob(_)), "{error:?}");
        assert!(error.to_string().contains("cannot read") && error.to_string().contains("shop.b"), "{error}");
        assert!(error.hint().unwrap().contains("the store is up"), "{error}");

        let copy = RestoreOptions {
            renamed: [("shop".to_owned(), "copy".to_owned())].into(),
            threads: 1,
            ..options()
        };
        for fault in [Fault::Status(503), Fault::CutContent(20)] {
            let read = survey(&place, &manifest.id).await.unwrap();
            faults.add("GET", "shop.c.", fault.clone());
            let error =
                restore(read, &bench.target(), &copy, Arc::new(Progress::default())).await.unwrap_err();
            assert!(faults.are_done(), "{fault:?} has not happened");
            assert!(matches!(error, RestoreError::Blob(_)), "{fault:?}: {error:?}");
            println!("{vendor}, {fault:?}: {error}; {}", error.hint().unwrap());
            assert_eq!(value(&mut connection, "SELECT COUNT(*) FROM copy.c").await, "0");
        }
        let read = survey(&place, &manifest.id).await.unwrap();
        let done = restore(read, &bench.target(), &copy, Arc::new(Progress::default())).await.unwrap();
        assert!(done.resumed && done.tables_verified == 3, "{done:?}");
        for table in ["a", "b", "c"] {
            let sums = format!("CHECKSUM TABLE shop.{table}, copy.{table}");
            let sums = crate::restore::all(&mut connection, &sums).await;
            assert_eq!(sums[0][1], sums[1][1], "{table} on {vendor}");
        }
        drop(connection);
        bench.down().await;
    }
}
