//! CRC-32/MPEG-2, the checksum of every PSI section (ISO/IEC 13818-1, annex A).

use crc::{CRC_32_MPEG_2, Crc};

/// Returns the CRC of `bytes`: 0 for a whole section that includes its own CRC.
pub fn crc32_mpeg2(bytes: &[u8]) -> u32 {
    const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_MPEG_2);
    CRC.checksum(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_of_sections_has_the_published_check_value() {
        // From the Catalogue of parametrised CRC algorithms.
        const CHECK: u32 = 0x0376_e6e7;
        assert_eq!(crc32_mpeg2(b"123456789"), CHECK);
        assert_eq!(scenetap_testkit::crc32(b"123456789"), CHECK);
        assert_eq!(crc32_mpeg2(&[&b"123456789"[..], &CHECK.to_be_bytes()].concat()), 0);
    }
}
