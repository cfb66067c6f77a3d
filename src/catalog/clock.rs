//! The clock used by the catalog, so that tests need not wait.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Returns the time and waits.
pub trait TimeSource: Debug + Send + Sync {
    /// Returns the current time.
    fn now(&self) -> Instant;

    /// Waits for about `time`, possibly less: callers check [`TimeSource::now`] again.
    fn wait(&self, time: Duration);
}

/// The system's monotonic clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl TimeSource for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wait(&self, time: Duration) {
        std::thread::park_timeout(time);
    }
}
