//! Holds back the first pictures of a stream until the settings for decoding and the
//! times are known. libavformat also looks ahead before it returns the first picture.

use std::collections::VecDeque;

use crate::decode::{Settings, StreamProbe};
use crate::error::Result;
use crate::media::{AccessUnit, AudioFrame, PictureTiming, VideoCodec};
use crate::timeline::Timeline;

/// Where video stops within its first pictures and audio continues, the look-ahead ends after this
/// many frames of audio: about a minute of one stream of AAC.
const MAX_WITHOUT_UNIT: usize = 3000;

/// Input of the timeline, in the demuxer's order.
#[derive(Debug)]
pub enum TimelineInput {
    Unit(AccessUnit, PictureTiming),
    Audio(AudioFrame),
    PesComplete,
}

/// Examines data and holds it back meanwhile.
#[derive(Debug)]
pub struct LookAhead {
    probe: StreamProbe,
    held: VecDeque<TimelineInput>,
    /// Items held since the last access unit.
    without_unit: usize,
}

/// HeldInput data, once everything is known or the look-ahead has reached its limit.
#[derive(Debug)]
pub struct HeldInput {
    codec: VideoCodec,
    /// Whether some times are missing or ambiguous, so that later pictures matter.
    guesses: bool,
    held: VecDeque<TimelineInput>,
}

impl LookAhead {
    /// Starts at the beginning of a stream.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no decoder for the codec.
    pub fn new(codec: VideoCodec) -> Result<Self> {
        Ok(LookAhead { probe: StreamProbe::new(codec)?, held: VecDeque::new(), without_unit: 0 })
    }

    /// Examines the next access unit, and adds to `timing` what is known so far.
    pub fn look(&mut self, unit: &AccessUnit, timing: &mut PictureTiming) {
        self.probe.look(unit, timing);
    }

    /// Holds the next item.
    pub fn hold(&mut self, input: TimelineInput) {
        self.without_unit = match input {
            TimelineInput::Unit(..) => 0,
            _ => self.without_unit + 1,
        };
        self.held.push_back(input);
    }

    /// Whether the look-ahead is complete.
    pub fn is_done(&self) -> bool {
        self.probe.is_done() || self.without_unit >= MAX_WITHOUT_UNIT
    }

    /// Returns how to open the decoder, and what was held.
    pub fn finish(self) -> (VideoCodec, Settings, HeldInput) {
        let (codec, guesses) = (self.probe.codec(), self.probe.guesses());
        (codec, self.probe.settings(), HeldInput { codec, guesses, held: self.held })
    }
}

impl HeldInput {
    /// Returns the held data for `timeline`, after passing what was learned to it.
    /// `delay` is that of the decoder, in pictures.
    pub fn release(mut self, timeline: &mut Timeline, delay: u32) -> VecDeque<TimelineInput> {
        if self.guesses {
            self.begin_again(timeline, delay);
        }
        if self.codec == VideoCodec::Hevc || self.guesses {
            self.set_initial_durations();
        }
        self.held
    }

    /// Like libavformat, starts over after the look-ahead with its results.
    fn begin_again(&mut self, timeline: &mut Timeline, delay: u32) {
        timeline.look_ahead(self.units().map(|(unit, timing)| (&*unit, &*timing)));
        let delay = self.units().map(|(_, timing)| timing.delay).max().unwrap_or(0).max(delay);
        for (_, timing) in self.units() {
            (timing.delay, timing.delay_known) = (delay, true);
        }
    }

    /// Pictures before the first headers of an HEVC stream get the duration of these
    /// headers: libavformat has read them before it returns the pictures. Other codecs'
    /// parsers do without, and the times count.
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
