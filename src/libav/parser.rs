//! libavcodec's parsers (`av_parser_parse2`), which read the headers of coded pictures and audio
//! frames as FFmpeg's demuxers see them.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::ptr::NonNull;

use ffmpeg::ffi;
use ffmpeg_next as ffmpeg;

use super::{codec_id, context, log};
use crate::media::{AudioCodec, Ticks, VideoCodec};

const PADDING: usize = ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize;

/// Bytes followed by zeros, because libavcodec may read past their end.
#[derive(Debug, Default)]
pub struct PaddedBytes(Vec<u8>);

impl PaddedBytes {
    /// Replaces the bytes; the buffer is reused.
    pub fn fill(&mut self, bytes: &[u8]) {
        self.0.clear();
        self.0.extend_from_slice(bytes);
        self.0.resize(bytes.len() + PADDING, 0);
    }
}

/// The type of `av_parser_init`'s codec id: `int` up to FFmpeg 8, `AVCodecID` from FFmpeg 9 on.
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

/// A parser, and the codec context to which it writes its results.
pub struct Parser {
    parser: NonNull<ffi::AVCodecParserContext>,
    context: ffmpeg::codec::Context,
}

// SAFETY: both are owned only by this struct and are not tied to a thread.
unsafe impl Send for Parser {}

impl Parser {
    /// Opens the parser of a video stream, for input in whole access units. `None` if the linked
    /// FFmpeg has no parser for `codec`.
    pub fn of_video(codec: VideoCodec) -> Option<Self> {
        Parser::open(codec_id(codec).into(), ffi::PARSER_FLAG_COMPLETE_FRAMES)
    }

    /// Opens the parser of an audio stream. `None` if the codec is unknown, or the linked FFmpeg
    /// has no parser for it.
    pub fn of_audio(codec: AudioCodec) -> Option<Self> {
        let id = match codec {
            AudioCodec::Mpeg => ffi::AVCodecID::AV_CODEC_ID_MP3,
            AudioCodec::Aac => ffi::AVCodecID::AV_CODEC_ID_AAC,
            AudioCodec::AacLatm => ffi::AVCodecID::AV_CODEC_ID_AAC_LATM,
            AudioCodec::Ac3 => ffi::AVCodecID::AV_CODEC_ID_AC3,
            AudioCodec::Eac3 => ffi::AVCodecID::AV_CODEC_ID_EAC3,
            AudioCodec::Dts => ffi::AVCodecID::AV_CODEC_ID_DTS,
            AudioCodec::Opus => ffi::AVCodecID::AV_CODEC_ID_OPUS,
            AudioCodec::Private | AudioCodec::Other => return None,
        };
        Parser::open(id, 0)
    }

    fn open(id: ffi::AVCodecID, flags: i32) -> Option<Self> {
        log::listen();
        let mut context = ffmpeg::codec::Context::new();
        // SAFETY: the parser was checked for null and is owned by the struct from here on; no other
        // reference to the context exists, it is not open, and its codec_id is a plain field.
        unsafe {
            (*context.as_mut_ptr()).codec_id = id;
            let mut parser = NonNull::new(ffi::av_parser_init(ParserId::of(id)))?;
            parser.as_mut().flags |= flags;
            Some(Parser { parser, context })
        }
    }

    /// Parses `input` from byte `from` on. Returns the number of bytes consumed and the completed
    /// frame, which is empty if no frame was completed. `None` after an error.
    pub fn parse<'a>(
        &'a mut self,
        input: &'a PaddedBytes,
        from: usize,
        pts: Option<Ticks>,
    ) -> Option<(usize, &'a [u8])> {
        let padded = &input.0;
        let bytes = padded.len().checked_sub(PADDING)?.checked_sub(from)?;
        let size = i32::try_from(bytes).ok()?;
        let time = pts.map_or(ffi::AV_NOPTS_VALUE, |pts| pts.0);
        let (mut out, mut out_size) = (std::ptr::null_mut(), 0);
        // SAFETY: parser and context are valid for as long as `self`; the input has
        // `size` bytes from `from` and PADDING more. The output points into the input,
        // or into the parser until its next call: both are borrowed.
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

    /// Returns whether the picture parsed last is a B picture.
    pub fn is_bidirectional(&self) -> bool {
        let bidirectional = ffi::AVPictureType::AV_PICTURE_TYPE_B as c_int;
        // SAFETY: reads a plain field.
        unsafe { self.parser.as_ref().pict_type == bidirectional }
    }

    /// Returns `repeat_pict` of the last parsed picture: the number of additional fields, or
    /// frames, for which it is shown.
    pub fn repeat(&self) -> i64 {
        // SAFETY: reads a plain field.
        i64::from(unsafe { self.parser.as_ref().repeat_pict })
    }

    /// Returns the frame rate of the stream in frames per second, as a fraction; 0 if the headers
    /// do not state it.
    pub fn frame_rate(&self) -> (i64, i64) {
        let rate = self.context.frame_rate();
        (i64::from(rate.numerator()), i64::from(rate.denominator()))
    }

    /// Returns the presentation time of the completed frame.
    pub fn pts(&self) -> Option<Ticks> {
        // SAFETY: reads a plain field.
        let pts = unsafe { self.parser.as_ref().pts };
        (pts != ffi::AV_NOPTS_VALUE).then_some(Ticks(pts))
    }

    /// Returns the number of samples in the completed frame.
    pub fn samples(&self) -> u32 {
        // SAFETY: reads a plain field.
        u32::try_from(unsafe { self.parser.as_ref().duration }).unwrap_or(0)
    }

    /// Returns the sample rate of the stream in Hz; 0 if the parser does not determine it.
    pub fn sample_rate(&self) -> u32 {
        // SAFETY: reads a plain field.
        unsafe { u32::try_from((*self.context.as_ptr()).sample_rate).unwrap_or(0) }
    }

    /// Returns the number of pictures by which a decoder delays its output, as known to the parser.
    pub fn delay(&self) -> u32 {
        // SAFETY: reads a plain field.
        unsafe { u32::try_from((*self.context.as_ptr()).has_b_frames).unwrap_or(0) }
    }

    /// Sets the output delay in the context that the parser reads.
    pub fn set_delay(&mut self, pictures: u32) {
        context::set_reorder(&mut self.context, pictures);
    }

    /// Returns whether the parser of MPEG-1 and MPEG-2 has identified MPEG-1.
    pub fn is_mpeg1(&self) -> bool {
        // SAFETY: no other reference to the context exists. The field is a C enum, which has the
        // layout of an int; it is read as an int because it may have any value.
        let id = unsafe { (&raw const (*self.context.as_ptr()).codec_id).cast::<c_int>().read() };
        id == ffi::AVCodecID::AV_CODEC_ID_MPEG1VIDEO as c_int
    }
}

impl Drop for Parser {
    fn drop(&mut self) {
        // SAFETY: the parser was created by av_parser_init and is closed once.
        unsafe { ffi::av_parser_close(self.parser.as_ptr()) }
    }
}

impl std::fmt::Debug for Parser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parser").finish_non_exhaustive()
    }
}
