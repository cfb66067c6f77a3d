//! Decodes one piece of a stream, and compares its pictures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::forecast::Forecast;
use super::piece::StreamPiece;
use crate::decode::{Origin, RawDecoder, RawPicture};
use crate::detect::{Comparer, Difference};
use crate::error::{Error, Result, Stage};
use crate::media::{AccessUnit, ByteOffset, Picture};

/// Maximum number of bytes of the pictures that are copied in one piece, because they are probably
/// kept. Any others that are kept are decoded again.
const MAX_COPIED_BYTES: usize = 64 << 20;

/// A decoder, and the comparison of its pictures.
#[derive(Debug)]
pub struct Lane {
    /// The decoder.
    pub decoder: RawDecoder,
    /// Holds the last picture.
    pub comparer: Comparer,
}

/// A picture of a piece.
pub struct PiecePicture {
    /// Where it comes from.
    pub origin: Origin,
    /// Difference from the previous picture; or why this one cannot be used.
    pub compared: Result<Difference>,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// The picture, if it is there.
    pub source: Source,
}

/// Where the samples of a picture are.
pub enum Source {
    /// In a decoder's buffers.
    Live(Arc<dyn Picture>),
    /// In memory of their own.
    Copied(Arc<dyn Picture>),
    /// Nowhere: the picture has to be decoded again.
    Gone,
}

impl Lane {
    /// Returns the next picture, compared with the one before it.
    pub fn pull(&mut self) -> Option<PiecePicture> {
        let RawPicture { origin, picture } = self.decoder.pull()?;
        Some(match picture {
            // It is not shown, and the next one is compared with the one before.
            _ if origin.pts.is_none() && origin.trigger_dts.is_none() => PiecePicture {
                origin,
                compared: Ok(Difference::First),
                size: (0, 0),
                source: Source::Gone,
            },
            Ok(picture) => {
                let format = picture.format();
                PiecePicture {
                    origin,
                    compared: Ok(self.comparer.push(&picture)),
                    size: (format.width, format.height),
                    source: Source::Live(picture),
                }
            }
            Err(error) => {
                PiecePicture { origin, compared: Err(error), size: (0, 0), source: Source::Gone }
            }
        })
    }
}

impl Lane {
    /// Decodes `units` as far as the picture `known`, and takes it in place of that one. All before
    /// it are known. Returns the number of access units decoded.
    ///
    /// # Errors
    ///
    /// Returns an error if the picture does not come again.
    pub fn go_to(&mut self, known: &mut PiecePicture, units: &[Arc<AccessUnit>]) -> Result<usize> {
        for (index, unit) in units.iter().enumerate() {
            self.decoder.push(unit);
            while let Some(RawPicture { origin, picture }) = self.decoder.pull() {
                if !origin.is_of(&known.origin) {
                    continue;
                }
                known.origin = origin;
                match picture {
                    Ok(picture) => {
                        self.comparer = Comparer::after(Arc::clone(&picture));
                        known.source = Source::Live(picture);
                    }
                    Err(error) => known.compared = Err(error),
                }
                return Ok(index + 1);
            }
        }
        Err(never_again(known.origin.at))
    }
}

/// Returns the error for a picture that does not come again.
fn never_again(at: ByteOffset) -> Error {
    Error::new(Stage::Decode, "a picture that was decoded is not decoded again").at(at)
}

impl PiecePicture {
    /// Returns whether nothing is wrong with it.
    pub fn is_sound(&self) -> bool {
        let is_timed = self.origin.pts.is_some() || self.origin.trigger_dts.is_some();
        is_timed && !self.origin.damaged && self.compared.is_ok()
    }

    /// Returns the difference, and leaves another in its place.
    pub fn take_compared(&mut self) -> Result<Difference> {
        std::mem::replace(&mut self.compared, Ok(Difference::First))
    }

    /// Returns a checksum of its samples. `None` if they are gone.
    pub fn checksum(&self) -> Option<u32> {
        match &self.source {
            Source::Live(picture) | Source::Copied(picture) => Some(picture.checksum()),
            Source::Gone => None,
        }
    }
}

/// The result for a piece.
pub struct Outcome {
    /// Pictures, from that of the piece's first access unit on.
    pub pictures: Vec<PiecePicture>,
    /// Checksum of the first of them.
    pub first_checksum: Option<u32>,
    /// The picture of the first access unit of the next piece.
    pub boundary: Option<PiecePicture>,
    /// The decoder, after the access units of this piece, and then `overlap_pushed` of the next.
    pub lane: Lane,
    /// Number of access units of the next piece that were decoded.
    pub overlap_pushed: usize,
    /// Bytes of the pictures that were copied.
    copied_bytes: usize,
    /// Whether nothing is wrong with any picture of the piece.
    pub is_sound: bool,
}

