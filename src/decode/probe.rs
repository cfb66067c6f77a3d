//! What ffmpeg knows of a stream before it decodes the first picture.
//!
//! libavformat looks ahead (`avformat_find_stream_info`), and its decoder starts
//! with what was found there. Two things of it show in the pictures, so we look as
//! far ahead:
//!
//! - **Parameter sets** (`extract_extradata`): a stream that begins in the middle of
//!   a GOP has its first ones later. HEVC decodes what stands before them, too.
//! - **The output delay** of H.264 streams that do not say it
//!   (`has_decode_delay_been_guessed`): libavcodec finds out as it goes, and drops
//!   pictures that turn out to be late.

use memchr::memmem;

use super::{BestEffort, Decoder, Settings};
use crate::error::Result;
use crate::media::{AccessUnit, VideoCodec};

/// A stream of which nothing decodes is not held back for ever: so many access
/// units, or so many bytes of them.
const MAX_HELD: usize = 300;
const MAX_HELD_BYTES: usize = 16 << 20;

/// Looks ahead until everything is known.
#[derive(Debug)]
pub struct Probe {
    codec: VideoCodec,
    /// Decodes ahead, for the output delay.
    decoder: Option<Decoder>,
    decoded: usize,
    parameter_sets: Vec<u8>,
    held: Vec<AccessUnit>,
    held_bytes: usize,
}

impl Probe {
    /// A probe, if the codec needs one.
    ///
    /// # Errors
    ///
    /// If there is no decoder for it.
    pub fn new(codec: VideoCodec) -> Result<Option<Self>> {
        let decoder = match codec {
            VideoCodec::H264 => {
                Some(Decoder::open(codec, &Settings::default(), BestEffort::default())?)
            }
            VideoCodec::Hevc => None,
            VideoCodec::Mpeg2 | VideoCodec::Mpeg4 => return Ok(None),
        };
        Ok(Some(Probe {
            codec,
            decoder,
            decoded: 0,
            parameter_sets: Vec::new(),
            held: Vec::new(),
            held_bytes: 0,
        }))
    }

    /// Takes the next access unit; true once everything is known.
    pub fn push(&mut self, unit: AccessUnit) -> bool {
        if self.parameter_sets.is_empty() {
            self.parameter_sets = parameter_sets(self.codec, &unit.data);
        }
        let delay_known = self.look_for_delay(&unit);
        self.held_bytes += unit.data.len();
        self.held.push(unit);
        (delay_known && !self.parameter_sets.is_empty())
            || self.held.len() >= MAX_HELD
            || self.held_bytes >= MAX_HELD_BYTES
    }

    /// What is known, and the access units that were looked at.
    pub fn finish(self) -> (Settings, Vec<AccessUnit>) {
        let reorder = self.decoder.as_ref().map_or(0, Decoder::reorder);
        (Settings { reorder, parameter_sets: self.parameter_sets }, self.held)
    }

    fn look_for_delay(&mut self, unit: &AccessUnit) -> bool {
        let Some(decoder) = &mut self.decoder else { return true };
        // libavformat's parser shares the context with this decoder, and raises
        // the delay when it meets a B slice.
        if has_b_slice(&unit.data) && decoder.reorder() == 0 {
            decoder.set_reorder(1);
        }
        decoder.push(unit);
        while decoder.pull().is_some() {
            self.decoded += 1;
        }
        let enough = match decoder.reorder() {
            0..=2 => 7,
            3 => 18,
            _ => 20,
        };
        self.decoded >= enough
    }
}

/// The parameter sets in an access unit, with their start codes; none unless it has
/// those without which no picture can be decoded (`extract_extradata_bsf.c`).
fn parameter_sets(codec: VideoCodec, unit: &[u8]) -> Vec<u8> {
    const HEVC_VPS: u8 = 32;
    const HEVC_SPS: u8 = 33;
    const HEVC_PPS: u8 = 34;
    const H264_SPS: u8 = 7;
    const H264_PPS: u8 = 8;
    let starts: Vec<_> = memmem::find_iter(unit, &[0, 0, 1]).collect();
    let mut sets = Vec::new();
    let mut kinds = Vec::new();
    for (index, start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(unit.len());
        let nal = &unit[*start..end];
        let Some(&header) = nal.get(3) else { continue };
        let kind = if codec == VideoCodec::Hevc { (header >> 1) & 0x3f } else { header & 0x1f };
        let is_set = match codec {
            VideoCodec::Hevc => matches!(kind, HEVC_VPS | HEVC_SPS | HEVC_PPS),
            _ => matches!(kind, H264_SPS | H264_PPS),
        };
        if is_set {
            sets.extend_from_slice(nal);
            kinds.push(kind);
        }
    }
    let whole = match codec {
        VideoCodec::Hevc => kinds.contains(&HEVC_VPS) && kinds.contains(&HEVC_SPS),
        _ => kinds.contains(&H264_SPS),
    };
    if whole { sets } else { Vec::new() }
}

/// Whether the first slice of an access unit is a B slice (ISO/IEC 14496-10, 7.4.3).
fn has_b_slice(unit: &[u8]) -> bool {
    let slice = memmem::find_iter(unit, &[0, 0, 1])
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
    fn parameter_sets_are_taken_whole_or_not_at_all() {
        let sps_and_pps = [0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x68, 3];
        let idr = [0, 0, 1, 0x65, 9];
        let unit = [&[0, 0, 1, 9, 0xf0][..], &sps_and_pps, &idr].concat();
        assert_eq!(parameter_sets(VideoCodec::H264, &unit), sps_and_pps);
        assert!(
            parameter_sets(VideoCodec::H264, &[&sps_and_pps[6..], &idr[..]].concat()).is_empty()
        );
        assert!(parameter_sets(VideoCodec::Hevc, &[0, 0, 1, 33 << 1, 1, 7]).is_empty(), "no VPS");
    }

    #[test]
    fn b_slices_are_told_by_their_header() {
        // first_mb_in_slice 0, then slice_type 6 (B) and 5 (P).
        assert!(has_b_slice(&[0, 0, 1, 0x01, 0b1001_1100, 0, 0]));
        assert!(!has_b_slice(&[0, 0, 1, 0x41, 0b1001_1000, 0, 0]));
    }
}
