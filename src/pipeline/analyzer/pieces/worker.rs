//! Decodes one piece of a stream, and compares its pictures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::forecast::Forecast;
use super::lane::{Lane, PiecePicture, Source};
use super::piece::StreamPiece;
use crate::error::Result;
use crate::media::{AccessUnit, ByteOffset};

/// Maximum number of bytes of pictures copied in one piece because they will probably be kept.
/// Further kept pictures are decoded again.
const MAX_COPIED_BYTES: usize = 64 << 20;

/// The result for a piece.
pub struct Outcome {
    /// Pictures, from that of the piece's first access unit on.
    pub pictures: Vec<PiecePicture>,
    /// Checksum of the first picture.
    pub first_checksum: Option<u32>,
    /// The picture of the first access unit of the next piece.
    pub boundary: Option<PiecePicture>,
    /// The decoder, after the access units of this piece and `overlap_pushed` of the next.
    pub lane: Lane,
    /// Number of access units of the next piece that were decoded.
    pub overlap_pushed: usize,
    /// Bytes of the pictures that were copied.
    copied_bytes: usize,
    /// Whether all pictures of the piece are sound and no access unit failed to decode.
    pub is_sound: bool,
}

/// Work for one worker.
pub struct PieceTask {
    /// The piece.
    pub piece: Arc<StreamPiece>,
    /// The first access units of the next piece.
    pub overlap: Vec<Arc<AccessUnit>>,
    /// Offset of the first access unit of the next piece, if there is one.
    pub boundary: Option<ByteOffset>,
    /// Forecast of the pictures that will be kept.
    pub forecast: Forecast,
    /// Set if the result is no longer wanted.
    pub cancelled: Arc<AtomicBool>,
}

impl PieceTask {
    /// Decodes the piece. Returns `None` if it was cancelled.
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

    /// Adds a picture to the outcome, unless it belongs to the previous piece: such pictures come
    /// out before that of the first access unit.
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
