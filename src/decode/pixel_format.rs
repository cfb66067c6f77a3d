//! Pixel formats, described by libavutil's own table.
//!
//! `ffmpeg-next`'s conversion of pixel formats ends in `unimplemented!()` for formats that are
//! newer than the crate, and its `Video::format()` transmutes any number into a Rust enum. This
//! module reads the format of a frame as a number and checks it before it becomes an
//! `AVPixelFormat`.
#![allow(unsafe_code)]

use std::ffi::CStr;

use ffmpeg::ffi;
use ffmpeg_next as ffmpeg;

/// A pixel format known to the FFmpeg headers of this build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelFormat(ffi::AVPixelFormat);

impl PixelFormat {
    /// Packed RGB, 8 bits a component.
    pub const RGB24: PixelFormat = PixelFormat(ffi::AVPixelFormat::AV_PIX_FMT_RGB24);

    /// Y'CbCr with a sample of 8 bits for each pixel in each of three planes.
    pub const YUV444P: PixelFormat = PixelFormat(ffi::AVPixelFormat::AV_PIX_FMT_YUV444P);

    /// Y'CbCr with a sample of 16 bits per pixel in each of three planes, in native byte order.
    #[cfg(target_endian = "little")]
    pub const YUV444P16: PixelFormat = PixelFormat(ffi::AVPixelFormat::AV_PIX_FMT_YUV444P16LE);
    /// Y'CbCr with a sample of 16 bits per pixel in each of three planes, in native byte order.
    #[cfg(target_endian = "big")]
    pub const YUV444P16: PixelFormat = PixelFormat(ffi::AVPixelFormat::AV_PIX_FMT_YUV444P16BE);

    /// Returns the format for a value of `AVFrame.format`. `None` for `AV_PIX_FMT_NONE`,
    /// and for a format of the linked libavutil that is newer than the headers.
    pub fn from_raw(number: i32) -> Option<Self> {
        let known = 0..ffi::AVPixelFormat::AV_PIX_FMT_NB as i32;
        // SAFETY: the enum is `repr(i32)` with every number below AV_PIX_FMT_NB, without
        // gaps (`enum AVPixelFormat` in libavutil/pixfmt.h; a unit test verifies it).
        known
            .contains(&number)
            .then(|| PixelFormat(unsafe { std::mem::transmute::<i32, ffi::AVPixelFormat>(number) }))
    }

    /// Returns the value for calls to FFmpeg.
    pub fn as_ffi(self) -> ffi::AVPixelFormat {
        self.0
    }

    /// Returns FFmpeg's name, such as `yuv420p`.
    pub fn name(self) -> Option<&'static str> {
        // SAFETY: the descriptor's name is null or a string of libavutil's static table.
        unsafe {
            let name = self.descriptor()?.name;
            if name.is_null() { None } else { CStr::from_ptr(name).to_str().ok() }
        }
    }

    /// Returns the number of bits in a sample of the first component.
    pub fn bit_depth(self) -> u32 {
        let depth = self.descriptor().map(|descriptor| descriptor.comp[0].depth);
        depth.and_then(|depth| u32::try_from(depth).ok()).unwrap_or(8)
    }

    /// Returns the number of bytes in a row of the first plane: one component, or all
    /// components of a packed format.
    pub fn row_bytes(self, width: u32) -> usize {
        let width = i32::try_from(width).unwrap_or(0);
        // SAFETY: only looks up the format in a static table.
        usize::try_from(unsafe { ffi::av_image_get_linesize(self.0, width, 0) }).unwrap_or(0)
    }

    /// Returns the format to which FFmpeg converts a picture before its `select` filter
    /// scores it; `None` if the filter accepts this format. The filter graph chooses the
    /// member of [`SCORED_FORMATS`] that loses least (`pick_format` in
    /// `libavfilter/avfiltergraph.c`).
    pub fn converted_for_scoring(self) -> Option<PixelFormat> {
        if SCORED_FORMATS.contains(&self.0) {
            return None;
        }
        let alpha = self.descriptor().is_some_and(|descriptor| descriptor.nb_components % 2 == 0);
        let none = ffi::AVPixelFormat::AV_PIX_FMT_NONE;
        Some(PixelFormat(SCORED_FORMATS.iter().fold(none, |best, &next| {
            // SAFETY: only looks up formats in a static table; a null loss pointer is allowed.
            unsafe {
                ffi::av_find_best_pix_fmt_of_2(
                    best,
                    next,
                    self.0,
                    i32::from(alpha),
                    std::ptr::null_mut(),
                )
            }
        })))
    }

    /// Returns the layout of a gray or Y'CbCr format with one plane per component; `None` for any
    /// other format. An alpha plane is ignored.
    pub fn planar(self) -> Option<PlanarLayout> {
        // Cast each constant: its type depends on the version of FFmpeg.
        #[allow(clippy::unnecessary_cast)]
        const OTHER: u64 = (ffi::AV_PIX_FMT_FLAG_RGB
            | ffi::AV_PIX_FMT_FLAG_PAL
            | ffi::AV_PIX_FMT_FLAG_HWACCEL
            | ffi::AV_PIX_FMT_FLAG_BITSTREAM
            | ffi::AV_PIX_FMT_FLAG_BAYER
            | ffi::AV_PIX_FMT_FLAG_FLOAT) as u64;
        #[allow(clippy::unnecessary_cast)]
        const BIG_ENDIAN: u64 = ffi::AV_PIX_FMT_FLAG_BE as u64;
        let descriptor = self.descriptor()?;
        let components = usize::from(descriptor.nb_components);
        let is_other_endian = (descriptor.flags & BIG_ENDIAN != 0) != cfg!(target_endian = "big");
        let bit_depth = self.bit_depth();
        let step = if bit_depth > 8 { 2 } else { 1 };
        let is_plain = descriptor.comp[..components.min(4)].iter().zip(0..).all(|(comp, plane)| {
            (comp.plane, comp.step, comp.offset, comp.shift) == (plane, step, 0, 0)
                && u32::try_from(comp.depth) == Ok(bit_depth)
        });
        let is_planar = (1..=4).contains(&components)
            && descriptor.flags & OTHER == 0
            && (8..=16).contains(&bit_depth)
            && (bit_depth == 8 || !is_other_endian)
            && is_plain;
        is_planar.then(|| PlanarLayout {
            has_chroma: components >= 3,
            bit_depth,
            subsampling: (descriptor.log2_chroma_w.into(), descriptor.log2_chroma_h.into()),
        })
    }

    fn descriptor(self) -> Option<&'static ffi::AVPixFmtDescriptor> {
        // SAFETY: returns null or a pointer into a static table.
        unsafe { ffi::av_pix_fmt_desc_get(self.0).as_ref() }
    }
}

