//! What the terminal brings into a transaction: its own data, its applications, the amount (EMV 4.4 Book 4 §10, Annex A).

use crate::data::DataStore;
use crate::date::{EmvDate, bcd_byte};
use crate::oda::RevocationList;
use std::collections::BTreeSet;
use thiserror::Error;
use tlv::{Tag, tags};

/// Largest amount of twelve digits, tags 9F02 and 9F03.
pub const MAX_AMOUNT_MINOR: u64 = 999_999_999_999;
/// Largest percentage of random transaction selection; below 100 (EMV 4.4 Book 3 §10.6.2).
pub const MAX_PERCENT: u8 = 99;
/// Draws for random selection are below it: 99 values, so that `draw < percent` happens in `percent` of 99 cases.
pub const RANDOM_DRAW_LIMIT: u8 = 99;
/// Largest transaction sequence counter, eight digits.
pub const MAX_SEQUENCE_COUNTER: u32 = 99_999_999;

/// Why a kernel cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// An amount above [`MAX_AMOUNT_MINOR`], or cash back above the whole amount.
    #[error("amount out of range")]
    Amount,
    /// A percentage above [`MAX_PERCENT`], or a target above its maximum.
    #[error("random selection percentage out of range")]
    RandomSelection,
    /// A draw of [`RANDOM_DRAW_LIMIT`] or above.
    #[error("random selection draw out of range")]
    RandomDraw,
    /// A counter above [`MAX_SEQUENCE_COUNTER`].
    #[error("sequence counter out of range")]
    SequenceCounter,
    /// An AID outside 5–16 bytes, or none at all.
    #[error("terminal has no valid application")]
    Applications,
}

/// How often transactions below the floor limit go online by chance (EMV 4.4 Book 3 §10.6.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RandomSelection {
    /// Amount from which the percentage rises, in minor units.
    pub threshold_minor: u64,
    /// Percentage below the threshold, 0–99.
    pub target_percent: u8,
    /// Percentage at the floor limit, 0–99, not below the target.
    pub maximum_target_percent: u8,
}

/// One application the terminal supports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TerminalApplication {
    /// AID, 5–16 bytes.
    pub aid: Vec<u8>,
    /// Application selection indicator: longer card AIDs that begin with it match too.
    pub partial_match: bool,
    /// Application version number, tag 9F09.
    pub version: [u8; 2],
    /// Terminal action code, default.
    pub tac_default: [u8; 5],
    /// Terminal action code, denial.
    pub tac_denial: [u8; 5],
    /// Terminal action code, online.
    pub tac_online: [u8; 5],
    /// Floor limit in minor units: an amount at or above it goes online.
    pub floor_limit_minor: u64,
    /// Random selection below the floor limit.
    pub random_selection: RandomSelection,
    /// DDOL for cards without one; empty for none.
    pub default_ddol: Vec<u8>,
    /// TDOL for cards without one; empty for none.
    pub default_tdol: Vec<u8>,
}

impl TerminalApplication {
    /// An application that goes online for whatever is unusual and for every amount.
    pub fn new(aid: &[u8]) -> Self {
        TerminalApplication {
            aid: aid.to_vec(),
            partial_match: true,
            version: [0x00, 0x20],
            tac_default: [0xDC, 0x40, 0x00, 0xA8, 0x00],
            tac_denial: [0x00, 0x10, 0x00, 0x00, 0x00],
            tac_online: [0xDC, 0x40, 0x04, 0xF8, 0x00],
            floor_limit_minor: 0,
            random_selection: RandomSelection::default(),
            default_ddol: vec![0x9F, 0x37, 0x04],
            default_tdol: Vec::new(),
        }
    }
}

/// PANs the terminal refuses, in the digits of tag 5A (`F` filled), each with a sequence number or for all of them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ExceptionFile {
    entries: BTreeSet<(Vec<u8>, Option<u8>)>,
}

impl ExceptionFile {
    /// Adds a card. `pan` is BCD with `F` filling, as tag 5A.
    pub fn insert(&mut self, pan: &[u8], sequence_number: Option<u8>) {
        self.entries.insert((without_filler(pan), sequence_number));
    }

