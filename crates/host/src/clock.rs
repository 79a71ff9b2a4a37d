//! The clock that leases are measured with.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Time since boot, suspended time included (`CLOCK_BOOTTIME`): it never goes back, and a host that slept knows that
/// time passed.
#[must_use]
pub fn boottime() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_goes_forward() {
        let before = super::boottime();
        assert!(before.as_nanos() > 0 && super::boottime() >= before);
    }
}
