//! Identifies a recording without reading all of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};

/// Number of bytes covered at the beginning.
const HEAD_BYTES: u64 = 64 << 10;

/// Number of bytes covered at the end.
const TAIL_BYTES: u64 = 4 << 10;

/// A recording at the time when its length was `bytes`; it may have grown since.
///
/// Recordings with equal fingerprints count as the same. A recording of another stream differs at
/// the beginning; one that was truncated and continued differently differs at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// Length in bytes.
    pub bytes: u64,
    /// CRC-32 of the first 64 KiB, or of all bytes if there are fewer.
    pub head_crc32: u32,
    /// CRC-32 of the last 4 KiB before `bytes`, or of all bytes if there are fewer.
    pub tail_crc32: u32,
}

impl Fingerprint {
    /// Returns the fingerprint of the first `bytes` bytes of a file.
    ///
    /// # Errors
    ///
    /// Returns an error if the bytes cannot be read.
    pub fn of(file: &File, bytes: u64) -> io::Result<Fingerprint> {
        let tail = bytes.min(TAIL_BYTES);
        Ok(Fingerprint {
            bytes,
            head_crc32: crc32_of(file, 0, bytes.min(HEAD_BYTES))?,
            tail_crc32: crc32_of(file, bytes - tail, tail)?,
        })
    }
}

fn crc32_of(file: &File, at: u64, length: u64) -> io::Result<u32> {
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, at)?;
    Ok(crc32fast::hash(&bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn it_stays_while_the_recording_grows_and_differs_where_the_bytes_do() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        let of = |bytes: &[u8], length| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            Fingerprint::of(&file, length)
        };
        let whole = of(&bytes, 150_000).unwrap();
        assert_eq!(of(&bytes[..150_000], 150_000).unwrap(), whole);
        for at in [0, 65_535, 150_000 - 4_096, 149_999] {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_ne!(of(&other, 150_000).unwrap(), whole, "changed at {at}");
        }
        assert!(of(&bytes, 200_001).is_err(), "the file is shorter");
        assert_eq!(of(&[], 0).unwrap(), Fingerprint { bytes: 0, head_crc32: 0, tail_crc32: 0 });
    }
}
