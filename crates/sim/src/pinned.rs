//! Runs in which the simulator once found something wrong, and what the simulator itself must be able to find.

use crate::fault::Kind::{
    BadStarts, CrashAgent, Cut, Isolate, KillServer, Maintenance, PauseAgent, PauseHost, PowerLoss, Reinit,
    SlowServer, StallDisk, StopServer, StoreDown, StoreRestore, StoreSlow, StoreWipe, Switchover, Unknown,
};
use crate::fault::Site::{Node, Store};
use crate::{Config, Fault, Kind, Promise, Scenario, exhaust, play, replay, run, search, sequences, shrink};

const fn at(at: u64, ms: u64, kind: Kind) -> Fault {
    Fault::new(at, ms, kind)
}

/// What went wrong, the cluster's seed, and the faults.
#[expect(clippy::too_many_lines, reason = "a table of runs, one entry each")]
fn pinned() -> Vec<(&'static str, u64, Vec<Fault>)> {
    vec![
        (
            "replication did not run after a server's start, and nobody started it",
            7,
            vec![at(9334, 2921, KillServer(2)), at(9617, 2569, KillServer(0))],
        ),
        (
            "a cluster was founded on reports from a store's old copy, beside a valid lease",
            228,
            vec![
                at(7422, 4761, Kind::Failover(3)),
                at(8446, 324, Switchover(Some(0))),
                at(9071, 3870, PauseAgent(0)),
                at(9372, 2806, StoreRestore(2387)),
            ],
        ),
        (
            "commits were acknowledged alone although the state said they waited",
            859,
            vec![at(8354, 4060, StallDisk(1)), at(10503, 566, PauseAgent(0))],
        ),
        (
            "a node that was shut out and came back stayed shut out",
            44,
            vec![at(7377, 4085, Isolate(Node(1))), at(8661, 4946, PowerLoss(2))],
        ),
        (
            "a restarted acker stayed shut out where the others were too few",
            217,
            vec![at(7672, 3508, Isolate(Node(0)))],
        ),
        (
            "an unlisted node acknowledged after commits began to wait again",
            491,
            vec![
                at(7195, 320, Switchover(Some(1))),
                at(7463, 1513, PowerLoss(2)),
                at(7741, 5602, Reinit(0)),
                at(8099, 323, Isolate(Node(0))),
                at(9897, 3935, Isolate(Node(0))),
            ],
        ),
        (
            "a silent server was taken for one that does not acknowledge",
            1092,
            vec![
                at(6149, 3019, CrashAgent(1)),
                at(7030, 9989, StopServer(1)),
                at(8172, 1282, Kind::Pause),
                at(8184, 2795, BadStarts(0, 4)),
                at(8367, 174, StoreSlow),
                at(8595, 2627, KillServer(3)),
                at(8926, 4155, PauseHost(1)),
            ],
        ),
        (
            "a primary killed itself when its acker had only come back",
            3819,
            vec![
                at(7164, 3112, PauseHost(0)),
                at(11458, 2676, BadStarts(1, 2)),
                at(14877, 1534, BadStarts(0, 3)),
            ],
        ),
        (
            "a primary that ended between the state and its writes could not be replaced",
            7445,
            vec![
                at(7532, 4789, BadStarts(0, 4)),
                at(7594, 4590, PauseAgent(1)),
                at(9433, 3706, PauseAgent(0)),
            ],
        ),
        (
            "a former primary's tail kept the last primary from coming back",
            9724,
            vec![at(8936, 7550, PauseAgent(1)), at(16728, 1468, BadStarts(1, 3))],
        ),
        (
            "a store put back to an older lineage of the same epoch was believed",
            4064,
            vec![
                at(15010, 9710, Isolate(Node(1))),
                at(18769, 54, KillServer(1)),
                at(19788, 9885, StopServer(0)),
                at(24348, 9703, StoreRestore(5328)),
            ],
        ),
        (
            "a server that does not start was claimed for over and over",
            206,
            Scenario::new(206, &Config::default()).faults,
        ),
        (
            "a node that cannot apply what it received was promoted",
            177,
            Scenario::new(177, &Config::default()).faults,
        ),
        (
            "MySQL was to be cloned into a server that does not run",
            2589,
            vec![at(21088, 8700, BadStarts(2, 4)), at(22163, 1821, CrashAgent(2))],
        ),
        (
            "a tail from an earlier epoch was wanted of every candidate",
            18424,
            vec![
                at(7118, 4311, SlowServer(1)),
                at(7471, 2954, StallDisk(1)),
                at(7615, 3800, BadStarts(2, 4)),
                at(7822, 4842, CrashAgent(0)),
                at(9971, 2004, PauseAgent(2)),
                at(10742, 3549, PauseHost(1)),
            ],
        ),
        (
            "what was acknowledged and not committed yet was missing in a mark",
            29954,
            vec![
                at(7521, 163, PauseHost(2)),
                at(7699, 9387, SlowServer(0)),
                at(8401, 3351, Isolate(Node(2))),
                at(8700, 4750, Reinit(1)),
            ],
        ),
        (
            "a lease was aged over a store's going back in time",
            145_698,
            vec![
                at(6306, 2548, Cut(Store, Node(1))),
                at(8075, 3731, Unknown(0, 4)),
                at(8139, 285, StoreRestore(2646)),
            ],
        ),
        (
            "marks of an earlier process counted",
            127_734,
            vec![at(9637, 1290, KillServer(1)), at(12022, 2654, StopServer(0))],
        ),
        (
            "the last primary, whose server was down, was not started to see what it holds",
            1487,
            vec![at(9696, 2837, StoreWipe), at(20150, 9349, PowerLoss(1)), at(23870, 3185, KillServer(0))],
        ),
        (
            "an acker was struck off by a mark older than its end",
            1_022_262,
            vec![
                at(6285, 7022, StoreSlow),
                at(6733, 2104, StallDisk(2)),
                at(6893, 2737, KillServer(1)),
                at(8275, 9671, Cut(Node(0), Node(2))),
            ],
        ),
        (
            "an acker about to acknowledge was struck off unblocked",
            1_094_517,
            vec![at(7578, 1932, PowerLoss(1)), at(11573, 2034, Maintenance(1))],
        ),
    ]
}

