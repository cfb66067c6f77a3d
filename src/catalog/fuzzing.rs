//! The index in memory, open to `fuzz/`: no other build has this.

use super::entries::{Entries, Slot};
use super::entry::Entry;

/// The entries of an index, without its file.
#[derive(Debug)]
pub struct Index(Entries);

/// What a merge found.
#[derive(Debug, Clone, Copy)]
pub struct Merged {
    /// It brought something new.
    pub changed: bool,
    /// It lacks entries of ours.
    pub lacking: bool,
}

impl Index {
    /// Loads what an earlier life left, and takes all of it as settled and published.
    ///
    /// # Errors
    ///
    /// If `text` is not a JSON array.
    pub fn load(text: &str) -> serde_json::Result<Index> {
        let mut entries = Entries::default();
        entries.load(text)?;
        entries.settle(usize::MAX);
        Ok(Index(entries))
    }

    /// Takes over what others wrote. `behind`: they could not know all that we do.
    ///
    /// # Errors
    ///
    /// If `text` is not a JSON array.
    pub fn merge(&mut self, text: &str, behind: bool) -> serde_json::Result<Merged> {
        let merged = self.0.merge(text, behind)?;
        Ok(Merged { changed: merged.changed, lacking: merged.lacking })
    }

    /// Our entries, in presentation order.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.0.kept().iter().filter_map(Slot::entry)
    }

    /// What `index.json` would be.
    pub fn text(&self) -> String {
        let mut bytes = Vec::new();
        // Writing to memory does not fail.
        let _ = self.0.write_to(&mut bytes);
        String::from_utf8(bytes).unwrap_or_default()
    }
}
