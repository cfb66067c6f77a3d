//! Sends a tape in small bursts, each at its due time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::link::{Link, Sent};
use super::pacer::{Pacer, Schedule};
use super::tape::{Ending, Tape};
use super::{SendProgress, SendSummary, Speed};
use crate::error::Result;
use crate::ts::TS_PACKET_BYTES;

/// Minimum size of a burst, the usual size of a TS datagram …
const BURST_MIN_BYTES: usize = 7 * TS_PACKET_BYTES;

/// … plus the bytes that are due within this time …
const BURST_TIME: Duration = Duration::from_millis(10);

/// … and maximum size.
const BURST_MAX_BYTES: usize = 64 * 1024;

/// Maximum duration of one sleep, and thus delay until the stop flag is noticed.
const MAX_SLEEP: Duration = Duration::from_millis(50);

/// Time between two progress reports.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Receives the bytes.
pub trait PacketOutlet {
    /// Writes all of `bytes`, unless `stop` is set while it has to wait.
    fn write(&mut self, bytes: &[u8], stop: &AtomicBool) -> Result<Sent>;
}

impl PacketOutlet for Link {
    fn write(&mut self, bytes: &[u8], stop: &AtomicBool) -> Result<Sent> {
        Link::write(self, bytes, stop)
    }
}

/// The clock used for sending.
pub trait Time {
    /// Returns the time since a fixed moment.
    fn now(&self) -> Duration;
    /// Waits for `duration`.
    fn sleep(&self, duration: Duration);
}

/// The system's monotonic clock, starting at its creation.
#[derive(Debug)]
pub struct SystemTime(Instant);

impl SystemTime {
    /// Returns a clock that starts at 0 now.
    pub fn start() -> Self {
        SystemTime(Instant::now())
    }
}

impl Time for SystemTime {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, duration: Duration) {
        thread::sleep(duration);
    }
}

/// Sends `tape` to `outlet` until it ends or `stop` is set.
///
/// # Errors
///
/// Returns an error if the file cannot be read or the outlet fails.
pub fn play(
    tape: &mut Tape<'_>,
    speed: Speed,
    outlet: &mut dyn PacketOutlet,
    time: &dyn Time,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(SendProgress),
) -> Result<SendSummary> {
    let start = time.now();
    let factor = match speed {
        Speed::Factor(factor) => Some(factor),
        Speed::Max => None,
    };
    let mut pacer = Pacer::new(factor.unwrap_or(1.0));
    let schedule = Schedule::starting(start);
    let mut bursts = Bursts { outlet, time, stop, schedule, pending: Vec::new(), sent_bytes: 0 };
    let (mut run, mut due, mut last_report) = (Vec::new(), Duration::ZERO, start);
    let mut was_stopped = false;
    'tape: while let Some(ending) = tape.next(&mut run)? {
        let reading = match ending {
            Ending::At(reading) => Some(reading),
            Ending::Open => None,
        };
        let span = pacer.advance(run.len() as u64, reading);
        let mut byte = 0;
        for packet in run.chunks(TS_PACKET_BYTES) {
            let next_due = if factor.is_some() { span.due(byte) } else { Duration::ZERO };
            if bursts.push(packet, &mut due, next_due)? == Sent::Stopped {
                was_stopped = true;
                break 'tape;
            }
            byte += packet.len() as u64;
        }
        if time.now().saturating_sub(last_report) >= PROGRESS_INTERVAL {
            last_report = time.now();
            progress(SendProgress {
                sent_bytes: bursts.sent_bytes,
                total_bytes: tape.total_bytes(),
                media: pacer.media(),
                passes: tape.passes(),
            });
        }
    }
    if !was_stopped {
        was_stopped = bursts.flush(due)? == Sent::Stopped;
    }
    Ok(SendSummary {
        sent_bytes: bursts.sent_bytes,
        media: pacer.media(),
        elapsed: time.now().saturating_sub(start),
        passes: tape.passes() + u64::from(!was_stopped),
        was_stopped,
    })
}

/// Collects packets into bursts and sends each burst when its first byte is due.
struct Bursts<'a> {
    outlet: &'a mut dyn PacketOutlet,
    time: &'a dyn Time,
    stop: &'a AtomicBool,
    schedule: Schedule,
    pending: Vec<u8>,
    sent_bytes: u64,
}

