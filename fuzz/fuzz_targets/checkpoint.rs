//! `checkpoint.json`, and what detection makes of it.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use scenetap::catalog::checkpoint::Checkpoint;
use scenetap::pipeline::checkpointing::{from_checkpoint, to_checkpoint};

fuzz_target!(|bytes: &[u8]| {
    let path = Path::new("checkpoint.json");
    let checkpoint = match Checkpoint::parse(path, bytes) {
        Ok(checkpoint) => checkpoint,
        Err(error) => {
            assert!(!error.to_string().contains('\n'), "{error}");
            return;
        }
    };
    let written = checkpoint.to_json().expect("what was read can be written");
    let again = Checkpoint::parse(path, &written).expect("what was written can be read");
    assert_eq!(again, checkpoint);

    if let Some(start) = from_checkpoint(&checkpoint) {
        let again = to_checkpoint(&start, checkpoint.recording_bytes, checkpoint.frames_kept);
        assert_eq!(from_checkpoint(&again), Some(start));
    }
});
