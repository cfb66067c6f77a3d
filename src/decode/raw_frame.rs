//! Reads those fields of an `AVFrame` as numbers that `ffmpeg-next` converts to enums,
//! and allocates and copies frames by format number (see [`super::pixel_format`]).
#![allow(unsafe_code)]

use std::ffi::c_int;

use ffmpeg::ffi;
use ffmpeg_next as ffmpeg;

use super::pixel_format::PixelFormat;
use crate::error::{Error, Result, Stage};

/// Returns the pixel format of a frame.
///
/// # Errors
///
/// Returns an error if the headers of this build have no format with its number.
pub fn pixel_format(frame: &ffmpeg::frame::Video) -> Result<PixelFormat> {
    // SAFETY: reads a plain integer of a frame that lives as long as `frame`.
    let number = injected().unwrap_or(unsafe { (*frame.as_ptr()).format });
    PixelFormat::from_raw(number).ok_or_else(|| {
        Error::new(
            Stage::Decode,
            format!(
                "picture of a pixel format (number {number}) that this build does not know: \
                 build it with the FFmpeg that is installed"
            ),
        )
    })
}

/// In debug builds the environment variable `SCENETAP_PIXEL_FORMAT` replaces the format number of
/// every frame, so that tests can feed the format of a newer FFmpeg.
fn injected() -> Option<c_int> {
    #[cfg(debug_assertions)]
    {
        use std::sync::LazyLock;
        static NUMBER: LazyLock<Option<c_int>> =
            LazyLock::new(|| std::env::var("SCENETAP_PIXEL_FORMAT").ok()?.parse().ok());
        *NUMBER
    }
    #[cfg(not(debug_assertions))]
    None
}

/// Returns `AVFrame.colorspace`: usually a value of `enum AVColorSpace` (ISO/IEC 23091-2
/// MatrixCoefficients), but any number is possible.
pub fn color_space(frame: &ffmpeg::frame::Video) -> c_int {
    // SAFETY: the field of a frame that lives as long as `frame` is a C enum, which has
    // the layout of an int; it is read as one because any number is possible.
    unsafe { (&raw const (*frame.as_ptr()).colorspace).cast::<c_int>().read() }
}

/// Returns whether `AVFrame.color_range` is full range.
pub fn is_full_range(frame: &ffmpeg::frame::Video) -> bool {
    // SAFETY: as in `color_space`.
    let range = unsafe { (&raw const (*frame.as_ptr()).color_range).cast::<c_int>().read() };
    range == ffi::AVColorRange::AVCOL_RANGE_JPEG as c_int
}

/// Returns the DTS field of the packet that made the decoder return the frame.
pub fn trigger(frame: &ffmpeg::frame::Video) -> Option<i64> {
    // SAFETY: reads a plain integer of a frame that lives as long as `frame`.
    let dts = unsafe { (*frame.as_ptr()).pkt_dts };
    (dts != ffi::AV_NOPTS_VALUE).then_some(dts)
}

/// Returns the number of bytes from one row of the first plane to the next.
///
/// # Errors
///
/// Returns an error if rows are stored bottom up (a negative line size, which FFmpeg's
/// decoders for these codecs never return), or if there is no plane.
pub fn line_bytes(frame: &ffmpeg::frame::Video) -> Result<usize> {
    // SAFETY: reads a plain integer and a pointer of a frame that lives as long as `frame`.
    let (bytes, plane) = unsafe { ((*frame.as_ptr()).linesize[0], (*frame.as_ptr()).data[0]) };
    match usize::try_from(bytes) {
        Ok(bytes) if bytes > 0 && !plane.is_null() => Ok(bytes),
        _ => Err(Error::new(Stage::Decode, format!("picture with a line size of {bytes}"))),
    }
}

/// Allocates a frame with its own buffer, filled with zeros.
///
/// # Errors
///
/// Returns an error if memory is short or the size is invalid.
pub fn allocate(format: PixelFormat, width: u32, height: u32) -> Result<ffmpeg::frame::Video> {
    let failed = |cause| {
        Error::new(Stage::Decode, format!("no memory for a picture of {width}×{height}"))
            .because(cause)
    };
    let mut frame = ffmpeg::frame::Video::empty();
    frame.set_width(width);
    frame.set_height(height);
    // SAFETY: the frame is ours and has no buffer yet; av_frame_get_buffer validates
    // format and size. 32 is the row alignment of ffmpeg-next.
    let status = unsafe {
        (*frame.as_mut_ptr()).format = format.as_ffi() as c_int;
        ffi::av_frame_get_buffer(frame.as_mut_ptr(), 32)
    };
    if status < 0 {
        return Err(failed(ffmpeg::Error::from(status)));
    }
    // SAFETY: `buf` has a pointer for each buffer that av_frame_get_buffer allocated,
    // followed by null pointers; no other reference to them exists. The bytes between
    // rows are read as part of a slice, so they have to be initialized.
    unsafe {
        for buffer in (*frame.as_mut_ptr()).buf.iter().filter_map(|buffer| buffer.as_ref()) {
            std::ptr::write_bytes(buffer.data, 0, buffer.size);
        }
    }
    Ok(frame)
}

/// Copies `frame` to a new buffer.
///
/// # Errors
///
/// As [`allocate`].
pub fn copy(frame: &ffmpeg::frame::Video) -> Result<ffmpeg::frame::Video> {
    let mut copied = allocate(pixel_format(frame)?, frame.width(), frame.height())?;
    // SAFETY: both frames have buffers for the same format and size.
    let status = unsafe {
        match ffi::av_frame_copy(copied.as_mut_ptr(), frame.as_ptr()) {
            0.. => ffi::av_frame_copy_props(copied.as_mut_ptr(), frame.as_ptr()),
            failed => failed,
        }
    };
    if status < 0 {
        let cause = ffmpeg::Error::from(status);
        return Err(Error::new(Stage::Decode, "cannot copy a picture").because(cause));
    }
    Ok(copied)
}
