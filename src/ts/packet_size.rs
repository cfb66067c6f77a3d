//! Determines the packet size of a stream from its first bytes.

use super::{SYNC_BYTE, TS_PACKET_BYTES};

/// Number of sync bytes at packet distance that mark the beginning of a packet: a single payload
/// byte may equal a sync byte by chance, five in step do not.
const STEPS: usize = 5;

/// Returns whether `bytes` begin with packets `stride` bytes apart: the first five positions, as
/// far as `bytes` reach, have sync bytes.
pub fn in_step(bytes: &[u8], stride: usize) -> bool {
    steps(bytes, stride).all(|byte| byte == SYNC_BYTE)
}

/// Returns whether `bytes` are long enough for [`in_step`] to check all five sync bytes.
pub fn is_conclusive(bytes: &[u8], stride: usize) -> bool {
    steps(bytes, stride).count() == STEPS
}

fn steps(bytes: &[u8], stride: usize) -> impl Iterator<Item = u8> {
    bytes.iter().step_by(stride).take(STEPS).copied()
}

/// Determines the size of a file's packets from its first bytes: 188, 192 (M2TS) or 204 (with
/// parity), whichever distance has the most sync bytes. `None` if the file is not MPEG-TS.
///
/// If garbage follows soon, the bytes before it decide, with the same minimum as in ffmpeg. If the
/// file begins with garbage, a stretch after it decides (`av_probe_input_buffer2`,
/// `mpegts_probe`).
pub fn probe_packet_bytes(head: &[u8]) -> Option<usize> {
    const FIRST_BYTES: usize = 2048;
    const STRETCH_BYTES: usize = 100 * TS_PACKET_BYTES;
    let beginnings = std::iter::successors(Some(FIRST_BYTES), |bytes| Some(bytes * 2))
        .take_while(|bytes| *bytes < head.len())
        .map(|bytes| &head[..bytes]);
    beginnings.chain([head]).chain(head.chunks_exact(STRETCH_BYTES)).find_map(packet_bytes_in_step)
}

/// Returns the packet size whose distance has the most sync bytes. `None` if fewer than
/// `ENOUGH_PERCENT` of the expected sync bytes are in place.
fn packet_bytes_in_step(bytes: &[u8]) -> Option<usize> {
    /// Percentage of expected positions that must have a sync byte.
    const ENOUGH_PERCENT: usize = 60;
    let score = |packet_bytes: usize| -> usize {
        let mut counts = vec![0_usize; packet_bytes];
        for at in memchr::memchr_iter(SYNC_BYTE, bytes) {
            counts[at % packet_bytes] += 1;
        }
        let most = counts.into_iter().max().unwrap_or(0);
        let whole_packets = bytes.len() / packet_bytes;
        (most * 100).checked_div(whole_packets).unwrap_or(0)
    };
    [TS_PACKET_BYTES, 192, 204]
        .into_iter()
        .map(|packet_bytes| (score(packet_bytes), packet_bytes))
        .filter(|(score, _)| *score >= ENOUGH_PERCENT)
        // If equal, keep the first: `max_by_key` would return the last.
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, packet_bytes)| packet_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(packet_bytes: usize) -> Vec<u8> {
        let mut packet = vec![1; packet_bytes];
        packet[0] = SYNC_BYTE;
        packet.repeat(100)
    }

    #[test]
    fn a_file_is_recognised_by_what_stands_before_garbage_or_behind_it() {
        let packets = packets(188);
        let garbage = vec![SYNC_BYTE + 1; 77];
        let often = [&packets[..], &garbage].concat().repeat(50);
        assert_eq!(probe_packet_bytes(&often), Some(188));
        let late = [&garbage.repeat(1000)[..], &packets.repeat(3)].concat();
        assert_eq!(probe_packet_bytes(&late), Some(188));
        assert_eq!(probe_packet_bytes(&garbage.repeat(1000)), None);
    }

    #[test]
    fn packets_of_188_192_and_204_bytes_are_told_apart() {
        for packet_bytes in [188, 192, 204] {
            assert_eq!(probe_packet_bytes(&packets(packet_bytes)), Some(packet_bytes));
        }
        assert_eq!(probe_packet_bytes(&[b'x'; 4000]), None);
    }

    #[test]
    fn five_sync_bytes_in_step_are_a_stream_and_four_may_become_one() {
        let bytes = packets(188);
        assert!(in_step(&bytes[..5 * 188], 188) && is_conclusive(&bytes[..5 * 188], 188));
        assert!(in_step(&bytes[..4 * 188], 188) && !is_conclusive(&bytes[..4 * 188], 188));
        assert!(!in_step(&bytes, 192));
    }
}
