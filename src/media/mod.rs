//! The types that pass through the pipeline.
//!
//! Each stage turns one type into the next: [`TsPacket`](crate::ts::TsPacket) → [`AccessUnit`] →
//! [`Frame`] → [`Verdict`]. The byte offset of the TS packet in which a picture starts accompanies
//! the data, so checkpoints, index entries and error messages need no bookkeeping.
//!
//! ```text
//! timing        timing in the headers of pictures and audio
//! written       length of the recording, arrival times
//! lag           how far detection is behind the recording
//! damage        counters of damage to a stream
//! jfif_picture  a picture for JPEG
//! rgb_picture   a picture for PNG
//! ```

mod damage;
mod jfif_picture;
mod lag;
mod rgb_picture;
mod timing;
mod written;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use damage::Damage;
pub use jfif_picture::JfifPicture;
pub use lag::Lag;
pub use rgb_picture::RgbPicture;
pub use timing::{AudioCodec, AudioFrame, AudioStream, Fraction, PictureTiming, Times};
pub use written::{Arrival, WaitOutcome, Written};

pub use crate::byte_offset::ByteOffset;
use crate::error::Result;

/// Ticks per second of the PTS and DTS clock (ISO/IEC 13818-1, 2.4.3.6).
pub const TICKS_PER_SECOND: i64 = 90_000;

/// A time or a duration on the 90 kHz clock, unwrapped: it may exceed 33 bits and may be
/// negative.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Ticks(pub i64);

impl Ticks {
    /// Returns seconds exactly as the ffmpeg tool computes `t`: `ticks *
    /// av_q2d(1/90000)`.
    pub fn seconds(self) -> f64 {
        self.0 as f64 * (1.0 / TICKS_PER_SECOND as f64)
    }
}

/// A video codec that scenetap decodes.
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
    /// All supported codecs.
    pub const ALL: [VideoCodec; 4] =
        [VideoCodec::Mpeg2, VideoCodec::Mpeg4, VideoCodec::H264, VideoCodec::Hevc];

    /// Returns FFmpeg's name of the codec.
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

/// Whether and how decoding can start at an access unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RandomAccess {
    /// The picture refers to earlier pictures.
    None,
    /// Pictures are complete after this many more pictures (intra refresh).
    Gradual(u32),
    /// This picture and everything after it in presentation order decodes. Pictures that
    /// follow it in the stream but precede it in presentation may not (open GOP).
    Open,
    /// No later picture refers to an earlier one (IDR, closed GOP).
    Closed,
}

/// One coded picture, as passed to the decoder: the bytes from one picture start to the next, split
/// where FFmpeg's parsers split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessUnit {
    /// Offset of the TS packet in which the access unit starts.
    pub at: ByteOffset,
    /// Bytes of elementary stream in that packet that belong to the previous picture.
    pub skip_bytes: usize,
    /// Codec of the stream.
    pub codec: VideoCodec,
    /// Presentation time on the stream's 33-bit clock, if its PES packet has one.
    pub pts: Option<Ticks>,
    /// Decoding time on the stream's 33-bit clock, if its PES packet has one.
    pub dts: Option<Ticks>,
    /// Times of the PES packet in which the end of the access unit was found, unless that packet
    /// contained the end of an earlier picture.
    pub ended_by: Times,
    /// Whether decoding can start here.
    pub random_access: RandomAccess,
    /// Whether packets are missing, or were received with errors.
    pub damaged: bool,
    /// Bytes of the elementary stream.
    pub data: Vec<u8>,
}

/// The luma samples of a picture, or all samples of a packed picture.
///
/// Rows are `stride` bytes apart; only the first `width` samples of each are visible. Samples
/// deeper than 8 bits take two bytes each, in native byte order.
#[derive(Debug, Clone, Copy)]
pub struct Luma<'a> {
    /// The plane, from the first visible sample on.
    pub data: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
    /// Visible samples per row.
    pub width: usize,
    /// Number of rows.
    pub height: usize,
    /// Bits per sample, 8 to 16.
    pub bit_depth: u32,
}

impl<'a> Luma<'a> {
    /// Returns the number of bytes in the visible part of a row.
    pub fn row_bytes(&self) -> usize {
        self.width * if self.bit_depth > 8 { 2 } else { 1 }
    }

    /// Returns the samples of row `y` as bytes, or an empty slice if the row does not exist.
    pub fn row(&self, y: usize) -> &'a [u8] {
        let start = y * self.stride;
        self.data.get(start..start + self.row_bytes()).unwrap_or(&[])
    }
}

/// Interface through which the analyzer and the catalog use a decoded picture.
///
/// The decoder implements it on FFmpeg's reference-counted buffers, without a copy; tests implement
/// it on synthetic planes.
pub trait Picture: Send + Sync {
    /// Returns the samples to score: one plane for YUV, as in FFmpeg's `f_select.c`.
    fn luma(&self) -> Luma<'_>;

    /// Returns size and pixel format. When they change, FFmpeg rebuilds its filters.
    fn format(&self) -> PictureFormat;

    /// Returns a checksum of all visible samples.
    fn checksum(&self) -> u32;

    /// Converts to the color space of JFIF, scaled down to a width of at most `max_width` pixels.
    ///
    /// # Errors
    ///
    /// Returns an error if FFmpeg cannot convert the pixel format.
    fn to_jfif(&self, max_width: Option<u32>) -> Result<JfifPicture>;

    /// Converts to full-range R'G'B', scaled down to a width of at most `max_width` pixels.
    ///
    /// # Errors
    ///
    /// As [`Picture::to_jfif`].
    fn to_rgb(&self, max_width: Option<u32>) -> Result<RgbPicture>;

    /// Copies the picture to its own memory. A decoder reuses its buffers in the order in which
    /// they are released, and the undecoded parts of a damaged picture show the previous content of
    /// its buffer: keeping a reference to a picture would change later ones.
    ///
    /// # Errors
    ///
    /// Returns an error if memory is short.
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

/// A decoded picture before scoring, in presentation order.
#[derive(Clone)]
pub struct Frame {
    /// Offset of the TS packet in which the picture's access unit starts.
    pub at: ByteOffset,
    /// Presentation time from the start of the recording.
    pub pts: Ticks,
    /// Offset at which decoding has to start to reach this picture.
    pub keyframe_at: ByteOffset,
    /// Whether FFmpeg concealed an error in the picture, or decoded it from incomplete references.
    pub damaged: bool,
    /// The decoded samples.
    pub picture: Arc<dyn Picture>,
}

/// Reason why a picture was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// First picture of the recording.
    First,
    /// The score exceeds the threshold: a new scene.
    Scene,
    /// No frame had been kept for the maximum interval.
    Interval,
    /// The size or pixel format changed.
    Format,
}

impl Reason {
    /// Returns the word used in `index.json`.
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

/// Result for one picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// Offset of the TS packet in which the picture's access unit starts.
    pub at: ByteOffset,
    /// Presentation time from the start of the recording.
    pub pts: Ticks,
    /// Scene score, 0 to 1.
    pub score: f64,
    /// Reason why the picture is kept; `None` if it is not kept.
    pub kept: Option<Reason>,
}
