//! Cost of keeping one more frame, and of related operations, by the length of the index.
//!
//! Up to 5,000 entries, the index is written for every frame; beyond that, as often as its cost
//! allows. So the cost of a frame stays constant, and writing takes at most a twentieth of the
//! time.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{
    BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use scenetap::catalog::{AT_ONCE_ENTRIES, Catalog, CatalogOptions, EncodedFrame};
use scenetap::media::{ByteOffset, Reason, Ticks, Verdict};

const LENGTHS: [u64; 4] = [1_000, AT_ONCE_ENTRIES as u64 - 1_500, 20_000, 100_000];

/// Number of frames kept per measurement, enough to be measurable.
const FRAMES: u64 = 100;

fn frame(number: u64) -> EncodedFrame {
    EncodedFrame {
        verdict: Verdict {
            at: ByteOffset(number * 188_000),
            pts: Ticks(number as i64 * 90_000),
            score: 0.5,
            kept: Some(Reason::Scene),
        },
        keyframe_at: ByteOffset(number * 188_000),
        damaged: false,
        captured_at: Some(std::time::SystemTime::UNIX_EPOCH),
        jpeg: None,
    }
}

fn open(folder: &Path, next_ordinal: u64) -> Catalog {
    Catalog::open(CatalogOptions {
        next_ordinal,
        write_jpegs: false,
        index_copy: Some(folder.join("copy")),
        ..CatalogOptions::new(folder.join("frames"))
    })
    .unwrap()
}

/// Returns a folder with an index of `length` entries, and its synced copy.
fn filled(length: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut catalog = open(folder.path(), 0);
    // Above the limit for immediate writes, filling is fast.
    let entries: Vec<_> = (0..length).map(frame).collect();
    entries.into_iter().for_each(|frame| drop(catalog.keep_encoded(frame).unwrap()));
    catalog.sync().unwrap();
    folder
}

/// Measures at most three runs and extrapolates to `times` runs: opening a long index as
/// often as criterion requests would take too long.
fn extrapolate(times: u64, mut measure: impl FnMut() -> Duration) -> Duration {
    let runs = times.min(3);
    let took: Duration = (0..runs).map(|_| measure()).sum();
    took * u32::try_from(times / runs).unwrap()
}

fn timed(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

fn by_length(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("catalog");
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.warm_up_time(Duration::from_millis(1)).measurement_time(Duration::from_millis(100));
    for length in LENGTHS {
        let folder = filled(length);
        let index = folder.path().join("frames/index.json");
        let text = std::fs::read_to_string(&index).unwrap();

        group.bench_function(BenchmarkId::new("open after a restart", length), |bencher| {
            bencher.iter_custom(|times| {
                extrapolate(times, || timed(|| drop(open(folder.path(), length))))
            });
        });

        let mut catalog = open(folder.path(), length);
        let mut next = length;
        group.throughput(Throughput::Elements(FRAMES));
        group.bench_function(BenchmarkId::new("keep 100 frames", length), |bencher| {
            bencher.iter_custom(|times| {
                extrapolate(times, || {
                    let frames = next..next + FRAMES;
                    next = frames.end;
                    timed(|| frames.for_each(|number| drop(catalog.keep_encoded(frame(number)))))
                })
            });
        });

        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(BenchmarkId::new("write the index", length), |bencher| {
            bencher.iter_custom(|times| {
                extrapolate(times, || {
                    let last = frame(next);
                    next += 1;
                    timed(|| {
                        catalog.keep_encoded(last).unwrap();
                        catalog.flush().unwrap();
                    })
                })
            });
        });

        let (no, yes) = ("\"sent_to_agent\": false", "\"sent_to_agent\": true");
        let texts = [text.replacen(no, yes, 1), text];
        let mut next_text = 0;
        group.bench_function(BenchmarkId::new("merge a change", length), |bencher| {
            bencher.iter_custom(|times| {
                extrapolate(times, || {
                    std::fs::write(&index, &texts[next_text]).unwrap();
                    next_text = 1 - next_text;
                    timed(|| catalog.flush().unwrap())
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, by_length);
criterion_main!(benches);
