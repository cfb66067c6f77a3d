//! Finds where one coded picture ends and the next begins, codec by codec.
//!
//! These are the rules of FFmpeg's parsers (`libavcodec/h264_parser.c`, `hevc_parser.c`,
//! `mpegvideo_parser.c`, `mpeg4video_parser.c`). The decoder must get the same packets as in
//! FFmpeg, or damaged streams would decode differently. Unlike in FFmpeg, the rules are applied to
//! start codes instead of single bytes, so that the search between them is a `memmem`.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::media::VideoCodec;

/// Finds `00 00 01`.
static START_CODE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(&[0, 0, 1]));

/// An item found in the elementary stream, with indices into the scanned bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// The next picture begins at `start`. Detected when byte `decided` was read.
    Boundary {
        /// First byte of the next picture.
        start: usize,
        /// Last byte that was needed to decide.
        decided: usize,
    },
    /// An MPEG-2 picture header. The times of the PES packet that contains it belong to this
    /// picture.
    PictureHeader {
        /// Index of its start code.
        start: usize,
    },
}

/// Scans one elementary stream, picture by picture.
#[derive(Debug)]
pub struct BoundaryScanner {
    codec: VideoCodec,
    /// Index at which the search continues.
    scan: usize,
    /// Whether a slice of the picture has been seen.
    in_picture: bool,
    /// H.264: first macroblock of the last slice.
    last_macroblock: u32,
    /// MPEG-2: state as in `mpeg1_find_frame_end`. 0 frame start, 2 first field, 4 in
    /// slices.
    mpeg2: u8,
}

enum ScanStep {
    /// More bytes are needed.
    More,
    /// Continue the search at this index.
    Continue(usize),
    /// Return this mark, and then continue at the index.
    Return(Mark, usize),
}

impl BoundaryScanner {
    /// Returns a scanner at the beginning of a picture.
    pub fn new(codec: VideoCodec) -> Self {
        BoundaryScanner { codec, scan: 0, in_picture: false, last_macroblock: 0, mpeg2: 0 }
    }

    /// Restarts for the next picture, whose first byte is now byte 0.
    pub fn restart(&mut self) {
        *self = BoundaryScanner::new(self.codec);
    }

    /// Continues the scan in `bytes`, which begin with the picture's first byte and have
    /// grown since the last call. Returns `None` if more bytes are needed.
    pub fn next(&mut self, bytes: &[u8]) -> Option<Mark> {
        loop {
            let rest = bytes.get(self.scan..)?;
            let Some(found) = START_CODE.find(rest) else {
                // The last bytes may be part of a start code.
                self.scan = self.scan.max(bytes.len().saturating_sub(2));
                return None;
            };
            let code = self.scan + found;
            let step = match self.codec {
                VideoCodec::H264 => self.h264(bytes, code),
                VideoCodec::Hevc => self.hevc(bytes, code),
                VideoCodec::Mpeg2 => self.mpeg2(bytes, code),
                VideoCodec::Mpeg4 => self.mpeg4(bytes, code),
            };
            match step {
                ScanStep::More => {
                    self.scan = code;
                    return None;
                }
                ScanStep::Continue(scan) => self.scan = scan,
                ScanStep::Return(found, scan) => {
                    self.scan = scan;
                    return Some(found);
                }
            }
        }
    }

    /// `h264_find_frame_end`: a picture ends at the first SEI, SPS, PPS or delimiter
    /// after its slices, or at a slice whose first macroblock does not increase.
    fn h264(&mut self, bytes: &[u8], code: usize) -> ScanStep {
        const HISTORY_BYTES: usize = 6;
        let header = code + 3;
        let Some(&nal) = bytes.get(header) else { return ScanStep::More };
        // A preceding fourth zero belongs to the start code.
        let start = if code > 0 && bytes[code - 1] == 0 { code - 1 } else { code };
        match nal & 0x1f {
            6..=9 if self.in_picture => {
                ScanStep::Return(Mark::Boundary { start, decided: header }, header)
            }
            1 | 2 | 5 => {
                let history = &bytes[header + 1..bytes.len().min(header + 1 + HISTORY_BYTES)];
                let Some((first_macroblock, used_bytes)) = exp_golomb(history, HISTORY_BYTES)
                else {
                    return ScanStep::More;
                };
                let previous = self.last_macroblock;
                self.last_macroblock = first_macroblock;
                if self.in_picture && first_macroblock <= previous {
                    let decided = header + used_bytes;
                    return ScanStep::Return(Mark::Boundary { start, decided }, header);
                }
                self.in_picture = true;
                ScanStep::Continue(header + 1 + used_bytes)
            }
            _ => ScanStep::Continue(header),
        }
    }

