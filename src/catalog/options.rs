//! What is asked of a catalog.

use std::path::PathBuf;

use super::frames::DEFAULT_JPEG_QUALITY;

/// Where the catalog is, and what is asked of it.
#[derive(Debug, Clone)]
pub struct CatalogOptions {
    /// The folder of the JPEGs and the index; it is made if need be.
    pub frames_dir: PathBuf,
    /// Whether JPEGs are asked for.
    pub write_jpegs: bool,
    /// JPEG quality, 1 to 100.
    pub jpeg_quality: u8,
    /// Greatest width of a JPEG in pixels.
    pub frame_width: Option<u32>,
    /// How many frames were kept before, by the checkpoint: [`super::Catalog::kept`] when it was made.
    pub next_ordinal: u64,
    /// Where a synced copy of the index is kept, if one is wanted: from it come back the
    /// entries that a power loss, or another program, took out of the index.
    pub index_copy: Option<PathBuf>,
}

impl CatalogOptions {
    /// JPEGs of the default quality and of full size, in a folder where nothing was kept before.
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
