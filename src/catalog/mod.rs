//! x
pub mod checkpoint;
