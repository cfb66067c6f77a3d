//! Reads an index that another program may be writing at the same time.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::entries::Entries;
use super::slot::each_item;
use super::stamp::Stamp;
use super::synced_copy;
use crate::catalog::clock::TimeSource;
use crate::catalog::publish::quarantine;
use crate::error::{Context, Error, Kind, Result, Stage};

/// Time after which a file that is still not a JSON array counts as corrupt.
pub const CORRUPT_GRACE: Duration = Duration::from_secs(2);

/// Interval at which a half-written file is read again.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Content of a file. The stamp is present only if it is reliable.
#[derive(Debug)]
pub(in crate::catalog) enum IndexState {
    /// The file does not exist.
    Nothing,
    /// The content is already known, and was not read.
    Known,
    /// A JSON array.
    Whole(String, Option<Stamp>),
    /// Anything else: half written, or not an index at all.
    Corrupt(Option<Stamp>),
}

/// Reads indexes, and waits for half-written ones.
#[derive(Debug)]
pub(in crate::catalog) struct Reader {
    grace: Duration,
    clock: Arc<dyn TimeSource>,
}

impl Reader {
    /// Returns a reader that waits up to `grace`, measured by `clock`.
    pub fn new(grace: Duration, clock: Arc<dyn TimeSource>) -> Reader {
        Reader { grace, clock }
    }

    /// Reads a file without waiting.
    pub fn read(&self, path: &Path, known: Option<Stamp>) -> io::Result<IndexState> {
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(IndexState::Nothing);
            }
            file => file?,
        };
        let before = file.metadata()?;
        if known == Some(Stamp::of(&before)) {
            return Ok(IndexState::Known);
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let stamp = Stamp::of_read(&before, &file.metadata()?);
        Ok(match String::from_utf8(bytes) {
            Ok(text) if each_item(&text, |_| ()).is_ok() => IndexState::Whole(text, stamp),
            _ => IndexState::Corrupt(stamp),
        })
    }

    /// Reads a file, waiting up to the grace time for it to become complete.
    pub fn read_settled(&self, path: &Path, known: Option<Stamp>) -> io::Result<IndexState> {
        let started = self.clock.now();
        loop {
            let found = self.read(path, known)?;
            let waited = self.clock.now().saturating_duration_since(started);
            if !matches!(found, IndexState::Corrupt(_)) || waited >= self.grace {
                return Ok(found);
            }
            self.clock.wait(RETRY_INTERVAL.min(self.grace - waited));
        }
    }
}

impl Reader {
    /// Loads the index at `path` without waiting, and restores missing entries from `copy`. Changes no
    /// file. Returns the stamp of the index, if it is reliable.
    ///
    /// # Errors
    ///
    /// Returns an error if a file cannot be read; of [`Kind::Corrupt`] if the index is not a JSON array.
    pub fn load_shared(
        &self,
        path: &Path,
        copy: Option<&Path>,
        entries: &mut Entries,
    ) -> Result<Option<Stamp>> {
        let read = self.read_settled(path, None).context(Stage::Catalog, path, "cannot read it")?;
        let stamp = match read {
            IndexState::Whole(text, stamp) => {
                entries.load(&text).context(Stage::Catalog, path, "cannot parse it")?;
                stamp
            }
            IndexState::Corrupt(_) => {
                let what = "not a JSON array; a recorder on the session, or check --repair, quarantines it";
                return Err(Error::new(Stage::Catalog, what).of_kind(Kind::Corrupt).path(path));
            }
            IndexState::Nothing | IndexState::Known => None,
        };
        // A corrupt copy is left to the next recorder.
        let copy = copy.and_then(|copy| std::fs::read(copy).ok());
        if let Some(copy) = copy.as_deref().and_then(synced_copy::unseal) {
            entries.restore(copy).context(Stage::Catalog, path, "cannot merge its copy")?;
        }
        Ok(stamp)
    }
}

/// Quarantines a corrupt file that was `index`, or was found in its place.
pub(in crate::catalog) fn quarantine_corrupt(file: &Path, index: &Path) -> io::Result<()> {
    if let Some(quarantined_as) = quarantine(file, index, "corrupt")? {
        tracing::warn!(
            path = %index.display(), quarantined = %quarantined_as.display(),
            "not a JSON array: quarantined, and rewritten from memory"
        );
    }
    Ok(())
}
