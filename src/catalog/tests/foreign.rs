//! Tests changes of the index by other programs.

use super::*;
use serde_json::json;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Returns a catalog with two frames.
fn two(folder: &Path) -> Catalog {
    let mut catalog = Catalog::open(options(folder)).unwrap();
    catalog.keep(&frame(0)).unwrap();
    catalog.keep(&frame(1)).unwrap();
    catalog
}

fn acknowledged(folder: &Path) -> Vec<Value> {
    let mut items = index(folder);
    items[0]["sent_to_agent"] = json!(true);
    items
}

#[test]
fn an_acknowledgement_renamed_over_the_index_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut catalog = two(folder.path());
    rename_over(folder.path(), &acknowledged(folder.path()));
    catalog.keep(&frame(2)).unwrap();
    let items = index(folder.path());
    assert_eq!(items.len(), 3);
    assert_eq!(items[0]["sent_to_agent"], true);
    assert_eq!(items[1]["sent_to_agent"], false);
    assert_eq!(catalog.entries().filter(|entry| entry.sent_to_agent).count(), 1);
}

#[test]
fn an_acknowledgement_written_in_place_is_kept_even_if_no_byte_was_added() {
    let folder = tempfile::tempdir().unwrap();
    let mut catalog = two(folder.path());
    let path = folder.path().join(INDEX_NAME);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("false", "true ", 1)).unwrap();
    catalog.keep(&frame(2)).unwrap();
    assert_eq!(index(folder.path())[0]["sent_to_agent"], true);
}

#[test]
fn an_acknowledgement_can_be_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut catalog = two(folder.path());
    rename_over(folder.path(), &acknowledged(folder.path()));
    catalog.keep(&frame(2)).unwrap();
    let mut items = index(folder.path());
    items[0]["sent_to_agent"] = json!(false);
    rename_over(folder.path(), &items);
    catalog.keep(&frame(3)).unwrap();
    assert_eq!(index(folder.path())[0]["sent_to_agent"], false);
}

#[test]
fn a_file_made_from_an_older_state_takes_no_acknowledgement_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut catalog = two(folder.path());
    let mut older = index(folder.path());
    older[1]["note"] = json!("dark");
    rename_over(folder.path(), &acknowledged(folder.path()));
    catalog.keep(&frame(2)).unwrap();
    rename_over(folder.path(), &older);
    catalog.keep(&frame(3)).unwrap();
    let items = index(folder.path());
    assert_eq!(items.len(), 4);
    assert_eq!(items[0]["sent_to_agent"], true);
    assert_eq!(items[1]["note"], "dark");
}

#[test]
fn foreign_keys_keep_their_order_and_every_digit() {
    let folder = tempfile::tempdir().unwrap();
    let mut catalog = two(folder.path());
    let mut items = index(folder.path());
    for key in ["zeta", "alpha", "mid"] {
        items[1][key] = json!({"y": 0.1 + 0.2, "x": [1, null]});
    }
    rename_over(folder.path(), &items);
    catalog.keep(&frame(2)).unwrap();
    drop(catalog);
    let catalog = Catalog::open(options(folder.path())).unwrap();
    drop(catalog);
    let after = index(folder.path());
    assert_eq!(after[1], items[1]);
    let keys = |item: &Value| item.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&after[1]), keys(&items[1]));
    assert!(
        fs::read_to_string(folder.path().join(INDEX_NAME)).unwrap().contains("0.30000000000000004")
    );
}

#[test]
fn a_deleted_entry_comes_back_and_an_entry_of_another_stays_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut catalog = two(folder.path());
    let mut items = index(folder.path());
    let note = json!({"id": "N1", "text": "between"});
    items.insert(1, note.clone());
    rename_over(folder.path(), &items);
    catalog.keep(&frame(2)).unwrap();
    assert_eq!(ids(folder.path()), ["F0001", "N1", "F0002", "F0003"]);

    rename_over(folder.path(), &[note]);
    // This must not wait for the next frame.
    catalog.poll().unwrap();
    let mut found = ids(folder.path());
    found.sort();
    assert_eq!(found, ["F0001", "F0002", "F0003", "N1"]);

    fs::remove_file(folder.path().join(INDEX_NAME)).unwrap();
    catalog.flush().unwrap();
    assert_eq!(index(folder.path()).len(), 4);
}

#[test]
fn an_id_that_another_program_took_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut catalog = two(folder.path());
    let mut items = index(folder.path());
    items.push(json!({"id": "F0003", "by": "hand"}));
    rename_over(folder.path(), &items);
    catalog.poll().unwrap();
    assert_eq!(catalog.keep(&frame(2)).unwrap().id, "F0004");
    let mut found = ids(folder.path());
    found.sort();
    assert_eq!(found, ["F0001", "F0002", "F0003", "F0004"]);
}

