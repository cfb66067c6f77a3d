//! PES packets of one PID.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scenetap::demux::fuzzing::{Packet, PesHeader, PesParser, PesPart};
use scenetap_fuzz::{pieces, with_cuts};

fuzz_target!(|input: &[u8]| {
    let (bytes, cuts) = with_cuts(input);
    let pieces = pieces(bytes, cuts);

    // One PES packet, split into transport packets in any way.
    let (headers, data) = read(&[bytes], |n| n == 0);
    assert!(data.len() <= bytes.len() && headers.len() <= 1);
    let (split_headers, split_data) = read(&pieces, |n| n == 0);
    assert_eq!(split_headers.first(), headers.first(), "its header");
    // A length is trusted until the data contradicts it; in that case, the split matters.
    if headers.first().is_some_and(|header| header.es_bytes.is_none()) {
        assert_eq!((split_headers, split_data), (headers, data), "its bytes");
    }

    // Many PES packets; a byte of each piece decides whether one starts there.
    let (_, data) = read(&pieces, |n| pieces[n].first().is_some_and(|byte| byte % 4 == 0));
    assert!(data.len() <= bytes.len());
});

fn read(payloads: &[&[u8]], is_start: impl Fn(usize) -> bool) -> (Vec<PesHeader>, Vec<u8>) {
    let (mut headers, mut data) = (Vec::new(), Vec::new());
    let mut parser = PesParser::default();
    for (n, payload) in payloads.iter().enumerate() {
        let packet = Packet {
            pid: 0x100,
            unit_start: is_start(n),
            scrambled: false,
            continuity_counter: (n & 0x0f) as u8,
            discontinuity: false,
            transport_error: false,
            has_payload: true,
            payload,
            understood: None,
        };
        parser.push(&packet, |part| match part {
            PesPart::Start(header) => headers.push(header),
            PesPart::End => {}
            PesPart::Data(bytes) => {
                assert!(!bytes.is_empty());
                data.extend_from_slice(bytes);
            }
        });
    }
    (headers, data)
}
