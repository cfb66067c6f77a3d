//! scenetap records an MPEG-TS stream and finds its scene changes while it arrives.
pub mod cli;
pub mod config;
pub mod error;
pub mod media;
pub mod shutdown;
pub mod telemetry;
