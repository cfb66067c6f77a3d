//! Shared parts of FFmpeg's libraries: checked wrappers of raw pointers for decoders and parsers,
//! so that other modules need no `unsafe` for them.
//!
//! ```text
//! context  fields of a codec context that `ffmpeg-next` does not expose
//! log      counts the errors that libavcodec reports only in its log
//! linked   the libraries to which the program is linked
//! parser   libavcodec's parsers, which read the headers of pictures and audio frames
//! ```

pub mod context;
pub mod linked;
pub mod log;
mod parser;

use ffmpeg_next as ffmpeg;

pub use parser::{PaddedBytes, Parser};

use crate::media::VideoCodec;

/// Returns FFmpeg's identifier of a codec.
pub fn codec_id(codec: VideoCodec) -> ffmpeg::codec::Id {
    match codec {
        VideoCodec::H264 => ffmpeg::codec::Id::H264,
        VideoCodec::Hevc => ffmpeg::codec::Id::HEVC,
        VideoCodec::Mpeg2 => ffmpeg::codec::Id::MPEG2VIDEO,
        VideoCodec::Mpeg4 => ffmpeg::codec::Id::MPEG4,
    }
}

/// Returns whether the linked libavcodec is older than FFmpeg 6.1, whose parsers count fields
/// differently.
pub fn is_before_6_1() -> bool {
    const FFMPEG_6_1: u32 = (60 << 16) | (31 << 8);
    ffmpeg::codec::version() < FFMPEG_6_1
}
