//! What scenetap's unit tests, integration tests and fuzz targets share: one test muxer, one
//! CRC, and one way to leave a test out.
//!
//! It does not depend on scenetap, so that the tests do not check the program with itself.

mod mux;
mod paced;
mod tools;

pub use mux::{Mux, PACKET_BYTES, Stream, crc32, section};
pub use paced::{filler, paced_stream, timed};
pub use tools::{fixture, has, lacks_tool, leave_out, material};
