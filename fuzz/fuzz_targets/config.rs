//! Parses the configuration file.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use scenetap::config::{File, Layers, key};

fuzz_target!(|text: &str| {
    let file = match File::parse(Path::new("scenetap.toml"), text) {
        Ok(file) => file,
        Err(error) => {
            let told = error.to_string();
            assert!(told.contains("line ") && !told.contains(char::is_control), "{told:?}");
            return;
        }
    };
    // Every option of an accepted file must resolve.
    let environment = |_: &str| None;
    let layers = Layers::new(&environment, Some(file));
    macro_rules! ask {
        ($($key:ident)*) => { $(layers.optional(None, &key::$key).expect(stringify!($key));)* };
    }
    ask!(SESSIONS_DIR SESSION ONCE PLAY SYNC_INTERVAL SCENE_THRESHOLD MAX_FRAME_INTERVAL PROGRAM);
    ask!(JPEG_QUALITY FRAME_WIDTH JSON FRAMES_DIR SCORES JOBS TO SPEED LOOP LIVE AT);
    ask!(VERBOSE QUIET LOG LOG_FORMAT);
    layers.listen(None).expect("LISTEN");
});
