//! Appends to the index, and removes records that a crash has torn.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::record::{HEADER_BYTES, Keyframe, RECORD_BYTES, from_header, header};
use crate::disk;
use crate::error::{Context, Result, Stage};
use crate::media::ByteOffset;

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