/// Layout of the planes of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanarLayout {
    /// Whether there are two chroma planes.
    pub has_chroma: bool,
    /// Bits per sample.
    pub bit_depth: u32,
    /// Number of pixels per chroma sample, as powers of two: horizontally and vertically.
    pub subsampling: (u32, u32),
}

/// Formats that `libavfilter/f_select.c` scores without conversion.
const SCORED_FORMATS: [ffi::AVPixelFormat; 11] = [
    ffi::AVPixelFormat::AV_PIX_FMT_RGB24,
    ffi::AVPixelFormat::AV_PIX_FMT_BGR24,
    ffi::AVPixelFormat::AV_PIX_FMT_RGBA,
    ffi::AVPixelFormat::AV_PIX_FMT_ABGR,
    ffi::AVPixelFormat::AV_PIX_FMT_BGRA,
    ffi::AVPixelFormat::AV_PIX_FMT_GRAY8,
    ffi::AVPixelFormat::AV_PIX_FMT_YUV420P,
    ffi::AVPixelFormat::AV_PIX_FMT_YUVJ420P,
    ffi::AVPixelFormat::AV_PIX_FMT_YUV422P,
    ffi::AVPixelFormat::AV_PIX_FMT_YUVJ422P,
    ffi::AVPixelFormat::AV_PIX_FMT_YUV420P10LE,
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_number_below_the_last_is_a_format_and_no_other_is() {
        let count = ffi::AVPixelFormat::AV_PIX_FMT_NB as i32;
        let name = |number| PixelFormat::from_raw(number).and_then(PixelFormat::name);
        let named = (0..count).filter(|number| name(*number).is_some()).count();
        // A number without a descriptor would be a gap in the enum.
        assert_eq!(named, usize::try_from(count).unwrap());
        for number in [i32::MIN, -2, -1, count, count + 1, i32::MAX] {
            assert_eq!(PixelFormat::from_raw(number), None, "{number}");
        }
    }

    #[test]
    fn formats_are_scored_as_ffmpegs_filter_graph_has_them() {
        let named = |name: &str| {
            let number = (0..).find(|n| PixelFormat::from_raw(*n).unwrap().name() == Some(name));
            PixelFormat::from_raw(number.unwrap()).unwrap()
        };
        let scored = |name| named(name).converted_for_scoring().and_then(PixelFormat::name);
        assert_eq!((scored("yuv420p"), scored("yuv422p")), (None, None));
        assert_eq!(scored("gbrp"), Some("rgb24"));
        assert_eq!((named("yuv420p10le").bit_depth(), named("rgb24").row_bytes(3)), (10, 9));
    }
}
