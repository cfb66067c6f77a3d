//! Changes packets of a real stream in ways that occur in the field.

use std::collections::HashMap;

use scenetap::ts::{
    self, Header, NULL_PID, PCR_PER_TICK, SYNC_BYTE, TS_PACKET_BYTES, crc32_mpeg2, pcr_at, pcr_base,
};

pub type Packet = [u8; TS_PACKET_BYTES];

/// Modulus of PTS, DTS and the base of the PCR.
const WRAP: i64 = 1 << 33;

const PAT_PID: u16 = 0;
const PAT_ID: u8 = 0;
const PMT_ID: u8 = 2;

/// Returns the packets of a stream.
pub fn packets(stream: &[u8]) -> Vec<Packet> {
    let (packets, rest) = stream.as_chunks();
    assert!(rest.is_empty(), "whole packets");
    packets.to_vec()
}

pub fn pid(packet: &Packet) -> u16 {
    Header::of(packet).pid()
}

pub fn set_pid(packet: &mut Packet, pid: u16) {
    let [high, low] = pid.to_be_bytes();
    packet[1] = packet[1] & 0xe0 | high;
    packet[2] = low;
}

/// Returns the index of the PES header that begins in a packet.
pub fn pes_at(packet: &Packet) -> Option<usize> {
    let at = ts::payload_start(packet);
    let begins = Header::of(packet).unit_start() && ts::payload(packet).starts_with(&[0, 0, 1]);
    (begins && at + 19 <= TS_PACKET_BYTES).then_some(at)
}

/// Returns the range of a table that is contained in one packet.
fn section_in(packet: &Packet) -> Option<std::ops::Range<usize>> {
    let at = ts::payload_start(packet);
    if !Header::of(packet).unit_start() || at >= TS_PACKET_BYTES {
        return None;
    }
    let from = at + 1 + usize::from(packet[at]);
    let length = packet.get(from + 1..from + 3)?;
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]) & 0x0fff);
    let section = from..from + 3 + length;
    (section.end <= TS_PACKET_BYTES && matches!(packet[from], PAT_ID | PMT_ID)).then_some(section)
}

/// Calls `change` with each table, without its CRC. `change` may change the length. Writes the
/// table back with a new CRC.
pub fn change_tables(packets: &mut [Packet], mut change: impl FnMut(u16, &mut Vec<u8>)) {
    const CRC_BYTES: usize = 4;
    let mut map_pids = Vec::new();
    for packet in packets {
        let pid = pid(packet);
        let Some(range) = section_in(packet) else { continue };
        let is_pat = pid == PAT_PID && packet[range.start] == PAT_ID;
        let is_map = map_pids.contains(&pid) && packet[range.start] == PMT_ID;
        if !is_pat && !is_map {
            continue;
        }
        let mut section = packet[range.start..range.end - CRC_BYTES].to_vec();
        if is_pat {
            let entries = section[8..].chunks_exact(4);
            map_pids = entries.map(|entry| ts::pid(entry[2], entry[3])).collect();
        }
        change(pid, &mut section);
        let [high, low] = u16::try_from(section.len() - 3 + CRC_BYTES).unwrap().to_be_bytes();
        section[1] = section[1] & 0xf0 | high;
        section[2] = low;
        section.extend(crc32_mpeg2(&section).to_be_bytes());
        packet[range.start..].fill(0xff);
        packet[range.start..range.start + section.len()].copy_from_slice(&section);
    }
}

/// Renumbers the packets of each PID.
pub fn count_again(packets: &mut [Packet]) {
    let mut counters = HashMap::new();
    for packet in packets.iter_mut().filter(|packet| pid(packet) != NULL_PID) {
        let counter = counters.entry(pid(packet)).or_insert(0xff_u8);
        if Header::of(packet).has_payload() {
            *counter = counter.wrapping_add(1) & 0x0f;
        }
        packet[3] = packet[3] & 0xf0 | *counter & 0x0f;
    }
}

/// Moves streams and tables to other PIDs, and updates the tables.
pub fn move_pids(packets: &mut [Packet], pids: &[(u16, u16)]) {
    let moved = |pid: u16| pids.iter().find(|(old, _)| *old == pid).map_or(pid, |(_, new)| *new);
    let put = |bytes: &mut [u8]| {
        let [high, low] = moved(ts::pid(bytes[0], bytes[1])).to_be_bytes();
        bytes[0] = bytes[0] & 0xe0 | high;
        bytes[1] = low;
    };
    change_tables(packets, |pid, section| {
        if pid == PAT_PID {
            section[8..].chunks_exact_mut(4).for_each(|entry| put(&mut entry[2..]));
            return;
        }
        put(&mut section[8..]);
        each_stream(section, |stream| put(&mut stream[1..]));
    });
    for packet in packets.iter_mut() {
        set_pid(packet, moved(pid(packet)));
    }
    count_again(packets);
}

