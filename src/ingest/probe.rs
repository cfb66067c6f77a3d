//! Decides whether a connection sends MPEG-TS, before a byte is recorded.

use super::foreign::{Certainty, RTP, recognise, wraps_packets_in_rtp};
use crate::ts::{
    self, Header, PHASE_BYTES, PacketSize, SYNC_BYTE, TS_PACKET_BYTES, in_step, is_conclusive,
    phase_of,
};

/// Maximum number of bytes before the first packet.
const MAX_PROBED_BYTES: usize = 64 << 10;

/// Result of a probe.
#[derive(Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// The first packet begins at this index, including any bytes in front of the sync byte.
    Starts(usize),
    /// More bytes are needed.
    More,
    /// Not MPEG-TS, with the reason.
    Not(String),
}

/// Searches the first bytes of a connection for the first packet. `at_end` means that no more bytes
/// will follow.
pub fn probe(bytes: &[u8], at_end: bool) -> ProbeOutcome {
    let certainty = recognise(bytes).map(|foreign| foreign.certainty);
    if certainty == Some(Certainty::Protocol) {
        return ProbeOutcome::Not(refusal(bytes));
    }
    match wraps_packets_in_rtp(bytes) {
        Some(true) => return ProbeOutcome::Not(format!("not MPEG-TS: {RTP}")),
        None if !at_end => return ProbeOutcome::More,
        _ => {}
    }
    let undecided = match find_first(bytes, at_end) {
        First::At(at) => return ProbeOutcome::Starts(at),
        First::Undecided => true,
        First::None => false,
    };
    // A position that is still undecided may become the first packet.
    let is_too_late = bytes.len() >= MAX_PROBED_BYTES + if undecided { PHASE_BYTES } else { 0 };
    let is_recognised = match certainty {
        Some(Certainty::Handshake) => true,
        // The timestamp of a first packet may look the same.
        Some(Certainty::Signature) => bytes.len() >= PHASE_BYTES + PacketSize::MAX_BYTES,
        _ => false,
    };
    if at_end || is_too_late || is_recognised {
        return ProbeOutcome::Not(refusal(bytes));
    }
    ProbeOutcome::More
}

/// Returns the reason for refusing a connection that has sent these bytes and no packet.
pub fn refusal(bytes: &[u8]) -> String {
    match recognise(bytes) {
        Some(foreign) => format!("not MPEG-TS: {foreign}"),
        None if bytes.len() >= MAX_PROBED_BYTES => {
            "not MPEG-TS: no packets of 188, 192 or 204 bytes within 64 KiB".into()
        }
        None => format!("not MPEG-TS: no packet in {} bytes", bytes.len()),
    }
}

/// Result of [`find_first`].
enum First {
    At(usize),
    Undecided,
    None,
}

fn find_first(bytes: &[u8], at_end: bool) -> First {
    let mut undecided = false;
    for at in memchr::memchr_iter(SYNC_BYTE, bytes).take_while(|at| *at < MAX_PROBED_BYTES) {
        let rest = &bytes[at..];
        for size in PacketSize::ALL {
            if !in_step(rest, size.bytes()) {
                continue;
            }
            let begin = |sync: usize| First::At(sync.saturating_sub(size.leading_bytes()));
            if is_conclusive(rest, size.bytes()) {
                // The added byte of each packet may look like a sync byte.
                if size == PacketSize::Plain {
                    return begin(at);
                }
                if at_end || rest.len() >= PHASE_BYTES {
                    return begin(at + phase_of(rest, size).unwrap_or(0));
                }
            } else if at_end && rest.first_chunk().is_some_and(is_plausible) {
                let is_single = rest.len() == TS_PACKET_BYTES;
                let is_timed = is_single && at == PacketSize::Timed.leading_bytes();
                return if is_timed { First::At(0) } else { begin(at) };
            }
            undecided = true;
        }
    }
    if undecided { First::Undecided } else { First::None }
}

