//! Access to the index in memory for `fuzz/`; only built for fuzzing.

use super::entries::Entries;
use super::entry::Entry;
use super::slot::Slot;

/// The entries of an index, without its file.
#[derive(Debug)]
pub struct Index(Entries);

/// Result of a merge.
#[derive(Debug, Clone, Copy)]
pub struct FuzzMerge {
    /// The merged text contained something new.
    pub changed: bool,
    /// The merged text lacks some of our entries.
    pub lacking: bool,
}

impl Index {
    /// Loads the index of an earlier run, and settles and publishes all entries.
    ///
    /// # Errors
    ///
    /// Returns an error if `text` is not a JSON array.
    pub fn load(text: &str) -> serde_json::Result<Index> {
        let mut entries = Entries::default();
        entries.load(text)?;
        entries.settle(usize::MAX);
        Ok(Index(entries))
    }

    /// Merges changes by other programs. `outdated`: made from an older state of the index.
    ///
    /// # Errors
    ///
    /// Returns an error if `text` is not a JSON array.
    pub fn merge(&mut self, text: &str, outdated: bool) -> serde_json::Result<FuzzMerge> {
        let merged = self.0.merge(text, outdated)?;
        Ok(FuzzMerge { changed: merged.changed, lacking: merged.lacking })
    }

    /// Returns our entries, in presentation order.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.0.kept().iter().filter_map(Slot::entry)
    }

    /// Returns the text of `index.json`.
    pub fn text(&self) -> String {
        let mut bytes = Vec::new();
        // Writing to memory never fails.
        let _ = self.0.write_to(&mut bytes);
        String::from_utf8(bytes).unwrap_or_default()
    }
}
