//! Options of `follow`.

use std::time::Duration;

use crate::catalog::Selection;

/// How to follow.
#[derive(Debug, Clone, PartialEq)]
pub struct FollowOptions {
    /// Which frames. The limit is for all sessions together; of the later sessions, all frames are
    /// after [`Selection::since`].
    pub selection: Selection,
    /// Lease the frames, instead of listing them.
    pub lease: Option<LeaseOptions>,
    /// Maximum time without a recorder, once one has died.
    pub timeout: Option<Duration>,
    /// Time to wait for the lock on the index.
    pub lock_timeout: Duration,
}

/// How frames are leased.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaseOptions {
    /// For how long.
    pub length: Duration,
    /// To whom.
    pub holder: Option<String>,
}
