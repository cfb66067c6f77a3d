//! Decides whether a connection sends MPEG-TS, before a byte is recorded.

use crate::ts::{self, Header, SYNC_BYTE, TS_PACKET_BYTES, in_step, is_conclusive};

/// Number of consecutive sync bytes required, 188 bytes apart.
const PACKETS: usize = 5;

/// The first packet must begin within this many bytes.
const MAX_PROBED_BYTES: usize = 64 << 10;

/// Result of a probe.
#[derive(Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// The first packet begins at this index.
    Starts(usize),
    /// More bytes are needed.
    More,
    /// Not MPEG-TS, with the reason.
    Not(&'static str),
}

/// Looks for the first packet in the first bytes of a connection. `at_end` means that no
/// more bytes will follow.
pub fn probe(bytes: &[u8], at_end: bool) -> ProbeOutcome {
    let candidates = memchr::memchr_iter(SYNC_BYTE, bytes).take_while(|at| *at < MAX_PROBED_BYTES);
    let mut undecided = false;
    for at in candidates {
        let rest = &bytes[at..];
        if !in_step(rest, TS_PACKET_BYTES) {
            continue;
        }
        if is_conclusive(rest, TS_PACKET_BYTES) {
            return ProbeOutcome::Starts(at);
        }
        if at_end && rest.first_chunk().is_some_and(is_plausible) {
            return ProbeOutcome::Starts(at);
        }
        undecided = true;
    }
    if is_client_hello(bytes) {
        return ProbeOutcome::Not("it uses TLS, and --tls-cert is not set");
    }
    if at_end {
        return ProbeOutcome::Not("not MPEG-TS: no packet found");
    }
    if !undecided && bytes.len() >= MAX_PROBED_BYTES {
        return ProbeOutcome::Not("not MPEG-TS: no packets within 64 KiB");
    }
    // With packets of 192 or 204 bytes, some sync byte always remains undecided.
    if bytes.len() >= MAX_PROBED_BYTES + PACKETS * TS_PACKET_BYTES {
        return ProbeOutcome::Not("not MPEG-TS: no packets of 188 bytes within 64 KiB");
    }
    ProbeOutcome::More
}

/// Returns whether the bytes start a TLS handshake, whose client would wait for an
/// answer: a handshake record of any version with a ClientHello (RFC 8446 5.1, 4).
fn is_client_hello(bytes: &[u8]) -> bool {
    matches!(bytes, [22, 3, 0..=4, _, _, 1, ..])
}

/// Returns whether a single packet is valid. The sync byte alone is not enough: it is
/// `G`, as in HTTP's `GET`.
fn is_plausible(packet: &[u8; TS_PACKET_BYTES]) -> bool {
    const LONGEST_FIELD: usize = 183;
    let (header, field) = (Header::of(packet), ts::adaptation_field_length(packet));
    match (header.has_adaptation_field(), header.has_payload()) {
        (false, has_payload) => has_payload,
        (true, false) => field == LONGEST_FIELD,
        (true, true) => field < LONGEST_FIELD,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(count: usize) -> Vec<u8> {
        let mut packet = [0xff; TS_PACKET_BYTES];
        packet[..4].copy_from_slice(&[SYNC_BYTE, 0x1f, 0xff, 0x10]);
        packet.repeat(count)
    }

    #[test]
    fn five_packets_in_step_are_mpeg_ts_and_four_may_become_it() {
        assert_eq!(probe(&packets(5), false), ProbeOutcome::Starts(0));
        assert_eq!(probe(&packets(4), false), ProbeOutcome::More);
        assert_eq!(probe(&packets(4), true), ProbeOutcome::Starts(0));
    }

    #[test]
    fn garbage_in_front_is_left_out() {
        let bytes = [vec![SYNC_BYTE, 1, 2], packets(6)].concat();
        assert_eq!(probe(&bytes, false), ProbeOutcome::Starts(3));
    }

    #[test]
    fn http_is_refused_however_long_its_request() {
        let mut request = b"GET / HTTP/1.1\r\nHost: G\r\n".to_vec();
        assert!(matches!(probe(&request, true), ProbeOutcome::Not(_)));
        request.resize(300, b'a');
        assert!(matches!(probe(&request, true), ProbeOutcome::Not(_)));
        request.resize(MAX_PROBED_BYTES, b'a');
        assert!(matches!(probe(&request, false), ProbeOutcome::Not(_)));
    }

    #[test]
    fn tls_is_told_at_once_and_a_stream_that_begins_like_it_is_none() {
        let hello = [22, 3, 1, 2, 0, 1, 0, 1, 0xfc];
        assert!(
            matches!(probe(&hello, false), ProbeOutcome::Not(why) if why.contains("--tls-cert"))
        );
        assert_eq!(probe(&[&hello[..], &packets(5)].concat(), false), ProbeOutcome::Starts(9));
    }

    #[test]
    fn packets_of_204_bytes_are_refused_within_bounds() {
        let mut packet = packets(1);
        packet.resize(204, 0);
        assert!(matches!(probe(&packet.repeat(400), false), ProbeOutcome::Not(_)));
    }
}
