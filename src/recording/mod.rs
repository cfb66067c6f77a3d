//! `recording.ts`: received bytes are appended, and the length is published.
//!
//! If packets are in sync, the published length ends with a whole packet: a packet that was torn by
//! a lost connection or a crash is discarded before a reader sees any part of it.

mod fingerprint;
mod sync;

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::disk;
use crate::error::{Context, Result, Stage};
use crate::media::{ByteOffset, Written};
use crate::ts::{Aligner, PacketSize, TS_PACKET_BYTES, find_phase};

pub use fingerprint::Fingerprint;
pub use sync::{SyncHandle, failed_sync, forget_failed_sync};

/// Number of bytes searched for the last whole packet when a recording is opened again.
const REOPEN_BYTES: u64 = 1 << 20;

/// A recording that is open for appending.
#[derive(Debug)]
pub struct Recording {
    file: File,
    path: PathBuf,
    /// Length of the file in bytes.
    length: u64,
    /// Aligns the packets of the written bytes, exactly as the tail does.
    packets: Aligner,
    written: Written,
    /// Whether a write has failed, so that bytes of it may follow `length`.
    has_partial_write: bool,
}

/// State of a recording when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reopened {
    /// Length in bytes, after truncation.
    pub length: u64,
    /// Number of discarded bytes: of a torn packet, or zeros after a crash.
    pub discarded_bytes: u64,
    /// Packet size in use at the end of the recording.
    pub packet_size: PacketSize,
}

impl Recording {
    /// Opens `path` for appending, and creates it if needed. Discards an incomplete last
    /// packet, and zeros that a crash has left.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be opened, read or truncated.
    pub fn open(path: &Path) -> Result<(Self, Reopened)> {
        let file = disk::open_to_append(path).context(Stage::Recording, path, "cannot open")?;
        let read = |what| move |error: io::Error| (what, error);
        // Sync the folder: from here on, the file's name survives a power loss.
        let folder = path.parent().unwrap_or(path);
        disk::sync_folder(folder).context(Stage::Recording, folder, "cannot sync")?;
        let opened = (|| {
            let (found, packets) = whole_packets(&file).map_err(read("cannot read"))?;
            let whole = packets.whole_until();
            if whole < found {
                disk::set_length(&file, whole).map_err(read("cannot discard a torn packet"))?;
            }
            Ok((found, packets))
        })();
        let (found, packets) = opened.or_else(|(what, error): (&str, io::Error)| {
            Err(error).context(Stage::Recording, path, what)
        })?;
        let (length, packet_size) = (packets.whole_until(), packets.packet_size());
        let written = Written::new(length);
        let recording = Recording {
            file,
            path: path.to_owned(),
            length,
            packets,
            written,
            has_partial_write: false,
        };
        Ok((recording, Reopened { length, discarded_bytes: found - length, packet_size }))
    }

