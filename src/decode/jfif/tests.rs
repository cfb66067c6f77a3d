#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const MATRICES: [Matrix; 3] = [
    Matrix::BT601,
    Matrix { red: 0.2126, blue: 0.0722, swscale: 0 },
    Matrix { red: 0.2627, blue: 0.0593, swscale: 0 },
];

/// Returns a plane of one value.
fn plane(value: u16, width: usize, height: usize, bit_depth: u32) -> Vec<u8> {
    match bit_depth {
        8 => vec![u8::try_from(value).unwrap(); width * height],
        _ => std::iter::repeat_n(value.to_ne_bytes(), width * height).flatten().collect(),
    }
}

fn samples(data: &[u8], width: usize, height: usize, bit_depth: u32) -> Samples<'_> {
    let stride = width * if bit_depth > 8 { 2 } else { 1 };
    Samples { data, stride, width, height }
}

/// Converts a picture of one color, given as R'G'B' of 0 to 1.
fn flat(
    rgb: [f64; 3],
    colors: Colors,
    bit_depth: u32,
    subsampling: (u32, u32),
    (width, height): (usize, usize),
) -> JfifPicture {
    let Colors { matrix, full_range } = colors;
    let [red, green, blue] = rgb;
    let luma = matrix.red * red + (1.0 - matrix.red - matrix.blue) * green + matrix.blue * blue;
    let cb = (blue - luma) / (2.0 * (1.0 - matrix.blue));
    let cr = (red - luma) / (2.0 * (1.0 - matrix.red));
    let step = f64::from(1_u32 << (bit_depth - 8));
    let largest = f64::from((1_u32 << bit_depth) - 1);
    // ITU-T H.273, equations 20 to 25.
    let (luma, cb, cr) = if full_range {
        (luma * largest, cb * largest + 128.0 * step, cr * largest + 128.0 * step)
    } else {
        let chroma = |value: f64| step * (224.0 * value + 128.0);
        (step * (219.0 * luma + 16.0), chroma(cb), chroma(cr))
    };
    let sample = |value: f64| value.round().clamp(0.0, largest) as u16;
    let luma = plane(sample(luma), width, height, bit_depth);
    let (chroma_width, chroma_height) =
        (width.div_ceil(1 << subsampling.0), height.div_ceil(1 << subsampling.1));
    let chroma = [cb, cr].map(|it| plane(sample(it), chroma_width, chroma_height, bit_depth));
    let planes = Planes {
        luma: samples(&luma, width, height, bit_depth),
        chroma: Some([
            samples(&chroma[0], chroma_width, chroma_height, bit_depth),
            samples(&chroma[1], chroma_width, chroma_height, bit_depth),
        ]),
        bit_depth,
        subsampling,
    };
    convert(&planes, colors)
}

