//! Stored sessions: their analyzed part, the list of them, and their deletion.
//!
//! ```text
//! coverage      the analyzed part of a recording, and the length of the recording
//! listing       `scenetap sessions`
//! deletion      deletes an unused recording or session
//! own_sessions  the sessions that this process has opened
//! retention     what a recorder deletes: --keep-for, --keep-bytes, --keep-frames-for, --recycle
//! prune         what a user deletes: `scenetap sessions prune`
//! ```

mod coverage;
mod deletion;
mod listing;
mod own_sessions;
mod prune;
mod retention;

pub use coverage::Coverage;
pub use listing::{SessionInfo, list_sessions};
pub use prune::{PruneOptions, Pruned, prune};
pub use retention::{Retention, Room};
