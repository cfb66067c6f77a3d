//! A time of the recording → where a player finds it.

use super::access_points::AccessPoints;
use super::units::Units;
use super::{Moment, OpenRecording};
use crate::error::Result;
use crate::keyframes::Keyframe;
use crate::media::{ByteOffset, TICKS_PER_SECOND, Ticks};

/// The stream's clock has 33 bits (ISO/IEC 13818-1, 2.4.3.7).
const CLOCK_TICKS: i64 = 1 << 33;

/// Largest difference of two clocks that count as one: FFmpeg may take the DTS of a picture for its time.
const MAX_DIFFERENCE: i64 = TICKS_PER_SECOND;

/// Where a player finds a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PlayerPlace {
    /// At this time in seconds: up to there, the sender's clock has not started again.
    Seconds(f64),
    /// At the key frame before it, which follows this byte: the player's timeline is another one.
    Byte(ByteOffset),
}

/// Returns where a player finds `moment`. `stop` ends the search.
///
/// # Errors
///
/// Returns an error if the recording cannot be read, or the search was stopped.
pub fn place(
    recording: &OpenRecording,
    moment: Moment,
    stop: &dyn Fn() -> bool,
) -> Result<PlayerPlace> {
    AccessPoints::search(recording, stop, |points| {
        let time = points.time_of(moment)?;
        let here = match points.until(time)?.checked_sub(1) {
            Some(number) => points.get(number)?,
            None => None,
        };
        let (Some(first), Some(here)) = (points.get(0)?, here) else {
            return Ok(PlayerPlace::Seconds(time.seconds()));
        };
        let raw = |keyframe: Keyframe| -> Result<Option<Ticks>> {
            let unit = Units::read(recording, keyframe, None, |_| false, stop)?.first;
            unit.map(|unit| unit.raw).ok_or_else(|| points.misplaced(&keyframe))
        };
        let (Some(raw_first), Some(raw_here)) = (raw(first)?, raw(here)?) else {
            return Ok(PlayerPlace::Seconds(time.seconds()));
        };
        let advance = (raw_here.0 - raw_first.0) - (here.time.0 - first.time.0);
        let difference = advance.rem_euclid(CLOCK_TICKS);
        if difference.min(CLOCK_TICKS - difference) <= MAX_DIFFERENCE {
            return Ok(PlayerPlace::Seconds(time.seconds()));
        }
        // A player looks for the next packet, and for the next key frame from there on.
        let tables = here.tables.unwrap_or(here.at);
        Ok(PlayerPlace::Byte(ByteOffset(tables.0.saturating_sub(1))))
    })
}
