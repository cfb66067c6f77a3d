//! The whole demuxer, from bytes to access units; and the listing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scenetap::demux::{Listing, ProgramChoice};
use scenetap::media::{AccessUnit, ByteOffset};
use scenetap::pipeline::analyzer::units::{UnitEvent, UnitReader};
use scenetap::ts::{Aligned, Aligner, PacketSize, TS_PACKET_BYTES};
use scenetap_fuzz::{align, packets, pieces, repair_tables, with_cuts};

fuzz_target!(|input: &[u8]| {
    let (stream, cuts) = with_cuts(input);
    let mut stream = stream.to_vec();
    repair_tables(&mut stream);
    for choice in [ProgramChoice::FirstWithVideo, ProgramChoice::Number(1)] {
        let whole = events(&[&stream], choice);
        assert_eq!(events(&pieces(&stream, cuts), choice), whole, "read in pieces");
        assert_sound(&whole, &stream);

        let mut listing = Listing::new(choice);
        packets(&align(&[&stream], PacketSize::Plain)).any(|packet| listing.push(packet));
        let programs = listing.programs();
        let streams = programs.iter().flat_map(|program| &program.streams);
        assert!(streams.filter(|stream| stream.followed).count() <= 1, "{programs:?}");
    }
});

fn events(pieces: &[&[u8]], choice: ProgramChoice) -> Vec<UnitEvent> {
    let mut aligner = Aligner::begin(ByteOffset(0), PacketSize::Plain);
    let mut reader = UnitReader::new(choice);
    let mut events = Vec::new();
    for piece in pieces {
        aligner.push(piece);
        while let Some(found) = aligner.find() {
            if let Aligned::Packet(packet) = found {
                reader.push(packet);
            }
        }
        events.extend(std::iter::from_fn(|| reader.pull()));
    }
    aligner.end_input();
    while let Some(found) = aligner.find() {
        if let Aligned::Packet(packet) = found {
            reader.push(packet);
        }
    }
    reader.finish();
    events.extend(std::iter::from_fn(|| reader.pull()));
    events
}

/// Asserts properties of the access units of any stream.
fn assert_sound(events: &[UnitEvent], stream: &[u8]) {
    let units = || {
        events.iter().filter_map(|event| match event {
            UnitEvent::AccessUnit(unit) => Some(unit),
            _ => None,
        })
    };
    for AccessUnit { at, skip_bytes, data, .. } in units() {
        assert!(!data.is_empty());
        assert!(*skip_bytes < TS_PACKET_BYTES);
        let start = usize::try_from(at.0).unwrap_or(usize::MAX);
        assert_eq!(stream.get(start), Some(&0x47), "a unit starts in a packet");
    }
    assert!(units().map(|unit| unit.at).is_sorted());
    assert!(units().map(|unit| unit.data.len()).sum::<usize>() <= stream.len());
}
