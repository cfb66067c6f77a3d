//! scenetap records an MPEG-TS stream and finds its scene changes while it arrives.
pub mod error;
pub mod media;
pub mod playback;
pub mod send;
