//! Fields of a codec context for which `ffmpeg-next` has no functions.
#![allow(unsafe_code)]

use ffmpeg::ffi;
use ffmpeg_next as ffmpeg;

/// Sets the output delay in pictures. Before the decoder is opened, this is the delay found by
/// libavformat's probing. Afterwards, it is the delay raised by libavformat's parser, which shares
/// the context with a decoder.
pub fn set_reorder(context: &mut ffmpeg::codec::Context, pictures: u32) {
    // SAFETY: the context is exclusively borrowed and valid, opened or not, and
    // `has_b_frames` is a plain integer in it. A single-threaded decoder reads it only
    // inside a call, and no call can run while the context is borrowed here.
    unsafe { (*context.as_mut_ptr()).has_b_frames = i32::try_from(pictures).unwrap_or(0) }
}

/// Makes a decoder return damaged pictures as well (`AV_CODEC_FLAG_OUTPUT_CORRUPT`).
pub fn show_damaged(opened: &mut ffmpeg::codec::Context) {
    // SAFETY: the context is exclusively borrowed and valid; `flags` is a plain integer
    // that a single-threaded decoder reads only inside a call. The flag takes effect with
    // the next picture.
    unsafe {
        (*opened.as_mut_ptr()).flags |= ffi::AV_CODEC_FLAG_OUTPUT_CORRUPT as i32;
    }
}

/// Sets the parameter sets with which a decoder starts. Does nothing if `bytes` is empty.
pub fn set_extradata(context: &mut ffmpeg::codec::Context, bytes: &[u8]) {
    let Ok(size) = i32::try_from(bytes.len()) else { return };
    if bytes.is_empty() {
        return;
    }
    // SAFETY: no other reference to the context exists; it is not open and has no extradata yet. It
    // receives a buffer of av_mallocz followed by zeroed padding, and frees that with itself.
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

/// Sets the picture size in pixels with which a decoder starts (`width_from_caller`).
pub fn set_size(context: &mut ffmpeg::codec::Context, (width, height): (u32, u32)) {
    let (Ok(width), Ok(height)) = (i32::try_from(width), i32::try_from(height)) else { return };
    // SAFETY: no other reference to the context exists, and it is not open yet; the fields are
    // documented as settable by the caller through `avcodec_parameters_to_context`.
    unsafe {
        (*context.as_mut_ptr()).width = width;
        (*context.as_mut_ptr()).height = height;
    }
}

/// Returns the current width and height in pixels; 0 before they are known.
pub fn size(opened: &ffmpeg::decoder::Opened) -> (u32, u32) {
    // SAFETY: reads plain fields of a context that lives as long as `opened`.
    let (width, height) = unsafe { ((*opened.as_ptr()).width, (*opened.as_ptr()).height) };
    (u32::try_from(width).unwrap_or(0), u32::try_from(height).unwrap_or(0))
}

/// Returns the current output delay in pictures.
pub fn reorder(opened: &ffmpeg::decoder::Opened) -> u32 {
    // SAFETY: reads a plain field of a context that lives as long as `opened`.
    unsafe { u32::try_from((*opened.as_ptr()).has_b_frames).unwrap_or(0) }
}
