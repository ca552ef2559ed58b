//! Reading application data: the records the AFL lists (EMV 4.4 Book 3 §10.2).

use crate::apdu::{Command, Response, StatusWord};
use crate::data::Values;
use crate::select::read_record_command;
use thiserror::Error;
use tlv::afl::RecordAddress;
use tlv::{Afl, Tag, TlvError, ber, tags};

/// Most records read from one card.
pub const MAX_RECORDS: usize = 512;
/// Highest SFI whose records must be templates 70 and count as application data.
pub const LAST_EMV_FILE: u8 = 10;

/// Without these the transaction ends (Book 3 §7.2).
pub const MANDATORY: [Tag; 4] = [tags::EXPIRATION_DATE, tags::PAN, tags::CDOL1, tags::CDOL2];

/// Why reading ends the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// READ RECORD was answered with an error.
    #[error("READ RECORD answers status {0}")]
    Status(StatusWord),
    /// A record is not one template 70.
    #[error("record {record} of file {sfi} is no record template: {error}")]
    Template {
        /// Short file identifier.
        sfi: u8,
        /// Record number.
        record: u8,
        /// What is wrong.
        error: TlvError,
    },
    /// The objects inside a record are malformed.
    #[error("record {record} of file {sfi} is malformed: {error}")]
    Data {
        /// Short file identifier.
        sfi: u8,
        /// Record number.
        record: u8,
        /// What is wrong.
        error: TlvError,
    },
    /// The card gives an object twice.
    #[error("card gives object {tag} twice")]
    Redundant {
        /// Which object.
        tag: Tag,
    },
    /// A mandatory object is missing.
    #[error("card gives no object {tag}")]
    Missing {
        /// Which object.
        tag: Tag,
    },
    /// The AFL lists more than [`MAX_RECORDS`].
    #[error("card lists too many records")]
    TooManyRecords,
}

/// Reads the records one after another and collects what is in them.
pub struct RecordReader {
    addresses: Vec<RecordAddress>,
    position: usize,
    objects: Values,
    signed_records: Option<Vec<u8>>,
}

impl RecordReader {
    /// Plans the reading.
    ///
    /// # Errors
    /// [`RecordError::TooManyRecords`].
    pub fn new(afl: &Afl) -> Result<Self, RecordError> {
        let addresses: Vec<_> = afl.records().take(MAX_RECORDS + 1).collect();
        if addresses.len() > MAX_RECORDS {
            return Err(RecordError::TooManyRecords);
        }
        Ok(RecordReader { addresses, position: 0, objects: Values::default(), signed_records: Some(Vec::new()) })
    }

    /// The next command, or `None` when every record has been read.
    pub fn next_command(&self) -> Option<Command> {
        let address = self.addresses.get(self.position)?;
        Some(read_record_command(address.sfi, address.record))
    }

