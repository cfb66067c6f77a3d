//! Decides when a backlog is decoded on all cores, and when one picture after the other.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Analyzer;
use super::cut_points::CutPoints;
use super::pieces::{Backlog, Lane, PieceLength, PiecePicture, Workers};
use super::restart::PassedUnit;
use crate::decode::Settings;
use crate::error::Result;
use crate::media::{AccessUnit, ByteOffset, Ticks};
use crate::timeline::TimedUnit;

/// Maximum number of kept pictures waiting to be pulled. Beyond that, no more are decided.
const MAX_READY: usize = 8;

/// Time to wait for a piece while there is no other work. In between, the caller of
/// [`Analyzer::stitch_next`] checks whether to stop.
const WAIT: Duration = Duration::from_millis(50);

/// Decoding of a backlog by several threads.
#[derive(Debug, Default)]
pub struct Parallel {
    /// Number of threads; `None` for one.
    jobs: Option<NonZeroUsize>,
    workers: Option<Arc<Workers>>,
    length: PieceLength,
    /// Bytes of the recording that can be read and have not been pushed.
    backlog: u64,
    pub cut_points: CutPoints,
    pieces: Option<Backlog>,
    /// The next access unit, while parallel decoding ends.
    waiting: Option<TimedUnit>,
    /// Data for a restart at random access points whose pictures are not decided yet.
    passed: VecDeque<PassedUnit>,
}

impl Parallel {
    /// Allows up to `jobs` threads.
    pub fn allow(&mut self, jobs: NonZeroUsize) {
        self.jobs = (jobs.get() > 1).then_some(jobs);
        self.length = PieceLength::configured();
    }

    /// Returns the number of access units and pictures that failed to decode.
    pub fn undecodable(&self) -> u64 {
        self.pieces.as_ref().map_or(0, Backlog::undecodable)
    }
}

impl Analyzer {
    /// Sets the number of bytes of the recording that can be read and have not been pushed.
    pub fn set_backlog(&mut self, bytes: u64) {
        self.parallel.backlog = bytes;
    }

    /// Returns whether several threads are decoding.
    pub fn is_parallel(&self) -> bool {
        self.parallel.pieces.is_some()
    }

    /// Returns whether all threads have enough work. If so, call [`Analyzer::stitch_next`] before
    /// pushing more.
    pub fn is_full(&self) -> bool {
        self.parallel.pieces.as_ref().is_some_and(Backlog::is_full)
    }

    /// Returns the offset up to which everything is decided, if the packets up to `read` were pushed.
    pub fn decided_through(&self, read: ByteOffset) -> ByteOffset {
        self.parallel.pieces.as_ref().and_then(Backlog::undecided).map_or(read, |at| at.min(read))
    }

    /// Records that the bytes at `at` belong to no packet.
    pub fn sync_lost(&mut self, at: ByteOffset) {
        self.damaged(at);
    }

    /// Decides the next pictures that other threads have decoded. Waits a little if there are none.
    ///
    /// # Errors
    ///
    /// As [`Analyzer::push`].
    pub fn stitch_next(&mut self) -> Result<()> {
        self.stitch_within(WAIT)
    }

    /// Decides pictures that other threads have decoded, if there are any.
    ///
    /// # Errors
    ///
    /// As [`Analyzer::push`].
    pub fn stitch_ready(&mut self) -> Result<()> {
        self.stitch_within(Duration::ZERO)
    }

    /// Returns whether parallel decoding is about to end. If so, call [`Analyzer::catch_up`]; anything
    /// pushed meanwhile waits.
    pub fn is_ending(&self) -> bool {
        self.parallel.pieces.as_ref().is_some_and(Backlog::has_ended)
    }

    /// Ends parallel decoding once everything pushed is decided. Returns whether it has ended; if not,
    /// call [`Analyzer::stitch_next`] and try again. `ends` is true at the end of the recording.
    ///
    /// # Errors
    ///
    /// As [`Analyzer::push`].
    pub fn catch_up(&mut self, ends: bool) -> Result<bool> {
        self.end_pieces();
        if self.parallel.pieces.as_ref().is_some_and(Backlog::is_busy) {
            return Ok(false);
        }
        self.leave_parallel(ends)?;
        Ok(!self.is_ending())
    }

