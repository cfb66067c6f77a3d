//! Time of the recording ↔ position of a player. After the sender's clock has restarted, a player's
//! timeline differs from the recording's; byte offsets and the stream's clock then connect the two.

use std::ops::ControlFlow;

use super::access_points::AccessPoints;
use super::units::{Units, visit};
use super::{Moment, OpenRecording};
use crate::error::Result;
use crate::keyframes::Keyframe;
use crate::media::{ByteOffset, TICKS_PER_SECOND, Ticks};

/// The stream's clock has 33 bits (ISO/IEC 13818-1, 2.4.3.7).
const CLOCK_TICKS: i64 = 1 << 33;

/// Maximum difference of two clocks that count as equal. ffmpeg, too, tolerates such a step back.
const MAX_DIFFERENCE: i64 = TICKS_PER_SECOND / 10;

/// Maximum time for which a picture found by its time counts as shown.
const MAX_SHOWN: i64 = TICKS_PER_SECOND;

/// Largest rounding error of a clock in seconds, in ticks.
const ROUNDING: i64 = 2;

/// A player has read more than it shows: the search for its picture starts this many key frames earlier …
const FIRST_STEP: u64 = 2;

/// … and, if the picture is not found, up to this many.
const LAST_STEP: u64 = 32;

/// A moment, as a position for a player.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlayerPlace {
    /// The moment, in seconds from the start of the recording.
    pub seconds: f64,
    /// The key frame before the moment; `None` if no such key frame exists, or it has no time on the
    /// sender's clock.
    pub keyframe: Option<PlayerKeyframe>,
    /// How the player gets there.
    pub way: Way,
}

/// A key frame, as a player finds it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlayerKeyframe {
    /// Offset after which no key frame comes before this one.
    pub after: ByteOffset,
    /// Time from the start of the recording, in ticks.
    pub time: Ticks,
    /// Time on the sender's 33-bit clock.
    pub clock: SenderClock,
}

/// How a player gets to a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By time: the player's timeline is the recording's.
    Time,
    /// Possibly by time: the sender's clock restarts only later. A seek by time may end in another part
    /// of the recording.
    Both,
    /// Only by byte offset, to the key frame: the player's timeline differs from the recording's.
    Bytes,
}

impl PlayerPlace {
    /// Returns the place of a time without a known key frame.
    pub fn by_time(seconds: f64) -> Self {
        PlayerPlace { seconds, keyframe: None, way: Way::Time }
    }

    /// Returns the time at which a player arrives when sent to this place, in seconds.
    pub fn reached(&self) -> f64 {
        match (self.way, self.keyframe) {
            (Way::Bytes, Some(keyframe)) => keyframe.time.seconds(),
            _ => self.seconds,
        }
    }
}

/// A time on the 33-bit clock of the sender, in ticks. The clock wraps after 26.5 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderClock(i64);

impl SenderClock {
    /// Converts from `seconds` on a clock that may have been extended beyond 33 bits.
    pub fn from_seconds(seconds: f64) -> Self {
        // `as` saturates.
        SenderClock::of(Ticks((seconds * TICKS_PER_SECOND as f64).round() as i64))
    }

    fn of(raw: Ticks) -> Self {
        SenderClock(raw.0.rem_euclid(CLOCK_TICKS))
    }

    /// Returns the ticks since `earlier`; negative if it is later.
    fn since(self, earlier: SenderClock) -> i64 {
        let difference = (self.0 - earlier.0).rem_euclid(CLOCK_TICKS);
        if difference < CLOCK_TICKS / 2 { difference } else { difference - CLOCK_TICKS }
    }

    /// Returns the seconds since `earlier`; negative if it is later.
    pub fn seconds_since(self, earlier: SenderClock) -> f64 {
        self.since(earlier) as f64 / TICKS_PER_SECOND as f64
    }
}

