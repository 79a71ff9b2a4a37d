//! How large everything is: from the machine's memory, who shares it, and how many clients connect.
//!
//! The rule: buffer pool plus the memory of every allowed connection plus what the server needs besides stays
//! within a fixed share of RAM, so that a full house of clients cannot make the kernel kill the database.
//! Within that, the buffer pool takes what CloudStack's manual gives it. It knows nothing of disks.

use flavor::{Capability, Flavor};
use spec::{Cloud, Share, Spec};

use crate::value::bytes_text;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Share of RAM, in percent, for buffer pool and all connections together, on a dedicated host.
const BUDGET_DEDICATED_PERCENT: u64 = 75;
/// The same on a host that also runs a management server (a JVM of several GiB).
const BUDGET_SHARED_PERCENT: u64 = 60;
/// Buffer pool as a share of RAM: the figures of CloudStack's administration guide, "Tuning".
const POOL_DEDICATED_PERCENT: u64 = 70;
const POOL_SHARED_PERCENT: u64 = 40;
/// Redo log buffer, key buffer, dictionary and table caches of a control plane's some hundred tables.
const SERVER_FIXED_BYTES: u64 = 64 * MIB;
/// What MySQL's performance schema and larger dictionary take besides (on by default there).
const PERFORMANCE_SCHEMA_BYTES: u64 = 128 * MIB;
/// The smallest buffer pool worth running a control plane on, and the grain pools are rounded to.
const POOL_GRAIN_BYTES: u64 = 128 * MIB;
/// Connections kept for Mainstay, replicas, backups and a person at 3 a.m.
const RESERVE_CONNECTIONS: u32 = 20;

/// How many connections clients may hold open at most, and how that number came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Sum of all pools.
    pub connections: u32,
    /// The sum as a sentence.
    pub sentence: String,
}

/// The clients' demand by the spec, with the pool sizes of `db.properties` where they were seen
/// (cloud, usage). CloudStack's defaults are 250 + 100 a management server (`client/conf/db.properties`);
/// an OpenStack worker opens up to 5 + 50 (oslo.db `max_pool_size`, `max_overflow`).
#[must_use]
pub fn demand(spec: &Spec, pools: Option<(u32, u32)>) -> Demand {
    if let Some(cloudstack) = &spec.cloudstack {
        let (cloud, usage) = pools.unwrap_or((250, 100));
        let each = cloud.saturating_add(usage);
        let servers = cloudstack.management_servers;
        let separate = u32::from(cloudstack.separate_usage_server);
        let connections = each.saturating_mul(servers.saturating_add(separate));
        let usage_server = if separate == 1 { " and a usage server" } else { "" };
        return Demand {
            connections,
            sentence: format!(
                "{servers} management server{}{usage_server}, pools of {cloud} + {usage} each",
                if servers == 1 { "" } else { "s" }
            ),
        };
    }
    if let Some(openstack) = &spec.openstack {
        let workers = openstack.workers;
        return Demand {
            connections: workers.saturating_mul(55),
            sentence: format!("{workers} workers of OpenStack services, 5 + 50 connections each"),
        };
    }
    debug_assert_eq!(spec.cluster.cloud, Cloud::None);
    Demand { connections: 150, sentence: "no cloud named: 150 connections".to_owned() }
}

/// Sizes for one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizing {
    /// Memory sized for.
    pub memory_bytes: u64,
    /// `max_connections`.
    pub max_connections: u32,
    /// Memory one connection may take with all its buffers.
    pub per_connection_bytes: u64,
    /// `sort_buffer_size`, `join_buffer_size` and `read_rnd_buffer_size`.
    pub sort_bytes: u64,
    /// `tmp_table_size` and `max_heap_table_size`.
    pub tmp_table_bytes: u64,
    /// Buffer pool.
    pub pool_bytes: u64,
    /// Buffer pool instances, where the server has them.
    pub pool_instances: u32,
    /// Redo log capacity in all.
    pub redo_bytes: u64,
    /// `max_prepared_stmt_count`.
    pub prepared_statements: u32,
}

