//! Hands out frames of an index that another process may own.

use std::path::Path;

use super::{Entries, IndexFile};
use crate::catalog::handouts::{Event, Handouts};
use crate::error::Result;

impl IndexFile {
    /// Under the lock, loads the entries, restores missing ones from `copy`, and calls `decide` with the
    /// entries and the handouts of the journal. Appends the returned events to the journal and syncs it.
    /// Then, if `shows` returns true for the number of entries, also updates the index.
    ///
    /// # Errors
    ///
    /// Returns the error of `decide`; or an error if the index or the journal cannot be read or written, of
    /// [`Kind::Busy`](crate::error::Kind::Busy) if another process holds the lock for too long. In all cases,
    /// no frame is handed out.
    pub fn hand_out(
        &mut self,
        entries: &mut Entries,
        copy: Option<&Path>,
        shows: &dyn Fn(usize) -> bool,
        decide: impl FnOnce(&Entries, &Handouts) -> Result<Vec<Event>>,
    ) -> Result<Vec<Event>> {
        let _held = self.lock.hold(self.lock_timeout)?;
        self.known = self.reader.load_shared(&self.path, copy, entries)?;
        self.journal.refresh()?;
        let is_stale = self.show_handouts(entries);
        let events = decide(entries, self.journal.handouts())?;
        if !events.is_empty() {
            self.journal.append(&events)?;
        } else if !is_stale {
            return Ok(events);
        }
        // Without entries, there is nothing to update, and the index may not exist yet.
        if entries.len() > 0 && shows(entries.len()) {
            // The events are effective: every reader takes them from the journal.
            if let Err(error) = self.publish_locked(entries) {
                tracing::warn!("{error}; the change is in handouts.jsonl");
            }
            self.try_clean_up();
        }
        Ok(events)
    }
}
