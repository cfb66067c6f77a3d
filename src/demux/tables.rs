//! Reads the program tables of a stream as they arrive and change.

use std::collections::{HashMap, HashSet};

use super::packet::{Packet, Understood};
use super::program::{NoVideo, Program, ProgramChoice, Tables};
use super::psi::{SectionAssembler, Table};
use super::{ContinuityCounter, follows};

/// PID of the program association table (ISO/IEC 13818-1, table 2-3).
const PAT_PID: u16 = 0;

/// Maximum number of PIDs with tables: more than a stream has at a time.
const MAX_TABLE_PIDS: usize = 512;

/// Reads the PAT and the PMTs that it lists, with one assembler per PID.
#[derive(Debug)]
pub struct TableReader {
    sections: HashMap<u16, SectionAssembler>,
    counters: HashMap<u16, ContinuityCounter>,
    tables: Tables,
}

impl Default for TableReader {
    fn default() -> Self {
        TableReader {
            sections: HashMap::from([(PAT_PID, SectionAssembler::default())]),
            counters: HashMap::new(),
            tables: Tables::default(),
        }
    }
}

impl TableReader {
    /// Returns a reader that resumes in the middle of a recording with `program`.
    pub fn resume(program: &Program) -> Self {
        let mut reader = TableReader { tables: Tables::of(program), ..TableReader::default() };
        let pids: Vec<u16> = reader.tables.programs().map(|(pid, _)| pid).collect();
        reader.sections.extend(pids.into_iter().map(|pid| (pid, SectionAssembler::default())));
        reader
    }

    /// Returns whether this PID carries tables.
    pub fn reads(&self, pid: u16) -> bool {
        self.sections.contains_key(&pid)
    }

    /// Pushes the next packet. Returns true if it completes a PMT.
    pub fn push(&mut self, packet: &Packet<'_>) -> bool {
        let Some(assembler) = self.sections.get_mut(&packet.pid) else { return false };
        // Ignore the scrambling flag: tables are not scrambled, and have a CRC.
        if !packet.has_payload {
            return false;
        }
        let is_continuous = match self.counters.get(&packet.pid) {
            Some(last) => packet.discontinuity || follows(last.value, packet),
            None => true,
        };
        self.counters.insert(packet.pid, ContinuityCounter::of(packet));
        let tables = match &packet.understood {
            Some(Understood::Table(table)) => {
                assembler.reset();
                vec![table.clone()]
            }
            _ => assembler.push(packet.payload, packet.unit_start, is_continuous),
        };
        let mut mapped = false;
        for table in tables {
            match table {
                Table::Pat(entries) => {
                    let maps = entries.iter().filter(|entry| entry.program != 0);
                    let pids: HashSet<u16> = maps.map(|entry| entry.pmt_pid).collect();
                    // Drop the state of PIDs that have left the table, but not immediately: a table
                    // may have several sections, of which this is one.
                    if self.sections.len() > MAX_TABLE_PIDS {
                        let is_read = |pid: &u16| *pid == PAT_PID || pids.contains(pid);
                        self.sections.retain(|pid, _| is_read(pid));
                        self.counters.retain(|pid, _| is_read(pid));
                    }
                    for pid in pids {
                        self.sections.entry(pid).or_default();
                    }
                    self.tables.pat(&entries);
                }
                Table::Pmt(pmt) => {
                    self.tables.pmt(packet.pid, pmt);
                    mapped = true;
                }
            }
        }
        mapped
    }

    /// Returns the reason why the stream has no video, once every PMT has arrived.
    pub fn no_video(&self, choice: ProgramChoice) -> Option<NoVideo> {
        self.tables.is_complete().then(|| self.tables.no_video(choice))
    }

    /// Returns the current tables.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }
}