    /// Waits until everything pushed is decided, and ends parallel decoding.
    pub(super) fn settle(&mut self) -> Result<()> {
        while self.is_parallel() {
            self.end_pieces();
            while self.parallel.pieces.as_ref().is_some_and(Backlog::is_busy) {
                self.stitch_one(WAIT, usize::MAX)?;
            }
            self.leave_parallel(false)?;
        }
        Ok(())
    }

    fn end_pieces(&mut self) {
        let kept = self.last_kept();
        if let Some(pieces) = &mut self.parallel.pieces {
            pieces.end(kept);
        }
    }

    /// Continues with one decoder. Everything pushed must be decided.
    fn leave_parallel(&mut self, ends: bool) -> Result<()> {
        let Some(pieces) = self.parallel.pieces.take() else { return Ok(()) };
        if pieces.redone() > 0 {
            tracing::debug!("{} pieces were decoded one after the other", pieces.redone());
            self.parallel.cut_points.refused();
        }
        if let Some((lane, undecodable)) = pieces.into_lane(ends)? {
            self.decoders.resume_with(lane.decoder, undecodable);
            self.comparer = lane.comparer;
        }
        while let Some(passed) = self.parallel.passed.pop_front() {
            self.restart.unit_passed(passed);
        }
        if let Some(timed) = self.parallel.waiting.take() {
            self.take_unit(timed)?;
        }
        self.drain_timer()
    }

    /// Records damage at or in front of `at`. The following pictures are decoded one after the other.
    pub(super) fn damaged(&mut self, at: ByteOffset) {
        self.parallel.cut_points.damaged(at);
        if let Some(pieces) = &mut self.parallel.pieces {
            pieces.damaged();
        }
        self.end_pieces();
    }

    /// Stores an access unit until parallel decoding has ended, if it is about to end or if the unit
    /// is for another decoder. Otherwise, returns the unit.
    pub(super) fn wait_for_end(&mut self, timed: TimedUnit) -> Option<TimedUnit> {
        if self.is_parallel() && self.decoders.is_next(&timed.unit) {
            self.end_pieces();
        }
        if self.is_ending() {
            self.parallel.waiting = Some(timed);
            return None;
        }
        Some(timed)
    }

    /// Returns whether an access unit is waiting.
    pub(super) fn has_waiting(&self) -> bool {
        self.parallel.waiting.is_some()
    }

    /// Takes an access unit if several threads are decoding. Otherwise, returns it.
    pub(super) fn take_unit_in_parallel(&mut self, timed: TimedUnit) -> Result<Option<TimedUnit>> {
        let mut may_cut = self.parallel.cut_points.pass(&timed.unit);
        let mut is_first = false;
        if !self.is_parallel() {
            let is_new = self.decoders.is_new() == Some(true);
            if !self.pays(&timed.unit, is_new) || !(is_new || may_cut) || !self.begin()? {
                return Ok(Some(timed));
            }
            may_cut = true;
            is_first = self.restart.is_empty();
        }
        let program = self.reader.program_at(timed.unit.at);
        let passed = self.restart.state_before(&timed, program, is_first);
        let kept = self.last_kept();
        let settings = || -> Settings { self.decoders.settings() };
        let Some(pieces) = &mut self.parallel.pieces else { return Ok(Some(timed)) };
        pieces.push(timed.unit, passed, may_cut.then_some(settings), kept);
        if pieces.is_too_long() {
            self.end_pieces();
        }
        Ok(None)
    }

    /// Returns whether the backlog from `unit` on is long enough for parallel decoding.
    fn pays(&self, unit: &AccessUnit, is_new: bool) -> bool {
        if is_new && !self.comparer.is_new() {
            // The first picture has to be compared with the last one of another codec.
            return false;
        }
        let intervals = if is_new { 0 } else { self.parallel.cut_points.bytes_since(unit.at) };
        self.parallel.jobs.is_some()
            && self.decoders.is_new().is_some()
            && self.resuming.is_none()
            && self.final_through.is_none_or(|through| through < unit.at)
            && self.parallel.backlog >= intervals.max(self.parallel.length.min_backlog)
    }

