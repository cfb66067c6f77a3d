//! Reads the program tables of a stream as they arrive and change.

use std::collections::HashMap;

use super::packet::{Packet, Understood};
use super::program::{NoVideo, Program, ProgramChoice, Tables};
use super::psi::{SectionAssembler, Table};
use super::{Counter, follows};

/// Reads the PAT and the PMTs that it names, with one assembler per PID.
#[derive(Debug)]
pub struct TableReader {
    sections: HashMap<u16, SectionAssembler>,
    counters: HashMap<u16, Counter>,
    tables: Tables,
}

impl Default for TableReader {
    fn default() -> Self {
        TableReader {
            sections: HashMap::from([(0, SectionAssembler::default())]),
            counters: HashMap::new(),
            tables: Tables::default(),
        }
    }
}

impl TableReader {
    /// Returns whether this PID carries tables.
    pub fn reads(&self, pid: u16) -> bool {
        self.sections.contains_key(&pid)
    }

    /// Pushes the next packet. Returns true if it completes a PMT.
    pub fn push(&mut self, packet: &Packet<'_>) -> bool {
        let Some(assembler) = self.sections.get_mut(&packet.pid) else { return false };
        if packet.scrambled || !packet.has_payload {
            return false;
        }
        let in_step = match self.counters.get(&packet.pid) {
            Some(last) => packet.discontinuity || follows(last.value, packet),
            None => true,
        };
        self.counters.insert(packet.pid, Counter::of(packet));
        let tables = match &packet.understood {
            Some(Understood::Table(table)) => {
                assembler.reset();
                vec![table.clone()]
            }
            _ => assembler.push(packet.payload, packet.unit_start, in_step),
        };
        let mut mapped = false;
        for table in tables {
            match table {
                Table::Pat(entries) => {
                    for entry in entries.iter().filter(|entry| entry.program != 0) {
                        self.sections.entry(entry.pmt_pid).or_default();
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

    /// Returns the program to select, if it differs from the `current` one.
    pub fn choose(&self, choice: ProgramChoice, current: Option<&Program>) -> Option<Program> {
        self.tables.choose(choice, current)
    }

    /// Returns the reason why there is no video, once every PMT has arrived.
    pub fn no_video(&self, choice: ProgramChoice) -> Option<NoVideo> {
        self.tables.is_complete().then(|| self.tables.no_video(choice))
    }

    /// Returns the current tables.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }
}
