//! The node's clocks: one that only goes forward, suspended time included, and the wall's.

use ha::Millis;

/// Milliseconds of `CLOCK_BOOTTIME`.
pub(crate) fn now() -> Millis {
    Millis::try_from(host::clock::boottime().as_millis()).unwrap_or(Millis::MAX)
}

/// Unix seconds.
pub(crate) fn wall_seconds() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0)
}
