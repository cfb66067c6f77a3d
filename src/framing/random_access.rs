//! Determines whether decoding can start at an access unit.

use memchr::memmem;

use crate::media::{RandomAccess, VideoCodec};

/// Classifies an access unit by its headers.
pub fn classify(codec: VideoCodec, unit: &[u8]) -> RandomAccess {
    match codec {
        VideoCodec::H264 => h264(unit),
        VideoCodec::Hevc => hevc(unit),
        VideoCodec::Mpeg2 => mpeg2(unit),
        VideoCodec::Mpeg4 => mpeg4(unit),
    }
}

/// Returns the bytes after each start code, up to the end of the access unit.
fn after_start_codes(unit: &[u8]) -> impl Iterator<Item = &[u8]> {
    memmem::find_iter(unit, &[0, 0, 1]).map(|at| &unit[at + 3..])
}

/// Classifies an H.264 access unit. An IDR picture is closed (ISO/IEC 14496-10, 7.4.1.2.4). A
/// recovery point SEI with a count of 0 marks an open random access point (D.2.8); a higher
/// count is intra refresh.
fn h264(unit: &[u8]) -> RandomAccess {
    let mut recovery_point = None;
    for nal in after_start_codes(unit) {
        match nal.first().map(|byte| byte & 0x1f) {
            Some(5) => return RandomAccess::Closed,
            Some(6) => {
                recovery_point =
                    recovery_point.or_else(|| recovery_frame_count(&raw_byte_sequence(&nal[1..])));
            }
            Some(1 | 2) => break,
            _ => {}
        }
    }
    match recovery_point {
        Some(0) => RandomAccess::Open,
        Some(pictures) => RandomAccess::Gradual(pictures),
        None => RandomAccess::None,
    }
}

/// Returns the bytes of a NAL unit up to the next start code, without emulation prevention bytes
/// (ISO/IEC 14496-10, 7.4.1): the sizes of SEI messages do not include them.
fn raw_byte_sequence(nal: &[u8]) -> Vec<u8> {
    let end = memmem::find(nal, &[0, 0, 1]).unwrap_or(nal.len());
    let mut raw = Vec::with_capacity(end);
    let mut zeros = 0;
    for &byte in &nal[..end] {
        if byte == 3 && zeros >= 2 {
            zeros = 0;
        } else {
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            raw.push(byte);
        }
    }
    raw
}

/// Returns `recovery_frame_cnt` of the first recovery point message (payload type 6) in
/// an SEI NAL unit (ISO/IEC 14496-10, D.1.8).
fn recovery_frame_count(mut sei: &[u8]) -> Option<u32> {
    const RECOVERY_POINT: usize = 6;
    let varying = |sei: &mut &[u8]| -> Option<usize> {
        let mut value = 0;
        loop {
            let (&byte, rest) = sei.split_first()?;
            *sei = rest;
            value += usize::from(byte);
            if byte != 0xff {
                return Some(value);
            }
        }
    };
    loop {
        // A stop bit where a message could begin ends the list.
        if matches!(sei, [] | [0x80, ..]) {
            return None;
        }
        let kind = varying(&mut sei)?;
        let size = varying(&mut sei)?;
        if kind == RECOVERY_POINT {
            let mut head = [0; 4];
            head.iter_mut().zip(sei).for_each(|(to, from)| *to = *from);
            let window = u32::from_be_bytes(head);
            let zeros = window.leading_zeros();
            return (zeros < 16).then(|| (window >> (31 - 2 * zeros)) - 1);
        }
        sei = sei.get(size..)?;
    }
}

/// Classifies an HEVC access unit. IDR is closed; CRA and BLA are open, because they may have
/// leading pictures (ISO/IEC 23008-2, 7.4.2.2).
fn hevc(unit: &[u8]) -> RandomAccess {
    for nal in after_start_codes(unit) {
        match nal.first().map(|byte| (byte >> 1) & 0x3f) {
            Some(19 | 20) => return RandomAccess::Closed,
            Some(16..=18 | 21) => return RandomAccess::Open,
            Some(0..=9) => break,
            _ => {}
        }
    }
    RandomAccess::None
}

