//! The PES packets of an audio stream. Only their times are needed.

use super::packet::{Packet, PesHeader};
use super::pes::{PesParser, PesPart};
use super::program::audio_codec;
use super::scrambling::Scrambling;
use super::{AudioPes, DemuxEvent};
use crate::media::{AudioCodec, AudioStream, ByteOffset};

/// Assembles the PES packets of one audio stream.
#[derive(Debug)]
pub struct AudioReader {
    stream: AudioStream,
    /// Codec found in the data, if the tables do not state it (FFmpeg's `probe_codec`).
    found: Option<AudioCodec>,
    parser: PesParser,
    scrambling: Scrambling,
    open: Option<AudioPes>,
}

impl AudioReader {
    /// Returns a reader at any packet of the stream.
    pub fn new(stream: AudioStream) -> Self {
        AudioReader {
            stream,
            found: None,
            parser: PesParser::default(),
            scrambling: Scrambling::default(),
            open: None,
        }
    }

    /// Returns the stream, as the tables name it.
    pub fn stream(&self) -> AudioStream {
        self.stream
    }

    /// Pushes the next packet of the stream. Passes a complete PES packet to `sink`.
    pub fn push(
        &mut self,
        at: ByteOffset,
        packet: &Packet<'_>,
        sink: &mut impl FnMut(DemuxEvent<'_>),
    ) {
        let AudioReader { stream, found, parser, scrambling, open } = self;
        if scrambling.is_scrambled(packet) {
            return;
        }
        let mut complete = |open: &mut Option<AudioPes>| {
            if let Some(pes) = open.take().and_then(|pes| identify(pes, found)) {
                sink(DemuxEvent::Audio(pes));
            }
        };
        parser.push(packet, |part| match part {
            PesPart::Start(PesHeader { pts, .. }) => {
                complete(open);
                *open = Some(AudioPes { stream: *stream, at, pts, data: Vec::new() });
            }
            PesPart::Data(data) => {
                if let Some(pes) = open {
                    pes.data.extend_from_slice(data);
                }
            }
            PesPart::End => complete(open),
        });
    }

    /// Ends the stream. Returns the open PES packet, if it is audio.
    pub fn finish(&mut self) -> Option<AudioPes> {
        self.open.take().and_then(|pes| identify(pes, &mut self.found))
    }
}

/// Sets the codec of a stream if the tables do not state it. Returns `None` if the data is not
/// audio.
fn identify(mut pes: AudioPes, found: &mut Option<AudioCodec>) -> Option<AudioPes> {
    if pes.stream.codec == AudioCodec::Private {
        *found = found.or_else(|| audio_codec(&pes.data));
        pes.stream.codec = (*found)?;
    }
    Some(pes)
}
