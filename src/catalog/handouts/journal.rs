//! `frames/handouts.jsonl`: one [`Event`] per line.
//!
//! A process appends only while it holds the lock on the index, and syncs before it reports
//! success. After a crash:
//!
//! - A torn line has no line feed. Readers ignore it, and the next writer removes it.
//! - Compacting writes a new file and renames it: either the old or the new file exists.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Event, Handouts};
use crate::catalog::publish::{self, Durable, folder_of, publish};
use crate::disk::{self, Folder};
use crate::error::{Context, Result, Stage};

/// Name of the journal in the frames folder.
pub const JOURNAL_NAME: &str = "handouts.jsonl";

/// A journal is compacted once it exceeds twice the compacted size by this many bytes.
const COMPACT_SLACK_BYTES: u64 = 4 << 10;

/// The journal of a frames folder, as last read.
#[derive(Debug)]
pub(in crate::catalog) struct Journal {
    path: PathBuf,
    handouts: Handouts,
    read: Option<ReadUpTo>,
    /// Number of lines that are not events.
    foreign_lines: u64,
}

/// Position up to which a file was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ReadUpTo {
    device: u64,
    inode: u64,
    /// Total length of the complete lines.
    bytes: u64,
    /// Length of the file at that time. More than `bytes` if the last line was torn.
    length: u64,
    lines: u64,
}

impl Journal {
    /// Returns the journal in `folder`. Reads nothing yet.
    pub fn new(folder: &Path) -> Journal {
        Journal {
            path: folder.join(JOURNAL_NAME),
            handouts: Handouts::default(),
            read: None,
            foreign_lines: 0,
        }
    }

    /// Returns the handouts according to the journal as last read.
    pub fn handouts(&self) -> &Handouts {
        &self.handouts
    }

    /// Returns whether the file has changed since it was read.
    pub fn is_changed(&self) -> bool {
        let found = std::fs::symlink_metadata(&self.path).ok();
        let now = found.map(|found| (found.dev(), found.ino(), found.len()));
        now != self.read.map(|read| (read.device, read.inode, read.length))
    }

    /// Reads appended lines. Returns whether they change the handouts.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read.
    pub fn refresh(&mut self) -> Result<bool> {
        if !self.is_changed() {
            return Ok(false);
        }
        let refreshed = match self.open() {
            Ok(file) => self.read_on(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.read = None;
                let before = std::mem::take(&mut self.handouts);
                return Ok(before != Handouts::default());
            }
            Err(error) => Err(error),
        };
        refreshed.context(Stage::Catalog, &self.path, "cannot read it")
    }

    /// Opens the file. Does not follow a symbolic link.
    fn open(&self) -> io::Result<File> {
        Folder::open(folder_of(&self.path))?.read_file(JOURNAL_NAME.as_ref())
    }

    fn read_on(&mut self, mut file: File) -> io::Result<bool> {
        let metadata = file.metadata()?;
        let is_same = |read: &ReadUpTo, found: &Metadata| {
            (read.device, read.inode) == (found.dev(), found.ino()) && read.bytes <= found.len()
        };
        let from = self.read.filter(|read| is_same(read, &metadata));
        let (mut bytes, mut lines) = from.map_or((0, 0), |read| (read.bytes, read.lines));
        let before = if from.is_none() {
            self.foreign_lines = 0;
            Some(std::mem::take(&mut self.handouts))
        } else {
            None
        };
        file.seek(SeekFrom::Start(bytes))?;
        let mut appended = Vec::new();
        file.read_to_end(&mut appended)?;
        let length = bytes + appended.len() as u64;
        for line in appended.split_inclusive(|byte| *byte == b'\n') {
            if !line.ends_with(b"\n") {
                break;
            }
            lines += 1;
            bytes += line.len() as u64;
            self.take_line(line, lines);
        }
        let (device, inode) = (metadata.dev(), metadata.ino());
        let is_news = match &before {
            Some(before) => *before != self.handouts,
            None => self.read.is_some_and(|read| read.bytes != bytes),
        };
        self.read = Some(ReadUpTo { device, inode, bytes, length, lines });
        Ok(is_news)
    }

    fn take_line(&mut self, line: &[u8], number: u64) {
        if line.trim_ascii().is_empty() {
            return;
        }
        match serde_json::from_slice::<Event>(line) {
            Ok(event) => self.handouts.apply(&event),
            Err(error) => {
                self.foreign_lines += 1;
                if self.foreign_lines == 1 {
                    let path = self.path.display();
                    tracing::warn!("{path}: line {number} is not an event, ignoring it: {error}");
                }
            }
        }
    }

    /// Appends events, and syncs them. The caller must hold the lock on the index and have called
    /// `refresh`.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be written or synced. In that case, the events have no
    /// effect.
    pub fn append(&mut self, events: &[Event]) -> Result<()> {
        let lines: String = events.iter().map(Event::to_line).collect();
        self.append_lines(&lines).context(Stage::Catalog, &self.path, "cannot write it")?;
        self.refresh()?;
        if let Err(error) = self.compact_if_long() {
            // The old file contains the events.
            tracing::warn!("{error}; the journal was not compacted");
        }
        Ok(())
    }

    fn append_lines(&self, lines: &str) -> io::Result<()> {
        let folder = Folder::open(folder_of(&self.path))?;
        let (file, is_new) = folder.open_or_create(JOURNAL_NAME.as_ref())?;
        let end = self.read.map_or(0, |read| read.bytes);
        if file.metadata()?.len() > end {
            // Remove a line that a crash has torn.
            disk::set_length(&file, end)?;
        }
        (&file).seek(SeekFrom::Start(end))?;
        let written = disk::write_all(&file, lines.as_bytes()).and_then(|()| disk::sync(&file));
        if written.is_err() {
            // If this fails too, the next writer removes the lines, or they take effect after all.
            let _ = disk::set_length(&file, end);
        }
        written?;
        if is_new { folder.sync() } else { Ok(()) }
    }

    fn compact_if_long(&mut self) -> Result<()> {
        let Some(read) = self.read.filter(|read| read.bytes > COMPACT_SLACK_BYTES) else {
            return Ok(());
        };
        let compacted: String = self.handouts.to_events().iter().map(Event::to_line).collect();
        if read.bytes <= 2 * compacted.len() as u64 + COMPACT_SLACK_BYTES {
            return Ok(());
        }
        if self.foreign_lines > 0 {
            // Another program has written to the journal: keep its lines.
            let kept = publish::keep_copy(&self.path, "set-aside");
            kept.context(Stage::Catalog, &self.path, "cannot copy it")?;
        }
        publish(&self.path, compacted.as_bytes(), Durable::Now)?;
        self.refresh().map(drop)
    }
}
