//! A decoder, and the comparison of its pictures.

use std::sync::Arc;

use crate::decode::{Origin, RawDecoder, RawPicture};
use crate::detect::{Comparer, Difference};
use crate::error::{Error, Result, Stage};
use crate::media::{AccessUnit, ByteOffset, Picture};

/// A decoder, and the comparison of its pictures.
#[derive(Debug)]
pub struct Lane {
    /// The decoder.
    pub decoder: RawDecoder,
    /// Holds the last picture.
    pub comparer: Comparer,
}

impl Lane {
    /// Returns the next picture, compared with the one before it.
    pub fn pull(&mut self) -> Option<PiecePicture> {
        let RawPicture { origin, picture } = self.decoder.pull()?;
        Some(match picture {
            // The picture is not shown, so the next one is compared with the one before it.
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

    /// Decodes `units` up to the picture `known`, and replaces the samples of `known` by the
    /// result. Discards all pictures before it. Returns the number of access units decoded.
    ///
    /// # Errors
    ///
    /// Returns an error if that picture is not decoded again.
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
        Err(not_decoded_again(known.origin.at))
    }
}

/// Returns the error for a picture that is not decoded again.
pub fn not_decoded_again(at: ByteOffset) -> Error {
    Error::new(Stage::Decode, "a picture that was decoded is not decoded again").at(at)
}

/// A picture of a piece.
pub struct PiecePicture {
    /// Position and timestamps of the picture.
    pub origin: Origin,
    /// Difference from the previous picture, or the reason why this one cannot be used.
    pub compared: Result<Difference>,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// The samples, if they are available.
    pub source: Source,
}

/// Where the samples of a picture are.
pub enum Source {
    /// In a decoder's buffers.
    Live(Arc<dyn Picture>),
    /// In memory of their own.
    Copied(Arc<dyn Picture>),
    /// Not available: the picture has to be decoded again.
    Gone,
}

impl PiecePicture {
    /// Returns whether the picture has a time, is undamaged, and could be compared.
    pub fn is_sound(&self) -> bool {
        let is_timed = self.origin.pts.is_some() || self.origin.trigger_dts.is_some();
        is_timed && !self.origin.damaged && self.compared.is_ok()
    }

    /// Returns the difference, and leaves a placeholder.
    pub fn take_compared(&mut self) -> Result<Difference> {
        std::mem::replace(&mut self.compared, Ok(Difference::First))
    }

    /// Returns a checksum of the samples; `None` if they are not available.
    pub fn checksum(&self) -> Option<u32> {
        match &self.source {
            Source::Live(picture) | Source::Copied(picture) => Some(picture.checksum()),
            Source::Gone => None,
        }
    }
}
