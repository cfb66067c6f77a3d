//! Tests packets of every size, torn, cut and joined.

use proptest::prelude::*;

use super::*;

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Packet(u64, u8),
    Lost(u64, u64),
}

fn seen(found: &Aligned<'_>) -> Seen {
    match found {
        Aligned::Packet(packet) => Seen::Packet(packet.at.0, packet.bytes[1]),
        Aligned::SyncLost { at, skipped_bytes } => Seen::Lost(at.0, *skipped_bytes),
    }
}

/// Returns the items found in bytes from offset 1000 on.
fn align(pieces: &[&[u8]], size: PacketSize) -> Vec<Seen> {
    align_with(Aligner::begin(ByteOffset(1000), size), pieces)
}

fn align_with(mut aligner: Aligner, pieces: &[&[u8]]) -> Vec<Seen> {
    let mut all = Vec::new();
    for piece in pieces {
        aligner.push(piece);
        while let Some(found) = aligner.find() {
            all.push(seen(&found));
        }
    }
    aligner.end_input();
    while let Some(found) = aligner.find() {
        all.push(seen(&found));
    }
    all.extend(aligner.finish().as_ref().map(seen));
    all
}

/// Returns the end of the whole packets if a connection ends after these bytes.
fn whole_until(bytes: &[u8], size: PacketSize) -> u64 {
    let mut aligner = Aligner::begin(ByteOffset(0), size);
    aligner.push(bytes);
    aligner.discard_torn();
    assert_eq!(aligner.end(), aligner.whole_until());
    aligner.whole_until()
}

fn packet(mark: u8) -> Vec<u8> {
    let mut bytes = vec![0; TS_PACKET_BYTES];
    (bytes[0], bytes[1]) = (SYNC_BYTE, mark);
    bytes
}

/// Returns packets of `size`, numbered from 1. Every additional byte is `added`.
fn stream(size: PacketSize, count: u8, added: u8) -> Vec<u8> {
    let lead = vec![added; size.leading_bytes()];
    let trail = vec![added; size.trailing_bytes()];
    (0..count)
        .flat_map(|n| {
            let mut packet = packet(n + 1);
            // On PID 0x100 and up, with a counter.
            packet[3] = 0x10 | n & 0x0f;
            packet[1] = 1;
            packet[4] = n + 1;
            [&lead[..], &packet, &trail].concat()
        })
        .collect()
}

fn packets_at(seen: &[Seen]) -> Vec<u64> {
    let at = |seen: &Seen| if let Seen::Packet(at, _) = seen { Some(*at) } else { None };
    seen.iter().filter_map(at).collect()
}

fn losses(seen: &[Seen]) -> Vec<(u64, u64)> {
    let lost = |seen: &Seen| match seen {
        Seen::Lost(at, bytes) => Some((*at, *bytes)),
        Seen::Packet(..) => None,
    };
    seen.iter().filter_map(lost).collect()
}

#[test]
fn garbage_between_packets_is_passed_over_and_told_once() {
    let bytes = [packet(1), vec![9; 10], packet(2), packet(3)[..100].to_vec()].concat();
    assert_eq!(
        align(&[&bytes], PacketSize::Plain),
        [Seen::Packet(1000, 1), Seen::Lost(1188, 10), Seen::Packet(1198, 2), Seen::Lost(1386, 100)]
    );
}

#[test]
fn a_last_packet_with_a_reserved_header_is_found() {
    for size in PacketSize::ALL {
        let mut bytes = stream(size, 8, 2);
        let last = 7 * size.bytes() + size.leading_bytes() + 3;
        bytes[last] = 0;
        assert_eq!(packets_at(&align(&[&bytes], size)).len(), 8, "{size:?}");
        assert_eq!(whole_until(&bytes, size), bytes.len() as u64, "{size:?}");
    }
}

