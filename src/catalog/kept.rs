//! A frame that was kept, before and after its picture is encoded.

use std::time::SystemTime;

use super::frames::encode_jpeg;
use crate::error::Result;
use crate::media::{ByteOffset, Frame, Verdict};

/// A frame that the detector kept.
#[derive(Clone)]
pub struct KeptFrame {
    /// Why it is kept, with its score.
    pub verdict: Verdict,
    /// The picture.
    pub frame: Frame,
    /// When its first byte arrived; none for a scanned file.
    pub captured_at: Option<SystemTime>,
}

/// What the catalog writes of a kept frame. The picture itself is no longer held.
#[derive(Debug, Clone)]
pub struct EncodedFrame {
    /// Why it is kept, with its score.
    pub verdict: Verdict,
    /// Offset from which a decoder can start to reach it.
    pub keyframe_at: ByteOffset,
    /// FFmpeg concealed an error in it.
    pub damaged: bool,
    /// When its first byte arrived; none for a scanned file.
    pub captured_at: Option<SystemTime>,
    /// The JPEG; none if none is asked for, or if one is known to be there.
    pub jpeg: Option<Vec<u8>>,
}

impl EncodedFrame {
    /// A frame of which no JPEG is written.
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

/// Turns kept frames into what the catalog writes: costly, pure, and free to run on any thread.
#[derive(Debug, Clone, Copy)]
pub struct Encoder {
    /// Whether JPEGs are asked for.
    pub write_jpegs: bool,
    /// JPEG quality, 1 to 100.
    pub jpeg_quality: u8,
    /// Greatest width in pixels; wider pictures are scaled down.
    pub frame_width: Option<u32>,
}

impl Encoder {
    /// Converts and encodes the picture, if JPEGs are asked for.
    ///
    /// # Errors
    ///
    /// If the picture's format cannot be converted to RGB, or is too large for JPEG.
    pub fn encode(&self, kept: &KeptFrame) -> Result<EncodedFrame> {
        let mut encoded = EncodedFrame::without_jpeg(kept);
        if self.write_jpegs {
            let jpeg = kept
                .frame
                .picture
                .to_rgb(self.frame_width)
                .and_then(|rgb| encode_jpeg(&rgb, self.jpeg_quality))
                .map_err(|error| error.at(kept.verdict.at))?;
            encoded.jpeg = Some(jpeg);
        }
        Ok(encoded)
    }
}
