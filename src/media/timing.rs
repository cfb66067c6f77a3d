//! What headers say about time: of a coded picture, and of audio.

use serde::{Deserialize, Serialize};

use super::{ByteOffset, Ticks};

/// Presentation and decoding time, as far as they are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// Presentation time.
    pub pts: Option<Ticks>,
    /// Decoding time.
    pub dts: Option<Ticks>,
}

/// A duration in seconds, as a fraction: frame rates are no whole ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fraction {
    /// Above zero.
    pub numerator: i64,
    /// Above zero.
    pub denominator: i64,
}

/// What a coded picture's headers say about its place in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PictureTiming {
    /// A B picture: its presentation is not delayed.
    pub bidirectional: bool,
    /// How long it is shown, where the stream states a frame rate.
    pub duration: Option<Fraction>,
    /// Pictures by which the decoder delays its output, as known at this picture.
    pub delay: u32,
    /// Whether that is final. (H.264 need not say it; it is then found by decoding.)
    pub delay_known: bool,
}

/// An audio codec whose frames FFmpeg's parsers tell apart.
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
    /// Private data that is audio if its first PES packet looks like it.
    Private,
    /// Anything else: each PES packet counts as one frame of unknown length.
    #[serde(rename = "audio")]
    Other,
}

impl AudioCodec {
    /// FFmpeg's name of the codec.
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
    /// How it is coded.
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

/// One frame of audio, of which only the time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioFrame {
    /// PID of its stream.
    pub pid: u16,
    /// Where the PES packet that completed it begins.
    pub at: ByteOffset,
    /// Presentation time, 33 bits, if its PES packet gives one.
    pub pts: Option<Ticks>,
    /// Samples in it; 0 if unknown.
    pub samples: u32,
    /// The ffmpeg tool knows how long it is. It does not for codecs whose decoders
    /// state no frame size, and then expects the next frame where this one is.
    pub counted: bool,
    /// Samples in a second; 0 if unknown.
    pub sample_rate: u32,
    /// libavformat adds its duration without rounding it to ticks.
    pub exact: bool,
}
