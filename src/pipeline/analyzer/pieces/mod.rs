//! Decodes a backlog on all cores, with the same result as one picture after the other.
//!
//! The stream is cut in front of random access points after which no picture refers to an earlier
//! one. Each piece has its own decoder, which continues into the next piece until it returns the
//! picture of that piece's first access unit. That picture is decoded twice: if both results are the
//! same, so are all later ones. If they differ, or if anything is wrong with either piece, the
//! decoder of the first piece continues through the second, as it would have without the cut.
//!
//! ```text
//! access units ─▶ piece ─▶ worker ─▶ stitcher ─▶ pictures in order
//!                            │          └ history: whose decoder continues after damage
//!                            └ forecast: which pictures to copy
//!
//! lane       a decoder, and the comparison of its pictures: each worker has one
//! redecoder  decodes a piece again, for kept pictures of which no copy was made
//! ```

mod forecast;
mod history;
mod lane;
mod piece;
mod redecoder;
mod stitcher;
mod worker;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::restart::PassedUnit;
use crate::decode::{Settings, parameter_sets};
use crate::detect::Rule;
use crate::error::{Error, Kind, Result, Stage};
use crate::media::{AccessUnit, ByteOffset, Picture, RandomAccess, Ticks, VideoCodec};
use forecast::Forecast;
pub use lane::{Lane, PiecePicture};
use piece::StreamPiece;
pub use piece::{PieceLength, Workers};
use stitcher::Stitcher;
use worker::{Outcome, PieceTask};

/// Maximum number of access units of a piece; below, of bytes. If a piece reaches this without a cut
/// point, the following pictures are decoded one after the other.
const MAX_UNITS: usize = 1_024;
const MAX_BYTES: usize = 32 << 20;

/// Number of pieces per worker into which the known backlog is divided.
const PIECES_PER_JOB: u64 = 8;

/// A piece that was handed to a worker.
struct Submitted {
    piece: Arc<StreamPiece>,
    outcome: Receiver<Result<Outcome>>,
}

/// The pieces of a stream that are not decided yet.
pub struct Backlog {
    workers: Arc<Workers>,
    rule: Rule,
    codec: VideoCodec,
    length: PieceLength,
    /// Number of bytes at which a piece of the minimum length is long enough.
    good_bytes: usize,
    /// The growing piece.
    open: Option<StreamPiece>,
    has_ended: bool,
    /// The complete piece in front of the growing one. It is submitted once the first access units of
    /// the growing piece are known, because its worker decodes these as well.
    complete: Option<StreamPiece>,
    submitted: VecDeque<Submitted>,
    cancelled: Arc<AtomicBool>,
    stitcher: Stitcher,
}

impl std::fmt::Debug for Backlog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backlog").field("submitted", &self.submitted.len()).finish_non_exhaustive()
    }
}

impl Backlog {
    /// Begins after `lane`, which may have gone through damage, or at the beginning of a stream.
    /// `backlog` is the number of bytes known to be available, `length` the length of pieces.
    pub fn begin(
        workers: Arc<Workers>,
        rule: Rule,
        codec: VideoCodec,
        lane: Option<Lane>,
        has_seen_damage: bool,
        (backlog, length): (u64, PieceLength),
    ) -> Self {
        let pieces = PIECES_PER_JOB * workers.jobs.get() as u64;
        Backlog {
            workers,
            rule,
            codec,
            length,
            good_bytes: usize::try_from(backlog / pieces).unwrap_or(MAX_BYTES).min(MAX_BYTES / 4),
            open: None,
            has_ended: false,
            complete: None,
            submitted: VecDeque::new(),
            cancelled: Arc::default(),
            stitcher: Stitcher::new(lane, has_seen_damage),
        }
    }

    /// Takes the next access unit. If the stream may be cut in front of it, `settings` returns the
    /// settings of a decoder that begins there. `kept` is the time of the last kept picture.
    pub fn push(
        &mut self,
        unit: AccessUnit,
        passed: Option<PassedUnit>,
        settings: Option<impl FnOnce() -> Settings>,
        kept: Option<Ticks>,
    ) {
        let is_long = self.open.as_ref().is_some_and(|open| {
            open.units.len() >= self.length.good_units
                || (open.units.len() >= self.length.min_units && open.bytes >= self.good_bytes)
        });
        let may_cut = self.open.is_none() || (is_long && self.complete.is_none());
        if let Some(settings) = settings.filter(|_| may_cut) {
            let is_first = self.stitcher.is_new() && self.open.is_none();
            let mut settings = settings();
            if !is_first {
                // Only the sets in this access unit: a missing set is then an error, and no old set
                // is used.
                settings.parameter_sets = parameter_sets(self.codec, &unit.data);
            }
            self.complete = self.open.replace(StreamPiece {
                codec: self.codec,
                settings,
                is_first,
                is_damaged: false,
                intervals: 0,
                units: Vec::new(),
                bytes: 0,
                times: Vec::new(),
                passed: Vec::new(),
            });
        }
        let Some(open) = &mut self.open else { return };
        open.bytes += unit.data.len();
        open.intervals += usize::from(unit.random_access != RandomAccess::None);
        open.times.extend(unit.pts.or(unit.dts));
        open.units.push(Arc::new(unit));
        open.passed.extend(passed);
        if open.units.len() >= open.overlap() {
            self.submit_complete(kept);
        }
    }

