//! Logs what a stream contains, and its damage, while it is analyzed.

use std::time::Instant;

use super::Analyzer;
use crate::demux::NoVideo;
use crate::media::{ByteOffset, Damage, VideoCodec};
use crate::telemetry::{Counters, RateLimit};

/// Logs each fact once, and damage at most once per second.
#[derive(Debug, Default)]
pub struct StreamLog {
    video: Option<(u16, VideoCodec)>,
    no_video: Option<NoVideo>,
    scrambled: bool,
    unusable: bool,
    damage: RateLimit,
    /// Damage that was counted before this analyzer started.
    before: Damage,
    /// Losses of sync since then.
    lost_sync: u64,
}

impl StreamLog {
    /// Creates a log that counts damage in addition to `before`, the damage of earlier recordings.
    pub fn new(before: Damage) -> Self {
        StreamLog { before, ..StreamLog::default() }
    }

    /// Logs what `analyzer` has found since the last call, and updates the damage in `counters`.
    pub fn update(&mut self, analyzer: &Analyzer, counters: &Counters) {
        if let Some(program) = analyzer.program() {
            let video = (program.video_pid, program.codec);
            if self.video != Some(video) {
                let (pid, codec) = video;
                let number = program.number;
                match self.video {
                    Some((old_pid, _)) if old_pid != pid => tracing::info!(
                        "the video on PID {old_pid:#x} has stopped; going on with {codec} on PID \
                         {pid:#x}, program {number}"
                    ),
                    _ => tracing::info!("video: {codec} on PID {pid:#x}, program {number}"),
                }
                self.video = Some(video);
            }
        }
        if let Some(why) = analyzer.no_video()
            && self.no_video.as_ref() != Some(why)
        {
            tracing::warn!("no frames will be kept: {why}");
            self.no_video = Some(why.clone());
        }
        self.log_damage(analyzer, counters);
    }

    fn log_damage(&mut self, analyzer: &Analyzer, counters: &Counters) {
        if let (false, Some(at)) = (self.scrambled, analyzer.first_scrambled()) {
            self.scrambled = true;
            tracing::warn!("byte {at}: the video is scrambled; scrambled packets are not decoded");
        }
        if let (false, Some(error)) = (self.unusable, analyzer.unusable()) {
            self.unusable = true;
            tracing::warn!("{error}; pictures like this one are skipped");
        }
        let current = Damage { lost_sync: self.lost_sync, ..analyzer.damage() };
        let current = self.before.plus(current);
        let (before, after) = counters.update_damage(|damage| {
            let before = *damage;
            // A resumed analyzer counts from 0, and counts again what an earlier attempt counted.
            *damage = before.at_least(current);
            (before, *damage)
        });
        let has_grown = after.continuity_gaps > before.continuity_gaps
            || after.undecodable > before.undecodable
            || after.transport_errors > before.transport_errors
            // The same header is repeated at each random access point.
            || (after.implausible > 0 && before.implausible == 0);
        if has_grown && self.damage.hit(Instant::now()).is_some() {
            tracing::warn!("the stream is damaged: {after}");
        }
    }

    /// Counts and logs a loss of packet sync.
    pub fn sync_lost(&mut self, at: ByteOffset, skipped_bytes: u64, counters: &Counters) {
        self.lost_sync += 1;
        let lost_sync = self.before.lost_sync + self.lost_sync;
        counters.update_damage(|damage| damage.lost_sync = damage.lost_sync.max(lost_sync));
        if let Some(times) = self.damage.hit(Instant::now()) {
            tracing::warn!("byte {at}: {skipped_bytes} bytes belong to no packet ({times} such)");
        }
    }

    /// Logs a warning if the stream has ended before its content was known. `read` is the number of
    /// bytes read.
    pub fn finish(&self, read: ByteOffset) {
        if self.video.is_none() && self.no_video.is_none() && read.0 > 0 {
            tracing::warn!("no frames were kept: the stream ended before its content was known");
        }
    }
}