    /// Whether a card is listed.
    pub fn contains(&self, pan: &[u8], sequence_number: Option<u8>) -> bool {
        let pan = without_filler(pan);
        self.entries.contains(&(pan.clone(), None)) || self.entries.contains(&(pan, sequence_number))
    }
}

impl core::fmt::Debug for ExceptionFile {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "ExceptionFile({} cards)", self.entries.len())
    }
}

fn without_filler(pan: &[u8]) -> Vec<u8> {
    let kept = pan.len() - pan.iter().rev().take_while(|&&byte| byte == 0xFF).count();
    pan[..kept].to_vec()
}

/// What does not change from one transaction to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TerminalConfig {
    /// Terminal country code, tag 9F1A, BCD.
    pub country_code: [u8; 2],
    /// Terminal type, tag 9F35, BCD (Book 4 Annex A1).
    pub terminal_type: u8,
    /// Terminal capabilities, tag 9F33 (Annex A2).
    pub capabilities: [u8; 3],
    /// Additional terminal capabilities, tag 9F40 (Annex A3).
    pub additional_capabilities: [u8; 5],
    /// IFD serial number, tag 9F1E, ASCII.
    pub ifd_serial_number: [u8; 8],
    /// Terminal identification, tag 9F1C, ASCII.
    pub terminal_identification: [u8; 8],
    /// Merchant identifier, tag 9F16, ASCII.
    pub merchant_identifier: [u8; 15],
    /// Merchant category code, tag 9F15, BCD.
    pub merchant_category_code: [u8; 2],
    /// Merchant name and location, tag 9F4E.
    pub merchant_name: Vec<u8>,
    /// Acquirer identifier, tag 9F01, BCD.
    pub acquirer_identifier: [u8; 6],
    /// Try the payment system environment before the list of AIDs.
    pub use_pse: bool,
    /// Supported applications, in the order they are tried.
    pub applications: Vec<TerminalApplication>,
    /// Authorisation response codes (tag 8A) that approve.
    pub approval_codes: Vec<[u8; 2]>,
    /// Cards refused here.
    pub exception_file: ExceptionFile,
    /// Revoked issuer certificates.
    pub revoked: RevocationList,
    /// Further terminal objects a DOL may ask for.
    pub extra_data: Vec<(Tag, Vec<u8>)>,
}

impl TerminalConfig {
    /// An attended merchant terminal that can go online, with PIN pad and every offline data authentication.
    pub fn merchant(country_code: [u8; 2], applications: Vec<TerminalApplication>) -> Self {
        TerminalConfig {
            country_code,
            terminal_type: 0x22,
            capabilities: [0xE0, 0xF8, 0xC8],
            additional_capabilities: [0x60, 0x00, 0xF0, 0xA0, 0x01],
            ifd_serial_number: *b"00000001",
            terminal_identification: *b"00000001",
            merchant_identifier: *b"000000000000001",
            merchant_category_code: [0x53, 0x99],
            merchant_name: Vec::new(),
            acquirer_identifier: [0; 6],
            use_pse: true,
            applications,
            approval_codes: vec![*b"00", *b"10", *b"11"],
            exception_file: ExceptionFile::default(),
            revoked: RevocationList::default(),
            extra_data: Vec::new(),
        }
    }

    /// Whether the terminal supports a capability (byte from 0, mask) of tag 9F33.
    pub fn has_capability(&self, byte: usize, mask: u8) -> bool {
        self.capabilities[byte] & mask != 0
    }

    /// The terminal has no attendant (types x4–x6).
    pub fn is_unattended(&self) -> bool {
        matches!(self.terminal_type & 0x0F, 4..=6)
    }

    /// The terminal dispenses cash by itself: a financial institution's unattended terminal with the cash capability.
    pub fn is_atm(&self) -> bool {
        self.is_unattended() && self.terminal_type >> 4 == 1 && self.additional_capabilities[0] & 0x80 != 0
    }

    /// The terminal only works online (types x1, x4).
    pub fn is_online_only(&self) -> bool {
        matches!(self.terminal_type & 0x0F, 1 | 4)
    }

    /// The terminal cannot go online (types x3, x6).
    pub fn is_offline_only(&self) -> bool {
        matches!(self.terminal_type & 0x0F, 3 | 6)
    }
}