/// The same, of a search of 2.4 million runs.
#[expect(clippy::too_many_lines, reason = "a table of runs, one entry each")]
fn pinned_later() -> Vec<(&'static str, u64, Vec<Fault>)> {
    vec![
        (
            "what was handed over was in the relay log of a server that began anew, and writes were opened without",
            534_546,
            vec![
                at(7938, 4441, SlowServer(1)),
                at(8139, 4594, Switchover(None)),
                at(8409, 9102, KillServer(1)),
            ],
        ),
        (
            "the same, the promotion having begun to apply it",
            1_175_090,
            vec![
                at(6447, 1496, Unknown(1, 1)),
                at(7251, 3232, SlowServer(1)),
                at(8287, 9657, PowerLoss(2)),
                at(9123, 102, Switchover(Some(1))),
                at(9693, 2500, KillServer(1)),
            ],
        ),
        (
            "a node went on acknowledging while it took a copy, and threw that away when the copy failed",
            318_415,
            vec![at(7987, 6651, PauseHost(1)), at(9526, 2965, Reinit(1)), at(10403, 3492, CrashAgent(0))],
        ),
        (
            "a replica received from the last primary after it was seen to hold nothing beyond the next one's start",
            611_027,
            vec![at(6074, 3368, StoreSlow), at(8608, 5958, Kind::Failover(3))],
        ),
        (
            "a store put back within a lease-long gap was believed, and the age of a lease counted over it",
            758_495,
            vec![at(7927, 613, StoreRestore(329)), at(8226, 9694, CrashAgent(0))],
        ),
        (
            "who may acknowledge was read from a store put back within the epoch",
            254_752,
            vec![
                at(10222, 77, BadStarts(0, 3)),
                at(10575, 9060, StopServer(2)),
                at(16597, 5922, Isolate(Node(1))),
                at(19671, 5585, StoreRestore(9118)),
            ],
        ),
        (
            "the same, on a node that had not read the newer list",
            905_799,
            Scenario::new(905_799, &Config::default()).faults,
        ),
        (
            "a primary did not write again who acknowledges after the store was put back within the epoch",
            1_053_898,
            Scenario::new(1_053_898, &Config::default()).faults,
        ),
        (
            "a node that cannot apply what it received founded the cluster, over and over",
            409_806,
            vec![
                at(7594, 6943, StoreRestore(8139)),
                at(8482, 48, Kind::BreakReplication(1)),
                at(8820, 4929, Kind::Rollback(0, 11274)),
            ],
        ),
        (
            "an operator's failover promoted a node whose data was dropped for a copy that failed",
            441_655,
            vec![
                at(7024, 4018, Cut(Node(0), Node(1))),
                at(13330, 9359, PauseHost(1)),
                at(23301, 3336, Kind::Failover(0)),
                at(23671, 7631, PauseHost(0)),
            ],
        ),
        (
            "what a host told a client after it stood still, alone, was not among what `available` may lose",
            240_652,
            vec![at(8523, 9073, StoreDown), at(8864, 3338, KillServer(1)), at(19995, 6953, PauseHost(0))],
        ),
        (
            "the same, where too few ackers could be examined",
            40_475,
            vec![at(6553, 3282, PauseHost(0)), at(8002, 5968, Reinit(2))],
        ),
        (
            "data that became another cluster's after the decision was replaced by a copy",
            546_239,
            vec![
                at(6924, 749, Isolate(Node(2))),
                at(22555, 1514, BadStarts(1, 3)),
                at(23776, 8732, Kind::ForeignData(1)),
            ],
        ),
        (
            "who was handed the lease applied under waiting for acknowledgements, which nobody could give",
            279,
            vec![at(8909, 2070, PauseHost(1)), at(10037, 4101, Switchover(Some(1)))],
        ),
    ]
}

