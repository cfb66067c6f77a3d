//! The index with other writers, and after crashes during a write.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::os::unix::fs::MetadataExt;

use super::*;
use crate::catalog::{LOCK_NAME, SystemClock};

const TWO: &str = r#"[{"id":"F0001","timestamp":0.0,"path":null,"sent_to_agent":false},
    {"id":"F0002","timestamp":1.0,"path":null,"sent_to_agent":false}]"#;

fn open(folder: &Path) -> (IndexFile, Entries) {
    let clock = Arc::new(SystemClock);
    let mut index = IndexFile::new(folder, Duration::ZERO, Duration::ZERO, clock).unwrap();
    let mut entries = Entries::default();
    index.load(&mut entries, None).unwrap();
    (index, entries)
}

fn read(folder: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(folder.join(INDEX_NAME)).unwrap()).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string();
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| name(entry).unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_a_crash_displaced_is_merged_and_our_own_unpublished_file_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join(INDEX_NAME), TWO).unwrap();
    let acknowledged = TWO.replacen("false", "true", 1);
    // A crash after the exchange: named after an inode that is not its own.
    fs::write(folder.join(".index.json.tmp-1"), &acknowledged).unwrap();
    // A crash before the exchange: named after its own inode.
    let ours = folder.join(".index.json.tmp-new");
    fs::write(&ours, TWO.replace("false", "true")).unwrap();
    let inode = fs::metadata(&ours).unwrap().ino();
    fs::rename(&ours, folder.join(format!(".index.json.tmp-{inode}"))).unwrap();

    let (mut index, mut entries) = open(folder);
    assert_eq!(index.publish(&mut entries).unwrap(), Published::Settled);
    assert_eq!(read(folder)[0]["sent_to_agent"], true);
    assert_eq!(read(folder)[1]["sent_to_agent"], false);
    assert_eq!(names(folder), [INDEX_NAME, LOCK_NAME]);
}

#[test]
fn without_an_exchange_the_index_is_still_merged_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (mut index, mut entries) = open(folder);
    index.can_exchange = false;
    assert_eq!(index.publish(&mut entries).unwrap(), Published::Settled, "there is no index yet");
    fs::write(folder.join(INDEX_NAME), TWO).unwrap();
    let (mut index, mut entries) = open(folder);
    index.can_exchange = false;
    fs::write(folder.join(INDEX_NAME), TWO.replacen("false", "true", 1)).unwrap();
    assert_eq!(index.publish(&mut entries).unwrap(), Published::Settled);
    assert_eq!(read(folder)[0]["sent_to_agent"], true);
    fs::write(folder.join(INDEX_NAME), "[{").unwrap();
    assert_eq!(index.publish(&mut entries).unwrap(), Published::Settled);
    assert_eq!(read(folder)[0]["sent_to_agent"], true);
    assert_eq!(fs::read(folder.join("index.json.corrupt-1")).unwrap(), b"[{");
}

#[test]
fn a_file_that_is_not_the_one_taken_in_comes_back_as_displaced() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join(INDEX_NAME), TWO).unwrap();
    let (mut index, mut entries) = open(folder);
    assert_eq!(index.publish(&mut entries).unwrap(), Published::Settled);
    let (temp, _) = index.write_temp(&entries).unwrap();
    let old = index.known;
    assert!(old.is_some());
    // Between our check of the index and the exchange:
    let changed = folder.join("news");
    fs::write(&changed, TWO.replacen("false", "true", 1)).unwrap();
    fs::rename(&changed, folder.join(INDEX_NAME)).unwrap();
    let swapped = index.swap(&temp, old, &IndexState::Known).unwrap();
    assert!(matches!(swapped, Swapped::Displaced));
    assert!(index.merge_displaced_file(temp, &mut entries).unwrap());
    assert_eq!(index.publish(&mut entries).unwrap(), Published::Settled);
    assert_eq!(read(folder)[0]["sent_to_agent"], true);
    assert_eq!(names(folder), [INDEX_NAME, LOCK_NAME]);
}

/// Returns the index of `folder`, with `note` added.
fn with_note(folder: &Path, note: u64) -> String {
    let mut items = read(folder);
    items[0]["note"] = note.into();
    serde_json::to_string(&items).unwrap()
}

fn rename_over(folder: &Path, text: &str) {
    fs::write(folder.join("news"), text).unwrap();
    fs::rename(folder.join("news"), folder.join(INDEX_NAME)).unwrap();
}

/// Simulates a crash right after an exchange; `meanwhile` runs just before the exchange.
fn crash_after_exchange(folder: &Path, meanwhile: impl Fn()) {
    let (mut index, mut entries) = open(folder);
    assert_eq!(index.publish(&mut entries).unwrap(), Published::Settled);
    let (temp, _) = index.write_temp(&entries).unwrap();
    meanwhile();
    index.swap(&temp, index.known, &IndexState::Known).unwrap();
    assert!(temp.exists());
}

