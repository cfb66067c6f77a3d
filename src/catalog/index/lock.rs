//! The lock for writing the index: `flock` on `index.lock`.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::disk;
use crate::error::{Context, Result, Stage};

/// Name of the file that writers of the index lock.
pub const LOCK_NAME: &str = "index.lock";

/// The lock file of a frames folder.
#[derive(Debug)]
pub(in crate::catalog) struct IndexLock {
    path: PathBuf,
    file: File,
}

/// Holds the lock until dropped.
#[derive(Debug)]
pub(in crate::catalog) struct HeldLock(File);

impl IndexLock {
    /// Creates the lock file if it does not exist.
    pub fn open(folder: &Path) -> Result<IndexLock> {
        let path = folder.join(LOCK_NAME);
        Ok(IndexLock { file: open_file(&path)?, path })
    }

    /// Waits for the lock and takes it.
    pub fn hold(&mut self) -> Result<HeldLock> {
        loop {
            match self.file.lock() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                locked => locked.context(Stage::Catalog, &self.path, "cannot lock the index")?,
            }
            // Both handles share one lock: releasing either releases it.
            let held = self.file.try_clone().map(HeldLock);
            let held = held.context(Stage::Catalog, &self.path, "cannot lock the index")?;
            if identity(self.file.metadata()) == identity(fs::metadata(&self.path)) {
                return Ok(held);
            }
            // The lock file was removed or replaced: other programs would lock the new
            // one.
            self.file = open_file(&self.path)?;
        }
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!("cannot unlock the index: {error}");
        }
    }
}

fn identity(metadata: io::Result<fs::Metadata>) -> Option<(u64, u64)> {
    metadata.ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

fn open_file(path: &Path) -> Result<File> {
    disk::open_lock(path).context(Stage::Catalog, path, "cannot open the lock of the index")
}
