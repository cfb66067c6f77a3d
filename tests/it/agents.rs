//! Several agents lease and acknowledge the frames of a series simultaneously, two of them killed
//! repeatedly, beside a program that edits the index as the older system did.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::random::{Random, seed};
use crate::common::series::series;
use crate::common::{Recorder, fixture, scenetap, send_bytes};

/// Time after which an agent gives up.
const DEADLINE: Duration = Duration::from_secs(120);

/// Runs `scenetap frames SESSION …`, killed at its `kill`th change to the disk. Returns the printed
/// lines; `None` if the command has failed.
fn frames(session: &Path, arguments: &[&str], kill: Option<u64>) -> Option<Vec<Value>> {
    let mut command = scenetap();
    command.arg("frames").arg(session).args(arguments);
    if let Some(kill) = kill {
        command.env("SCENETAP_FAULT", format!("tear@{kill}"));
    }
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    output.status.success().then_some(lines)
}

/// Leases frames, checks each, and acknowledges it, until `is_over`.
fn agent(sessions: &Path, name: &str, seed: Option<u64>, is_over: &dyn Fn() -> bool) {
    let mut random = seed.map(Random::new);
    // Kill every third command, on average.
    let mut kill = || {
        let random = random.as_mut()?;
        (random.below(3) == 0).then(|| 1 + random.below(14))
    };
    while !is_over() {
        for session in series(sessions) {
            let lease = ["--lease=3", "--limit=2", "--holder", name, "--json"];
            for frame in frames(&session, &lease, kill()).unwrap_or_default() {
                let id = frame["id"].as_str().unwrap();
                let jpeg = fs::read(session.join("frames").join(format!("{id}.jpg"))).unwrap();
                assert!(jpeg.ends_with(&[0xFF, 0xD9]), "{id} is whole");
                // Fails if the lease has expired: another agent then has the frame.
                frames(&session, &["--holder", name, "--ack", id], kill());
            }
        }
    }
}

/// Adds a note to each entry, and writes the index back a little later, as the older system did:
/// read, change, rename, with or without the lock.
fn edit(sessions: &Path, is_over: &dyn Fn() -> bool) {
    let mut round = 0;
    while !is_over() {
        round += 1;
        for session in series(sessions) {
            let folder = session.join("frames");
            let Ok(text) = fs::read(folder.join("index.json")) else { continue };
            let Ok(mut entries) = serde_json::from_slice::<Vec<Value>>(&text) else { continue };
            for entry in &mut entries {
                entry.as_object_mut().unwrap().entry("note").or_insert_with(|| json!("seen"));
            }
            std::thread::sleep(Duration::from_millis(5));
            let temp = folder.join("edited");
            fs::write(&temp, serde_json::to_vec(&entries).unwrap()).unwrap();
            fs::rename(&temp, folder.join("index.json")).unwrap();
        }
        std::thread::sleep(Duration::from_millis(50 + round % 7));
    }
}

/// Returns the holders that have acknowledged each frame, according to the journal.
fn acknowledged(session: &Path) -> BTreeMap<String, Vec<String>> {
    let journal = fs::read_to_string(session.join("frames/handouts.jsonl")).unwrap_or_default();
    let mut by: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in journal.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let event: Value = serde_json::from_str(line).unwrap();
        if event["event"] == "ack" {
            for id in event["ids"].as_array().unwrap() {
                let holder = event["holder"].as_str().unwrap().to_owned();
                by.entry(id.as_str().unwrap().to_owned()).or_default().push(holder);
            }
        }
    }
    by
}

/// Runs four agents and the editor until every frame is acknowledged and `record` has returned.
fn hand_out(sessions: &Path, record: impl FnOnce() + Send) {
    let is_recorded = AtomicBool::new(false);
    let started = Instant::now();
    let seed = seed();
    eprintln!("seed {seed}");
    let is_over = || {
        assert!(started.elapsed() < DEADLINE, "frames were not acknowledged");
        let all = || {
            let sessions = series(sessions);
            sessions.iter().all(|session| acknowledged(session).len() == jpegs(session))
        };
        is_recorded.load(Relaxed) && all()
    };
    std::thread::scope(|scope| {
        for (name, seed) in
            [("a", None), ("b", None), ("c", Some(seed)), ("d", Some(seed.wrapping_add(1)))]
        {
            let is_over = &is_over;
            scope.spawn(move || agent(sessions, name, seed, is_over));
        }
        let is_over = &is_over;
        scope.spawn(move || edit(sessions, is_over));
        record();
        is_recorded.store(true, Relaxed);
    });
}

fn jpegs(session: &Path) -> usize {
    let names = fs::read_dir(session.join("frames")).unwrap();
    names
        .filter(|name| name.as_ref().unwrap().path().extension().is_some_and(|e| e == "jpg"))
        .count()
}

/// Asserts that each frame was acknowledged by exactly one agent, that the index shows it, and that
/// the notes are kept.
fn assert_handed_out(sessions: &Path, minimum: usize) {
    let mut count = 0;
    for session in series(sessions) {
        let by = acknowledged(&session);
        for (id, holders) in &by {
            assert_eq!(holders.len(), 1, "{id} was acknowledged by {holders:?}");
        }
        let listed = frames(&session, &["--json"], None).unwrap();
        assert_eq!(listed.len(), by.len(), "{}", session.display());
        assert!(listed.iter().all(|frame| frame["sent_to_agent"] == true));
        assert!(listed.iter().all(|frame| frame["note"] == "seen"), "{listed:?}");
        count += by.len();
    }
    assert!(count >= minimum, "{count} frames");
}

#[test]
fn each_frame_is_acknowledged_by_exactly_one_of_four_agents_while_it_is_recorded_and_later() {
    let folder = tempfile::tempdir().unwrap();
    let sessions = folder.path();
    let clip = fs::read(fixture("bbb_h264_zerolatency_360p30_gop2s")).unwrap();
    hand_out(sessions, || {
        let options = ["--once", "--rotate-bytes=400K", "--scene-threshold=0.02"];
        let recorder = Recorder::start(sessions, "s", &options);
        send_bytes(&recorder.address, &clip);
        assert!(recorder.end().0.success());
    });
    // The editor may have replaced the last index by a stale one: run every program once more.
    edit_once_more(sessions);
    assert!(series(sessions).len() > 2);
    assert_handed_out(sessions, 20);

    // Once more, without a running recorder.
    for session in series(sessions) {
        let mut entries = frames(&session, &["--json"], None).unwrap();
        fs::remove_file(session.join("frames/handouts.jsonl")).unwrap();
        for entry in &mut entries {
            entry["sent_to_agent"] = json!(false);
            entry.as_object_mut().unwrap().shift_remove("session");
        }
        let text = serde_json::to_vec(&entries).unwrap();
        fs::write(session.join("frames/index.json"), text).unwrap();
    }
    hand_out(sessions, || {});
    edit_once_more(sessions);
    assert_handed_out(sessions, 20);
}

/// Makes each program write each index once: the editor adds notes to the newest entries.
fn edit_once_more(sessions: &Path) {
    let is_done = AtomicBool::new(false);
    edit(sessions, &|| is_done.swap(true, Relaxed));
}
