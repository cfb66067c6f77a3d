//! The access units of a part of a recording, without decoding.

use std::ops::ControlFlow;

use super::{OpenRecording, interrupted};
use crate::error::Result;
use crate::keyframes::Keyframe;
use crate::media::{ByteOffset, Ticks};
use crate::pipeline::analyzer::{PictureReader, UnitTime};

/// Number of packets between two checks of `stop`.
const PACKETS_PER_LOOK: u32 = 4096;

/// Access units between two offsets.
#[derive(Default)]
pub struct Units {
    /// Number of access units.
    pub count: u64,
    /// Latest time of an access unit.
    pub newest: Option<Ticks>,
    /// The first access unit, whether it is wanted or not.
    pub first: Option<UnitTime>,
}

impl Units {
    /// Returns whether the recording has a random access point at its offset.
    ///
    /// # Errors
    ///
    /// As [`Units::read`].
    pub fn is_there(
        recording: &OpenRecording,
        keyframe: Keyframe,
        stop: &dyn Fn() -> bool,
    ) -> Result<bool> {
        // The reader returns the random access point as the first access unit, or none at all.
        Ok(Units::read(recording, keyframe, None, |_| false, stop)?.first.is_some())
    }

    /// Reads from a random access point to the offset `end`, to the end of the recording, or to the first
    /// access unit whose time does not satisfy `is_wanted`.
    ///
    /// # Errors
    ///
    /// Returns an error if the recording cannot be read, or the search was stopped.
    pub fn read(
        recording: &OpenRecording,
        from: Keyframe,
        end: Option<ByteOffset>,
        is_wanted: impl Fn(Option<Ticks>) -> bool,
        stop: &dyn Fn() -> bool,
    ) -> Result<Units> {
        let mut units = Units::default();
        visit(recording, from, stop, |unit| {
            units.first = units.first.or(Some(unit));
            if end.is_some_and(|end| unit.at >= end) || !is_wanted(unit.time) {
                return ControlFlow::Break(());
            }
            units.count += 1;
            units.newest = units.newest.max(unit.time);
            ControlFlow::Continue(())
        })?;
        Ok(units)
    }
}

/// Calls `take` with each access unit from a random access point on, in decoding order, until `take`
/// breaks or the recording ends. Never calls it if the recording has no random
/// access point at that offset.
///
/// # Errors
///
/// Returns an error if the recording cannot be read, or `stop` returned true.
pub fn visit(
    recording: &OpenRecording,
    from: Keyframe,
    stop: &dyn Fn() -> bool,
    mut take: impl FnMut(UnitTime) -> ControlFlow<()>,
) -> Result<()> {
    let mut tail = recording.read_from(Some(&from))?;
    let mut reader = PictureReader::new(recording.program(), Some(from)).without_decoding();
    for packets in 1_u32.. {
        let is_end = reader.read(&mut tail, recording.is_growing())?;
        while let Some(unit) = reader.pull_unit() {
            if take(unit).is_break() {
                return Ok(());
            }
        }
        if is_end || reader.has_missed_start() {
            break;
        }
        if packets.is_multiple_of(PACKETS_PER_LOOK) && stop() {
            return Err(interrupted());
        }
    }
    Ok(())
}
