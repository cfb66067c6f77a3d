//! The stream's 33-bit clock → time from the start of the recording.
//!
//! Follows the steps that libavformat and the ffmpeg tool perform between demuxer and decoder
//! (`libavformat/demux.c`, `fftools/ffmpeg.c`, FFmpeg 5.1):
//!
//! ```text
//! clock        33 bits → a time without wraps
//! interpolate  times that the stream does not state
//! start        where the recording begins, determined once
//! jumps        continuous time where the sender's clock jumps
//! rescale      FFmpeg's arithmetic on times, rounding included
//! ```

mod clock;
mod interpolate;
mod jumps;
mod rescale;
mod start;

use std::collections::VecDeque;

pub use clock::{AudioClock, RecordingClock, VideoTimes};
pub use interpolate::{Interpolation, Stamps};
pub use jumps::{InputClock, StreamClock};

use crate::media::{
    AccessUnit, AudioFrame, AudioStream, ByteOffset, Fraction, PictureTiming, Ticks, Times,
    VideoCodec,
};
use interpolate::Anchored;
use start::StartSearch;

/// An access unit whose times count from the start of the recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimedUnit {
    /// The access unit.
    pub unit: AccessUnit,
    /// Times as stated by the stream.
    pub raw: Times,
    /// The clock before this access unit.
    pub before: RecordingClock,
}

/// The decoding times that FFmpeg assigns after the last picture. Each picture still in the decoder
/// that has no time gets one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AfterEnd {
    /// Next time in microseconds; `None` if unknown.
    next: Option<i64>,
    /// Step in microseconds.
    step: i64,
}

impl Iterator for AfterEnd {
    type Item = Option<Ticks>;

    fn next(&mut self) -> Option<Option<Ticks>> {
        let time = self.next;
        self.next = time.filter(|_| self.step > 0).map(|time| time.saturating_add(self.step));
        Some(time.map(rescale::ticks))
    }
}

/// Converts the times of access units to times from the start of the recording.
#[derive(Debug)]
pub struct Timeline {
    clock: RecordingClock,
    /// Duration of the last picture that passed, if its headers state it.
    last_duration: Option<Fraction>,
    /// Determines where the recording begins; `None` once the start is known.
    start: Option<StartSearch>,
    /// Items that wait for the start or the first known time.
    held: VecDeque<Item>,
    held_bytes: usize,
    /// Whether a held picture waits for the first known time.
    waits: bool,
    /// Whether waiting for the first known time has ended.
    given_up: bool,
    /// Audio that passed before a restart: PID, and offset of the PES packet.
    passed_audio: Vec<(u16, ByteOffset)>,
    /// The incomplete video PES packet, as FFmpeg sees it.
    open: PesInProgress,
    /// A picture whose time jumps, and the pictures after it, until the open PES packet is
    /// complete.
    jumped: VecDeque<Box<VideoItem>>,
    ready: VecDeque<TimedUnit>,
}

#[derive(Debug)]
enum Item {
    Video(Box<VideoItem>),
    Audio(AudioFrame),
    /// The video PES packet is complete.
    PesComplete,
}

#[derive(Debug)]
struct VideoItem {
    unit: AccessUnit,
    timing: PictureTiming,
    stamps: Stamps,
    /// The state before this picture.
    before: VideoTimes,
}

/// State of the open video PES packet. FFmpeg sees a picture only once the PES packet in which the
/// picture's end was found is complete. This module waits for that only if the picture's time
/// jumps, because audio that arrives in between may jump first. If audio jumps after a picture that
/// was not held, the clock is reset to its state before the picture, and the picture is applied
/// again after the audio.
#[derive(Debug, Default)]
struct PesInProgress {
    before: Option<RecordingClock>,
    pictures: Vec<(Stamps, PictureTiming)>,
    /// Whether audio has jumped since the packet began.
    audio_jumped: bool,
}

impl Timeline {
    /// Returns a timeline at the beginning of a recording.
    pub fn new() -> Self {
        let clock = RecordingClock {
            demuxed: VideoTimes::default(),
            start: Ticks(0),
            shared: InputClock::default(),
            video: StreamClock::default(),
            audio: Vec::new(),
        };
        Timeline { start: Some(StartSearch::default()), ..Timeline::resume(clock) }
    }

