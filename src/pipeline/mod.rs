//! Connects the stages: threads, queues and their limits, order of shutdown.
//!
//! ```text
//! options       options of all operations
//! analyzer      packets → verdicts, without files
//! live          detection beside a writer
//! record        `record`: sessions, network, writer, detection
//! scan          `scan`: detection in a file; `--scores`
//! check         `check`, `check --repair`
//! keyframes     checks and rebuilds `keyframes.idx`
//! evidence      `still` and `clip`
//! housekeeping  stored sessions, and deletion
//! list          `scan --list`
//! ```

pub mod analyzer;
mod check;
pub mod evidence;
pub mod housekeeping;
pub mod keyframes;
pub mod list;
pub mod live;
mod options;
mod record;
mod scan;

pub use check::{check, repair};
pub use options::{DetectOptions, RecordOptions, RetentionLimits, RotationLimits, ScanOptions};
pub use record::{Listening, Sessions, listen, record};
pub use scan::scan;

use crate::error::{Error, Kind, Result, Stage};

/// Formats a time in UTC, with milliseconds.
fn rfc3339(time: jiff::Timestamp) -> String {
    format!("{time:.3}")
}

/// Starts a thread called `name`.
///
/// # Errors
///
/// Returns an error if the system cannot start a thread.
fn spawn<'scope, 'env, T: Send + 'scope>(
    scope: &'scope std::thread::Scope<'scope, 'env>,
    name: &str,
    work: impl FnOnce() -> Result<T> + Send + 'scope,
) -> Result<std::thread::ScopedJoinHandle<'scope, Result<T>>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn_scoped(scope, work)
        .map_err(|cause| Error::new(Stage::Pipeline, "cannot start a thread").because(cause))
}

/// Waits for a thread and returns its result. `name` appears in the error if it has panicked.
///
/// # Errors
///
/// Returns the error of the thread, or one of kind [`Kind::Bug`] if it has panicked.
fn join<T>(name: &str, thread: std::thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let what = format!("{name} has panicked: {}", text.unwrap_or("no message"));
        Err(Error::new(Stage::Pipeline, what).of_kind(Kind::Bug))
    })
}
