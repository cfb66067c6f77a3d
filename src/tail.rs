//! Growing file → aligned packets.
//!
//! [`FileTail`] reads a file through an [`Aligner`]: a growing one up to the length published by
//! its writer, or a finished one.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Context, Error, Kind, Result, Stage};
use crate::media::{ByteOffset, WaitOutcome, Written};
use crate::ts::{Aligned, Aligner, PacketSize, TsPacket, probe_packet_size};

/// Maximum number of bytes per read.
const READ_BYTES: usize = 1 << 20;

/// Time to wait for new bytes before [`Next::Waiting`] is returned.
const WAIT: Duration = Duration::from_millis(250);

/// Number of bytes from which the packet size is determined.
const PROBED_BYTES: usize = 64 << 10;

/// End of a file.
#[derive(Debug, Clone)]
pub enum End {
    /// The file is being written: its end is the published length.
    Growing(Written),
    /// The file is finished; its length in bytes.
    Finished(u64),
}

/// Result of [`FileTail::next_packet`].
#[derive(Debug)]
pub enum Next<'a> {
    /// The next packet.
    Packet(TsPacket<'a>),
    /// Bytes that belong to no packet.
    SyncLost {
        /// Offset of the first of these bytes.
        at: ByteOffset,
        /// Number of these bytes.
        skipped_bytes: u64,
    },
    /// No new bytes for a while; call again.
    Waiting,
    /// The end of the recording.
    End,
}

impl<'a> From<Aligned<'a>> for Next<'a> {
    fn from(found: Aligned<'a>) -> Self {
        match found {
            Aligned::Packet(packet) => Next::Packet(packet),
            Aligned::SyncLost { at, skipped_bytes } => Next::SyncLost { at, skipped_bytes },
        }
    }
}

/// Reads the packets of a file, including packets that are not written yet.
#[derive(Debug)]
pub struct FileTail {
    file: File,
    path: PathBuf,
    end: End,
    aligner: Aligner,
    scratch: Vec<u8>,
}

impl FileTail {
    /// Opens `path` for reading, from the byte that `aligner` expects next.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be opened.
    pub fn open(path: &Path, aligner: Aligner, end: End) -> Result<Self> {
        let file = File::open(path).context(Stage::Tail, path, "cannot open")?;
        Ok(FileTail::of(file, path, aligner, end))
    }

    /// Reads an open file from the byte that `aligner` expects next. `path` appears only in
    /// messages.
    pub fn of(file: File, path: &Path, aligner: Aligner, end: End) -> Self {
        FileTail { file, path: path.to_owned(), end, aligner, scratch: vec![0; READ_BYTES] }
    }

    /// Returns the number of bytes available.
    pub fn length(&self) -> u64 {
        match &self.end {
            End::Finished(length) => *length,
            End::Growing(written) => written.length(),
        }
    }

    /// Returns whether all available bytes of a growing file have been read.
    pub fn has_caught_up(&self) -> bool {
        matches!(self.end, End::Growing(_)) && self.aligner.end() >= self.length()
    }

    /// Returns the next packet, or the reason why there is none. Waits at most a quarter of a
    /// second.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read; of [`Kind::Gone`] if it is shorter than the
    /// published length.
    pub fn next_packet(&mut self) -> Result<Next<'_>> {
        loop {
            // Search twice: returning the borrowed packet ends the function, which the borrow
            // checker cannot see in a loop.
            if self.aligner.has_found() {
                return Ok(self.aligner.find().map_or(Next::Waiting, Next::from));
            }
            let from = self.aligner.end();
            let limit = match &self.end {
                End::Finished(length) => *length,
                End::Growing(written) => match written.wait_past(from, WAIT) {
                    WaitOutcome::Grown(length) => length,
                    WaitOutcome::TimedOut => return Ok(Next::Waiting),
                    WaitOutcome::Finished(length) => length,
                },
            };
            if !self.read(from, limit)? {
                if matches!(self.end, End::Growing(_)) && from < limit {
                    let what =
                        format!("the file was truncated: its writer has written {limit} bytes");
                    let error = Error::new(Stage::Tail, what).of_kind(Kind::Gone);
                    return Err(error.path(&self.path).at(ByteOffset(from)));
                }
                self.aligner.end_input();
                if !self.aligner.has_found() {
                    return Ok(self.aligner.finish().map_or(Next::End, Next::from));
                }
            }
        }
    }

    /// Reads more bytes, never beyond `limit`. Returns false if no bytes are available.
    fn read(&mut self, from: u64, limit: u64) -> Result<bool> {
        let available = usize::try_from(limit.saturating_sub(from)).unwrap_or(READ_BYTES);
        let buffer = &mut self.scratch[..available.min(READ_BYTES)];
        let bytes = loop {
            match self.file.read_at(buffer, from) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => {
                    break read
                        .context(Stage::Tail, &self.path, "cannot read")
                        .map_err(|error| error.at(ByteOffset(from)))?;
                }
            }
        };
        self.aligner.push(&self.scratch[..bytes]);
        Ok(bytes > 0)
    }
}

