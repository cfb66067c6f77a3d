//! Synthetic packets for the tests of this stage.

use super::fields::PCR_PER_TICK;
use crate::media::{SYNC_BYTE, TS_PACKET_BYTES};

/// A packet that begins a video PES with `pts` and `dts` (90 kHz), and a PCR (27 MHz) if given.
pub fn video(pid: u16, counter: u8, pcr: Option<u64>, pts: u64, dts: u64) -> [u8; TS_PACKET_BYTES] {
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

/// A packet of payload only.
pub fn filler(pid: u16, counter: u8) -> [u8; TS_PACKET_BYTES] {
    let mut packet = [0xaa; TS_PACKET_BYTES];
    packet[..4].copy_from_slice(&[SYNC_BYTE, (pid >> 8) as u8, pid as u8, 0x10 | counter & 0x0f]);
    packet
}

/// `frames` pictures at 25/s on PID 256, `packets_per_frame` packets each, each with a PCR
/// 0.5 s before its DTS; the first PCR is `pcr` (27 MHz).
pub fn stream(frames: u64, packets_per_frame: u64, pcr: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut counter = 0;
    for frame in 0..frames {
        let now = (pcr + frame * 1_080_000) % super::fields::PCR_WRAP;
        let dts = (now / PCR_PER_TICK + 45_000) % super::fields::TIMESTAMP_WRAP;
        bytes.extend(video(256, counter, Some(now), dts + 3600, dts));
        for _ in 1..packets_per_frame {
            counter = (counter + 1) % 16;
            bytes.extend(filler(256, counter));
        }
        counter = (counter + 1) % 16;
    }
    bytes
}

fn stamp(kind: u8, ticks: u64) -> [u8; 5] {
    [
        kind << 4 | ((ticks >> 30) as u8 & 7) << 1 | 1,
        (ticks >> 22) as u8,
        ((ticks >> 15) as u8) << 1 | 1,
        (ticks >> 7) as u8,
        (ticks as u8) << 1 | 1,
    ]
}