/// What belongs to one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionData {
    /// Amount including any cash back, in minor units, tag 9F02.
    pub amount_minor: u64,
    /// Cash back amount, in minor units, tag 9F03.
    pub amount_other_minor: u64,
    /// Transaction type, tag 9C, BCD: first two digits of the processing code.
    pub transaction_type: u8,
    /// Transaction currency, tag 5F2A, BCD.
    pub currency_code: [u8; 2],
    /// Digits of the minor unit, tag 5F36.
    pub currency_exponent: u8,
    /// Local date, tag 9A; also decides what has expired.
    pub date: EmvDate,
    /// Local time, tag 9F21, BCD.
    pub time: [u8; 3],
    /// Transaction sequence counter, tag 9F41.
    pub sequence_counter: u32,
    /// Unpredictable number, tag 9F37: fresh random bytes.
    pub unpredictable_number: [u8; 4],
    /// A random number below [`RANDOM_DRAW_LIMIT`] for random transaction selection.
    pub random_selection_draw: u8,
    /// The merchant asks for an online authorisation.
    pub force_online: bool,
    /// Point of service entry mode, tag 9F39, BCD.
    pub pos_entry_mode: u8,
}

impl TransactionData {
    /// A purchase with contact chip.
    pub fn purchase(amount_minor: u64, currency_code: [u8; 2], date: EmvDate, unpredictable_number: [u8; 4]) -> Self {
        TransactionData {
            amount_minor,
            amount_other_minor: 0,
            transaction_type: 0x00,
            currency_code,
            currency_exponent: 2,
            date,
            time: [0; 3],
            sequence_counter: 1,
            unpredictable_number,
            random_selection_draw: 0,
            force_online: false,
            pos_entry_mode: 0x05,
        }
    }

    /// Cash, by type 01 or 17.
    pub fn is_cash(&self) -> bool {
        matches!(self.transaction_type, 0x01 | 0x17)
    }

    /// A purchase with cash back: type 09, or a cash back amount.
    pub fn has_cashback(&self) -> bool {
        self.transaction_type == 0x09 || self.amount_other_minor > 0
    }
}

pub(crate) fn validate(config: &TerminalConfig, transaction: &TransactionData) -> Result<(), ConfigError> {
    let aid_sizes = tlv::fci::MIN_DF_NAME_BYTES..=tlv::fci::MAX_DF_NAME_BYTES;
    let aids_valid = config.applications.iter().all(|application| aid_sizes.contains(&application.aid.len()));
    if config.applications.is_empty() || !aids_valid {
        return Err(ConfigError::Applications);
    }
    let percentages_valid = config.applications.iter().all(|application| {
        let selection = application.random_selection;
        selection.target_percent <= selection.maximum_target_percent && selection.maximum_target_percent <= MAX_PERCENT
    });
    if !percentages_valid {
        return Err(ConfigError::RandomSelection);
    }
    if transaction.amount_minor > MAX_AMOUNT_MINOR || transaction.amount_other_minor > transaction.amount_minor {
        return Err(ConfigError::Amount);
    }
    if transaction.random_selection_draw >= RANDOM_DRAW_LIMIT {
        return Err(ConfigError::RandomDraw);
    }
    if transaction.sequence_counter > MAX_SEQUENCE_COUNTER {
        return Err(ConfigError::SequenceCounter);
    }
    Ok(())
}

/// A number as `N` BCD bytes, keeping the lowest digits.
pub fn bcd<const N: usize>(number: u64) -> [u8; N] {
    let mut rest = number;
    let mut bytes = [0; N];
    for byte in bytes.iter_mut().rev() {
        *byte = bcd_byte((rest % 100) as u8);
        rest /= 100;
    }
    bytes
}

/// An amount as four binary bytes; one that does not fit becomes all ones.
fn binary_amount(amount_minor: u64) -> [u8; 4] {
    u32::try_from(amount_minor).unwrap_or(u32::MAX).to_be_bytes()
}

