//! Which entry a frame gets: a new one, or the one that it had in an earlier life.

use std::path::Path;

use super::Catalog;
use super::entries::Slot;
use super::entry::{Entry, micros_of_ticks, round_score};
use super::frames::{frame_id, is_whole_jpeg, jpeg_name};
use super::kept::EncodedFrame;
use super::publish::{Durable, publish};
use crate::error::Result;
use crate::media::{ByteOffset, Reason, Verdict};

/// An entry of the old system has no offset; its time was rounded to the millisecond.
const OLD_ENTRY_TOLERANCE_MICROS: u64 = 1_000;

impl Catalog {
    /// The entry of the frame kept last, if it is this one: then the call repeats one that failed.
    pub(super) fn kept_last(&self, verdict: &Verdict) -> Option<Entry> {
        let micros = micros_of_ticks(verdict.pts);
        let last = self.entries.kept().last()?;
        if last.offset == Some(verdict.at.0) && last.micros == micros { last.entry() } else { None }
    }

    pub(super) fn keep_new(&mut self, frame: &EncodedFrame, reason: Reason) -> Result<Entry> {
        let number = self.next_number(frame)?;
        let path = match &frame.jpeg {
            // A crash after it leaves a JPEG that no entry names; it is replaced by its like.
            Some(jpeg) => Some(self.write_jpeg(number, jpeg)?),
            None => None,
        };
        let entry = Entry::new(number, frame, reason, path);
        self.entries.push(&entry);
        self.last_number = self.last_number.max(number);
        self.unwritten = true;
        Ok(entry)
    }

    /// The entry stands as it is; what the old system did not know is filled in.
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
        }
        entry.score.get_or_insert(round_score(frame.verdict.score));
        entry.reason.get_or_insert_with(|| reason.as_str().to_owned());
        entry.offset.get_or_insert(frame.verdict.at.0);
        entry.keyframe_offset.get_or_insert(frame.keyframe_at.0);
        self.unwritten |= self.entries.settle_earlier(at, entry);
        self.last_number = self.last_number.max(number);
        Ok(entry.clone())
    }

    /// The place among the earlier entries of the one that stands for this picture.
    pub(super) fn find_earlier(&self, verdict: &Verdict) -> Option<usize> {
        let micros = micros_of_ticks(verdict.pts);
        self.entries.earlier().iter().position(|slot| match slot.offset {
            Some(offset) => offset == verdict.at.0 && slot.micros == micros,
            None => slot.micros.abs_diff(micros) <= OLD_ENTRY_TOLERANCE_MICROS,
        })
    }

    /// The next free number. Earlier entries that can no longer be found again,
    /// since detection has come past them, are set aside.
    fn next_number(&mut self, frame: &EncodedFrame) -> Result<u64> {
        let next = self.last_number + 1;
        let micros = micros_of_ticks(frame.verdict.pts);
        let at = Some(frame.verdict.at.0);
        let is_passed = |slot: &Slot| slot.micros <= micros || slot.offset == at;
        if self.entries.earlier().iter().any(is_passed) {
            self.set_aside("the recording has another picture here", |kept, slot| {
                !kept && is_passed(slot)
            })?;
        }
        Ok((next..).find(|&number| !self.entries.is_taken(number)).unwrap_or(next))
    }

    /// Sets aside the entries whose picture starts at or past `end`, the length of the
    /// recording: a power loss took it. Their ids are not used again. Says how many.
    ///
    /// # Errors
    ///
    /// If the folder cannot be written to.
    pub fn set_aside_past(&mut self, end: ByteOffset) -> Result<usize> {
        self.set_aside("the recording ends before it", |_, slot| {
            slot.offset.is_some_and(|offset| offset >= end.0)
        })
    }

    /// Sets aside the entries of an earlier life that were not found again. For when
    /// detection has come to the end of the recording, and only then. Says how many.
    ///
    /// # Errors
    ///
    /// If the folder cannot be written to.
    pub fn set_aside_unfound(&mut self) -> Result<usize> {
        self.set_aside("the recording has no such frame", |kept, _| !kept)
    }

    fn set_aside(&mut self, why: &str, which: impl Fn(bool, &Slot) -> bool) -> Result<usize> {
        let slots = self.entries.take(which);
        self.unwritten |= !slots.is_empty();
        // A crash after this leaves them in the index as well, for the next life to take out.
        self.set_aside.add(&slots, why)?;
        Ok(slots.len())
    }

    fn jpeg_path(&self, number: u64) -> std::path::PathBuf {
        self.folder.join(jpeg_name(&frame_id(number)))
    }

    pub(super) fn has_jpeg(&self, number: u64) -> bool {
        is_whole_jpeg(&self.jpeg_path(number))
    }

    /// Says what the index has as its path.
    fn write_jpeg(&mut self, number: u64, jpeg: &[u8]) -> Result<String> {
        let path = self.jpeg_path(number);
        publish(&path, jpeg, Durable::Later)?;
        let text = path.to_string_lossy().into_owned();
        self.unsynced.add_jpeg(path);
        Ok(text)
    }
}