    /// Returns a timeline that resumes with the `clock` from before the next access unit.
    pub fn resume(clock: RecordingClock) -> Self {
        Timeline {
            passed_audio: clock.audio.iter().map(|audio| (audio.pid, audio.through)).collect(),
            clock,
            last_duration: None,
            start: None,
            held: VecDeque::new(),
            held_bytes: 0,
            waits: false,
            given_up: false,
            open: PesInProgress::default(),
            jumped: VecDeque::new(),
            ready: VecDeque::new(),
        }
    }

    /// Sets the audio streams of the tables: their first times also determine the start.
    pub fn expect_audio(&mut self, streams: &[AudioStream]) {
        if let Some(start) = &mut self.start {
            start.expect_audio(streams);
        }
    }

    /// Takes the next frame of an audio stream.
    pub fn audio(&mut self, frame: AudioFrame) {
        let passed = |(pid, through): &(u16, ByteOffset)| *pid == frame.pid && frame.at <= *through;
        if self.passed_audio.iter().any(passed) {
            return;
        }
        if let (Some(start), Some(pts)) = (&mut self.start, frame.pts) {
            start.audio(frame.pid, self.clock.demuxed.unwrap_beside(pts));
        }
        self.hold(Item::Audio(frame), size_of::<AudioFrame>());
    }

    /// Marks the PES packet of the video stream as complete: FFmpeg has now seen the
    /// pictures that end in it.
    pub fn pes_complete(&mut self) {
        // A PES header without data counts as well: there may be any number of them.
        self.hold(Item::PesComplete, size_of::<Item>());
    }

    /// Takes the next access unit of the video stream, with the timing in its headers.
    pub fn video(&mut self, unit: AccessUnit, timing: PictureTiming) {
        let before = self.clock.demuxed;
        let demuxed = &mut self.clock.demuxed;
        let mut stamps = demuxed.unwrap(Times { pts: unit.pts, dts: unit.dts });
        let ended_by = demuxed.peek(unit.ended_by);
        let anchored = demuxed.interpolation.fill(unit.codec, &mut stamps, &timing, ended_by);
        if let Some(anchored) = anchored {
            self.move_guessed(anchored, unit.codec, timing.delay);
        }
        if self.given_up {
            Interpolation::give_up().apply(&mut stamps);
        }
        let video = VideoItem { unit, timing, stamps, before };
        self.waits |= video.waits();
        if let Some(start) = &mut self.start {
            video.update_start(start);
        }
        let bytes = video.unit.data.len();
        self.hold(Item::Video(Box::new(video)), bytes);
    }

