//! `index.json`, which agents edit while the recorder writes it.
//!
//! ```text
//! entry        one object of the index
//! entries      all of them, and how others' edits are merged
//! file         the file: replaced atomically, and nothing that others wrote is lost
//! lock         the lock under which it is written
//! reading      reading a file that others may be writing
//! stamp        whether a file is the one that was read
//! synced_copy  the durable copy from which lost entries come back
//! ```

pub(super) mod entries;
pub(super) mod entry;
mod file;
#[cfg(fuzzing)]
pub mod fuzzing;
mod lock;
pub(super) mod reading;
mod stamp;
pub(super) mod synced_copy;

pub use entry::Entry;
pub use file::INDEX_NAME;
pub use lock::LOCK_NAME;
pub use reading::CORRUPT_GRACE;

pub(super) use file::IndexFile;
