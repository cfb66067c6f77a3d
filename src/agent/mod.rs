//! Hands out frames as they arrive: to clients that follow a series, and to a command.
//!
//! ```text
//! on_frame        runs a command for each frame that a recorder keeps
//! follow          the loop: from session to session, until the last one has ended
//! follow_options  which frames, whether they are leased, time limits
//! following       one followed session
//! outlet          destination of its frames
//! wake            waits: for changed files, recorders' feeds, and a reader that leaves
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
