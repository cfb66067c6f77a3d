//! The clock that the catalog waits by, so that tests need not wait.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Tells the time and lets it pass.
pub trait Clock: Debug + Send + Sync {
    /// The time now.
    fn now(&self) -> Instant;

    /// Returns when about `time` has passed, or sooner: callers ask [`Clock::now`] again.
    fn wait(&self, time: Duration);
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wait(&self, time: Duration) {
        std::thread::park_timeout(time);
    }
}
