//! libavcodec's parsers, used to read the headers of coded pictures and audio frames.
//!
//! The demuxer decides where pictures begin and end. The parsers only read headers, so
//! that each codec's headers are read exactly as FFmpeg reads them.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::ptr::NonNull;

use ffmpeg::ffi;
use ffmpeg_next as ffmpeg;

use super::picture::set_reorder;
use crate::media::{
    AudioCodec, AudioFrame, AudioStream, ByteOffset, Fraction, PictureTiming, Ticks, VideoCodec,
};

/// Length of the part of an access unit that is parsed. It contains everything before the
/// first slice, where the parsers stop.
const HEAD_BYTES: usize = 64 << 10;

/// Reads the headers of the access units of one video stream.
pub struct HeaderReader {
    parser: Parser,
    codec: VideoCodec,
    /// Input with the zero padding that libavcodec requires.
    padded: Vec<u8>,
}

impl HeaderReader {
    /// Returns a reader that has read these parameter sets; they may be empty. `None` if
    /// there is no parser.
    pub fn new(codec: VideoCodec, parameter_sets: &[u8]) -> Option<Self> {
        let parser = Parser::open(super::codec_id(codec).into(), ffi::PARSER_FLAG_COMPLETE_FRAMES)?;
        let mut reader = HeaderReader { parser, codec, padded: Vec::new() };
        if !parameter_sets.is_empty() {
            reader.read(parameter_sets);
        }
        Some(reader)
    }

    /// Returns the codec of the stream.
    pub fn codec(&self) -> VideoCodec {
        self.codec
    }

    /// Reads the headers of the next access unit. The delay is 0 if only the decoder can
    /// determine it.
    pub fn read(&mut self, unit: &[u8]) -> PictureTiming {
        pad(&mut self.padded, &unit[..unit.len().min(HEAD_BYTES)]);
        self.parser.parse(&self.padded, 0, None);
        let (kind, repeat) = self.parser.picture();
        let bidirectional = kind == ffi::AVPictureType::AV_PICTURE_TYPE_B;
        if bidirectional && self.parser.delay() == 0 {
            set_reorder(&mut self.parser.context, 1);
        }
        let delay = match self.codec {
            VideoCodec::H264 | VideoCodec::Hevc => 0,
            _ => self.parser.delay(),
        };
        PictureTiming { bidirectional, duration: self.duration(repeat), delay, delay_known: true }
    }

    /// Follows `compute_frame_duration` in `libavformat/demux.c`.
    fn duration(&self, repeat: i64) -> Option<Fraction> {
        let rate = self.parser.context.frame_rate();
        let (frames, seconds) = (i64::from(rate.numerator()), i64::from(rate.denominator()));
        if frames <= 0 || seconds <= 0 || seconds * 1000 <= frames {
            return None;
        }
        // For codecs whose pictures can be fields, the frame rate counts fields.
        let fields = match self.codec {
            VideoCodec::H264 if is_before_6_1() => 1,
            VideoCodec::H264 => 2,
            VideoCodec::Mpeg2 if is_before_6_1() && self.parser.is_mpeg1() => 1,
            VideoCodec::Mpeg2 => 2,
            VideoCodec::Mpeg4 | VideoCodec::Hevc => 1,
        };
        let shown = if repeat > 0 { repeat + 1 } else { 1 };
        Some(Fraction { numerator: seconds * shown, denominator: frames * fields })
    }
}

/// Before FFmpeg 6.1, the H.264 parser sets the rate of fields in a context without an
/// opened decoder, and the MPEG-1 parser counts whole pictures. From 6.1 on, both count
/// as MPEG-2 does (`AV_CODEC_PROP_FIELDS` in `libavcodec/codec_desc.c`).
fn is_before_6_1() -> bool {
    const FFMPEG_6_1: u32 = (60 << 16) | (31 << 8);
    ffmpeg::codec::version() < FFMPEG_6_1
}

/// Splits the PES packets of one audio stream into frames.
pub struct AudioFramer {
    stream: AudioStream,
    parser: Option<Parser>,
    /// Sample rate in Hz, for a codec whose parser leaves it to the decoder (AAC).
    aac_rate: u32,
    /// Sample rate stated by the last frame.
    aac_rate_told: u32,
    padded: Vec<u8>,
}

impl AudioFramer {
    /// Returns a framer that starts at the beginning of a PES packet.
    pub fn new(stream: AudioStream) -> Self {
        let id = match stream.codec {
            AudioCodec::Mpeg => Some(ffi::AVCodecID::AV_CODEC_ID_MP3),
            AudioCodec::Aac => Some(ffi::AVCodecID::AV_CODEC_ID_AAC),
            AudioCodec::AacLatm => Some(ffi::AVCodecID::AV_CODEC_ID_AAC_LATM),
            AudioCodec::Ac3 => Some(ffi::AVCodecID::AV_CODEC_ID_AC3),
            AudioCodec::Eac3 => Some(ffi::AVCodecID::AV_CODEC_ID_EAC3),
            AudioCodec::Dts => Some(ffi::AVCodecID::AV_CODEC_ID_DTS),
            AudioCodec::Opus => Some(ffi::AVCodecID::AV_CODEC_ID_OPUS),
            AudioCodec::Private | AudioCodec::Other => None,
        };
        let parser = id.and_then(|id| Parser::open(id, 0));
        AudioFramer { stream, parser, aac_rate: 0, aac_rate_told: 0, padded: Vec::new() }
    }

