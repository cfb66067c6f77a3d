//! `stream/keyframes.idx`: the random access points of a recording.
//!
//! A header and records of a fixed size, in the order of the recording, so that a time or an offset is found
//! without reading the whole file. The file is only appended to, and each record has a checksum. A record
//! that a crash has torn, and all later ones, are removed by the next writer and ignored by readers.
//!
//! ```text
//! header  magic  8 bytes  "scenekey"      record  offset  u64  of the TS packet in which the access unit starts
//!         version    u32  1                       time    i64  of its picture, ticks of 90 kHz from the start
//!         record     u32  32, its bytes           tables  u64  offset of the packet with the PAT before it
//!         from       u64  complete from           kind    u8   1 closed, 2 open, 3 gradual
//!         reserved   u32  0                       flags   u8   1 lacks parameter sets, 2 damaged
//!         crc32      u32  of the above            pictures u16 after which pictures are complete again
//!                                                 crc32   u32  of the above
//! ```
//!
//! All numbers are little endian. If there are no tables, `tables` has all bits set.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk;
use crate::error::{Context, Error, Kind, Result, Stage};
use crate::media::{ByteOffset, RandomAccess, Ticks};

const MAGIC: &[u8; 8] = b"scenekey";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 32;
const RECORD_BYTES: usize = 32;
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
    fn to_bytes(self) -> [u8; RECORD_BYTES] {
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
    fn from_bytes(record: &[u8; RECORD_BYTES]) -> Option<Keyframe> {
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

fn header(from: ByteOffset) -> [u8; HEADER_BYTES] {
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
fn from_header(bytes: &[u8; HEADER_BYTES]) -> Option<ByteOffset> {
    let from = ByteOffset(number(bytes, 16));
    (*bytes == header(from)).then_some(from)
}

/// An index opened for reading, while another process may append to it.
#[derive(Debug)]
pub struct KeyframeIndex {
    file: File,
    path: PathBuf,
    from: ByteOffset,
}

impl KeyframeIndex {
    /// Opens the index at `path`. Does not follow a symbolic link.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read; of [`Kind::Gone`] if it does not exist; of
    /// [`Kind::Corrupt`] if it is not an index, or of another version.
    pub fn open(path: &Path) -> Result<Self> {
        let open = || {
            let folder = disk::Folder::open(path.parent().unwrap_or(path))?;
            folder.read_file(path.file_name().unwrap_or_default())
        };
        let mut file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let error = Error::new(Stage::Recording, "it is missing").of_kind(Kind::Gone);
                return Err(error.path(path));
            }
            file => file.context(Stage::Recording, path, "cannot open it")?,
        };
        let mut bytes = [0; HEADER_BYTES];
        let read = file.read_exact(&mut bytes).map(|()| from_header(&bytes));
        let Ok(Some(from)) = read else {
            let what = "not an index of key frames that this version reads";
            return Err(Error::new(Stage::Recording, what).of_kind(Kind::Corrupt).path(path));
        };
        Ok(KeyframeIndex { file, path: path.to_owned(), from })
    }

    /// Returns the offset from which on the index is complete. Earlier random access points are missing if
    /// the index was lost while the recording grew.
    pub fn complete_from(&self) -> ByteOffset {
        self.from
    }

    /// Returns the number of whole records. Some of them may be invalid.
    ///
    /// # Errors
    ///
    /// Returns an error if the length cannot be read.
    pub fn count(&self) -> Result<u64> {
        Ok(self.record_bytes()? / RECORD_BYTES as u64)
    }

    /// Returns whether the file ends in the middle of a record, which is being written or was torn by a
    /// crash.
    ///
    /// # Errors
    ///
    /// As [`KeyframeIndex::count`].
    pub fn is_torn(&self) -> Result<bool> {
        Ok(!self.record_bytes()?.is_multiple_of(RECORD_BYTES as u64))
    }

    fn record_bytes(&self) -> Result<u64> {
        let found = self.file.metadata().context(Stage::Recording, &self.path, "cannot read it")?;
        Ok(found.len().saturating_sub(HEADER_BYTES as u64))
    }

    /// Returns a record; `None` if it does not exist or is invalid.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read.
    pub fn get(&self, index: u64) -> Result<Option<Keyframe>> {
        let mut record = [0; RECORD_BYTES];
        let at = HEADER_BYTES as u64 + index * RECORD_BYTES as u64;
        match self.file.read_exact_at(&mut record, at) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            read => read.map(|()| Keyframe::from_bytes(&record)).context(
                Stage::Recording,
                &self.path,
                "cannot read it",
            ),
        }
    }

    /// Returns the number of records up to the last valid one with an offset below `length`. Later ones were
    /// torn, or describe bytes that the recording has lost.
    ///
    /// # Errors
    ///
    /// Returns an error if a record cannot be read.
    pub fn count_below(&self, length: u64) -> Result<u64> {
        for number in (0..self.count()?).rev() {
            if self.get(number)?.is_some_and(|keyframe| keyframe.at.0 < length) {
                return Ok(number + 1);
            }
        }
        Ok(0)
    }

    /// Returns a record that is followed by a valid one.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read; of [`Kind::Corrupt`] if the record is invalid.
    pub fn record(&self, number: u64) -> Result<Keyframe> {
        self.get(number)?.ok_or_else(|| {
            let what = format!("its record {} is not valid", number + 1);
            Error::new(Stage::Recording, what).of_kind(Kind::Corrupt).path(&self.path)
        })
    }

    /// Returns the number of records, from the first on, that satisfy `is_before`, by a binary search in the
    /// first `count`. No record that satisfies `is_before` may follow one that does not.
    ///
    /// # Errors
    ///
    /// As [`KeyframeIndex::record`].
    pub fn partition_point(
        &self,
        count: u64,
        is_before: impl Fn(&Keyframe) -> bool,
    ) -> Result<u64> {
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(&self.record(middle)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

/// Appends to the index of a recording.
#[derive(Debug)]
pub struct KeyframeWriter {
    file: Arc<File>,
    path: PathBuf,
    last: Option<ByteOffset>,
}

impl KeyframeWriter {
    /// Opens the index at `path` of a recording of `length` bytes, to continue at the random access point
    /// `from`. Removes records that a crash has torn, or that describe lost bytes. If no index of this
    /// version exists, or `from` is missing in it, a new one begins there.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read or written.
    pub fn open(path: &Path, from: ByteOffset, length: u64) -> Result<Self> {
        let opened = || -> io::Result<(File, Option<ByteOffset>)> {
            let file = disk::open_to_append(path)?;
            let mut bytes = Vec::new();
            (&file).read_to_end(&mut bytes)?;
            let is_index = bytes.first_chunk().and_then(from_header).is_some();
            let records = bytes.get(HEADER_BYTES..).filter(|_| is_index).unwrap_or_default();
            let records = valid_records(records, length);
            let has_from = from.0 == 0 || records.contains(&from);
            if !is_index || !has_from {
                disk::set_length(&file, 0)?;
                disk::write_all(&file, &header(from))?;
                return Ok((file, None));
            }
            let valid = HEADER_BYTES + records.len() * RECORD_BYTES;
            if valid < bytes.len() {
                disk::set_length(&file, valid as u64)?;
            }
            Ok((file, records.last().copied()))
        };
        let (file, last) = opened().context(Stage::Recording, path, "cannot write it")?;
        Ok(KeyframeWriter { file: Arc::new(file), path: path.to_owned(), last })
    }

    /// Appends the random access points that the index does not contain yet. See [`KeyframeWriter::syncer`].
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be written. In that case, the index must be opened again.
    pub fn append(&mut self, keyframes: &[Keyframe]) -> Result<()> {
        let new = keyframes.iter().filter(|keyframe| Some(keyframe.at) > self.last);
        let bytes: Vec<u8> = new.flat_map(|keyframe| keyframe.to_bytes()).collect();
        if bytes.is_empty() {
            return Ok(());
        }
        disk::write_all(&self.file, &bytes).context(
            Stage::Recording,
            &self.path,
            "cannot write it",
        )?;
        self.last = self.last.max(keyframes.iter().map(|keyframe| keyframe.at).max());
        Ok(())
    }

    /// Returns a function that makes the content of the file at the time of its call durable.
    pub fn syncer(&self) -> Arc<dyn Fn() -> Result<()> + Send + Sync> {
        let (file, path) = (Arc::clone(&self.file), self.path.clone());
        Arc::new(move || disk::sync_data(&file).context(Stage::Recording, &path, "cannot sync it"))
    }
}

/// Returns the offsets in the leading valid records, for a recording of `length` bytes.
fn valid_records(bytes: &[u8], length: u64) -> Vec<ByteOffset> {
    let mut offsets: Vec<ByteOffset> = Vec::new();
    for record in bytes.as_chunks::<RECORD_BYTES>().0 {
        match Keyframe::from_bytes(record) {
            Some(Keyframe { at, .. }) if at.0 < length && Some(&at) > offsets.last() => {
                offsets.push(at)
            }
            _ => break,
        }
    }
    offsets
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    const LONG: u64 = 1 << 40;

    fn keyframe(n: u64) -> Keyframe {
        Keyframe {
            at: ByteOffset(564 + n * 18_800),
            time: Ticks(n as i64 * 90_000 - 10),
            tables: (n > 0).then_some(ByteOffset(n * 18_800)),
            random_access: match n % 3 {
                0 => RandomAccess::Closed,
                1 => RandomAccess::Open,
                _ => RandomAccess::Gradual(30 + n as u32),
            },
            has_parameter_sets: !n.is_multiple_of(5),
            damaged: n.is_multiple_of(7),
        }
    }

    /// Returns an index of `count` random access points.
    fn written(count: u64) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyframes.idx");
        let mut writer = KeyframeWriter::open(&path, ByteOffset(0), LONG).unwrap();
        let all: Vec<_> = (0..count).map(keyframe).collect();
        all.chunks(7).for_each(|some| writer.append(some).unwrap());
        (folder, path)
    }

    fn all(path: &Path) -> Vec<Keyframe> {
        let index = KeyframeIndex::open(path).unwrap();
        (0..index.count().unwrap()).map_while(|n| index.get(n).unwrap()).collect()
    }

    #[test]
    fn what_was_appended_is_found_by_time_and_by_offset() {
        let (_folder, path) = written(100);
        assert_eq!(all(&path), (0..100).map(keyframe).collect::<Vec<_>>());
        let index = KeyframeIndex::open(&path).unwrap();
        for n in [0, 1, 50, 99] {
            let Keyframe { at, time, .. } = keyframe(n);
            assert_eq!(index.partition_point(100, |found| found.time <= time).unwrap(), n + 1);
            assert_eq!(index.partition_point(100, |found| found.at < at).unwrap(), n);
            assert_eq!(index.count_below(at.0 + 1).unwrap(), n + 1);
        }
        assert_eq!(index.count_below(LONG).unwrap(), 100);
        assert_eq!(index.get(100).unwrap(), None);
        assert_eq!(index.complete_from(), ByteOffset(0));
    }

    #[test]
    fn torn_anywhere_the_whole_records_stay_and_the_next_writer_goes_on() {
        let (_folder, path) = written(5);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let mut writer = KeyframeWriter::open(&path, ByteOffset(0), LONG).unwrap();
            // Detection passes some random access points again.
            writer.append(&(0..5).map(keyframe).collect::<Vec<_>>()).unwrap();
            assert!(fs::read(&path).unwrap() == whole, "torn at {length}");
        }
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &flipped).unwrap();
            match KeyframeIndex::open(&path) {
                Ok(_) => {
                    let found = all(&path);
                    assert!(found.len() < 5 && found[..] == all_of(5)[..found.len()], "bit {bit}");
                }
                Err(error) => assert_eq!(error.kind(), Kind::Corrupt, "bit {bit}"),
            }
        }
    }

    fn all_of(count: u64) -> Vec<Keyframe> {
        (0..count).map(keyframe).collect()
    }

    #[test]
    fn points_that_the_recording_has_lost_are_cut_off() {
        let (_folder, path) = written(5);
        let length = keyframe(3).at.0;
        drop(KeyframeWriter::open(&path, keyframe(1).at, length).unwrap());
        assert_eq!(all(&path), all_of(3));
    }

    #[test]
    fn an_index_that_lacks_where_detection_resumes_begins_anew_there() {
        let (_folder, path) = written(5);
        let resumed = keyframe(9);
        let mut writer = KeyframeWriter::open(&path, resumed.at, LONG).unwrap();
        writer.append(&[resumed, keyframe(10)]).unwrap();
        assert_eq!(all(&path), [resumed, keyframe(10)]);
        assert_eq!(KeyframeIndex::open(&path).unwrap().complete_from(), resumed.at);
        fs::remove_file(&path).unwrap();
        assert_eq!(KeyframeIndex::open(&path).unwrap_err().kind(), Kind::Gone);
    }
}
