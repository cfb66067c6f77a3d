//! The clip for the benches, and its first stages.

use std::sync::Arc;

use scenetap::decode::{BestEffort, Decoder, Settings};
use scenetap::demux::ProgramChoice;
use scenetap::media::{AccessUnit, ByteOffset, Picture};
use scenetap::pipeline::analyzer::units::{UnitEvent, UnitReader};
use scenetap::ts::{Aligned, Aligner, PacketSize, TsPacket};

/// Returns the clip.
pub fn bytes() -> Vec<u8> {
    std::fs::read("fixtures/bbb_h264_bframes_scenecut_360p24.ts").unwrap()
}

/// Finds the packets in bytes that arrive in pieces, as from a socket.
pub fn packets(bytes: &[u8], mut receive: impl FnMut(TsPacket<'_>)) {
    let mut aligner = Aligner::begin(ByteOffset(0), PacketSize::Plain);
    for piece in bytes.chunks(64 << 10) {
        aligner.push(piece);
        while aligner.has_found() {
            if let Some(Aligned::Packet(packet)) = aligner.find() {
                receive(packet);
            }
        }
    }
}

/// Demultiplexes the video stream.
pub fn access_units(bytes: &[u8]) -> Vec<AccessUnit> {
    let mut reader = UnitReader::new(ProgramChoice::default());
    packets(bytes, |packet| reader.push(packet));
    reader.finish();
    std::iter::from_fn(|| reader.pull())
        .filter_map(|event| match event {
            UnitEvent::AccessUnit(unit) => Some(unit),
            _ => None,
        })
        .collect()
}

/// Decodes on one thread.
pub fn pictures(units: &[AccessUnit]) -> Vec<Arc<dyn Picture>> {
    let settings = Settings { reorder: 2, ..Settings::default() };
    let mut decoder = Decoder::open(units[0].codec, &settings, BestEffort::default()).unwrap();
    let mut pictures = Vec::new();
    for unit in units {
        decoder.push(unit);
        pictures.extend(std::iter::from_fn(|| decoder.pull()).map(|decoded| decoded.picture));
    }
    pictures
}
