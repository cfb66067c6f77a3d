//! The only wiring: threads, queues and their bounds, order of shutdown.

pub mod detection;
pub mod checkpointing;
pub mod detector;
