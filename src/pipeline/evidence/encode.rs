//! Encodes a still as JPEG or PNG.

use std::io::Cursor;
use std::path::Path;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use crate::catalog::JpegOptions;
use crate::catalog::frames::encode_jpeg;
use crate::error::{Error, Result, Stage};
use crate::media::Picture;

/// Format of an image file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StillFormat {
    /// JPEG (JFIF).
    Jpeg,
    /// PNG, 8 bits per color.
    Png,
}

impl StillFormat {
    /// Returns the format for the extension of `path`; `None` for an unknown extension.
    pub fn of(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        match ending.as_str() {
            "jpg" | "jpeg" => Some(StillFormat::Jpeg),
            "png" => Some(StillFormat::Png),
            _ => None,
        }
    }
}

/// Encodes a picture. The quality applies only to JPEG.
///
/// # Errors
///
/// Returns an error if FFmpeg cannot convert the pixel format, or the picture is too large for the
/// format.
pub fn encode(picture: &dyn Picture, format: StillFormat, options: JpegOptions) -> Result<Vec<u8>> {
    let JpegOptions { quality, max_width_px } = options;
    match format {
        StillFormat::Jpeg => encode_jpeg(&picture.to_jfif(max_width_px)?, quality),
        StillFormat::Png => {
            let picture = picture.to_rgb(max_width_px)?;
            let mut bytes = Cursor::new(Vec::new());
            let (width, height) = (picture.width, picture.height);
            PngEncoder::new(&mut bytes)
                .write_image(&picture.pixels, width, height, ExtendedColorType::Rgb8)
                .map_err(|cause| {
                    let what = format!("cannot encode {width}x{height} as PNG");
                    Error::new(Stage::Evidence, what).because(cause)
                })?;
            Ok(bytes.into_inner())
        }
    }
}