    /// Returns the stream that is read.
    pub fn stream(&self) -> AudioStream {
        self.stream
    }

    /// Parses the next PES packet, which begins at `at`, and passes the frames that it
    /// completes to `sink`.
    pub fn push(
        &mut self,
        at: ByteOffset,
        mut pts: Option<Ticks>,
        data: &[u8],
        mut sink: impl FnMut(AudioFrame),
    ) {
        let AudioStream { pid, codec } = self.stream;
        let Some(parser) = &mut self.parser else {
            let unknown = AudioFrame {
                pid,
                at,
                pts,
                samples: 0,
                sample_rate: 0,
                counted: false,
                exact: false,
            };
            sink(unknown);
            return;
        };
        // Codecs whose decoders set `AVCodecContext.frame_size`.
        let counted = matches!(codec, AudioCodec::Mpeg | AudioCodec::Aac | AudioCodec::AacLatm);
        pad(&mut self.padded, data);
        let mut from = 0;
        while from < data.len() {
            let Some((consumed, frame)) = parser.parse(&self.padded, from, pts.take()) else {
                return;
            };
            from += consumed;
            if let Some(rate) = aac_rate(codec, frame) {
                // A single frame with a different rate is damaged: the first rate stays,
                // as in FFmpeg.
                if self.aac_rate == 0 || self.aac_rate_told == rate {
                    self.aac_rate = rate;
                }
                self.aac_rate_told = rate;
            }
            let completed = !frame.is_empty();
            if completed {
                let pts = parser.pts();
                let exact = matches!(codec, AudioCodec::Aac | AudioCodec::AacLatm);
                let (samples, sample_rate) = match codec {
                    AudioCodec::Aac | AudioCodec::AacLatm => (AAC_SAMPLES, self.aac_rate),
                    AudioCodec::Opus => (parser.duration(), OPUS_RATE),
                    _ => (parser.duration(), parser.sample_rate()),
                };
                sink(AudioFrame { pid, at, pts, samples, sample_rate, counted, exact });
            } else if consumed == 0 {
                return;
            }
        }
    }
}

/// Samples per AAC frame (ISO/IEC 14496-3, 4.5.1.1: `frameLengthFlag` 0).
const AAC_SAMPLES: u32 = 1024;

/// Opus always counts samples at this rate (RFC 6716, 2.1.3).
const OPUS_RATE: u32 = 48_000;

/// Returns the sample rate in an ADTS header, or in the StreamMuxConfig of a LOAS frame
/// that has one (ISO/IEC 14496-3, 1.A.2.2, 1.7.3).
fn aac_rate(codec: AudioCodec, frame: &[u8]) -> Option<u32> {
    const RATES: [u32; 13] = [
        96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025,
        8_000, 7_350,
    ];
    let index = match (codec, frame) {
        (AudioCodec::Aac, [_, _, third, ..]) => third >> 2 & 0x0f,
        // useSameStreamMux and audioMuxVersion are 0.
        (AudioCodec::AacLatm, [_, _, _, fourth, _, sixth, seventh, ..]) if fourth & 0xc0 == 0 => {
            (sixth & 0x07) << 1 | seventh >> 7
        }
        _ => return None,
    };
    RATES.get(usize::from(index)).copied()
}

/// Copies `bytes` and appends the zeros that libavcodec may read past the end.
fn pad(padded: &mut Vec<u8>, bytes: &[u8]) {
    padded.clear();
    padded.extend_from_slice(bytes);
    padded.resize(bytes.len() + PADDING, 0);
}

const PADDING: usize = ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize;

/// The type of the codec id in `av_parser_init`: `int` up to FFmpeg 8, `AVCodecID` from 9
/// on.
trait ParserId {
    fn of(id: ffi::AVCodecID) -> Self;
}

impl ParserId for c_int {
    fn of(id: ffi::AVCodecID) -> Self {
        id as c_int
    }
}

impl ParserId for ffi::AVCodecID {
    fn of(id: ffi::AVCodecID) -> Self {
        id
    }
}

/// A parser, and the context to which it writes its results.
struct Parser {
    parser: NonNull<ffi::AVCodecParserContext>,
    context: ffmpeg::codec::Context,
}

// SAFETY: both are owned by this struct alone and are not tied to a thread.
unsafe impl Send for Parser {}

impl Parser {
    fn open(id: ffi::AVCodecID, flags: i32) -> Option<Self> {
        super::complaints::listen();
        let mut context = ffmpeg::codec::Context::new();
        // SAFETY: the parser is checked for null and owned by the struct from here
        // on; the context is ours and not opened, its codec_id a plain field.
        unsafe {
            (*context.as_mut_ptr()).codec_id = id;
            let mut parser = NonNull::new(ffi::av_parser_init(ParserId::of(id)))?;
            parser.as_mut().flags |= flags;
            Some(Parser { parser, context })
        }
    }

