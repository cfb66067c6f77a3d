//! Decoded planes → the planes of JFIF, or R'G'B', in one pass.
//!
//! Chroma is interpolated by a cubic filter to one sample per pixel. As in libswscale, a chroma
//! sample is centered on its pixels. Samples that represent no valid color are clipped as R'G'B', as
//! players do.

use multiversion::multiversion;

use super::colors::{Colors, Matrix};
use super::planes::{Planes, Samples};
use crate::media::{JfifPicture, RgbPicture};

/// Converts a picture.
pub fn convert(planes: &Planes<'_>, colors: Colors) -> JfifPicture {
    let Samples { width, height, .. } = planes.luma;
    let convert = Conversion::new(colors, planes.bit_depth);
    let mut output = [(); 3].map(|()| vec![128; width * height]);
    let [y_plane, cb_plane, cr_plane] = &mut output;
    let mut outputs = y_plane
        .chunks_exact_mut(width.max(1))
        .zip(cb_plane.chunks_exact_mut(width.max(1)).zip(cr_plane.chunks_exact_mut(width.max(1))));
    for_each_row(planes, |luma, chroma| {
        let Some((luma_out, (cb_out, cr_out))) = outputs.next() else { return };
        match chroma {
            None => convert.gray_row(luma, luma_out),
            Some([cb, cr]) => convert_row(&convert, [luma, cb, cr], [luma_out, cb_out, cr_out]),
        }
    });
    let size = |pixels: usize| u32::try_from(pixels).unwrap_or(0);
    JfifPicture { width: size(width), height: size(height), planes: output }
}

/// Converts a picture to packed full-range R'G'B', 3 bytes per pixel.
pub fn to_rgb(planes: &Planes<'_>, colors: Colors) -> RgbPicture {
    let Samples { width, height, .. } = planes.luma;
    let convert = Conversion::new(colors, planes.bit_depth);
    let mut pixels = vec![0; 3 * width * height];
    let mut outputs = pixels.as_chunks_mut::<3>().0.chunks_exact_mut(width.max(1));
    // The sample of neutral chroma.
    let neutral = vec![-convert.chroma.1 / convert.chroma.0; width];
    for_each_row(planes, |luma, chroma| {
        let Some(output) = outputs.next() else { return };
        match chroma {
            None => rgb_row(&convert, [luma, &neutral, &neutral], output),
            Some([cb, cr]) => rgb_row(&convert, [luma, cb, cr], output),
        }
    });
    let size = |pixels: usize| u32::try_from(pixels).unwrap_or(0);
    RgbPicture { width: size(width), height: size(height), pixels }
}

/// Passes each row of a picture to `take`, from the first to the last, with chroma interpolated to
/// the row's width.
fn for_each_row(planes: &Planes<'_>, mut take: impl FnMut(&[f32], Option<[&[f32]; 2]>)) {
    let Samples { width, height, .. } = planes.luma;
    let chroma = planes.chroma.map(|chroma| {
        chroma.map(|plane| Chroma::new(plane, planes.bit_depth, planes.subsampling, width))
    });
    let mut luma = vec![0.0; width];
    let mut scratch = Scratch::default();
    let mut rows = [vec![0.0; width], vec![0.0; width]];
    for y in 0..height {
        load(planes.luma, y, planes.bit_depth, &mut luma);
        for (plane, row) in chroma.iter().flatten().zip(&mut rows) {
            plane.row(y, &mut scratch, row);
        }
        take(&luma, chroma.as_ref().map(|_| rows.each_ref().map(Vec::as_slice)));
    }
}

/// Converts packed full-range R'G'B', 3 bytes per pixel.
pub fn from_rgb(rgb: &[u8], (width, height): (u32, u32)) -> JfifPicture {
    let mut planes = [(); 3].map(|()| Vec::with_capacity(rgb.len() / 3));
    for color in rgb.as_chunks::<3>().0 {
        let [luma, cb, cr] = jfif_of(color.map(f32::from));
        for (plane, value) in planes.iter_mut().zip([luma, cb + 128.0, cr + 128.0]) {
            plane.push(rounded(value));
        }
    }
    JfifPicture { width, height, planes }
}

/// Reads row `y` of `plane`.
#[multiversion(targets = "simd")]
fn load(plane: Samples<'_>, y: usize, bit_depth: u32, row: &mut [f32]) {
    let from = plane.data.get(y * plane.stride..).unwrap_or(&[]);
    if bit_depth <= 8 {
        row.iter_mut().zip(from).for_each(|(to, from)| *to = f32::from(*from));
    } else {
        let from = from.as_chunks::<2>().0;
        row.iter_mut().zip(from).for_each(|(to, from)| *to = f32::from(u16::from_ne_bytes(*from)));
    }
}

/// A chroma plane that is interpolated to the size of the picture.
struct Chroma {
    /// Rows of samples, each with [`BORDER`] repeated samples on either side.
    samples: Vec<f32>,
    width: usize,
    height: usize,
    subsampling: (u32, u32),
}

/// Number of samples that the cubic filter needs beyond either end of a row.
const BORDER: usize = 2;