    /// Returns whether the input has ended. No more access units can be pushed.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Returns whether the growing piece has reached the maximum length.
    pub fn is_too_long(&self) -> bool {
        self.open
            .as_ref()
            .is_some_and(|open| open.units.len() >= MAX_UNITS || open.bytes >= MAX_BYTES)
    }

    /// Marks the growing piece as damaged.
    pub fn damaged(&mut self) {
        if let Some(open) = &mut self.open {
            open.is_damaged = true;
        }
    }

    /// Ends the input: all access units so far are decoded, although the stream continues.
    pub fn end(&mut self, kept: Option<Ticks>) {
        self.has_ended = true;
        self.submit_complete(kept);
        if let Some(open) = self.open.take() {
            self.submit(open, Vec::new(), None, kept);
        }
    }

    /// Returns whether the workers have enough work.
    pub fn is_full(&self) -> bool {
        self.submitted.len() >= 2 * self.workers.jobs.get()
    }

    /// Returns whether there are pictures that are not decided.
    pub fn is_busy(&self) -> bool {
        !self.submitted.is_empty() || self.has_stitched()
    }

    /// Returns whether there are stitched pictures to pull.
    pub fn has_stitched(&self) -> bool {
        self.stitcher.has_pictures()
    }

    /// Returns the offset of the first access unit that is not decided.
    pub fn undecided(&self) -> Option<ByteOffset> {
        let pieces = self.submitted.iter().map(|submitted| submitted.piece.start());
        let stitched = self.stitcher.undecided().into_iter();
        stitched
            .chain(pieces)
            .chain(self.complete.iter().chain(&self.open).map(StreamPiece::start))
            .min()
    }

    /// Returns the number of access units and pictures that failed to decode.
    pub fn undecodable(&self) -> u64 {
        self.stitcher.undecodable()
    }

    /// Returns how many pieces were decoded by the decoder of the one before.
    pub fn redone(&self) -> u64 {
        self.stitcher.redone()
    }

    fn submit_complete(&mut self, kept: Option<Ticks>) {
        let Some(piece) = self.complete.take() else { return };
        let (overlap, boundary) = match &self.open {
            None => (Vec::new(), None),
            Some(open) => {
                (open.units.iter().take(open.overlap()).cloned().collect(), Some(open.start()))
            }
        };
        self.submit(piece, overlap, boundary, kept);
    }

    fn submit(
        &mut self,
        mut piece: StreamPiece,
        overlap: Vec<Arc<AccessUnit>>,
        boundary: Option<ByteOffset>,
        kept: Option<Ticks>,
    ) {
        piece.times.sort_unstable();
        let mut forecast = Forecast::new(self.rule, kept);
        self.submitted.iter().for_each(|before| forecast.pass(&before.piece.times));
        let piece = Arc::new(piece);
        let task = PieceTask {
            piece: Arc::clone(&piece),
            overlap,
            boundary,
            forecast,
            cancelled: Arc::clone(&self.cancelled),
        };
        let (sender, outcome) = bounded(1);
        self.workers.pool.spawn(move || {
            if let Some(outcome) = task.run() {
                // Fails if the result is no longer wanted.
                let _ = sender.send(outcome);
            }
        });
        self.submitted.push_back(Submitted { piece, outcome });
    }

    /// Waits for the next piece in order, and stitches it to the pieces before. Returns the data for
    /// a restart within the piece; `None` after `timeout`, or if no piece was submitted. `size` is
    /// the size that a decoder would be given now. All stitched pictures must have been pulled.
    ///
    /// # Errors
    ///
    /// Returns an error if the linked FFmpeg has no decoder for the codec.
    pub fn stitch(
        &mut self,
        size: Option<(u32, u32)>,
        timeout: Duration,
    ) -> Result<Option<Vec<PassedUnit>>> {
        let Some(first) = self.submitted.front() else { return Ok(None) };
        let outcome = match first.outcome.recv_timeout(timeout) {
            Ok(outcome) => outcome?,
            Err(RecvTimeoutError::Timeout) => return Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::new(Stage::Pipeline, "a worker has panicked").of_kind(Kind::Bug));
            }
        };
        let Some(Submitted { piece, .. }) = self.submitted.pop_front() else { return Ok(None) };
        let is_last = self.has_ended && self.submitted.is_empty();
        self.stitcher.stitch(&piece, outcome, size, is_last)?;
        Ok(Some(piece.passed.clone()))
    }

    /// Returns the next stitched picture.
    pub fn pull(&mut self) -> Option<PiecePicture> {
        self.stitcher.pull()
    }

    /// Returns a copy of a picture.
    ///
    /// # Errors
    ///
    /// Returns an error if memory is short.
    pub fn copy(&mut self, picture: &PiecePicture) -> Result<Arc<dyn Picture>> {
        self.stitcher.copy(picture)
    }

    /// Returns the decoder that may continue, and the number of access units and pictures that other
    /// decoders failed to decode. Everything must be decided. If the stream `ends` here, any decoder
    /// will do.
    ///
    /// # Errors
    ///
    /// Returns an error if the linked FFmpeg has no decoder for the codec.
    pub fn into_lane(mut self, ends: bool) -> Result<Option<(Lane, u64)>> {
        self.stitcher.take_lane(ends)
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.cancelled.store(true, Relaxed);
    }
}
