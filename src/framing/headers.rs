//! Timing information in the headers of a coded picture. libavcodec's parsers read it: a parser of
//! our own would have to support every codec and match FFmpeg exactly.

use crate::libav::{PaddedBytes, Parser, is_before_6_1};
use crate::media::{Fraction, PictureTiming, VideoCodec};

/// Length of the part of an access unit that is parsed. It contains everything before the
/// first slice, where the parsers stop.
const HEAD_BYTES: usize = 64 << 10;

/// Reads the headers of the access units of one video stream.
#[derive(Debug)]
pub struct HeaderReader {
    parser: Parser,
    codec: VideoCodec,
    input: PaddedBytes,
    implausible: u64,
}

impl HeaderReader {
    /// Returns a reader that has parsed `parameter_sets`, which may be empty. Returns `None` if the
    /// linked FFmpeg has no parser for `codec`.
    pub fn new(codec: VideoCodec, parameter_sets: &[u8]) -> Option<Self> {
        let parser = Parser::of_video(codec)?;
        let mut reader =
            HeaderReader { parser, codec, input: PaddedBytes::default(), implausible: 0 };
        if !parameter_sets.is_empty() {
            reader.read(parameter_sets);
            reader.implausible = 0;
        }
        Some(reader)
    }

    /// Returns the codec of the stream.
    pub fn codec(&self) -> VideoCodec {
        self.codec
    }

    /// Reads the headers of the next access unit. The output delay is 0 if only the decoder can
    /// determine it.
    pub fn read(&mut self, unit: &[u8]) -> PictureTiming {
        self.input.fill(&unit[..unit.len().min(HEAD_BYTES)]);
        self.parser.parse(&self.input, 0, None);
        let bidirectional = self.parser.is_bidirectional();
        if bidirectional && self.parser.delay() == 0 {
            self.parser.set_delay(1);
        }
        let delay = match self.codec {
            VideoCodec::H264 | VideoCodec::Hevc => 0,
            _ => self.parser.delay(),
        };
        let duration = self.duration();
        let is_plausible = duration.is_none_or(Fraction::is_plausible_for_a_picture);
        self.implausible += u64::from(!is_plausible);
        let duration = duration.filter(|_| is_plausible);
        PictureTiming { bidirectional, duration, delay, delay_known: true }
    }

    /// Returns the number of pictures so far whose headers state an implausible duration.
    pub fn implausible(&self) -> u64 {
        self.implausible
    }

    /// Returns the duration of the picture in seconds, as `compute_frame_duration` in
    /// `libavformat/demux.c` does. `None` if the frame rate is missing or implausible.
    fn duration(&self) -> Option<Fraction> {
        let (frames, seconds) = self.parser.frame_rate();
        if frames <= 0 || seconds <= 0 || seconds * 1000 <= frames {
            return None;
        }
        // Before FFmpeg 6.1, the H.264 parser sets the field rate if the context's decoder is not
        // open, and the MPEG-1 parser counts whole pictures. From 6.1 on, both count as MPEG-2 does
        // (`AV_CODEC_PROP_FIELDS` in `libavcodec/codec_desc.c`).
        let counts_fields = match self.codec {
            VideoCodec::H264 => !is_before_6_1(),
            VideoCodec::Mpeg2 => !(is_before_6_1() && self.parser.is_mpeg1()),
            VideoCodec::Mpeg4 | VideoCodec::Hevc => false,
        };
        let fields = if counts_fields { 2 } else { 1 };
        let repeat = self.parser.repeat();
        let shown = if repeat > 0 { repeat + 1 } else { 1 };
        Some(Fraction { numerator: seconds * shown, denominator: frames * fields })
    }
}
