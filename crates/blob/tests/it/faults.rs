//! A store behind a bad network: retried where that helps, never a half object, never believed without looking.

use std::time::Duration;

use blob::{BlobError, Patience, Place};
use bytes::Bytes;

use crate::proxy::{self, Fault, Faults};
use crate::store::{SECRET, Store, place_at};

const LARGE: usize = 20 << 20;

async fn bad_network(retries: usize) -> Option<(Store, Place, Faults)> {
    let store = Store::start()?;
    let (port, faults) = proxy::start(store.port).await;
    let patience = Patience {
        silence: Duration::from_secs(2),
        retries,
        retrying: Duration::from_secs(60),
        ..Patience::default()
    };
    Some((store, place_at(port, "x", patience), faults))
}

fn content(count: usize) -> Bytes {
    (0..count).map(|number| u8::try_from(number * 31 % 251).unwrap()).collect()
}

async fn put(place: &Place, name: &str, count: usize) -> Result<blob::Written, BlobError> {
    place.put_all(name, content(count)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_is_tried_again() {
    let Some((store, place, faults)) = bad_network(6).await else { return };
    // Small objects: one request. Large ones: begun, sent in parts, completed.
    for (number, faulted) in [
        vec![("PUT", "/small", Fault::CutBefore)],
        vec![("PUT", "/small", Fault::Status(500)), ("PUT", "/small", Fault::Status(503))],
        vec![("PUT", "/small", Fault::CutAnswer)],
        vec![("PUT", "/small", Fault::Stall(Duration::from_secs(4)))],
        vec![("POST", "uploads", Fault::Status(500))],
        vec![("PUT", "partNumber=1", Fault::CutBefore), ("PUT", "partNumber=2", Fault::Status(503))],
        vec![("PUT", "partNumber=3", Fault::CutAnswer)],
        vec![("PUT", "partNumber=2", Fault::Stall(Duration::from_secs(4)))],
        vec![("POST", "uploadId", Fault::Status(500))],
        // The object is made, and nobody hears of it: a second try is told that there is no such upload.
        vec![("POST", "uploadId", Fault::CutAnswer)],
    ]
    .into_iter()
    .enumerate()
    {
        for (method, text, fault) in &faulted {
            faults.add(method, text, fault.clone());
        }
        let (name, count) =
            if number < 4 { (format!("small{number}"), 1000) } else { (format!("large{number}"), LARGE) };
        let written = put(&place, &name, count).await.unwrap_or_else(|error| panic!("{faulted:?}: {error}"));
        assert!(faults.are_done(), "{faulted:?} did not happen");
        store.place("x").verify(&name, &written).await.unwrap();
    }
    // The object is made, nobody hears of it, and the second try meets it: it is one's own.
    faults.add("PUT", "/claimed", Fault::CutAnswer);
    assert!(place.create("claimed", Bytes::from_static(b"mine")).await.unwrap() && faults.are_done());
    assert!(!place.create("claimed", Bytes::from_static(b"yours")).await.unwrap());
    // Reading: cut off in the midst, it goes on from there.
    for fault in [Fault::CutBefore, Fault::Status(503), Fault::CutContent(1 << 20), Fault::CutContent(5)] {
        faults.add("GET", "/large5", fault.clone());
        let found = place.digest("large5").await.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert!(faults.are_done(), "{fault:?} did not happen");
        assert_eq!(found, store.place("x").digest("large5").await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_pass_is_said_and_leaves_nothing() {
    let Some((store, place, faults)) = bad_network(2).await else { return };
    for (count, method, text) in [
        (1000, "PUT", "/never"),
        (LARGE, "POST", "uploads"),
        (LARGE, "PUT", "partNumber=2"),
        (LARGE, "POST", "uploadId"),
    ] {
        for fault in [Fault::Status(500), Fault::CutBefore] {
            (0..8).for_each(|_| faults.add(method, text, fault.clone()));
            let error = put(&place, "never", count).await.unwrap_err();
            assert!(matches!(error, BlobError::Store { .. }), "{method} {text} {fault:?}: {error}");
            let said = format!("{error} {}", error.hint());
            assert!(said.contains("never") && said.contains("s3://backups/x"), "{said}");
            assert!(!said.contains(SECRET), "{said}");
            faults.clear();
            assert_eq!(store.place("x").stat("never").await.unwrap(), None, "{method} {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lies_is_not_believed() {
    let Some((store, place, faults)) = bad_network(1).await else { return };
    faults.add("PUT", "/lost", Fault::SayDone);
    let error = put(&place, "lost", 1000).await.unwrap_err();
    assert!(matches!(error, BlobError::Different { .. }), "{error}");
    // An older object of that name, and another length.
    put(&place, "lost", 10).await.unwrap();
    faults.add("PUT", "/lost", Fault::SayDone);
    let error = put(&place, "lost", 1000).await.unwrap_err();
    assert!(error.to_string().contains("has 10 bytes of 1000"), "{error}");
    // What reads back differently is found by reading it back.
    let written = put(&place, "swapped", 1000).await.unwrap();
    store.place("x").put_all("swapped", Bytes::from(vec![0; 1000])).await.unwrap();
    assert!(matches!(place.verify("swapped", &written).await, Err(BlobError::Different { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_there_is_said() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let patience = Patience { retries: 1, ..Patience::default() };
    let place = place_at(port, "x", patience);
    for error in [place.list("").await.unwrap_err(), put(&place, "a", 5).await.unwrap_err()] {
        assert!(error.to_string().contains("s3://backups/x"), "{error}");
        assert!(error.hint().contains("endpoint"), "{}", error.hint());
    }
}

#[test]
fn a_store_of_ones_own_wants_credentials() {
    let store = blob::S3Store { endpoint: Some("http://127.0.0.1:9".to_owned()), ..blob::S3Store::default() };
    let address = blob::Address::parse("s3://backups", &store).unwrap();
    let error = Place::open(&address, None).unwrap_err();
    assert!(error.to_string().contains("AWS_ACCESS_KEY_ID"), "{error}");
    assert!(error.hint().contains("aws_secret_access_key"), "{}", error.hint());
}
