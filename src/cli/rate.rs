//! Growth of a counter per second, for the status line and progress bars.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The period over which the rate is averaged.
const WINDOW: Duration = Duration::from_secs(2);

/// The rate of a counter over the last two seconds.
#[derive(Debug, Default)]
pub(super) struct CounterRate {
    samples: VecDeque<(Instant, u64)>,
}

impl CounterRate {
    /// Adds a sample and returns the growth per second; 0 until there are two samples.
    pub(super) fn sample(&mut self, now: Instant, count: u64) -> f64 {
        self.samples.push_back((now, count));
        // Keep one sample at least as old as the window, so that the window is covered.
        while self.samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            self.samples.pop_front();
        }
        let Some(&(since, before)) = self.samples.front() else { return 0.0 };
        let seconds = now.duration_since(since).as_secs_f64();
        if seconds > 0.0 { count.saturating_sub(before) as f64 / seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_two_seconds() {
        let start = Instant::now();
        let mut rate = CounterRate::default();
        assert_eq!(rate.sample(start, 500), 0.0);
        let mut last = 0.0;
        for quarter in 1..=40 {
            let count = 500 + if quarter <= 20 { quarter * 1000 } else { 20_000 };
            last = rate.sample(start + Duration::from_millis(250 * quarter), count);
            if quarter == 20 {
                assert_eq!(last, 4000.0);
            }
        }
        assert_eq!(last, 0.0, "it stopped five seconds ago");
        assert!(rate.samples.len() <= 10);
    }
}
