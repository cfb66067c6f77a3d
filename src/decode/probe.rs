//! Look-ahead: the data that ffmpeg has about a stream before it decodes the first picture.
//!
//! libavformat looks ahead (`avformat_find_stream_info`), and its decoder starts with the
//! results. Three of them affect the pictures, so this module looks equally far ahead:
//!
//! - **Parameter sets** (`extract_extradata`): a stream that begins in the middle of a GOP contains
//!   its first ones later. HEVC also decodes the pictures before them, and so does a decoder that
//!   resumes at a GOP without a sequence header.
//! - **The output delay** of H.264 streams that do not state it
//!   (`has_decode_delay_been_guessed`): libavcodec determines it while decoding, and
//!   drops pictures that turn out to be late.
//! - **Times**, if some pictures have none, or a PTS without a DTS: libavformat starts over
//!   (`estimate_timings_from_pts`) with the order that it has learned.

use memchr::memmem;

use super::{BestEffort, Decoder, Settings};
use crate::error::Result;
use crate::media::{AccessUnit, PictureTiming, VideoCodec};

/// Limits of the look-ahead for a stream that does not decode: number of access units and, below,
/// of bytes.
const MAX_UNITS: usize = 300;
const MAX_BYTES: usize = 16 << 20;

/// Minimum number of access units to examine. The first pictures alone do not reveal the B pictures
/// that are shown before them, and if several pictures share a PES packet, only the first one has
/// times.
const UNITS: usize = 8;

/// Number of access units to examine if times are missing or ambiguous: libavformat guesses from
/// about this many pictures (`fps_probe_size`, `max_ts_probe`).
const GUESSED_UNITS: usize = 40;

/// Examines the first access units until the settings and times are known.
#[derive(Debug)]
pub struct StreamProbe {
    codec: VideoCodec,
    /// Decodes ahead to determine the output delay.
    decoder: Option<Decoder>,
    decoded: usize,
    delay_known: bool,
    parameter_sets: Vec<u8>,
    /// Whether some picture has missing or ambiguous times.
    guesses: bool,
    units: usize,
    bytes: usize,
}

impl StreamProbe {
    /// Returns a probe for the beginning of a stream.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no decoder for the codec.
    pub fn new(codec: VideoCodec) -> Result<Self> {
        let decoder = match codec {
            VideoCodec::H264 | VideoCodec::Hevc => {
                Some(Decoder::open(codec, &Settings::default(), BestEffort::default())?)
            }
            _ => None,
        };
        Ok(StreamProbe {
            codec,
            delay_known: codec != VideoCodec::H264,
            decoder,
            decoded: 0,
            parameter_sets: Vec::new(),
            guesses: false,
            units: 0,
            bytes: 0,
        })
    }

    /// Examines the next access unit, and sets the delay in `timing` as known before that unit is
    /// decoded.
    pub fn look(&mut self, unit: &AccessUnit, timing: &mut PictureTiming) {
        if self.parameter_sets.is_empty() {
            self.parameter_sets = parameter_sets(self.codec, &unit.data);
        }
        self.determine_delay(unit, timing);
        let alone = unit.pts == unit.dts;
        self.guesses |= unit.pts.is_none() || (alone && timing.delay > 0 && !timing.bidirectional);
        self.units += 1;
        self.bytes += unit.data.len();
    }

    /// Returns whether the settings and times are known, or a limit is reached.
    pub fn is_done(&self) -> bool {
        let guessed = !self.guesses || self.units >= GUESSED_UNITS;
        (self.delay_known && !self.parameter_sets.is_empty() && self.units >= UNITS && guessed)
            || self.units >= MAX_UNITS
            || self.bytes >= MAX_BYTES
    }

    /// Returns whether some times are missing or ambiguous, so that later pictures matter.
    pub fn guesses(&self) -> bool {
        self.guesses
    }

    /// Returns the codec of the stream.
    pub fn codec(&self) -> VideoCodec {
        self.codec
    }

    /// Returns the settings for the decoder.
    pub fn settings(self) -> Settings {
        let reorder = self.decoder.as_ref().map_or(0, Decoder::reorder);
        let size = self.decoder.as_ref().and_then(Decoder::size);
        Settings { reorder, parameter_sets: self.parameter_sets, size }
    }

    fn determine_delay(&mut self, unit: &AccessUnit, timing: &mut PictureTiming) {
        let Some(decoder) = &mut self.decoder else { return };
        // libavformat's parser shares the context with this decoder, and raises the delay
        // at a B slice.
        if timing.bidirectional && decoder.reorder() == 0 {
            decoder.set_reorder(1);
        }
        (timing.delay, timing.delay_known) = (decoder.reorder(), self.delay_known);
        decoder.push(unit);
        while decoder.pull().is_some() {
            self.decoded += 1;
        }
        let enough = match decoder.reorder() {
            0..=2 => 7,
            3 => 18,
            _ => 20,
        };
        self.delay_known |= self.decoded >= enough;
    }
}

/// Returns the parameter sets in an access unit, with their start codes. Empty if a set required
/// for decoding is missing (`extract_extradata_bsf.c`).
pub fn parameter_sets(codec: VideoCodec, unit: &[u8]) -> Vec<u8> {
    match codec {
        VideoCodec::H264 | VideoCodec::Hevc => nal_units(codec, unit),
        VideoCodec::Mpeg2 => headers(unit, &[0xb3], &[0xb5]),
        VideoCodec::Mpeg4 => headers(unit, &[0xb0, 0x20], &[0xb5, 0x00, 0x20, 0xb2]),
    }
}

/// Returns the bytes from the first start code in `begin` to the next one that is neither
/// in `begin` nor in `inside`.
fn headers(unit: &[u8], begin: &[u8], inside: &[u8]) -> Vec<u8> {
    let mut codes = memmem::find_iter(unit, &[0, 0, 1])
        .filter_map(|at| Some((at, *unit.get(at + 3)?)))
        .skip_while(|(_, code)| !begin.contains(code));
    let Some((start, _)) = codes.next() else { return Vec::new() };
    let end = codes.find(|(_, code)| !begin.contains(code) && !inside.contains(code));
    end.and_then(|(end, _)| unit.get(start..end)).map(<[u8]>::to_vec).unwrap_or_default()
}

fn nal_units(codec: VideoCodec, unit: &[u8]) -> Vec<u8> {
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
    fn mpeg2_headers_end_where_the_group_begins() {
        let unit = [0, 0, 1, 0xb3, 7, 0, 0, 1, 0xb5, 8, 0, 0, 1, 0xb8, 9, 0, 0, 1, 0, 9];
        assert_eq!(parameter_sets(VideoCodec::Mpeg2, &unit), unit[..10]);
        assert!(parameter_sets(VideoCodec::Mpeg2, &unit[10..]).is_empty());
    }
}
