//! PES payload → access units and audio frames.
//!
//! ```text
//! boundary       where a picture ends, codec by codec
//! framer         elementary stream → access units with their times and offsets
//! random_access  whether decoding can start at an access unit
//! headers        timing information in picture headers (libavcodec's parsers)
//! audio          PES packets of audio → audio frames     (libavcodec's parsers)
//! ```

mod audio;
mod boundary;
mod framer;
mod headers;
mod random_access;

pub use audio::AudioFramer;
pub use framer::{Framer, FramerStart};
pub use headers::HeaderReader;
