//! Access units and audio, in the demuxer's order → access units with times from the start of the
//! recording.

use super::decoders::Decoders;
use super::look_ahead::{FirstDelays, LookAhead, TimelineInput};
use crate::demux::{AudioPes, Program};
use crate::error::Result;
use crate::framing::{AudioFramer, HeaderReader};
use crate::media::{AccessUnit, ByteOffset, Ticks, VideoCodec};
use crate::timeline::{RecordingClock, TimedUnit, Timeline};

/// Reads the headers of pictures and audio frames, and sets the times of the pictures. Where a
/// stream begins, or changes its codec, the timer looks ahead and opens the decoder with the
/// settings found.
#[derive(Debug)]
pub struct UnitTimer {
    audio: Vec<AudioFramer>,
    headers: Option<HeaderReader>,
    /// Set while a stream begins.
    look_ahead: Option<LookAhead>,
    timeline: Timeline,
    /// Delays of the first pictures of the stream.
    first_delays: FirstDelays,
    /// Implausible durations in the headers of earlier codecs.
    implausible: u64,
}

impl UnitTimer {
    /// Returns a timer at the beginning of a recording.
    pub fn new() -> Self {
        UnitTimer::with(Timeline::new())
    }

    /// Returns a timer that resumes with the `clock` from before the next access unit.
    pub fn resume(clock: RecordingClock, first_delays: FirstDelays) -> Self {
        UnitTimer { first_delays, ..UnitTimer::with(Timeline::resume(clock)) }
    }

    fn with(timeline: Timeline) -> Self {
        UnitTimer {
            audio: Vec::new(),
            headers: None,
            look_ahead: None,
            timeline,
            first_delays: FirstDelays::default(),
            implausible: 0,
        }
    }

    /// Sets the program's audio streams: their first times also determine the start.
    pub fn program(&mut self, program: &Program) {
        // Drop the parsers of streams that are no longer in the tables: they only use memory.
        self.audio
            .retain(|framer| program.audio.iter().any(|stream| stream.pid == framer.stream().pid));
        self.timeline.expect_audio(&program.audio);
    }

    /// Takes the next PES packet of an audio stream.
    ///
    /// # Errors
    ///
    /// As [`UnitTimer::unit`].
    pub fn audio(&mut self, pes: &AudioPes, decoders: &mut Decoders) -> Result<()> {
        let index = match self.audio.iter().position(|framer| framer.stream() == pes.stream) {
            Some(index) => index,
            None => {
                self.audio.push(AudioFramer::new(pes.stream));
                self.audio.len() - 1
            }
        };
        let mut frames = Vec::new();
        self.audio[index].push(pes.at, pes.pts, &pes.data, |frame| frames.push(frame));
        frames.into_iter().for_each(|frame| self.pass(TimelineInput::Audio(frame)));
        self.finish_look_ahead_if_done(decoders)
    }

    /// Marks the PES packet of the video stream as complete.
    ///
    /// # Errors
    ///
    /// As [`UnitTimer::unit`].
    pub fn pes_complete(&mut self, decoders: &mut Decoders) -> Result<()> {
        self.pass(TimelineInput::PesComplete);
        self.finish_look_ahead_if_done(decoders)
    }

    /// Takes the next access unit.
    ///
    /// # Errors
    ///
    /// Returns an error if the linked FFmpeg has no decoder for the stream.
    pub fn unit(&mut self, unit: AccessUnit, decoders: &mut Decoders) -> Result<()> {
        if self.headers.as_ref().is_none_or(|headers| headers.codec() != unit.codec) {
            self.change_codec(unit.codec, decoders)?;
        }
        let mut timing =
            self.headers.as_mut().map(|headers| headers.read(&unit.data)).unwrap_or_default();
        if matches!(unit.codec, VideoCodec::H264 | VideoCodec::Hevc) {
            timing.delay = decoders.delay();
        }
        match &mut self.look_ahead {
            Some(look_ahead) => look_ahead.look(&unit, &mut timing),
            None => self.first_delays.apply(unit.at, &mut timing),
        }
        self.pass(TimelineInput::Unit(unit, timing));
        self.finish_look_ahead_if_done(decoders)
    }

    /// Ends the stream, and releases all access units that are held back.
    ///
    /// # Errors
    ///
    /// As [`UnitTimer::unit`].
    pub fn finish(&mut self, decoders: &mut Decoders) -> Result<()> {
        self.finish_look_ahead(decoders)?;
        self.timeline.finish();
        Ok(())
    }

    /// Returns the next access unit with its times, if there is one.
    pub fn pull(&mut self) -> Option<TimedUnit> {
        self.timeline.pull()
    }

    /// Returns the delays of the stream's first pictures, for a restart at `at`.
    pub fn first_delays(&self, at: ByteOffset) -> FirstDelays {
        self.first_delays.from(at)
    }

    /// Returns the number of pictures so far whose headers state an implausible duration.
    pub fn implausible(&self) -> u64 {
        self.implausible + self.headers.as_ref().map_or(0, HeaderReader::implausible)
    }

    /// Returns the DTS values that FFmpeg assigns after the last picture.
    pub fn after_end(&self) -> impl Iterator<Item = Option<Ticks>> + use<> {
        self.timeline.after_end()
    }

    /// Passes an item to the timeline, or holds it back during the look-ahead.
    fn pass(&mut self, input: TimelineInput) {
        if let Some(look_ahead) = &mut self.look_ahead {
            look_ahead.hold(input);
            return;
        }
        match input {
            TimelineInput::Unit(unit, timing) => self.timeline.video(unit, timing),
            TimelineInput::Audio(frame) => self.timeline.audio(frame),
            TimelineInput::PesComplete => self.timeline.pes_complete(),
        }
    }

    /// Handles the first access unit of a stream, or the first with another codec.
    fn change_codec(&mut self, codec: VideoCodec, decoders: &mut Decoders) -> Result<()> {
        self.finish_look_ahead(decoders)?;
        self.implausible = self.implausible();
        self.headers = HeaderReader::new(codec, decoders.known_parameter_sets());
        if !decoders.open_resumed(codec)? {
            decoders.reset_delay();
            self.look_ahead = Some(LookAhead::new(codec)?);
        }
        Ok(())
    }

    fn finish_look_ahead_if_done(&mut self, decoders: &mut Decoders) -> Result<()> {
        if self.look_ahead.as_ref().is_some_and(LookAhead::is_done) {
            self.finish_look_ahead(decoders)?;
        }
        Ok(())
    }

    /// Opens a decoder with the settings found by the look-ahead, and passes on the held items.
    fn finish_look_ahead(&mut self, decoders: &mut Decoders) -> Result<()> {
        let Some(look_ahead) = self.look_ahead.take() else { return Ok(()) };
        let (codec, settings, held) = look_ahead.finish();
        let delay = decoders.open(codec, settings)?;
        let (held, first_delays) = held.release(&mut self.timeline, delay);
        self.first_delays = first_delays;
        held.into_iter().for_each(|input| self.pass(input));
        Ok(())
    }
}