#[test]
fn the_bytes_tell_the_size_of_the_packets_whatever_is_added_to_them() {
    for size in PacketSize::ALL {
        for added in [0, 1, SYNC_BYTE] {
            let bytes = stream(size, 20, added);
            let seen = align(&[&bytes], PacketSize::Plain);
            let expected = (0..20).map(|n| n * size.bytes() + size.leading_bytes());
            let expected: Vec<u64> = expected.map(|at| 1000 + at as u64).collect();
            assert_eq!(packets_at(&seen), expected, "{size:?}, {added:#x}");
            assert_eq!(losses(&seen), [], "{size:?}, {added:#x}");
        }
    }
}

#[test]
fn after_a_loss_of_sync_bytes_that_are_added_confuse_nothing() {
    for size in PacketSize::ALL {
        for added in [0, SYNC_BYTE] {
            let good = stream(size, 20, added);
            // Torn at any byte, as by a sender that skips data that it cannot send.
            for torn in 1..size.bytes() {
                let bytes = [&good[..3 * size.bytes() + torn], &good[..]].concat();
                let found = packets_at(&align(&[&bytes], size));
                let last = 1000 + (bytes.len() - size.bytes() + size.leading_bytes()) as u64;
                assert_eq!(found.last(), Some(&last), "{size:?} {added:#x} torn at {torn}");
                assert!(found.len() >= 21, "{size:?} {added:#x} torn at {torn}: {}", found.len());
            }
        }
    }
}

#[test]
fn a_sender_with_packets_of_another_size_is_followed() {
    for first in PacketSize::ALL {
        for next in PacketSize::ALL {
            let bytes = [stream(first, 20, 2), stream(next, 20, 3)].concat();
            let seen = align(&[&bytes], PacketSize::Plain);
            let found = packets_at(&seen).len();
            // With packets of 192 bytes, the first sync byte is expected four bytes later.
            assert!(found >= 39, "{found} packets of {first:?}, then {next:?}");
            // Or the first parity is not expected.
            assert!(losses(&seen).len() <= 1, "{first:?}, then {next:?}");
        }
    }
}

#[test]
fn a_packet_that_begins_in_the_parity_of_the_last_one_is_found() {
    let good = stream(PacketSize::Parity, 20, 3);
    for lost in 1..=16 {
        // The end of a parity is lost.
        let bytes = [&good[..3 * 204 - lost], &good[3 * 204..]].concat();
        let found = packets_at(&align(&[&bytes], PacketSize::Parity));
        assert_eq!(found.len(), 20, "{lost} bytes lost");
    }
}

#[test]
fn a_short_connection_of_another_size_is_kept_whole() {
    for before in PacketSize::ALL {
        for size in PacketSize::ALL {
            // A sender of one or two packets may leave zero or one packet.
            for count in 3..8 {
                let mut writer = Aligner::begin(ByteOffset(0), PacketSize::Plain);
                let first = stream(before, 20, 2);
                writer.push(&first);
                writer.discard_torn();
                writer.push(&stream(size, count, 3));
                writer.discard_torn();
                let whole = first.len() + usize::from(count) * size.bytes();
                assert_eq!(writer.end() as usize, whole, "{before:?}, then {count} of {size:?}");
            }
        }
    }
}

#[test]
fn a_packet_comes_with_what_is_added_to_it() {
    for size in PacketSize::ALL {
        let bytes = stream(size, 20, 5);
        let mut aligner = Aligner::begin(ByteOffset(0), PacketSize::Plain);
        let mut raw = Vec::new();
        for byte in &bytes {
            aligner.push(&[*byte]);
            while let Some(Aligned::Packet(packet)) = aligner.find() {
                assert_eq!(packet.size, size);
                raw.extend_from_slice(packet.raw);
            }
        }
        assert!(raw == bytes, "{size:?}");
    }
}

