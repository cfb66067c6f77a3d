//! A decoded picture over FFmpeg's reference-counted buffers, and its conversion to RGB.
#![allow(unsafe_code)]

use std::sync::Arc;

use ffmpeg::ffi;
use ffmpeg::software::scaling;
use ffmpeg_next as ffmpeg;

use crate::error::{Error, Result, Stage};
use crate::media::{Luma, Picture, PictureFormat, RgbPicture};

/// A picture as libavcodec gave it. Holds a reference to its buffer: nothing is copied.
pub struct DecodedPicture {
    frame: ffmpeg::frame::Video,
    /// The picture that is scored, where FFmpeg's filter does not take the format as it is.
    scored: Option<ffmpeg::frame::Video>,
    format: PictureFormat,
}

impl DecodedPicture {
    /// Takes a frame, and converts it if FFmpeg's `select` filter would have it converted.
    pub fn new(frame: ffmpeg::frame::Video) -> Result<Self> {
        let pixel_format = ffi::AVPixelFormat::from(frame.format());
        let name = frame
            .format()
            .descriptor()
            .ok_or_else(|| Error::new(Stage::Decode, "picture without a pixel format"))?
            .name()
            .to_owned();
        let scored = match scored_format(pixel_format) {
            Some(format) => Some(convert_for_scoring(&frame, format)?),
            None => None,
        };
        let format =
            PictureFormat { width: frame.width(), height: frame.height(), pixel_format: name };
        Ok(DecodedPicture { frame, scored, format })
    }
}

impl Picture for DecodedPicture {
    fn luma(&self) -> Luma<'_> {
        let frame = self.scored.as_ref().unwrap_or(&self.frame);
        let height = frame.height() as usize;
        let stride = frame.stride(0);
        let bit_depth = depth(frame.format().into());
        let row_bytes = row_bytes(frame.format().into(), frame.width());
        let width = row_bytes / if bit_depth > 8 { 2 } else { 1 };
        let bytes = height.saturating_sub(1) * stride + row_bytes;
        // SAFETY: `data[0]` points at the first visible sample of a plane with
        // `height` rows `stride` bytes apart, of which the last has at least
        // `row_bytes`; libavcodec guarantees it for a frame it returned, after its
        // own cropping. The frame's reference keeps the buffer alive and nobody
        // writes to it: decoders never write to a frame that is referenced.
        let data = unsafe { std::slice::from_raw_parts((*frame.as_ptr()).data[0], bytes) };
        Luma { data, stride, width, height, bit_depth }
    }

    fn format(&self) -> PictureFormat {
        self.format.clone()
    }

    fn to_rgb(&self, max_width: Option<u32>) -> Result<RgbPicture> {
        let (width, height) = (self.frame.width(), self.frame.height());
        let (to_width, to_height) = match max_width {
            Some(limit) if limit < width => {
                let scaled = (u64::from(height) * u64::from(limit) + u64::from(width) / 2)
                    / u64::from(width);
                (limit, u32::try_from(scaled.max(1)).unwrap_or(height))
            }
            _ => (width, height),
        };
        let flags = scaling::Flags::BICUBIC
            | scaling::Flags::ACCURATE_RND
            | scaling::Flags::FULL_CHR_H_INT
            | scaling::Flags::FULL_CHR_H_INP;
        let failed =
            |cause| Error::new(Stage::Decode, "cannot convert a picture to RGB").because(cause);
        let rgb = ffmpeg::format::Pixel::RGB24;
        let mut scaler = scaling::Context::get(
            self.frame.format(),
            width,
            height,
            rgb,
            to_width,
            to_height,
            flags,
        )
        .map_err(failed)?;
        self.set_colours(&mut scaler);
        let mut output = ffmpeg::frame::Video::new(rgb, to_width, to_height);
        scaler.run(&self.frame, &mut output).map_err(failed)?;
        let row_bytes = to_width as usize * 3;
        let mut data = Vec::with_capacity(row_bytes * to_height as usize);
        for row in output.data(0).chunks(output.stride(0)).take(to_height as usize) {
            data.extend_from_slice(&row[..row_bytes]);
        }
        Ok(RgbPicture { width: to_width, height: to_height, data })
    }

    fn copied(&self) -> Arc<dyn Picture> {
        Arc::new(DecodedPicture {
            frame: self.frame.clone(),
            scored: self.scored.clone(),
            format: self.format.clone(),
        })
    }
}

