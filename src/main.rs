//! temporary
#![allow(clippy::unwrap_used, clippy::print_stdout)]
use scenetap::media::*;
use scenetap::pipeline::detection::Detection;
fn main() {
    let data = std::fs::read(std::env::args().nth(1).unwrap()).unwrap();
    let mut d = Detection::new(Default::default(), Default::default());
    let mut n = 0;
    let mut show = |d: &mut Detection| {
        while let Some(s) = d.pull() {
            println!(
                "{},{:.6},{}",
                s.verdict.pts.0,
                s.verdict.score,
                s.verdict.kept.map_or("", |r| r.as_str())
            );
        }
    };
    let mut i = 0;
    while i + 188 <= data.len() {
        if data[i] != 0x47 {
            i += 1;
            continue;
        }
        d.push(TsPacket { at: ByteOffset(i as u64), bytes: data[i..i + 188].try_into().unwrap() })
            .unwrap();
        i += 188;
        n += 1;
        if n % 100 == 0 {
            show(&mut d);
        }
    }
    d.finish().unwrap();
    show(&mut d);
    eprintln!("{:?} {:?}", d.damage(), d.program());
}