/// Calls `visit` with each stream of a PMT, from its type to the end of its descriptors.
pub fn each_stream(section: &mut [u8], mut visit: impl FnMut(&mut [u8])) {
    let length = |high: u8, low: u8| usize::from(u16::from_be_bytes([high, low]) & 0x0fff);
    let mut at = 12 + length(section[10], section[11]);
    while at + 5 <= section.len() {
        let end = at + 5 + length(section[at + 3], section[at + 4]);
        visit(&mut section[at..end]);
        at = end;
    }
}

/// Adds ticks to every PTS, DTS and PCR, starting with the packet at `from`.
pub fn shift_times(packets: &mut [Packet], from: usize, ticks: i64) {
    for packet in &mut packets[from..] {
        if let Some(at) = pcr_at(packet) {
            let base = pcr_base(packet, at) as i64;
            set_pcr_base(packet, (base + ticks).rem_euclid(WRAP));
        }
        let Some(at) = pes_at(packet) else { continue };
        let fields = match packet[at + 7] >> 6 {
            2 => &[9][..],
            3 => &[9, 14],
            _ => &[],
        };
        for field in fields {
            let time = time_at(packet, at + field);
            set_time(packet, at + field, (time + ticks).rem_euclid(WRAP));
        }
    }
}

/// Returns PTS and DTS of the PES packet that begins in a packet.
pub fn times(packet: &Packet) -> Option<(i64, i64)> {
    let at = pes_at(packet)?;
    match packet[at + 7] >> 6 {
        2 => Some((time_at(packet, at + 9), time_at(packet, at + 9))),
        3 => Some((time_at(packet, at + 9), time_at(packet, at + 14))),
        _ => None,
    }
}

fn time_at(packet: &Packet, at: usize) -> i64 {
    let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(|n| i64::from(packet[at + n]));
    (a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1
}

pub fn set_time(packet: &mut Packet, at: usize, time: i64) {
    packet[at] = packet[at] & 0xf1 | ((time >> 30) as u8 & 7) << 1;
    packet[at + 1] = (time >> 22) as u8;
    packet[at + 2] = ((time >> 15) as u8) << 1 | 1;
    packet[at + 3] = (time >> 7) as u8;
    packet[at + 4] = (time as u8) << 1 | 1;
}

fn set_pcr_base(packet: &mut Packet, base: i64) {
    let at = pcr_at(packet).unwrap();
    packet[at..at + 4].copy_from_slice(&((base >> 1) as u32).to_be_bytes());
    packet[at + 4] = packet[at + 4] & 0x7f | ((base & 1) as u8) << 7;
}

/// Sends every `n`-th packet of a PID twice, the second one with a newer PCR.
pub fn send_twice(packets: &[Packet], of: u16, n: usize) -> Vec<Packet> {
    let mut count = 0;
    let mut out = Vec::new();
    for packet in packets {
        out.push(*packet);
        if pid(packet) != of || !Header::of(packet).has_payload() {
            continue;
        }
        count += 1;
        if count % n == 0 {
            let mut again = *packet;
            if let Some(at) = pcr_at(&again) {
                let base = pcr_base(&again, at) as i64;
                set_pcr_base(&mut again, (base + 13_500_000 / PCR_PER_TICK as i64) % WRAP);
            }
            out.push(again);
        }
    }
    out
}

/// Removes `count` packets with payload of a PID, starting with its `at`-th.
pub fn lose(packets: &[Packet], of: u16, at: usize, count: usize) -> Vec<Packet> {
    let mut seen = 0;
    let mut is_kept = |packet: &&Packet| {
        let counts = pid(packet) == of && Header::of(packet).has_payload();
        seen += usize::from(counts);
        !counts || !(at..at + count).contains(&seen)
    };
    packets.iter().filter(|packet| is_kept(packet)).copied().collect()
}

/// Inserts packets after every `n`-th packet.
pub fn insert(packets: &[Packet], n: usize, insert: impl Fn(u8) -> Packet) -> Vec<Packet> {
    let mut out = Vec::new();
    for (index, packet) in packets.iter().enumerate() {
        out.push(*packet);
        if (index + 1) % n == 0 {
            out.push(insert(((index + 1) / n) as u8));
        }
    }
    out
}

/// Returns a packet with this header and payload, filled up with 0xff.
pub fn packet(pid: u16, unit_start: bool, control: u8, payload: &[u8]) -> Packet {
    let mut packet = [0xff; TS_PACKET_BYTES];
    let [high, low] = pid.to_be_bytes();
    packet[..4].copy_from_slice(&[SYNC_BYTE, high | u8::from(unit_start) << 6, low, control]);
    packet[4..4 + payload.len()].copy_from_slice(payload);
    packet
}
