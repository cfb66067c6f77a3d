//! Conversion of size and pixel format by libswscale.
//!
//! `ffmpeg-next`'s scaler is not used, because it converts the format of each frame to the crate's
//! enum (see [`super::pixel_format`]).
#![allow(unsafe_code)]

use std::ptr::{NonNull, null, null_mut};

use ffmpeg::ffi;
use ffmpeg::software::scaling::Flags;
use ffmpeg_next as ffmpeg;

use super::pixel_format::PixelFormat;
use super::raw_frame;
use crate::error::{Error, Result, Stage};

/// Converts frames of one size and format to another.
pub struct Scaler {
    context: NonNull<ffi::SwsContext>,
    from: Shape,
    to: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    format: PixelFormat,
    width: u32,
    height: u32,
}

impl Scaler {
    /// Returns a scaler that converts frames with the size and format of `frame` to
    /// `width`×`height` pixels of `format`.
    ///
    /// # Errors
    ///
    /// Returns an error if libswscale does not convert between these formats or sizes.
    pub fn new(
        frame: &ffmpeg::frame::Video,
        format: PixelFormat,
        (width, height): (u32, u32),
        flags: Flags,
    ) -> Result<Self> {
        let from = Shape {
            format: raw_frame::pixel_format(frame)?,
            width: frame.width(),
            height: frame.height(),
        };
        let to = Shape { format, width, height };
        let failed = || {
            let name = |shape: Shape| shape.format.name().unwrap_or("?");
            Error::new(
                Stage::Decode,
                format!(
                    "libswscale does not convert {} {}×{} to {} {width}×{height}",
                    name(from),
                    from.width,
                    from.height,
                    name(to)
                ),
            )
        };
        let pixels = |count: u32| i32::try_from(count).map_err(|_| failed());
        // SAFETY: plain numbers, and formats that libavutil knows; null filters and
        // parameters select the defaults. The context is checked for null and freed once,
        // by `drop`.
        let context = unsafe {
            ffi::sws_getContext(
                pixels(from.width)?,
                pixels(from.height)?,
                from.format.as_ffi(),
                pixels(width)?,
                pixels(height)?,
                format.as_ffi(),
                flags.bits(),
                null_mut(),
                null_mut(),
                null(),
            )
        };
        Ok(Scaler { context: NonNull::new(context).ok_or_else(failed)?, from, to })
    }

    /// Sets the matrix (`SWS_CS_…`) of source and result, and whether each is full range. Between
    /// two Y'CbCr formats, both ranges must be equal: libswscale does not convert the range of
    /// 16-bit samples.
    pub fn set_colors(&mut self, matrix: i32, from_full_range: bool, to_full_range: bool) {
        const UNITY: i32 = 1 << 16;
        // SAFETY: the context is valid, the table is one of libswscale's constants, and
        // the call only stores numbers in the context.
        unsafe {
            let table = ffi::sws_getCoefficients(matrix);
            ffi::sws_setColorspaceDetails(
                self.context.as_ptr(),
                table,
                i32::from(from_full_range),
                table,
                i32::from(to_full_range),
                0,
                UNITY,
                UNITY,
            );
        }
    }

    /// Converts a frame.
    ///
    /// # Errors
    ///
    /// Returns an error if the frame's size or format differs from the scaler's, or if memory is
    /// short.
    pub fn run(&mut self, frame: &ffmpeg::frame::Video) -> Result<ffmpeg::frame::Video> {
        let format = raw_frame::pixel_format(frame)?;
        if (Shape { format, width: frame.width(), height: frame.height() }) != self.from {
            return Err(Error::new(
                Stage::Decode,
                "picture of a size or format other than the scaler's",
            ));
        }
        let mut output = raw_frame::allocate(self.to.format, self.to.width, self.to.height)?;
        // SAFETY: both frames have buffers for their format and size, which match those
        // of the context: verified above for one, allocated above for the other.
        let rows = unsafe {
            ffi::sws_scale(
                self.context.as_ptr(),
                (*frame.as_ptr()).data.as_ptr().cast(),
                (*frame.as_ptr()).linesize.as_ptr(),
                0,
                i32::try_from(self.from.height).unwrap_or(0),
                (*output.as_mut_ptr()).data.as_ptr(),
                (*output.as_mut_ptr()).linesize.as_ptr(),
            )
        };
        if rows < 0 {
            let cause = ffmpeg::Error::from(rows);
            return Err(Error::new(Stage::Decode, "libswscale failed").because(cause));
        }
        Ok(output)
    }
}

impl Drop for Scaler {
    fn drop(&mut self) {
        // SAFETY: the context comes from sws_getContext and is freed once.
        unsafe { ffi::sws_freeContext(self.context.as_ptr()) }
    }
}
