//! Application File Locator, tag 94: which records to read (EMV 4.4 Book 3 §10.2).

use thiserror::Error;

/// Bytes of one AFL entry.
pub const ENTRY_BYTES: usize = 4;
/// Most bytes a tag 94 value may have (EMV 4.4 Book 3 Annex A).
pub const MAX_AFL_BYTES: usize = 252;

const HIGHEST_SFI: u8 = 30;

/// Why an AFL is refused. A kernel ends the transaction then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AflError {
    /// No entry, or more than [`MAX_AFL_BYTES`].
    #[error("AFL of {length} bytes")]
    Size {
        /// Bytes given.
        length: usize,
    },
    /// Not a whole number of entries.
    #[error("AFL ends inside an entry at offset {offset}")]
    Truncated {
        /// Where the incomplete entry begins.
        offset: usize,
    },
    /// SFI 0 or 31, or its low three bits set.
    #[error("AFL names no valid file at offset {offset}")]
    File {
        /// Where the entry begins.
        offset: usize,
    },
    /// Record 0, or first record after last.
    #[error("AFL names no valid record range at offset {offset}")]
    Records {
        /// Where the entry begins.
        offset: usize,
    },
    /// More signed records than records.
    #[error("AFL asks for more signed records than it lists at offset {offset}")]
    SignedRecords {
        /// Where the entry begins.
        offset: usize,
    },
}

/// One range of records of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AflEntry {
    /// Short file identifier, 1–30.
    pub sfi: u8,
    /// First record, from 1.
    pub first_record: u8,
    /// Last record, not below the first.
    pub last_record: u8,
    /// How many records, counted from the first, take part in offline data authentication.
    pub signed_records: u8,
}

/// A checked AFL with at least one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Afl {
    entries: Vec<AflEntry>,
}

/// One record to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordAddress {
    /// Short file identifier.
    pub sfi: u8,
    /// Record number.
    pub record: u8,
    /// Whether the record takes part in offline data authentication.
    pub signed: bool,
}

impl Afl {
    /// Reads the value of tag 94.
    ///
    /// # Errors
    /// See [`AflError`].
    pub fn parse(bytes: &[u8]) -> Result<Afl, AflError> {
        if bytes.is_empty() || bytes.len() > MAX_AFL_BYTES {
            return Err(AflError::Size { length: bytes.len() });
        }
        let entries = bytes
            .chunks(ENTRY_BYTES)
            .enumerate()
            .map(|(index, chunk)| parse_entry(chunk, index * ENTRY_BYTES))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Afl { entries })
    }

    /// The entries in reading order.
    pub fn entries(&self) -> &[AflEntry] {
        &self.entries
    }

    /// Every record in reading order.
    pub fn records(&self) -> impl Iterator<Item = RecordAddress> + '_ {
        self.entries.iter().flat_map(|entry| {
            (entry.first_record..=entry.last_record).map(|record| RecordAddress {
                sfi: entry.sfi,
                record,
                signed: record - entry.first_record < entry.signed_records,
            })
        })
    }

    /// The value of tag 94.
    pub fn encode(&self) -> Vec<u8> {
        self.entries
            .iter()
            .flat_map(|entry| [entry.sfi << 3, entry.first_record, entry.last_record, entry.signed_records])
            .collect()
    }
}

fn parse_entry(chunk: &[u8], offset: usize) -> Result<AflEntry, AflError> {
    let &[file, first_record, last_record, signed_records] = chunk else {
        return Err(AflError::Truncated { offset });
    };
    let sfi = file >> 3;
    if file & 0x07 != 0 || sfi == 0 || sfi > HIGHEST_SFI {
        return Err(AflError::File { offset });
    }
    if first_record == 0 || last_record < first_record {
        return Err(AflError::Records { offset });
    }
    if u16::from(signed_records) > u16::from(last_record - first_record) + 1 {
        return Err(AflError::SignedRecords { offset });
    }
    Ok(AflEntry { sfi, first_record, last_record, signed_records })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_are_listed_with_their_signing() {
        let afl = Afl::parse(&[0x08, 2, 4, 1, 0x10, 1, 1, 0]).expect("valid");
        let records: Vec<_> = afl.records().map(|r| (r.sfi, r.record, r.signed)).collect();
        assert_eq!(records, [(1, 2, true), (1, 3, false), (1, 4, false), (2, 1, false)]);
    }

    #[test]
    fn the_last_record_may_be_255() {
        let afl = Afl::parse(&[0xF0, 255, 255, 1]).expect("valid");
        assert_eq!(afl.records().count(), 1);
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_encodes_to_itself(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(afl) = Afl::parse(&bytes) {
                prop_assert_eq!(afl.encode(), bytes);
                prop_assert!(afl.records().count() > 0);
            }
        }
    }
}
