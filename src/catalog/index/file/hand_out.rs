//! Handing out frames of an index that another process may own.

use super::{Entries, IndexFile, IndexState};
use crate::catalog::handouts::{Event, Handouts};
use crate::error::{Error, Kind, Result, Stage};

impl IndexFile {
    /// Calls `decide` with the entries and what the journal says, under the lock. What it returns is
    /// in the journal and synced before this returns; then, if `shows` of the number of entries, the index
    /// shows it.
    ///
    /// # Errors
    ///
    /// Returns the error of `decide`; or an error if the index or the journal cannot be read or
    /// written, of [`Kind::Busy`] if another process holds the lock for too long. Nothing is handed
    /// out then.
    pub fn hand_out(
        &mut self,
        entries: &mut Entries,
        shows: &dyn Fn(usize) -> bool,
        decide: impl FnOnce(&Entries, &Handouts) -> Result<Vec<Event>>,
    ) -> Result<Vec<Event>> {
        let _held = self.lock.hold(self.lock_timeout)?;
        self.load_shared(entries)?;
        self.journal.refresh()?;
        self.show_handouts(entries);
        let events = decide(entries, self.journal.handouts())?;
        if events.is_empty() {
            return Ok(events);
        }
        self.journal.append(&events)?;
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

    /// Reads the index as it is. Files that a crash has left are left to its owner.
    fn load_shared(&mut self, entries: &mut Entries) -> Result<()> {
        match self.read_settled(&self.path)? {
            IndexState::Whole(text, stamp) => {
                self.json(entries.load(&text))?;
                self.known = stamp;
            }
            IndexState::Corrupt(_) => {
                return Err(not_an_index().path(&self.path));
            }
            IndexState::Nothing | IndexState::Known => {}
        }
        Ok(())
    }
}

/// Returns the error for a file that is no index.
pub(in crate::catalog) fn not_an_index() -> Error {
    let what = "not a JSON array; a recorder on the session, or check --repair, sets it aside";
    Error::new(Stage::Catalog, what).of_kind(Kind::Corrupt)
}
