//! What ffmpeg knows of a stream before it decodes the first picture.
//!
//! libavformat looks ahead (`avformat_find_stream_info`), and its decoder starts
//! with what was found there. Two things of it show in the pictures, so we look as
//! far ahead:
//!
//! - **Parameter sets** (`extract_extradata`): a stream that begins in the middle of
//!   a GOP has its first ones later. HEVC decodes what stands before them, too. So
//!   does a decoder that goes on at a GOP without a sequence header.
//! - **The output delay** of H.264 streams that do not say it
//!   (`has_decode_delay_been_guessed`): libavcodec finds out as it goes, and drops
//!   pictures that turn out to be late.
//! - **Times** where some pictures have none, or a PTS without its DTS: libavformat
//!   begins again (`estimate_timings_from_pts`) with what it has learnt of their order.

use memchr::memmem;

use super::{BestEffort, Decoder, Settings};
use crate::error::Result;
use crate::media::{AccessUnit, PictureTiming, VideoCodec};

/// A stream of which nothing decodes is not looked at for ever: so many access
/// units, or so many bytes of them.
const MAX_UNITS: usize = 300;
const MAX_BYTES: usize = 16 << 20;

/// The first pictures do not know of those in front of which they are decoded, and
/// where several share a PES packet only the first has times: so many show it.
const UNITS: usize = 8;

/// Where times do not say all, libavformat guesses by what it finds ahead: within about
/// so many pictures (`fps_probe_size`, `max_ts_probe`).
const GUESSED_UNITS: usize = 40;

/// Looks ahead until everything is known.
#[derive(Debug)]
pub struct Probe {
    codec: VideoCodec,
    /// Decodes ahead, for the output delay.
    decoder: Option<Decoder>,
    decoded: usize,
    delay_known: bool,
    parameter_sets: Vec<u8>,
    /// The times of some picture do not say all.
    guesses: bool,
    units: usize,
    bytes: usize,
}

impl Probe {
    /// A probe of a stream that begins.
    ///
    /// # Errors
    ///
    /// If there is no decoder for it.
    pub fn new(codec: VideoCodec) -> Result<Self> {
        let decoder = match codec {
            VideoCodec::H264 | VideoCodec::Hevc => {
                Some(Decoder::open(codec, &Settings::default(), BestEffort::default())?)
            }
            _ => None,
        };
        Ok(Probe {
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

    /// Looks at the next access unit; sets what is known of the delay before it is decoded.
    pub fn look(&mut self, unit: &AccessUnit, timing: &mut PictureTiming) {
        if self.parameter_sets.is_empty() {
            self.parameter_sets = parameter_sets(self.codec, &unit.data);
        }
        self.look_for_delay(unit, timing);
        let alone = unit.pts == unit.dts;
        self.guesses |= unit.pts.is_none() || (alone && timing.delay > 0 && !timing.bidirectional);
        self.units += 1;
        self.bytes += unit.data.len();
    }

    /// Whether everything is known, or has been looked for long enough.
    pub fn is_done(&self) -> bool {
        let guessed = !self.guesses || self.units >= GUESSED_UNITS;
        (self.delay_known && !self.parameter_sets.is_empty() && self.units >= UNITS && guessed)
            || self.units >= MAX_UNITS
            || self.bytes >= MAX_BYTES
    }

    /// Whether the times do not say all, so that what is ahead counts.
    pub fn guesses(&self) -> bool {
        self.guesses
    }

    /// How the stream is coded.
    pub fn codec(&self) -> VideoCodec {
        self.codec
    }

    /// What is known.
    pub fn settings(self) -> Settings {
        let reorder = self.decoder.as_ref().map_or(0, Decoder::reorder);
        let size = self.decoder.as_ref().and_then(Decoder::size);
        Settings { reorder, parameter_sets: self.parameter_sets, size }
    }

    fn look_for_delay(&mut self, unit: &AccessUnit, timing: &mut PictureTiming) {
        let Some(decoder) = &mut self.decoder else { return };
        // libavformat's parser shares the context with this decoder, and raises
        // the delay when it meets a B slice.
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

/// The parameter sets in an access unit, with their start codes; none unless it has
/// those without which no picture can be decoded (`extract_extradata_bsf.c`).
fn parameter_sets(codec: VideoCodec, unit: &[u8]) -> Vec<u8> {
    match codec {
        VideoCodec::H264 | VideoCodec::Hevc => nal_units(codec, unit),
        VideoCodec::Mpeg2 => headers(unit, &[0xb3], &[0xb5]),
        VideoCodec::Mpeg4 => headers(unit, &[0xb0, 0x20], &[0xb5, 0x00, 0x20, 0xb2]),
    }
}

/// From the first start code of `begin` to the first behind it that neither goes on
/// with it nor is one of `inside`.
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
