//! Handing out frames of an index that another process may own.

use std::path::Path;

use super::{Entries, IndexFile};
use crate::catalog::handouts::{Event, Handouts};
use crate::error::Result;

impl IndexFile {
    /// Reads the entries, restores those that `copy` has, and calls `decide` with them and what the journal says, under the lock. What it returns is
    /// in the journal and synced before this returns; then, if `shows` of the number of entries, the index
    /// shows it.
    ///
    /// # Errors
    ///
    /// Returns the error of `decide`; or an error if the index or the journal cannot be read or
    /// written, of [`Kind::Busy`](crate::error::Kind::Busy) if another process holds the lock for too long. Nothing is handed
    /// out then.
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
        // Without entries, nothing can be shown, and the index may not exist yet.
        if entries.len() > 0 && shows(entries.len()) {
            // It has happened: every reader takes it from the journal.
            if let Err(error) = self.publish_locked(entries) {
                tracing::warn!("{error}; the journal of handouts has it");
            }
            self.try_clean_up();
        }
        Ok(events)
    }
}
