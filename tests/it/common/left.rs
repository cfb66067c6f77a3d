//! Compares the files left by recorders with and without faults.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::index;

/// The final files, as far as they do not depend on time and place.
#[derive(Debug, PartialEq)]
pub struct Left {
    pub recording: Vec<u8>,
    pub entries: Vec<Value>,
    pub frames: BTreeMap<String, Vec<u8>>,
    pub keyframes: Vec<u8>,
    pub stream: Vec<String>,
}

pub fn left(session: &Path) -> Left {
    let mut entries = index(session);
    for entry in &mut entries {
        let entry = entry.as_object_mut().unwrap();
        let path = Path::new(entry["path"].as_str().unwrap()).file_name().unwrap().to_owned();
        entry.insert("path".into(), path.to_str().unwrap().into());
        entry.insert("captured_at".into(), Value::Null);
    }
    let files = |folder: &str| -> BTreeMap<String, Vec<u8>> {
        std::fs::read_dir(session.join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                (path.file_name().unwrap().to_str().unwrap().into(), std::fs::read(path).unwrap())
            })
            .collect()
    };
    let mut frames = files("frames");
    frames.remove("index.json");
    if let Some(state) = frames.get_mut("state.json") {
        let told: Value = serde_json::from_slice(state).unwrap();
        let (ended, last) = (&told["ended"], &told["last_picture"]["timestamp"]);
        *state = json!([ended, last, told["recorded_bytes"]]).to_string().into_bytes();
    }
    let stream = files("stream");
    Left {
        recording: stream["recording.ts"].clone(),
        entries,
        frames,
        keyframes: stream["keyframes.idx"].clone(),
        stream: stream.into_keys().collect(),
    }
}

/// Acts as an agent: marks frames as delivered, and adds notes to them.
pub fn acknowledge(session: &Path) -> Vec<Value> {
    let path = session.join("frames/index.json");
    let Ok(text) = std::fs::read(&path) else { return Vec::new() };
    let mut entries: Vec<Value> =
        serde_json::from_slice(&text).expect("readers never see half a file");
    for entry in &mut entries {
        entry["sent_to_agent"] = json!(true);
        entry["note"] = json!(format!("seen {}", entry["id"]));
    }
    let new = session.join("frames/.agents-own");
    std::fs::write(&new, serde_json::to_vec(&entries).unwrap()).unwrap();
    std::fs::rename(&new, &path).unwrap();
    entries
}

pub fn assert_same(context: &str, session: &Path, acknowledged: &[Value], undisturbed: &Left) {
    let mut found = left(session);
    for entry in acknowledged {
        let kept = found.entries.iter_mut().find(|kept| kept["id"] == entry["id"]);
        let kept = kept.unwrap_or_else(|| panic!("{context}: {} is gone", entry["id"]));
        assert_eq!(
            (&kept["sent_to_agent"], &kept["note"]),
            (&json!(true), &entry["note"]),
            "{context}"
        );
        kept["sent_to_agent"] = json!(false);
        kept.as_object_mut().unwrap().remove("note");
    }
    assert!(found.recording == undisturbed.recording, "{context}: another recording");
    let summary = |entries: &[Value]| {
        entries
            .iter()
            .map(|e| format!("{} {} {}", e["id"], e["timestamp"], e["offset"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(summary(&found.entries), summary(&undisturbed.entries), "{context}");
    assert_eq!(found.entries, undisturbed.entries, "{context}");
    assert_eq!(found.stream, undisturbed.stream, "{context}");
    assert!(found.keyframes == undisturbed.keyframes, "{context}: other key frames");
    let names = |left: &Left| left.frames.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(undisturbed), "{context}");
    assert!(found.frames == undisturbed.frames, "{context}: another JPEG");
}
