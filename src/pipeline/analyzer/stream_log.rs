//! Logs what a stream contains, and its damage, while it is analyzed.

use std::time::Instant;

use super::Analyzer;
use crate::demux::NoVideo;
use crate::media::{ByteOffset, Damage, VideoCodec};
use crate::telemetry::{Counters, Report};

/// Logs each fact once, and damage at most once per second.
#[derive(Debug, Default)]
pub struct StreamLog {
    video: Option<(u16, VideoCodec)>,
    no_video: Option<NoVideo>,
    scrambled: bool,
    unusable: bool,
    damage: Report,
    /// Damage that was counted before this analyzer started.
    before: Damage,
    /// Losses of sync since then.
    lost_sync: u64,
}

impl StreamLog {
    /// Counts damage on top of `before`: that of the recordings before this one.
    pub fn new(before: Damage) -> Self {
        StreamLog { before, ..StreamLog::default() }
    }

    /// Logs what `detection` has found since the last call.
    pub fn look(&mut self, analyzer: &Analyzer, counters: &Counters) {
        if let Some(program) = analyzer.program() {
            let video = (program.video_pid, program.codec);
            if self.video != Some(video) {
                let (pid, codec) = video;
                tracing::info!("video: {codec} on PID {pid:#x}, program {}", program.number);
                self.video = Some(video);
            }
        }
        if let Some(why) = analyzer.no_video()
            && self.no_video.as_ref() != Some(why)
        {
            tracing::warn!("no frames will be kept: {why}");
            self.no_video = Some(why.clone());
        }
        self.look_at_damage(analyzer, counters);
    }

    fn look_at_damage(&mut self, analyzer: &Analyzer, counters: &Counters) {
        if let (false, Some(at)) = (self.scrambled, analyzer.first_scrambled()) {
            self.scrambled = true;
            tracing::warn!("byte {at}: the video is scrambled; scrambled packets are not decoded");
        }
        if let (false, Some(error)) = (self.unusable, analyzer.unusable()) {
            self.unusable = true;
            tracing::warn!("{error}; pictures like this one are skipped");
        }
        let now = Damage { lost_sync: self.lost_sync, ..analyzer.damage() };
        let now = self.before.plus(now);
        let (before, after) = counters.update_damage(|damage| {
            let before = *damage;
            // An analyzer that resumes counts from 0 what an earlier attempt has counted.
            *damage = before.at_least(now);
            (before, *damage)
        });
        let grew = after.continuity_gaps > before.continuity_gaps
            || after.undecodable > before.undecodable
            || after.transport_errors > before.transport_errors;
        if grew && self.damage.hit(Instant::now()).is_some() {
            tracing::warn!("the stream is damaged: {after}");
        }
    }

    /// Logs a loss of packet sync.
    pub fn sync_lost(&mut self, at: ByteOffset, skipped_bytes: u64, counters: &Counters) {
        self.lost_sync += 1;
        let lost_sync = self.before.lost_sync + self.lost_sync;
        counters.update_damage(|damage| damage.lost_sync = damage.lost_sync.max(lost_sync));
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
