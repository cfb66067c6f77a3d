//! Quarantined entries, which no longer match a picture in the recording.
//!
//! Such entries are never deleted: `index.set-aside.json` lists them in an array like the index, and
//! their ids are not reused.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::frames::frame_number;
use super::index::entry::Entry;
use super::index::reading::quarantine_corrupt;
use super::index::slot::{Slot, each_item};
use super::publish::{Durable, publish};
use crate::error::{Context, Result, Stage};

/// Name of the file in the frames folder.
pub const QUARANTINE_NAME: &str = "index.set-aside.json";

/// Key of the reason why an entry was quarantined.
const REASON_KEY: &str = "set_aside_because";

/// The file of quarantined entries.
#[derive(Debug)]
pub(super) struct QuarantinedEntries {
    path: PathBuf,
    items: Vec<Value>,
}

impl QuarantinedEntries {
    /// Reads the entries that earlier runs quarantined in `folder`. If the file is not a JSON array, it
    /// is renamed, since its ids cannot be read.
    pub fn open(folder: &Path) -> Result<QuarantinedEntries> {
        let path = folder.join(QUARANTINE_NAME);
        let mut items = Vec::new();
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            read => {
                let text = read.context(Stage::Catalog, &path, "cannot read it")?;
                if each_item(&text, |item| items.push(item)).is_err() {
                    items.clear();
                    quarantine_corrupt(&path, &path).context(
                        Stage::Catalog,
                        &path,
                        "cannot rename it",
                    )?;
                }
            }
        }
        Ok(QuarantinedEntries { path, items })
    }

    /// Returns the numbers of the ids that must not be reused.
    pub fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        let id = |item: &Value| item.get("id").and_then(Value::as_str).and_then(frame_number);
        self.items.iter().filter_map(id)
    }

    /// Quarantines entries and logs them. The file is durable on return, so that the ids stay retired.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be written.
    pub fn add(&mut self, slots: &[Slot], reason: &str) -> Result<()> {
        for entry in slots.iter().filter_map(Slot::entry) {
            tracing::warn!(id = entry.id, offset = entry.offset, "entry quarantined: {reason}");
            self.items.extend(to_item(entry, reason));
        }
        if slots.is_empty() {
            return Ok(());
        }
        let mut bytes = serde_json::to_vec_pretty(&self.items).context(
            Stage::Catalog,
            &self.path,
            "cannot write it",
        )?;
        bytes.push(b'\n');
        publish(&self.path, &bytes, Durable::Now)
    }
}

/// Returns the numbers of the ids that were quarantined in `folder`, without changing anything. Empty
/// if the file cannot be read.
pub(super) fn quarantined_numbers(folder: &Path) -> Vec<u64> {
    let mut items = Vec::new();
    let text = fs::read_to_string(folder.join(QUARANTINE_NAME)).unwrap_or_default();
    let _ = each_item(&text, |item| items.push(item));
    QuarantinedEntries { path: PathBuf::new(), items }.numbers().collect()
}

fn to_item(mut entry: Entry, reason: &str) -> Option<Value> {
    entry.other.insert(REASON_KEY.into(), reason.into());
    serde_json::to_value(entry).ok()
}
