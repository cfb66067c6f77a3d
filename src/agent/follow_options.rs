//! Options of `follow`.

use std::time::Duration;

use crate::catalog::Selection;

/// Options of `follow`.
#[derive(Debug, Clone, PartialEq)]
pub struct FollowOptions {
    /// Selected frames. The limit applies to all sessions together; [`Selection::since`] applies only
    /// to the first session.
    pub selection: Selection,
    /// Lease the frames instead of listing them.
    pub lease: Option<LeaseOptions>,
    /// Maximum time to wait for another recorder after one has died.
    pub timeout: Option<Duration>,
    /// Time to wait for the lock on the index.
    pub lock_timeout: Duration,
}

/// Options of a lease.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaseOptions {
    /// Length of a lease.
    pub length: Duration,
    /// Name of the client.
    pub holder: Option<String>,
}
