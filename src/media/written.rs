//! Length of the recording and arrival times of its bytes: the only state shared by the writer and
//! the readers.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::ByteOffset;

/// Maximum number of bursts whose arrival times are kept: with one burst per millisecond, those of
/// the last minute.
const MAX_ARRIVALS: usize = 65_536;

/// The length of a growing recording, published by the writer. Clones share it.
#[derive(Debug, Clone)]
pub struct Written {
    shared: Arc<WrittenShared>,
}

#[derive(Debug)]
struct WrittenShared {
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Debug)]
struct Progress {
    length: u64,
    finished: bool,
    /// Length after each burst, and its arrival.
    arrivals: VecDeque<(u64, Arrival)>,
    /// Arrival times of bytes before this offset are unknown.
    known_from: u64,
}

/// Time at which bytes arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// System time.
    pub time: SystemTime,
    /// Monotonic time.
    pub instant: Instant,
}

/// Reason why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitOutcome {
    /// The recording has grown to this length in bytes.
    Grown(u64),
    /// The length has not changed.
    TimedOut,
    /// The writer has ended. This is the final length in bytes.
    Finished(u64),
}

impl Written {
    /// Creates the shared length of a recording that already has `length` bytes.
    pub fn new(length: u64) -> Self {
        let progress =
            Progress { length, finished: false, arrivals: VecDeque::new(), known_from: length };
        Written {
            shared: Arc::new(WrittenShared {
                progress: Mutex::new(progress),
                changed: Condvar::new(),
            }),
        }
    }

    /// Returns the current length in bytes.
    pub fn length(&self) -> u64 {
        self.lock().length
    }

    /// Publishes a new length; called by the writer. The length may shrink when an incomplete
    /// packet is discarded.
    pub fn publish(&self, length: u64) {
        let now = Arrival { time: SystemTime::now(), instant: Instant::now() };
        let mut state = self.lock();
        if length == state.length {
            return;
        }
        while state.arrivals.back().is_some_and(|(end, _)| *end >= length) {
            state.arrivals.pop_back();
        }
        if length > state.length {
            if state.arrivals.len() == MAX_ARRIVALS
                && let Some((end, _)) = state.arrivals.pop_front()
            {
                state.known_from = end;
            }
            state.arrivals.push_back((length, now));
        }
        state.length = length;
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Marks the recording as finished; called by the writer.
    pub fn finish(&self) {
        self.lock().finished = true;
        self.shared.changed.notify_all();
    }

    /// Returns whether the recording is finished.
    pub fn is_finished(&self) -> bool {
        self.lock().finished
    }

    /// Waits until the recording is finished, or `timeout` has passed.
    pub fn wait_finished(&self, timeout: Duration) {
        let state = self.lock();
        let waiting = |state: &mut Progress| !state.finished;
        drop(self.shared.changed.wait_timeout_while(state, timeout, waiting));
    }

    /// Waits until the recording is longer than `offset` or finished, or `timeout` has
    /// passed.
    pub fn wait_past(&self, offset: u64, timeout: Duration) -> WaitOutcome {
        let state = self.lock();
        let waiting = |state: &mut Progress| state.length <= offset && !state.finished;
        let (state, _) = self
            .shared
            .changed
            .wait_timeout_while(state, timeout, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        match &*state {
            Progress { length, .. } if *length > offset => WaitOutcome::Grown(*length),
            Progress { length, finished: true, .. } => WaitOutcome::Finished(*length),
            _ => WaitOutcome::TimedOut,
        }
    }

    /// Returns the arrival of the byte at `offset`. `None` for bytes that were recorded before this
    /// process started, and for bytes whose time is no longer kept.
    pub fn arrival(&self, offset: ByteOffset) -> Option<Arrival> {
        let state = self.lock();
        if offset.0 < state.known_from {
            return None;
        }
        let index = state.arrivals.partition_point(|(end, _)| *end <= offset.0);
        state.arrivals.get(index).map(|(_, arrival)| *arrival)
    }

    /// Returns the arrival of the last byte. `None` if no byte has arrived in this process.
    pub fn last_arrival(&self) -> Option<Arrival> {
        self.lock().arrivals.back().map(|(_, arrival)| *arrival)
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.shared.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_is_woken_by_new_bytes_and_by_the_end() {
        let written = Written::new(100);
        assert_eq!(written.wait_past(100, Duration::ZERO), WaitOutcome::TimedOut);
        let writer = written.clone();
        let thread = std::thread::spawn(move || {
            writer.publish(200);
            writer.finish();
        });
        let long = Duration::from_secs(60);
        assert_eq!(written.wait_past(100, long), WaitOutcome::Grown(200));
        assert_eq!(written.wait_past(200, long), WaitOutcome::Finished(200));
        assert!(thread.join().is_ok());
    }

    #[test]
    fn a_byte_arrived_when_the_burst_did_that_brought_it() {
        let written = Written::new(100);
        let before = SystemTime::now();
        written.publish(200);
        written.publish(300);
        assert_eq!(written.arrival(ByteOffset(99)), None, "it was there before the start");
        let (first, second) = (written.arrival(ByteOffset(199)), written.arrival(ByteOffset(200)));
        assert!(first.is_some_and(|first| first.time >= before));
        assert!(first.map(|first| first.instant) <= second.map(|second| second.instant));
        assert_eq!(written.arrival(ByteOffset(300)), None, "it has not arrived yet");
        // Bytes that do not complete a packet.
        written.publish(300);
        assert_eq!(written.arrival(ByteOffset(200)), second);
    }

    #[test]
    fn arrivals_take_bounded_memory() {
        let written = Written::new(0);
        for length in 1..=(MAX_ARRIVALS as u64 + 10) {
            written.publish(length);
        }
        assert_eq!(written.lock().arrivals.len(), MAX_ARRIVALS);
        assert_eq!(written.arrival(ByteOffset(3)), None);
        assert!(written.arrival(ByteOffset(20)).is_some());
    }
}
