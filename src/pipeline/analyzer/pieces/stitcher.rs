//! Puts decoded pieces together, in order.

use std::collections::VecDeque;
use std::sync::Arc;

use super::history::History;
use super::lane::{Lane, PiecePicture, Source};
use super::piece::StreamPiece;
use super::redecoder::Redecoder;
use super::worker::Outcome;
use crate::decode::{Origin, RawDecoder};
use crate::error::{Error, Kind, Result, Stage};
use crate::media::{ByteOffset, Picture};
use crate::pipeline::analyzer::cut_points::{SOUND_INTERVALS, SOUND_UNITS};

/// The decoder of the last stitched piece.
struct Tail {
    lane: Lane,
    /// The picture of the first access unit of the next piece.
    boundary: Option<PiecePicture>,
    /// Number of access units of the next piece that it has decoded.
    pushed: usize,
    is_sound: bool,
}

/// Stitches each piece to the one before it.
pub struct Stitcher {
    tail: Option<Tail>,
    /// Whether the decoder of the tail has gone through damage.
    has_seen_damage: bool,
    history: History,
    /// Number of undamaged random access intervals and access units at the end of the tail.
    sound: (usize, usize),
    /// Pictures that are stitched.
    stitched: VecDeque<PiecePicture>,
    /// The piece that the decoder of the previous one continues through, and the index of the next
    /// access unit.
    redone: Option<(Arc<StreamPiece>, usize)>,
    /// The piece to which the stitched pictures belong, to decode it again.
    stitched_piece: Option<(Arc<StreamPiece>, Option<Redecoder>)>,
    /// Number of access units and pictures that closed decoders failed to decode.
    undecodable: u64,
    redone_count: u64,
}

impl Stitcher {
    /// Begins after `lane`, which may have gone through damage, or at the beginning of a stream.
    pub fn new(lane: Option<Lane>, has_seen_damage: bool) -> Self {
        let tail = lane.map(|lane| Tail { lane, boundary: None, pushed: 0, is_sound: true });
        Stitcher {
            tail,
            has_seen_damage,
            history: History::default(),
            sound: (SOUND_INTERVALS, SOUND_UNITS),
            stitched: VecDeque::new(),
            redone: None,
            stitched_piece: None,
            undecodable: 0,
            redone_count: 0,
        }
    }

    /// Returns whether nothing was decoded before.
    pub fn is_new(&self) -> bool {
        self.tail.is_none()
    }

    /// Returns whether there are pictures to pull.
    pub fn has_pictures(&self) -> bool {
        !self.stitched.is_empty() || self.redone.is_some()
    }

    /// Returns the offset of the first picture to pull.
    pub fn undecided(&self) -> Option<ByteOffset> {
        let stitched = self.stitched.front().map(|picture| picture.origin.at);
        stitched.into_iter().chain(self.redone.iter().map(|(piece, _)| piece.start())).min()
    }

    /// Returns the number of access units and pictures that failed to decode.
    pub fn undecodable(&self) -> u64 {
        let current = self.tail.as_ref().map_or(0, |tail| tail.lane.decoder.undecodable());
        self.undecodable + current
    }

    /// Returns how many pieces were decoded by the decoder of the piece before.
    pub fn redone(&self) -> u64 {
        self.redone_count
    }

    /// Stitches `piece` to the pieces before. `size` is the size that a decoder would be given now;
    /// `is_last` is true if no piece follows. All pictures must have been pulled.
    ///
    /// # Errors
    ///
    /// Returns an error if the linked FFmpeg has no decoder for the codec.
    pub fn stitch(
        &mut self,
        piece: &Arc<StreamPiece>,
        mut outcome: Outcome,
        size: Option<(u32, u32)>,
        is_last: bool,
    ) -> Result<()> {
        let Some(mut tail) = self.tail.take() else {
            self.accept(piece, outcome);
            return Ok(());
        };
        self.reach(&mut tail, piece);
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
            if std::mem::take(&mut self.has_seen_damage) {
                self.history.keep(tail.lane.decoder);
            }
            // The boundary picture of the tail is the one compared with the last picture of the
            // previous piece.
            if let (Some(boundary), Some(first)) = (tail.boundary, outcome.pictures.first_mut()) {
                *first = boundary;
            }
            self.accept(piece, outcome);
        } else if tail.boundary.is_none() && is_last {
            // The piece is so short that the decoder has not returned any of its pictures yet.
            self.history.add(piece);
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
            self.has_seen_damage = true;
            self.stitched.extend(tail.boundary.take());
            self.stitched_piece = None;
            self.redone = Some((Arc::clone(piece), tail.pushed));
            tail.is_sound = true;
            self.tail = Some(tail);
        }
        Ok(())
    }

    /// Returns the decoder that continues in place of `other`, which has decoded the last piece.
    /// Returns `None` if `other` may continue.
    fn replacement(&mut self, other: &RawDecoder) -> Result<Option<RawDecoder>> {
        let Some((decoder, undecodable)) = self.history.replacement()? else { return Ok(None) };
        self.undecodable += other.undecodable();
        self.undecodable -= undecodable;
        Ok(Some(decoder))
    }

    /// Records that the tail has reached the end of a piece.
    fn reached_end(&mut self, piece: &StreamPiece, is_sound: bool) {
        let (intervals, units) = self.sound;
        self.sound = match is_sound {
            true => (intervals + piece.intervals, units + piece.units.len()),
            false => (0, 0),
        };
    }

    /// Decodes up to the first picture of `piece`.
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
            *again = Some(Redecoder::new(piece)?);
        }
        match again {
            Some(again) => again.find(&piece.units, &picture.origin),
            None => Err(Error::new(Stage::Pipeline, "no decoder").of_kind(Kind::Bug)),
        }
    }

    /// Returns the decoder that may continue, and the number of access units and pictures that other
    /// decoders failed to decode. Everything must be decided. If the stream `ends` here, any decoder
    /// will do.
    ///
    /// # Errors
    ///
    /// Returns an error if the linked FFmpeg has no decoder for the codec.
    pub fn take_lane(&mut self, ends: bool) -> Result<Option<(Lane, u64)>> {
        let Some(Tail { mut lane, .. }) = self.tail.take() else { return Ok(None) };
        if !ends && let Some(decoder) = self.replacement(&lane.decoder)? {
            lane.decoder = decoder;
        }
        Ok(Some((lane, self.undecodable)))
    }
}
