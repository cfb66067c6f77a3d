//! Rate limit for log lines: every event is counted, but logged only once per interval.

use std::time::{Duration, Instant};

/// Counts events of one kind and decides when to log them, so that a bad cable does not flood the
/// log. Does not read a clock: the caller passes the time.
///
/// Every event is reported exactly once: alone, in the count of the next report, or by
/// [`RateLimit::rest`].
#[derive(Debug, Clone)]
pub struct RateLimit {
    interval: Duration,
    last_report: Option<Instant>,
    pending: u64,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self::new()
    }
}

impl RateLimit {
    /// Reports at most once per second.
    pub fn new() -> Self {
        Self::every(Duration::from_secs(1))
    }

    /// Reports at most once per `interval`.
    pub fn every(interval: Duration) -> Self {
        RateLimit { interval, last_report: None, pending: 0 }
    }

    /// Counts one event. If a report is due, returns the number of events since the last
    /// one.
    pub fn hit(&mut self, now: Instant) -> Option<u64> {
        self.hits(now, 1)
    }

    /// Counts several events at once, as [`RateLimit::hit`].
    pub fn hits(&mut self, now: Instant, events: u64) -> Option<u64> {
        self.pending = self.pending.saturating_add(events);
        let is_due = self.last_report.is_none_or(|last| now.duration_since(last) >= self.interval);
        if self.pending == 0 || !is_due {
            return None;
        }
        self.last_report = Some(now);
        self.rest()
    }

    /// Returns the number of events not reported yet, if any, at the end of a run.
    pub fn rest(&mut self) -> Option<u64> {
        let count = std::mem::take(&mut self.pending);
        (count > 0).then_some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_event_is_told_at_once() {
        assert_eq!(RateLimit::new().hit(Instant::now()), Some(1));
    }

    #[test]
    fn a_flood_is_told_once_a_second_and_none_of_it_is_lost() {
        let start = Instant::now();
        let mut report = RateLimit::new();
        let reports: Vec<u64> = (0..3000)
            .filter_map(|millisecond| report.hit(start + Duration::from_millis(millisecond)))
            .collect();
        assert_eq!(reports, [1, 1000, 1000]);
        assert_eq!(report.rest(), Some(999));
        assert_eq!(report.rest(), None);
    }

    #[test]
    fn an_event_after_a_quiet_time_is_told_at_once() {
        let start = Instant::now();
        let mut report = RateLimit::new();
        assert_eq!(report.hits(start, 5), Some(5));
        assert_eq!(report.hits(start + Duration::from_secs(9), 0), None);
        assert_eq!(report.hit(start + Duration::from_secs(9)), Some(1));
    }

    #[test]
    fn a_clock_that_goes_back_tells_nothing_and_loses_nothing() {
        let start = Instant::now() + Duration::from_secs(10);
        let mut report = RateLimit::new();
        assert_eq!(report.hit(start), Some(1));
        assert_eq!(report.hit(start - Duration::from_secs(5)), None);
        assert_eq!(report.hit(start + Duration::from_secs(1)), Some(2));
    }
}