    /// Parses from byte `from` of `padded`, which ends in [`PADDING`] zeros. Returns the
    /// number of bytes consumed and the frame that was completed, which is empty if there
    /// is none. Returns `None` after an error.
    fn parse<'a>(
        &'a mut self,
        padded: &'a [u8],
        from: usize,
        pts: Option<Ticks>,
    ) -> Option<(usize, &'a [u8])> {
        let bytes = padded.len().checked_sub(PADDING)?.checked_sub(from)?;
        let size = i32::try_from(bytes).ok()?;
        let time = pts.map_or(ffi::AV_NOPTS_VALUE, |pts| pts.0);
        let (mut out, mut out_size) = (std::ptr::null_mut(), 0);
        // SAFETY: parser and context are valid as long as `self`; the input has `size`
        // bytes from `from` on, and PADDING more. The returned frame lies in the input,
        // or in the parser until its next call: both are borrowed.
        unsafe {
            let consumed = ffi::av_parser_parse2(
                self.parser.as_ptr(),
                self.context.as_mut_ptr(),
                &raw mut out,
                &raw mut out_size,
                padded.as_ptr().add(from),
                size,
                time,
                time,
                0,
            );
            let frame = match usize::try_from(out_size) {
                Ok(bytes) if bytes > 0 && !out.is_null() => std::slice::from_raw_parts(out, bytes),
                _ => &[],
            };
            Some((usize::try_from(consumed).ok()?, frame))
        }
    }

    /// Returns the picture type, and for how many additional fields or frames it is
    /// shown.
    fn picture(&self) -> (ffi::AVPictureType, i64) {
        // SAFETY: reads plain fields; pict_type is only ever set to values of the enum.
        unsafe {
            let parser = self.parser.as_ref();
            let bidirectional = ffi::AVPictureType::AV_PICTURE_TYPE_B as i32;
            let kind = if parser.pict_type == bidirectional {
                ffi::AVPictureType::AV_PICTURE_TYPE_B
            } else {
                ffi::AVPictureType::AV_PICTURE_TYPE_NONE
            };
            (kind, i64::from(parser.repeat_pict))
        }
    }

    /// Returns the PTS of the completed frame.
    fn pts(&self) -> Option<Ticks> {
        // SAFETY: reads a plain field.
        let pts = unsafe { self.parser.as_ref().pts };
        (pts != ffi::AV_NOPTS_VALUE).then_some(Ticks(pts))
    }

    /// Returns the number of samples in the completed frame.
    fn duration(&self) -> u32 {
        // SAFETY: reads a plain field.
        u32::try_from(unsafe { self.parser.as_ref().duration }).unwrap_or(0)
    }

    fn delay(&self) -> u32 {
        // SAFETY: reads a plain field.
        unsafe { u32::try_from((*self.context.as_ptr()).has_b_frames).unwrap_or(0) }
    }

    fn sample_rate(&self) -> u32 {
        // SAFETY: reads a plain field.
        unsafe { u32::try_from((*self.context.as_ptr()).sample_rate).unwrap_or(0) }
    }

    /// Whether the parser for MPEG-1 and MPEG-2 has detected MPEG-1.
    fn is_mpeg1(&self) -> bool {
        // SAFETY: the context is owned by `self`. The field is a C enum, which has the
        // layout of an int; it is read as one because any number is possible.
        let id = unsafe { (&raw const (*self.context.as_ptr()).codec_id).cast::<c_int>().read() };
        id == ffi::AVCodecID::AV_CODEC_ID_MPEG1VIDEO as c_int
    }
}

impl Drop for Parser {
    fn drop(&mut self) {
        // SAFETY: the parser comes from av_parser_init and is closed once.
        unsafe { ffi::av_parser_close(self.parser.as_ptr()) }
    }
}

impl std::fmt::Debug for HeaderReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeaderReader").field("codec", &self.codec).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for AudioFramer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AudioFramer").field("stream", &self.stream).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns an ADTS frame of 16 bytes whose header has the sampling frequency `index`.
    fn adts(index: u8) -> Vec<u8> {
        let mut frame = vec![0xff, 0xf1, 0x40 | index << 2, 0x80, 0x02, 0x1f, 0xfc];
        frame.resize(16, 0);
        frame
    }

    #[test]
    fn one_audio_frame_with_a_damaged_header_does_not_change_the_rate() {
        let stream = AudioStream { pid: 0x101, codec: AudioCodec::Aac };
        let mut framer = AudioFramer::new(stream);
        let mut rates = Vec::new();
        for index in [3, 3, 10, 3, 3, 4, 4, 4] {
            let frame = adts(index);
            framer
                .push(ByteOffset(0), Some(Ticks(0)), &frame, |frame| rates.push(frame.sample_rate));
        }
        let (before, now) = (48_000, 44_100);
        assert_eq!(rates.first_chunk(), Some(&[before; 5]), "{rates:?}");
        assert_eq!(rates.last(), Some(&now), "{rates:?}");
        assert!(!rates.contains(&11_025), "{rates:?}");
    }
}