/// Returns the length of a file in bytes, and the size of its packets.
///
/// # Errors
///
/// Returns an error if the file cannot be read or is not MPEG-TS.
pub fn probe_file(path: &Path) -> Result<(u64, PacketSize)> {
    // Check before opening: opening a pipe would block until another process writes to
    // it.
    let metadata = fs::metadata(path).context(Stage::Tail, path, "cannot open")?;
    if !metadata.is_file() {
        return Err(Error::new(Stage::Tail, "not a file; scan reads recordings").path(path));
    }
    let file = File::open(path).context(Stage::Tail, path, "cannot open")?;
    probe_open_file(&file, path)
}

/// As [`probe_file`], for an open regular file. `path` appears only in messages.
///
/// # Errors
///
/// As [`probe_file`].
pub fn probe_open_file(file: &File, path: &Path) -> Result<(u64, PacketSize)> {
    let length = file.metadata().context(Stage::Tail, path, "cannot read")?.len();
    let mut head = vec![0; PROBED_BYTES.min(usize::try_from(length).unwrap_or(PROBED_BYTES))];
    file.read_exact_at(&mut head, 0).context(Stage::Tail, path, "cannot read")?;
    let packet_size = probe_packet_size(&head).ok_or_else(|| {
        let what = if head.is_empty() {
            "the file is empty"
        } else {
            "not MPEG-TS: no packets of 188, 192 or 204 bytes in step"
        };
        Error::new(Stage::Tail, what).path(path)
    })?;
    Ok((length, packet_size))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ts::{SYNC_BYTE, TS_PACKET_BYTES};

    fn packet(mark: u8) -> Vec<u8> {
        let mut bytes = vec![0; TS_PACKET_BYTES];
        (bytes[0], bytes[1], bytes[3]) = (SYNC_BYTE, mark, 0x10);
        bytes
    }

    /// Returns a recording of two packets, of which one is published, its writer, and its tail.
    fn growing() -> (tempfile::TempDir, Written, FileTail) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recording.ts");
        std::fs::write(&path, [packet(1), packet(2)].concat()).unwrap();
        let written = Written::new(188);
        let end = End::Growing(written.clone());
        let aligner = Aligner::resume(ByteOffset(0), PacketSize::Plain);
        let tail = FileTail::open(&path, aligner, end).unwrap();
        (folder, written, tail)
    }

    #[test]
    fn a_growing_file_is_followed_and_never_read_beyond_what_is_published() {
        let (_folder, written, mut tail) = growing();
        assert!(matches!(tail.next_packet().unwrap(), Next::Packet(p) if p.bytes[1] == 1));
        assert!(matches!(tail.next_packet().unwrap(), Next::Waiting));
        written.publish(376);
        assert!(matches!(tail.next_packet().unwrap(), Next::Packet(p) if p.bytes[1] == 2));
        written.finish();
        assert!(matches!(tail.next_packet().unwrap(), Next::End));
    }

    #[test]
    fn a_growing_file_that_was_truncated_is_an_error_and_not_the_end() {
        let (folder, written, mut tail) = growing();
        assert!(matches!(tail.next_packet().unwrap(), Next::Packet(_)));
        File::options()
            .write(true)
            .open(folder.path().join("recording.ts"))
            .unwrap()
            .set_len(100)
            .unwrap();
        written.publish(376);
        for is_finished in [false, true] {
            let error = tail.next_packet().unwrap_err();
            assert_eq!(error.kind(), Kind::Gone);
            assert!(error.to_string().contains("byte 188: the file was truncated"), "{error}");
            if !is_finished {
                written.finish();
            }
        }
    }
}
