//! What is stored, how much of it detection has looked at, and what of it is deleted.
//!
//! ```text
//! coverage   how far detection of a session has come, and how long its recording is
//! listing    `scenetap sessions`
//! deletion   deletes a recording or a session that nobody uses
//! retention  what a recorder deletes: --keep-for, --keep-bytes, --keep-frames-for, --recycle
//! prune      what a person deletes: `scenetap sessions prune`
//! ```

mod coverage;
mod deletion;
mod listing;
mod prune;
mod retention;

pub use coverage::Coverage;
pub use listing::{SessionInfo, list_sessions};
pub use prune::{PruneOptions, Pruned, prune};
pub use retention::{Retention, Room};
