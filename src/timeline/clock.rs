//! The clock of a recording: the timing state of its streams between two packets.

use serde::{Deserialize, Serialize};

use super::interpolate::{Interpolation, Stamps};
use super::jumps::{InputClock, StreamClock};
use super::rescale;
use crate::media::{
    AudioFrame, ByteOffset, Fraction, PictureTiming, TICKS_PER_SECOND, Ticks, Times,
};

/// Bits of the PTS and DTS clock.
pub(super) const CLOCK_BITS: u32 = 33;

/// Maximum duration of a picture in ticks: a longer step is a gap.
const MAX_STEP: i64 = TICKS_PER_SECOND;

/// State that is kept across a restart. Its fields are keys of the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingClock {
    /// Unwrapped time of the start of the recording.
    pub start: Ticks,
    /// State derived from the pictures' own times.
    #[serde(flatten)]
    pub demuxed: VideoTimes,
    /// The offset that all streams share.
    #[serde(flatten)]
    pub shared: InputClock,
    /// The video stream's clock.
    pub video: StreamClock,
    /// The audio streams' clocks.
    pub audio: Vec<AudioClock>,
}

/// State that libavformat keeps for the video stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VideoTimes {
    /// Unwrapped time of the previous picture: the next time is unwrapped to the nearest value.
    /// Before the first picture, the time of audio, if any.
    pub last: Option<Ticks>,
    /// Whether a picture has been seen.
    pub seen: bool,
    /// Last difference between two decoding times, in ticks: used as the duration of a picture if
    /// the stream does not state one.
    pub step: i64,
    /// Computes missing times.
    pub interpolation: Interpolation,
}

/// The clock of one audio stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudioClock {
    /// PID of the stream.
    pub pid: u16,
    /// Offset of the last PES packet that has passed.
    pub through: ByteOffset,
    /// Time of the next frame in ticks, unwrapped.
    pub next_pts: Option<i64>,
    /// Expected time of the next frame.
    pub clock: StreamClock,
}

impl VideoTimes {
    /// Unwraps a picture's times: the DTS to the value nearest to the last time, the PTS to the
    /// value nearest to the DTS.
    pub(super) fn unwrap(&mut self, times: Times) -> Stamps {
        if let Some(time) = times.dts.or(times.pts) {
            let last = *self.last.get_or_insert(time);
            let time = nearest(time, last);
            if time > last && self.seen {
                self.step = time.0.saturating_sub(last.0).min(MAX_STEP);
            }
            (self.last, self.seen) = (Some(time), true);
        }
        self.peek(times)
    }

    /// Unwraps times that do not belong to the next picture. Does not change the state.
    pub(super) fn peek(&self, times: Times) -> Stamps {
        let near = |time: Ticks| nearest(time, self.last.unwrap_or(time)).0;
        Stamps { pts: times.pts.map(near), dts: times.dts.map(near) }
    }

    /// Unwraps a time of another stream.
    pub(super) fn unwrap_beside(&mut self, time: Ticks) -> Ticks {
        nearest(time, *self.last.get_or_insert(time))
    }
}

impl RecordingClock {
    /// Converts the times of the next picture for the decoder. Returns them in ticks from the start
    /// of the recording.
    pub(super) fn pass_picture(&mut self, stamps: Stamps, timing: &PictureTiming) -> Stamps {
        let passed = self.shared.pass(&self.video, stamps);
        let duration = match timing.duration.map_or(self.demuxed.step, rescale::whole_ticks) {
            0 => None,
            ticks => Some(rescale::micros(Ticks(ticks))),
        };
        let lead = timing
            .duration
            .map_or(0, |duration| rescale::whole_micros(duration, -i64::from(timing.delay)));
        let dts = self.video.take(passed.dts, lead);
        self.video.lasts(duration);
        self.video.shown();
        Stamps { pts: passed.pts, dts: Some(rescale::ticks(dts).0) }
    }

    /// Updates the clock with the next audio frame.
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

    /// Returns whether the audio frame's time jumps.
    pub(super) fn would_jump(&mut self, frame: &AudioFrame) -> bool {
        let (index, stamps) = self.audio_stamps(frame);
        self.shared.jumps(&self.audio[index].clock, stamps)
    }

    /// Returns the index of the stream's clock, and the frame's unwrapped times. They are `None`
    /// until the stream has stated a time.
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

/// Returns the time of the frame after `frame`, in ticks. For some codecs, the parser states a
/// duration, which libavformat rounds to ticks; for others, libavformat knows the frame size and
/// does not round.
fn after(pts: i64, frame: &AudioFrame) -> i64 {
    let AudioFrame { samples, sample_rate, exact, .. } = *frame;
    if exact && samples > 0 && sample_rate > 0 {
        let (numerator, denominator) = (i64::from(samples), i64::from(sample_rate));
        rescale::add_stable(pts, Fraction { numerator, denominator })
    } else {
        pts.saturating_add(rescale::ticks_of_samples(samples, sample_rate))
    }
}

/// Returns the time nearest to `reference` with the low 33 bits of `time`.
fn nearest(time: Ticks, reference: Ticks) -> Ticks {
    const MODULUS: i64 = 1 << CLOCK_BITS;
    // The modulus divides 2^64, so a wrap of the type is harmless.
    let ahead = time.0.wrapping_sub(reference.0).rem_euclid(MODULUS);
    let distance = if ahead < MODULUS / 2 { ahead } else { ahead - MODULUS };
    Ticks(reference.0.saturating_add(distance))
}
