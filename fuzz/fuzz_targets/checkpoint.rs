//! Parses `checkpoint.json`, and resumes detection from it.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use scenetap::pipeline::live::checkpoint::Checkpoint;

fuzz_target!(|bytes: &[u8]| {
    let path = Path::new("checkpoint.json");
    if let Err(error) = Checkpoint::parse(path, bytes) {
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    // Skip the checksum, which would keep the fuzzer from reaching the code after it.
    let Some(checkpoint) = Checkpoint::parse_unsealed(bytes) else { return };
    let written = checkpoint.to_json().expect("what was read can be written");
    let again = Checkpoint::parse(path, &written).expect("what was written can be read");
    assert_eq!(again, checkpoint);
});
