//! Tests what is written, and when.

use super::*;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

#[test]
fn an_entry_has_the_contracts_keys_in_an_array_indented_by_2() {
    let folder = tempfile::tempdir().unwrap();
    let mut catalog = Catalog::open(options(folder.path())).unwrap();
    assert_eq!(fs::read_to_string(folder.path().join(INDEX_NAME)).unwrap(), "[]\n");
    catalog.keep(&frame_at(ByteOffset(376), Ticks(906_000))).unwrap();
    let path = folder.path().join("F0001.jpg");
    let expected = format!(
        r#"[
  {{
    "id": "F0001",
    "timestamp": 10.066667,
    "path": "{}",
    "sent_to_agent": false,
    "score": 0.5,
    "reason": "scene",
    "offset": 376,
    "keyframe_offset": 0,
    "captured_at": "1970-01-01T00:06:16.000000Z"
  }}
]
"#,
        path.display()
    );
    assert_eq!(fs::read_to_string(folder.path().join(INDEX_NAME)).unwrap(), expected);
    let jpeg = image::open(&path).unwrap();
    assert_eq!((jpeg.width(), jpeg.height()), (16, 8));
    let mut damaged = frame_at(ByteOffset(752), Ticks(907_000));
    damaged.frame.damaged = true;
    catalog.keep(&damaged).unwrap();
    assert_eq!(index(folder.path())[1]["damaged"], true);
}

#[test]
fn without_jpegs_the_path_is_null_and_no_picture_is_converted() {
    let folder = tempfile::tempdir().unwrap();
    let without_jpegs = CatalogOptions { write_jpegs: false, ..options(folder.path()) };
    let mut catalog = Catalog::open(without_jpegs).unwrap();
    catalog.keep(&frame(0)).unwrap();
    assert_eq!(index(folder.path())[0]["path"], Value::Null);
    assert_eq!(names(folder.path()), [INDEX_NAME, LOCK_NAME]);
}

/// A gray picture that cannot be converted `failures` times.
struct Failing {
    gray: Gray,
    failures: AtomicU32,
}

impl Picture for Failing {
    fn luma(&self) -> Luma<'_> {
        self.gray.luma()
    }

    fn format(&self) -> PictureFormat {
        self.gray.format()
    }

    fn checksum(&self) -> u32 {
        self.gray.checksum()
    }

    fn to_rgb(&self, max_width: Option<u32>) -> Result<RgbPicture> {
        self.gray.to_rgb(max_width)
    }

    fn to_jfif(&self, max_width: Option<u32>) -> Result<JfifPicture> {
        let left = self.failures.load(Ordering::Relaxed);
        self.failures.store(left.saturating_sub(1), Ordering::Relaxed);
        match left {
            0 => self.gray.to_jfif(max_width),
            _ => Err(Error::new(Stage::Decode, "no memory")),
        }
    }

    fn copied(&self) -> Result<Arc<dyn Picture>> {
        self.gray.copied()
    }
}

#[test]
fn a_frame_that_cannot_be_encoded_twice_is_listed_with_a_null_path() {
    let folder = tempfile::tempdir().unwrap();
    let failing = |n, failures| {
        let kept = frame(n);
        let picture = Failing {
            gray: Gray { plane: vec![0; 16 * 8], width: 16 },
            failures: AtomicU32::new(failures),
        };
        KeptFrame { frame: Frame { picture: Arc::new(picture), ..kept.frame }, ..kept }
    };
    let is_null = |n: usize| index(folder.path())[n]["path"].is_null();
    let mut catalog = Catalog::open(options(folder.path())).unwrap();
    for (n, failures) in [(0, 0), (1, 1), (2, 2), (3, 0)] {
        catalog.keep(&failing(n, failures)).unwrap();
    }
    catalog.flush().unwrap();
    drop(catalog);
    assert_eq!([0, 1, 2, 3].map(is_null), [false, false, true, false]);
    assert!(!folder.path().join("F0003.jpg").exists());

    // After a restart, a frame gets its JPEG if it can be encoded now, and loses it if not.
    fs::remove_file(folder.path().join("F0001.jpg")).unwrap();
    let mut catalog = Catalog::open(options(folder.path())).unwrap();
    for (n, failures) in [(0, 2), (1, 2), (2, 0), (3, 2)] {
        catalog.keep(&failing(n, failures)).unwrap();
    }
    catalog.flush().unwrap();
    assert_eq!([0, 1, 2, 3].map(is_null), [true, false, false, false]);
    assert_eq!(index(folder.path()).len(), 4);
}

