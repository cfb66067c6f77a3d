//! Reads, as plain numbers, fields of `AVFrame` that `ffmpeg-next` converts to enums. Also
//! allocates and copies frames by format number (see [`super::pixel_format`]).
#![allow(unsafe_code)]

use std::ffi::c_int;

use ffmpeg::ffi;
use ffmpeg_next as ffmpeg;

use super::pixel_format::{PixelFormat, PlanarLayout};
use super::planes::{Planes, Samples};
use crate::error::{Error, Result, Stage};

/// Returns the pixel format of a frame.
///
/// # Errors
///
/// Returns an error if the frame's format number is unknown to the headers of this build.
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

/// In debug builds, the environment variable `SCENETAP_PIXEL_FORMAT` replaces the format number of
/// every frame: tests use it to simulate a format of a newer FFmpeg.
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
/// Returns an error if the frame has no plane, or its rows are stored bottom up (a negative line
/// size, which FFmpeg's decoders for these codecs never return).
pub fn line_bytes(frame: &ffmpeg::frame::Video) -> Result<usize> {
    // SAFETY: reads a plain integer and a pointer of a frame that lives as long as `frame`.
    let (bytes, plane) = unsafe { ((*frame.as_ptr()).linesize[0], (*frame.as_ptr()).data[0]) };
    match usize::try_from(bytes) {
        Ok(bytes) if bytes > 0 && !plane.is_null() => Ok(bytes),
        _ => Err(Error::new(Stage::Decode, format!("picture with a line size of {bytes}"))),
    }
}

/// Returns the planes of a frame with this layout.
///
/// # Errors
///
/// Returns an error if a plane is missing, or its rows overlap or are stored bottom up.
pub fn planes(frame: &ffmpeg::frame::Video, layout: PlanarLayout) -> Result<Planes<'_>> {
    let PlanarLayout { has_chroma, bit_depth, subsampling } = layout;
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    let luma = plane(frame, 0, (width, height), bit_depth)?;
    let size = (width.div_ceil(1 << subsampling.0), height.div_ceil(1 << subsampling.1));
    let chroma = match has_chroma {
        true => Some([plane(frame, 1, size, bit_depth)?, plane(frame, 2, size, bit_depth)?]),
        false => None,
    };
    Ok(Planes { luma, chroma, bit_depth, subsampling })
}

fn plane(
    frame: &ffmpeg::frame::Video,
    index: usize,
    (width, height): (usize, usize),
    bit_depth: u32,
) -> Result<Samples<'_>> {
    // SAFETY: reads a plain integer and a pointer of a frame that lives as long as `frame`.
    let (bytes, data) =
        unsafe { ((*frame.as_ptr()).linesize[index], (*frame.as_ptr()).data[index]) };
    let row_bytes = width * if bit_depth > 8 { 2 } else { 1 };
    let stride = usize::try_from(bytes).ok().filter(|stride| *stride >= row_bytes && *stride > 0);
    let (Some(stride), false) = (stride, data.is_null()) else {
        let what = format!("picture with a line size of {bytes} in plane {index}");
        return Err(Error::new(Stage::Decode, what));
    };
    let length = if height == 0 { 0 } else { (height - 1) * stride + row_bytes };
    // SAFETY: the plane is not null and has `height` rows, `stride` bytes apart in memory order,
    // of which the last has at least `row_bytes`: libavcodec guarantees this for a frame that it
    // returns, after its own cropping, and av_frame_get_buffer for one of ours. All bytes are
    // initialized: libavcodec's pools and `allocate` zero their buffers. The frame's reference
    // keeps them alive, and nothing writes to a frame that is referenced.
    let data = unsafe { std::slice::from_raw_parts(data, length) };
    Ok(Samples { data, stride, width, height })
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
