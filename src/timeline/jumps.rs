//! Where the sender's clock jumps: `process_input` in `fftools/ffmpeg.c` (FFmpeg 5.1).
//!
//! All streams of a recording share one offset. A packet whose decoding time is
//! far from the one expected of its stream moves the offset, so that it stands
//! where it was expected; the other streams then find themselves moved along.
//! Everything here is in microseconds, as there, since rounding shows.

use serde::{Deserialize, Serialize};

use super::interpolate::Stamps;
use super::rescale::{micros, ticks};
use crate::media::Ticks;

/// `dts_delta_threshold`: further than this from what was expected is a jump.
const JUMP: i64 = 10_000_000;

/// So is this far back.
const JUMP_BACK: i64 = 100_000;

/// What all streams share (`InputFile`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Shared {
    /// `ts_offset`: added to every time.
    #[serde(rename = "offset_us")]
    pub offset: i64,
    /// `last_ts`: decoding time of the packet before, of any stream.
    #[serde(rename = "last_us")]
    pub last: i64,
}

/// What each stream has of its own (`InputStream`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamClock {
    /// A packet has been seen.
    pub started: bool,
    /// Decoding time of the packet before.
    #[serde(rename = "dts_us")]
    pub dts: i64,
    /// What is too far back from here jumps.
    #[serde(rename = "reached_us")]
    pub reached: i64,
    /// Decoding time expected next.
    #[serde(rename = "next_us")]
    pub next: Option<i64>,
}

impl Shared {
    /// Whether the packet's decoding time jumps.
    pub fn jumps(&self, stream: &StreamClock, stamps: Stamps) -> bool {
        self.delta(stream, stamps.dts).is_some()
    }

    /// Takes a packet's times, on the stream's unwrapped clock, to the recording's.
    pub fn pass(&mut self, stream: &StreamClock, stamps: Stamps) -> Stamps {
        let mut offset = ticks(self.offset).0;
        if let Some(delta) = self.delta(stream, stamps.dts) {
            self.offset -= delta;
            offset -= ticks(delta).0;
        }
        let moved = |time: i64| time.saturating_add(offset);
        let stamps = Stamps { pts: stamps.pts.map(moved), dts: stamps.dts.map(moved) };
        if let Some(dts) = stamps.dts {
            self.last = micros(Ticks(dts));
        }
        stamps
    }

    /// By how much the packet is off, if that is a jump.
    fn delta(&self, stream: &StreamClock, dts: Option<i64>) -> Option<i64> {
        let dts = micros(Ticks(dts?.saturating_add(ticks(self.offset).0)));
        let expected = stream.next.unwrap_or(self.last);
        let delta = dts - expected;
        let back = stream.next.is_some() && dts + JUMP_BACK < stream.reached;
        (delta.abs() > JUMP || back).then_some(delta)
    }
}

impl StreamClock {
    /// Takes the decoding time of a packet that has passed; `start` is where the
    /// stream begins if its first packet has none. Gives the time that it counts as.
    pub fn take(&mut self, dts: Option<i64>, start: i64) -> i64 {
        if !self.started {
            *self = StreamClock { started: true, dts: start, ..StreamClock::default() };
        }
        self.dts = dts.map(|dts| micros(Ticks(dts))).or(self.next).unwrap_or(self.dts);
        self.reached = self.dts;
        self.dts
    }

    /// The packet lasts so long; `None` if nobody knows.
    pub fn lasts(&mut self, duration: Option<i64>) {
        self.next = duration.map(|duration| self.dts + duration);
    }

    /// A decoder has shown the packet: the stream has reached its end. Of a stream
    /// that is only copied, the tool never says so.
    pub fn shown(&mut self) {
        self.reached = self.next.unwrap_or(self.dts);
    }
}
