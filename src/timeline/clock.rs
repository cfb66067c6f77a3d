//! The clock of a recording: what is known of its streams' times between two packets.

use serde::{Deserialize, Serialize};

use super::interpolate::{Interpolation, Stamps};
use super::jumps::{Shared, StreamClock};
use super::rescale;
use crate::media::{
    AudioFrame, ByteOffset, Fraction, PictureTiming, TICKS_PER_SECOND, Ticks, Times,
};

/// Bits of the PTS and DTS clock.
pub(super) const CLOCK_BITS: u32 = 33;

/// No picture lasts longer: what looks so is a gap.
const MAX_STEP: i64 = TICKS_PER_SECOND;

/// The state that has to outlive a restart. Its keys are those of the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingClock {
    /// Unwrapped time that counts as 0.
    pub start: Ticks,
    /// What the pictures' own times have shown.
    #[serde(flatten)]
    pub demuxed: VideoTimes,
    /// The offset that all streams share.
    #[serde(flatten)]
    pub shared: Shared,
    /// The video stream's clock.
    pub video: StreamClock,
    /// The audio streams' clocks.
    pub audio: Vec<AudioClock>,
}

/// What libavformat knows of the video stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VideoTimes {
    /// Unwrapped time of the picture before: the next is the nearest to it. Before
    /// the first picture that of audio, if there was any.
    pub last: Option<Ticks>,
    /// A picture has been seen.
    pub seen: bool,
    /// Ticks from one decoding time to the next, as last seen: the duration of a picture
    /// where the stream does not state it.
    pub step: i64,
    /// Times that the stream does not state.
    pub interpolation: Interpolation,
}

/// The clock of one audio stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudioClock {
    /// PID of the stream.
    pub pid: u16,
    /// Everything up to the PES packet that begins here has passed.
    pub through: ByteOffset,
    /// Time of its next frame, in ticks, unwrapped.
    pub next_pts: Option<i64>,
    /// Where it is expected.
    pub clock: StreamClock,
}

impl VideoTimes {
    /// Unwraps a picture's times. The DTS is near the last one, the PTS near it.
    pub(super) fn unwrap(&mut self, times: Times) -> Stamps {
        if let Some(time) = times.dts.or(times.pts) {
            let last = *self.last.get_or_insert(time);
            let time = nearest(time, last);
            if time > last && self.seen {
                self.step = (time.0 - last.0).min(MAX_STEP);
            }
            (self.last, self.seen) = (Some(time), true);
        }
        self.peek(times)
    }

    /// The same for times that are not the next picture's.
    pub(super) fn peek(&self, times: Times) -> Stamps {
        let near = |time: Ticks| nearest(time, self.last.unwrap_or(time)).0;
        Stamps { pts: times.pts.map(near), dts: times.dts.map(near) }
    }

    /// The same for another stream's time.
    pub(super) fn unwrap_beside(&mut self, time: Ticks) -> Ticks {
        nearest(time, *self.last.get_or_insert(time))
    }
}

impl RecordingClock {
    /// A picture's times from the start of the recording, on its way to the decoder.
    pub(super) fn pass_picture(&mut self, stamps: Stamps, timing: &PictureTiming) -> Stamps {
        let passed = self.shared.pass(&self.video, stamps);
        let duration = match timing.duration.map_or(self.demuxed.step, rescale::whole_ticks) {
            0 => None,
            ticks => Some(rescale::micros(Ticks(ticks))),
        };
        let lead = timing
            .duration
            .map_or(0, |duration| -rescale::whole_micros(duration, i64::from(timing.delay)));
        let dts = self.video.take(passed.dts, lead);
        self.video.lasts(duration);
        self.video.shown();
        Stamps { pts: passed.pts, dts: Some(rescale::ticks(dts).0) }
    }

    pub(super) fn pass_audio(&mut self, frame: &AudioFrame) {
        let (index, stamps) = self.audio_stamps(frame);
        let Some(pts) = stamps.pts else { return };
        let passed = self.shared.pass(&self.audio[index].clock, stamps);
        let audio = &mut self.audio[index];
        audio.through = frame.at;
        audio.next_pts = Some(after(pts, frame));
        audio.clock.take(passed.dts, 0);
        let counted = if frame.counted { frame.samples } else { 0 };
        audio.clock.lasts(Some(rescale::micros_of_samples(counted, frame.sample_rate)));
    }

    pub(super) fn would_jump(&mut self, frame: &AudioFrame) -> bool {
        let (index, stamps) = self.audio_stamps(frame);
        self.shared.jumps(&self.audio[index].clock, stamps)
    }

    /// The clock of the frame's stream, and its times: none before the first that is given.
    pub(super) fn audio_stamps(&mut self, frame: &AudioFrame) -> (usize, Stamps) {
        let index = match self.audio.iter().position(|audio| audio.pid == frame.pid) {
            Some(index) => index,
            None => {
                let clock = StreamClock::default();
                let (pid, through) = (frame.pid, frame.at);
                self.audio.push(AudioClock { pid, through, next_pts: None, clock });
                self.audio.len() - 1
            }
        };
        let time = match frame.pts {
            Some(pts) => Some(self.demuxed.unwrap_beside(pts).0),
            None => self.audio[index].next_pts,
        };
        (index, Stamps { pts: time, dts: time })
    }
}

/// Where the next frame stands. The parsers of some codecs state durations, which
/// libavformat rounds; of others it knows the frame size, and does not.
fn after(pts: i64, frame: &AudioFrame) -> i64 {
    let AudioFrame { samples, sample_rate, exact, .. } = *frame;
    if exact && samples > 0 && sample_rate > 0 {
        let (numerator, denominator) = (i64::from(samples), i64::from(sample_rate));
        rescale::add_stable(pts, Fraction { numerator, denominator })
    } else {
        pts + rescale::ticks_of_samples(samples, sample_rate)
    }
}

/// The time with these 33 bits that is nearest to `reference`.
fn nearest(time: Ticks, reference: Ticks) -> Ticks {
    const MODULUS: i64 = 1 << CLOCK_BITS;
    let ahead = (time.0 - reference.0).rem_euclid(MODULUS);
    Ticks(reference.0 + if ahead < MODULUS / 2 { ahead } else { ahead - MODULUS })
}