#[test]
fn a_half_written_file_that_becomes_whole_within_the_grace_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut catalog =
        Catalog::open_with(options(folder.path()), clock.clone(), CORRUPT_GRACE).unwrap();
    catalog.keep(&frame(0)).unwrap();
    let path = folder.path().join(INDEX_NAME);
    let whole = fs::read_to_string(&path).unwrap().replacen("false", "true", 1);
    let (first, rest) = whole.split_at(whole.len() / 2);
    let rest = rest.to_owned();
    let mut file = File::create(&path).unwrap();
    file.write_all(first.as_bytes()).unwrap();
    catalog.poll().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), first, "polling leaves it alone");

    let waits = AtomicUsize::new(0);
    *clock.on_wait.lock().unwrap() = Some(Box::new(move || {
        if waits.fetch_add(1, Ordering::Relaxed) == 30 {
            file.write_all(rest.as_bytes()).unwrap();
        }
    }));
    catalog.keep(&frame(1)).unwrap();
    let items = index(folder.path());
    assert_eq!(items.len(), 2);
    assert_eq!(items[0]["sent_to_agent"], true);
    assert!(!folder.path().join("index.json.corrupt-1").exists());
}

#[test]
fn a_file_that_stays_half_written_is_set_aside_and_the_index_written_from_memory() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let mut catalog =
        Catalog::open_with(options(folder.path()), clock.clone(), CORRUPT_GRACE).unwrap();
    catalog.keep(&frame(0)).unwrap();
    for (round, garbage) in ["[{\"id\": \"F0", "{}", ""].iter().enumerate() {
        fs::write(folder.path().join(INDEX_NAME), garbage).unwrap();
        let started = clock.now();
        catalog.keep(&frame(round as u64 + 1)).unwrap();
        assert!(clock.now() - started >= CORRUPT_GRACE);
        assert_eq!(index(folder.path()).len(), round + 2);
        let quarantined = folder.path().join(format!("index.json.corrupt-{}", round + 1));
        assert_eq!(fs::read_to_string(quarantined).unwrap(), *garbage);
    }
}

#[test]
fn no_acknowledgement_under_the_lock_is_lost_while_frames_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut catalog = Catalog::open(options(folder)).unwrap();
    let acknowledged = Mutex::new(std::collections::BTreeSet::new());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                locked(folder, || {
                    let mut items = index(folder);
                    for item in items.iter_mut().filter(|item| item["sent_to_agent"] == false) {
                        item["sent_to_agent"] = json!(true);
                        assert!(
                            acknowledged.lock().unwrap().insert(item["id"].to_string()),
                            "lost"
                        );
                    }
                    // In place, like a careless editor.
                    fs::write(folder.join(INDEX_NAME), serde_json::to_vec(&items).unwrap())
                        .unwrap();
                });
            }
        });
        for n in 0..200 {
            catalog.keep(&frame(n)).unwrap();
        }
        stop.store(true, Ordering::Release);
    });
    catalog.flush().unwrap();
    let sent = index(folder).iter().filter(|item| item["sent_to_agent"] == true).count();
    assert_eq!(sent, acknowledged.lock().unwrap().len());
    assert_eq!(index(folder).len(), 200);
}

#[test]
fn no_file_renamed_over_the_index_without_the_lock_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut catalog = Catalog::open(options(folder)).unwrap();
    catalog.keep(&frame(0)).unwrap();
    let stop = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| {
        let agent = scope.spawn(|| {
            let mut sent = std::collections::BTreeSet::new();
            while !stop.load(Ordering::Acquire) {
                // Outdated by the time it is renamed, and one frame at a time.
                let mut items = index(folder);
                let is_new = |item: &&mut Value| !sent.contains(item["id"].as_str().unwrap());
                let Some(item) = items.iter_mut().find(is_new) else { continue };
                item["sent_to_agent"] = json!(true);
                item["note"] = item["id"].clone();
                sent.insert(item["id"].as_str().unwrap().to_owned());
                rename_over(folder, &items);
            }
            sent
        });
        for n in 1..200 {
            catalog.keep(&frame(n)).unwrap();
        }
        stop.store(true, Ordering::Release);
        agent.join().unwrap()
    });
    catalog.flush().unwrap();
    let items = index(folder);
    assert_eq!(items.len(), 200);
    for item in items {
        let is_sent = sent.contains(item["id"].as_str().unwrap());
        assert_eq!(item["sent_to_agent"], is_sent, "{item}");
        assert_eq!(item.get("note"), is_sent.then(|| &item["id"]), "{item}");
    }
    assert!(names(folder).iter().all(|name| !name.contains(".tmp")));
}

#[test]
fn while_another_program_holds_the_lock_frames_are_kept_and_listed_once_it_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let asked = CatalogOptions { lock_timeout: Duration::from_millis(10), ..options(folder) };
    let mut catalog = Catalog::open(asked).unwrap();
    catalog.keep(&frame(0)).unwrap();
    let lock = File::open(folder.join(LOCK_NAME)).unwrap();
    lock.lock().unwrap();
    let before = index(folder);
    for n in 1..20 {
        catalog.keep(&frame(n)).unwrap();
        catalog.poll().unwrap();
    }
    assert_eq!(index(folder), before);
    assert!(!catalog.is_published());
    assert!(folder.join("F0020.jpg").exists(), "JPEGs need no lock");
    let error = catalog.flush().unwrap_err();
    assert_eq!(error.kind(), crate::error::Kind::Busy);
    lock.unlock().unwrap();
    catalog.flush().unwrap();
    let ids: Vec<_> = index(folder).iter().map(|entry| entry["id"].clone()).collect();
    let expected: Vec<_> = (1..=20).map(|n| Value::from(format!("F{n:04}"))).collect();
    assert_eq!(ids, expected);
}
