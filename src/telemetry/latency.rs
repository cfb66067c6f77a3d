//! Latency of live frames, stage by stage.

use std::fmt;
use std::time::{Duration, Instant};

/// Maximum number of measured frames: the first ones of a run.
const MAX_FRAMES: usize = 1 << 16;

/// Times at which a frame passed each stage.
#[derive(Debug, Clone, Copy)]
pub struct Passage {
    /// Arrival of the packet that released the picture: the first of the next access unit, or of a
    /// later one if the decoder reorders.
    pub arrived: Instant,
    /// Detection has read that packet.
    pub read: Instant,
    /// The picture is decoded.
    pub decoded: Instant,
    /// The picture has its verdict.
    pub scored: Instant,
    /// The JPEG is encoded.
    pub encoded: Instant,
    /// `index.json` lists the frame.
    pub published: Instant,
}

impl Passage {
    fn durations(&self) -> [Duration; COLUMNS.len()] {
        let Passage { arrived, read, decoded, scored, encoded, published } = *self;
        let steps = [arrived, read, decoded, scored, encoded, published];
        let mut durations = [Duration::ZERO; COLUMNS.len()];
        for (duration, step) in durations.iter_mut().zip(steps.windows(2)) {
            *duration = step[1].saturating_duration_since(step[0]);
        }
        durations[COLUMNS.len() - 1] = published.saturating_duration_since(arrived);
        durations
    }
}

const COLUMNS: [&str; 6] = ["read", "decoded", "scored", "encoded", "published", "all"];

/// Durations of the stages of all frames of a run.
#[derive(Debug, Default)]
pub struct Latency {
    frames: Vec<[Duration; COLUMNS.len()]>,
}

impl Latency {
    /// Adds a frame.
    pub fn add(&mut self, passage: &Passage) {
        if self.frames.len() < MAX_FRAMES {
            self.frames.push(passage.durations());
        }
    }

    /// Returns whether no frame was measured.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Returns the quantile `share` of sorted durations.
    fn quantile(sorted: &[Duration], share: f64) -> Duration {
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.clamp(1, sorted.len()) - 1).copied().unwrap_or_default()
    }
}

/// Formats a table: one row per stage, with quantiles in milliseconds.
impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "latency of {} frames in ms, stage by stage:", self.frames.len())?;
        write!(f, "\n{:>10} {:>9} {:>9} {:>9} {:>9}", "", "p50", "p95", "p99.9", "max")?;
        for (column, name) in COLUMNS.iter().enumerate() {
            let mut sorted: Vec<_> = self.frames.iter().map(|frame| frame[column]).collect();
            sorted.sort_unstable();
            write!(f, "\n{name:>10}")?;
            for share in [0.5, 0.95, 0.999, 1.0] {
                write!(f, " {:>9.1}", 1e3 * Latency::quantile(&sorted, share).as_secs_f64())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_and_all_together_have_their_quantiles() {
        let start = Instant::now();
        let mut latency = Latency::default();
        assert!(latency.is_empty());
        for n in 1..=100 {
            let at = |ms: u64| start + Duration::from_millis(ms);
            latency.add(&Passage {
                arrived: at(0),
                read: at(n),
                decoded: at(n + 10),
                scored: at(n + 10),
                encoded: at(n + 15),
                published: at(2 * n + 15),
            });
        }
        let table = latency.to_string();
        let rows: Vec<Vec<&str>> =
            table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[2], ["read", "50.0", "95.0", "100.0", "100.0"]);
        assert_eq!(rows[3], ["decoded", "10.0", "10.0", "10.0", "10.0"]);
        assert_eq!(rows[7], ["all", "115.0", "205.0", "215.0", "215.0"]);
    }
}
