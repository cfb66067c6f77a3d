//! Determines where a recording begins: libavformat's `start_time`, the smallest first
//! PTS of all audio and video streams.
//!
//! It depends only on the content of the stream, never on the wall clock, and never
//! changes afterwards.

use crate::media::{AudioStream, TICKS_PER_SECOND, Ticks};

/// Maximum duration of video after which the start is determined, even if an audio stream of the
/// tables has not appeared yet.
const SETTLE_TICKS: i64 = TICKS_PER_SECOND;

/// State of the search for the start. Times are unwrapped.
#[derive(Debug, Default)]
pub struct StartSearch {
    /// Audio streams whose first time is unknown.
    pending_audio: Vec<u16>,
    seen_audio: Vec<u16>,
    earliest: Option<i64>,
    video: bool,
    first_dts: Option<i64>,
    span: i64,
}

impl StartSearch {
    /// Sets the audio streams of the tables.
    pub fn expect_audio(&mut self, streams: &[AudioStream]) {
        for AudioStream { pid, .. } in streams {
            if !self.pending_audio.contains(pid) && !self.seen_audio.contains(pid) {
                self.pending_audio.push(*pid);
            }
        }
    }

    /// Takes the time of an audio frame.
    pub fn audio(&mut self, pid: u16, pts: Ticks) {
        if let Some(index) = self.pending_audio.iter().position(|pending| *pending == pid) {
            self.pending_audio.swap_remove(index);
            self.seen_audio.push(pid);
            self.update_earliest(pts.0);
        }
    }

    /// Takes the presentation time of a picture, in coding order.
    pub fn video(&mut self, pts: Option<i64>) {
        if let (false, Some(pts)) = (self.video, pts) {
            self.video = true;
            self.update_earliest(pts);
        }
    }

    /// Marks that the start of the video is unknown, so that only audio counts.
    pub fn no_video(&mut self) {
        self.video = true;
    }

    /// Takes the decoding time of a picture.
    pub fn reached(&mut self, dts: i64) {
        self.span = dts.saturating_sub(*self.first_dts.get_or_insert(dts)).saturating_abs();
    }

    /// Returns whether the start is known, or waiting has ended.
    pub fn is_settled(&self) -> bool {
        self.video && (self.pending_audio.is_empty() || self.span >= SETTLE_TICKS)
    }

    /// Returns the start of the recording, according to the times so far.
    pub fn earliest(&self) -> Ticks {
        Ticks(self.earliest.unwrap_or(0))
    }

    fn update_earliest(&mut self, pts: i64) {
        self.earliest = Some(self.earliest.map_or(pts, |earliest| earliest.min(pts)));
    }
}
