//! Sections: PAT and PMT over any number of packets.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scenetap::demux::fuzzing::{SectionAssembler, Table};
use scenetap_fuzz::{pieces, repair_sections, with_cuts};

/// Maximum size of a section: a longer one is truncated, and the split then matters.
const MAX_SECTION_BYTES: usize = 4096;

fuzz_target!(|input: &[u8]| {
    let (payload, cuts) = with_cuts(input);
    read(&mut SectionAssembler::default(), &pieces(payload, cuts));

    let mut payload = payload.to_vec();
    repair_sections(&mut payload);
    let whole = read(&mut SectionAssembler::default(), &[&payload]);
    for table in &whole {
        if let Table::Pmt(pmt) = table {
            for stream in &pmt.streams {
                pmt.content(stream);
            }
        }
    }
    let pieces = pieces(&payload, cuts);
    // The pointer field and the bytes that it skips must be in the same packet.
    let required_bytes = payload.first().map_or(0, |pointer| usize::from(*pointer) + 1);
    if payload.len() < MAX_SECTION_BYTES
        && pieces.first().is_some_and(|piece| piece.len() >= required_bytes)
    {
        assert_eq!(read(&mut SectionAssembler::default(), &pieces), whole, "in pieces");
    }
    // A new start is read in the same way, whatever the assembler contained before.
    let mut used = SectionAssembler::default();
    read(&mut used, &pieces);
    let again = read(&mut used, &[&payload]);
    assert!(again.ends_with(&whole), "{again:?} ends with {whole:?}");
});

fn read(assembler: &mut SectionAssembler, payloads: &[&[u8]]) -> Vec<Table> {
    let payloads = payloads.iter().enumerate();
    payloads.flat_map(|(n, payload)| assembler.push(payload, n == 0, true)).collect()
}
