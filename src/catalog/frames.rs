//! Kept pictures as JPEG: names, encoding, and detection of incomplete files.

use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use image::{ImageFormat, ImageReader};
use turbojpeg::{Compressor, Subsamp, YuvPlanesImage};

use super::publish::folder_of;
use crate::disk::Folder;
use crate::error::{Error, Result, Stage};
use crate::media::JfifPicture;

/// Default JPEG quality (1 to 100), close to ffmpeg's `-q:v 2`.
///
/// Measured on eleven pictures of four clips (Big Buck Bunny as H.264 and HEVC 360p and
/// as MPEG-2 576i, Sintel as H.264 360p; at 3 s, 10 s and 20 s). Each was decoded to PNG,
/// and the PNG encoded by `ffmpeg -q:v 2` and by this encoder. Qualities 85 to 93 match
/// the luma PSNR of ffmpeg, with a median of 89. Quality 90 gives 44.4 to 56.3 dB of luma
/// (ffmpeg 45.0 to 59.1) and at least 42.0 dB over RGB, where 36 are required. Files
/// above 20 kB are 8 to 33 % larger than ffmpeg's, which carry a quarter of the chroma
/// samples.
pub const DEFAULT_JPEG_QUALITY: u8 = 90;

/// Returns the id of frame `number`, counted from 1: `F0001`, …, `F9999`, `F10000`.
pub fn frame_id(number: u64) -> String {
    format!("F{number:04}")
}

/// Returns the number in an id written by [`frame_id`]; `None` for any other string.
pub fn frame_number(id: &str) -> Option<u64> {
    let number = id.strip_prefix('F')?.parse().ok()?;
    (number > 0 && frame_id(number) == id).then_some(number)
}

/// Returns the file name of a frame's JPEG.
pub fn jpeg_name(id: &str) -> String {
    format!("{id}.jpg")
}

/// Encodes a picture as baseline JPEG (JFIF), with `quality` 1 to 100.
///
/// Chroma is not subsampled, so that titles and saturated edges keep their color.
///
/// Uses libjpeg-turbo: for a 1080p picture, the encoder of the `image` crate takes 7 to 8 times as
/// long, and `jpeg-encoder` 3 times. FFmpeg's encoder takes about as long, but quantizes the mean of
/// each block in steps of a whole level (`ff_mpv_encode_picture` in `libavcodec/mpegvideo_enc.c`).
///
/// # Errors
///
/// Returns an error if the picture is empty, has more than 65,535 pixels on a side, or a plane is
/// not `width * height` bytes.
pub fn encode_jpeg(picture: &JfifPicture, quality: u8) -> Result<Vec<u8>> {
    let JfifPicture { width, height, planes } = picture;
    let failed = |cause| {
        Error::new(Stage::Catalog, format!("cannot encode {width}x{height} as JPEG")).because(cause)
    };
    // The wrapper panics if a plane is too short, so check it first.
    if planes.iter().any(|plane| plane.is_empty() || plane.len() != picture.plane_bytes()) {
        let bytes = planes.each_ref().map(Vec::len);
        let what = format!("a picture of {width}x{height} cannot have planes of {bytes:?} bytes");
        return Err(Error::new(Stage::Catalog, what));
    }
    let [y_plane, u_plane, v_plane] = planes.each_ref().map(Vec::as_slice);
    let (width, height) = (*width as usize, *height as usize);
    let image = YuvPlanesImage {
        y_plane,
        u_plane,
        v_plane,
        width,
        height,
        y_stride: width,
        u_stride: width,
        v_stride: width,
        subsamp: Subsamp::None,
    };
    let mut compressor = Compressor::new().map_err(failed)?;
    compressor.set_quality(quality.clamp(1, 100).into()).map_err(failed)?;
    compressor.compress_yuv_planes_to_vec(&image).map_err(failed)
}

