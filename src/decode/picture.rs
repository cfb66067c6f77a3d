//! A decoded picture over FFmpeg's reference-counted buffers, and its conversion for JPEG.
#![allow(unsafe_code)]

use std::sync::Arc;

use ffmpeg::software::scaling::Flags;
use ffmpeg_next as ffmpeg;

use super::colors::Colors;
use super::jfif;
use super::pixel_format::PixelFormat;
use super::planes::Planes;
use super::raw_frame;
use super::scaler::Scaler;
use crate::error::{Error, Result, Stage};
use crate::media::{JfifPicture, Luma, Picture, PictureFormat, RgbPicture};

/// A picture returned by libavcodec. Holds a reference to its buffer; nothing is copied.
pub struct DecodedPicture {
    frame: ffmpeg::frame::Video,
    /// The picture to score, if FFmpeg's filter does not accept the format.
    scored: Option<ffmpeg::frame::Video>,
    /// Layout of the first plane of the picture to score.
    plane: Plane,
    format: PictureFormat,
}

/// Validated layout of a frame's first plane.
#[derive(Debug, Clone, Copy)]
struct Plane {
    stride: usize,
    row_bytes: usize,
    height: usize,
    bit_depth: u32,
}

impl Plane {
    fn of(frame: &ffmpeg::frame::Video) -> Result<Self> {
        let format = raw_frame::pixel_format(frame)?;
        let stride = raw_frame::line_bytes(frame)?;
        let row_bytes = format.row_bytes(frame.width());
        if row_bytes > stride {
            let what = format!("picture with rows of {row_bytes} bytes, {stride} bytes apart");
            return Err(Error::new(Stage::Decode, what));
        }
        let height = frame.height() as usize;
        Ok(Plane { stride, row_bytes, height, bit_depth: format.bit_depth() })
    }

    /// Returns the bytes of the plane in `frame`, from the first visible sample to the
    /// last.
    fn bytes<'a>(&self, frame: &'a ffmpeg::frame::Video) -> &'a [u8] {
        if self.height == 0 {
            return &[];
        }
        let bytes = (self.height - 1) * self.stride + self.row_bytes;
        // SAFETY: `Plane::of` has verified that `data[0]` is not null and that rows are
        // `stride` bytes apart, in memory order. It points to the first visible sample of
        // `height` rows, the last of which has at least `row_bytes`: libavcodec
        // guarantees this for a frame it returns, after its own cropping, and
        // av_frame_get_buffer for one of ours. The bytes between rows are initialized:
        // libavcodec's pools and `raw_frame::allocate` zero their buffers. The frame's
        // reference keeps the buffer alive as long as `frame`, and nothing writes to it:
        // decoders never write to a frame that is referenced.
        unsafe { std::slice::from_raw_parts((*frame.as_ptr()).data[0], bytes) }
    }
}

impl DecodedPicture {
    /// Takes a frame, and converts it if FFmpeg's `select` filter would convert it.
    ///
    /// # Errors
    ///
    /// Returns an error if this build does not know the pixel format or layout, or if
    /// libswscale cannot convert it.
    pub fn new(frame: ffmpeg::frame::Video) -> Result<Self> {
        let pixel_format = raw_frame::pixel_format(&frame)?;
        let size = (frame.width(), frame.height());
        let scored = match pixel_format.converted_for_scoring() {
            // The scaler of the filter graph uses the ffmpeg tool's default,
            // `flags=bicubic`.
            Some(to) => Some(Scaler::new(&frame, to, size, Flags::BICUBIC)?.run(&frame)?),
            None => None,
        };
        let plane = Plane::of(scored.as_ref().unwrap_or(&frame))?;
        let name = pixel_format
            .name()
            .ok_or_else(|| Error::new(Stage::Decode, "picture of a pixel format without a name"))?;
        let format = PictureFormat { width: size.0, height: size.1, pixel_format: name.to_owned() };
        Ok(DecodedPicture { frame, scored, plane, format })
    }
}