impl Bursts<'_> {
    /// Adds a packet that is due at `next_due`. If enough packets are pending, first sends those at
    /// `due`.
    fn push(&mut self, packet: &[u8], due: &mut Duration, next_due: Duration) -> Result<Sent> {
        let is_enough = self.pending.len() >= BURST_MIN_BYTES;
        let is_time = next_due.saturating_sub(*due) >= BURST_TIME;
        let is_full = self.pending.len() + packet.len() > BURST_MAX_BYTES;
        if (is_full || is_enough && is_time) && self.flush(*due)? == Sent::Stopped {
            return Ok(Sent::Stopped);
        }
        if self.pending.is_empty() {
            *due = next_due;
        }
        self.pending.extend_from_slice(packet);
        Ok(Sent::Whole)
    }

    /// Sends the pending packets when they are due.
    fn flush(&mut self, due: Duration) -> Result<Sent> {
        let deadline = self.schedule.deadline(due, self.time.now());
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(Sent::Stopped);
            }
            let remaining = deadline.saturating_sub(self.time.now());
            if remaining.is_zero() {
                break;
            }
            self.time.sleep(remaining.min(MAX_SLEEP));
        }
        let sent = self.outlet.write(&self.pending, self.stop)?;
        self.sent_bytes += self.pending.len() as u64;
        self.pending.clear();
        Ok(sent)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use scenetap_testkit as testkit;
    use std::cell::Cell;
    use std::io::Write;

    /// A clock that advances only when a caller sleeps or has to wait.
    #[derive(Default)]
    struct FakeTime(Cell<Duration>);

    impl Time for FakeTime {
        fn now(&self) -> Duration {
            self.0.get()
        }
        fn sleep(&self, duration: Duration) {
            self.0.set(self.0.get() + duration);
        }
    }

    /// Records when each burst arrives, and stalls once.
    struct TestOutlet<'a> {
        time: &'a FakeTime,
        bursts: Vec<(Duration, usize)>,
        bytes: Vec<u8>,
        stall: Option<(usize, Duration)>,
        stop_at: usize,
    }

    impl PacketOutlet for TestOutlet<'_> {
        fn write(&mut self, bytes: &[u8], stop: &AtomicBool) -> Result<Sent> {
            self.bursts.push((self.time.now(), bytes.len()));
            self.bytes.extend_from_slice(bytes);
            if let Some((at, duration)) = self.stall.take_if(|(at, _)| self.bytes.len() >= *at) {
                let _ = at;
                self.time.sleep(duration);
            }
            stop.store(self.bytes.len() >= self.stop_at, Ordering::Relaxed);
            Ok(Sent::Whole)
        }
    }

    fn outlet(time: &FakeTime) -> TestOutlet<'_> {
        TestOutlet { time, bursts: vec![], bytes: vec![], stall: None, stop_at: usize::MAX }
    }

    fn run(bytes: &[u8], speed: Speed, looped: bool, outlet: &mut TestOutlet<'_>) -> SendSummary {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(bytes).expect("written");
        let mut tape = Tape::open(file.path(), looped).expect("opened");
        let time = outlet.time;
        play(&mut tape, speed, outlet, time, &AtomicBool::new(false), &mut |_| {}).expect("played")
    }

    #[test]
    fn a_file_takes_its_own_time_and_every_byte_comes_when_it_is_due() {
        // 25 frames/s of 40 packets: 188 kB/s, 10 ms are ten packets.
        let bytes = testkit::paced_stream(50, 40, 12_345);
        let time = FakeTime::default();
        let mut outlet = outlet(&time);
        let summary = run(&bytes, Speed::Factor(1.0), false, &mut outlet);
        assert_eq!(outlet.bytes, bytes);
        assert_eq!(summary.passes, 1);
        assert!(summary.elapsed.as_secs_f64() > 1.95 && summary.elapsed.as_secs_f64() < 2.0);
        let mut before = 0;
        for (at, length) in outlet.bursts {
            let due = before as f64 / 188_000.0;
            assert!((at.as_secs_f64() - due).abs() < 1e-3, "byte {before} at {at:?}, not {due}");
            assert!((BURST_MIN_BYTES..=10 * TS_PACKET_BYTES).contains(&length), "{length}");
            before += length;
        }
    }

    #[test]
    fn a_stall_shortens_nothing_after_it() {
        let bytes = testkit::paced_stream(100, 40, 0);
        let time = FakeTime::default();
        let mut outlet = outlet(&time);
        outlet.stall = Some((94_000, Duration::from_secs(60)));
        let summary = run(&bytes, Speed::Factor(1.0), false, &mut outlet);
        let seconds = summary.elapsed.as_secs_f64();
        assert!(seconds > 63.8 && seconds < 64.1, "{seconds}");
    }

    #[test]
    fn the_seam_of_a_loop_takes_one_frame() {
        let bytes = testkit::paced_stream(25, 40, 0);
        let time = FakeTime::default();
        let mut outlet = outlet(&time);
        outlet.stop_at = 4 * bytes.len();
        let summary = run(&bytes, Speed::Factor(1.0), true, &mut outlet);
        assert!(summary.was_stopped);
        assert_eq!(outlet.bytes[..bytes.len()], bytes);
        let seconds = summary.elapsed.as_secs_f64();
        assert!((seconds - 4.0).abs() < 0.02, "{seconds}");
    }

    #[test]
    fn full_speed_waits_for_nothing() {
        let bytes = testkit::paced_stream(500, 40, 0);
        let time = FakeTime::default();
        let mut outlet = outlet(&time);
        let summary = run(&bytes, Speed::Max, false, &mut outlet);
        assert_eq!((summary.elapsed, outlet.bytes == bytes), (Duration::ZERO, true));
        assert_eq!(summary.media.as_millis(), 20_000);
    }

    #[test]
    fn without_any_clock_it_goes_at_full_speed() {
        let bytes = testkit::filler(256, 0).repeat(100);
        let time = FakeTime::default();
        let mut outlet = outlet(&time);
        let summary = run(&bytes, Speed::Factor(0.001), false, &mut outlet);
        assert_eq!((summary.elapsed, outlet.bytes == bytes), (Duration::ZERO, true));
    }
}