/// The terminal's objects before any card is known. They are listed by ascending tag: none has to move for another.
pub(crate) fn initial_data(config: &TerminalConfig, transaction: &TransactionData) -> DataStore {
    let mut data = DataStore::default();
    for (tag, value) in &config.extra_data {
        data.set_terminal(*tag, value);
    }
    let objects: [(Tag, &[u8]); 24] = [
        (tags::AMOUNT_AUTHORISED_BINARY, &binary_amount(transaction.amount_minor)),
        (tags::TVR, &[0; 5]),
        (tags::TRANSACTION_DATE, &transaction.date.to_bcd()),
        (tags::TSI, &[0; 2]),
        (tags::TRANSACTION_TYPE, &[transaction.transaction_type]),
        (tags::TRANSACTION_CURRENCY_CODE, &transaction.currency_code),
        (tags::TRANSACTION_CURRENCY_EXPONENT, &[transaction.currency_exponent]),
        (tags::ACQUIRER_IDENTIFIER, &config.acquirer_identifier),
        (tags::AMOUNT_AUTHORISED, &bcd::<6>(transaction.amount_minor)),
        (tags::AMOUNT_OTHER, &bcd::<6>(transaction.amount_other_minor)),
        (tags::AMOUNT_OTHER_BINARY, &binary_amount(transaction.amount_other_minor)),
        (tags::MERCHANT_CATEGORY_CODE, &config.merchant_category_code),
        (tags::MERCHANT_IDENTIFIER, &config.merchant_identifier),
        (tags::TERMINAL_COUNTRY_CODE, &config.country_code),
        (tags::TERMINAL_IDENTIFICATION, &config.terminal_identification),
        (tags::IFD_SERIAL_NUMBER, &config.ifd_serial_number),
        (tags::TRANSACTION_TIME, &transaction.time),
        (tags::TERMINAL_CAPABILITIES, &config.capabilities),
        (tags::TERMINAL_TYPE, &[config.terminal_type]),
        (tags::UNPREDICTABLE_NUMBER, &transaction.unpredictable_number),
        (tags::POS_ENTRY_MODE, &[transaction.pos_entry_mode]),
        (tags::ADDITIONAL_TERMINAL_CAPABILITIES, &config.additional_capabilities),
        (tags::TRANSACTION_SEQUENCE_COUNTER, &bcd::<4>(u64::from(transaction.sequence_counter))),
        (tags::MERCHANT_NAME_AND_LOCATION, &config.merchant_name),
    ];
    for (tag, value) in objects {
        data.set_terminal(tag, value);
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid() -> (TerminalConfig, TransactionData) {
        let date = EmvDate::new(2025, 11, 22).expect("date");
        (
            TerminalConfig::merchant([0x01, 0x56], vec![TerminalApplication::new(&[0xA0, 0, 0, 3, 0x33])]),
            TransactionData::purchase(1250, [0x01, 0x56], date, [1, 2, 3, 4]),
        )
    }

    #[test]
    fn amounts_are_written_in_both_forms() {
        let (config, transaction) = valid();
        let data = initial_data(&config, &transaction);
        assert_eq!(data.get(tags::AMOUNT_AUTHORISED), Some(&[0, 0, 0, 0, 0x12, 0x50][..]));
        assert_eq!(data.get(tags::AMOUNT_AUTHORISED_BINARY), Some(&[0, 0, 0x04, 0xE2][..]));
    }

    #[test]
    fn values_that_do_not_fit_their_digits_are_refused() {
        let (config, mut transaction) = valid();
        transaction.amount_minor = MAX_AMOUNT_MINOR + 1;
        assert_eq!(validate(&config, &transaction), Err(ConfigError::Amount));
        let (config, mut transaction) = valid();
        transaction.random_selection_draw = RANDOM_DRAW_LIMIT;
        assert_eq!(validate(&config, &transaction), Err(ConfigError::RandomDraw));
        let (mut config, transaction) = valid();
        config.applications[0].aid = vec![1; 4];
        assert_eq!(validate(&config, &transaction), Err(ConfigError::Applications));
    }

    #[test]
    fn the_exception_file_ignores_filling() {
        let mut file = ExceptionFile::default();
        file.insert(&[0x62, 0x22, 0xFF], None);
        assert!(file.contains(&[0x62, 0x22], Some(1)));
        assert!(!file.contains(&[0x62, 0x23], Some(1)));
    }
}
