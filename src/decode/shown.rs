//! Chooses the time of each picture that a decoder returns.

use std::collections::VecDeque;

use super::{BestEffort, Origin};
use crate::media::{ByteOffset, Ticks};

/// Time and position of a picture, and the state needed to resume decoding at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// Offset of the TS packet in which the picture's access unit starts.
    pub at: ByteOffset,
    /// Presentation time from the start of the recording.
    pub pts: Ticks,
    /// Offset at which decoding has to start to reach this picture.
    pub keyframe_at: ByteOffset,
    /// Whether FFmpeg concealed an error in the picture, or decoded it from incomplete references.
    pub damaged: bool,
    /// State of the choice between PTS and DTS, before this picture.
    pub times: BestEffort,
}

/// Result of `TimeChooser::place`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// The picture is shown at a time.
    Shown(Shown),
    /// The picture precedes the first requested one.
    Skipped,
    /// The picture has no time, and cannot be shown.
    Untimed,
}

/// Chooses between PTS and DTS, picture by picture.
#[derive(Debug, Clone, Copy)]
pub struct TimeChooser {
    times: BestEffort,
    /// After a start at an open random access point: earlier pictures than that of this access unit
    /// are incomplete, and are dropped.
    skip_until: Option<ByteOffset>,
}

impl TimeChooser {
    /// Returns a chooser with the state `times`.
    pub fn new(times: BestEffort) -> Self {
        TimeChooser { times, skip_until: None }
    }

    /// Skips all pictures before that of the access unit at `at`.
    pub fn skip_until(&mut self, at: ByteOffset) {
        self.skip_until = Some(at);
    }

    /// Returns whether this is the state at the beginning of a stream.
    pub fn is_new(&self) -> bool {
        self.skip_until.is_none() && self.times == BestEffort::default()
    }

    /// Chooses the time of the next picture. `spare` holds times for pictures without one.
    pub fn place(
        &mut self,
        origin: &Origin,
        spare: Option<&mut VecDeque<Option<Ticks>>>,
    ) -> Placed {
        let mut times = self.times;
        let chosen = times.choose(origin.pts, origin.trigger_dts);
        let chosen = chosen.or_else(|| spare?.pop_front().flatten());
        if self.skip_until.is_some_and(|at| at != origin.at) {
            return Placed::Skipped;
        }
        self.skip_until = None;
        let before = std::mem::replace(&mut self.times, times);
        let Some(pts) = chosen else { return Placed::Untimed };
        Placed::Shown(Shown {
            at: origin.at,
            pts,
            keyframe_at: origin.keyframe.map_or(origin.at, |keyframe| keyframe.needed_at(pts)),
            damaged: origin.damaged,
            times: before,
        })
    }
}
