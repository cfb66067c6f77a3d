//! By how many pictures an H.264 decoder must delay its output.
//!
//! Where the stream does not say (`max_num_reorder_frames`), libavcodec finds out
//! as it goes, and drops pictures that turn out to be late. ffmpeg starts with
//! what libavformat's probing found (`has_decode_delay_been_guessed` and
//! `try_decode_frame` in `libavformat/demux.c`), so we look as far ahead.

use super::{BestEffort, Decoder};
use crate::error::Result;
use crate::media::{AccessUnit, VideoCodec};

/// Decodes ahead until the delay is known.
#[derive(Debug)]
pub struct ReorderProbe {
    decoder: Decoder,
    held: Vec<AccessUnit>,
    decoded: usize,
}

impl ReorderProbe {
    /// A probe, if the codec needs one.
    ///
    /// # Errors
    ///
    /// If there is no decoder for it.
    pub fn new(codec: VideoCodec) -> Result<Option<Self>> {
        if codec != VideoCodec::H264 {
            return Ok(None);
        }
        let decoder = Decoder::open(codec, 0, BestEffort::default())?;
        Ok(Some(ReorderProbe { decoder, held: Vec::new(), decoded: 0 }))
    }

    /// Takes the next access unit; true once the delay is known.
    pub fn push(&mut self, unit: AccessUnit) -> bool {
        // libavformat's parser shares the context with this decoder, and raises
        // the delay when it meets a B slice.
        if has_b_slice(&unit.data) && self.decoder.reorder() == 0 {
            self.decoder.set_reorder(1);
        }
        self.decoder.push(&unit);
        self.held.push(unit);
        while self.decoder.pull().is_some() {
            self.decoded += 1;
        }
        let enough = match self.decoder.reorder() {
            0..=2 => 7,
            3 => 18,
            _ => 20,
        };
        self.decoded >= enough || self.held.len() >= MAX_HELD
    }

    /// The delay in pictures, and the access units that were looked at.
    pub fn finish(self) -> (u32, Vec<AccessUnit>) {
        (self.decoder.reorder(), self.held)
    }
}

/// A stream of which nothing decodes is not held back for ever.
const MAX_HELD: usize = 100;

/// Whether the first slice of an access unit is a B slice (ISO/IEC 14496-10, 7.4.3).
fn has_b_slice(unit: &[u8]) -> bool {
    let slice = memchr::memmem::find_iter(unit, &[0, 0, 1])
        .filter_map(|at| unit.get(at + 3..))
        .find(|nal| matches!(nal.first().map(|byte| byte & 0x1f), Some(1 | 5)));
    let Some([_, header @ ..]) = slice else { return false };
    let mut head = [0; 8];
    head.iter_mut().zip(header).for_each(|(to, from)| *to = *from);
    let mut bits = u64::from_be_bytes(head);
    let mut exp_golomb = || {
        let zeros = bits.leading_zeros();
        if zeros > 15 {
            return None;
        }
        let value = (bits >> (63 - 2 * zeros)) - 1;
        bits <<= 2 * zeros + 1;
        Some(value)
    };
    let _first_macroblock = exp_golomb();
    exp_golomb().is_some_and(|slice_type| slice_type % 5 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b_slices_are_told_by_their_header() {
        // first_mb_in_slice 0, then slice_type 6 (B) and 5 (P).
        assert!(has_b_slice(&[0, 0, 1, 0x01, 0b1001_1100, 0, 0]));
        assert!(!has_b_slice(&[0, 0, 1, 0x41, 0b1001_1000, 0, 0]));
    }
}
