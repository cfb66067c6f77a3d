//! Limits how often the index is written, and how often changes by other programs are
//! read.

use std::time::{Duration, Instant};

/// Number of entries up to which the index is written for every frame.
pub const AT_ONCE_ENTRIES: usize = 5_000;

/// Beyond that number, the index is written at most once per this interval …
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// … and at most once per this multiple of the duration of the last write.
const COST_FACTOR: u32 = 20;

/// Computes when the next write (or read) is due, from the duration of the last one.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Option<(Instant, Duration)>,
}

impl Pace {
    /// Returns the time from `now` until an index of `entries` entries may be written or
    /// read.
    pub fn due_in(&self, entries: usize, now: Instant) -> Duration {
        match self.last {
            Some((started, took)) if entries > AT_ONCE_ENTRIES => {
                let interval = SHORTEST_INTERVAL.max(took.saturating_mul(COST_FACTOR));
                interval.saturating_sub(now.saturating_duration_since(started))
            }
            _ => Duration::ZERO,
        }
    }

    /// Records a write or a read.
    pub fn done(&mut self, started: Instant, ended: Instant) {
        self.last = Some((started, ended.saturating_duration_since(started)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_5000_entries_writing_waits_a_second_or_20_times_its_cost() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut pace = Pace::default();
        assert_eq!(pace.due_in(9_000, start), Duration::ZERO, "the first is due at once");

        pace.done(start, after(10));
        assert_eq!(pace.due_in(AT_ONCE_ENTRIES, after(10)), Duration::ZERO);
        assert_eq!(pace.due_in(AT_ONCE_ENTRIES + 1, after(10)), Duration::from_millis(990));
        assert_eq!(pace.due_in(AT_ONCE_ENTRIES + 1, after(1_000)), Duration::ZERO);

        pace.done(start, after(100));
        assert_eq!(pace.due_in(AT_ONCE_ENTRIES + 1, after(100)), Duration::from_millis(1_900));
    }
}
