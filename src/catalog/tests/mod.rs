//! The catalog from the outside: a folder, frames, and other programs that use the same
//! files.
//!
//! ```text
//! writing   what is written, and when
//! restart   a catalog on the files of an earlier run
//! foreign   changes of the index by other programs
//! handouts  leases and acknowledgements by several programs at once
//! ```
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde_json::Value;

use super::*;
use crate::media::{
    ByteOffset, Frame, JfifPicture, Luma, Picture, PictureFormat, Reason, RgbPicture, Ticks,
};

mod foreign;
mod handouts;
mod restart;
mod writing;

/// A gray picture.
#[derive(Clone)]
struct Gray {
    plane: Vec<u8>,
    width: u32,
}

impl Picture for Gray {
    fn luma(&self) -> Luma<'_> {
        let width = self.width as usize;
        let height = self.plane.len() / width;
        Luma { data: &self.plane, stride: width, width, height, bit_depth: 8 }
    }

    fn format(&self) -> PictureFormat {
        let height = self.plane.len() as u32 / self.width;
        PictureFormat { width: self.width, height, pixel_format: "gray".into() }
    }

    fn checksum(&self) -> u32 {
        0
    }

    fn to_rgb(&self, _: Option<u32>) -> Result<RgbPicture> {
        unreachable!("the catalog writes no PNG")
    }

    fn to_jfif(&self, _: Option<u32>) -> Result<JfifPicture> {
        let PictureFormat { width, height, .. } = self.format();
        let chroma = || vec![128; self.plane.len()];
        Ok(JfifPicture { width, height, planes: [self.plane.clone(), chroma(), chroma()] })
    }

    fn copied(&self) -> Result<Arc<dyn Picture>> {
        Ok(Arc::new(self.clone()))
    }
}

impl Catalog {
    /// Encodes and keeps a frame, as the publisher does.
    fn keep(&mut self, kept: &KeptFrame) -> Result<Entry> {
        let encoded = if self.is_known(&kept.verdict) {
            EncodedFrame::without_jpeg(kept)
        } else {
            self.encoder.encode(kept)
        };
        self.keep_encoded(encoded)
    }
}

/// Returns frame `n` of a stream with one frame per second.
fn frame(n: u64) -> KeptFrame {
    frame_at(ByteOffset(n * 18_800), Ticks(n as i64 * 90_000))
}

fn frame_at(at: ByteOffset, pts: Ticks) -> KeptFrame {
    let picture = Arc::new(Gray { plane: vec![at.0 as u8; 16 * 8], width: 16 });
    let kept = Some(if pts.0 == 0 { Reason::First } else { Reason::Scene });
    KeptFrame {
        verdict: Verdict { at, pts, score: 0.5, kept },
        frame: Frame { at, pts, keyframe_at: ByteOffset(0), damaged: false, picture },
        captured_at: Some(UNIX_EPOCH + Duration::from_secs(at.0)),
    }
}

fn options(folder: &Path) -> CatalogOptions {
    CatalogOptions::new(folder)
}

fn index(folder: &Path) -> Vec<Value> {
    serde_json::from_slice(&fs::read(folder.join(INDEX_NAME)).unwrap()).unwrap()
}

fn ids(folder: &Path) -> Vec<String> {
    index(folder).iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A change by another program, put in place by a rename.
fn rename_over(folder: &Path, items: &[Value]) {
    let temp = folder.join("someone's.json");
    fs::write(&temp, serde_json::to_vec(items).unwrap()).unwrap();
    fs::rename(&temp, folder.join(INDEX_NAME)).unwrap();
}

fn locked<T>(folder: &Path, change: impl FnOnce() -> T) -> T {
    let lock = File::options().write(true).open(folder.join(LOCK_NAME)).unwrap();
    lock.lock().unwrap();
    change()
}

/// Callback that runs during a wait.
type OnWait = Box<dyn FnMut() + Send>;

/// A clock that advances only during a wait, or when the test advances it.
struct TestClock {
    now: Mutex<Instant>,
    on_wait: Mutex<Option<OnWait>>,
}

impl TestClock {
    fn new() -> Arc<TestClock> {
        Arc::new(TestClock { now: Mutex::new(Instant::now()), on_wait: Mutex::new(None) })
    }

    fn pass(&self, time: Duration) {
        *self.now.lock().unwrap() += time;
    }
}

impl std::fmt::Debug for TestClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TestClock")
    }
}

impl TimeSource for TestClock {
    fn now(&self) -> Instant {
        *self.now.lock().unwrap()
    }

    fn wait(&self, time: Duration) {
        self.pass(time);
        if let Some(callback) = self.on_wait.lock().unwrap().as_mut() {
            callback();
        }
    }
}