/// Returns whether a single packet is plausible. The sync byte alone is not enough: it is `G`, as
/// in HTTP's `GET`.
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

    /// Returns packets of `size` whose added bytes are all `added`.
    fn framed(size: PacketSize, count: u8, added: u8) -> Vec<u8> {
        let mut packet = packets(1);
        (0..count)
            .flat_map(|n| {
                packet[..4].copy_from_slice(&[SYNC_BYTE, 1, 0, 0x10 | n & 0x0f]);
                let lead = vec![added; size.leading_bytes()];
                let trail = vec![added; size.trailing_bytes()];
                [&lead[..], &packet, &trail].concat()
            })
            .collect()
    }

    fn is_refused(bytes: &[u8], at_end: bool, named: &str) -> bool {
        matches!(probe(bytes, at_end), ProbeOutcome::Not(why) if why.contains(named))
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
    fn packets_of_192_and_204_bytes_begin_with_what_is_added_in_front_of_them() {
        for size in [PacketSize::Timed, PacketSize::Parity] {
            for added in [0, SYNC_BYTE] {
                for count in [1, 2, 5, 12] {
                    let bytes = framed(size, count, added);
                    assert_eq!(probe(&bytes, true), ProbeOutcome::Starts(0), "{count} {size:?}");
                }
                let bytes = framed(size, 12, added);
                assert_eq!(probe(&bytes, false), ProbeOutcome::Starts(0), "{size:?}");
                // A sender that begins in the middle of a packet.
                let late = size.bytes() - 7;
                assert_eq!(probe(&bytes[7..], false), ProbeOutcome::Starts(late), "{size:?}");
            }
        }
    }

    #[test]
    fn http_is_refused_however_long_its_request() {
        let request = b"GET / HTTP/1.1\r\nHost: G\r\n".to_vec();
        assert!(is_refused(&request, false, "HTTP"));
        // Also if packets follow: HTTP sends them in chunks.
        assert!(is_refused(&[&request[..], &packets(6)].concat(), false, "HTTP"));
        let mut garbage = b"GET G\r\n".to_vec();
        assert!(is_refused(&garbage, true, "no packet in 7 bytes"));
        garbage.resize(MAX_PROBED_BYTES, b'a');
        assert!(is_refused(&garbage, false, "within 64 KiB"));
    }

    #[test]
    fn tls_is_told_at_once_and_a_stream_that_begins_like_it_is_none() {
        let hello = [22, 3, 1, 0, 4, 1, 0, 1, 0xfc];
        assert!(is_refused(&hello, false, "--tls-cert"));
        assert_eq!(probe(&[&hello[..], &packets(5)].concat(), false), ProbeOutcome::Starts(9));
    }

    #[test]
    fn raw_video_is_named_once_it_is_certain_that_no_packet_follows() {
        let mut video = vec![0, 0, 0, 1, 0x67, 0x64, 0, 0x1f];
        assert_eq!(probe(&video, false), ProbeOutcome::More);
        assert_eq!(probe(&[&video[..], &packets(5)].concat(), false), ProbeOutcome::Starts(8));
        assert!(is_refused(&video, true, "raw H.264"));
        video.resize(MAX_PROBED_BYTES + PHASE_BYTES, SYNC_BYTE - 1);
        assert!(is_refused(&video, false, "raw H.264"));
    }

    #[test]
    fn what_never_becomes_a_stream_is_refused_within_bounds() {
        // Ambiguous sync bytes throughout, at no packet distance.
        let mut bytes = vec![0; MAX_PROBED_BYTES + PHASE_BYTES];
        bytes.iter_mut().step_by(187).for_each(|byte| *byte = SYNC_BYTE);
        assert!(matches!(probe(&bytes, false), ProbeOutcome::Not(_)));
        assert_eq!(probe(&bytes[..MAX_PROBED_BYTES], false), ProbeOutcome::More);
    }

    #[test]
    fn packets_in_rtp_are_refused_by_name() {
        let header = [0x80, 33, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4];
        let wrapped = [&header[..], &packets(7)].concat();
        assert_eq!(probe(&wrapped, false), ProbeOutcome::More);
        assert!(is_refused(&wrapped.repeat(2), false, "RTP"));
    }
}