    /// Takes the answer to the command.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn on_response(&mut self, response: &Response) -> Result<(), RecordError> {
        let Some(&address) = self.addresses.get(self.position) else {
            return Ok(());
        };
        self.position += 1;
        if !response.status.is_ok() {
            return Err(RecordError::Status(response.status));
        }
        if address.sfi <= LAST_EMV_FILE {
            self.take_record(address, &response.data)
        } else {
            self.take_proprietary(address, &response.data);
            Ok(())
        }
    }

    fn take_record(&mut self, address: RecordAddress, bytes: &[u8]) -> Result<(), RecordError> {
        let RecordAddress { sfi, record, signed } = address;
        let template = ber::single_template(bytes, tags::RECORD_TEMPLATE).map_err(|error| RecordError::Template {
            sfi,
            record,
            error,
        })?;
        let nodes = ber::parse(template.value).map_err(|error| RecordError::Data { sfi, record, error })?;
        if signed {
            self.sign(template.value);
        }
        let mut redundant = None;
        ber::for_each_primitive(&nodes, &mut |tag, value| {
            if !self.objects.insert_new(tag, value) {
                redundant = redundant.or(Some(tag));
            }
        });
        match redundant {
            Some(tag) => Err(RecordError::Redundant { tag }),
            None => Ok(()),
        }
    }

    /// Files 11–30 belong to the scheme or issuer: their records only matter when they are signed, and then must be
    /// templates; what they hold never replaces application data.
    fn take_proprietary(&mut self, address: RecordAddress, bytes: &[u8]) {
        let template = ber::single_template(bytes, tags::RECORD_TEMPLATE);
        if address.signed {
            match &template {
                Ok(_) => self.sign(bytes),
                Err(_) => self.signed_records = None,
            }
        }
        let Some(nodes) = template.ok().and_then(|template| ber::parse(template.value).ok()) else {
            return;
        };
        ber::for_each_primitive(&nodes, &mut |tag, value| {
            self.objects.insert_new(tag, value);
        });
    }

    fn sign(&mut self, bytes: &[u8]) {
        if let Some(records) = &mut self.signed_records {
            records.extend_from_slice(bytes);
        }
    }

    /// The objects read so far, by ascending tag.
    pub fn objects(&self) -> impl Iterator<Item = (Tag, &[u8])> {
        self.objects.iter()
    }

    /// The records that take part in offline data authentication, joined; `None` when one of them is unusable.
    pub fn signed_records(&self) -> Option<&[u8]> {
        self.signed_records.as_deref()
    }

    /// Checks, after the last record, that nothing mandatory is missing.
    ///
    /// # Errors
    /// [`RecordError::Missing`].
    pub fn check_mandatory(&self) -> Result<(), RecordError> {
        match MANDATORY.into_iter().find(|tag| self.objects.get(*tag).is_none()) {
            Some(tag) => Err(RecordError::Missing { tag }),
            None => Ok(()),
        }
    }
}

impl Drop for RecordReader {
    fn drop(&mut self) {
        if let Some(records) = &mut self.signed_records {
            zeroize::Zeroize::zeroize(records);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(afl: &[u8]) -> RecordReader {
        RecordReader::new(&Afl::parse(afl).expect("afl")).expect("few records")
    }

    fn ok(bytes: &[u8]) -> Response {
        Response::new(bytes, StatusWord::OK)
    }

    #[test]
    fn signed_records_of_low_files_lose_their_template() {
        let mut reader = reader(&[0x08, 1, 1, 1, 0x58, 1, 1, 1]);
        assert_eq!(reader.on_response(&ok(&[0x70, 0x03, 0x8F, 0x01, 0x94])), Ok(()));
        assert_eq!(reader.on_response(&ok(&[0x70, 0x03, 0xC1, 0x01, 0xFF])), Ok(()));
        assert_eq!(reader.signed_records(), Some(&[0x8F, 1, 0x94, 0x70, 3, 0xC1, 1, 0xFF][..]));
        assert!(reader.next_command().is_none());
    }

    #[test]
    fn an_unusable_signed_proprietary_record_only_fails_authentication() {
        let mut reader = reader(&[0x60, 1, 1, 1]);
        assert_eq!(reader.on_response(&ok(&[0xFF])), Ok(()));
        assert_eq!(reader.signed_records(), None);
    }

    #[test]
    fn repeated_objects_are_refused_across_records() {
        let mut reader = reader(&[0x08, 1, 2, 0]);
        assert_eq!(reader.on_response(&ok(&[0x70, 0x03, 0x8F, 0x01, 0x94])), Ok(()));
        let again = reader.on_response(&ok(&[0x70, 0x03, 0x8F, 0x01, 0x94]));
        assert_eq!(again, Err(RecordError::Redundant { tag: tags::CAPK_INDEX_CARD }));
    }

    #[test]
    fn too_many_records_are_refused_before_reading() {
        let afl: Vec<u8> = (1..=10).flat_map(|sfi: u8| [sfi << 3, 1, 255, 0]).collect();
        let afl = Afl::parse(&afl).expect("afl");
        assert_eq!(RecordReader::new(&afl).err(), Some(RecordError::TooManyRecords));
    }
}
