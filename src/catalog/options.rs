//! Options of a catalog.

use std::path::PathBuf;

use super::frames::DEFAULT_JPEG_QUALITY;

/// Options of a catalog.
#[derive(Debug, Clone)]
pub struct CatalogOptions {
    /// Folder of the JPEGs and the index; created if needed.
    pub frames_dir: PathBuf,
    /// Whether to write JPEGs.
    pub write_jpegs: bool,
    /// JPEG quality, 1 to 100.
    pub jpeg_quality: u8,
    /// Maximum width of a JPEG in pixels.
    pub frame_width: Option<u32>,
    /// Number of frames kept according to the checkpoint: [`super::Catalog::kept`] when
    /// it was made.
    pub next_ordinal: u64,
    /// Path of the synced copy of the index, if one is wanted. Entries that a power loss
    /// or another program removed from the index are restored from it.
    pub index_copy: Option<PathBuf>,
}

impl CatalogOptions {
    /// Returns options for JPEGs of default quality and full size, in a new folder.
    pub fn new(frames_dir: impl Into<PathBuf>) -> CatalogOptions {
        CatalogOptions {
            frames_dir: frames_dir.into(),
            write_jpegs: true,
            jpeg_quality: DEFAULT_JPEG_QUALITY,
            frame_width: None,
            next_ordinal: 0,
            index_copy: None,
        }
    }
}
