//! Records on their way into a core or out of it: many small ones in one part, a large one in several.

use bytes::Bytes;
use homecore_proto::archive::{Record, Section};
use homecore_types::limits;

/// Bytes after which what is gathered is to be sent: far more than most records have.
const GATHERED_BYTES: usize = 64 * 1024;
/// Most bytes of parts that belong together: the longest line of an archive, after some short ones.
pub(crate) const TOGETHER_BYTES_MAX: usize = homecore_archive::LINE_BYTES_MAX + GATHERED_BYTES;
/// Most bytes of one part.
const PART_BYTES: usize = limits::RPC_MESSAGE_BYTES_MAX / 8;

/// Records of one section that were not sent yet.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    section: Section,
    /// Each on a line of its own.
    json: Vec<u8>,
}

impl Gathered {
    /// Whether there is room for one more. If not, [`Gathered::take`] comes first.
    pub(crate) fn takes(&self, section: Section) -> bool {
        self.json.is_empty() || self.section == section && self.json.len() < GATHERED_BYTES
    }

    /// One more: a JSON object without line breaks.
    pub(crate) fn add(&mut self, section: Section, json: &[u8]) {
        self.section = section;
        self.json.extend_from_slice(json);
        self.json.push(b'\n');
    }

    /// All of them, in parts of a size that the channel takes.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Record> + use<> {
        let section = self.section;
        let mut rest = Bytes::from(std::mem::take(&mut self.json));
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let json = rest.split_to(rest.len().min(PART_BYTES));
            Some(Record {
                section: section.into(),
                json,
                more: !rest.is_empty(),
            })
        })
    }
}

/// The records in parts that belong together.
pub(crate) fn lines(json: &[u8]) -> impl Iterator<Item = &[u8]> {
    json.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_come_in_one_part_and_one_in_many() {
        let mut gathered = Gathered::default();
        assert_eq!(gathered.take().count(), 0);
        gathered.add(Section::Events, b"{\"id\":1}");
        assert!(gathered.takes(Section::Events));
        assert!(!gathered.takes(Section::Streams));
        gathered.add(Section::Events, b"{\"id\":2}");
        let parts: Vec<Record> = gathered.take().collect();
        assert_eq!(parts.len(), 1);
        assert!(!parts[0].more && parts[0].section() == Section::Events);
        let found: Vec<&[u8]> = lines(&parts[0].json).collect();
        assert_eq!(found, [b"{\"id\":1}", b"{\"id\":2}"]);

        assert!(gathered.takes(Section::Streams), "it was taken");
        gathered.add(Section::Streams, &vec![b'1'; 2 * PART_BYTES]);
        assert!(!gathered.takes(Section::Streams));
        let parts: Vec<Record> = gathered.take().collect();
        assert_eq!(parts.len(), 3);
        let more: Vec<bool> = parts.iter().map(|part| part.more).collect();
        assert_eq!(more, [true, true, false]);
        let whole: Vec<u8> = parts.iter().flat_map(|part| part.json.to_vec()).collect();
        assert_eq!(
            lines(&whole).map(<[u8]>::len).sum::<usize>(),
            2 * PART_BYTES
        );
    }
}