/// The clients do not fit on the machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{connections} connections need {needed}, and {percent} % of this machine's {memory} is {budget}",
    needed = bytes_text(*needed_bytes), memory = bytes_text(*memory_bytes), budget = bytes_text(*budget_bytes)
)]
pub struct SizingError {
    /// Connections asked for.
    pub connections: u32,
    /// Least memory for them, the smallest buffer pool and the server itself.
    pub needed_bytes: u64,
    /// The machine's memory.
    pub memory_bytes: u64,
    /// What may be used of it.
    pub budget_bytes: u64,
    /// That share in percent.
    pub percent: u64,
}

/// Sizes a server.
///
/// # Errors
/// When the smallest buffer pool and the connections do not fit in the machine's share.
pub fn size(
    flavor: Flavor,
    memory_bytes: u64,
    share: Share,
    demanded_connections: u32,
    cpus: u32,
) -> Result<Sizing, SizingError> {
    let max_connections = connection_limit(demanded_connections);
    let connections = u64::from(max_connections);
    let (percent, pool_percent) = match share {
        Share::Dedicated => (BUDGET_DEDICATED_PERCENT, POOL_DEDICATED_PERCENT),
        Share::Shared => (BUDGET_SHARED_PERCENT, POOL_SHARED_PERCENT),
    };
    let budget_bytes = memory_bytes / 100 * percent;
    // Sorts of a control plane are short lists; small machines take the smaller buffer.
    let sort_bytes = if memory_bytes < 4 * GIB { 128 * KIB } else { 256 * KIB };
    // Binlog cache 32K, net buffer 16K and read buffer 128K are the servers' own defaults.
    let fixed = 3 * sort_bytes + 176 * KIB + flavor.thread_stack_bytes();
    let tmp_table_bytes = tmp_table(memory_bytes, connections);
    let per_connection_bytes = fixed + tmp_table_bytes;
    let mut server_bytes = SERVER_FIXED_BYTES;
    if flavor.can(Capability::PersistedVariables) {
        server_bytes += PERFORMANCE_SCHEMA_BYTES;
    }
    let beside_pool = connections * per_connection_bytes + server_bytes;
    let room = budget_bytes.saturating_sub(beside_pool);
    if room < POOL_GRAIN_BYTES {
        return Err(SizingError {
            connections: max_connections,
            needed_bytes: beside_pool + POOL_GRAIN_BYTES,
            memory_bytes,
            budget_bytes,
            percent,
        });
    }
    let wanted_pool = room.min(memory_bytes / 100 * pool_percent);
    // Instances spread a lock over CPUs: more of them than CPUs spread nothing.
    let pool_instances = u32::try_from((wanted_pool / GIB).clamp(1, 8)).unwrap_or(8).min(cpus.max(1));
    // MySQL rounds a pool up to a multiple of chunk (128 MiB) times instances: round down to it here instead.
    let grain = POOL_GRAIN_BYTES * u64::from(pool_instances);
    let pool_bytes = wanted_pool / grain * grain;
    Ok(Sizing {
        memory_bytes,
        max_connections,
        per_connection_bytes,
        sort_bytes,
        tmp_table_bytes,
        pool_bytes,
        pool_instances,
        redo_bytes: (pool_bytes / 4 / (64 * MIB) * (64 * MIB)).clamp(256 * MIB, 16 * GIB),
        // Connector/J caches up to 517 server-side statements a connection; a third of the connections with
        // full caches is more than any control plane was seen to hold. The servers' own limit is 1,048,576.
        prepared_statements: max_connections.saturating_mul(517 / 3).clamp(131_072, 1_048_576),
    })
}

/// The demand plus 20 % and a reserve, within what servers accept.
fn connection_limit(demanded: u32) -> u32 {
    let with_margin = u64::from(demanded) * 6 / 5 + u64::from(RESERVE_CONNECTIONS);
    u32::try_from(with_margin.clamp(100, 100_000)).unwrap_or(100_000)
}

