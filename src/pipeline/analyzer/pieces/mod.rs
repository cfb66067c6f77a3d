//! Decodes a backlog on all cores, with the same result as one after the other.
//!
//! The stream is cut in front of random access points at which nothing refers to what is before.
//! Each piece is decoded by a decoder of its own, which goes on into the next piece until it
//! returns the picture of its first access unit. That picture was decoded twice: if both are the
//! same, so are all after it. If they differ, or if anything is wrong with either piece, the
//! decoder of the first goes on through the second, as it would have without the cut.
//!
//! ```text
//! access units ─▶ StreamPiece ─▶ worker: decode, compare ─▶ Outcome ─▶ stitched in order ─▶ PiecePicture
//!                          forecast: which to copy
//! ```

mod forecast;
mod history;
mod piece;
mod worker;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::cut_points::{SOUND_INTERVALS, SOUND_UNITS};
use super::restart::PassedUnit;
use crate::decode::{Origin, RawDecoder, Settings};
use crate::detect::Rule;
use crate::error::{Error, Kind, Result, Stage};
use crate::media::{AccessUnit, ByteOffset, Picture, RandomAccess, Ticks, VideoCodec};
use forecast::Forecast;
use history::History;
use piece::StreamPiece;
pub use piece::{PieceLength, Workers};
use worker::{Again, Outcome, Task};
pub use worker::{Lane, PiecePicture, Source};

/// Maximum number of access units of a piece, and of their bytes. If there is no cut point, the rest
/// is decoded one picture after the other.
const MAX_UNITS: usize = 1_024;
const MAX_BYTES: usize = 32 << 20;

/// Pieces for each worker, of those that are known of.
const PIECES_PER_JOB: u64 = 8;

/// A piece with a worker.
struct Submitted {
    piece: Arc<StreamPiece>,
    outcome: Receiver<Result<Outcome>>,
}

/// The decoder of the last stitched piece.
struct Tail {
    lane: Lane,
    /// The picture of the first access unit of the next piece.
    boundary: Option<PiecePicture>,
    /// Number of access units of the next piece that it has decoded.
    pushed: usize,
    is_sound: bool,
}

/// The pieces of a stream that are not decided yet.
pub struct Backlog {
    workers: Arc<Workers>,
    rule: Rule,
    codec: VideoCodec,
    length: PieceLength,
    /// Number of bytes that are enough for a piece of the minimum length.
    good_bytes: usize,
    /// The piece that grows.
    open: Option<StreamPiece>,
    has_ended: bool,
    /// The piece before it, until its worker can be given what it decodes beyond its end.
    complete: Option<StreamPiece>,
    submitted: VecDeque<Submitted>,
    cancelled: Arc<AtomicBool>,
    tail: Option<Tail>,
    /// Whether the decoder of the tail has gone through damage.
    is_veteran: bool,
    history: History,
    /// Random access intervals and access units in front of the end of the tail that are sound.
    sound: (usize, usize),
    /// Pictures that are stitched.
    stitched: VecDeque<PiecePicture>,
    /// The piece that the decoder of the previous one goes through, and the next access unit.
    redone: Option<(Arc<StreamPiece>, usize)>,
    /// The piece of the stitched pictures, to decode it again.
    stitched_piece: Option<(Arc<StreamPiece>, Option<Again>)>,
    /// Access units and pictures that failed to decode, of decoders that are closed.
    undecodable: u64,
    redone_count: u64,
}

impl std::fmt::Debug for Backlog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backlog").field("submitted", &self.submitted.len()).finish_non_exhaustive()
    }
}

