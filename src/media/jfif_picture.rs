//! A picture in the color space of JFIF files.

/// A picture as Y'CbCr of BT.601 with full range, the color space of JFIF (ITU-T T.871, clause 7).
/// Chroma is not subsampled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JfifPicture {
    /// Pixels per row.
    pub width: u32,
    /// Number of rows.
    pub height: u32,
    /// Y', Cb and Cr: `width * height` bytes each, rows without padding.
    pub planes: [Vec<u8>; 3],
}

impl JfifPicture {
    /// Returns the number of bytes in each plane.
    pub fn plane_bytes(&self) -> usize {
        self.width as usize * self.height as usize
    }
}