    /// `hevc_find_frame_end`: a picture ends at parameter sets, delimiters and prefix SEI
    /// after a slice, or at the first slice segment of another picture.
    fn hevc(&mut self, bytes: &[u8], code: usize) -> ScanStep {
        let decided = code + 5;
        let Some(&[nal, _, slice]) = bytes.get(code + 3..=decided) else { return ScanStep::More };
        let ends = match (nal >> 1) & 0x3f {
            32..=37 | 39 | 41..=44 | 48..=55 => self.in_picture,
            0..=9 | 16..=21 if slice & 0x80 != 0 => {
                let ends = self.in_picture;
                self.in_picture = true;
                ends
            }
            _ => false,
        };
        if ends {
            ScanStep::Return(Mark::Boundary { start: code, decided }, decided)
        } else {
            ScanStep::Continue(code + 3)
        }
    }

    /// `mpeg1_find_frame_end`: a picture ends at the first start code other than a slice
    /// after the slices of a frame, or of its second field.
    fn mpeg2(&mut self, bytes: &[u8], code: usize) -> ScanStep {
        const PICTURE: u8 = 0x00;
        const SEQUENCE: u8 = 0xb3;
        const EXTENSION: u8 = 0xb5;
        const SEQUENCE_END: u8 = 0xb7;
        const PICTURE_CODING_EXTENSION: u8 = 8;
        const FRAME_PICTURE: u8 = 3;
        let at = code + 3;
        let Some(&value) = bytes.get(at) else { return ScanStep::More };
        let slice = (0x01..=0xaf).contains(&value);
        if self.mpeg2 == 0 && slice {
            self.mpeg2 = 4;
        }
        match value {
            SEQUENCE_END => {
                return ScanStep::Return(Mark::Boundary { start: at + 1, decided: at }, at + 1);
            }
            SEQUENCE if self.mpeg2 == 2 => self.mpeg2 = 0,
            EXTENSION if self.mpeg2 < 4 => {
                let Some(&first) = bytes.get(at + 1) else { return ScanStep::More };
                if first >> 4 != PICTURE_CODING_EXTENSION {
                    return ScanStep::Continue(at + 2);
                }
                let Some(&third) = bytes.get(at + 3) else { return ScanStep::More };
                self.mpeg2 = match (third & 3, self.mpeg2) {
                    (FRAME_PICTURE, _) => 0,
                    (_, 0) => 2,
                    _ => 0,
                };
                return ScanStep::Continue(at + 4);
            }
            _ => {}
        }
        if self.mpeg2 == 4 && !slice {
            return ScanStep::Return(Mark::Boundary { start: code, decided: at }, at);
        }
        if self.mpeg2 == 0 && value == PICTURE {
            return ScanStep::Return(Mark::PictureHeader { start: code }, at);
        }
        ScanStep::Continue(at)
    }

    /// `mpeg4_find_frame_end`: a picture ends at the first start code after a VOP.
    fn mpeg4(&mut self, bytes: &[u8], code: usize) -> ScanStep {
        const VOP: u8 = 0xb6;
        const SLICE: u8 = 0xb7;
        const EXTENSION: u8 = 0xb8;
        let at = code + 3;
        let Some(&value) = bytes.get(at) else { return ScanStep::More };
        if self.in_picture {
            if matches!(value, SLICE | EXTENSION) {
                return ScanStep::Continue(at);
            }
            return ScanStep::Return(Mark::Boundary { start: code, decided: at }, at);
        }
        self.in_picture = value == VOP;
        ScanStep::Continue(at)
    }
}