/// A row of chroma interpolated between rows of samples.
#[derive(Default)]
struct Scratch(Vec<f32>);

impl Chroma {
    fn new(plane: Samples<'_>, bit_depth: u32, subsampling: (u32, u32), to_width: usize) -> Self {
        // A plane is never wider than the picture needs.
        let width = plane.width.min(to_width.div_ceil(1 << subsampling.0)).max(1);
        let stride = width + 2 * BORDER;
        let mut samples = vec![0.0; stride * plane.height];
        for (y, row) in samples.chunks_exact_mut(stride).enumerate() {
            load(plane, y, bit_depth, &mut row[BORDER..BORDER + width]);
            let (first, last) = (row[BORDER], row[BORDER + width - 1]);
            row[..BORDER].fill(first);
            row[BORDER + width..].fill(last);
        }
        Chroma { samples, width, height: plane.height, subsampling }
    }

    /// Returns row `y` of the plane with its borders. Outside the plane, returns its first or last
    /// row.
    fn samples(&self, y: isize) -> &[f32] {
        let stride = self.width + 2 * BORDER;
        let last = self.height.saturating_sub(1);
        let y = usize::try_from(y).unwrap_or(0).min(last);
        self.samples.get(y * stride..(y + 1) * stride).unwrap_or(&[])
    }

    /// Interpolates row `y` of the picture.
    fn row(&self, y: usize, scratch: &mut Scratch, row: &mut [f32]) {
        let (horizontal, vertical) = self.subsampling;
        let position = (y as f32 + 0.5) / (1 << vertical) as f32 - 0.5;
        let above = position.floor();
        let weights = cubic(position - above);
        let above = above as isize;
        let between = if vertical == 0 {
            self.samples(above)
        } else {
            let [a, b, c, d] = [-1, 0, 1, 2].map(|offset| self.samples(above + offset));
            scratch.0.resize(a.len(), 0.0);
            weigh([a, b, c, d], weights, &mut scratch.0);
            &scratch.0
        };
        stretch(between, horizontal, row);
    }
}

/// Returns the weighted sum of four rows.
#[multiversion(targets = "simd")]
fn weigh([a, b, c, d]: [&[f32]; 4], weights: [f32; 4], sum: &mut [f32]) {
    for (sum, ((a, b), (c, d))) in sum.iter_mut().zip(a.iter().zip(b).zip(c.iter().zip(d))) {
        *sum = weights[0] * a + weights[1] * b + weights[2] * c + weights[3] * d;
    }
}

/// Interpolates a row that has [`BORDER`] additional samples on either side.
#[multiversion(targets = "simd")]
fn stretch(from: &[f32], subsampling: u32, row: &mut [f32]) {
    let filter = |near: &[f32], weights: [f32; 4]| -> f32 {
        near.iter().zip(weights).map(|(sample, weight)| sample * weight).sum()
    };
    match subsampling {
        0 => row.iter_mut().zip(&from[BORDER..]).for_each(|(to, from)| *to = *from),
        1 => {
            // Each sample covers two pixels: one a quarter to its left, one to its right.
            let [a, b, c, d] = cubic(0.25);
            let (pairs, rest) = row.as_chunks_mut::<2>();
            for (pair, near) in pairs.iter_mut().zip(from.windows(5)) {
                pair[0] = d * near[0] + c * near[1] + b * near[2] + a * near[3];
                pair[1] = a * near[1] + b * near[2] + c * near[3] + d * near[4];
            }
            if let [last] = rest {
                *last = filter(&from[pairs.len()..], cubic(0.75));
            }
        }
        _ => {
            for (x, to) in row.iter_mut().enumerate() {
                let position = (x as f32 + 0.5) / (1 << subsampling) as f32 - 0.5;
                let before = position.floor();
                let first = (before as isize + BORDER as isize - 1).max(0) as usize;
                *to = filter(from.get(first..).unwrap_or(&[]), cubic(position - before));
            }
        }
    }
}

/// Returns the weights of the cubic filter that libswscale uses (a = −0.6), for the four samples
/// around a position `t` after the second sample.
fn cubic(t: f32) -> [f32; 4] {
    const A: f32 = -0.6;
    let near = |t: f32| (A + 2.0) * t.powi(3) - (A + 3.0) * t.powi(2) + 1.0;
    let far = |t: f32| A * (t.powi(3) - 5.0 * t.powi(2) + 8.0 * t - 4.0);
    [far(1.0 + t), near(t), near(1.0 - t), far(2.0 - t)]
}

/// Factors that convert the samples of a picture to JFIF.
struct Conversion {
    /// Factor, and the value added afterwards; below, the same for chroma. Levels become 0 to 255
    /// and −128 to 127.
    luma: (f32, f32),
    chroma: (f32, f32),
    /// Factors from Cr to red, from Cb and Cr to green, and from Cb to blue.
    to_rgb: (f32, [f32; 2], f32),
    /// Whether the samples already have the colors of JFIF.
    is_jfif: bool,
}