#[test]
fn a_reader_never_sees_half_a_file_and_no_temporary_file_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let mut catalog = Catalog::open(options(folder.path())).unwrap();
    let written = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut max_len = 0;
            while !written.load(Ordering::Acquire) {
                let items = index(folder.path());
                assert!(items.len() >= max_len, "an entry disappeared");
                max_len = items.len();
                if let Some(last) = items.last() {
                    let path = last["path"].as_str().unwrap();
                    assert!(frames::is_whole_jpeg(Path::new(path)), "{path}");
                }
            }
        });
        for n in 0..300 {
            catalog.keep(&frame(n)).unwrap();
        }
        written.store(true, Ordering::Release);
        reader.join().unwrap();
    });
    assert_eq!(index(folder.path()).len(), 300);
    let others: Vec<_> =
        names(folder.path()).into_iter().filter(|name| !name.ends_with(".jpg")).collect();
    assert_eq!(others, [INDEX_NAME, LOCK_NAME]);
}

#[test]
fn ids_go_on_past_f9999() {
    let folder = tempfile::tempdir().unwrap();
    let entry = r#"{"id":"F9999","timestamp":1,"path":null,"sent_to_agent":false,"offset":376}"#;
    fs::write(folder.path().join(INDEX_NAME), format!("[{entry}]")).unwrap();
    let known = CatalogOptions { next_ordinal: 1, ..options(folder.path()) };
    let mut catalog = Catalog::open(known).unwrap();
    assert_eq!(catalog.keep(&frame(7)).unwrap().id, "F10000");
    assert!(folder.path().join("F10000.jpg").exists());
}

#[test]
fn beyond_5000_entries_the_index_is_written_once_a_second_and_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let many: Vec<Value> = (1..=AT_ONCE_ENTRIES as u64)
        .map(|n| serde_json::json!({"id": frames::frame_id(n), "timestamp": n, "offset": n}))
        .collect();
    rename_over(folder.path(), &many);
    let clock = TestClock::new();
    let known = CatalogOptions {
        next_ordinal: many.len() as u64,
        write_jpegs: false,
        ..options(folder.path())
    };
    let mut catalog = Catalog::open_with(known, clock.clone(), CORRUPT_GRACE).unwrap();
    let written = || index(folder.path()).len();

    // The interval starts with the write when the catalog was opened.
    clock.pass(Duration::from_millis(999));
    catalog.keep(&frame(6_000)).unwrap();
    assert_eq!(written(), 5_000);
    assert!(!catalog.is_published());
    assert_eq!(catalog.write_due_in(), Some(Duration::from_millis(1)));
    clock.pass(Duration::from_millis(1));
    catalog.poll().unwrap();
    assert_eq!(written(), 5_001);
    assert!(catalog.is_published());

    catalog.keep(&frame(6_001)).unwrap();
    catalog.keep(&frame(6_002)).unwrap();
    assert_eq!(written(), 5_001);
    catalog.flush().unwrap();
    assert_eq!(written(), 5_003);
    assert_eq!(catalog.write_due_in(), None);
}

#[test]
fn a_frame_that_was_not_kept_has_no_place_in_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let mut catalog = Catalog::open(options(folder.path())).unwrap();
    let mut not_kept = frame(1);
    not_kept.verdict.kept = None;
    assert!(catalog.keep(&not_kept).is_err());
    assert_eq!(catalog.kept(), 0);
}

#[test]
fn a_repeated_call_after_a_failure_keeps_the_frame_once() {
    let folder = tempfile::tempdir().unwrap();
    let frames_dir = folder.path().join("frames");
    let mut catalog = Catalog::open(options(&frames_dir)).unwrap();
    fs::remove_dir_all(&frames_dir).unwrap();
    let error = catalog.keep(&frame(0)).unwrap_err();
    assert!(error.to_string().contains("F0001.jpg"), "{error}");
    fs::create_dir(&frames_dir).unwrap();
    for _ in 0..2 {
        assert_eq!(catalog.keep(&frame(0)).unwrap().id, "F0001");
    }
    assert_eq!(ids(&frames_dir), ["F0001"]);
}

#[test]
fn syncing_makes_a_copy_of_the_index_that_brings_lost_entries_back() {
    let folder = tempfile::tempdir().unwrap();
    let frames_dir = folder.path().join("frames");
    let with_copy = |next_ordinal| CatalogOptions {
        index_copy: Some(folder.path().join(".index.synced")),
        next_ordinal,
        ..options(&frames_dir)
    };
    let mut catalog = Catalog::open(with_copy(0)).unwrap();
    for n in 0..3 {
        catalog.keep(&frame(n)).unwrap();
    }
    catalog.sync().unwrap();
    drop(catalog);
    // After a power loss, a file may be empty because its bytes were not synced.
    fs::write(frames_dir.join(INDEX_NAME), "").unwrap();
    let clock = TestClock::new();
    let mut catalog = Catalog::open_with(with_copy(3), clock, CORRUPT_GRACE).unwrap();
    assert_eq!(catalog.keep(&frame(3)).unwrap().id, "F0004");
    assert_eq!(ids(&frames_dir), ["F0001", "F0002", "F0003", "F0004"]);
    assert!(frames_dir.join("index.json.corrupt-1").exists());
}
