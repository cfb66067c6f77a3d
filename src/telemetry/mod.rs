//! What the program tells of itself: log lines, counters, and how often.

mod counters;
mod logging;
mod report;
mod terminal;

pub use counters::{Counters, Snapshot};
pub use logging::init;
pub use report::Report;
pub use terminal::Terminal;