impl Conversion {
    fn new(colors: Colors, bit_depth: u32) -> Self {
        let Colors { matrix: Matrix { red, blue, .. }, full_range } = colors;
        let largest = ((1_u64 << bit_depth) - 1) as f64;
        let step = (1_u64 << bit_depth.saturating_sub(8)) as f64;
        // ITU-T H.273, equations 20 to 25.
        let (black, luma, chroma) = if full_range {
            (0.0, 255.0 / largest, 255.0 / largest)
        } else {
            (16.0 * step, 255.0 / (219.0 * step), 255.0 / (224.0 * step))
        };
        let (to_red, to_blue) = (2.0 * (1.0 - red), 2.0 * (1.0 - blue));
        let green = 1.0 - red - blue;
        let to_green = [-blue * to_blue / green, -red * to_red / green].map(|it| it as f32);
        let is_jfif = full_range && colors.matrix == Matrix::BT601;
        Conversion {
            luma: (luma as f32, (-black * luma) as f32),
            chroma: (chroma as f32, (-128.0 * step * chroma) as f32),
            to_rgb: (to_red as f32, to_green, to_blue as f32),
            is_jfif,
        }
    }

    fn gray_row(&self, luma: &[f32], output: &mut [u8]) {
        for (to, luma) in output.iter_mut().zip(luma) {
            *to = rounded(luma * self.luma.0 + self.luma.1);
        }
    }
}

/// Converts a row of Y', Cb and Cr to those of JFIF.
#[multiversion(targets = "simd")]
fn convert_row(
    conversion: &Conversion,
    [luma, cb, cr]: [&[f32]; 3],
    [y_out, cb_out, cr_out]: [&mut [u8]; 3],
) {
    let Conversion { luma: to_luma, chroma: to_chroma, is_jfif, .. } = *conversion;
    let outputs = y_out.iter_mut().zip(cb_out.iter_mut().zip(cr_out));
    let inputs = luma.iter().zip(cb.iter().zip(cr));
    for ((luma, (cb, cr)), (y_out, (cb_out, cr_out))) in inputs.zip(outputs) {
        let luma = luma * to_luma.0 + to_luma.1;
        let [cb, cr] = [cb, cr].map(|it| it * to_chroma.0 + to_chroma.1);
        // Clip as R'G'B': only there is it known which samples represent no valid color.
        let [luma, cb, cr] =
            if is_jfif { [luma, cb, cr] } else { jfif_of(rgb_of(conversion, [luma, cb, cr])) };
        (*y_out, *cb_out, *cr_out) = (rounded(luma), rounded(cb + 128.0), rounded(cr + 128.0));
    }
}

/// Converts a row of Y', Cb and Cr to R'G'B'.
#[multiversion(targets = "simd")]
fn rgb_row(conversion: &Conversion, [luma, cb, cr]: [&[f32]; 3], output: &mut [[u8; 3]]) {
    let Conversion { luma: to_luma, chroma: to_chroma, .. } = *conversion;
    let inputs = luma.iter().zip(cb.iter().zip(cr));
    for ((luma, (cb, cr)), output) in inputs.zip(output) {
        let luma = luma * to_luma.0 + to_luma.1;
        let [cb, cr] = [cb, cr].map(|it| it * to_chroma.0 + to_chroma.1);
        *output = rgb_of(conversion, [luma, cb, cr]).map(rounded);
    }
}

/// Converts a color of the picture to R'G'B', 0 to 255.
#[inline(always)]
fn rgb_of(conversion: &Conversion, [luma, cb, cr]: [f32; 3]) -> [f32; 3] {
    let (to_red, to_green, to_blue) = conversion.to_rgb;
    [
        (luma + to_red * cr).clamp(0.0, 255.0),
        (luma + to_green[0] * cb + to_green[1] * cr).clamp(0.0, 255.0),
        (luma + to_blue * cb).clamp(0.0, 255.0),
    ]
}

/// Converts R'G'B' to Y', Cb and Cr of BT.601.
#[inline(always)]
fn jfif_of([red, green, blue]: [f32; 3]) -> [f32; 3] {
    const RED: f32 = Matrix::BT601.red as f32;
    const BLUE: f32 = Matrix::BT601.blue as f32;
    const TO_CB: f32 = 0.5 / (1.0 - BLUE);
    const TO_CR: f32 = 0.5 / (1.0 - RED);
    let luma = RED * red + (1.0 - RED - BLUE) * green + BLUE * blue;
    [luma, (blue - luma) * TO_CB, (red - luma) * TO_CR]
}

/// Rounds to the nearest integer from 0 to 255.
///
/// Adding 1.5 × 2²³ leaves the integer in the lowest bits of the mantissa. Unlike a cast, this
/// becomes a few vector instructions.
#[inline(always)]
fn rounded(value: f32) -> u8 {
    const INTEGER_IN_LOWEST_BITS: f32 = 12_582_912.0;
    let [lowest, ..] = (value.clamp(0.0, 255.0) + INTEGER_IN_LOWEST_BITS).to_bits().to_le_bytes();
    lowest
}

#[cfg(test)]
mod tests;
