//! Tests leases and acknowledgements by several programs at once.

use std::io::Write;

use serde_json::json;

use super::*;
use crate::catalog::handouts::JOURNAL_NAME;
use crate::catalog::{Selection, SharedCatalog, Since};

const LONG: Duration = Duration::from_secs(3600);

/// Returns a folder with `count` frames, and the catalog of their recorder.
fn recorded(count: u64) -> (tempfile::TempDir, Catalog) {
    let folder = tempfile::tempdir().unwrap();
    let mut catalog = Catalog::open(options(folder.path())).unwrap();
    for n in 0..count {
        catalog.keep(&frame(n)).unwrap();
    }
    catalog.flush().unwrap();
    (folder, catalog)
}

fn shared(folder: &tempfile::TempDir) -> SharedCatalog {
    SharedCatalog::open(folder.path(), &folder.path().join(".copy"), LONG).unwrap()
}

fn lease(catalog: &SharedCatalog, length: Duration, holder: &str, limit: usize) -> Vec<String> {
    let selection = Selection { limit: Some(limit), ..Selection::default() };
    let leased = catalog.lease(&selection, &[], length, Some(holder), true).unwrap();
    leased.into_iter().map(|frame| frame.entry.id).collect()
}

fn ids_of(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

fn sent(folder: &Path) -> Vec<bool> {
    index(folder).iter().map(|item| item["sent_to_agent"].as_bool().unwrap()).collect()
}

fn journal(folder: &tempfile::TempDir) -> String {
    fs::read_to_string(folder.path().join(JOURNAL_NAME)).unwrap()
}

#[test]
fn a_leased_frame_is_handed_to_nobody_else_and_comes_again_when_its_lease_has_ended() {
    let (folder, _recorder) = recorded(3);
    let catalog = shared(&folder);
    assert_eq!(lease(&catalog, LONG, "a", 1), ["F0001"]);
    assert_eq!(lease(&catalog, Duration::from_nanos(1), "b", 1), ["F0002"]);
    assert_eq!(lease(&catalog, LONG, "c", 9), ["F0002", "F0003"], "b's lease has ended");
    assert!(lease(&catalog, LONG, "d", 9).is_empty());
    let shown = index(folder.path());
    assert_eq!(shown[1]["lease_holder"], "c");
    assert!(shown[1]["leased_until"].as_str().unwrap().ends_with('Z'));
    catalog.release(&ids_of(&["F0002"]), Some("c"), true).unwrap();
    assert!(index(folder.path())[1].get("leased_until").is_none());
    assert_eq!(lease(&catalog, LONG, "d", 9), ["F0002"]);
}

#[test]
fn what_is_acknowledged_is_sent_for_good_also_when_it_is_acknowledged_again() {
    let (folder, mut recorder) = recorded(2);
    let catalog = shared(&folder);
    lease(&catalog, LONG, "a", 1);
    for _ in 0..2 {
        catalog.acknowledge(&ids_of(&["F0001"]), Some("a"), true).unwrap();
    }
    catalog.acknowledge(&ids_of(&["F0001"]), None, true).unwrap();
    assert_eq!(journal(&folder).lines().count(), 2, "{}", journal(&folder));
    assert_eq!(sent(folder.path()), [true, false]);
    assert!(index(folder.path())[0].get("leased_until").is_none());
    // The recorder writes the index again.
    recorder.poll().unwrap();
    recorder.keep(&frame(2)).unwrap();
    recorder.flush().unwrap();
    assert_eq!(sent(folder.path()), [true, false, false]);
    assert_eq!(lease(&catalog, LONG, "a", 1), ["F0002"]);
}

#[test]
fn an_unknown_id_changes_nothing_for_any_frame() {
    let (folder, _recorder) = recorded(2);
    let catalog = shared(&folder);
    for unknown in ["F0009", "f0001", "1", ""] {
        let ids = ids_of(&["F0001", unknown]);
        let error = catalog.acknowledge(&ids, None, true).unwrap_err().to_string();
        assert!(error.contains(unknown), "{error}");
        assert!(catalog.release(&ids, None, true).is_err());
        assert!(catalog.renew(&ids, None, None, true).is_err());
    }
    assert_eq!(sent(folder.path()), [false, false]);
    assert!(!folder.path().join(JOURNAL_NAME).exists());
}

#[test]
fn a_holder_changes_only_what_it_has_leased_now() {
    let (folder, _recorder) = recorded(4);
    let catalog = shared(&folder);
    assert_eq!(lease(&catalog, LONG, "a", 1), ["F0001"]);
    assert_eq!(lease(&catalog, Duration::from_nanos(1), "a", 1), ["F0002"]);
    assert_eq!(lease(&catalog, LONG, "b", 1), ["F0002"], "handed to another");
    assert_eq!(lease(&catalog, Duration::from_nanos(1), "a", 1), ["F0003"], "ended");
    catalog.acknowledge(&ids_of(&["F0004"]), Some("b"), true).unwrap_err();
    let before = journal(&folder);
    for (id, why) in
        [("F0002", "leased to b"), ("F0003", "has ended"), ("F0004", "not leased to a")]
    {
        let ids = ids_of(&["F0001", id]);
        for result in [
            catalog.acknowledge(&ids, Some("a"), true),
            catalog.release(&ids, Some("a"), true),
            catalog.renew(&ids, Some("a"), None, true),
        ] {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(id) && error.contains(why), "{error}");
        }
    }
    assert_eq!(journal(&folder), before);
    catalog.renew(&ids_of(&["F0001"]), Some("a"), Some(LONG * 2), true).unwrap();
    catalog.acknowledge(&ids_of(&["F0001"]), Some("a"), true).unwrap();
    let error = catalog.acknowledge(&ids_of(&["F0001"]), Some("b"), true).unwrap_err();
    assert!(error.to_string().contains("acknowledged by a"), "{error}");
    // Without a holder, any frame.
    catalog.acknowledge(&ids_of(&["F0002", "F0003", "F0004"]), None, true).unwrap();
    assert_eq!(sent(folder.path()), [true; 4]);
}