/// Returns where a player finds `moment`. `stop` cancels the search.
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
        let last = points.last()?;
        let mut place = PlayerPlace::by_time(time.seconds());
        let (Some(first), Some(here), Some(last)) = (points.get(0)?, here, last) else {
            return Ok(place);
        };
        let clock = |keyframe: Keyframe| -> Result<Option<SenderClock>> {
            let unit = Units::read(recording, keyframe, None, |_| false, stop)?.first;
            let unit = unit.ok_or_else(|| points.misplaced(&keyframe))?;
            Ok(unit.raw.map(SenderClock::of))
        };
        let clocks = (clock(first)?, clock(here)?, clock(last)?);
        let (Some(clock_first), Some(clock_here), Some(clock_last)) = clocks else {
            return Ok(place);
        };
        let is_on_timeline = |keyframe: Keyframe, clock: SenderClock| {
            let advance = SenderClock::of(Ticks(keyframe.time.0 - first.time.0));
            let since = clock.since(clock_first).abs_diff(advance.since(SenderClock(0)));
            since <= MAX_DIFFERENCE.unsigned_abs()
        };
        place.way = match (is_on_timeline(here, clock_here), is_on_timeline(last, clock_last)) {
            (true, true) => Way::Time,
            (true, false) => Way::Both,
            (false, _) => Way::Bytes,
        };
        // A player seeks to the next packet, and then to the next key frame.
        let after = ByteOffset(here.tables.unwrap_or(here.at).0.saturating_sub(1));
        place.keyframe = Some(PlayerKeyframe { after, time: here.time, clock: clock_here });
        Ok(place)
    })
}

/// Returns the time of the picture that a player shows at `clock`. `read` is the start of the last packet
/// that the player has decoded. Returns `None` if no such picture is near. `stop` cancels the search.
///
/// # Errors
///
/// Returns an error if the recording cannot be read, or the search was stopped.
pub fn time_shown(
    recording: &OpenRecording,
    clock: SenderClock,
    read: ByteOffset,
    stop: &dyn Fn() -> bool,
) -> Result<Option<Ticks>> {
    AccessPoints::search(recording, stop, |points| {
        let number = points.before(ByteOffset(read.0 + 1))?;
        let mut step = FIRST_STEP;
        loop {
            let Some(from) = points.get(number.saturating_sub(step))? else { return Ok(None) };
            let found = nearest(recording, from, clock, read, stop)?;
            if found.is_some() || step >= number || step >= LAST_STEP {
                return Ok(found);
            }
            step *= 2;
        }
    })
}

/// Returns the time of the last access unit up to `read` that is shown at `clock` or shortly before.
fn nearest(
    recording: &OpenRecording,
    from: Keyframe,
    clock: SenderClock,
    read: ByteOffset,
    stop: &dyn Fn() -> bool,
) -> Result<Option<Ticks>> {
    let mut found: Option<(i64, Ticks)> = None;
    visit(recording, from, stop, |unit| {
        if unit.at > read {
            return ControlFlow::Break(());
        }
        if let (Some(raw), Some(time)) = (unit.raw, unit.time) {
            let ago = clock.since(SenderClock::of(raw));
            let is_nearer = found.is_none_or(|(least, _)| ago <= least);
            if (-ROUNDING..=MAX_SHOWN).contains(&ago) && is_nearer {
                found = Some((ago, time));
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok(found.map(|(_, time)| time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_counts_on_where_it_starts_again() {
        let late = SenderClock::of(Ticks(CLOCK_TICKS - TICKS_PER_SECOND));
        let early = SenderClock::from_seconds(0.5);
        assert_eq!(early.seconds_since(late), 1.5);
        assert_eq!(late.seconds_since(early), -1.5);
        // libavformat adds 2^33 to times after the wrap.
        let extended = SenderClock::from_seconds((1_u64 << 33) as f64 / 90_000.0 + 0.5);
        assert_eq!(extended, early);
    }
}
