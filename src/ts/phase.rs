//! Finds where packets begin in bytes of unknown phase and packet size.
//!
//! Sync bytes at packet distance are not enough: in an M2TS stream, the byte in front of each
//! packet, or with parity its first byte, may also be a sync byte in every packet. The headers then
//! decide between two phases, by their reserved values and the continuity counters.

use super::{Header, NULL_PID, PacketSize, SYNC_BYTE};

/// Number of sync bytes at packet distance that prove the beginning of a packet: a single payload
/// byte may equal a sync byte by chance, five in step do not.
const STEPS: usize = 5;

/// Number of headers compared for two phases.
const COMPARED_HEADERS: usize = 8;

/// Number of bytes from a sync byte on that is enough to determine every size and phase.
pub const PHASE_BYTES: usize = (COMPARED_HEADERS + 1) * PacketSize::MAX_BYTES;

/// Returns whether `bytes` begin with packets `stride` bytes apart: of the first five positions,
/// all that are within `bytes` have sync bytes.
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

/// Returns the index of the first sync byte of packets of `size` that are in step, within the first
/// packet length. If there are several, returns the most plausible one; `None` if no five sync
/// bytes are in step.
pub fn phase_of(bytes: &[u8], size: PacketSize) -> Option<usize> {
    let stride = size.bytes();
    let is_phase =
        |at: &usize| in_step(&bytes[*at..], stride) && is_conclusive(&bytes[*at..], stride);
    let mut phases = (0..stride.min(bytes.len())).filter(is_phase);
    let first = phases.next()?;
    let best = phases.map(|at| (plausibility(bytes, at, stride), at)).fold(
        (plausibility(bytes, first, stride), first),
        // On a tie, keep the first.
        |best, next| if next.0 > best.0 { next } else { best },
    );
    Some(best.1)
}

/// Returns phase and size of the packets in `bytes`, for the first size that is in step.
pub fn find_phase(bytes: &[u8]) -> Option<(usize, PacketSize)> {
    PacketSize::ALL.into_iter().find_map(|size| Some((phase_of(bytes, size)?, size)))
}

/// Returns phase and size of the packets that begin at the sync byte `bytes[0]`, or soon after it,
/// where packets of `size` have lost step or the stream begins. Ignores sizes that need more bytes
/// than available.
///
/// Packets of 188 bytes continue at the first sync byte, whatever it is (`mpegts_resync` in
/// FFmpeg's `libavformat/mpegts.c`), unless the bytes show another size, as in FFmpeg's
/// `get_packet_size`.
pub fn resync(bytes: &[u8], size: PacketSize) -> (usize, PacketSize) {
    if size == PacketSize::Plain && in_step(bytes, size.bytes()) {
        return (0, size);
    }
    let others = PacketSize::ALL.into_iter().filter(|other| *other != size);
    let candidates = std::iter::once(size).filter(|size| *size != PacketSize::Plain).chain(others);
    for candidate in candidates {
        if let Some(phase) = phase_of(bytes, candidate) {
            return (phase, candidate);
        }
    }
    // At the end of the stream, fewer sync bytes are enough.
    let is_started = |size: &PacketSize| bytes.len() > size.bytes() && in_step(bytes, size.bytes());
    let started = std::iter::once(size).chain(PacketSize::ALL).find(is_started);
    started.map_or_else(|| (longest_run(bytes, size), size), |size| (0, size))
}

/// Returns the phase with the most sync bytes in step: 0 for packets of 188 bytes.
fn longest_run(bytes: &[u8], size: PacketSize) -> usize {
    let stride = size.bytes();
    let run = |at: usize| {
        bytes[at..]
            .iter()
            .step_by(stride)
            .take(STEPS)
            .take_while(|byte| **byte == SYNC_BYTE)
            .count()
    };
    let phases = match size {
        PacketSize::Plain => 0..0,
        _ => 0..stride.min(bytes.len()),
    };
    phases.fold((0, 0), |best, at| if run(at) > best.0 { (run(at), at) } else { best }).1
}

