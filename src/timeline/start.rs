//! Where a recording begins: libavformat's `start_time`, the smallest first PTS of
//! all its audio and video streams.
//!
//! It is settled by what the stream contains, never by the clock on the wall, and
//! then it stays.

use crate::media::{AudioStream, TICKS_PER_SECOND, Ticks};

/// It is settled after so much video, even if an audio stream of the tables has
/// not been heard of.
const SETTLE_TICKS: i64 = TICKS_PER_SECOND;

/// What is known of it so far. Times are unwrapped.
#[derive(Debug, Default)]
pub struct Start {
    /// Audio streams that have shown no time yet.
    silent: Vec<u16>,
    heard: Vec<u16>,
    earliest: Option<i64>,
    video: bool,
    first_dts: Option<i64>,
    span: i64,
}

impl Start {
    /// The audio streams of the tables.
    pub fn expect_audio(&mut self, streams: &[AudioStream]) {
        for AudioStream { pid, .. } in streams {
            if !self.silent.contains(pid) && !self.heard.contains(pid) {
                self.silent.push(*pid);
            }
        }
    }

    /// The time of an audio frame.
    pub fn audio(&mut self, pid: u16, pts: Ticks) {
        if let Some(index) = self.silent.iter().position(|silent| *silent == pid) {
            self.silent.swap_remove(index);
            self.heard.push(pid);
            self.see(pts.0);
        }
    }

    /// A picture's presentation time, in coding order.
    pub fn video(&mut self, pts: Option<i64>) {
        if let (false, Some(pts)) = (self.video, pts) {
            self.video = true;
            self.see(pts);
        }
    }

    /// Nobody knows when the video begins; only audio says.
    pub fn no_video(&mut self) {
        self.video = true;
    }

    /// A picture's decoding time.
    pub fn reached(&mut self, dts: i64) {
        self.span = (dts - *self.first_dts.get_or_insert(dts)).abs();
    }

    /// Whether it is known, or has been waited for long enough.
    pub fn is_settled(&self) -> bool {
        self.video && (self.silent.is_empty() || self.span >= SETTLE_TICKS)
    }

    /// Where the recording begins, as far as is known.
    pub fn earliest(&self) -> Ticks {
        Ticks(self.earliest.unwrap_or(0))
    }

    fn see(&mut self, pts: i64) {
        self.earliest = Some(self.earliest.map_or(pts, |earliest| earliest.min(pts)));
    }
}
