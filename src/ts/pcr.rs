//! The program clock reference (PCR), ISO/IEC 13818-1, 2.4.3.4 and 2.4.3.5.

use super::{TS_PACKET_BYTES, adaptation_field_length};

/// Ticks of the 27 MHz clock per tick of the 90 kHz clock.
pub const PCR_PER_TICK: u64 = 300;

/// Modulus of a PCR: 33 bits at 90 kHz, in 27 MHz ticks.
pub const PCR_WRAP: u64 = (1 << 33) * PCR_PER_TICK;

/// Returns the program clock reference in 27 MHz ticks, below [`PCR_WRAP`].
pub fn pcr(packet: &[u8; TS_PACKET_BYTES]) -> Option<u64> {
    let at = pcr_at(packet)?;
    let base = pcr_base(packet, at);
    let extension = u64::from(packet[at + 4] & 1) << 8 | u64::from(packet[at + 5]);
    // An extension of 300 or more is invalid, a sign of damage.
    Some((base * PCR_PER_TICK + extension) % PCR_WRAP)
}

/// Returns the index of the PCR in a packet that has one.
pub fn pcr_at(packet: &[u8; TS_PACKET_BYTES]) -> Option<usize> {
    (adaptation_field_length(packet) >= 7 && packet[5] & 0x10 != 0).then_some(6)
}

/// Returns the base of the PCR or OPCR at index `at`, in 90 kHz ticks.
pub fn pcr_base(packet: &[u8; TS_PACKET_BYTES], at: usize) -> u64 {
    packet[at..at + 4].iter().fold(0, |high, byte| high << 8 | u64::from(*byte)) << 1
        | u64::from(packet[at + 4] >> 7)
}
