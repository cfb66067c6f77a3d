//! Chooses the decoder that continues where a stream is damaged.
//!
//! Where a picture is damaged, decoders show what their buffers held before. The decoder of a short
//! piece has too little history for that, so another one decodes the pieces before it as well. Also,
//! after damage, a decoder has buffers that are not used again until the next damage: how the next
//! damaged picture looks depends on the previous one, however long ago. So a decoder that has gone
//! through damage is kept while pieces are decoded, and is brought up to date with the last
//! intervals.

use std::collections::VecDeque;
use std::sync::Arc;

use super::piece::StreamPiece;
use crate::decode::RawDecoder;
use crate::error::Result;
use crate::media::{AccessUnit, RandomAccess};
use crate::pipeline::analyzer::cut_points::{SOUND_INTERVALS, SOUND_UNITS};

/// The last pieces, and a decoder that has gone through damage before.
#[derive(Debug, Default)]
pub struct History {
    damaged_decoder: Option<RawDecoder>,
    pieces: VecDeque<Arc<StreamPiece>>,
}

impl History {
    /// Keeps a decoder that has gone through damage, unless one is kept already.
    pub fn keep(&mut self, decoder: RawDecoder) {
        self.damaged_decoder.get_or_insert(decoder);
    }

    /// Adds the next piece.
    pub fn add(&mut self, piece: &Arc<StreamPiece>) {
        self.pieces.push_back(Arc::clone(piece));
        while self.is_enough(1) {
            self.pieces.pop_front();
        }
    }

    /// Forgets everything: the decoder that continues has enough history.
    pub fn clear(&mut self) {
        *self = History::default();
    }

    /// Returns the decoder that continues after the last piece in place of that piece's own, and the
    /// number of access units and pictures that it had failed to decode. Returns `None` if the
    /// piece's own decoder has enough history.
    ///
    /// # Errors
    ///
    /// Returns an error if the linked FFmpeg has no decoder for the codec.
    pub fn replacement(&mut self) -> Result<Option<(RawDecoder, u64)>> {
        let decoder = match (self.damaged_decoder.take(), self.pieces.front()) {
            (Some(damaged_decoder), _) => damaged_decoder,
            (None, Some(first)) if self.pieces.len() > 1 => first.open_lane()?.decoder,
            _ => return Ok(None),
        };
        let undecodable = decoder.undecodable();
        Ok(Some((self.catch_up(decoder), undecodable)))
    }

    /// Returns whether the pieces from this index on are enough.
    fn is_enough(&self, from: usize) -> bool {
        let pieces = || self.pieces.iter().skip(from);
        pieces().map(|piece| piece.intervals).sum::<usize>() >= SOUND_INTERVALS
            && pieces().map(|piece| piece.units.len()).sum::<usize>() >= SOUND_UNITS
    }

    /// Decodes as many of the pieces as necessary. The decoded pictures are discarded: they are
    /// known.
    fn catch_up(&self, mut decoder: RawDecoder) -> RawDecoder {
        let units: Vec<&Arc<AccessUnit>> =
            self.pieces.iter().flat_map(|piece| &piece.units).collect();
        let closed = units.iter().enumerate().rev();
        let closed = closed.filter(|(_, unit)| unit.random_access == RandomAccess::Closed);
        let is_enough = |(count, at): &(usize, usize)| {
            count + 1 >= SOUND_INTERVALS && units.len() - at >= SOUND_UNITS
        };
        let from = closed.map(|(at, _)| at).enumerate().find(is_enough).map_or(0, |(_, at)| at);
        for unit in &units[from..] {
            decoder.push(unit);
            while decoder.pull().is_some() {}
        }
        decoder
    }
}