/// Reads an unsigned Exp-Golomb number (ISO/IEC 14496-10, 9.1). Returns it with the number of bytes
/// read.
///
/// As in FFmpeg's parser, the number is read again with each additional byte until a bit is left
/// over, or `max_bytes` bytes are available. Returns `None` if more bytes are needed.
fn exp_golomb(bytes: &[u8], max_bytes: usize) -> Option<(u32, usize)> {
    let mut window: u64 = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        window |= u64::from(byte) << (56 - 8 * index);
        let zeros = window.leading_zeros();
        let code_bits = 2 * zeros + 1;
        let used_bytes = index + 1;
        if code_bits < 8 * u32::try_from(used_bytes).ok()? || used_bytes == max_bytes {
            let value = if code_bits <= 64 { window >> (64 - code_bits) } else { 0 };
            return Some((u32::try_from(value).unwrap_or(u32::MAX).wrapping_sub(1), used_bytes));
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Returns the boundaries of `stream`, passed in pieces of `piece` bytes.
    fn boundaries(codec: VideoCodec, stream: &[u8], piece: usize) -> Vec<usize> {
        let (mut found, mut from) = (Vec::new(), 0);
        let mut scanner = BoundaryScanner::new(codec);
        for end in (piece..=stream.len()).step_by(piece).chain([stream.len()]) {
            while let Some(mark) = scanner.next(&stream[from..end]) {
                if let Mark::Boundary { start, .. } = mark {
                    from += start;
                    found.push(from);
                    scanner.restart();
                }
            }
        }
        found
    }

    fn in_any_pieces(codec: VideoCodec, stream: &[u8]) -> Vec<usize> {
        let whole = boundaries(codec, stream, stream.len());
        for piece in 1..stream.len() {
            assert_eq!(boundaries(codec, stream, piece), whole, "in pieces of {piece}");
        }
        whole
    }

    #[test]
    fn h264_pictures_end_at_delimiters_with_their_fourth_zero() {
        let mut stream = Vec::new();
        for _ in 0..3 {
            stream.extend([0, 0, 0, 1, 9, 0xf0, 0, 0, 1, 0x65, 0x88, 1, 2, 3]);
        }
        assert_eq!(in_any_pieces(VideoCodec::H264, &stream), [14, 28]);
    }

    #[test]
    fn h264_slices_of_one_picture_stay_together_and_a_new_first_slice_parts() {
        // first_mb_in_slice 0, 1, 0.
        let stream = [0, 0, 1, 0x61, 0x88, 9, 0, 0, 1, 0x61, 0x48, 9, 0, 0, 1, 0x61, 0x88, 9, 9, 9];
        assert_eq!(in_any_pieces(VideoCodec::H264, &stream), [12]);
    }

    #[test]
    fn hevc_pictures_end_at_the_first_segment_of_the_next() {
        let stream =
            [0, 0, 1, 0x26, 1, 0x80, 7, 0, 0, 1, 0x26, 1, 0x00, 7, 0, 0, 1, 0x02, 1, 0x80, 7, 7];
        assert_eq!(in_any_pieces(VideoCodec::Hevc, &stream), [14]);
    }

    #[test]
    fn mpeg2_fields_of_one_frame_stay_together() {
        let field = |structure: u8| {
            vec![0, 0, 1, 0, 9, 9, 0, 0, 1, 0xb5, 0x8f, 0xff, 0xf0 | structure, 9, 0, 0, 1, 1, 9]
        };
        let mut stream = Vec::new();
        for structure in [1, 2, 1, 2, 3, 3] {
            stream.extend(field(structure));
        }
        let size = field(1).len();
        assert_eq!(
            in_any_pieces(VideoCodec::Mpeg2, &stream),
            [2 * size, 4 * size, 5 * size],
            "two field pairs, then frames"
        );
    }

    #[test]
    fn exp_golomb_numbers_wait_for_their_last_bit() {
        assert_eq!(exp_golomb(&[0b1000_0000], 6), Some((0, 1)));
        assert_eq!(exp_golomb(&[0b0000_0001], 6), None);
        assert_eq!(exp_golomb(&[0b0000_0001, 0], 6), Some((127, 2)));
        assert_eq!(exp_golomb(&[0; 6], 6).map(|(_, used_bytes)| used_bytes), Some(6));
    }
}
