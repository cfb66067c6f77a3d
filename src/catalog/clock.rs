//! The clock used by the catalog. Tests replace it to avoid waiting.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// A clock that can also wait.
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
