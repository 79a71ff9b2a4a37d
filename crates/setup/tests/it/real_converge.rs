//! Applying brings a node to its spec, once, whatever interrupts it.

use crate::harness::{Bench, CLOUDSTACK, vendors};

#[tokio::test]
async fn real_apply_leaves_nothing_to_do() {
    for vendor in vendors().await {
        let bench = Bench::new(vendor, CLOUDSTACK).await;
        let first = bench.plan().await;
        assert!(first.steps.len() > 10, "{first}");
        let applied = bench.apply(&first).await.unwrap();
        assert!(!applied.remaining.differs(), "{vendor}: {}", applied.remaining);
        let second = bench.plan().await;
        assert!(!second.differs(), "{vendor}: {second}");
        let audit = std::fs::read_to_string(bench.folder.path().join("state/audit.jsonl")).unwrap();
        for step in &first.steps {
            let done = audit
                .lines()
                .any(|line| line.contains("step-done") && line.contains(&format!("{:?}", step.id)));
            assert!(done, "{vendor}: {} is not in the audit log", step.id);
        }
        bench.down().await;
    }
}

#[tokio::test]
async fn real_a_plan_of_another_state_is_refused() {
    for vendor in vendors().await {
        let bench = Bench::new(vendor, CLOUDSTACK).await;
        let plan = bench.plan().await;
        bench.run(&["SET GLOBAL max_connections = 77"]).await;
        let error = bench.apply(&plan).await.unwrap_err();
        assert!(error.to_string().contains("has changed since the plan"), "{error}");
        assert!(!bench.folder.path().join("tls").exists(), "something was done");
        bench.down().await;
    }
}
