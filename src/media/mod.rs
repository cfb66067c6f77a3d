//! The nouns that travel through the pipeline.
//!
//! Each stage turns one of them into the next:
//! [`TsPacket`](crate::ts::TsPacket) → [`AccessUnit`] → [`Frame`] → [`Verdict`]. The byte offset of
//! the TS packet in which a picture starts rides with the data all the way, so
//! that checkpoints, index entries and error messages need no book-keeping.

mod damage;
mod timing;
mod written;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use damage::Damage;
pub use timing::{AudioCodec, AudioFrame, AudioStream, Fraction, PictureTiming, Times};
pub use written::{WaitOutcome, Written};

pub use crate::byte_offset::ByteOffset;
use crate::error::Result;

/// Ticks of the PTS and DTS clock in a second (ISO/IEC 13818-1, 2.4.3.6).
pub const TICKS_PER_SECOND: i64 = 90_000;

/// A time or a duration on the 90 kHz clock, unwrapped: it may pass 33 bits and
/// may be negative.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Ticks(pub i64);

impl Ticks {
    /// Seconds exactly as the ffmpeg tool computes `t`: `ticks * av_q2d(1/90000)`.
    pub fn seconds(self) -> f64 {
        self.0 as f64 * (1.0 / TICKS_PER_SECOND as f64)
    }
}

/// A video codec that can be carried in MPEG-TS and that we decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VideoCodec {
    /// MPEG-1 or MPEG-2 video (ISO/IEC 11172-2, 13818-2). One decoder reads both.
    #[serde(rename = "mpeg2video")]
    Mpeg2,
    /// MPEG-4 part 2 (ISO/IEC 14496-2).
    Mpeg4,
    /// H.264, AVC (ISO/IEC 14496-10).
    H264,
    /// H.265, HEVC (ISO/IEC 23008-2).
    Hevc,
}

impl VideoCodec {
    /// FFmpeg's name of the codec.
    pub fn as_str(self) -> &'static str {
        match self {
            VideoCodec::Mpeg2 => "mpeg2video",
            VideoCodec::Mpeg4 => "mpeg4",
            VideoCodec::H264 => "h264",
            VideoCodec::Hevc => "hevc",
        }
    }
}

impl fmt::Display for VideoCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether, and how, decoding can start at an access unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RandomAccess {
    /// It needs earlier pictures.
    None,
    /// Pictures are whole again when so many more have passed (intra refresh).
    Gradual(u32),
    /// It and everything after it in presentation order decode; pictures that
    /// follow it in the stream but precede it in presentation may not (open GOP).
    Open,
    /// Nothing from here on refers to anything before (IDR, closed GOP).
    Closed,
}

/// One coded picture, as the decoder is given it: the bytes from one picture
/// start to the next, split where FFmpeg's parsers split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessUnit {
    /// Offset of the TS packet in which it starts.
    pub at: ByteOffset,
    /// Bytes of elementary stream in that packet that belong to the picture before.
    pub skip_bytes: usize,
    /// How it is coded.
    pub codec: VideoCodec,
    /// Presentation time on the stream's own 33-bit clock, if its PES gives one.
    pub pts: Option<Ticks>,
    /// Decoding time on the stream's own 33-bit clock, if its PES gives one.
    pub dts: Option<Ticks>,
    /// Times of the PES packet in which its end was found, if no other picture's
    /// end was found in it before.
    pub ended_by: Times,
    /// Whether decoding can start here.
    pub random_access: RandomAccess,
    /// Packets of it are missing, or came with errors.
    pub damaged: bool,
    /// The elementary stream's bytes.
    pub data: Vec<u8>,
}

/// The luma samples of a picture, or every sample of a packed one.
///
/// Rows are `stride` bytes apart; the first `width` samples of each count.
/// Samples deeper than 8 bits take two bytes, in native order.
#[derive(Debug, Clone, Copy)]
pub struct Luma<'a> {
    /// The plane, from its first visible sample.
    pub data: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
    /// Samples in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Bits in a sample, 8 to 16.
    pub bit_depth: u32,
}

impl<'a> Luma<'a> {
    /// Bytes that one row of samples takes.
    pub fn row_bytes(&self) -> usize {
        self.width * if self.bit_depth > 8 { 2 } else { 1 }
    }

    /// The samples of row `y`, as bytes. Empty if there is no such row.
    pub fn row(&self, y: usize) -> &'a [u8] {
        let start = y * self.stride;
        self.data.get(start..start + self.row_bytes()).unwrap_or(&[])
    }
}

/// An RGB picture, 3 bytes a pixel, rows without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbPicture {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `width * height * 3` bytes.
    pub data: Vec<u8>,
}

/// What the detector and the catalog need of a decoded picture.
///
/// The decoder's pictures implement it over FFmpeg's reference-counted buffers,
/// without copying; tests implement it over planes painted by hand.
pub trait Picture: Send + Sync {
    /// The planes that are scored. One for YUV, as FFmpeg's `f_select.c` has it.
    fn luma(&self) -> Luma<'_>;

    /// Size and pixel format: when it changes, FFmpeg's filters start anew.
    fn format(&self) -> PictureFormat;

    /// Converts to full-range RGB, scaled down to at most `max_width` pixels.
    ///
    /// # Errors
    ///
    /// If FFmpeg knows no conversion from the picture's pixel format.
    fn to_rgb(&self, max_width: Option<u32>) -> Result<RgbPicture>;

    /// The same picture in memory of its own. A decoder fills its buffers again in the
    /// order in which they are given back, and what it leaves undecoded in a damaged
    /// picture shows what was there before: who holds on to a picture changes others.
    ///
    /// # Errors
    ///
    /// If there is no memory for it.
    fn copied(&self) -> Result<Arc<dyn Picture>>;
}

/// Size and pixel format of a picture.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PictureFormat {
    /// Displayed width in pixels, after cropping.
    pub width: u32,
    /// Displayed height in pixels, after cropping.
    pub height: u32,
    /// FFmpeg's name of the pixel format: `yuv420p`, `yuvj420p`, …
    pub pixel_format: String,
}

impl fmt::Display for PictureFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{} {}", self.width, self.height, self.pixel_format)
    }
}

/// A decoded picture on its way to the detector, in presentation order.
#[derive(Clone)]
pub struct Frame {
    /// Offset of the TS packet in which its access unit starts.
    pub at: ByteOffset,
    /// Presentation time from the start of the recording.
    pub pts: Ticks,
    /// Offset from which a decoder can start to reach it.
    pub keyframe_at: ByteOffset,
    /// FFmpeg concealed an error in it, or decoded it from incomplete references.
    pub damaged: bool,
    /// The samples.
    pub picture: Arc<dyn Picture>,
}

/// Why a frame was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The first of the recording.
    First,
    /// Its score passed the threshold.
    Scene,
    /// Nothing had been kept for the longest time allowed.
    Interval,
    /// The picture's size or pixel format changed.
    Format,
}

impl Reason {
    /// The word that stands in `index.json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::First => "first",
            Reason::Scene => "scene",
            Reason::Interval => "interval",
            Reason::Format => "format",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was found of one picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// Offset of the TS packet in which its access unit starts.
    pub at: ByteOffset,
    /// Presentation time from the start of the recording.
    pub pts: Ticks,
    /// Scene score, 0 to 1.
    pub score: f64,
    /// Why it is kept, if it is.
    pub kept: Option<Reason>,
}
