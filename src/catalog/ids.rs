//! Finds the entry of a frame: the one from an earlier run, or a new one.

use std::path::Path;

use super::Catalog;
use super::frames::{frame_id, is_whole_jpeg, jpeg_name};
use super::index::entry::{Entry, micros_of_ticks, round_score};
use super::index::slot::Slot;
use super::kept::EncodedFrame;
use super::publish::{Durable, publish};
use crate::error::Result;
use crate::media::{ByteOffset, Reason, Verdict};

/// Tolerance for entries of the older system: they have no offset, and their times were rounded to
/// milliseconds.
const OLD_ENTRY_TOLERANCE_MICROS: u64 = 1_000;

impl Catalog {
    /// Returns the last kept frame's entry if `verdict` belongs to it: the call then repeats a
    /// failed one.
    pub(super) fn kept_last(&self, verdict: &Verdict) -> Option<Entry> {
        let micros = micros_of_ticks(verdict.pts);
        let last = self.entries.kept().last()?;
        if last.offset == Some(verdict.at.0) && last.micros == micros { last.entry() } else { None }
    }

    pub(super) fn keep_new(&mut self, frame: &EncodedFrame, reason: Reason) -> Result<Entry> {
        let number = self.next_number(frame)?;
        let path = match &frame.jpeg {
            // A crash after this leaves a JPEG that no entry refers to; an identical one overwrites
            // it.
            Some(jpeg) => Some(self.write_jpeg(number, jpeg)?),
            None => None,
        };
        let entry = Entry::new(number, frame, reason, path);
        self.entries.push(&entry);
        self.last_number = self.last_number.max(number);
        self.unwritten = true;
        Ok(entry)
    }

    /// Keeps the existing entry, and fills in what the older system did not write.
    pub(super) fn keep_again(
        &mut self,
        at: usize,
        frame: &EncodedFrame,
        reason: Reason,
    ) -> Result<Entry> {
        let (number, mut entry) = match self.entries.earlier().get(at) {
            Some(slot) => (slot.number, slot.entry()),
            None => (0, None),
        };
        let Some(entry) = entry.as_mut() else { return self.keep_new(frame, reason) };
        if let Some(jpeg) = frame.jpeg.as_ref().filter(|_| !self.has_jpeg(number)) {
            entry.path = Some(self.write_jpeg(number, jpeg)?);
        } else if self.encoder.write_jpegs
            && self.has_jpeg(number)
            && !entry.path.as_ref().is_some_and(|path| Path::new(path).exists())
        {
            entry.path = Some(self.jpeg_path(number).to_string_lossy().into_owned());
        } else if self.encoder.write_jpegs && !self.has_jpeg(number) {
            // The JPEG was removed, and the picture cannot be encoded.
            entry.path = None;
        }
        entry.score.get_or_insert(round_score(frame.verdict.score));
        entry.reason.get_or_insert_with(|| reason.as_str().to_owned());
        entry.offset.get_or_insert(frame.verdict.at.0);
        entry.keyframe_offset.get_or_insert(frame.keyframe_at.0);
        self.unwritten |= self.entries.settle_earlier(at, entry);
        self.last_number = self.last_number.max(number);
        Ok(entry.clone())
    }

    /// Returns the position of this picture's entry in
    /// [`Entries::earlier`](super::index::entries::Entries::earlier).
    pub(super) fn find_earlier(&self, verdict: &Verdict) -> Option<usize> {
        let micros = micros_of_ticks(verdict.pts);
        self.entries.earlier().iter().position(|slot| match slot.offset {
            Some(offset) => offset == verdict.at.0 && slot.micros == micros,
            None => slot.micros.abs_diff(micros) <= OLD_ENTRY_TOLERANCE_MICROS,
        })
    }

    /// Returns the next free number. Quarantines earlier entries that detection has passed: they
    /// cannot be found again.
    fn next_number(&mut self, frame: &EncodedFrame) -> Result<u64> {
        let next = self.last_number + 1;
        let micros = micros_of_ticks(frame.verdict.pts);
        let at = Some(frame.verdict.at.0);
        let is_passed = |slot: &Slot| slot.micros <= micros || slot.offset == at;
        if self.entries.earlier().iter().any(is_passed) {
            self.quarantine("the recording has a different picture here", |kept, slot| {
                !kept && is_passed(slot)
            })?;
        }
        Ok((next..).find(|&number| !self.entries.is_taken(number)).unwrap_or(next))
    }

    /// Quarantines the entries whose picture starts at or after `end`, the length of the recording
    /// after a power loss. Their ids are not reused. Returns the number of quarantined entries.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder cannot be written.
    pub fn quarantine_past(&mut self, end: ByteOffset) -> Result<usize> {
        self.quarantine("the recording ends before it", |_, slot| {
            slot.offset.is_some_and(|offset| offset >= end.0)
        })
    }

    /// Quarantines the entries of an earlier run that were not found again. Must be called only
    /// when detection has reached the end of the recording. Returns the number of quarantined
    /// entries.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder cannot be written.
    pub fn quarantine_unfound(&mut self) -> Result<usize> {
        self.quarantine("the recording has no such frame", |kept, _| !kept)
    }

    fn quarantine(
        &mut self,
        reason: &str,
        is_affected: impl Fn(bool, &Slot) -> bool,
    ) -> Result<usize> {
        let slots = self.entries.take(is_affected);
        self.unwritten |= !slots.is_empty();
        // After a crash here, the index contains them as well; the next run removes them.
        self.quarantined.add(&slots, reason)?;
        Ok(slots.len())
    }

    fn jpeg_path(&self, number: u64) -> std::path::PathBuf {
        self.folder.join(jpeg_name(&frame_id(number)))
    }

    pub(super) fn has_jpeg(&self, number: u64) -> bool {
        is_whole_jpeg(&self.jpeg_path(number))
    }

    /// Writes a JPEG and returns its path for the index.
    fn write_jpeg(&mut self, number: u64, jpeg: &[u8]) -> Result<String> {
        let path = self.jpeg_path(number);
        publish(&path, jpeg, Durable::Later)?;
        let text = path.to_string_lossy().into_owned();
        self.unsynced.add_jpeg(path);
        Ok(text)
    }
}
