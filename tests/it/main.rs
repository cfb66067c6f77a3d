//! The integration tests: one binary, one module per guarantee.
//!
//! They drive the real program over real sockets on port 0. Shared code is in `common`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod common;

mod agents;
mod agents_guide;
mod architecture;
mod bad_input;
mod check;
mod cli;
mod clip;
mod config_file;
mod deleted;
mod dist;
mod faults;
mod following;
mod frames;
mod frames_follow;
mod guide;
mod jobs;
mod jpeg;
mod keyframes;
mod kills;
mod load;
mod main_path;
mod mangled;
mod memory;
mod muxing;
mod oddities;
mod on_frame;
mod packet_sizes;
mod parity;
mod play;
mod recovery;
mod retention;
mod rotation;
mod senders;
mod service;
mod signals;
mod soak;
mod stalled;
mod status;
mod still;
mod streams;
mod tls;
mod trust;
mod two_processes;
mod upgrade;