/// Returns whether the file is a complete JPEG. Returns false for a symbolic link.
///
/// After a power loss, a file may have its length but not its content. Only the headers and the end
/// are checked.
pub fn is_whole_jpeg(path: &Path) -> bool {
    const END_OF_IMAGE: [u8; 2] = [0xFF, 0xD9];
    /// Large enough for the headers of a JPEG by [`encode_jpeg`], and of most others.
    const HEADER_BYTES: u64 = 64 << 10;
    fn head_and_end(path: &Path) -> std::io::Result<(Vec<u8>, [u8; 2])> {
        let (mut head, mut end) = (Vec::new(), [0; 2]);
        let name = path.file_name().unwrap_or_default();
        let mut file = Folder::open(folder_of(path))?.read_file(name)?;
        file.by_ref().take(HEADER_BYTES).read_to_end(&mut head)?;
        file.seek(SeekFrom::End(-2))?;
        file.read_exact(&mut end)?;
        Ok((head, end))
    }
    head_and_end(path).is_ok_and(|(head, end)| {
        end == END_OF_IMAGE
            && ImageReader::with_format(Cursor::new(head), ImageFormat::Jpeg)
                .into_dimensions()
                .is_ok()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn psnr(a: &[u8], b: &[u8]) -> f64 {
        let squares: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
        10.0 * (255.0 * 255.0 * a.len() as f64 / squares).log10()
    }

    /// Returns saturated bars with sharp vertical edges, above a ramp.
    fn saturated(width: u32, height: u32) -> JfifPicture {
        // Red, green, blue, yellow, magenta, cyan.
        let bars: [[u8; 3]; 6] = [
            [76, 85, 255],
            [150, 44, 21],
            [29, 255, 107],
            [226, 1, 149],
            [105, 212, 235],
            [179, 171, 1],
        ];
        let pixel = |i: u32| match (i % width, i / width) {
            (x, y) if y < height / 2 => bars[(x / 7 % 6) as usize],
            (x, _) => [128, 255 - (x * 255 / width) as u8, (x * 255 / width) as u8],
        };
        let pixels: Vec<_> = (0..width * height).map(pixel).collect();
        let planes = [0, 1, 2].map(|plane| pixels.iter().map(|pixel| pixel[plane]).collect());
        JfifPicture { width, height, planes }
    }

    /// Returns the planes in a JPEG.
    fn decode(jpeg: &[u8]) -> JfifPicture {
        let image = turbojpeg::decompress_to_yuv(jpeg).unwrap();
        assert_eq!(image.subsamp, Subsamp::None);
        // Each row is aligned to 4 bytes.
        let row_bytes = image.width.next_multiple_of(image.align);
        let mut planes = image.pixels.chunks(row_bytes * image.height).map(|plane| {
            let rows = plane.chunks(row_bytes).flat_map(|row| &row[..image.width]);
            rows.copied().collect()
        });
        let size = |pixels| u32::try_from(pixels).unwrap();
        let planes = std::array::from_fn(|_| planes.next().unwrap());
        JfifPicture { width: size(image.width), height: size(image.height), planes }
    }

    #[test]
    fn ids_count_on_past_f9999() {
        assert_eq!(frame_id(1), "F0001");
        assert_eq!(frame_id(9_999), "F9999");
        assert_eq!(frame_id(10_000), "F10000");
        assert_eq!(frame_number("F10000"), Some(10_000));
        for other in ["F1", "F00001", "F0000", "f0001", "F+001", "0001", "F", ""] {
            assert_eq!(frame_number(other), None, "{other}");
        }
    }

    #[test]
    fn saturated_edges_keep_their_colour() {
        for (width, height) in [(322, 182), (321, 181), (1, 1), (7, 3)] {
            let picture = saturated(width, height);
            let back = decode(&encode_jpeg(&picture, DEFAULT_JPEG_QUALITY).unwrap());
            assert_eq!((back.width, back.height), (width, height));
            for (plane, back) in picture.planes.iter().zip(&back.planes) {
                let psnr = psnr(plane, back);
                assert!(psnr >= 35.0, "{width}x{height}: {psnr} dB");
            }
        }
    }

    #[test]
    fn a_picture_of_the_wrong_length_is_an_error_and_no_panic() {
        for (width, height, bytes) in [(2, 2, 3), (0, 2, 0), (70_000, 1, 70_000), (2, 2, 5)] {
            let picture = JfifPicture { width, height, planes: [(); 3].map(|()| vec![0; bytes]) };
            assert!(encode_jpeg(&picture, 90).is_err(), "{width}x{height}");
        }
    }

    #[test]
    fn a_jpeg_cut_short_is_not_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("F0001.jpg");
        assert!(!is_whole_jpeg(&path));
        let jpeg = encode_jpeg(&saturated(16, 16), 90).unwrap();
        std::fs::write(&path, &jpeg).unwrap();
        assert!(is_whole_jpeg(&path));
        std::fs::write(&path, &jpeg[..jpeg.len() - 1]).unwrap();
        assert!(!is_whole_jpeg(&path));
        let mut zeros = vec![0; jpeg.len()];
        std::fs::write(&path, &zeros).unwrap();
        assert!(!is_whole_jpeg(&path));
        // Only the first and the last block of the disk were written.
        zeros[..2].copy_from_slice(&jpeg[..2]);
        zeros[jpeg.len() - 2..].copy_from_slice(&jpeg[jpeg.len() - 2..]);
        std::fs::write(&path, &zeros).unwrap();
        assert!(!is_whole_jpeg(&path));
    }
}
