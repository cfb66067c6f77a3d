//! Measures how long bytes have arrived without a picture being decided.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Measures the time from the first to the last byte since the last decided picture. A pause of the
/// sender adds nothing until the next bytes arrive.
///
/// Lock-free, because the writer updates it at every read from the network. A reader may see a
/// change of one field before that of the other: the value is only displayed.
#[derive(Debug)]
pub struct Undecided {
    created: Instant,
    /// Arrival of the first bytes after the last decided picture, in milliseconds after `created`
    /// plus one; 0 if none have arrived.
    first_ms: AtomicU64,
    /// Arrival of the last bytes, in the same unit.
    newest_ms: AtomicU64,
}

impl Default for Undecided {
    fn default() -> Self {
        let (first_ms, newest_ms) = (AtomicU64::new(0), AtomicU64::new(0));
        Undecided { created: Instant::now(), first_ms, newest_ms }
    }
}

impl Undecided {
    /// Records that bytes have arrived at `now`.
    pub fn received(&self, now: Instant) {
        let now = now.saturating_duration_since(self.created).as_millis() as u64 + 1;
        self.newest_ms.store(now, Relaxed);
        // Fails if earlier bytes were recorded.
        let _ = self.first_ms.compare_exchange(0, now, Relaxed, Relaxed);
    }

    /// Resets the measurement: a picture was decided, or another sender begins.
    pub fn reset(&self) {
        self.first_ms.store(0, Relaxed);
    }

    /// Returns the time from the first to the last bytes after the last decided picture.
    pub fn duration(&self) -> Duration {
        match self.first_ms.load(Relaxed) {
            0 => Duration::ZERO,
            first => Duration::from_millis(self.newest_ms.load(Relaxed).saturating_sub(first)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_with_bytes_and_ends_with_a_picture() {
        let undecided = Undecided::default();
        let at = |s| undecided.created + Duration::from_secs(s);
        assert_eq!(undecided.duration(), Duration::ZERO);
        undecided.received(at(1));
        assert_eq!(undecided.duration(), Duration::ZERO);
        undecided.received(at(4));
        assert_eq!(undecided.duration(), Duration::from_secs(3));
        undecided.reset();
        assert_eq!(undecided.duration(), Duration::ZERO);
        undecided.received(at(9));
        undecided.received(at(10));
        assert_eq!(undecided.duration(), Duration::from_secs(1));
    }
}