    /// Applies the results of libavformat's look-ahead, after which it starts over. `pictures` are
    /// the first access units, with missing or ambiguous times. Must be called before these are
    /// passed to the timeline.
    pub fn look_ahead<'a>(
        &mut self,
        pictures: impl Iterator<Item = (&'a AccessUnit, &'a PictureTiming)>,
    ) {
        let mut demuxed = self.clock.demuxed;
        let mut seen: Vec<Stamps> = Vec::new();
        let mut first = None;
        for (unit, timing) in pictures {
            let mut stamps = demuxed.unwrap(Times { pts: unit.pts, dts: unit.dts });
            let ended_by = demuxed.peek(unit.ended_by);
            let anchored = demuxed.interpolation.fill(unit.codec, &mut stamps, timing, ended_by);
            if let Some(anchored) = anchored {
                first = Some(anchored);
                let interpolation = &mut demuxed.interpolation;
                interpolation.move_guessed(anchored, unit.codec, timing.delay, seen.iter_mut());
            }
            seen.push(stamps);
            if let (Some(start), Some(_)) = (&mut self.start, first) {
                seen.iter().for_each(|stamps| start.video(stamps.pts));
            }
        }
        if let (Some(start), None) = (&mut self.start, first) {
            start.no_video();
        }
        demuxed.interpolation.start_over(first);
        self.clock.demuxed.interpolation = demuxed.interpolation;
    }

    /// Ends the stream, and determines the start from the times known so far.
    pub fn finish(&mut self) {
        self.give_up();
        self.pass_held();
        self.pass_jumped();
    }

    /// Returns the decoding times that FFmpeg assigns after the last picture.
    pub fn after_end(&self) -> AfterEnd {
        let step = self.last_duration.map_or(0, |duration| rescale::whole_micros(duration, 1));
        AfterEnd { next: self.clock.video.next, step }
    }

    /// Returns the next access unit, with times from the start of the recording.
    pub fn pull(&mut self) -> Option<TimedUnit> {
        self.ready.pop_front()
    }

    fn hold(&mut self, item: Item, bytes: usize) {
        self.held.push_back(item);
        self.held_bytes += bytes;
        if self.start.as_ref().is_some_and(StartSearch::is_settled) {
            self.settle();
        }
        if self.held_bytes > MAX_HELD_BYTES {
            self.give_up();
        }
        if self.start.is_none() && !self.waits {
            self.pass_held();
        }
    }

    /// Stops waiting for the start and for the first known time.
    fn give_up(&mut self) {
        // The order matters: guessed times must not determine where the recording begins.
        self.settle();
        if !self.given_up && !self.clock.demuxed.interpolation.is_anchored() {
            self.given_up = true;
            self.move_guessed(Interpolation::give_up(), VideoCodec::Mpeg2, 0);
        }
    }

    fn settle(&mut self) {
        if let Some(start) = self.start.take() {
            self.clock.start = start.earliest();
            self.clock.shared.offset = rescale::micros(self.clock.start).saturating_neg();
        }
    }

    fn move_guessed(&mut self, anchored: Anchored, codec: VideoCodec, delay: u32) {
        let mut held: Vec<_> = self.held.iter_mut().filter_map(Item::as_video).collect();
        let stamps = held.iter_mut().map(|video| &mut video.stamps);
        self.clock.demuxed.interpolation.move_guessed(anchored, codec, delay, stamps);
        if let Some(start) = &mut self.start {
            held.iter().for_each(|video| video.update_start(start));
        }
        self.waits = false;
    }

    fn pass_held(&mut self) {
        self.held_bytes = 0;
        while let Some(item) = self.held.pop_front() {
            match item {
                Item::Video(video) => {
                    let clock = &self.clock;
                    if !self.jumped.is_empty() || clock.shared.jumps(&clock.video, video.stamps) {
                        self.jumped.push_back(video);
                    } else {
                        self.pass_video(*video);
                    }
                }
                Item::Audio(frame) => self.pass_audio(&frame),
                Item::PesComplete => self.pass_jumped(),
            }
        }
    }

    fn pass_jumped(&mut self) {
        while let Some(video) = self.jumped.pop_front() {
            self.pass_video(*video);
        }
        self.open = PesInProgress::default();
    }

    fn pass_video(&mut self, video: VideoItem) {
        let VideoItem { mut unit, timing, stamps, before } = video;
        let raw = Times { pts: unit.pts, dts: unit.dts };
        let before = RecordingClock { demuxed: before, ..self.clock.clone() };
        if self.open.before.is_none() {
            self.open.before = Some(self.clock.clone());
        }
        self.open.pictures.push((stamps, timing));
        let passed = self.clock.pass_picture(stamps, &timing);
        self.last_duration = timing.duration;
        (unit.pts, unit.dts) = (passed.pts.map(Ticks), passed.dts.map(Ticks));
        self.ready.push_back(TimedUnit { unit, raw, before });
    }

    fn pass_audio(&mut self, frame: &AudioFrame) {
        let Some(before) = &mut self.open.before else {
            self.clock.pass_audio(frame);
            return;
        };
        self.open.audio_jumped |= before.would_jump(frame);
        before.pass_audio(frame);
        if self.open.audio_jumped {
            let mut clock = before.clone();
            for (stamps, timing) in &self.open.pictures {
                clock.pass_picture(*stamps, timing);
            }
            self.clock = RecordingClock { demuxed: self.clock.demuxed, ..clock };
        } else {
            self.clock.pass_audio(frame);
        }
    }
}

impl Default for Timeline {
    fn default() -> Self {
        Timeline::new()
    }
}

impl Item {
    fn as_video(&mut self) -> Option<&mut VideoItem> {
        if let Item::Video(video) = self { Some(video) } else { None }
    }
}

impl VideoItem {
    fn waits(&self) -> bool {
        Interpolation::is_relative(self.stamps.pts) || Interpolation::is_relative(self.stamps.dts)
    }

    fn update_start(&self, start: &mut StartSearch) {
        if !self.waits() {
            start.video(self.stamps.pts);
            self.stamps.dts.into_iter().for_each(|dts| start.reached(dts));
        }
    }
}

/// Maximum number of bytes of access units held back. Beyond this, the timeline stops waiting.
const MAX_HELD_BYTES: usize = 16 << 20;

#[cfg(test)]
mod tests;
