//! Runs one hot path, for `scripts/instructions.sh`, which counts the instructions:
//! unlike time, they are the same in every run.
//!
//! `instructions --list` prints the names of the paths, `instructions NAME` runs one.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

use std::hint::black_box;
use std::sync::Arc;

use scenetap::catalog::encode_jpeg;
use scenetap::decode::{BestEffort, Decoder, Settings};
use scenetap::demux::ProgramChoice;
use scenetap::detect::score::sad_on_one_thread;
use scenetap::media::{AccessUnit, ByteOffset, Luma, Picture};
use scenetap::pipeline::analyzer::units::{UnitEvent, UnitReader};
use scenetap::ts::{Aligned, Aligner, PacketSize};

const CLIP: &str = "fixtures/bbb_h264_bframes_scenecut_360p24.ts";
const CLIP_BYTES: usize = 1 << 20;

/// A hot path: its name, and how it is set up, which is not counted.
type Path = (&'static str, fn() -> Box<dyn Fn()>);

const PATHS: [Path; 6] = [
    ("align 1 MiB of packets", || {
        let bytes = clip();
        Box::new(move || {
            black_box(aligned(&bytes, |_| {}));
        })
    }),
    ("demux 1 MiB", || {
        let bytes = clip();
        Box::new(move || drop(black_box(access_units(&bytes))))
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

fn clip() -> Vec<u8> {
    let mut bytes = std::fs::read(CLIP).unwrap();
    bytes.truncate(CLIP_BYTES);
    bytes
}

fn aligned(bytes: &[u8], mut receive: impl FnMut(scenetap::ts::TsPacket<'_>)) -> u64 {
    let mut aligner = Aligner::begin(ByteOffset(0), PacketSize::Plain);
    let mut found = 0;
    // In pieces, as from a socket.
    for piece in bytes.chunks(64 << 10) {
        aligner.push(piece);
        while aligner.has_found() {
            if let Some(Aligned::Packet(packet)) = aligner.find() {
                found += 1;
                receive(packet);
            }
        }
    }
    found
}

fn access_units(bytes: &[u8]) -> Vec<AccessUnit> {
    let mut reader = UnitReader::new(ProgramChoice::default());
    aligned(bytes, |packet| reader.push(packet));
    reader.finish();
    std::iter::from_fn(|| reader.pull())
        .filter_map(|event| match event {
            UnitEvent::AccessUnit(unit) => Some(unit),
            _ => None,
        })
        .collect()
}

fn picture() -> Arc<dyn Picture> {
    let units = access_units(&clip());
    let settings = Settings { reorder: 2, ..Settings::default() };
    let mut decoder = Decoder::open(units[0].codec, &settings, BestEffort::default()).unwrap();
    units
        .iter()
        .find_map(|unit| {
            decoder.push(unit);
            decoder.pull()
        })
        .unwrap()
        .picture
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

/// The instructions of this function are counted: its name is in the script.
#[inline(never)]
fn counted(run: &dyn Fn()) {
    run();
}

fn main() {
    let name = std::env::args().nth(1).unwrap_or_default();
    match PATHS.iter().find(|path| path.0 == name) {
        Some((_, set_up)) => {
            let run = set_up();
            // What happens once only is not counted: choosing an instruction set, growing the heap.
            run();
            counted(&run);
        }
        // `cargo bench` runs it without a name.
        None => PATHS.iter().for_each(|(name, _)| println!("{name}")),
    }
}