    /// Begins parallel decoding. Returns false if that is not possible.
    fn begin(&mut self) -> Result<bool> {
        let Some(jobs) = self.parallel.jobs else { return Ok(false) };
        let workers = match &self.parallel.workers {
            Some(workers) => Arc::clone(workers),
            None => Arc::new(Workers::start(jobs)?),
        };
        self.parallel.workers = Some(Arc::clone(&workers));
        let Some(decoder) = self.decoders.suspend() else { return Ok(false) };
        let codec = decoder.codec();
        let comparer = std::mem::take(&mut self.comparer);
        let lane = (!decoder.is_new()).then(|| Lane { decoder, comparer });
        let (backlog, length) = (self.parallel.backlog, self.parallel.length);
        tracing::debug!("decoding {backlog} bytes with {jobs} threads");
        self.parallel.pieces = Some(Backlog::begin(
            workers,
            self.rule,
            codec,
            lane,
            self.parallel.cut_points.has_damage(),
            (backlog, length),
        ));
        Ok(true)
    }

    fn last_kept(&self) -> Option<Ticks> {
        self.detector.state().cuts.previous_kept
    }

    fn stitch_within(&mut self, timeout: Duration) -> Result<()> {
        self.stitch_one(timeout, MAX_READY)?;
        // Pieces that do not fit are decoded twice. Avoid that by leaving parallel decoding.
        if self.parallel.pieces.as_ref().is_some_and(|pieces| pieces.redone() > 0) {
            self.end_pieces();
        }
        Ok(())
    }

    /// Decides pictures until `max_ready` kept ones wait to be pulled, and stitches at most one more
    /// piece.
    fn stitch_one(&mut self, timeout: Duration, max_ready: usize) -> Result<()> {
        let Some(mut pieces) = self.parallel.pieces.take() else { return Ok(()) };
        self.decide_some(&mut pieces, max_ready)?;
        if !pieces.has_stitched() {
            let size = self.decoders.settings().size;
            if let Some(passed) = pieces.stitch(size, timeout)? {
                self.parallel.passed.extend(passed);
                self.decide_some(&mut pieces, max_ready)?;
            }
        }
        self.parallel.pieces = Some(pieces);
        Ok(())
    }

    fn decide_some(&mut self, pieces: &mut Backlog, max_ready: usize) -> Result<()> {
        let mut kept = self.ready.iter().filter(|scored| scored.kept.is_some()).count();
        while kept < max_ready
            && let Some(picture) = pieces.pull()
        {
            kept += usize::from(self.decide_stitched(pieces, picture)?);
        }
        Ok(())
    }

    /// Decides a stitched picture. Returns whether it is kept.
    fn decide_stitched(&mut self, pieces: &mut Backlog, mut picture: PiecePicture) -> Result<bool> {
        let (origin, decoded) = (picture.origin, Instant::now());
        if !picture.is_sound() {
            self.parallel.cut_points.damaged(origin.at);
        }
        let (size, difference) = match picture.take_compared() {
            Ok(difference) => (Ok(picture.size), Some(difference)),
            Err(error) => (Err(error), None),
        };
        let shown = self.decoders.place(&origin, size);
        let (Some(shown), Some(difference)) = (shown, difference) else { return Ok(false) };
        if self.final_through.is_some_and(|through| shown.at <= through) {
            return Ok(false);
        }
        while self.parallel.passed.front().is_some_and(|passed| passed.at <= shown.at) {
            if let Some(passed) = self.parallel.passed.pop_front() {
                self.restart.unit_passed(passed);
            }
        }
        self.keyframes.picture_decoded(shown.at, shown.pts);
        self.restart.picture_decoded(&shown, || self.decoders.settings());
        let verdict = self.detector.decide(shown.at, shown.pts, difference);
        self.last = Some((verdict.at, verdict.pts));
        let kept = verdict.kept.map(|_| pieces.copy(&picture)).transpose()?;
        let is_kept = kept.is_some();
        self.push_scored(verdict, &shown, kept, decoded);
        Ok(is_kept)
    }
}

#[cfg(test)]
mod tests;
