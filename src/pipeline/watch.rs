//! Logs what a stream contains, and its damage, while it is analyzed.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::detection::Detection;
use crate::demux::NoVideo;
use crate::media::{ByteOffset, VideoCodec};
use crate::telemetry::{Counters, Report};

/// Logs each fact once, and damage at most once per second.
#[derive(Debug, Default)]
pub struct Watch {
    video: Option<(u16, VideoCodec)>,
    no_video: Option<NoVideo>,
    scrambled: bool,
    unusable: bool,
    damage: Report,
}

impl Watch {
    /// Logs what `detection` has found since the last call.
    pub fn look(&mut self, detection: &Detection, counters: &Counters) {
        if let Some(program) = detection.program() {
            let video = (program.video_pid, program.codec);
            if self.video != Some(video) {
                let (pid, codec) = video;
                tracing::info!("video: {codec} on PID {pid:#x}, program {}", program.number);
                self.video = Some(video);
            }
        }
        if let Some(why) = detection.no_video()
            && self.no_video.as_ref() != Some(why)
        {
            tracing::warn!("no frames will be kept: {why}");
            self.no_video = Some(why.clone());
        }
        self.look_at_damage(detection, counters);
    }

    fn look_at_damage(&mut self, detection: &Detection, counters: &Counters) {
        let damage = detection.damage();
        counters.scrambled.store(damage.scrambled, Relaxed);
        if let (false, Some(at)) = (self.scrambled, damage.first_scrambled) {
            self.scrambled = true;
            tracing::warn!("byte {at}: the video is scrambled; such packets are not decoded");
        }
        if let (false, Some(error)) = (self.unusable, detection.unusable()) {
            self.unusable = true;
            tracing::warn!("{error}; skipping pictures like this one");
        }
        let grew = [
            (&counters.continuity_gaps, damage.discontinuities),
            (&counters.undecodable, damage.undecodable),
            (&counters.transport_errors, damage.transport_errors),
        ]
        .into_iter()
        .filter(|(counter, now)| counter.swap(*now, Relaxed) < *now)
        .count();
        if grew > 0 && self.damage.hit(Instant::now()).is_some() {
            tracing::warn!("the stream is damaged: {}", counters.snapshot().damage());
        }
    }

    /// Logs a loss of packet sync.
    pub fn sync_lost(&mut self, at: ByteOffset, skipped_bytes: u64, counters: &Counters) {
        counters.lost_sync.fetch_add(1, Relaxed);
        if let Some(times) = self.damage.hit(Instant::now()) {
            tracing::warn!("byte {at}: {skipped_bytes} bytes belong to no packet ({times} such)");
        }
    }

    /// Logs a warning if the stream has ended without showing what it contains.
    pub fn over(&self, read: ByteOffset) {
        if self.video.is_none() && self.no_video.is_none() && read.0 > 0 {
            tracing::warn!("no frames were kept: the stream ended before its content was known");
        }
    }
}
