//! Timing information in the headers of coded pictures and audio.

use serde::{Deserialize, Serialize};

use super::{ByteOffset, Ticks};

/// Presentation and decoding time, if known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// Presentation time.
    pub pts: Option<Ticks>,
    /// Decoding time.
    pub dts: Option<Ticks>,
}

/// A duration in seconds as a fraction: the duration of a frame is not necessarily a whole number
/// of ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fraction {
    /// Positive.
    pub numerator: i64,
    /// Positive.
    pub denominator: i64,
}

impl Fraction {
    /// Returns whether the duration is plausible for a picture. FFmpeg accepts any duration, so
    /// with a damaged header, its time jumps by that much at each picture.
    pub fn is_plausible_for_a_picture(self) -> bool {
        const MAX_SECONDS: i128 = 60;
        i128::from(self.numerator) <= MAX_SECONDS * i128::from(self.denominator)
    }
}

/// Timing information in the headers of a coded picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PictureTiming {
    /// Whether the picture is a B picture, which is shown without delay.
    pub bidirectional: bool,
    /// Duration, if the stream states a frame rate.
    pub duration: Option<Fraction>,
    /// Output delay of the decoder in pictures, as known at this picture.
    pub delay: u32,
    /// Whether the delay is final. An H.264 stream may not state it; it is then determined by
    /// decoding.
    pub delay_known: bool,
}

/// An audio codec whose frames FFmpeg's parsers separate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AudioCodec {
    /// MPEG-1 and MPEG-2 audio, layers I to III.
    #[serde(rename = "mp2")]
    Mpeg,
    /// AAC in ADTS.
    Aac,
    /// AAC in LATM.
    AacLatm,
    /// AC-3.
    Ac3,
    /// Enhanced AC-3.
    Eac3,
    /// DTS.
    Dts,
    /// Opus.
    Opus,
    /// Private data that is treated as audio if its first PES packet looks like it.
    Private,
    /// Any other codec: each PES packet counts as one frame of unknown length.
    #[serde(rename = "audio")]
    Other,
}

impl AudioCodec {
    /// Returns FFmpeg's name of the codec.
    pub fn as_str(self) -> &'static str {
        match self {
            AudioCodec::Mpeg => "mp2",
            AudioCodec::Aac => "aac",
            AudioCodec::AacLatm => "aac_latm",
            AudioCodec::Ac3 => "ac3",
            AudioCodec::Eac3 => "eac3",
            AudioCodec::Dts => "dts",
            AudioCodec::Opus => "opus",
            AudioCodec::Private => "private",
            AudioCodec::Other => "audio",
        }
    }
}

/// An audio stream of the tables. Its serialized form is a pair of PID and codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "(u16, AudioCodec)", into = "(u16, AudioCodec)")]
pub struct AudioStream {
    /// PID of the stream.
    pub pid: u16,
    /// Codec of the stream.
    pub codec: AudioCodec,
}

impl From<(u16, AudioCodec)> for AudioStream {
    fn from((pid, codec): (u16, AudioCodec)) -> Self {
        AudioStream { pid, codec }
    }
}

impl From<AudioStream> for (u16, AudioCodec) {
    fn from(stream: AudioStream) -> Self {
        (stream.pid, stream.codec)
    }
}

/// One audio frame, reduced to its timing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioFrame {
    /// PID of the stream.
    pub pid: u16,
    /// Offset of the PES packet that completed the frame.
    pub at: ByteOffset,
    /// Presentation time, 33 bits, if its PES packet has one.
    pub pts: Option<Ticks>,
    /// Number of samples; 0 if unknown.
    pub samples: u32,
    /// Whether the ffmpeg tool knows the duration. For codecs whose decoders state no frame size,
    /// it does not, and expects the next frame at the same time.
    pub counted: bool,
    /// Samples per second; 0 if unknown.
    pub sample_rate: u32,
    /// Whether libavformat adds the duration without rounding it to ticks.
    pub exact: bool,
}