#[test]
fn what_an_agent_writes_after_a_crash_is_not_undone_by_what_the_crash_left() {
    use std::os::unix::fs::PermissionsExt;
    for in_place in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::write(folder.join(INDEX_NAME), TWO).unwrap();
        rename_over(folder, &with_note(folder, 1));
        crash_after_exchange(folder, || ());
        let text = with_note(folder, 2);
        if in_place {
            fs::write(folder.join(INDEX_NAME), text).unwrap();
        } else {
            rename_over(folder, &text);
        }
        // Changing the inode does not change the content or its modification time.
        let mode = fs::Permissions::from_mode(0o640);
        fs::set_permissions(folder.join(INDEX_NAME), mode).unwrap();
        // Wait until the stamp is reliable: until then the index is read again anyway,
        // and wins.
        let written = fs::metadata(folder.join(INDEX_NAME)).unwrap();
        while Stamp::of_read(&written, &written).is_none() {
            std::thread::yield_now();
        }
        let (mut index, mut entries) = open(folder);
        assert_eq!(index.publish(&mut entries).unwrap(), Published::Settled);
        assert_eq!(read(folder)[0]["note"], 2, "in place: {in_place}");
        assert_eq!(names(folder), [INDEX_NAME, LOCK_NAME]);
    }
}

#[test]
fn what_a_crash_left_does_not_undo_what_was_mended_by_the_copy() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let whole = TWO.replace("null,", r#"null,"score":0.5,"#);
    let copy = folder.join(".index.synced");
    fs::write(&copy, synced_copy::seal(|out| out.extend(whole.as_bytes()))).unwrap();
    fs::write(folder.join(INDEX_NAME), whole.replacen("0.5", "0.9", 1)).unwrap();
    let left_over = whole.replacen("0.5", "0.8", 1).replacen('}', r#","note":1}"#, 1);
    fs::write(folder.join(".index.json.tmp-1"), left_over).unwrap();

    let clock = Arc::new(SystemClock);
    let mut index = IndexFile::new(folder, Duration::ZERO, Duration::ZERO, clock).unwrap();
    let mut entries = Entries::default();
    index.load(&mut entries, Some(&copy)).unwrap();
    let mut written = Vec::new();
    entries.write_to(&mut written).unwrap();
    let items: serde_json::Value = serde_json::from_slice(&written).unwrap();
    assert_eq!((&items[0]["score"], &items[0]["note"]), (&0.5.into(), &1.into()));
}

#[test]
fn what_the_last_exchange_before_a_crash_displaced_is_newer_than_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join(INDEX_NAME), TWO).unwrap();
    rename_over(folder, &with_note(folder, 1));
    crash_after_exchange(folder, || rename_over(folder, &with_note(folder, 2)));
    assert_eq!(read(folder)[0]["note"], 1, "the index was made earlier");
    let (mut index, mut entries) = open(folder);
    assert_eq!(index.publish(&mut entries).unwrap(), Published::Settled);
    assert_eq!(read(folder)[0]["note"], 2);
    assert_eq!(names(folder), [INDEX_NAME, LOCK_NAME]);
}

#[test]
fn a_file_made_from_the_index_that_lacked_what_it_had_displaced_takes_nothing_back() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join(INDEX_NAME), TWO).unwrap();
    let (mut index, mut entries) = open(folder);
    let note = r#",{"id":"N1"}]"#;
    let changed = TWO.replacen("false", r#"true,"note":1"#, 1).replace(']', note);
    fs::write(folder.join(".index.json.tmp-1"), changed).unwrap();
    let displaced = folder.join(".index.json.tmp-1");
    assert!(index.merge_displaced_file(displaced, &mut entries).unwrap());
    assert_eq!(index.publish(&mut entries).unwrap(), Published::Settled);

    // Read before the second write, renamed over the index after it.
    fs::write(folder.join(INDEX_NAME), TWO.replace("1.0,", r#"1.0,"other":2,"#)).unwrap();
    assert_eq!(index.publish(&mut entries).unwrap(), Published::Settled);
    let items = read(folder);
    assert_eq!((&items[0]["sent_to_agent"], &items[0]["note"]), (&true.into(), &1.into()));
    assert_eq!((&items[1]["other"], &items[2]["id"]), (&2.into(), &"N1".into()));
}

#[test]
fn a_lock_file_that_was_replaced_is_locked_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (mut index, mut entries) = open(folder.path());
    disk::remove(&folder.path().join(LOCK_NAME)).unwrap();
    let held = File::create(folder.path().join(LOCK_NAME)).unwrap();
    held.lock().unwrap();
    assert_eq!(index.publish(&mut entries).unwrap(), Published::Locked);
    assert!(!folder.path().join(INDEX_NAME).exists());
    held.unlock().unwrap();
    assert_eq!(index.publish(&mut entries).unwrap(), Published::Settled);
    assert!(folder.path().join(INDEX_NAME).exists());
}
