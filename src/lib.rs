//! scenetap records an MPEG-TS stream and finds its scene changes while it arrives.
pub mod catalog;
pub mod decode;
pub mod demux;
pub mod detect;
pub mod error;
pub mod ingest;
pub mod media;
pub mod pipeline;
pub mod recording;
pub mod session;
pub mod tail;
pub mod timeline;
