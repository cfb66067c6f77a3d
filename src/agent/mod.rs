//! Hands frames out as they come: to whoever follows a series, and to a command.
//!
//! ```text
//! on_frame  runs a command for each frame that a recorder keeps
//! follow    the loop: from session to session, until the last one has ended
//! following one session that is followed
//! wake      wakes it: files that change, recorders that tell, a reader that leaves
//! ```

mod follow;
mod following;
mod on_frame;
mod wake;

pub use follow::{FollowOptions, FrameOutlet, LeaseOptions, follow};
pub use on_frame::{FrameCommand, FrameRunner};
