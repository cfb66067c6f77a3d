//! The only wiring: threads, queues and their bounds, order of shutdown.

pub mod checkpointing;
pub mod detection;
pub mod detector;
