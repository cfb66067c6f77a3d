//! Shared by scenetap's unit tests, integration tests and fuzz targets: a test muxer, a CRC, and
//! the check for external tools.
//!
//! This crate does not depend on scenetap: a muxer built from the code under test would share its
//! mistakes.

mod mux;
mod paced;
mod tools;

pub use mux::{Mux, PACKET_BYTES, Stream, crc32, section};
pub use paced::{filler, paced_stream, timed};
pub use tools::{fixture, has, lacks_tool, leave_out, material_file, material_streams};
