//! Detects a thread that is stuck in one operation.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Measures the current operation of a thread that may hang, such as a write to disk. Another
/// thread reads it. Waiting for work does not count as an operation.
#[derive(Debug)]
pub struct Heartbeat {
    created: Instant,
    /// Start of the operation, in milliseconds after `created` plus one; 0 between operations.
    busy_since_ms: AtomicU64,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Heartbeat { created: Instant::now(), busy_since_ms: AtomicU64::new(0) }
    }
}

impl Heartbeat {
    /// Runs `operation` and marks the thread as busy meanwhile.
    pub fn during<T>(&self, operation: impl FnOnce() -> T) -> T {
        let since = self.created.elapsed().as_millis() as u64 + 1;
        self.busy_since_ms.store(since, Relaxed);
        let done = operation();
        self.busy_since_ms.store(0, Relaxed);
        done
    }

    /// Returns the duration of the current operation so far; zero between operations.
    pub fn busy_for(&self) -> Duration {
        match self.busy_since_ms.load(Relaxed) {
            0 => Duration::ZERO,
            since => self.created.elapsed().saturating_sub(Duration::from_millis(since - 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_busy_inside_of_an_operation_alone() {
        let heartbeat = Heartbeat::default();
        assert_eq!(heartbeat.busy_for(), Duration::ZERO);
        let busy_for = heartbeat.during(|| {
            std::thread::sleep(Duration::from_millis(5));
            heartbeat.busy_for()
        });
        assert!(busy_for >= Duration::from_millis(4), "{busy_for:?}");
        assert_eq!(heartbeat.busy_for(), Duration::ZERO);
    }
}
