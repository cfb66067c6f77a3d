//! FFmpeg's arithmetic on times, including rounding (`libavutil/mathematics.c`).

use crate::media::{Fraction, TICKS_PER_SECOND, Ticks};

/// Microseconds per second: the time base of the ffmpeg tool.
const MICROS: i64 = 1_000_000;

/// Converts ticks to microseconds like `av_rescale_q`: halves round away from zero.
pub fn micros(ticks: Ticks) -> i64 {
    scale(ticks.0, MICROS, TICKS_PER_SECOND)
}

/// Converts microseconds to ticks like `av_rescale_q`: halves round away from zero.
pub fn ticks(micros: i64) -> Ticks {
    Ticks(scale(micros, TICKS_PER_SECOND, MICROS))
}

/// Converts a duration to whole ticks, rounded down, like `compute_pkt_fields` in
/// `libavformat/demux.c`.
pub fn whole_ticks(duration: Fraction) -> i64 {
    let ticks = i128::from(duration.numerator) * i128::from(TICKS_PER_SECOND)
        / i128::from(duration.denominator);
    clamped(ticks)
}

/// Returns `count` durations in whole microseconds, rounded down.
pub fn whole_micros(duration: Fraction, count: i64) -> i64 {
    let micros = i128::from(duration.numerator) * i128::from(MICROS) * i128::from(count)
        / i128::from(duration.denominator);
    clamped(micros)
}

/// Returns the duration of `samples` in microseconds, rounded down as in the ffmpeg tool.
pub fn micros_of_samples(samples: u32, sample_rate: u32) -> i64 {
    if sample_rate == 0 { 0 } else { MICROS * i64::from(samples) / i64::from(sample_rate) }
}

/// Returns the duration of `samples` in ticks, rounded down as in libavformat.
pub fn ticks_of_samples(samples: u32, sample_rate: u32) -> i64 {
    if sample_rate == 0 {
        0
    } else {
        TICKS_PER_SECOND * i64::from(samples) / i64::from(sample_rate)
    }
}

/// `av_add_stable`: adds a duration that is not necessarily a whole number of ticks, without
/// accumulating rounding errors.
pub fn add_stable(time: i64, duration: Fraction) -> i64 {
    let per_tick = i128::from(duration.numerator) * i128::from(TICKS_PER_SECOND);
    let denominator = i128::from(duration.denominator);
    if per_tick % denominator == 0 {
        return time.saturating_add(clamped(per_tick / denominator));
    }
    if per_tick < denominator {
        return time;
    }
    // Advance by one step on the grid of multiples of the duration, and keep the distance to the
    // grid.
    let old = divide(i128::from(time) * denominator, per_tick);
    let on_grid = |index: i128| divide(index * per_tick, denominator);
    let sum = on_grid(old + 1) + i128::from(time) - on_grid(old);
    clamped(sum)
}

fn scale(value: i64, by: i64, from: i64) -> i64 {
    clamped(divide(i128::from(value) * i128::from(by), i128::from(from)))
}

/// Returns the nearest value in the range of the type.
fn clamped(value: i128) -> i64 {
    value.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// Divides and rounds to nearest, halves away from zero. `by` must be positive.
fn divide(value: i128, by: i128) -> i128 {
    let half = if value < 0 { -(by / 2) } else { by / 2 };
    (value + half) / by
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILM: Fraction = Fraction { numerator: 1001, denominator: 24_000 };

    #[test]
    fn ticks_survive_the_way_through_microseconds() {
        for time in [-3, 0, 1, 8, 90_000, (1 << 33) - 1] {
            assert_eq!(ticks(micros(Ticks(time))), Ticks(time));
        }
        assert_eq!(micros(Ticks(1)), 11);
        assert_eq!(micros(Ticks(-1)), -11);
    }

    #[test]
    fn durations_of_no_whole_ticks_do_not_drift() {
        assert_eq!(whole_ticks(FILM), 3753);
        let mut time = 7;
        for _ in 0..24_000 {
            time = add_stable(time, FILM);
        }
        assert_eq!(time - 7, 1001 * TICKS_PER_SECOND);
    }
}
