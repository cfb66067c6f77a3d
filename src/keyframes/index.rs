//! Reads the index, while another process may append to it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::record::{HEADER_BYTES, Keyframe, RECORD_BYTES, from_header};
use crate::disk;
use crate::error::{Context, Error, Kind, Result, Stage};
use crate::media::ByteOffset;

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
