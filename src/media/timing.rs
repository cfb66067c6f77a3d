//! What headers say about time: of a coded picture, and of audio.

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AudioCodec {
    /// MPEG-1 and MPEG-2 audio, layers I to III.
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

    /// The codec of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        use AudioCodec::{Aac, AacLatm, Ac3, Dts, Eac3, Mpeg, Opus, Other, Private};
        [Mpeg, Aac, AacLatm, Ac3, Eac3, Dts, Opus, Private, Other]
            .into_iter()
            .find(|codec| codec.as_str() == name)
    }
}

/// An audio stream of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AudioStream {
    /// Its PID.
    pub pid: u16,
    /// How it is coded.
    pub codec: AudioCodec,
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
