//! The planes of a decoded picture, in the decoder's buffers.

/// One plane of a decoded picture. Samples deeper than 8 bits take two bytes each, in native byte
/// order.
#[derive(Debug, Clone, Copy)]
pub struct Samples<'a> {
    /// The plane, from the first visible sample to the last.
    pub data: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
    /// Samples per row.
    pub width: usize,
    /// Number of rows.
    pub height: usize,
}

/// Luma and, unless the picture is gray, both chroma planes of a decoded picture.
#[derive(Debug, Clone, Copy)]
pub struct Planes<'a> {
    /// Luma.
    pub luma: Samples<'a>,
    /// Cb and Cr.
    pub chroma: Option<[Samples<'a>; 2]>,
    /// Bits per sample.
    pub bit_depth: u32,
    /// Number of pixels per chroma sample, as powers of two: horizontally and vertically.
    pub subsampling: (u32, u32),
}

impl<'a> Planes<'a> {
    /// Returns the visible bytes of each row, one plane after the other.
    pub fn rows(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let bytes_each = if self.bit_depth > 8 { 2 } else { 1 };
        std::iter::once(self.luma).chain(self.chroma.into_iter().flatten()).flat_map(move |plane| {
            let rows = plane.data.chunks(plane.stride.max(1)).take(plane.height);
            rows.map(move |row| row.get(..plane.width * bytes_each).unwrap_or(row))
        })
    }
}