/// A tenth of RAM over all connections as in-memory temporary tables: a power of two, 256 KiB to 64 MiB.
fn tmp_table(memory_bytes: u64, connections: u64) -> u64 {
    let each = memory_bytes / 10 / connections.max(1);
    let power = if each == 0 { 0 } else { 1_u64 << each.ilog2() };
    power.clamp(256 * KIB, 64 * MIB)
}

#[cfg(test)]
mod tests {
    use flavor::{Vendor, Version};

    use super::*;

    const MARIADB: Flavor = Flavor { vendor: Vendor::MariaDb, version: Version::new(10, 11, 19) };
    const MYSQL: Flavor = Flavor { vendor: Vendor::MySql, version: Version::new(9, 7, 4) };

    fn total(sizing: &Sizing) -> u64 {
        sizing.pool_bytes + u64::from(sizing.max_connections) * sizing.per_connection_bytes
    }

    /// A machine a row: GiB, share, connections asked for; pool in MiB, redo in MiB, temporary table in KiB.
    #[test]
    fn machines_from_1_gib_to_1_tib() {
        let mut table = String::new();
        for (flavor, gib, share, demanded) in [
            (MARIADB, 1, Share::Dedicated, 350),
            (MARIADB, 2, Share::Dedicated, 350),
            (MARIADB, 4, Share::Dedicated, 350),
            (MARIADB, 4, Share::Shared, 350),
            (MARIADB, 8, Share::Dedicated, 700),
            (MARIADB, 16, Share::Shared, 700),
            (MARIADB, 32, Share::Dedicated, 1050),
            (MARIADB, 64, Share::Dedicated, 1400),
            (MARIADB, 128, Share::Dedicated, 1400),
            (MARIADB, 256, Share::Shared, 2800),
            (MARIADB, 1024, Share::Dedicated, 5500),
            (MYSQL, 1, Share::Dedicated, 350),
            (MYSQL, 2, Share::Dedicated, 350),
            (MYSQL, 4, Share::Dedicated, 350),
            (MYSQL, 8, Share::Dedicated, 700),
            (MYSQL, 32, Share::Dedicated, 1050),
            (MYSQL, 64, Share::Dedicated, 5500),
            (MYSQL, 1024, Share::Dedicated, 5500),
        ] {
            let row = match size(flavor, gib * GIB, share, demanded, 8) {
                Ok(s) => format!(
                    "max_connections {:>5} x {:>6} KiB  pool {:>6} MiB / {}  redo {:>5} MiB  tmp {:>5} KiB  {:>2} %",
                    s.max_connections,
                    s.per_connection_bytes / KIB,
                    s.pool_bytes / MIB,
                    s.pool_instances,
                    s.redo_bytes / MIB,
                    s.tmp_table_bytes / KIB,
                    total(&s) * 100 / s.memory_bytes,
                ),
                Err(error) => error.to_string(),
            };
            table.push_str(&format!("{:7} {gib:>4} GiB {share:?}: {row}\n", flavor.vendor.name()));
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn a_limit_has_twenty_percent_and_a_reserve() {
        for (demanded, limit) in [(350, 440), (700, 860), (1050, 1280), (0, 100), (u32::MAX, 100_000)] {
            assert_eq!(connection_limit(demanded), limit);
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_ever_exceeds_its_share(
            memory_mib in 512_u64..(64 << 20), demanded in 0_u32..20_000, dedicated: bool, mysql: bool, cpus in 0_u32..64
        ) {
            let share = if dedicated { Share::Dedicated } else { Share::Shared };
            let flavor = if mysql { MYSQL } else { MARIADB };
            if let Ok(sizing) = size(flavor, memory_mib * MIB, share, demanded, cpus) {
                proptest::prop_assert!(total(&sizing) <= sizing.memory_bytes / 100 * 75);
                proptest::prop_assert!(sizing.pool_bytes >= POOL_GRAIN_BYTES);
                proptest::prop_assert_eq!(sizing.pool_bytes % (POOL_GRAIN_BYTES * u64::from(sizing.pool_instances)), 0);
            }
        }
    }
}
