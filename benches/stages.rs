//! Each stage alone, on a fixture: tail, demux, decode, score, JPEG, and all of them together. In
//! bytes or pictures per second.
#![allow(missing_docs, clippy::unwrap_used)]

mod clip;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rayon::ThreadPoolBuilder;
use scenetap::catalog::encode_jpeg;
use scenetap::detect::score::{sad_on_all_threads, sad_on_one_thread};
use scenetap::media::Luma;
use scenetap::pipeline::analyzer::Analyzer;

fn by_bytes(criterion: &mut Criterion) {
    let bytes = clip::bytes();
    let mut group = criterion.benchmark_group("bytes");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("tail", |bencher| {
        bencher.iter(|| {
            let mut found = 0;
            clip::packets(&bytes, |packet| found += usize::from(black_box(packet.bytes[1]) & 1));
            found
        });
    });
    group.bench_function("demux", |bencher| bencher.iter(|| clip::access_units(&bytes).len()));
    group.finish();
}

fn by_pictures(criterion: &mut Criterion) {
    let bytes = clip::bytes();
    let units = clip::access_units(&bytes);
    let mut group = criterion.benchmark_group("pictures");
    group.sample_size(10);
    group.throughput(Throughput::Elements(units.len() as u64));
    group.bench_function("decode 360p", |bencher| bencher.iter(|| clip::pictures(&units).len()));
    group.bench_function("end to end 360p", |bencher| {
        bencher.iter(|| {
            let mut analyzer = Analyzer::new(Default::default(), Default::default());
            let mut kept = 0;
            clip::packets(&bytes, |packet| {
                analyzer.push(packet).unwrap();
                while let Some(scored) = analyzer.pull() {
                    kept += usize::from(scored.verdict.kept.is_some());
                }
            });
            kept
        });
    });
    group.throughput(Throughput::Elements(1));
    let picture = clip::pictures(&units[..60])[30].clone();
    group.bench_function("jpeg 360p", |bencher| {
        bencher.iter(|| encode_jpeg(&picture.to_jfif(None).unwrap(), 90).unwrap().len());
    });
    group.finish();
}

/// Scoring on one thread and on all threads of pools of one and two, compared with a copy of the
/// same bytes. `PARALLEL_BYTES` of `detect::score` is the size from which all threads are faster.
fn score(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("score");
    let pools =
        [1, 2].map(|threads| ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
    for (name, width, height) in [("720p", 1280, 720), ("1080p", 1920, 1080), ("2160p", 3840, 2160)]
    {
        let planes: [Vec<u8>; 2] =
            [3_usize, 7].map(|k| (0..width * height).map(|n| (n * k) as u8).collect());
        let luma = |data| Luma { data, stride: width, width, height, bit_depth: 8 };
        let [before, after] = planes.each_ref().map(|plane| luma(plane.as_slice()));
        group.throughput(Throughput::Bytes(2 * (width * height) as u64));
        group.bench_function(BenchmarkId::new("one thread", name), |bencher| {
            bencher.iter(|| sad_on_one_thread(black_box(&before), &after));
        });
        for (threads, pool) in (1..).zip(&pools) {
            group.bench_function(BenchmarkId::new(format!("pool of {threads}"), name), |bencher| {
                bencher.iter(|| pool.install(|| sad_on_all_threads(black_box(&before), &after)));
            });
        }
        // Reads and writes as many bytes as scoring reads.
        let mut copy = vec![0; width * height];
        group.bench_function(BenchmarkId::new("copy", name), |bencher| {
            bencher.iter(|| copy.copy_from_slice(black_box(&planes[0])));
        });
    }
    group.finish();
}

criterion_group!(benches, by_bytes, by_pictures, score);
criterion_main!(benches);
