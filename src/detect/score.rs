//! The scene score of FFmpeg's `select` filter, bit for bit.
//!
//! Source: `get_scene_score` in `libavfilter/f_select.c`, unchanged from 4.4 to 7.1.

use std::ops::Range;

use multiversion::multiversion;
use rayon::prelude::*;

use crate::media::Luma;

/// Mean absolute frame difference, in units of an 8-bit sample.
pub type Mafd = f64;

/// Number of bytes below which a picture is scored on the calling thread.
///
/// Measured by `cargo bench -- score` on two idle cores, as a multiple of the speed of one thread: 1.3
/// at 720p, 1.5 at 1080p, 1.4 at 2160p, where one thread already reads as fast as a copy. With only
/// one core idle: 0.3, 0.6, 0.9. At 1080p, that would save 0.05 ms of the 33 between two pictures, if
/// the other thread is awake; at 2160p, 0.2 ms.
const PARALLEL_BYTES: usize = 4 << 20;

/// Number of rows per task.
const ROWS_PER_TASK: usize = 64;

/// Returns the mean absolute difference of two pictures of the same size and depth.
pub fn mafd(previous: &Luma<'_>, current: &Luma<'_>) -> Mafd {
    let samples = (current.width * current.height) as f64;
    let scale = (1_u64 << (current.bit_depth - 8)) as f64;
    sad(previous, current) as f64 / samples / scale
}

/// Returns the score of a picture from its difference and that of the picture before.
pub fn scene_score(mafd: Mafd, mafd_before: Mafd) -> f64 {
    let difference = (mafd - mafd_before).abs();
    // av_clipf takes a float: rounding to f32 is part of the score.
    f64::from(((mafd.min(difference) / 100.0) as f32).clamp(0.0, 1.0))
}

/// Returns the sum of absolute differences over all samples: an exact integer, regardless of the
/// division among threads.
pub fn sad(previous: &Luma<'_>, current: &Luma<'_>) -> u64 {
    let bytes = current.row_bytes() * current.height.min(previous.height);
    // On a pool thread, the other threads have their own work.
    if bytes < PARALLEL_BYTES || rayon::current_thread_index().is_some() {
        sad_on_one_thread(previous, current)
    } else {
        sad_on_all_threads(previous, current)
    }
}

/// Returns [`sad`], on the calling thread.
pub fn sad_on_one_thread(previous: &Luma<'_>, current: &Luma<'_>) -> u64 {
    sad_of_rows(previous, current, 0..current.height.min(previous.height))
}

/// Returns [`sad`], by all threads of the pool.
pub fn sad_on_all_threads(previous: &Luma<'_>, current: &Luma<'_>) -> u64 {
    let height = current.height.min(previous.height);
    (0..height.div_ceil(ROWS_PER_TASK))
        .into_par_iter()
        .map(|task| task * ROWS_PER_TASK..height.min((task + 1) * ROWS_PER_TASK))
        .map(|rows| sad_of_rows(previous, current, rows))
        .sum()
}

fn sad_of_rows(previous: &Luma<'_>, current: &Luma<'_>, rows: Range<usize>) -> u64 {
    rows.map(|y| row_sad(previous.row(y), current.row(y), current.bit_depth)).sum()
}

/// Compiled once per instruction set; at run time, the best one that the processor supports is used.
#[multiversion(targets = "simd")]
fn row_sad(a: &[u8], b: &[u8], bit_depth: u32) -> u64 {
    /// Number of samples per partial sum: small enough for the compiler to vectorize in narrow lanes.
    const PIECE: usize = 64;
    if bit_depth <= 8 {
        let mut sum = 0_u64;
        let (a, a_rest) = a.as_chunks::<PIECE>();
        let (b, b_rest) = b.as_chunks::<PIECE>();
        for (a, b) in a.iter().zip(b) {
            sum += u64::from(a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(*b))).sum::<u32>());
        }
        sum + a_rest.iter().zip(b_rest).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
    } else {
        let sample = |bytes: &[u8; 2]| u16::from_ne_bytes(*bytes);
        let (a, b) = (a.as_chunks::<2>().0, b.as_chunks::<2>().0);
        a.chunks(PIECE)
            .zip(b.chunks(PIECE))
            .map(|(a, b)| {
                let differences =
                    a.iter().zip(b).map(|(a, b)| u32::from(sample(a).abs_diff(sample(b))));
                u64::from(differences.sum::<u32>())
            })
            .sum()
    }
}