impl DecodedPicture {
    /// Names matrix and range to the scaler. An untagged picture has BT.709 when
    /// it is HD and BT.601 when not, as mpv guesses (`mp_csp_guess_colorspace`).
    fn set_colours(&self, scaler: &mut scaling::Context) {
        use ffmpeg::color::{Range, Space};
        let hd = self.frame.width() >= 1280 || self.frame.height() > 576;
        let matrix = match self.frame.color_space() {
            Space::BT709 => ffi::SWS_CS_ITU709,
            Space::BT2020NCL | Space::BT2020CL => ffi::SWS_CS_BT2020,
            Space::FCC => ffi::SWS_CS_FCC,
            Space::SMPTE240M => ffi::SWS_CS_SMPTE240M,
            Space::BT470BG | Space::SMPTE170M => ffi::SWS_CS_ITU601,
            _ if hd => ffi::SWS_CS_ITU709,
            _ => ffi::SWS_CS_ITU601,
        };
        let full_range =
            self.frame.color_range() == Range::JPEG || self.format.pixel_format.starts_with("yuvj");
        const UNITY: i32 = 1 << 16;
        // SAFETY: the context is valid, the tables are libswscale's own constants,
        // and the call only stores numbers in the context.
        unsafe {
            // The constant's type is not the same in every FFmpeg.
            #[allow(clippy::unnecessary_cast)]
            let table = ffi::sws_getCoefficients(matrix as i32);
            ffi::sws_setColorspaceDetails(
                scaler.as_mut_ptr(),
                table,
                i32::from(full_range),
                table,
                1,
                0,
                UNITY,
                UNITY,
            );
        }
    }
}

/// Pictures by which a decoder delays its output, to begin with: what
/// libavformat's probing finds out for ffmpeg.
pub fn set_reorder(context: &mut ffmpeg::codec::Context, pictures: u32) {
    // SAFETY: the context is ours and not yet opened; the field is documented as
    // settable by the caller through `avcodec_parameters_to_context`.
    unsafe { (*context.as_mut_ptr()).has_b_frames = i32::try_from(pictures).unwrap_or(0) }
}

/// Has a decoder give the pictures that it has not recovered yet.
pub fn show_damaged(opened: &mut ffmpeg::codec::Context) {
    // SAFETY: the context is ours; the flag is one that may be set at any time, and
    // counts from the next picture on.
    unsafe {
        (*opened.as_mut_ptr()).flags |= ffmpeg::ffi::AV_CODEC_FLAG_OUTPUT_CORRUPT as i32;
    }
}

/// The parameter sets that a decoder knows from the start.
pub fn set_extradata(context: &mut ffmpeg::codec::Context, bytes: &[u8]) {
    let Ok(size) = i32::try_from(bytes.len()) else { return };
    if bytes.is_empty() {
        return;
    }
    // SAFETY: the context is ours, not yet opened and without extradata; it takes a
    // buffer of av_mallocz with zeroed padding behind it, and frees it with itself.
    unsafe {
        let padded = bytes.len() + ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize;
        let buffer = ffi::av_mallocz(padded).cast::<u8>();
        if !buffer.is_null() {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer, bytes.len());
            (*context.as_mut_ptr()).extradata = buffer;
            (*context.as_mut_ptr()).extradata_size = size;
        }
    }
}

/// The size that a decoder is told from the start (`width_from_caller`).
pub fn set_size(context: &mut ffmpeg::codec::Context, (width, height): (u32, u32)) {
    let (Ok(width), Ok(height)) = (i32::try_from(width), i32::try_from(height)) else { return };
    // SAFETY: the context is ours and not yet opened; the fields are documented as
    // settable by the caller through `avcodec_parameters_to_context`.
    unsafe {
        (*context.as_mut_ptr()).width = width;
        (*context.as_mut_ptr()).height = height;
    }
}

