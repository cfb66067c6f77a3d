//! Log lines, counters, and rate limits for log lines.
//!
//! ```text
//! logging     log lines on stderr
//! rate_limit  rate limit for log lines
//! troubles    the last error and warning, for the status
//! counters    counters for status line, status and summary
//! latency     latency of live frames, stage by stage
//! undecided   how long bytes arrive without a decided picture
//! heartbeat   detects a thread that is stuck
//! ```

mod counters;
mod heartbeat;
mod latency;
mod logging;
mod rate_limit;
mod troubles;
mod undecided;

pub use counters::{Counters, DetectionState, Snapshot};
pub use heartbeat::Heartbeat;
pub use latency::{Latency, Passage};
pub use logging::{LogFormat, LogOptions, init};
pub use rate_limit::RateLimit;
pub use troubles::{Trouble, Troubles};
pub use undecided::Undecided;
