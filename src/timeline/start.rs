//! Determines where a recording begins: libavformat's `start_time`, the smallest first
//! PTS of all audio and video streams.
//!
//! It depends only on the content of the stream, never on the wall clock, and never
//! changes afterwards.

use crate::media::{AudioStream, TICKS_PER_SECOND, Ticks};

/// The start is determined after this much video, even if an audio stream of the tables
/// has not appeared yet.
const SETTLE_TICKS: i64 = TICKS_PER_SECOND;

/// What is known so far. Times are unwrapped.
#[derive(Debug, Default)]
pub struct Start {
    /// Audio streams without a time yet.
    silent: Vec<u16>,
    heard: Vec<u16>,
    earliest: Option<i64>,
    video: bool,
    first_dts: Option<i64>,
    span: i64,
}

impl Start {
    /// Sets the audio streams of the tables.
    pub fn expect_audio(&mut self, streams: &[AudioStream]) {
        for AudioStream { pid, .. } in streams {
            if !self.silent.contains(pid) && !self.heard.contains(pid) {
                self.silent.push(*pid);
            }
        }
    }

    /// Takes the time of an audio frame.
    pub fn audio(&mut self, pid: u16, pts: Ticks) {
        if let Some(index) = self.silent.iter().position(|silent| *silent == pid) {
            self.silent.swap_remove(index);
            self.heard.push(pid);
            self.see(pts.0);
        }
    }

    /// Takes the presentation time of a picture, in coding order.
    pub fn video(&mut self, pts: Option<i64>) {
        if let (false, Some(pts)) = (self.video, pts) {
            self.video = true;
            self.see(pts);
        }
    }

    /// Marks that the start of the video is unknown, so that only audio counts.
    pub fn no_video(&mut self) {
        self.video = true;
    }

    /// Takes the decoding time of a picture.
    pub fn reached(&mut self, dts: i64) {
        self.span = (dts - *self.first_dts.get_or_insert(dts)).abs();
    }

    /// Whether the start is known, or the wait is over.
    pub fn is_settled(&self) -> bool {
        self.video && (self.silent.is_empty() || self.span >= SETTLE_TICKS)
    }

    /// Returns the start of the recording, as far as it is known.
    pub fn earliest(&self) -> Ticks {
        Ticks(self.earliest.unwrap_or(0))
    }

    fn see(&mut self, pts: i64) {
        self.earliest = Some(self.earliest.map_or(pts, |earliest| earliest.min(pts)));
    }
}