/// Width and height as they are now; 0 before they are known.
pub fn size(opened: &ffmpeg::decoder::Opened) -> (u32, u32) {
    // SAFETY: reads plain fields of a context that lives as long as `opened`.
    let (width, height) = unsafe { ((*opened.as_ptr()).width, (*opened.as_ptr()).height) };
    (u32::try_from(width).unwrap_or(0), u32::try_from(height).unwrap_or(0))
}

/// The output delay as it is now.
pub fn reorder(opened: &ffmpeg::decoder::Opened) -> u32 {
    // SAFETY: reads a plain field of a context that lives as long as `opened`.
    unsafe { u32::try_from((*opened.as_ptr()).has_b_frames).unwrap_or(0) }
}

/// The DTS field of the packet with which the frame came out.
pub fn trigger(frame: &ffmpeg::frame::Video) -> Option<i64> {
    // SAFETY: reads a plain field of a frame that lives as long as `frame`.
    let dts = unsafe { (*frame.as_ptr()).pkt_dts };
    (dts != ffi::AV_NOPTS_VALUE).then_some(dts)
}

/// Bytes in a row of the first plane: of one component, or of a packed format's all.
fn row_bytes(format: ffi::AVPixelFormat, width: u32) -> usize {
    let width = i32::try_from(width).unwrap_or(0);
    // SAFETY: looks the format up in a static table.
    usize::try_from(unsafe { ffi::av_image_get_linesize(format, width, 0) }).unwrap_or(0)
}

/// Bits in a sample of the first component.
fn depth(format: ffi::AVPixelFormat) -> u32 {
    // SAFETY: returns null or a pointer to a static table.
    unsafe {
        ffi::av_pix_fmt_desc_get(format)
            .as_ref()
            .map_or(8, |descriptor| u32::try_from(descriptor.comp[0].depth).unwrap_or(8))
    }
}

/// The formats that `libavfilter/f_select.c` scores as they are.
const SCORED_AS_THEY_ARE: [ffi::AVPixelFormat; 11] = [
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

/// What FFmpeg would convert a picture to before scoring it; `None` if nothing.
///
/// Its filter graph takes the best of the formats above for the picture's own
/// (`libavfilter/avfiltergraph.c`, `pick_format`).
fn scored_format(from: ffi::AVPixelFormat) -> Option<ffi::AVPixelFormat> {
    if SCORED_AS_THEY_ARE.contains(&from) {
        return None;
    }
    // SAFETY: both calls only look formats up in static tables; a null loss
    // pointer is allowed.
    unsafe {
        let alpha = ffi::av_pix_fmt_desc_get(from)
            .as_ref()
            .is_some_and(|descriptor| descriptor.nb_components % 2 == 0);
        Some(SCORED_AS_THEY_ARE.iter().fold(ffi::AVPixelFormat::AV_PIX_FMT_NONE, |best, &next| {
            ffi::av_find_best_pix_fmt_of_2(best, next, from, i32::from(alpha), std::ptr::null_mut())
        }))
    }
}

fn convert_for_scoring(
    frame: &ffmpeg::frame::Video,
    to: ffi::AVPixelFormat,
) -> Result<ffmpeg::frame::Video> {
    let (width, height) = (frame.width(), frame.height());
    let to = ffmpeg::format::Pixel::from(to);
    let failed =
        |cause| Error::new(Stage::Decode, "cannot convert a picture for scoring").because(cause);
    // The filter graph's scaler has the ffmpeg tool's default, `flags=bicubic`.
    let mut scaler = scaling::Context::get(
        frame.format(),
        width,
        height,
        to,
        width,
        height,
        scaling::Flags::BICUBIC,
    )
    .map_err(failed)?;
    let mut output = ffmpeg::frame::Video::new(to, width, height);
    scaler.run(frame, &mut output).map_err(failed)?;
    Ok(output)
}
