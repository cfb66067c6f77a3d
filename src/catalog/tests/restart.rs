//! A catalog opened on the files of an earlier run.

use super::*;
use serde_json::json;

fn fill(folder: &Path, frames: std::ops::Range<u64>) {
    let mut catalog = Catalog::open(options(folder)).unwrap();
    for n in frames {
        catalog.keep(&frame(n)).unwrap();
    }
}

fn reopen(folder: &Path, next_ordinal: u64) -> Catalog {
    Catalog::open(CatalogOptions { next_ordinal, ..options(folder) }).unwrap()
}

fn quarantined_ids(folder: &Path) -> Vec<String> {
    let text = fs::read(folder.join(QUARANTINE_NAME)).unwrap();
    let items: Vec<Value> = serde_json::from_slice(&text).unwrap();
    items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn frames_found_again_keep_their_entries_and_none_is_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fill(folder, 0..5);
    let mut items = index(folder);
    items[3]["sent_to_agent"] = json!(true);
    items[4]["caption"] = json!("a door");
    rename_over(folder, &items);
    fs::remove_file(folder.join("F0005.jpg")).unwrap();
    let other = JfifPicture { width: 1, height: 1, planes: [(); 3].map(|()| vec![9]) };
    let other = frames::encode_jpeg(&other, 90).unwrap();
    fs::write(folder.join("F0004.jpg"), &other).unwrap();

    let mut catalog = reopen(folder, 2);
    for n in 2..7 {
        let mut again = frame(n);
        assert_eq!(catalog.is_known(&again.verdict), n == 2 || n == 3);
        again.captured_at = None;
        let entry = catalog.keep(&again).unwrap();
        assert_eq!(entry.id, frames::frame_id(n + 1));
        assert_eq!(entry.sent_to_agent, n == 3);
    }
    catalog.quarantine_unfound().unwrap();
    catalog.flush().unwrap();
    assert_eq!(catalog.kept(), 7);
    assert_eq!(&index(folder)[..5], &items[..], "changes and capture times stay");
    assert_eq!(index(folder).len(), 7);
    assert!(frames::is_whole_jpeg(&folder.join("F0005.jpg")), "it was missing");
    assert!(fs::read(folder.join("F0004.jpg")).unwrap() == other, "it was there");
    assert!(!folder.join(QUARANTINE_NAME).exists());
}

#[test]
fn a_jpeg_that_a_power_loss_emptied_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 0..1);
    fs::write(folder.path().join("F0001.jpg"), "").unwrap();
    reopen(folder.path(), 0).keep(&frame(0)).unwrap();
    assert!(frames::is_whole_jpeg(&folder.path().join("F0001.jpg")));
}

#[test]
fn entries_of_another_recording_are_set_aside_and_their_ids_not_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fill(folder, 0..4);
    let mut catalog = reopen(folder, 2);
    // The third frame now differs; the fourth is unchanged.
    let other = frame_at(ByteOffset(2 * 18_800 + 188), Ticks(2 * 90_000));
    assert_eq!(catalog.keep(&other).unwrap().id, "F0005");
    assert_eq!(quarantined_ids(folder), ["F0003"]);
    assert_eq!(catalog.keep(&frame(3)).unwrap().id, "F0004");
    assert_eq!(ids(folder), ["F0001", "F0002", "F0005", "F0004"], "in presentation order");
    drop(catalog);

    // Killed while the checkpoint still covers two frames: the same frames get the same
    // ids.
    let mut catalog = reopen(folder, 2);
    assert_eq!(catalog.keep(&other).unwrap().id, "F0005");
    assert_eq!(catalog.keep(&frame(3)).unwrap().id, "F0004");
    assert_eq!(catalog.keep(&frame(4)).unwrap().id, "F0006");
    drop(catalog);
    let mut catalog = reopen(folder, 5);
    assert_eq!(catalog.keep(&frame(5)).unwrap().id, "F0007");
    assert_eq!(quarantined_ids(folder), ["F0003"]);
}

#[test]
fn entries_past_the_end_of_the_recording_are_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fill(folder, 0..4);
    let mut catalog = reopen(folder, 1);
    assert_eq!(catalog.quarantine_past(ByteOffset(2 * 18_800)).unwrap(), 2);
    catalog.keep(&frame(1)).unwrap();
    assert_eq!(ids(folder), ["F0001", "F0002"]);
    assert_eq!(quarantined_ids(folder), ["F0003", "F0004"]);
    assert_eq!(catalog.keep(&frame(2)).unwrap().id, "F0005");
    drop(catalog);
    assert_eq!(reopen(folder, 0).keep(&frame(0)).unwrap().id, "F0001");
}

#[test]
fn a_crash_between_setting_aside_and_writing_the_index_leaves_no_entry_in_both() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fill(folder, 0..3);
    let before = index(folder);
    reopen(folder, 0).quarantine_past(ByteOffset(18_800)).unwrap();
    rename_over(folder, &before);
    let mut catalog = reopen(folder, 1);
    assert_eq!(ids(folder), ["F0001"]);
    assert_eq!(catalog.keep(&frame(1)).unwrap().id, "F0004");
}

#[test]
fn another_file_scanned_into_the_same_folder_leaves_only_its_own_frames() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fill(folder, 0..3);
    let mut catalog = reopen(folder, 0);
    for n in 0..2 {
        catalog.keep(&frame_at(ByteOffset(n * 376 + 188), Ticks(n as i64))).unwrap();
    }
    assert_eq!(catalog.quarantine_unfound().unwrap(), 2);
    catalog.flush().unwrap();
    assert_eq!(ids(folder), ["F0004", "F0005"]);
    assert_eq!(quarantined_ids(folder), ["F0001", "F0002", "F0003"]);
}

#[test]
fn entries_of_the_old_system_are_taken_over_and_completed() {
    let folder = tempfile::tempdir().unwrap();
    let old = r#"[{"id":"F0001","timestamp":0.0,"path":"/gone/F0001.jpg","sent_to_agent":true},
                  {"id":"F0002","timestamp":3.367,"path":null,"sent_to_agent":false}]"#;
    fs::write(folder.path().join(INDEX_NAME), old).unwrap();
    let mut catalog = reopen(folder.path(), 0);
    catalog.keep(&frame_at(ByteOffset(0), Ticks(0))).unwrap();
    catalog.keep(&frame_at(ByteOffset(376), Ticks(303_000))).unwrap();
    let items = index(folder.path());
    assert_eq!(ids(folder.path()), ["F0001", "F0002"]);
    assert_eq!((&items[0]["sent_to_agent"], &items[0]["reason"]), (&json!(true), &json!("first")));
    assert_eq!(items[0]["path"], json!(folder.path().join("F0001.jpg")));
    assert_eq!((&items[1]["offset"], &items[1]["timestamp"]), (&json!(376), &json!(3.367)));
}

#[test]
fn an_index_shorter_than_the_checkpoint_gives_no_id_twice() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), 0..2);
    let mut catalog = reopen(folder.path(), 7);
    assert_eq!(catalog.keep(&frame(9)).unwrap().id, "F0008");
    assert_eq!(catalog.kept(), 3);
}

#[test]
fn left_over_temporary_files_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    for name in [".F0001.jpg.tmp-77", ".index.json.tmp-new", ".index.set-aside.json.tmp-9"] {
        fs::write(folder.path().join(name), "half").unwrap();
    }
    drop(reopen(folder.path(), 0));
    assert_eq!(names(folder.path()), [INDEX_NAME, LOCK_NAME]);
}
