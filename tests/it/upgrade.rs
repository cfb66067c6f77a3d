//! This version reads the files of earlier versions: after an upgrade, detection does not repeat
//! any scan.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::common::left::left;
use crate::common::life::{record, undisturbed};
use crate::common::{index, scenetap};
use scenetap::ts::TS_PACKET_BYTES;

/// Folder with one folder per version. It contains checkpoints, each named after its clip.
const CHECKPOINTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/checkpoints");

#[test]
fn a_session_whose_checkpoint_an_earlier_version_wrote_is_resumed_where_it_was() {
    let mut tried = 0;
    for version in fs::read_dir(CHECKPOINTS).unwrap() {
        for checkpoint in fs::read_dir(version.unwrap().path()).unwrap() {
            let checkpoint = checkpoint.unwrap().path();
            assert_resumes(&checkpoint);
            tried += 1;
        }
    }
    assert!(tried >= 4, "only {tried} checkpoints in {CHECKPOINTS}");
}

/// Asserts that a recording with this checkpoint is resumed at the offset in the checkpoint,
/// and that the result equals that of an undisturbed run.
fn assert_resumes(checkpoint: &Path) {
    let name = checkpoint.file_stem().unwrap().to_str().unwrap();
    let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/{name}.ts"));
    let clip = fs::read(clip).unwrap();
    let recorded = clip.len() / TS_PACKET_BYTES * 2 / 3 * TS_PACKET_BYTES;
    let sessions = tempfile::tempdir().unwrap();
    let session = sessions.path().join("s");
    assert!(record(sessions.path(), &clip[..recorded], None).status.success());
    let stored: Value = serde_json::from_slice(&fs::read(checkpoint).unwrap()).unwrap();
    let state = &stored["state"];
    // As if the recorder had been killed after it wrote that checkpoint: later frames do not
    // exist yet.
    fs::copy(checkpoint, session.join("stream/checkpoint.json")).unwrap();
    fs::remove_file(session.join("stream/.index.synced")).unwrap();
    let mut entries = index(&session);
    let kept = usize::try_from(state["frames_kept"].as_u64().unwrap()).unwrap();
    for entry in entries.split_off(kept) {
        fs::remove_file(entry["path"].as_str().unwrap()).unwrap();
    }
    let frames = session.join("frames/index.json");
    fs::write(frames, serde_json::to_vec_pretty(&entries).unwrap()).unwrap();
    let from = &state["read_from"]["audio_offset"];
    assert!(from.as_u64().unwrap() > recorded as u64 / 2, "{name} resumes late in the recording");

    let checked = scenetap().arg("check").arg(&session).output().unwrap();
    let output = String::from_utf8(checked.stdout).unwrap();
    assert!(output.contains("detection has not reached the end"), "{name}: {output}");

    let ended = record(sessions.path(), &clip, None);
    assert!(ended.status.success(), "{name}: {}", ended.log);
    let resumed = format!("detection resumes at byte {from}\n");
    assert!(ended.log.contains(&resumed), "{name}: {resumed}{}", ended.log);
    assert!(left(&session) == undisturbed(&clip), "{name}: something differs");
}
