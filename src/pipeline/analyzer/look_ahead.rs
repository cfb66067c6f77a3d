//! The first pictures of a stream, held back until it is known how to decode and to
//! date them. libavformat looks ahead, too, before it hands the first one on.

use std::collections::VecDeque;

use crate::decode::{Probe, Settings};
use crate::error::Result;
use crate::media::{AccessUnit, AudioFrame, PictureTiming, VideoCodec};
use crate::timeline::Timeline;

/// What the timeline is told, in the demuxer's order.
#[derive(Debug)]
pub enum TimelineInput {
    Unit(AccessUnit, PictureTiming),
    Audio(AudioFrame),
    PesComplete,
}

/// Looks at what comes, and holds it back meanwhile.
#[derive(Debug)]
pub struct LookAhead {
    probe: Probe,
    held: VecDeque<TimelineInput>,
}

/// What was held back, now that everything is known, or has been looked for long enough.
#[derive(Debug)]
pub struct Held {
    codec: VideoCodec,
    /// Some times do not say all: what is ahead counts.
    guesses: bool,
    held: VecDeque<TimelineInput>,
}

impl LookAhead {
    /// For a stream that begins.
    ///
    /// # Errors
    ///
    /// If there is no decoder for it.
    pub fn new(codec: VideoCodec) -> Result<Self> {
        Ok(LookAhead { probe: Probe::new(codec)?, held: VecDeque::new() })
    }

    /// Looks at the next access unit, and adds to `timing` what it has found by now.
    pub fn look(&mut self, unit: &AccessUnit, timing: &mut PictureTiming) {
        self.probe.look(unit, timing);
    }

    /// Takes what comes next.
    pub fn hold(&mut self, input: TimelineInput) {
        self.held.push_back(input);
    }

    /// Whether it needs to look no further.
    pub fn is_done(&self) -> bool {
        self.probe.is_done()
    }

    /// How to open the decoder, and what was held back.
    pub fn finish(self) -> (VideoCodec, Settings, Held) {
        let (codec, guesses) = (self.probe.codec(), self.probe.guesses());
        (codec, self.probe.settings(), Held { codec, guesses, held: self.held })
    }
}

impl Held {
    /// What was held back, for `timeline`, which learns what it has to know of it
    /// first. `delay` is the decoder's, in pictures.
    pub fn release(mut self, timeline: &mut Timeline, delay: u32) -> VecDeque<TimelineInput> {
        if self.guesses {
            self.begin_again(timeline, delay);
        }
        if self.codec == VideoCodec::Hevc || self.guesses {
            self.set_initial_durations();
        }
        self.held
    }

    /// libavformat begins again behind its look ahead, with what it has found.
    fn begin_again(&mut self, timeline: &mut Timeline, delay: u32) {
        timeline.look_ahead(self.units().map(|(unit, timing)| (&*unit, &*timing)));
        let delay = self.units().map(|(_, timing)| timing.delay).max().unwrap_or(0).max(delay);
        for (_, timing) in self.units() {
            (timing.delay, timing.delay_known) = (delay, true);
        }
    }

    /// What stands before the first headers of an HEVC stream lasts as long as they
    /// say: libavformat has found them before it hands that on. Other codecs' parsers
    /// do without, and it goes by the times.
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
