//! Packets with clock references but no content, for tests of pacing.

use crate::mux::{PACKET_BYTES, stamp};

/// 27 MHz clock references in a 90 kHz tick (ISO/IEC 13818-1, 2.4.2.2).
const PCR_PER_TICK: u64 = 300;

/// Ticks after which PTS and DTS wrap.
const TICKS: u64 = 1 << 33;

/// Returns a packet that begins a video PES with `pts` and `dts` (90 kHz), and a PCR (27 MHz)
/// if given.
pub fn timed(pid: u16, counter: u8, pcr: Option<u64>, pts: u64, dts: u64) -> [u8; PACKET_BYTES] {
    let mut packet = filler(pid, counter);
    packet[1] |= 0x40;
    let mut at = 4;
    if let Some(pcr) = pcr {
        packet[3] |= 0x20;
        packet[4] = 7;
        packet[5] = 0x10;
        let (base, extension) = (pcr / PCR_PER_TICK, pcr % PCR_PER_TICK);
        packet[6..10].copy_from_slice(&((base >> 1) as u32).to_be_bytes());
        packet[10] = ((base & 1) as u8) << 7 | 0x7e | (extension >> 8) as u8;
        packet[11] = extension as u8;
        at = 12;
    }
    packet[at..at + 9].copy_from_slice(&[0, 0, 1, 0xe0, 0, 0, 0x80, 0xc0, 10]);
    packet[at + 9..at + 14].copy_from_slice(&stamp(0x3, pts));
    packet[at + 14..at + 19].copy_from_slice(&stamp(0x1, dts));
    packet
}

/// Returns a packet of payload only.
pub fn filler(pid: u16, counter: u8) -> [u8; PACKET_BYTES] {
    let mut packet = [0xaa; PACKET_BYTES];
    packet[..4].copy_from_slice(&[0x47, (pid >> 8) as u8, pid as u8, 0x10 | counter & 0x0f]);
    packet
}

/// Returns `frames` pictures at 25/s on PID 256, `packets_per_frame` packets each, each with a
/// PCR 0.5 s before its DTS; the first PCR is `pcr` (27 MHz).
pub fn paced_stream(frames: u64, packets_per_frame: u64, pcr: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut counter = 0;
    for frame in 0..frames {
        let now = (pcr + frame * 1_080_000) % (TICKS * PCR_PER_TICK);
        let dts = (now / PCR_PER_TICK + 45_000) % TICKS;
        bytes.extend(timed(256, counter, Some(now), dts + 3600, dts));
        for _ in 1..packets_per_frame {
            counter = (counter + 1) % 16;
            bytes.extend(filler(256, counter));
        }
        counter = (counter + 1) % 16;
    }
    bytes
}