/// Returns a measure of how well the bytes match headers of packets `stride` bytes apart.
fn plausibility(bytes: &[u8], at: usize, stride: usize) -> i32 {
    const VALID: i32 = 1;
    const INVALID: i32 = -2;
    const COUNTED: i32 = 2;
    const MISCOUNTED: i32 = -1;
    let headers = bytes[at..].chunks(stride).take(COMPARED_HEADERS);
    let headers: Vec<Header> =
        headers.filter_map(|packet| Header::read(packet.iter().copied())).collect();
    let mut score = 0;
    for (n, header) in headers.iter().enumerate() {
        score += if header.is_valid() { VALID } else { INVALID };
        let before = headers[..n].iter().rfind(|before| before.pid() == header.pid());
        if let Some(before) = before.filter(|_| header.pid() != NULL_PID) {
            let step = u8::from(header.has_payload());
            let expected = (before.continuity_counter() + step) & 0x0f;
            let is_counted = header.continuity_counter() == expected;
            score += if is_counted { COUNTED } else { MISCOUNTED };
        }
    }
    score
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ts::TS_PACKET_BYTES;

    fn packet(counter: u8) -> Vec<u8> {
        let mut bytes = vec![0; TS_PACKET_BYTES];
        bytes[..4].copy_from_slice(&[SYNC_BYTE, 0x01, 0x00, 0x10 | counter & 0x0f]);
        bytes
    }

    /// Returns packets of `size` whose added bytes are all `added`.
    fn packets(size: PacketSize, count: u8, added: u8) -> Vec<u8> {
        (0..count)
            .flat_map(|n| {
                [vec![added; size.leading_bytes()], packet(n), vec![added; size.trailing_bytes()]]
                    .concat()
            })
            .collect()
    }

    #[test]
    fn five_sync_bytes_in_step_are_a_stream_and_four_may_become_one() {
        let bytes = packets(PacketSize::Plain, 9, 0);
        assert!(in_step(&bytes[..5 * 188], 188) && is_conclusive(&bytes[..5 * 188], 188));
        assert!(in_step(&bytes[..4 * 188], 188) && !is_conclusive(&bytes[..4 * 188], 188));
        assert!(!in_step(&bytes, 192));
    }

    #[test]
    fn sync_bytes_in_the_added_bytes_confuse_nothing() {
        for size in PacketSize::ALL {
            for added in [0, SYNC_BYTE] {
                let bytes = packets(size, 20, added);
                for cut in 0..2 * size.bytes() {
                    let (phase, found) = find_phase(&bytes[cut..]).unwrap_or_default();
                    assert_eq!(found, size, "cut at {cut}");
                    let at = (cut + phase) % size.bytes();
                    assert_eq!(at, size.leading_bytes(), "cut at {cut}, added {added:#x}");
                }
            }
        }
    }

    #[test]
    fn packets_of_188_bytes_go_on_at_the_first_sync_byte_and_others_where_most_are_in_step() {
        let bytes = [&[SYNC_BYTE, 1, 2][..], &packets(PacketSize::Plain, 2, 0)].concat();
        assert_eq!(resync(&bytes, PacketSize::Plain), (0, PacketSize::Plain));
        let bytes = [&[SYNC_BYTE, 1, 2][..], &packets(PacketSize::Timed, 3, 9)].concat();
        assert_eq!(resync(&bytes, PacketSize::Timed), (3 + 4, PacketSize::Timed));
        assert_eq!(resync(&[SYNC_BYTE], PacketSize::Parity), (0, PacketSize::Parity));
    }

    #[test]
    fn another_size_is_seen_where_the_size_before_is_out_of_step() {
        for before in PacketSize::ALL {
            for after in PacketSize::ALL.into_iter().filter(|after| *after != before) {
                let bytes = packets(after, 12, 9);
                let first = after.leading_bytes();
                assert_eq!(resync(&bytes[first..], before), (0, after), "{before:?}");
            }
        }
    }
}
