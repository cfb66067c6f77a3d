//! A kept frame, before and after encoding.

use std::time::SystemTime;

use super::JpegOptions;
use super::frames::encode_jpeg;
use crate::error::Result;
use crate::media::{ByteOffset, Frame, Verdict};

/// A picture that the analyzer has kept.
#[derive(Clone)]
pub struct KeptFrame {
    /// Score, and reason why the picture is kept.
    pub verdict: Verdict,
    /// Picture and position.
    pub frame: Frame,
    /// Time at which the picture's first byte arrived; `None` for a scanned file.
    pub captured_at: Option<SystemTime>,
}

/// The data of a kept frame that the catalog writes. Does not contain the picture.
#[derive(Debug, Clone)]
pub struct EncodedFrame {
    /// Score, and reason why the picture is kept.
    pub verdict: Verdict,
    /// Offset at which decoding has to start to show the picture.
    pub keyframe_at: ByteOffset,
    /// Whether FFmpeg concealed an error in the picture.
    pub damaged: bool,
    /// Time at which the picture's first byte arrived; `None` for a scanned file.
    pub captured_at: Option<SystemTime>,
    /// The JPEG; `None` if JPEGs are disabled, the picture cannot be encoded, or the file
    /// already exists.
    pub jpeg: Option<Vec<u8>>,
}

impl EncodedFrame {
    /// Returns a frame without a JPEG.
    pub fn without_jpeg(kept: &KeptFrame) -> EncodedFrame {
        EncodedFrame {
            verdict: kept.verdict,
            keyframe_at: kept.frame.keyframe_at,
            damaged: kept.frame.damaged,
            captured_at: kept.captured_at,
            jpeg: None,
        }
    }
}

/// Encodes kept frames for the catalog: expensive, pure, and usable on any thread.
#[derive(Debug, Clone, Copy)]
pub struct Encoder {
    /// Whether to write JPEGs.
    pub write_jpegs: bool,
    /// How pictures are encoded.
    pub jpeg: JpegOptions,
}

impl Encoder {
    /// Converts and encodes the picture, if JPEGs are enabled.
    ///
    /// A picture that cannot be converted, or is too large for JPEG, is tried twice, because memory
    /// may have been short. After that, a warning is logged and the frame has no JPEG: one picture
    /// must not stop detection.
    pub fn encode(&self, kept: &KeptFrame) -> EncodedFrame {
        let mut encoded = EncodedFrame::without_jpeg(kept);
        if self.write_jpegs {
            let jpeg = self.jpeg_of(kept).or_else(|_| self.jpeg_of(kept));
            let jpeg = jpeg.inspect_err(|error| tracing::error!("{error}; the frame has no JPEG"));
            encoded.jpeg = jpeg.ok();
        }
        encoded
    }

    fn jpeg_of(&self, kept: &KeptFrame) -> Result<Vec<u8>> {
        let picture = kept.frame.picture.to_jfif(self.jpeg.max_width_px);
        picture
            .and_then(|picture| encode_jpeg(&picture, self.jpeg.quality))
            .map_err(|error| error.at(kept.verdict.at))
    }
}