#[test]
fn what_was_found_once_is_not_found_again() {
    for (what, seed, faults) in pinned().into_iter().chain(pinned_later()) {
        let outcome = replay(seed, &Config::default(), &faults);
        assert_eq!(outcome.violation, None, "{what}");
    }
}

#[test]
fn some_thousands_of_runs_hold_every_invariant() {
    let found = search(0..2_000, &Config::default());
    assert!(found.violations.is_empty(), "{:?}", found.violations);
    assert!(found.acked > 50_000, "clients hardly wrote: {}", found.acked);
}

#[test]
fn every_pair_of_faults_holds_every_invariant() {
    let config = Config { nodes: Some(3), promise: Some(Promise::Lossless), ..Config::default() };
    let (found, wrong) = exhaust(3, &config, &sequences(2));
    assert!(wrong.is_empty(), "{:?}", found.violations);
}

#[test]
fn a_seed_decides_everything() {
    for seed in 0..40 {
        let scenario = Scenario::new(seed, &Config::default());
        assert_eq!(play(&scenario, true), play(&scenario, true));
    }
}

#[test]
fn a_planted_fault_is_found_and_made_small() {
    let config = Config { acks_early: true, ..Config::default() };
    let seed = (0..1_000).find(|seed| run(*seed, &config).violation.is_some());
    let scenario = Scenario::new(seed.expect("a violation"), &config);
    let small = shrink(&scenario);
    assert!(small.faults.len() <= scenario.faults.len());
    let (outcome, trace) = play(&small, true);
    assert!(outcome.violation.is_some());
    assert!(trace.iter().any(|line| line.contains("VIOLATION")), "{trace:?}");
}

#[test]
fn a_trace_ends_in_a_test() {
    let text = crate::explain(&Scenario {
        faults: vec![at(9000, 100, Isolate(Store))],
        ..Scenario::new(5, &Config::default())
    });
    assert!(text.contains("replay(5, &Config::default(), &["), "{text}");
    assert!(text.contains("Fault::new(9000, 100, Kind::Isolate(Site::Store))"), "{text}");
}
