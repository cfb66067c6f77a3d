//! The FFmpeg libraries to which the program is linked.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};

use ffmpeg::ffi;
use ffmpeg_next as ffmpeg;

use super::codec_id;
use crate::media::VideoCodec;

/// Returns the version of FFmpeg in the form of `ffmpeg -version`: `9.0.2`, `5.1.9-0+deb12u1`.
pub fn version() -> String {
    // SAFETY: the function takes nothing and returns a string constant of the library.
    text(unsafe { ffi::av_version_info() })
}

/// Returns the license under which libavcodec was configured: `LGPL version 2.1 or later`.
pub fn license() -> String {
    // SAFETY: as above.
    text(unsafe { ffi::avcodec_license() })
}

/// Returns whether FFmpeg is linked statically.
pub const fn is_static() -> bool {
    cfg!(feature = "static")
}

/// Returns the supported video codecs that libavcodec can decode.
pub fn decoders() -> Vec<VideoCodec> {
    let has_decoder = |codec: &VideoCodec| ffmpeg::decoder::find(codec_id(*codec)).is_some();
    VideoCodec::ALL.into_iter().filter(has_decoder).collect()
}

fn text(constant: *const c_char) -> String {
    if constant.is_null() {
        return String::new();
    }
    // SAFETY: not null, and FFmpeg's constants end with a zero byte.
    unsafe { CStr::from_ptr(constant) }.to_string_lossy().into_owned()
}