/// What a worker decodes.
pub struct Task {
    /// The piece.
    pub piece: Arc<StreamPiece>,
    /// The first access units of the next piece, and the offset of the first.
    pub overlap: Vec<Arc<AccessUnit>>,
    /// Offset of the first access unit of the next piece, if there is one.
    pub boundary: Option<ByteOffset>,
    /// Which pictures will be kept.
    pub forecast: Forecast,
    /// Set if the result is no longer wanted.
    pub cancelled: Arc<AtomicBool>,
}

impl Task {
    /// Decodes the piece. `None` if it was cancelled.
    pub fn run(mut self) -> Option<Result<Outcome>> {
        let piece = Arc::clone(&self.piece);
        let overlap = std::mem::take(&mut self.overlap);
        let lane = match self.piece.open_lane() {
            Ok(lane) => lane,
            Err(error) => return Some(Err(error)),
        };
        let mut outcome = Outcome {
            pictures: Vec::with_capacity(self.piece.units.len()),
            first_checksum: None,
            boundary: None,
            lane,
            overlap_pushed: 0,
            copied_bytes: 0,
            is_sound: true,
        };
        let mut begun = self.piece.is_first;
        for unit in &piece.units {
            if self.cancelled.load(Relaxed) {
                return None;
            }
            outcome.lane.decoder.push(unit);
            while let Some(picture) = outcome.lane.pull() {
                self.take(picture, &mut begun, &mut outcome);
            }
        }
        for unit in &overlap {
            outcome.lane.decoder.push(unit);
            outcome.overlap_pushed += 1;
            while let Some(picture) = outcome.lane.pull() {
                if Some(picture.origin.at) == self.boundary {
                    outcome.boundary = Some(picture);
                    break;
                }
                self.take(picture, &mut begun, &mut outcome);
            }
            if outcome.boundary.is_some() {
                break;
            }
        }
        outcome.is_sound &= outcome.lane.decoder.undecodable() == 0;
        Some(Ok(outcome))
    }

    /// Pictures in front of that of the first access unit belong to the previous piece.
    fn take(&mut self, picture: PiecePicture, begun: &mut bool, outcome: &mut Outcome) {
        *begun |= picture.origin.at == self.piece.start();
        if *begun {
            outcome.add(picture, &mut self.forecast);
        }
    }
}

impl Outcome {
    fn add(&mut self, mut picture: PiecePicture, forecast: &mut Forecast) {
        self.is_sound &= picture.is_sound();
        if self.pictures.is_empty() {
            self.first_checksum = picture.checksum();
        }
        let is_wanted = forecast.keeps(&picture);
        picture.source = match picture.source {
            Source::Live(samples) if is_wanted && self.copied_bytes < MAX_COPIED_BYTES => {
                let luma = samples.luma();
                self.copied_bytes += 3 * luma.row_bytes() * luma.height;
                samples.copied().map_or(Source::Gone, Source::Copied)
            }
            _ => Source::Gone,
        };
        self.pictures.push(picture);
    }
}

/// Decodes a piece once more, for the pictures that turn out to be kept and were not copied.
#[derive(Debug)]
pub struct Again {
    decoder: RawDecoder,
    next: usize,
    has_ended: bool,
}

impl Again {
    /// Starts at the beginning of `piece`.
    ///
    /// # Errors
    ///
    /// Returns an error if the linked FFmpeg has no decoder for the codec.
    pub fn new(piece: &StreamPiece) -> Result<Self> {
        Ok(Again { decoder: piece.open_lane()?.decoder, next: 0, has_ended: false })
    }

    /// Decodes as far as the picture with this origin, and returns a copy of it. Pictures
    /// have to be asked for in their order.
    ///
    /// # Errors
    ///
    /// Returns an error if the picture does not come again, or memory is short.
    pub fn find(&mut self, units: &[Arc<AccessUnit>], origin: &Origin) -> Result<Arc<dyn Picture>> {
        loop {
            while let Some(found) = self.next_decoded() {
                if found.origin.is_of(origin) {
                    return found.picture?.copied();
                }
            }
            match units.get(self.next) {
                Some(unit) => {
                    self.decoder.push(unit);
                    self.next += 1;
                }
                None if !self.has_ended => {
                    self.decoder.end();
                    self.has_ended = true;
                }
                None => return Err(never_again(origin.at)),
            }
        }
    }

    fn next_decoded(&mut self) -> Option<RawPicture> {
        if !self.has_ended {
            return self.decoder.pull();
        }
        loop {
            if let Some(found) = self.decoder.flush()? {
                return Some(found);
            }
        }
    }
}