#[test]
fn a_renewed_lease_lasts_as_long_as_was_asked_first() {
    let (folder, _recorder) = recorded(1);
    let catalog = shared(&folder);
    lease(&catalog, LONG, "a", 1);
    let until = || index(folder.path())[0]["leased_until"].as_str().unwrap().to_owned();
    let first = until();
    catalog.renew(&ids_of(&["F0001"]), None, None, true).unwrap();
    let second = until();
    assert!(second >= first);
    assert_eq!(index(folder.path())[0]["lease_holder"], "a");
    catalog.renew(&ids_of(&["F0001"]), None, Some(LONG * 10), true).unwrap();
    assert!(until() > second);
    catalog.release(&ids_of(&["F0001"]), None, true).unwrap();
    assert!(catalog.renew(&ids_of(&["F0001"]), None, None, true).is_err(), "nothing to renew");
}

#[test]
fn only_frames_with_a_picture_of_their_own_are_leased() {
    let (folder, _recorder) = recorded(3);
    fs::remove_file(folder.path().join("F0001.jpg")).unwrap();
    fs::rename(folder.path().join("F0002.jpg"), folder.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", folder.path().join("F0002.jpg")).unwrap();
    assert_eq!(lease(&shared(&folder), LONG, "a", 9), ["F0003"]);
}

#[test]
fn a_selection_names_frames_by_id_or_by_time() {
    let (folder, _recorder) = recorded(4);
    let catalog = shared(&folder);
    catalog.acknowledge(&ids_of(&["F0003"]), None, true).unwrap();
    let listed = |selection: Selection| -> Vec<u64> {
        catalog.list(&selection, &[], true).unwrap().iter().map(|frame| frame.number).collect()
    };
    let all = Selection::default();
    assert_eq!(listed(all), [1, 2, 3, 4]);
    assert_eq!(listed(Selection { unsent: true, ..all }), [1, 2, 4]);
    assert_eq!(listed(Selection { since: Some(Since::Frame(2)), ..all }), [3, 4]);
    assert_eq!(listed(Selection { since: Some(Since::Seconds(1.0)), ..all }), [2, 3, 4]);
    let first = Selection { since: Some(Since::Seconds(0.5)), limit: Some(1), ..all };
    assert_eq!(listed(Selection { unsent: true, ..first }), [2]);
}

#[test]
fn a_program_that_writes_back_a_stale_index_undoes_nothing_recorder_or_not() {
    for is_recorded in [true, false] {
        let (folder, mut recorder) = recorded(3);
        let mut stale = index(folder.path());
        stale[1]["note"] = json!("a dog");
        stale[2]["sent_to_agent"] = json!(true);
        let catalog = shared(&folder);
        lease(&catalog, LONG, "a", 2);
        catalog.acknowledge(&ids_of(&["F0001"]), Some("a"), is_recorded).unwrap();
        recorder.poll().unwrap();
        rename_over(folder.path(), &stale);
        if is_recorded {
            // Only the file shows the lease.
            recorder.poll().unwrap();
        } else {
            drop(recorder);
        }
        let listed = catalog.list(&Selection::default(), &[], true).unwrap();
        let sent: Vec<_> = listed.iter().map(|frame| frame.entry.sent_to_agent).collect();
        assert_eq!(sent, [true, false, true]);
        assert_eq!(listed[1].entry.lease_holder.as_deref(), Some("a"));
        assert_eq!(listed[1].entry.other["note"], "a dog");
        if is_recorded {
            let shown = index(folder.path());
            assert_eq!(shown[0]["sent_to_agent"], true, "it is written again at once");
            assert_eq!(shown[1]["lease_holder"], "a");
            assert_eq!(shown[1]["note"], "a dog");
        }
        // The next lease or release writes the index from the journal.
        assert!(lease(&catalog, LONG, "b", 9).is_empty());
        catalog.release(&ids_of(&["F0002"]), Some("a"), false).unwrap();
        assert_eq!(index(folder.path())[0]["sent_to_agent"], true);
        assert_eq!(index(folder.path())[1]["note"], "a dog");
    }
}

#[test]
fn a_frame_that_was_handed_out_is_known_also_while_a_stale_index_lacks_it() {
    let (folder, _recorder) = recorded(2);
    let catalog = shared(&folder);
    lease(&catalog, LONG, "a", 2);
    rename_over(folder.path(), &index(folder.path())[..1]);
    catalog.acknowledge(&ids_of(&["F0002"]), Some("a"), true).unwrap();
}

#[test]
fn a_torn_line_is_ignored_and_cut_off_by_the_next_one() {
    let (folder, _recorder) = recorded(2);
    let catalog = shared(&folder);
    catalog.acknowledge(&ids_of(&["F0001"]), None, true).unwrap();
    let path = folder.path().join(JOURNAL_NAME);
    let whole = journal(&folder);
    fs::File::options().append(true).open(&path).unwrap().write_all(b"{\"event\":\"ack\"").unwrap();
    assert!(!catalog.list(&Selection::default(), &[], true).unwrap()[1].entry.sent_to_agent);
    catalog.acknowledge(&ids_of(&["F0002"]), None, true).unwrap();
    assert!(journal(&folder).starts_with(&whole));
    assert_eq!(journal(&folder).lines().count(), 2);
    assert_eq!(sent(folder.path()), [true, true]);
}

#[test]
fn a_line_that_is_no_event_is_passed_over_and_kept_when_the_journal_is_compacted() {
    let (folder, _recorder) = recorded(1);
    let catalog = shared(&folder);
    fs::write(folder.path().join(JOURNAL_NAME), "remember the milk\n").unwrap();
    for _ in 0..100 {
        lease(&catalog, LONG, "someone with a name", 1);
        catalog.release(&ids_of(&["F0001"]), None, true).unwrap();
    }
    lease(&catalog, LONG, "a", 1);
    assert!(journal(&folder).len() < 10_000, "{} bytes", journal(&folder).len());
    let kept = fs::read_to_string(folder.path().join("handouts.jsonl.set-aside-1")).unwrap();
    assert!(kept.starts_with("remember the milk\n"));
    assert!(!folder.path().join("handouts.jsonl.set-aside-2").exists());
    assert_eq!(index(folder.path())[0]["lease_holder"], "a");
}

#[test]
fn a_link_in_place_of_the_journal_is_not_followed() {
    let (folder, mut recorder) = recorded(1);
    let outside = tempfile::NamedTempFile::new().unwrap();
    std::os::unix::fs::symlink(outside.path(), folder.path().join(JOURNAL_NAME)).unwrap();
    let catalog = shared(&folder);
    let error = catalog.acknowledge(&ids_of(&["F0001"]), None, true).unwrap_err().to_string();
    assert!(error.contains(JOURNAL_NAME), "{error}");
    assert_eq!(fs::read(outside.path()).unwrap(), b"");
    // The recorder continues.
    recorder.keep(&frame(1)).unwrap();
    assert_eq!(ids(folder.path()), ["F0001", "F0002"]);
}

#[test]
fn what_a_recorder_finds_at_its_start_shows_the_journal() {
    let (folder, recorder) = recorded(2);
    drop(recorder);
    let stale = index(folder.path());
    shared(&folder).acknowledge(&ids_of(&["F0002"]), None, false).unwrap();
    rename_over(folder.path(), &stale);
    let recorder = Catalog::open(CatalogOptions { next_ordinal: 2, ..options(folder.path()) });
    let sent: Vec<_> = recorder.unwrap().entries().map(|entry| entry.sent_to_agent).collect();
    assert_eq!(sent, [false, true]);
}

#[test]
fn entries_that_another_program_has_deleted_are_handed_out_with_no_recorder_running() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join(".copy");
    let options = CatalogOptions { index_copy: Some(copy), ..options(folder.path()) };
    let mut recorder = Catalog::open(options).unwrap();
    for n in 0..3 {
        recorder.keep(&frame(n)).unwrap();
    }
    recorder.sync().unwrap();
    drop(recorder);
    let mut stale = index(folder.path())[..1].to_vec();
    stale[0]["note"] = json!("a dog");
    rename_over(folder.path(), &stale);
    let catalog = shared(&folder);
    assert_eq!(catalog.list(&Selection::default(), &[], true).unwrap().len(), 1);
    let listed = catalog.list(&Selection::default(), &[], false).unwrap();
    assert_eq!(listed.iter().map(|frame| frame.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(ids(folder.path()), ["F0001"], "listing writes nothing");
    let leased = catalog.lease(&Selection::default(), &[], LONG, Some("a"), false).unwrap();
    assert_eq!(leased.len(), 3);
    assert_eq!(ids(folder.path()), ["F0001", "F0002", "F0003"]);
    assert_eq!(index(folder.path())[0]["note"], "a dog");
}

#[test]
fn a_frame_that_the_index_does_not_name_yet_is_leased_once_and_not_again_when_it_is_acknowledged() {
    let (folder, _recorder) = recorded(2);
    let catalog = shared(&folder);
    let reported = catalog.list(&Selection::default(), &[], true).unwrap()[1..].to_vec();
    rename_over(folder.path(), &index(folder.path())[..1]);
    let lease = |holder| {
        let all = Selection::default();
        let leased = catalog.lease(&all, &reported, LONG, Some(holder), true).unwrap();
        leased.into_iter().map(|frame| frame.entry.id).collect::<Vec<_>>()
    };
    assert_eq!(lease("a"), ["F0001", "F0002"]);
    assert!(lease("b").is_empty());
    catalog.acknowledge(&ids_of(&["F0002"]), Some("a"), true).unwrap();
    assert!(lease("b").is_empty(), "it was delivered");
    let listed = catalog.list(&Selection::default(), &reported, true).unwrap();
    assert!(listed[1].entry.sent_to_agent, "{listed:?}");
}

#[test]
fn an_acknowledgement_that_is_repeated_repairs_a_stale_index() {
    let (folder, recorder) = recorded(1);
    drop(recorder);
    let stale = index(folder.path());
    let catalog = shared(&folder);
    catalog.acknowledge(&ids_of(&["F0001"]), None, false).unwrap();
    rename_over(folder.path(), &stale);
    catalog.acknowledge(&ids_of(&["F0001"]), None, false).unwrap();
    assert_eq!(sent(folder.path()), [true]);
    assert_eq!(journal(&folder).lines().count(), 1);
}