/// Classifies an MPEG-2 access unit. An I picture after a group header with `closed_gop` is
/// closed; after a group header without it, or after a sequence header, it is open (ISO/IEC
/// 13818-2, 6.3.8).
fn mpeg2(unit: &[u8]) -> RandomAccess {
    let (mut sequence, mut group, mut closed) = (false, false, false);
    for code in after_start_codes(unit) {
        match code.first() {
            Some(0xb3) => sequence = true,
            Some(0xb8) => {
                group = true;
                closed = code.get(4).is_some_and(|byte| byte & 0x40 != 0);
            }
            Some(0x00) => {
                let intra = code.get(2).is_some_and(|byte| (byte >> 3) & 7 == 1);
                return match (intra && (sequence || group), closed) {
                    (true, true) => RandomAccess::Closed,
                    (true, false) => RandomAccess::Open,
                    _ => RandomAccess::None,
                };
            }
            _ => {}
        }
    }
    RandomAccess::None
}

/// Classifies an MPEG-4 access unit. An intra VOP (ISO/IEC 14496-2, 6.3.5) is open, because
/// B-VOPs after it may refer to VOPs before it.
fn mpeg4(unit: &[u8]) -> RandomAccess {
    let vop = after_start_codes(unit).find(|code| code.first() == Some(&0xb6));
    match vop.and_then(|code| code.get(1)) {
        Some(byte) if byte >> 6 == 0 => RandomAccess::Open,
        _ => RandomAccess::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h264_idr_is_closed_and_a_recovery_point_open_or_gradual() {
        assert_eq!(h264(&[0, 0, 1, 9, 0xf0, 0, 0, 1, 0x65, 0x88]), RandomAccess::Closed);
        let recovery = [0, 0, 1, 6, 6, 1, 0xc4, 0x80, 0, 0, 1, 0x41, 0x9a];
        assert_eq!(h264(&recovery), RandomAccess::Open);
        let refresh = [0, 0, 1, 6, 6, 2, 0b0000_0111, 0x10, 0x80, 0, 0, 1, 0x41, 0x9a];
        assert_eq!(h264(&refresh), RandomAccess::Gradual(55));
    }

    #[test]
    fn h264_messages_end_with_their_nal_unit_and_their_size_counts_no_emulation_prevention() {
        let messages =
            [&[1, 13][..], &[0, 6, 0x80, 0, 0, 0x90, 0x80, 0xd9, 0x17, 0, 0, 3, 0, 0x10]];
        let timing = [&[0, 0, 1, 6], &messages.concat()[..], &[0x80]].concat();
        // Bytes that look like a recovery point message, but belong to the message before.
        let slice = [&[0, 0, 1, 0x41], &[6, 1, 0xc4][..], &[0x80; 200], &[6, 1, 0xc4]].concat();
        assert_eq!(h264(&[&timing[..], &slice].concat()), RandomAccess::None);
        let recovery = [&[0, 0, 1, 6], &messages.concat()[..], &[6, 1, 0xc4, 0x80]].concat();
        assert_eq!(h264(&[&recovery[..], &slice].concat()), RandomAccess::Open);
        assert_eq!(raw_byte_sequence(&[0, 0, 3, 3, 0, 0, 3, 1]), [0, 0, 3, 0, 0, 1]);
    }

    #[test]
    fn hevc_idr_is_closed_and_cra_is_open() {
        assert_eq!(hevc(&[0, 0, 1, 19 << 1, 1, 0x80]), RandomAccess::Closed);
        assert_eq!(hevc(&[0, 0, 1, 21 << 1, 1, 0x80]), RandomAccess::Open);
        assert_eq!(hevc(&[0, 0, 1, 1 << 1, 1, 0x80]), RandomAccess::None);
    }

    #[test]
    fn mpeg2_groups_are_closed_where_they_say_so() {
        let group = |closed: u8, kind: u8| {
            [0, 0, 1, 0xb8, 0, 8, 0, closed, 0, 0, 1, 0x00, 0, kind << 3, 0xff]
        };
        assert_eq!(mpeg2(&group(0x40, 1)), RandomAccess::Closed);
        assert_eq!(mpeg2(&group(0x00, 1)), RandomAccess::Open);
        assert_eq!(mpeg2(&group(0x40, 2)), RandomAccess::None);
    }
}
