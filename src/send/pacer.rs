//! Computes when each byte is due, from the stream's own clock.
//!
//! This module neither reads a clock nor sleeps: readings go in, times come out.

use std::time::Duration;

use crate::ts::PCR_WRAP;

/// Ticks per second of the system clock (ISO/IEC 13818-1, 2.4.2.1).
const CLOCK_HZ: u64 = 27_000_000;

/// Maximum regular step between two readings. A larger one is a jump of the clock: the standard
/// allows 0.1 s between two PCRs.
const MAX_STEP: u64 = CLOCK_HZ;

/// Maximum delay. Beyond that, the schedule is shifted instead of catching up.
const MAX_LATE: Duration = Duration::from_secs(1);

/// Value of the stream's clock at the first byte of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// 27 MHz ticks, modulo 2³³ × 300.
    pub ticks: u64,
    /// Whether the packet marks a discontinuity of the clock.
    pub discontinuity: bool,
}

/// Maps bytes to the time at which they are due.
///
/// Between two readings, the bytes are spread evenly. Bytes before the first reading are due
/// immediately. If the clock jumps, or no reading follows, the last known rate applies; after a
/// jump, the new reading is the reference.
#[derive(Debug)]
pub struct Pacer {
    speed: f64,
    /// Media time so far, in 27 MHz ticks. Never wraps or decreases.
    elapsed: u64,
    last: Option<Anchor>,
    /// Bytes since the last reading.
    since: u64,
    rate: Option<ClockRate>,
}

#[derive(Debug, Clone, Copy)]
struct Anchor {
    ticks: u64,
    elapsed: u64,
}

#[derive(Debug, Clone, Copy)]
struct ClockRate {
    ticks: u64,
    bytes: u64,
}

/// A run of bytes and the time in which to send it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Time from the start at which the first byte is due.
    pub start: Duration,
    /// Time from the start at which the byte after the run is due.
    pub end: Duration,
    /// Length in bytes.
    pub bytes: u64,
}

impl Span {
    /// Returns the time from the start at which byte number `byte` of the run is due.
    pub fn due(&self, byte: u64) -> Duration {
        if self.bytes == 0 {
            return self.end;
        }
        let length = self.end.saturating_sub(self.start);
        self.start + length.mul_f64((byte as f64 / self.bytes as f64).min(1.0))
    }
}

impl Pacer {
    /// Returns a pacer with `speed` times the speed of the stream's clock. `speed` is
    /// finite and positive.
    pub fn new(speed: f64) -> Self {
        Pacer { speed, elapsed: 0, last: None, since: 0, rate: None }
    }

    /// Advances by `bytes` bytes. `end` is the reading of the packet after them, if any.
    pub fn advance(&mut self, bytes: u64, end: Option<Reading>) -> Span {
        let begin = self.elapsed;
        self.since += bytes;
        self.elapsed = match (end, self.last) {
            (Some(reading), Some(last)) => match self.step(reading, last) {
                Some(step) => {
                    if step > 0 && self.since > 0 {
                        self.rate = Some(ClockRate { ticks: step, bytes: self.since });
                    }
                    begin.max(last.elapsed + step)
                }
                None => begin + self.at_last_rate(bytes),
            },
            (Some(_), None) => begin,
            (None, _) => begin + self.at_last_rate(bytes),
        };
        if let Some(reading) = end {
            self.last = Some(Anchor { ticks: reading.ticks, elapsed: self.elapsed });
            self.since = 0;
        }
        Span { start: self.real(begin), end: self.real(self.elapsed), bytes }
    }

    /// Returns the media time so far.
    pub fn media(&self) -> Duration {
        Duration::from_secs_f64(self.elapsed as f64 / CLOCK_HZ as f64)
    }

    /// Returns the ticks from `last` to `reading`; `None` if the clock jumped.
    fn step(&self, reading: Reading, last: Anchor) -> Option<u64> {
        let step = (reading.ticks + PCR_WRAP - last.ticks) % PCR_WRAP;
        (!reading.discontinuity && step <= MAX_STEP).then_some(step)
    }

    fn at_last_rate(&self, bytes: u64) -> u64 {
        self.rate.map_or(0, |rate| {
            (u128::from(bytes) * u128::from(rate.ticks) / u128::from(rate.bytes)) as u64
        })
    }

    fn real(&self, ticks: u64) -> Duration {
        Duration::try_from_secs_f64(ticks as f64 / CLOCK_HZ as f64 / self.speed)
            .unwrap_or(Duration::MAX)
    }
}

