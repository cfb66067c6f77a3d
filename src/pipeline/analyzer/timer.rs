//! Access units and audio, in the demuxer's order → access units with their times from the start
//! of the recording.

use super::decoders::Decoders;
use super::look_ahead::{LookAhead, TimelineInput};
use crate::demux::{AudioPes, Program};
use crate::error::Result;
use crate::framing::{AudioFramer, HeaderReader};
use crate::media::{AccessUnit, Ticks, VideoCodec};
use crate::timeline::{RecordingClock, TimedUnit, Timeline};

/// Reads the headers of pictures and audio frames, and sets the times of the former. Where a
/// stream begins, or changes its codec, it looks ahead and opens the decoder with what it finds.
#[derive(Debug)]
pub struct UnitTimer {
    audio: Vec<AudioFramer>,
    headers: Option<HeaderReader>,
    /// While a stream begins.
    look_ahead: Option<LookAhead>,
    timeline: Timeline,
}

impl UnitTimer {
    /// A timer at the beginning of a recording.
    pub fn new() -> Self {
        UnitTimer::with(Timeline::new())
    }

    /// A timer that resumes with `clock`, as it was before the next access unit.
    pub fn resume(clock: RecordingClock) -> Self {
        UnitTimer::with(Timeline::resume(clock))
    }

    fn with(timeline: Timeline) -> Self {
        UnitTimer { audio: Vec::new(), headers: None, look_ahead: None, timeline }
    }

    /// Takes note of the program's audio streams, whose first times count for the start.
    pub fn program(&mut self, program: &Program) {
        // Parsers of streams that have left the tables would only keep what they hold.
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
        self.leave_look_ahead_if_done(decoders)
    }

    /// The PES packet of the video stream is complete.
    ///
    /// # Errors
    ///
    /// As [`UnitTimer::unit`].
    pub fn pes_complete(&mut self, decoders: &mut Decoders) -> Result<()> {
        self.pass(TimelineInput::PesComplete);
        self.leave_look_ahead_if_done(decoders)
    }

    /// Takes the next access unit.
    ///
    /// # Errors
    ///
    /// If the linked FFmpeg has no decoder for the stream.
    pub fn unit(&mut self, unit: AccessUnit, decoders: &mut Decoders) -> Result<()> {
        if self.headers.as_ref().is_none_or(|headers| headers.codec() != unit.codec) {
            self.change_codec(unit.codec, decoders)?;
        }
        let mut timing =
            self.headers.as_mut().map(|headers| headers.read(&unit.data)).unwrap_or_default();
        if matches!(unit.codec, VideoCodec::H264 | VideoCodec::Hevc) {
            timing.delay = decoders.delay();
        }
        if let Some(look_ahead) = &mut self.look_ahead {
            look_ahead.look(&unit, &mut timing);
        }
        self.pass(TimelineInput::Unit(unit, timing));
        self.leave_look_ahead_if_done(decoders)
    }

    /// The stream is over: everything that is held back comes out.
    ///
    /// # Errors
    ///
    /// As [`UnitTimer::unit`].
    pub fn finish(&mut self, decoders: &mut Decoders) -> Result<()> {
        self.leave_look_ahead(decoders)?;
        self.timeline.finish();
        Ok(())
    }

    /// Returns the next access unit with its times, if there is one.
    pub fn pull(&mut self) -> Option<TimedUnit> {
        self.timeline.pull()
    }

    /// Returns the decoding times that FFmpeg counts on behind the last picture.
    pub fn after_end(&self) -> impl Iterator<Item = Option<Ticks>> + use<> {
        self.timeline.after_end()
    }

    /// To the timeline, or behind what is held back.
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

    /// The first access unit of a stream, or the first that is coded otherwise.
    fn change_codec(&mut self, codec: VideoCodec, decoders: &mut Decoders) -> Result<()> {
        self.leave_look_ahead(decoders)?;
        self.headers = HeaderReader::new(codec, decoders.known_parameter_sets());
        if !decoders.open_resumed(codec)? {
            decoders.reset_delay();
            self.look_ahead = Some(LookAhead::new(codec)?);
        }
        Ok(())
    }

    fn leave_look_ahead_if_done(&mut self, decoders: &mut Decoders) -> Result<()> {
        if self.look_ahead.as_ref().is_some_and(LookAhead::is_done) {
            self.leave_look_ahead(decoders)?;
        }
        Ok(())
    }

    /// Opens a decoder with what was found ahead, and passes on what was held back.
    fn leave_look_ahead(&mut self, decoders: &mut Decoders) -> Result<()> {
        let Some(look_ahead) = self.look_ahead.take() else { return Ok(()) };
        let (codec, settings, held) = look_ahead.finish();
        let delay = decoders.open(codec, settings)?;
        for input in held.release(&mut self.timeline, delay) {
            self.pass(input);
        }
        Ok(())
    }
}
