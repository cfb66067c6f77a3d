//! Aligner and packet parser: where each packet begins, its header and its payload.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scenetap::demux::fuzzing::{
    Packet, PacketParser, PesParser, PesPart, SectionAssembler, Understood,
};
use scenetap::ts::{PacketSize, probe_packet_size};
use scenetap_fuzz::{Found, align, packets, pieces, repair_tables, with_cuts};

fuzz_target!(|input: &[u8]| {
    let (stream, cuts) = with_cuts(input);
    probe_packet_size(stream);
    for size in PacketSize::ALL {
        let whole = align(&[stream], size);
        assert_eq!(align(&pieces(stream, cuts), size), whole, "read in pieces");
    }
    let mut stream = stream.to_vec();
    repair_tables(&mut stream);
    let aligned = align(&[&stream], PacketSize::Plain);
    let bytes = aligned.iter().map(|found| match found {
        Found::Packet(_, _, bytes) => *bytes as u64,
        Found::Lost(_, bytes) => *bytes,
    });
    // A timestamp without its packet may remain at the end.
    let remaining = (stream.len() as u64).checked_sub(bytes.sum::<u64>());
    assert!(matches!(remaining, Some(0..=4)), "every byte is accounted for: {remaining:?}");

    let mut parser = PacketParser::default();
    for packet in packets(&aligned) {
        let alone = PacketParser::default().parse(packet.bytes);
        let Some(parsed) = parser.parse(packet.bytes) else {
            assert!(alone.is_none());
            continue;
        };
        assert_eq!(alone.map(|alone| header(&alone)), Some(header(&parsed)));
        assert_agrees(&parsed);
    }
});

/// Returns the fields of a packet that do not depend on earlier packets.
fn header(packet: &Packet<'_>) -> (u16, [bool; 4], u8, Vec<u8>) {
    let Packet { pid, unit_start, scrambled, discontinuity, has_payload, .. } = *packet;
    let flags = [unit_start, scrambled, discontinuity, has_payload];
    (pid, flags, packet.continuity_counter, packet.payload.to_vec())
}

/// Asserts that `mpeg2ts` and our own parsers agree on a payload.
fn assert_agrees(packet: &Packet<'_>) {
    match &packet.understood {
        None => {}
        Some(Understood::Table(table)) => {
            let ours = SectionAssembler::default().push(packet.payload, packet.unit_start, true);
            assert_eq!(ours, std::slice::from_ref(table));
        }
        Some(Understood::PesStart(..)) => {
            let raw = Packet { understood: None, ..*packet };
            assert_eq!(pes(&raw), pes(packet));
        }
    }
}

fn pes<'a>(packet: &Packet<'a>) -> Vec<PesPart<'a>> {
    let mut parts = Vec::new();
    PesParser::default().push(packet, |part| parts.push(part));
    parts
}
