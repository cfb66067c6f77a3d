//! Options of a catalog.

use std::path::PathBuf;
use std::time::Duration;

use super::frames::DEFAULT_JPEG_QUALITY;

/// The default of [`CatalogOptions::lock_timeout`].
const DEFAULT_LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// How kept pictures are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JpegOptions {
    /// JPEG quality, 1 to 100.
    pub quality: u8,
    /// Maximum width in pixels, 16 to 65,535: wider pictures are scaled down. `None` keeps the size
    /// of every picture.
    pub max_width_px: Option<u32>,
}

impl Default for JpegOptions {
    fn default() -> Self {
        JpegOptions { quality: DEFAULT_JPEG_QUALITY, max_width_px: None }
    }
}

/// Options of a catalog.
#[derive(Debug, Clone)]
pub struct CatalogOptions {
    /// Folder of the JPEGs and the index; created if needed.
    pub frames_dir: PathBuf,
    /// Whether to write JPEGs.
    pub write_jpegs: bool,
    /// How pictures are encoded.
    pub jpeg: JpegOptions,
    /// Number of kept frames according to the checkpoint: the value of [`super::Catalog::kept`] at
    /// that time.
    pub next_ordinal: u64,
    /// Path of the synced copy of the index, if enabled. Entries that a power loss or another
    /// program removed from the index are restored from the copy.
    pub index_copy: Option<PathBuf>,
    /// Time to wait for the lock on the index when the folder is opened, and at the end.
    pub lock_timeout: Duration,
}

impl CatalogOptions {
    /// Returns options for JPEGs of default quality and full size, in a new folder.
    pub fn new(frames_dir: impl Into<PathBuf>) -> CatalogOptions {
        CatalogOptions {
            frames_dir: frames_dir.into(),
            write_jpegs: true,
            jpeg: JpegOptions::default(),
            next_ordinal: 0,
            index_copy: None,
            lock_timeout: DEFAULT_LOCK_TIMEOUT,
        }
    }
}
