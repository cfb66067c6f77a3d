//! The Reed-Solomon parity behind packets of 204 bytes (EN 300 421, 4.4.2).

use super::TS_PACKET_BYTES;

/// Bytes of parity behind a packet: RS(204,188), shortened from RS(255,239).
pub const PARITY_BYTES: usize = 16;

/// x⁸ + x⁴ + x³ + x² + 1, which generates the field.
const FIELD: u16 = 0x11d;

/// Returns the product of two elements of the field.
fn product(a: u8, b: u8) -> u8 {
    let (mut a, mut product) = (u16::from(a), 0);
    for bit in 0..8 {
        if b >> bit & 1 == 1 {
            product ^= a;
        }
        a <<= 1;
        if a & 0x100 != 0 {
            a ^= FIELD;
        }
    }
    product as u8
}

/// Returns the parity of a packet: the remainder of its division by (x + λ⁰)(x + λ¹) … (x + λ¹⁵), with
/// λ = 2.
pub fn parity(packet: &[u8; TS_PACKET_BYTES]) -> [u8; PARITY_BYTES] {
    // Coefficients, lowest power first.
    let mut generator = [0; PARITY_BYTES + 1];
    generator[0] = 1;
    let mut root = 1;
    for degree in 0..PARITY_BYTES {
        for power in (1..=degree + 1).rev() {
            generator[power] = generator[power - 1] ^ product(generator[power], root);
        }
        generator[0] = product(generator[0], root);
        root = product(root, 2);
    }
    let mut remainder = [0; PARITY_BYTES];
    for byte in packet {
        let factor = byte ^ remainder[0];
        remainder.rotate_left(1);
        remainder[PARITY_BYTES - 1] = 0;
        for (to, coefficient) in remainder.iter_mut().zip(generator.iter().rev().skip(1)) {
            *to ^= product(factor, *coefficient);
        }
    }
    remainder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_with_its_parity_is_zero_at_each_root() {
        let mut packet = [0; TS_PACKET_BYTES];
        for (n, byte) in packet.iter_mut().enumerate() {
            *byte = (n * n + 71 * n + 0x47) as u8;
        }
        let word = [&packet[..], &parity(&packet)].concat();
        let mut root = 1;
        for _ in 0..PARITY_BYTES {
            assert_eq!(word.iter().fold(0, |sum, byte| product(sum, root) ^ byte), 0);
            root = product(root, 2);
        }
        assert_eq!(root, [1, 2, 4, 8, 16, 32, 64, 128, 29, 58, 116, 232, 205, 135, 19, 38, 76][16]);
    }
}
