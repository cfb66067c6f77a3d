//! A picture in the color space of PNG files.

/// A picture as packed R'G'B' with full range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbPicture {
    /// Pixels per row.
    pub width: u32,
    /// Number of rows.
    pub height: u32,
    /// 3 bytes per pixel, rows without padding.
    pub pixels: Vec<u8>,
}
