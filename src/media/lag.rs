//! How far detection is behind the recording.

use super::Ticks;

/// Length of the recorded part that is not analyzed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lag {
    /// The backlog, in bytes.
    pub bytes: u64,
    /// The lag as a duration. Estimated: the backlog is assumed to have the average bit rate of the
    /// analyzed part; 0 if nothing is analyzed yet.
    pub time: Ticks,
}

impl Lag {
    /// Returns the lag in a recording of `recorded_bytes`, of which the first `analyzed_bytes` are
    /// analyzed and last until `analyzed`.
    pub fn estimate(recorded_bytes: u64, analyzed_bytes: u64, analyzed: Ticks) -> Lag {
        let bytes = recorded_bytes.saturating_sub(analyzed_bytes);
        if bytes == 0 || analyzed_bytes == 0 {
            return Lag { bytes, time: Ticks(0) };
        }
        let time = analyzed.0.max(0) as f64 * (bytes as f64 / analyzed_bytes as f64);
        Lag { bytes, time: Ticks(time as i64) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_has_the_bit_rate_of_what_was_analyzed() {
        let second = Ticks(90_000);
        let lag = |recorded, analyzed| Lag::estimate(recorded, analyzed, second);
        assert_eq!(lag(300, 200), Lag { bytes: 100, time: Ticks(45_000) });
        assert_eq!(lag(300, 0), Lag { bytes: 300, time: Ticks(0) });
        assert_eq!(lag(300, 300), Lag::default());
        // Detection has read bytes that were discarded since.
        assert_eq!(lag(5, 10), Lag::default());
        assert_eq!(Lag::estimate(300, 200, Ticks(-9)).time, Ticks(0));
    }
}
