#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use proptest::prelude::*;

use super::score::{mafd, sad, scene_score};
use super::*;
use crate::error::Result;
use crate::media::{ByteOffset, JfifPicture, Luma, Reason, RgbPicture, Ticks};

/// A picture with given samples.
#[derive(Clone)]
struct Painted {
    data: Vec<u8>,
    stride: usize,
    width: usize,
    height: usize,
    bit_depth: u32,
}

impl Painted {
    fn gray(width: usize, height: usize, value: u8) -> Self {
        Painted { data: vec![value; width * height], stride: width, width, height, bit_depth: 8 }
    }
}

impl Picture for Painted {
    fn luma(&self) -> Luma<'_> {
        Luma {
            data: &self.data,
            stride: self.stride,
            width: self.width,
            height: self.height,
            bit_depth: self.bit_depth,
        }
    }

    fn format(&self) -> PictureFormat {
        PictureFormat {
            width: u32::try_from(self.width).unwrap(),
            height: u32::try_from(self.height).unwrap(),
            pixel_format: format!("gray{}", self.bit_depth),
        }
    }

    fn checksum(&self) -> u32 {
        0
    }

    fn to_rgb(&self, _: Option<u32>) -> Result<RgbPicture> {
        Ok(RgbPicture { width: 0, height: 0, pixels: Vec::new() })
    }

    fn to_jfif(&self, _: Option<u32>) -> Result<JfifPicture> {
        Ok(JfifPicture { width: 0, height: 0, planes: Default::default() })
    }

    fn copied(&self) -> Result<Arc<dyn Picture>> {
        Ok(Arc::new(self.clone()))
    }
}

fn detect(pictures: &[Painted]) -> Vec<(f64, Option<Reason>)> {
    let (mut comparer, mut detector) = (Comparer::default(), Detector::new(Rule::default()));
    let verdicts = pictures.iter().zip(0..).map(|(picture, second)| {
        let difference = comparer.push(&(Arc::new(picture.clone()) as Arc<dyn Picture>));
        detector.decide(ByteOffset(0), Ticks(second * 90_000), difference)
    });
    verdicts.map(|verdict| (verdict.score, verdict.kept)).collect()
}

#[test]
fn the_first_picture_has_score_zero_and_the_second_its_whole_difference() {
    let [black, gray] = [0, 50].map(|value| Painted::gray(8, 8, value));
    assert_eq!(
        detect(&[black, gray.clone(), gray]),
        [
            (0.0, Some(Reason::First)),
            (0.5, Some(Reason::Scene)),
            // The difference is 0 now, after 50: the score is the smaller of 0 and 50.
            (0.0, None)
        ]
    );
}

#[test]
fn steady_motion_is_no_scene_change() {
    let pictures: Vec<_> = (0..6).map(|n| Painted::gray(8, 8, n * 40)).collect();
    let kept = detect(&pictures).iter().filter(|(_, kept)| kept.is_some()).count();
    assert_eq!(kept, 2, "the first, and the one where motion began");
}

#[test]
fn a_change_of_size_starts_the_detector_anew() {
    let small = Painted::gray(8, 8, 0);
    let large = Painted::gray(16, 8, 255);
    let found = detect(&[small.clone(), large.clone(), large, small]);
    let reasons: Vec<_> = found.iter().map(|(_, kept)| *kept).collect();
    assert_eq!(reasons, [Some(Reason::First), Some(Reason::Format), None, Some(Reason::Format)]);
    assert!(found.iter().all(|(score, _)| *score == 0.0));
}

#[test]
fn the_score_is_rounded_to_f32_before_it_is_compared() {
    assert_eq!(scene_score(30.000_000_1, 0.0), f64::from(0.3_f32));
    assert_eq!(scene_score(250.0, 0.0), 1.0);
}

#[test]
fn ten_bit_samples_count_a_quarter() {
    let plane = |value: u16| {
        let data: Vec<u8> = std::iter::repeat_n(value.to_ne_bytes(), 6).flatten().collect();
        Painted { data, stride: 6, width: 3, height: 2, bit_depth: 10 }
    };
    assert_eq!(mafd(&plane(0).luma(), &plane(1023).luma()), 1023.0 / 4.0);
}

fn slow_sad(a: &Painted, b: &Painted) -> u64 {
    let sample = |picture: &Painted, x: usize, y: usize| match picture.bit_depth {
        8 => u64::from(picture.data[y * picture.stride + x]),
        _ => {
            let at = y * picture.stride + 2 * x;
            u64::from(u16::from_ne_bytes(picture.data[at..at + 2].try_into().unwrap()))
        }
    };
    (0..a.height)
        .flat_map(|y| (0..a.width).map(move |x| (x, y)))
        .map(|(x, y)| sample(a, x, y).abs_diff(sample(b, x, y)))
        .sum()
}

proptest! {
    /// For any width, and rows that are longer than their visible part.
    #[test]
    fn sad_is_the_sum_over_the_visible_samples(
        (width, height, padding, deep) in (1_usize..200, 1_usize..20, 0_usize..9, any::<bool>()),
        seed in any::<u64>(),
    ) {
        let bytes_each = if deep { 2 } else { 1 };
        let stride = width * bytes_each + padding;
        let mut state = seed;
        let mut paint = || Painted {
            data: std::iter::repeat_with(|| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .take(stride * height)
            .collect(),
            stride,
            width,
            height,
            bit_depth: if deep { 12 } else { 8 },
        };
        let (a, b) = (paint(), paint());
        prop_assert_eq!(sad(&a.luma(), &b.luma()), slow_sad(&a, &b));
    }
}

#[test]
fn a_large_picture_scored_by_many_threads_has_the_same_sum() {
    let mut a = Painted::gray(3840, 2160, 7);
    let b = Painted::gray(3840, 2160, 5);
    a.data[3840 * 2160 - 1] = 255;
    assert_eq!(sad(&a.luma(), &b.luma()), 2 * (3840 * 2160 - 1) + 250);
}
