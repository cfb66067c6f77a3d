//! `index.json`, which agents edit while the recorder writes it.
//!
//! ```text
//! entry        one object of the index
//! entries      all entries, and the merge with edits by other programs
//! slot         one item: an entry as text, or an item of another program
//! file         the file: replaced atomically, without losing edits by other programs
//! lock         the lock under which the file is written
//! reading      reads a file that other programs may be writing
//! stamp        detects whether a file has changed since it was read
//! synced_copy  the durable copy from which lost entries are restored
//! fuzzing      access to the index in memory, for `fuzz/`
//! ```

pub(super) mod entries;
pub(super) mod entry;
mod file;
#[cfg(fuzzing)]
pub mod fuzzing;
mod lock;
pub(super) mod reading;
pub(super) mod slot;
pub(super) mod stamp;
pub(super) mod synced_copy;

pub use entry::Entry;
pub use file::INDEX_NAME;
pub use lock::LOCK_NAME;
pub use reading::CORRUPT_GRACE;

pub(super) use file::{IndexFile, Published};
