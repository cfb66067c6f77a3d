//! `index.json`: content left by an earlier run, and content written by other programs.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use scenetap::catalog::index::fuzzing::Index;

// The input contains both, separated by a NUL.
fuzz_target!(|input: &str| {
    let (earlier, theirs) = input.split_once('\0').unwrap_or((input, input));
    let Ok(mut index) = Index::load(earlier) else { return };
    let text = index.text();
    let again = Index::load(&text).expect("what was written can be read");
    assert_eq!(again.text(), text);
    assert!(!index.merge(&text, false).expect("our own text").changed, "it must bring nothing new");
    assert_eq!(index.text(), text);

    let before = flags(&index);
    let mut text = text;
    for outdated in [true, false] {
        let Ok(merged) = index.merge(theirs, outdated) else {
            assert_eq!(index.text(), text, "the text must not change");
            return;
        };
        let after = flags(&index);
        assert!(before.keys().eq(after.keys()), "entries that others delete come back");
        if outdated {
            let lost = before.iter().find(|(id, sent)| **sent && !after[*id]);
            assert_eq!(lost, None, "a delivery is not taken back");
        }
        let now = index.text();
        assert!(merged.changed || now == text, "{text} became {now}, and merge did not report it");
        assert!(Index::load(&now).is_ok());
        text = now;
    }
    // Merging our own text changes nothing.
    let merged = index.merge(&text, false).expect("our own text");
    assert!(!merged.changed && !merged.lacking);
});

/// Returns each entry's id, and whether it was delivered.
fn flags(index: &Index) -> BTreeMap<String, bool> {
    index.entries().map(|entry| (entry.id, entry.sent_to_agent)).collect()
}
