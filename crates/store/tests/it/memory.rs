//! The faults of the store in memory: they must look as those of etcd do.

use std::time::{Duration, Instant};

use store::{Memory, MemoryFault, StoreError};

use crate::support::{done, put};

#[tokio::test]
async fn a_client_that_is_cut_off_is_alone_with_it() {
    let memory = Memory::new();
    let (cut, other) = (memory.store(), memory.peer().store());
    let first = done(cut.commit(&[], &[put("a", "1")]).await);
    let mut watch = cut.watch(first).await.unwrap();
    memory.set_reachable(false);
    let error = watch.changed().await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
    assert_eq!(cut.snapshot().await.unwrap_err(), error);
    assert_eq!(cut.commit(&[], &[put("a", "2")]).await.unwrap_err(), error);
    assert_eq!(cut.watch(first).await.unwrap_err(), error);
    assert_eq!(other.snapshot().await.unwrap().entries["a"].value, b"1");
    let second = done(other.commit(&[], &[put("a", "3")]).await);
    memory.set_reachable(true);
    assert_eq!(cut.watch(first).await.unwrap().changed().await, Ok(second));
    assert_eq!(cut.snapshot().await.unwrap().entries["a"].value, b"3");
}

#[tokio::test]
async fn lost_requests_and_lost_answers_are_unknown() {
    for (fault, is_written) in [(MemoryFault::RequestsLost, false), (MemoryFault::AnswersLost, true)] {
        let memory = Memory::new();
        let limit = Duration::from_millis(50);
        let (store, other) = (memory.store().with_request_timeout(limit), memory.peer().store());
        memory.set_fault(fault);
        let began = Instant::now();
        let error = store.commit(&[], &[put("a", "1")]).await.unwrap_err();
        assert!(matches!(error, StoreError::Unknown { .. }) && !error.wrote_nothing(), "{error}");
        assert!(began.elapsed() >= limit);
        assert_eq!(store.snapshot().await, Err(StoreError::Timeout { after: limit }));
        assert_eq!(store.commit(&[], &[]).await, Err(StoreError::Timeout { after: limit }));
        assert_eq!(other.snapshot().await.unwrap().entries.contains_key("a"), is_written);
        memory.set_fault(MemoryFault::None);
        assert!(store.snapshot().await.is_ok());
    }
}
