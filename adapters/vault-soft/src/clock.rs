//! Time for limits, validity, records and expiry, exchangeable so that a simulator can own it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

const SECONDS_PER_DAY: u64 = 86_400;

/// A clock that never runs backwards.
pub trait Clock: Send + Sync {
    /// Milliseconds since some fixed moment.
    fn now_ms(&self) -> u64;

    /// Today, as days since 1970-01-01 (UTC). Without a calendar, keys with bounds of validity are not used, and days
    /// of the limits are counted from the clock's fixed moment.
    fn today(&self) -> Option<u32> {
        None
    }

    /// Unix time in milliseconds, for records and for what expires: the machine's, unless a simulator owns time.
    fn unix_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// The machine's monotonic clock, and its calendar.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn today(&self) -> Option<u32> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        u32::try_from(since.as_secs() / SECONDS_PER_DAY).ok()
    }
}
