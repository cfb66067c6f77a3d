//! Parses the configuration file.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use scenetap::config::{File, Layers, key};

fuzz_target!(|text: &str| {
    let file = match File::parse(Path::new("scenetap.toml"), text) {
        Ok(file) => file,
        Err(error) => {
            let message = error.to_string();
            assert!(
                message.contains("line ") && !message.contains(char::is_control),
                "{message:?}"
            );
            return;
        }
    };
    // Every option of an accepted file must resolve.
    let environment = |_: &str| None;
    let layers = Layers::new(&environment, Some(file));
    macro_rules! resolve {
        ($($key:ident)*) => { $(layers.optional(None, &key::$key).expect(stringify!($key));)* };
    }
    resolve!(SESSIONS_DIR SESSION ONCE PLAY SYNC_INTERVAL SCENE_THRESHOLD MAX_FRAME_INTERVAL PROGRAM);
    resolve!(JPEG_QUALITY FRAME_WIDTH JSON FRAMES_DIR SCORES JOBS TO SPEED LOOP LIVE AT);
    resolve!(VERBOSE QUIET LOG LOG_FORMAT);
    layers.listen(None).expect("LISTEN");
});
