//! `record --play` and `play`, with the real mpv without outputs.

mod faults;
mod keys;
mod pauses;
mod places;
mod rotation;