#[test]
fn a_packet_is_whole_with_its_parity_and_without_the_next_time_stamp() {
    let plain = stream(PacketSize::Plain, 2, 1);
    assert_eq!(whole_until(&plain, PacketSize::Plain), 376);
    assert_eq!(whole_until(&plain[..375], PacketSize::Plain), 188);
    let timed = stream(PacketSize::Timed, 3, 1);
    assert_eq!(whole_until(&timed[..384], PacketSize::Timed), 384);
    assert_eq!(whole_until(&timed[..387], PacketSize::Timed), 384);
    assert_eq!(whole_until(&timed[..383], PacketSize::Timed), 192);
    let with_parity = stream(PacketSize::Parity, 2, 1);
    assert_eq!(whole_until(&with_parity, PacketSize::Parity), 408);
    assert_eq!(whole_until(&with_parity[..407], PacketSize::Parity), 204);
    let no_packet = whole_until(&[9; 50], PacketSize::Plain);
    assert_eq!(no_packet, 50, "bytes that belong to no packet are kept");
}

#[test]
fn after_a_torn_packet_was_discarded_the_next_connection_is_in_step() {
    for size in PacketSize::ALL {
        let bytes = stream(size, 20, SYNC_BYTE);
        for torn in 1..size.bytes() {
            let mut writer = Aligner::begin(ByteOffset(0), PacketSize::Plain);
            writer.push(&bytes[..12 * size.bytes() + torn]);
            writer.discard_torn();
            let whole = writer.end() as usize;
            assert_eq!(whole, 12 * size.bytes(), "{size:?} torn at {torn}");
            writer.push(&bytes);
            let written = [&bytes[..whole], &bytes[..]].concat();
            assert_eq!(writer.find_all(), written.len() as u64, "{size:?} torn at {torn}");
            let seen = align(&[&written], PacketSize::Plain);
            assert_eq!((packets_at(&seen).len(), losses(&seen).len()), (32, 0));
        }
    }
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_packets(
        pieces in proptest::collection::vec((0_u8..3, 0_usize..40, any::<u8>()), 1..40),
        cuts in proptest::collection::vec(0_usize..8000, 0..12),
        size in proptest::sample::select(PacketSize::ALL.to_vec()),
        hint in proptest::sample::select(PacketSize::ALL.to_vec()),
    ) {
        let bytes: Vec<u8> = pieces
            .iter()
            .flat_map(|(kind, junk, mark)| match kind {
                0 => vec![*mark; *junk],
                _ => stream(size, 1, *mark),
            })
            .collect();
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let split: Vec<_> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
        prop_assert_eq!(align(&split, hint), align(&[&bytes], hint));
        let mut aligner = Aligner::begin(ByteOffset(0), hint);
        let mut published = 0;
        for piece in split {
            aligner.push(piece);
            let whole = aligner.find_all();
            prop_assert!(published <= whole && whole <= aligner.end());
            published = whole;
        }
        aligner.discard_torn();
        prop_assert_eq!(aligner.whole_until(), whole_until(&bytes, hint));
    }

    #[test]
    fn the_tail_finds_the_packets_that_the_writer_has_published(
        connections in proptest::collection::vec(
            (proptest::sample::select(PacketSize::ALL.to_vec()), 6_u8..30, 0_usize..250),
            1..5,
        ),
        added in any::<u8>(),
    ) {
        let mut writer = Aligner::begin(ByteOffset(0), PacketSize::Plain);
        let mut file = Vec::new();
        let mut whole_packets = 0;
        let mut last_size = None;
        let mut changes = 0;
        for (size, count, torn) in connections {
            let bytes = stream(size, count, added);
            let torn = torn.min(bytes.len());
            let sent = &bytes[..bytes.len() - torn];
            writer.push(sent);
            file.extend_from_slice(sent);
            writer.discard_torn();
            file.truncate(writer.end() as usize);
            whole_packets += sent.len() / size.bytes();
            changes += usize::from(last_size.replace(size).is_some_and(|last| last != size));
        }
        let tail = packets_at(&align(&[&file], PacketSize::Plain)).len();
        // At a change of size, up to a whole connection of few packets may be lost.
        prop_assert!(changes > 0 || tail == whole_packets, "{} of {}", tail, whole_packets);
    }
}
