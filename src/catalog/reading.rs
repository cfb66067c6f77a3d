//! Reading an index that somebody may be writing to at this moment.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::clock::Clock;
use super::entries::each_item;
use super::publish::set_aside;
use super::stamp::Stamp;

/// A file that is no JSON array counts as corrupt when it stays so for this long.
pub const CORRUPT_GRACE: Duration = Duration::from_secs(2);

/// How often a file that may be half written is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What stands under a name. The stamp is there only where it can be relied on.
#[derive(Debug)]
pub(super) enum Found {
    /// No file.
    Nothing,
    /// The content that is known already; it was not read.
    Known,
    /// A JSON array.
    Whole(String, Option<Stamp>),
    /// Anything else: half written, or no index at all.
    Corrupt(Option<Stamp>),
}

/// Reads indexes, and knows how long to wait for one that is half written.
#[derive(Debug)]
pub(super) struct Reader {
    grace: Duration,
    clock: Arc<dyn Clock>,
}

impl Reader {
    /// A reader that waits as long as `grace`, by `clock`.
    pub fn new(grace: Duration, clock: Arc<dyn Clock>) -> Reader {
        Reader { grace, clock }
    }

    /// Reads a file as it is.
    pub fn read(&self, path: &Path, known: Option<Stamp>) -> io::Result<Found> {
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            file => file?,
        };
        let before = file.metadata()?;
        if known == Some(Stamp::of(&before)) {
            return Ok(Found::Known);
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let stamp = Stamp::of_read(&before, &file.metadata()?);
        Ok(match String::from_utf8(bytes) {
            Ok(text) if each_item(&text, |_| ()).is_ok() => Found::Whole(text, stamp),
            _ => Found::Corrupt(stamp),
        })
    }

    /// Reads a file, waiting for it to become whole as long as the grace allows.
    pub fn read_settled(&self, path: &Path, known: Option<Stamp>) -> io::Result<Found> {
        let began = self.clock.now();
        loop {
            let found = self.read(path, known)?;
            let waited = self.clock.now().saturating_duration_since(began);
            if !matches!(found, Found::Corrupt(_)) || waited >= self.grace {
                return Ok(found);
            }
            self.clock.wait(LOOK_AGAIN.min(self.grace - waited));
        }
    }
}

/// Gives a corrupt file that was `index`, or stood in its place, a name of its own: it
/// is never destroyed.
pub(super) fn set_aside_corrupt(file: &Path, index: &Path) -> io::Result<()> {
    if let Some(aside) = set_aside(file, index, "corrupt")? {
        tracing::warn!(
            path = %index.display(), set_aside = %aside.display(),
            "no JSON array: it is set aside, and written anew from what is known"
        );
    }
    Ok(())
}
