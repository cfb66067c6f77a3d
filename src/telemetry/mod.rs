//! Log lines, counters, and rate limits for log lines.

mod counters;
mod heartbeat;
mod latency;
mod logging;
mod report;
mod troubles;
mod undecided;

pub use counters::{Counters, DetectionState, Snapshot};
pub use heartbeat::Heartbeat;
pub use latency::{Latency, Passage};
pub use logging::{LogFormat, LogOptions, init};
pub use report::Report;
pub use troubles::{Trouble, Troubles};
pub use undecided::Undecided;
