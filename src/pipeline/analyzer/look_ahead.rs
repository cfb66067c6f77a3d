//! Holds back the first pictures of a stream until the settings for decoding and the
//! times are known. libavformat also looks ahead before it returns the first picture.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::decode::{Settings, StreamProbe};
use crate::error::Result;
use crate::media::{AccessUnit, AudioFrame, ByteOffset, PictureTiming, VideoCodec};
use crate::timeline::Timeline;

/// Maximum number of audio frames for which the look-ahead waits if video stops within its first
/// pictures: about a minute of one AAC stream.
const MAX_INPUTS_WITHOUT_UNIT: usize = 3000;

/// Input of the timeline, in the demuxer's order.
#[derive(Debug)]
pub enum TimelineInput {
    /// An access unit of the video stream, with the timing in its headers.
    Unit(AccessUnit, PictureTiming),
    /// A frame of an audio stream.
    Audio(AudioFrame),
    /// The PES packet of the video stream is complete.
    PesComplete,
}

/// Examines the first pictures of a stream, and holds back the timeline's input meanwhile.
#[derive(Debug)]
pub struct LookAhead {
    probe: StreamProbe,
    held: VecDeque<TimelineInput>,
    /// Items held since the last access unit.
    inputs_without_unit: usize,
}

/// The output delays with which the first pictures of a stream were timed while the real delay was
/// unknown. After a restart among these pictures, they are timed in the same way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstDelays {
    /// Offset of the last picture to which the delays apply.
    through: ByteOffset,
    /// Delays, each with the offset of the first picture that has it, and whether it was final.
    changes: Vec<(ByteOffset, u32, bool)>,
}

impl FirstDelays {
    /// Returns whether the delays apply to no picture.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Returns these delays if they apply to the picture at `at`, otherwise an empty value.
    pub fn from(&self, at: ByteOffset) -> Self {
        if at <= self.through { self.clone() } else { FirstDelays::default() }
    }

    /// Sets the delay of the picture at `at`, if these delays apply to it.
    pub fn apply(&self, at: ByteOffset, timing: &mut PictureTiming) {
        let reached = self.changes.iter().rev().find(|(from, ..)| *from <= at);
        if let Some((_, delay, known)) = reached.filter(|_| at <= self.through) {
            (timing.delay, timing.delay_known) = (*delay, *known);
        }
    }

    fn push(&mut self, at: ByteOffset, timing: &PictureTiming) {
        let (delay, known) = (timing.delay, timing.delay_known);
        if self.changes.last().is_none_or(|last| (last.1, last.2) != (delay, known)) {
            self.changes.push((at, delay, known));
        }
        self.through = at;
    }
}

/// The input that was held back, once the settings are known or the look-ahead has reached its limit.
#[derive(Debug)]
pub struct HeldInput {
    codec: VideoCodec,
    /// Whether some times are missing or ambiguous, so that later pictures matter.
    guesses: bool,
    held: VecDeque<TimelineInput>,
}

impl LookAhead {
    /// Returns a look-ahead at the beginning of a stream.
    ///
    /// # Errors
    ///
    /// Returns an error if the linked FFmpeg has no decoder for the codec.
    pub fn new(codec: VideoCodec) -> Result<Self> {
        Ok(LookAhead {
            probe: StreamProbe::new(codec)?,
            held: VecDeque::new(),
            inputs_without_unit: 0,
        })
    }

    /// Examines the next access unit, and adds the timing known so far to `timing`.
    pub fn look(&mut self, unit: &AccessUnit, timing: &mut PictureTiming) {
        self.probe.look(unit, timing);
    }

    /// Holds back the next item.
    pub fn hold(&mut self, input: TimelineInput) {
        self.inputs_without_unit = match input {
            TimelineInput::Unit(..) => 0,
            _ => self.inputs_without_unit + 1,
        };
        self.held.push_back(input);
    }

    /// Returns whether the look-ahead is complete.
    pub fn is_done(&self) -> bool {
        self.probe.is_done() || self.inputs_without_unit >= MAX_INPUTS_WITHOUT_UNIT
    }

    /// Returns the settings for the decoder, and the input that was held back.
    pub fn finish(self) -> (VideoCodec, Settings, HeldInput) {
        let (codec, guesses) = (self.probe.codec(), self.probe.guesses());
        (codec, self.probe.settings(), HeldInput { codec, guesses, held: self.held })
    }
}

impl HeldInput {
    /// Passes the results of the look-ahead to `timeline`. Returns the held input and the delays of
    /// its pictures. `delay` is the decoder's output delay in pictures.
    pub fn release(
        mut self,
        timeline: &mut Timeline,
        delay: u32,
    ) -> (VecDeque<TimelineInput>, FirstDelays) {
        if self.guesses {
            self.start_over(timeline, delay);
        }
        if self.codec == VideoCodec::Hevc || self.guesses {
            self.set_initial_durations();
        }
        let mut delays = FirstDelays::default();
        self.units().for_each(|(unit, timing)| delays.push(unit.at, timing));
        (self.held, delays)
    }

    /// Starts over with the results of the look-ahead, like libavformat.
    fn start_over(&mut self, timeline: &mut Timeline, delay: u32) {
        timeline.look_ahead(self.units().map(|(unit, timing)| (&*unit, &*timing)));
        let delay = self.units().map(|(_, timing)| timing.delay).max().unwrap_or(0).max(delay);
        for (_, timing) in self.units() {
            (timing.delay, timing.delay_known) = (delay, true);
        }
    }

    /// Sets the duration of the pictures before the first headers to the duration in these
    /// headers: libavformat has read them before it returns the pictures. This matters for HEVC;
    /// the parsers of other codecs need no headers, except if times are guessed.
    fn set_initial_durations(&mut self) {
        let mut known = self.units().map(|(_, timing)| timing.duration).enumerate();
        let Some((before, first)) = known.find(|(_, duration)| duration.is_some()) else { return };
        drop(known);
        self.units().take(before).for_each(|(_, timing)| timing.duration = first);
    }

    fn units(&mut self) -> impl Iterator<Item = (&mut AccessUnit, &mut PictureTiming)> {
        self.held.iter_mut().filter_map(|input| match input {
            TimelineInput::Unit(unit, timing) => Some((unit, timing)),
            _ => None,
        })
    }
}