impl DecodedPicture {
    /// Scales the picture down, and converts it with `of_planes` or, from packed R'G'B', with `of_rgb`.
    fn converted<T>(
        &self,
        max_width: Option<u32>,
        of_planes: impl Fn(&Planes<'_>, Colors) -> T,
        of_rgb: impl Fn(Vec<u8>, (u32, u32)) -> T,
    ) -> Result<T> {
        let size = (self.frame.width(), self.frame.height());
        let to_size = scaled_down(size, max_width);
        let colors = Colors::of(&self.frame, &self.format.pixel_format);
        let layout = raw_frame::pixel_format(&self.frame)?.planar();
        if let Some(layout) = layout.filter(|_| to_size == size) {
            return Ok(of_planes(&raw_frame::planes(&self.frame, layout)?, colors));
        }
        let flags =
            Flags::BICUBIC | Flags::ACCURATE_RND | Flags::FULL_CHR_H_INT | Flags::FULL_CHR_H_INP;
        // Packed and RGB formats, which few encoders use, are converted to RGB.
        let to_format = match layout {
            Some(layout) if layout.bit_depth > 8 => PixelFormat::YUV444P16,
            Some(_) => PixelFormat::YUV444P,
            None => PixelFormat::RGB24,
        };
        let mut scaler = Scaler::new(&self.frame, to_format, to_size, flags)?;
        let to_full_range = colors.full_range || to_format == PixelFormat::RGB24;
        scaler.set_colors(colors.matrix.swscale, colors.full_range, to_full_range);
        let output = scaler.run(&self.frame)?;
        if let Some(layout) = to_format.planar() {
            return Ok(of_planes(&raw_frame::planes(&output, layout)?, colors));
        }
        let plane = Plane::of(&output)?;
        let mut rgb = Vec::with_capacity(plane.row_bytes * plane.height);
        for row in plane.bytes(&output).chunks(plane.stride) {
            rgb.extend_from_slice(&row[..plane.row_bytes]);
        }
        Ok(of_rgb(rgb, to_size))
    }
}

/// Returns the size of a picture scaled down to a width of at most `max_width` pixels.
fn scaled_down((width, height): (u32, u32), max_width: Option<u32>) -> (u32, u32) {
    let Some(limit) = max_width.filter(|limit| *limit < width) else { return (width, height) };
    let scaled = (u64::from(height) * u64::from(limit) + u64::from(width) / 2) / u64::from(width);
    (limit, u32::try_from(scaled.max(1)).unwrap_or(height))
}

impl Picture for DecodedPicture {
    fn luma(&self) -> Luma<'_> {
        let Plane { stride, row_bytes, height, bit_depth } = self.plane;
        Luma {
            data: self.plane.bytes(self.scored.as_ref().unwrap_or(&self.frame)),
            stride,
            width: row_bytes / if bit_depth > 8 { 2 } else { 1 },
            height,
            bit_depth,
        }
    }

    fn format(&self) -> PictureFormat {
        self.format.clone()
    }

    fn checksum(&self) -> u32 {
        let mut checksum = crc32fast::Hasher::new();
        let layout = raw_frame::pixel_format(&self.frame).ok().and_then(PixelFormat::planar);
        match layout.and_then(|layout| raw_frame::planes(&self.frame, layout).ok()) {
            Some(planes) => planes.rows().for_each(|row| checksum.update(row)),
            None => {
                let luma = self.luma();
                (0..luma.height).for_each(|y| checksum.update(luma.row(y)));
            }
        }
        checksum.finalize()
    }

    fn to_jfif(&self, max_width: Option<u32>) -> Result<JfifPicture> {
        self.converted(max_width, jfif::convert, |rgb, size| jfif::from_rgb(&rgb, size))
    }

    fn to_rgb(&self, max_width: Option<u32>) -> Result<RgbPicture> {
        let packed = |pixels, (width, height)| RgbPicture { width, height, pixels };
        self.converted(max_width, jfif::to_rgb, packed)
    }

    fn copied(&self) -> Result<Arc<dyn Picture>> {
        let scored = self.scored.as_ref().map(raw_frame::copy).transpose()?;
        let frame = raw_frame::copy(&self.frame)?;
        let plane = Plane::of(scored.as_ref().unwrap_or(&frame))?;
        Ok(Arc::new(DecodedPicture { frame, scored, plane, format: self.format.clone() }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ffmpeg::ffi;

    fn frame() -> ffmpeg::frame::Video {
        let mut frame = ffmpeg::frame::Video::new(ffmpeg::format::Pixel::YUV420P, 64, 48);
        for plane in 0..3 {
            frame.data_mut(plane).fill(128);
        }
        frame
    }

    fn error_for(change: impl FnOnce(&mut ffi::AVFrame)) -> String {
        let mut frame = frame();
        // SAFETY: no other reference to the frame exists, and freeing it reads none of the changed
        // fields.
        unsafe { change(&mut *frame.as_mut_ptr()) };
        DecodedPicture::new(frame).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn a_picture_of_a_pixel_format_of_a_newer_ffmpeg_is_an_error_and_no_panic() {
        for number in [ffi::AVPixelFormat::AV_PIX_FMT_NB as i32, 9_999, -1, i32::MIN] {
            let error = error_for(|frame| frame.format = number);
            assert!(error.contains(&format!("number {number}")), "{error}");
            assert!(error.contains("build it with the FFmpeg that is installed"), "{error}");
        }
    }

    #[test]
    fn a_picture_whose_rows_stand_bottom_up_or_overlap_is_an_error() {
        for bytes in [-64, 0, 63] {
            let error = error_for(|frame| frame.linesize[0] = bytes);
            assert!(error.contains(&bytes.to_string()), "{error}");
        }
    }

    #[test]
    fn a_colour_space_and_range_of_a_newer_ffmpeg_count_as_untagged() {
        let untagged = DecodedPicture::new(frame()).unwrap().to_jfif(None).unwrap();
        let mut tagged = frame();
        // SAFETY: no other reference to the frame exists; a C enum has the layout of an int, and no
        // Rust code reads these fields as enums.
        unsafe {
            (&raw mut (*tagged.as_mut_ptr()).colorspace).cast::<i32>().write(250);
            (&raw mut (*tagged.as_mut_ptr()).color_range).cast::<i32>().write(250);
        }
        let tagged = DecodedPicture::new(tagged).unwrap();
        assert_eq!(tagged.to_jfif(None).unwrap(), untagged);
        assert_eq!(tagged.copied().unwrap().to_jfif(None).unwrap(), untagged);
    }
}
