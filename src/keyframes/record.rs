//! The bytes of a header and of a record.

use crate::media::{ByteOffset, RandomAccess, Ticks};

const MAGIC: &[u8; 8] = b"scenekey";
const VERSION: u32 = 1;
pub(super) const HEADER_BYTES: usize = 32;
pub(super) const RECORD_BYTES: usize = 32;
const NO_TABLES: u64 = u64::MAX;
const LACKS_PARAMETER_SETS: u8 = 1;
const DAMAGED: u8 = 2;

/// A random access point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keyframe {
    /// Offset of the TS packet in which the access unit starts.
    pub at: ByteOffset,
    /// Time at which its picture is shown, from the start of the recording.
    pub time: Ticks,
    /// Offset of the packet in which the preceding PAT starts; `None` if the recording has no PAT there.
    pub tables: Option<ByteOffset>,
    /// Kind of the random access point. Never [`RandomAccess::None`].
    pub random_access: RandomAccess,
    /// Whether the access unit contains the parameter sets that a decoder needs.
    pub has_parameter_sets: bool,
    /// Whether packets are missing in or before the access unit.
    pub damaged: bool,
}

impl Keyframe {
    pub(super) fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let (kind, pictures) = match self.random_access {
            RandomAccess::Closed => (1, 0),
            RandomAccess::Open => (2, 0),
            RandomAccess::Gradual(pictures) => (3, u16::try_from(pictures).unwrap_or(u16::MAX)),
            RandomAccess::None => (0, 0),
        };
        let mut record = [0; RECORD_BYTES];
        record[..8].copy_from_slice(&self.at.0.to_le_bytes());
        record[8..16].copy_from_slice(&self.time.0.to_le_bytes());
        let tables = self.tables.map_or(NO_TABLES, |tables| tables.0);
        record[16..24].copy_from_slice(&tables.to_le_bytes());
        record[24] = kind;
        record[25] |= if self.has_parameter_sets { 0 } else { LACKS_PARAMETER_SETS };
        record[25] |= if self.damaged { DAMAGED } else { 0 };
        record[26..28].copy_from_slice(&pictures.to_le_bytes());
        seal(&mut record);
        record
    }

    /// Parses a record. Returns `None` if a bit has changed, or another version has written the record.
    pub(super) fn from_bytes(record: &[u8; RECORD_BYTES]) -> Option<Keyframe> {
        let pictures = u16::from_le_bytes([record[26], record[27]]);
        let random_access = match (is_sealed(record), record[24]) {
            (true, 1) => RandomAccess::Closed,
            (true, 2) => RandomAccess::Open,
            (true, 3) => RandomAccess::Gradual(pictures.into()),
            _ => return None,
        };
        let tables = number(record, 16);
        Some(Keyframe {
            at: ByteOffset(number(record, 0)),
            time: Ticks(number(record, 8).cast_signed()),
            tables: (tables != NO_TABLES).then_some(ByteOffset(tables)),
            random_access,
            has_parameter_sets: record[25] & LACKS_PARAMETER_SETS == 0,
            damaged: record[25] & DAMAGED != 0,
        })
    }
}

fn number(bytes: &[u8; 32], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

/// Writes the checksum of the first 28 bytes into the last four.
fn seal(bytes: &mut [u8; 32]) {
    let crc32 = crc32fast::hash(&bytes[..28]);
    bytes[28..].copy_from_slice(&crc32.to_le_bytes());
}

fn is_sealed(bytes: &[u8; 32]) -> bool {
    bytes[28..] == crc32fast::hash(&bytes[..28]).to_le_bytes()
}

pub(super) fn header(from: ByteOffset) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&(RECORD_BYTES as u32).to_le_bytes());
    header[16..24].copy_from_slice(&from.0.to_le_bytes());
    seal(&mut header);
    header
}

/// Returns the whole index of a recording.
pub fn to_bytes(keyframes: &[Keyframe]) -> Vec<u8> {
    let mut bytes = header(ByteOffset(0)).to_vec();
    keyframes.iter().for_each(|keyframe| bytes.extend(keyframe.to_bytes()));
    bytes
}

/// Returns the offset from which on the index is complete; `None` if this is not a header of this version.
pub(super) fn from_header(bytes: &[u8; HEADER_BYTES]) -> Option<ByteOffset> {
    let from = ByteOffset(number(bytes, 16));
    (*bytes == header(from)).then_some(from)
}