/// Converts due times to deadlines without drift: every deadline is relative to one origin, which
/// is moved only after a stall of more than a second.
#[derive(Debug, Default)]
pub struct Schedule {
    origin: Duration,
}

impl Schedule {
    /// Returns a schedule whose time 0 is `now`.
    pub fn starting(now: Duration) -> Self {
        Schedule { origin: now }
    }

    /// Returns the time at which to send bytes that are due at `due`. After a long stall, this is
    /// `now`, and all later bytes are delayed by the same amount.
    pub fn deadline(&mut self, due: Duration, now: Duration) -> Duration {
        let deadline = self.origin.saturating_add(due);
        if now.saturating_sub(deadline) > MAX_LATE {
            self.origin = now.saturating_sub(due);
            return now;
        }
        deadline
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn at(ticks: u64) -> Option<Reading> {
        Some(Reading { ticks, discontinuity: false })
    }

    fn ms(duration: Duration) -> u128 {
        (duration.as_nanos() + 500_000) / 1_000_000
    }

    #[test]
    fn bytes_between_two_readings_are_spread_evenly() {
        let mut pacer = Pacer::new(1.0);
        assert_eq!(ms(pacer.advance(376, at(1000)).end), 0);
        let span = pacer.advance(1880, at(1000 + 2_700_000));
        assert_eq!((ms(span.start), ms(span.due(940)), ms(span.end)), (0, 50, 100));
    }

    #[test]
    fn speed_divides_the_time() {
        let mut pacer = Pacer::new(2.0);
        pacer.advance(0, at(0));
        assert_eq!(ms(pacer.advance(188, at(2_700_000)).end), 50);
        assert_eq!(ms(pacer.media()), 100);
    }

    #[test]
    fn the_wrap_of_the_clock_is_no_jump() {
        let mut pacer = Pacer::new(1.0);
        pacer.advance(0, at(PCR_WRAP - 1_350_000));
        assert_eq!(ms(pacer.advance(188, at(1_350_000)).end), 100);
    }

    #[test]
    fn a_jump_forward_backward_or_announced_goes_on_at_the_last_rate() {
        let jumps = [
            Reading { ticks: 500 * CLOCK_HZ, discontinuity: false },
            Reading { ticks: 0, discontinuity: false },
            Reading { ticks: CLOCK_HZ + 2_700_001, discontinuity: true },
        ];
        for jump in jumps {
            let mut pacer = Pacer::new(1.0);
            pacer.advance(0, at(CLOCK_HZ));
            pacer.advance(1000, at(CLOCK_HZ + 2_700_000));
            assert_eq!(ms(pacer.advance(500, Some(jump)).end), 150, "{jump:?}");
            let after = Reading { ticks: jump.ticks + 2_700_000, discontinuity: false };
            assert_eq!(ms(pacer.advance(10, Some(after)).end), 250, "{jump:?}");
        }
    }

    #[test]
    fn bytes_without_a_reading_behind_them_go_at_the_last_rate_and_are_not_counted_twice() {
        let mut pacer = Pacer::new(1.0);
        pacer.advance(0, at(0));
        pacer.advance(1000, at(2_700_000));
        assert_eq!(ms(pacer.advance(500, None).end), 150);
        assert_eq!(ms(pacer.advance(500, at(2 * 2_700_000)).end), 200);
    }

    #[test]
    fn hours_do_not_drift() {
        let mut pacer = Pacer::new(1.0);
        let mut ticks = PCR_WRAP - 12_345;
        pacer.advance(0, at(ticks));
        let mut end = Duration::ZERO;
        for _ in 0..(10 * 3600 * 30) {
            ticks = (ticks + 900_900) % PCR_WRAP;
            end = pacer.advance(1316, at(ticks)).end;
        }
        assert_eq!(ms(end), 10 * 3600 * 30 * 1001 / 30);
    }

    #[test]
    fn a_short_stall_is_caught_up_and_a_long_one_moves_the_schedule() {
        let (origin, second) = (Duration::from_secs(7), Duration::from_secs(1));
        let mut schedule = Schedule::starting(origin);
        assert_eq!(schedule.deadline(second, origin), origin + second);
        let late = origin + second + second / 2;
        assert_eq!(schedule.deadline(second, late), origin + second);
        let stalled = origin + 10 * second;
        assert_eq!(schedule.deadline(2 * second, stalled), stalled);
        assert_eq!(schedule.deadline(3 * second, stalled), stalled + second);
    }
}
