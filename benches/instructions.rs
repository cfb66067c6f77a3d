//! Runs one hot path, for `scripts/instructions.sh`, which counts the instructions:
//! unlike time, they are the same in every run.
//!
//! `instructions --list` prints the names of the paths, `instructions NAME` runs one.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

mod clip;

use std::hint::black_box;
use std::sync::Arc;

use scenetap::catalog::encode_jpeg;
use scenetap::detect::score::sad_on_one_thread;
use scenetap::media::{Luma, Picture};

/// A hot path: its name, and its setup, which is not counted.
type HotPath = (&'static str, fn() -> Box<dyn Fn()>);

const PATHS: [HotPath; 6] = [
    ("align 1 MiB of packets", || {
        let bytes = mebibyte();
        Box::new(move || {
            clip::packets(&bytes, |packet| {
                black_box(packet.bytes);
            });
        })
    }),
    ("demux 1 MiB", || {
        let bytes = mebibyte();
        Box::new(move || drop(black_box(clip::access_units(&bytes))))
    }),
    ("score 1080p, 8 bits", || score(8)),
    ("score 1080p, 10 bits", || score(10)),
    ("convert 360p to JFIF", || {
        let picture = picture();
        Box::new(move || drop(black_box(picture.to_jfif(None).unwrap())))
    }),
    ("encode 360p as JPEG", || {
        let picture = picture().to_jfif(None).unwrap();
        Box::new(move || drop(black_box(encode_jpeg(&picture, 90).unwrap())))
    }),
];

fn mebibyte() -> Vec<u8> {
    let mut bytes = clip::bytes();
    bytes.truncate(1 << 20);
    bytes
}

fn picture() -> Arc<dyn Picture> {
    clip::pictures(&clip::access_units(&mebibyte())[..10]).remove(0)
}

fn score(bit_depth: u32) -> Box<dyn Fn()> {
    let (width, height) = (1920, 1080);
    let stride = if bit_depth > 8 { 2 * width } else { width };
    let planes: [Vec<u8>; 2] =
        [3_usize, 7].map(|k| (0..stride * height).map(|n| (n * k) as u8).collect());
    Box::new(move || {
        let [before, after] =
            planes.each_ref().map(|data| Luma { data, stride, width, height, bit_depth });
        black_box(sad_on_one_thread(&before, &after));
    })
}

/// The function whose instructions are counted: the script contains its name.
#[inline(never)]
fn counted(run: &dyn Fn()) {
    run();
}

fn main() {
    let name = std::env::args().nth(1).unwrap_or_default();
    match PATHS.iter().find(|path| path.0 == name) {
        Some((_, set_up)) => {
            let run = set_up();
            // Warm up: one-time work is not counted, such as choosing an instruction set and
            // growing the heap.
            run();
            counted(&run);
        }
        // `cargo bench` passes no name.
        None => PATHS.iter().for_each(|(name, _)| println!("{name}")),
    }
}