    /// Appends received bytes, and removes those that were written from the front of `bytes`.
    ///
    /// # Errors
    ///
    /// Returns an error if not all bytes can be written. The written ones stay counted, and the
    /// call may be repeated with the rest.
    pub fn append(&mut self, bytes: &mut &[u8]) -> Result<()> {
        self.truncate_partial_write()?;
        while !bytes.is_empty() {
            match disk::write(&self.file, bytes) {
                Ok(0) => return self.failed(io::Error::from(io::ErrorKind::WriteZero)),
                Ok(written) => {
                    let (head, rest) = bytes.split_at(written);
                    self.packets.push(head);
                    self.length += written as u64;
                    *bytes = rest;
                    self.written.publish(self.packets.find_all());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.failed(error),
            }
        }
        Ok(())
    }

    /// Ends a connection: discards its incomplete last packet. Returns the number of discarded
    /// bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be truncated.
    pub fn end_connection(&mut self) -> Result<u64> {
        self.truncate_partial_write()?;
        let mut packets = self.packets.clone();
        packets.discard_torn();
        let whole = packets.whole_until();
        let discarded_bytes = self.length - whole;
        if discarded_bytes > 0 {
            disk::set_length(&self.file, whole).context(
                Stage::Recording,
                &self.path,
                "cannot discard a torn packet",
            )?;
            self.length = whole;
        }
        self.packets = packets;
        self.written.publish(whole);
        Ok(discarded_bytes)
    }

    /// Returns the free bytes of the file system, for users other than root.
    ///
    /// # Errors
    ///
    /// Returns an error if the file system does not report them.
    pub fn free_bytes(&self) -> Result<u64> {
        let stat = rustix::fs::fstatvfs(&self.file).context(
            Stage::Recording,
            &self.path,
            "cannot query the free space",
        )?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Returns whether the file still exists under its name: a removed file can still be written
    /// to, but never be found again.
    ///
    /// # Errors
    ///
    /// Returns an error if the file system does not report it.
    pub fn is_in_place(&self) -> Result<bool> {
        let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let current = match std::fs::metadata(&self.path) {
            Ok(metadata) => Ok(Some(identity(metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        current.and_then(|current| Ok(current == Some(identity(self.file.metadata()?)))).context(
            Stage::Recording,
            &self.path,
            "cannot stat",
        )
    }

    /// Returns the length in bytes, including an incomplete packet.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns the aligner of the written bytes, which expects the next bytes.
    pub fn packets(&self) -> &Aligner {
        &self.packets
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the length as seen by readers.
    pub fn written(&self) -> Written {
        self.written.clone()
    }

    /// Returns a handle that syncs the file.
    ///
    /// # Errors
    ///
    /// Returns an error if the file descriptor cannot be duplicated.
    pub fn sync_handle(&self) -> Result<SyncHandle> {
        SyncHandle::new(&self.file, &self.path, self.written.clone())
    }

    /// Discards the bytes of a failed write. No reader has seen them.
    fn truncate_partial_write(&mut self) -> Result<()> {
        if self.has_partial_write {
            disk::set_length(&self.file, self.length).context(
                Stage::Recording,
                &self.path,
                "cannot discard the rest of a failed write",
            )?;
            self.has_partial_write = false;
        }
        Ok(())
    }

    fn failed(&mut self, error: io::Error) -> Result<()> {
        self.has_partial_write = true;
        Err(error)
            .context(Stage::Recording, &self.path, "cannot append")
            .map_err(|error| error.at(ByteOffset(self.length)))
    }
}

impl Drop for Recording {
    /// Marks the recording as finished for its readers, after deciding what happens to the last
    /// bytes.
    fn drop(&mut self) {
        self.packets.end_input();
        self.written.publish(self.packets.find_all());
        self.written.finish();
    }
}

/// Returns what opening the recording would discard, without changing the file.
///
/// # Errors
///
/// Returns an error if the file cannot be opened or read.
pub fn examine(path: &Path) -> Result<Reopened> {
    let read = || {
        let (found, packets) = whole_packets(&File::open(path)?)?;
        let (length, packet_size) = (packets.whole_until(), packets.packet_size());
        Ok::<_, io::Error>(Reopened { length, discarded_bytes: found - length, packet_size })
    };
    read().context(Stage::Recording, path, "cannot read")
}

/// Returns the length of a file, and an aligner that ends with its last whole packet.
fn whole_packets(file: &File) -> io::Result<(u64, Aligner)> {
    let found = file.metadata()?.len();
    let length = without_zeros(file, found)?;
    Ok((found, align_end(file, length)?))
}

/// Returns the length without zeros that a crash has left at the end of the file.
fn without_zeros(file: &File, length: u64) -> io::Result<u64> {
    const BLOCK: usize = 64 << 10;
    let mut end = length;
    let mut block = [0; BLOCK];
    while end > 0 {
        let size = end.min(BLOCK as u64) as usize;
        file.read_exact_at(&mut block[..size], end - size as u64)?;
        match block[..size].iter().rposition(|byte| *byte != 0) {
            Some(last) => {
                let zeros = (size - 1 - last) as u64 + (length - end);
                // A packet may end in zeros, but never consists of zeros only. A packet in which
                // that many zeros begin counts as torn.
                let is_crash = zeros >= TS_PACKET_BYTES as u64;
                return Ok(if is_crash { length - zeros } else { length });
            }
            None => end -= size as u64,
        }
    }
    Ok(0)
}

/// Returns an aligner that ends with the last whole packet before `length`, in phase with the
/// packets before that.
fn align_end(file: &File, length: u64) -> io::Result<Aligner> {
    let from = length.saturating_sub(REOPEN_BYTES);
    let mut bytes = vec![0; (length - from) as usize];
    file.read_exact_at(&mut bytes, from)?;
    // In the middle of a file, a packet may begin at any byte.
    let phase = if from == 0 { None } else { find_phase(&bytes) };
    let (first, mut aligner) = match phase {
        Some((first, size)) => (first, Aligner::resume(ByteOffset(from + first as u64), size)),
        None => (0, Aligner::begin(ByteOffset(from), PacketSize::default())),
    };
    aligner.push(&bytes[first..]);
    aligner.discard_torn();
    Ok(aligner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ts::SYNC_BYTE;

    fn packets(count: u8) -> Vec<u8> {
        (0..count).flat_map(|n| packet(n + 1)).collect()
    }

    fn packet(mark: u8) -> Vec<u8> {
        let mut bytes = vec![mark; TS_PACKET_BYTES];
        (bytes[0], bytes[1], bytes[3]) = (SYNC_BYTE, mark, 0x10);
        bytes
    }

    fn file_with(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recording.ts");
        std::fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    /// Returns packets of `size` with counters. Every additional byte is `added`.
    fn framed(size: PacketSize, count: u8, added: u8) -> Vec<u8> {
        (0..count)
            .flat_map(|n| {
                let mut packet = packet(n + 1);
                packet[1..4].copy_from_slice(&[1, 0, 0x10 | n & 0x0f]);
                let lead = vec![added; size.leading_bytes()];
                [lead, packet, vec![added; size.trailing_bytes()]].concat()
            })
            .collect()
    }

    #[test]
    fn a_recording_torn_at_any_byte_is_opened_at_its_last_whole_packet() {
        for size in PacketSize::ALL {
            for added in [9, SYNC_BYTE] {
                let bytes = framed(size, 14, added);
                // With fewer packets, the size is ambiguous.
                let from = if size == PacketSize::Plain { 0 } else { 10 * size.bytes() };
                for torn in from..=bytes.len() {
                    let (_folder, path) = file_with(&bytes[..torn]);
                    let (_, opened) = Recording::open(&path).unwrap();
                    let whole = torn / size.bytes() * size.bytes();
                    assert_eq!(opened.length, whole as u64, "{size:?} {added} torn at {torn}");
                    assert_eq!(opened.discarded_bytes, (torn - whole) as u64);
                    assert_eq!(std::fs::metadata(&path).unwrap().len(), whole as u64);
                }
            }
        }
    }

    #[test]
    fn a_long_recording_is_opened_in_the_phase_of_its_packets_whatever_their_size() {
        for size in PacketSize::ALL {
            let stream = framed(size, 200, SYNC_BYTE);
            let bytes = stream.repeat(REOPEN_BYTES as usize / stream.len() + 2);
            let (_folder, path) = file_with(&bytes[..bytes.len() - 50]);
            let (mut recording, opened) = Recording::open(&path).unwrap();
            let whole = (bytes.len() - size.bytes()) as u64;
            assert_eq!((opened.length, opened.packet_size), (whole, size));
            recording.append(&mut &stream[..]).unwrap();
            assert_eq!(recording.written().length(), whole + stream.len() as u64);
        }
    }

    #[test]
    fn zeros_that_a_crash_has_left_are_cut_off() {
        for torn in [4 * 188, 4 * 188 + 30] {
            let mut bytes = packets(9)[..torn].to_vec();
            bytes.resize(torn + 10_000, 0);
            let (_folder, path) = file_with(&bytes);
            assert_eq!(Recording::open(&path).unwrap().1.length, 4 * 188);
        }
    }

    #[test]
    fn a_packet_that_ends_in_zeros_is_whole() {
        let mut bytes = packets(4);
        bytes[3 * 188 + 10..].fill(0);
        let (_folder, path) = file_with(&bytes);
        assert_eq!(
            Recording::open(&path).unwrap().1,
            Reopened { length: 4 * 188, discarded_bytes: 0, packet_size: PacketSize::Plain }
        );
    }

    #[test]
    fn the_phase_is_that_of_the_last_packets_not_of_the_first() {
        let bytes = [packets(3), vec![9; 10], packets(6), packet(7)[..50].to_vec()].concat();
        let (_folder, path) = file_with(&bytes);
        assert_eq!(Recording::open(&path).unwrap().1.discarded_bytes, 50);
    }

    #[test]
    fn a_packet_torn_by_a_lost_connection_is_never_seen() {
        let (_folder, path) = file_with(&[]);
        let (mut recording, _) = Recording::open(&path).unwrap();
        let written = recording.written();
        recording.append(&mut &packets(7)[..1200]).unwrap();
        assert_eq!(written.length(), 6 * 188);
        assert_eq!(recording.end_connection().unwrap(), 1200 - 6 * 188);
        recording.append(&mut &packets(1)[..]).unwrap();
        assert_eq!(written.length(), 7 * 188);
        let expected = [packets(6), packets(1)].concat();
        assert_eq!(std::fs::read(&path).unwrap(), expected);
    }
}
