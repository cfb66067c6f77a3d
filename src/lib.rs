//! scenetap records an MPEG-TS stream and finds its scene changes while it arrives.
pub mod error;
pub mod media;
pub mod demux;
pub mod decode;
pub mod detect;
pub mod timeline;
pub mod pipeline;
pub mod catalog;
pub mod tail;
pub mod recording;
pub mod session;
