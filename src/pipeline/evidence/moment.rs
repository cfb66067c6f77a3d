//! A time in a recording, as the user enters it.

use std::str::FromStr;

use crate::media::{TICKS_PER_SECOND, Ticks};

/// A time in a recording.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Moment {
    /// Seconds from the start, like `timestamp` in the index.
    FromStart(f64),
    /// Seconds before the newest picture.
    BeforeNewest(f64),
}

/// Parses seconds or `[HH:]MM:SS`; with a minus sign, the time counts back from the newest picture.
/// The error describes the accepted values.
impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (moment, text): (fn(f64) -> Moment, _) = match text.strip_prefix('-') {
            Some(text) => (Moment::BeforeNewest, text),
            None => (Moment::FromStart, text),
        };
        clock_seconds(text).map(moment).ok_or_else(|| {
            "must be seconds or [HH:]MM:SS, after a minus sign before the newest picture".into()
        })
    }
}

/// Parses `90.5`, `1:30.5` or `0:01:30.5`.
fn clock_seconds(text: &str) -> Option<f64> {
    let parts: Vec<&str> = text.split(':').collect();
    let (last, higher) = parts.split_last().filter(|(_, higher)| higher.len() <= 2)?;
    // Reject signs, which `parse` accepts, and words such as `inf`.
    if !parts.iter().all(|part| part.starts_with(|c: char| c.is_ascii_digit() || c == '.')) {
        return None;
    }
    let mut numbers = Vec::new();
    for part in higher {
        numbers.push(f64::from(part.parse::<u32>().ok()?));
    }
    numbers.push(last.parse().ok().filter(|number: &f64| number.is_finite())?);
    let is_possible = numbers.iter().skip(1).all(|number| *number < 60.0);
    is_possible.then(|| numbers.iter().fold(0.0, |seconds, number| seconds * 60.0 + number))
}

/// Returns the nearest tick: a time that was rounded to microseconds still finds its picture.
pub(super) fn ticks(seconds: f64) -> Ticks {
    // `as` saturates.
    Ticks((seconds * TICKS_PER_SECOND as f64).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_seconds_or_a_clock_and_counts_back_after_a_minus_sign() {
        for (text, seconds) in [
            ("0", 0.0),
            ("90.5", 90.5),
            (".5", 0.5),
            ("1:30.5", 90.5),
            ("75:00", 4500.0),
            ("1:02:03", 3723.0),
        ] {
            assert_eq!(text.parse(), Ok(Moment::FromStart(seconds)), "{text}");
            assert_eq!(format!("-{text}").parse(), Ok(Moment::BeforeNewest(seconds)), "{text}");
        }
        for text in
            ["", "-", "--5", "+5", "inf", "NaN", "1e999", "1:60", "1:-5", "1:2:3:4", "1.5:00", "a"]
        {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_of_the_index_is_exactly_that_of_its_picture() {
        for tick in (0..1_000_000_000_000).step_by(7_777_777_777) {
            let timestamp = ((tick as f64 / 90_000.0) * 1e6).round() / 1e6;
            assert_eq!(ticks(timestamp), Ticks(tick));
        }
    }
}
