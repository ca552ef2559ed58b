//! Initiation and records (EMV 4.4 Book 3 §10.1, §10.2, §7.5).

use super::{CardError, Kernel, Output, State};
use crate::apdu::Response;
use crate::date::EmvDate;
use crate::gpo::{self, InitiateError};
use crate::records::RecordReader;
use tlv::{Dol, Tag, dictionary, tags};
use zeroize::Zeroizing;

/// Objects whose length the kernel relies on. A card that gives one with another length is refused (Book 3 §7.5).
const CHECKED_LENGTHS: [Tag; 15] = [
    tags::PAN,
    tags::EXPIRATION_DATE,
    tags::EFFECTIVE_DATE,
    tags::ISSUER_COUNTRY_CODE,
    tags::PAN_SEQUENCE_NUMBER,
    tags::APPLICATION_USAGE_CONTROL,
    tags::APPLICATION_VERSION_CARD,
    tags::IAC_DEFAULT,
    tags::IAC_DENIAL,
    tags::IAC_ONLINE,
    tags::LOWER_CONSECUTIVE_OFFLINE_LIMIT,
    tags::UPPER_CONSECUTIVE_OFFLINE_LIMIT,
    tags::APPLICATION_CURRENCY_CODE,
    tags::CAPK_INDEX_CARD,
    tags::TRACK_2_EQUIVALENT,
];

impl Kernel {
    pub(super) fn initiate(&mut self) -> Output {
        let pdol = self.session.data.get(tags::PDOL).map(<[u8]>::to_vec);
        match gpo::build_command(pdol.as_deref(), &self.session.data) {
            Ok(initiate) => {
                let dol = Dol::parse(pdol.as_deref().unwrap_or_default()).ok();
                let next = State::Initiating { pdol_data: initiate.pdol_data };
                self.transmit(initiate.command, dol.as_ref(), next)
            }
            Err(error) => self.card_error(CardError::Initiate(error)),
        }
    }

    pub(super) fn on_processing_options(&mut self, pdol_data: Zeroizing<Vec<u8>>, response: &Response) -> Output {
        let options = match gpo::read_response(response) {
            Ok(options) => options,
            Err(InitiateError::ConditionsNotSatisfied) => {
                self.application_refused = true;
                return self.offer_candidates();
            }
            Err(error) => return self.card_error(CardError::Initiate(error)),
        };
        self.session.pdol_data = pdol_data;
        self.session.aip = options.aip;
        self.session.data.set_card(tags::AIP, &options.aip);
        self.session.data.set_card(tags::AFL, &options.afl.encode());
        for (tag, value) in &options.objects {
            self.session.data.set_card(*tag, value);
        }
        match RecordReader::new(&options.afl) {
            Ok(reader) => self.read_next(reader),
            Err(error) => self.card_error(CardError::Records(error)),
        }
    }

    fn read_next(&mut self, reader: RecordReader) -> Output {
        match reader.next_command() {
            Some(command) => self.transmit(command, None, State::Reading(reader)),
            None => self.on_records_complete(&reader),
        }
    }

    pub(super) fn on_record(&mut self, mut reader: RecordReader, response: &Response) -> Output {
        match reader.on_response(response) {
            Ok(()) => self.read_next(reader),
            Err(error) => self.card_error(CardError::Records(error)),
        }
    }

    fn on_records_complete(&mut self, reader: &RecordReader) -> Output {
        if let Err(error) = reader.check_mandatory() {
            return self.card_error(CardError::Records(error));
        }
        for (tag, value) in reader.objects() {
            self.session.data.set_card(tag, value);
        }
        if let Some(tag) = self.find_format_error() {
            return self.card_error(CardError::Format(tag));
        }
        self.session.signed_records = reader.signed_records().map(|records| Zeroizing::new(records.to_vec()));
        self.authenticate_data()
    }

    fn find_format_error(&self) -> Option<Tag> {
        let data = &self.session.data;
        let wrong_length = CHECKED_LENGTHS.into_iter().find(|&tag| {
            let length = data.get(tag).map(<[u8]>::len);
            length.is_some_and(|length| dictionary::lookup(tag).is_some_and(|info| !info.accepts_length(length)))
        });
        let broken_list = [tags::CDOL1, tags::CDOL2].into_iter().find(|&tag| {
            let list = data.get(tag).map(Dol::parse);
            !matches!(list, Some(Ok(list)) if list.total_length() <= crate::apdu::MAX_COMMAND_DATA_BYTES)
        });
        let broken_pan = data.get(tags::PAN).is_none_or(|pan| !is_compressed_numeric(pan));
        let broken_date = data.get(tags::EXPIRATION_DATE).is_none_or(|date| EmvDate::from_value(date).is_err());
        wrong_length
            .or(broken_list)
            .or(broken_pan.then_some(tags::PAN))
            .or(broken_date.then_some(tags::EXPIRATION_DATE))
    }
}

/// Digits, then only `F`.
fn is_compressed_numeric(value: &[u8]) -> bool {
    let nibbles = crate::oda::issuer::nibbles(value);
    let digits = nibbles.iter().take_while(|&&nibble| nibble <= 9).count();
    digits > 0 && nibbles[digits..].iter().all(|&nibble| nibble == 0x0F)
}