impl Backlog {
    /// Goes on after `lane`, which may have gone through damage, or begins at the beginning of a
    /// stream. `backlog` is the number of
    /// bytes that are known of, `length` that of pieces.
    pub fn begin(
        workers: Arc<Workers>,
        rule: Rule,
        codec: VideoCodec,
        lane: Option<Lane>,
        is_veteran: bool,
        (backlog, length): (u64, PieceLength),
    ) -> Self {
        let pieces = PIECES_PER_JOB * workers.jobs.get() as u64;
        let tail = lane.map(|lane| Tail { lane, boundary: None, pushed: 0, is_sound: true });
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
            tail,
            is_veteran,
            history: History::default(),
            sound: (SOUND_INTERVALS, SOUND_UNITS),
            stitched: VecDeque::new(),
            redone: None,
            stitched_piece: None,
            undecodable: 0,
            redone_count: 0,
        }
    }

    /// Takes the next access unit. `settings` returns those of a decoder that begins here, if the
    /// stream may be cut in front of it. `kept` is the time of the last kept picture.
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
            let is_first = self.tail.is_none() && self.open.is_none();
            self.complete = self.open.replace(StreamPiece {
                codec: self.codec,
                settings: settings(),
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
        // Enough for what a decoder returns before the first picture; two fields may be two units.
        let overlap = 2 * open.settings.reorder as usize + 4;
        if open.units.len() >= overlap {
            self.submit_complete(kept);
        }
    }

    /// Returns whether the input has ended. No more access units can be pushed.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Returns whether the growing piece is as long as a piece may be.
    pub fn is_too_long(&self) -> bool {
        self.open
            .as_ref()
            .is_some_and(|open| open.units.len() >= MAX_UNITS || open.bytes >= MAX_BYTES)
    }

    /// Notes damage in the piece that grows.
    pub fn damaged(&mut self) {
        if let Some(open) = &mut self.open {
            open.is_damaged = true;
        }
    }

    /// Ends the input: what has come is decoded, though the stream goes on.
    pub fn end(&mut self, kept: Option<Ticks>) {
        self.has_ended = true;
        self.submit_complete(kept);
        if let Some(open) = self.open.take() {
            self.submit(open, Vec::new(), None, kept);
        }
    }

    /// Returns whether the workers have enough to do.
    pub fn is_full(&self) -> bool {
        self.submitted.len() >= 2 * self.workers.jobs.get()
    }

    /// Returns whether there are pictures that are not decided.
    pub fn is_busy(&self) -> bool {
        !self.submitted.is_empty() || self.has_stitched()
    }

    /// Returns whether there are stitched pictures to pull.
    pub fn has_stitched(&self) -> bool {
        !self.stitched.is_empty() || self.redone.is_some()
    }

    /// Returns the offset of the first access unit that is not decided.
    pub fn undecided(&self) -> Option<ByteOffset> {
        let stitched = self.stitched.front().map(|picture| picture.origin.at);
        let pieces = self.submitted.iter().map(|submitted| submitted.piece.start());
        let redone = self.redone.iter().map(|(piece, _)| piece.start());
        stitched
            .into_iter()
            .chain(redone)
            .chain(pieces)
            .chain(self.complete.iter().chain(&self.open).map(StreamPiece::start))
            .min()
    }

    /// Returns the number of access units and pictures that failed to decode.
    pub fn undecodable(&self) -> u64 {
        let current = self.tail.as_ref().map_or(0, |tail| tail.lane.decoder.undecodable());
        self.undecodable + current
    }

    /// Returns how many pieces were decoded by the decoder of the one before.
    pub fn redone(&self) -> u64 {
        self.redone_count
    }

    fn submit_complete(&mut self, kept: Option<Ticks>) {
        let Some(piece) = self.complete.take() else { return };
        let (overlap, boundary) = match &self.open {
            None => (Vec::new(), None),
            Some(open) => {
                let overlap = 2 * open.settings.reorder as usize + 4;
                (open.units.iter().take(overlap).cloned().collect(), Some(open.start()))
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
        let task = Task {
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

    /// Waits for the next piece in order, and stitches it to those before. Returns what a restart
    /// in it needs; `None` after `timeout`, or if there is no piece. `size` is the size that a
    /// decoder would be given now. All stitched pictures must have been pulled.
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
        let Some(mut tail) = self.tail.take() else {
            self.accept(&piece, outcome);
            return Ok(Some(piece.passed.clone()));
        };
        self.reach(&mut tail, &piece);
        let (intervals, units) = self.sound;
        let is_same = tail.is_sound
            && intervals >= SOUND_INTERVALS
            && units >= SOUND_UNITS
            && !piece.is_damaged
            && outcome.is_sound
            && piece.settings.size == size
            && tail.boundary.as_ref().is_some_and(|boundary| {
                outcome.pictures.first().is_some_and(|first| {
                    let keyframe = boundary.origin.keyframe;
                    boundary.is_sound()
                        && boundary.origin == Origin { keyframe, ..first.origin }
                        && boundary.checksum() == outcome.first_checksum
                })
            });
        if is_same {
            self.undecodable += tail.lane.decoder.undecodable();
            if std::mem::take(&mut self.is_veteran) {
                self.history.keep(tail.lane.decoder);
            }
            // The picture that both have decoded is compared with the last of the previous piece.
            let mut outcome = outcome;
            if let (Some(boundary), Some(first)) = (tail.boundary, outcome.pictures.first_mut()) {
                *first = boundary;
            }
            self.accept(&piece, outcome);
        } else if tail.boundary.is_none() && self.has_ended && self.submitted.is_empty() {
            // So few access units that a decoder returns none of their pictures yet.
            self.history.add(&piece);
            self.tail = Some(Tail { pushed: 0, ..tail });
        } else {
            self.redone_count += 1;
            if let Some(boundary) = &mut tail.boundary
                && let Some(decoder) = self.replacement(&tail.lane.decoder)?
            {
                tail.lane.decoder = decoder;
                tail.pushed = tail.lane.go_to(boundary, &piece.units)?;
            }
            self.history.clear();
            self.is_veteran = true;
            self.stitched.extend(tail.boundary.take());
            self.stitched_piece = None;
            self.redone = Some((Arc::clone(&piece), tail.pushed));
            tail.is_sound = true;
            self.tail = Some(tail);
        }
        Ok(Some(piece.passed.clone()))
    }

    /// Returns the decoder that goes on in place of `other`, which has decoded the last piece. `None`
    /// if `other` may go on.
    fn replacement(&mut self, other: &RawDecoder) -> Result<Option<RawDecoder>> {
        let Some((decoder, undecodable)) = self.history.replacement()? else { return Ok(None) };
        self.undecodable += other.undecodable();
        self.undecodable -= undecodable;
        Ok(Some(decoder))
    }

    /// Notes that the tail has reached the end of a piece.
    fn reached_end(&mut self, piece: &StreamPiece, is_sound: bool) {
        let (intervals, units) = self.sound;
        self.sound = match is_sound {
            true => (intervals + piece.intervals, units + piece.units.len()),
            false => (0, 0),
        };
    }

    /// Decodes as far as the first picture of `piece`.
    fn reach(&mut self, tail: &mut Tail, piece: &StreamPiece) {
        while tail.boundary.is_none() {
            let Some(unit) = piece.units.get(tail.pushed) else { return };
            tail.lane.decoder.push(unit);
            tail.pushed += 1;
            while let Some(picture) = tail.lane.pull() {
                tail.is_sound &= picture.is_sound();
                if picture.origin.at == piece.start() {
                    tail.boundary = Some(picture);
                    break;
                }
                self.stitched.push_back(picture);
            }
        }
    }

    fn accept(&mut self, piece: &Arc<StreamPiece>, outcome: Outcome) {
        let Outcome { pictures, boundary, lane, overlap_pushed, is_sound, .. } = outcome;
        self.reached_end(piece, is_sound);
        self.history.add(piece);
        self.stitched.extend(pictures);
        self.stitched_piece = Some((Arc::clone(piece), None));
        self.tail = Some(Tail { lane, boundary, pushed: overlap_pushed, is_sound });
    }

    /// Returns the next stitched picture.
    pub fn pull(&mut self) -> Option<PiecePicture> {
        loop {
            if let Some(picture) = self.stitched.pop_front() {
                return Some(picture);
            }
            let (Some((piece, next)), Some(tail)) = (&mut self.redone, &mut self.tail) else {
                return None;
            };
            let errors = tail.lane.decoder.undecodable();
            while let Some(picture) = tail.lane.pull() {
                tail.is_sound &= picture.is_sound();
                self.stitched.push_back(picture);
            }
            if !self.stitched.is_empty() {
                continue;
            }
            match piece.units.get(*next) {
                Some(unit) => {
                    tail.lane.decoder.push(unit);
                    *next += 1;
                    tail.is_sound &= tail.lane.decoder.undecodable() == errors;
                }
                None => {
                    tail.pushed = 0;
                    let (piece, is_sound) = (Arc::clone(piece), tail.is_sound);
                    self.redone = None;
                    self.reached_end(&piece, is_sound);
                }
            }
        }
    }

    /// Returns a copy of a picture.
    ///
    /// # Errors
    ///
    /// Returns an error if memory is short.
    pub fn copy(&mut self, picture: &PiecePicture) -> Result<Arc<dyn Picture>> {
        match &picture.source {
            Source::Copied(samples) => return Ok(Arc::clone(samples)),
            Source::Live(samples) => return samples.copied(),
            Source::Gone => {}
        }
        let Some((piece, again)) = &mut self.stitched_piece else {
            let what = "a picture without a piece";
            return Err(Error::new(Stage::Pipeline, what).of_kind(Kind::Bug));
        };
        if again.is_none() {
            *again = Some(Again::new(piece)?);
        }
        match again {
            Some(again) => again.find(&piece.units, &picture.origin),
            None => Err(Error::new(Stage::Pipeline, "no decoder").of_kind(Kind::Bug)),
        }
    }

    /// Returns the decoder that may go on, and the number of access units and pictures that other
    /// decoders failed to decode. Everything must be decided. If the stream `ends` here, any decoder
    /// will do.
    ///
    /// # Errors
    ///
    /// Returns an error if the linked FFmpeg has no decoder for the codec.
    pub fn into_lane(mut self, ends: bool) -> Result<Option<(Lane, u64)>> {
        let Some(Tail { mut lane, .. }) = self.tail.take() else { return Ok(None) };
        if !ends && let Some(decoder) = self.replacement(&lane.decoder)? {
            lane.decoder = decoder;
        }
        Ok(Some((lane, self.undecodable)))
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.cancelled.store(true, Relaxed);
    }
}
