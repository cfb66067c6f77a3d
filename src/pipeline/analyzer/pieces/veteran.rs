//! The decoder that has gone through the damage of a stream.
//!
//! Where a picture is damaged, decoders show what their buffers held before. After damage, they have
//! buffers that are not used again until the next damage. So what the next damaged picture looks
//! like depends on the previous one, however long ago that was. A new decoder lacks these buffers:
//! the old one is kept while pieces are decoded, and is brought up to date by the last intervals.

use std::collections::VecDeque;
use std::sync::Arc;

use super::piece::StreamPiece;
use crate::decode::RawDecoder;
use crate::media::{AccessUnit, RandomAccess};

/// Random access intervals, and access units, after which the buffers in use are the same as if
/// everything had been decoded.
const MIN_INTERVALS: usize = 2;
const MIN_UNITS: usize = 48;

/// A decoder that is kept, and the last pieces that it has not decoded.
#[derive(Debug)]
pub struct Veteran {
    decoder: RawDecoder,
    missed: VecDeque<Arc<StreamPiece>>,
}

impl Veteran {
    /// Keeps `decoder`.
    pub fn new(decoder: RawDecoder) -> Self {
        Veteran { decoder, missed: VecDeque::new() }
    }

    /// Notes a piece that others have decoded.
    pub fn miss(&mut self, piece: &Arc<StreamPiece>) {
        self.missed.push_back(Arc::clone(piece));
        while self.missed.iter().skip(1).map(|piece| piece.units.len()).sum::<usize>() >= MIN_UNITS
            && self.missed.len() > MIN_INTERVALS
        {
            self.missed.pop_front();
        }
    }

    /// Returns the number of access units and pictures that failed to decode.
    pub fn undecodable(&self) -> u64 {
        self.decoder.undecodable()
    }

    /// Decodes the end of the missed pieces, and returns the decoder. Their pictures are known.
    pub fn catch_up(mut self) -> RawDecoder {
        let units: Vec<&Arc<AccessUnit>> =
            self.missed.iter().flat_map(|piece| &piece.units).collect();
        let closed = units.iter().enumerate().rev();
        let closed = closed.filter(|(_, unit)| unit.random_access == RandomAccess::Closed);
        let is_enough = |(count, at): &(usize, usize)| {
            count + 1 >= MIN_INTERVALS && units.len() - at >= MIN_UNITS
        };
        let from = closed.map(|(at, _)| at).enumerate().find(is_enough).map_or(0, |(_, at)| at);
        for unit in &units[from..] {
            self.decoder.push(unit);
            while self.decoder.pull().is_some() {}
        }
        self.decoder
    }
}
