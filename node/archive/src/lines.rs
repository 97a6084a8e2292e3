//! JSON lines, one at a time.

use std::io::{BufRead as _, BufReader, Read};

use homecore_types::json::{ITEM_BYTES, value_bytes};
use homecore_types::limits::JSON_VALUE_BYTES_MAX;
use serde_json::{Map, Value};

use crate::error::{ArchiveError, Fault, Place};
use crate::{LINE_BYTES_MAX, RECORDS_MAX};

const BUFFER_BYTES: usize = 64 * 1024;

/// One record and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// File and line.
    pub place: Place,
    /// What it says, members in their order.
    pub object: Map<String, Value>,
}

/// A file of lines.
pub(crate) struct Lines {
    path: String,
    reader: BufReader<Box<dyn Read + Send>>,
    number: u64,
}

impl Lines {
    pub(crate) fn new(path: String, reader: Box<dyn Read + Send>) -> Self {
        Self {
            path,
            reader: BufReader::with_capacity(BUFFER_BYTES, reader),
            number: 0,
        }
    }

    fn place(&self) -> Place {
        Place::line(self.path.clone(), self.number)
    }

    /// The next record; empty lines are none.
    pub(crate) fn next(&mut self) -> Result<Option<Record>, ArchiveError> {
        loop {
            self.number = self.number.saturating_add(1);
            let mut line = Vec::new();
            let most = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
            let read = (&mut self.reader)
                .take(most.saturating_add(1))
                .read_until(b'\n', &mut line)
                .map_err(|error| ArchiveError::io(self.place(), error))?;
            if read == 0 {
                return Ok(None);
            }
            if line.len() > LINE_BYTES_MAX {
                let fault = Fault::TooLarge {
                    most,
                    of: "bytes in a line",
                };
                return Err(ArchiveError::new(self.place(), fault));
            }
            let is_whole = line.last() == Some(&b'\n');
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            if value_bytes(&line) > JSON_VALUE_BYTES_MAX {
                let fault = Fault::TooLarge {
                    most: u64::try_from(JSON_VALUE_BYTES_MAX / ITEM_BYTES).unwrap_or(u64::MAX),
                    of: "values in a line",
                };
                return Err(ArchiveError::new(self.place(), fault));
            }
            return match serde_json::from_slice(&line) {
                Ok(object) => Ok(Some(Record {
                    place: self.place(),
                    object,
                })),
                // The beginning of an object is no object: only a last line can be cut.
                Err(_) if !is_whole => Err(ArchiveError::new(self.place(), Fault::Truncated)),
                Err(error) => Err(ArchiveError::new(
                    self.place(),
                    Fault::NotAnObject {
                        column: error.column(),
                    },
                )),
            };
        }
    }
}

/// Opens the next file of a section.
type Open<'a> = Box<dyn FnMut(&str) -> Result<Lines, ArchiveError> + 'a>;

/// The records of a section, over all of its files.
pub struct Records<'a> {
    files: std::vec::IntoIter<String>,
    open: Open<'a>,
    present: Option<Lines>,
    count: u64,
    /// What the manifest says, and where.
    expected: Option<(u64, Place)>,
    ended: bool,
}

impl std::fmt::Debug for Records<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl<'a> Records<'a> {
    pub(crate) fn new(files: Vec<String>, expected: Option<(u64, Place)>, open: Open<'a>) -> Self {
        Self {
            files: files.into_iter(),
            open,
            present: None,
            count: 0,
            expected,
            ended: false,
        }
    }

    fn advance(&mut self) -> Result<Option<Record>, ArchiveError> {
        loop {
            let lines = match &mut self.present {
                Some(lines) => lines,
                None => match self.files.next() {
                    Some(path) => self.present.insert((self.open)(&path)?),
                    None => return self.end().map(|()| None),
                },
            };
            let Some(record) = lines.next()? else {
                self.present = None;
                continue;
            };
            self.count = self.count.saturating_add(1);
            if self.count > RECORDS_MAX {
                let fault = Fault::TooLarge {
                    most: RECORDS_MAX,
                    of: "records",
                };
                return Err(ArchiveError::new(record.place, fault));
            }
            return Ok(Some(record));
        }
    }

    fn end(&mut self) -> Result<(), ArchiveError> {
        match self.expected.take() {
            Some((expected, place)) if expected != self.count => Err(ArchiveError::new(
                place,
                Fault::Count {
                    found: self.count,
                    expected,
                },
            )),
            _ => Ok(()),
        }
    }
}

/// After a line that is no record the next one follows; after any other failure nothing does.
impl Iterator for Records<'_> {
    type Item = Result<Record, ArchiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.advance().transpose();
        match &next {
            None => self.ended = true,
            Some(Err(error)) if matches!(*error.fault, Fault::NotAnObject { .. }) => {
                self.count = self.count.saturating_add(1);
            }
            Some(Err(_)) => self.ended = true,
            Some(Ok(_)) => {}
        }
        next
    }
}
