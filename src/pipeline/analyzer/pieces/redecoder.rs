//! Decodes a piece once more, for kept pictures that were not copied.

use std::sync::Arc;

use super::lane::not_decoded_again;
use super::piece::StreamPiece;
use crate::decode::{Origin, RawDecoder, RawPicture};
use crate::error::Result;
use crate::media::{AccessUnit, Picture};

/// Decodes a piece once more, for kept pictures that were not copied.
#[derive(Debug)]
pub struct Redecoder {
    decoder: RawDecoder,
    next: usize,
    has_ended: bool,
}

impl Redecoder {
    /// Starts at the beginning of `piece`.
    ///
    /// # Errors
    ///
    /// Returns an error if the linked FFmpeg has no decoder for the codec.
    pub fn new(piece: &StreamPiece) -> Result<Self> {
        Ok(Redecoder { decoder: piece.open_lane()?.decoder, next: 0, has_ended: false })
    }

    /// Decodes up to the picture with this origin, and returns a copy of it. Pictures must be
    /// requested in decoding order.
    ///
    /// # Errors
    ///
    /// Returns an error if that picture is not decoded again, or memory is short.
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
                None => return Err(not_decoded_again(origin.at)),
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
