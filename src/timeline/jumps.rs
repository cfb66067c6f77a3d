//! Handles jumps of the sender's clock, like `process_input` in `fftools/ffmpeg.c`
//! (FFmpeg 5.1).
//!
//! All streams of a recording share one offset. If the decoding time of a packet is far from the
//! expected time of its stream, the offset is changed so that the packet gets the expected time.
//! This shifts the other streams as well. As in FFmpeg, all times are in microseconds, because
//! rounding affects the result.

use serde::{Deserialize, Serialize};

use super::interpolate::Stamps;
use super::rescale::{micros, ticks};
use crate::media::Ticks;

/// `dts_delta_threshold`: a larger difference from the expected time is a jump.
const JUMP: i64 = 10_000_000;

/// A step back by more than this is also a jump.
const JUMP_BACK: i64 = 100_000;

/// State shared by all streams (`InputFile`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InputClock {
    /// `ts_offset`: added to every time.
    #[serde(rename = "offset_us")]
    pub offset: i64,
    /// `last_ts`: decoding time of the previous packet of any stream.
    #[serde(rename = "last_us")]
    pub last: i64,
}

/// State of one stream (`InputStream`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamClock {
    /// Whether a packet has been seen.
    pub started: bool,
    /// Decoding time of the previous packet.
    #[serde(rename = "dts_us")]
    pub dts: i64,
    /// Lower bound: a packet that is too far before this time is a jump.
    #[serde(rename = "reached_us")]
    pub reached: i64,
    /// Expected decoding time of the next packet.
    #[serde(rename = "next_us")]
    pub next: Option<i64>,
}

impl InputClock {
    /// Returns whether the packet's decoding time is a jump.
    pub fn jumps(&self, stream: &StreamClock, stamps: Stamps) -> bool {
        self.delta(stream, stamps.dts).is_some()
    }

    /// Converts a packet's times from the stream's unwrapped clock to the clock of the recording.
    pub fn pass(&mut self, stream: &StreamClock, stamps: Stamps) -> Stamps {
        let mut offset = ticks(self.offset).0;
        if let Some(delta) = self.delta(stream, stamps.dts) {
            self.offset = self.offset.saturating_sub(delta);
            offset = offset.saturating_sub(ticks(delta).0);
        }
        let moved = |time: i64| time.saturating_add(offset);
        let stamps = Stamps { pts: stamps.pts.map(moved), dts: stamps.dts.map(moved) };
        if let Some(dts) = stamps.dts {
            self.last = micros(Ticks(dts));
        }
        stamps
    }

    /// If the packet is a jump, returns its difference from the expected time.
    fn delta(&self, stream: &StreamClock, dts: Option<i64>) -> Option<i64> {
        let dts = micros(Ticks(dts?.saturating_add(ticks(self.offset).0)));
        let expected = stream.next.unwrap_or(self.last);
        let delta = dts.saturating_sub(expected);
        let back = stream.next.is_some() && dts.saturating_add(JUMP_BACK) < stream.reached;
        (delta.saturating_abs() > JUMP || back).then_some(delta)
    }
}

impl StreamClock {
    /// Updates the clock with the decoding time of a packet. `start` is the time of a first packet
    /// without one. Returns the time of the packet.
    pub fn take(&mut self, dts: Option<i64>, start: i64) -> i64 {
        if !self.started {
            *self = StreamClock { started: true, dts: start, ..StreamClock::default() };
        }
        self.dts = dts.map(|dts| micros(Ticks(dts))).or(self.next).unwrap_or(self.dts);
        self.reached = self.dts;
        self.dts
    }

    /// Sets the duration of the packet; `None` if it is unknown.
    pub fn lasts(&mut self, duration: Option<i64>) {
        self.next = duration.map(|duration| self.dts.saturating_add(duration));
    }

    /// Marks the packet as decoded: the stream has reached the packet's end. The tool never does
    /// this for a stream that is only copied.
    pub fn shown(&mut self) {
        self.reached = self.next.unwrap_or(self.dts);
    }
}
