//! A copy of the index as last synced, written only by scenetap, with a checksum.
//!
//! Other programs write `index.json`, and its current state may not be durable yet. After a power
//! loss, the index is restored from this copy. The copy also proves which entry belongs to which
//! picture, even if the index was damaged.
//!
//! The first line is `crc32 1a2b3c4d`, the rest is the index.

use std::io;
use std::path::Path;

use crate::catalog::publish::quarantine;
use crate::error::{Context, Result, Stage};

const PREFIX: &str = "crc32 ";

/// Length of the checksum and the line feed.
const CHECKSUM_BYTES: usize = 9;

/// Returns the bytes of the copy. `write` appends the index.
pub(in crate::catalog) fn seal(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = format!("{PREFIX}{:08x}\n", 0).into_bytes();
    let head = bytes.len();
    write(&mut bytes);
    let crc32 = crc32fast::hash(&bytes[head..]);
    bytes[..head].copy_from_slice(format!("{PREFIX}{crc32:08x}\n").as_bytes());
    bytes
}

/// Returns the index in the result of [`seal`]; `None` if any bit has changed.
pub(in crate::catalog) fn unseal(bytes: &[u8]) -> Option<&str> {
    let (checksum, index) =
        bytes.strip_prefix(PREFIX.as_bytes())?.split_at_checked(CHECKSUM_BYTES)?;
    let crc32 = crc32fast::hash(index);
    (checksum == format!("{crc32:08x}\n").as_bytes()).then_some(index)?;
    std::str::from_utf8(index).ok()
}

/// Returns the index in the copy at `path`. A corrupt copy is quarantined.
///
/// # Errors
///
/// Returns an error if the copy can be neither read nor quarantined.
pub(in crate::catalog) fn read(path: &Path) -> Result<Option<String>> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => Vec::new(),
        bytes => bytes.context(Stage::Catalog, path, "cannot read")?,
    };
    if let Some(index) = unseal(&bytes) {
        return Ok(Some(index.to_owned()));
    }
    let quarantined_as =
        quarantine(path, path, "corrupt").context(Stage::Catalog, path, "cannot rename it")?;
    if let Some(quarantined_as) = quarantined_as {
        let path = path.display();
        tracing::warn!("{path}: checksum mismatch; quarantined as {}", quarantined_as.display());
    }
    Ok(None)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_with_any_bit_changed_or_cut_anywhere_is_none() {
        let bytes = seal(|out| out.extend_from_slice(b"[\n  1\n]\n"));
        assert_eq!(unseal(&bytes), Some("[\n  1\n]\n"));
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal(&flipped), None, "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(unseal(&bytes[..length]), None, "cut to {length}");
        }
    }

    #[test]
    fn a_copy_that_is_none_is_set_aside_and_not_destroyed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".index.synced");
        assert_eq!(read(&path).unwrap(), None);
        for n in 1..3 {
            std::fs::write(&path, "crc32 00000000\n[]").unwrap();
            assert_eq!(read(&path).unwrap(), None);
            assert!(!path.exists());
            assert!(folder.path().join(format!(".index.synced.corrupt-{n}")).exists());
        }
    }
}
