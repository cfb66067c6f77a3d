//! Hands frames out as they come: to whoever follows a series, and to a command.
//!
//! ```text
//! on_frame  runs a command for each frame that a recorder keeps
//! follow    the loop: from session to session, until the last one has ended
//! following one session that is followed
//! outlet    where its frames go
//! wake      wakes it: files that change, recorders that tell, a reader that leaves
//! ```

mod follow;
mod follow_options;
mod following;
mod on_frame;
mod outlet;
mod wake;

pub use follow::follow;
pub use follow_options::{FollowOptions, LeaseOptions};
pub use on_frame::{FrameCommand, FrameRunner};
pub use outlet::FrameOutlet;