#[test]
fn a_color_is_the_same_from_every_matrix_range_depth_and_subsampling() {
    let colors = [0.0, 0.25, 1.0].map(|a| [0.0, 0.5, 1.0].map(|b| [0.0, 1.0].map(|c| [a, b, c])));
    for rgb in colors.into_iter().flatten().flatten() {
        let bytes = rgb.map(|value: f64| (value * 255.0).round() as u8);
        let expected = from_rgb(&bytes, (1, 1)).planes.map(|plane| plane[0]);
        for matrix in MATRICES {
            for full_range in [false, true] {
                for bit_depth in [8, 10, 12, 16] {
                    for subsampling in [(0, 0), (1, 0), (1, 1), (2, 0), (2, 2), (0, 1)] {
                        let colors = Colors { matrix, full_range };
                        let found = flat(rgb, colors, bit_depth, subsampling, (5, 3));
                        assert_eq!((found.width, found.height), (5, 3));
                        for (plane, expected) in found.planes.iter().zip(expected) {
                            assert!(
                                plane.iter().all(|it| it.abs_diff(expected) <= 1),
                                "{rgb:?} {colors:?} {bit_depth} {subsampling:?}: {plane:?}, not {expected}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn full_range_bt601_of_8_bits_is_left_as_it_is() {
    let luma: Vec<u8> = (0..=255).collect();
    let (cb, cr) = (luma.iter().rev().copied().collect::<Vec<_>>(), vec![7; 256]);
    let planes = Planes {
        luma: samples(&luma, 16, 16, 8),
        chroma: Some([samples(&cb, 16, 16, 8), samples(&cr, 16, 16, 8)]),
        bit_depth: 8,
        subsampling: (0, 0),
    };
    let colors = Colors { matrix: Matrix::BT601, full_range: true };
    assert_eq!(convert(&planes, colors).planes, [luma, cb, cr]);
}

#[test]
fn a_gray_picture_has_gray_chroma_and_no_value_leaves_the_range() {
    let luma: Vec<u8> = (0..=255).collect();
    let planes =
        Planes { luma: samples(&luma, 256, 1, 8), chroma: None, bit_depth: 8, subsampling: (0, 0) };
    let colors = Colors { matrix: MATRICES[1], full_range: false };
    let [luma, cb, cr] = convert(&planes, colors).planes;
    assert_eq!((luma[0], luma[16], luma[235], luma[255]), (0, 0, 255, 255));
    assert!(luma.is_sorted());
    assert!(cb.iter().chain(&cr).all(|chroma| *chroma == 128));
}

#[test]
fn a_chroma_sample_stands_in_the_middle_of_its_pixels() {
    let luma = [128; 16];
    let cb = [64, 64, 64, 64, 192, 192, 192, 192];
    let cr = [128; 8];
    let planes = Planes {
        luma: samples(&luma, 16, 1, 8),
        chroma: Some([samples(&cb, 8, 1, 8), samples(&cr, 8, 1, 8)]),
        bit_depth: 8,
        subsampling: (1, 0),
    };
    let colors = Colors { matrix: Matrix::BT601, full_range: true };
    let [_, cb, _] = convert(&planes, colors).planes;
    // Symmetric around the edge between pixels 7 and 8.
    let mirrored: Vec<u8> = cb.iter().rev().map(|value| 0_u8.wrapping_sub(*value)).collect();
    assert_eq!(cb, mirrored);
    assert!(cb[7] > 64 && cb[7] < 128, "{cb:?}");
}

proptest! {
    /// For any size and padding: no panic, and bytes beyond a row do not affect the result.
    #[test]
    fn any_size_is_converted_and_bytes_between_rows_do_not_show(
        (width, height, padding) in (1_usize..40, 1_usize..12, 0_usize..9),
        (horizontal, vertical, deep) in (0_u32..3, 0_u32..3, any::<bool>()),
        (seed, filler) in (any::<u64>(), any::<u8>()),
    ) {
        let bit_depth = if deep { 10 } else { 8 };
        let bytes_each = if deep { 2 } else { 1 };
        let mut state = seed;
        let mut paint = |width: usize, height: usize, padding: usize, filler: u8| {
            let mut data = Vec::new();
            for _ in 0..height {
                for _ in 0..width {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let value = (state >> 33) as u16 & ((1 << bit_depth) - 1);
                    data.extend_from_slice(&value.to_ne_bytes()[..bytes_each]);
                }
                data.extend(std::iter::repeat_n(filler, padding));
            }
            data.truncate(data.len() - padding);
            data
        };
        let chroma_size = (width.div_ceil(1 << horizontal), height.div_ceil(1 << vertical));
        let mut planes = |padding, filler| {
            let luma = paint(width, height, padding, filler);
            let chroma = [(); 2].map(|()| paint(chroma_size.0, chroma_size.1, padding, filler));
            (luma, chroma)
        };
        let (luma, chroma) = planes(padding, filler);
        let view = |data, (width, height): (usize, usize)| Samples {
            data,
            stride: width * bytes_each + padding,
            width,
            height,
        };
        let picture = Planes {
            luma: view(&luma, (width, height)),
            chroma: Some([view(&chroma[0], chroma_size), view(&chroma[1], chroma_size)]),
            bit_depth,
            subsampling: (horizontal, vertical),
        };
        let colors = Colors { matrix: MATRICES[1], full_range: false };
        let found = convert(&picture, colors);
        prop_assert!(found.planes.iter().all(|plane| plane.len() == width * height));
        // The same samples, without bytes between the rows.
        let tight = |data: &[u8], (width, height): (usize, usize)| -> Vec<u8> {
            let stride = width * bytes_each + padding;
            (0..height).flat_map(|y| &data[y * stride..][..width * bytes_each]).copied().collect()
        };
        let luma = tight(&luma, (width, height));
        let chroma = chroma.each_ref().map(|plane| tight(plane, chroma_size));
        let view = |data, (width, height): (usize, usize)| samples(data, width, height, bit_depth);
        let tight = Planes {
            luma: view(&luma, (width, height)),
            chroma: Some([view(&chroma[0], chroma_size), view(&chroma[1], chroma_size)]),
            ..picture
        };
        prop_assert_eq!(convert(&tight, colors), found);
    }
}
