//! Which usage goes with which algorithm and mode of use: the one table (ANSI X9.143:2021 §6.3.1 to §6.3.3).
//!
//! Mode `N` stands in every row: the standard's own examples use it, and it adds nothing to what the usage implies.
//! A change here changes what keys the product takes: it needs a second reader.

use super::field::{Algorithm, KeyUsage, ModeOfUse};

/// One usage with everything it may be combined with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PermittedRow {
    /// The usage.
    pub usage: KeyUsage,
    /// Letters of the algorithms.
    pub algorithms: &'static str,
    /// Letters of the modes of use.
    pub modes_of_use: &'static str,
}

const fn row(usage: KeyUsage, algorithms: &'static str, modes_of_use: &'static str) -> PermittedRow {
    PermittedRow { usage, algorithms, modes_of_use }
}

/// Every published usage. What is not here is refused.
pub const PERMITTED: &[PermittedRow] = &[
    row(KeyUsage::BASE_DERIVATION, "AT", "XN"),
    row(KeyUsage::DUKPT_INITIAL, "AT", "XN"),
    row(KeyUsage::BASE_VARIANT, "AT", "XYN"),
    row(KeyUsage::KEY_DERIVATION, "AHT", "XN"),
    row(KeyUsage::CARD_VERIFICATION, "AT", "CGVN"),
    row(KeyUsage::DATA, "ADT", "BDEN"),
    row(KeyUsage::ASYMMETRIC_DATA, "ER", "BDEN"),
    row(KeyUsage::DECIMALISATION_TABLE, "AT", "BDEN"),
    row(KeyUsage::SENSITIVE_DATA, "AT", "BDEN"),
    row(KeyUsage::EMV_APPLICATION_CRYPTOGRAM, "AT", "XN"),
    row(KeyUsage::EMV_MESSAGING_CONFIDENTIALITY, "AT", "XN"),
    row(KeyUsage::EMV_MESSAGING_INTEGRITY, "AT", "XN"),
    row(KeyUsage::EMV_DATA_AUTHENTICATION_CODE, "AT", "XN"),
    row(KeyUsage::EMV_DYNAMIC_NUMBERS, "AT", "XN"),
    row(KeyUsage::EMV_PERSONALISATION, "AT", "XN"),
    row(KeyUsage::EMV_OTHER, "AT", "XN"),
    row(KeyUsage::EMV_ASYMMETRIC_PIN, "ER", "BDEN"),
    row(KeyUsage::INITIALISATION_VECTOR, "ADT", "N"),
    row(KeyUsage::KEY_ENCRYPTION, "AT", "BDEN"),
    row(KeyUsage::KEY_BLOCK_PROTECTION, "AT", "BDEN"),
    row(KeyUsage::TR34_ASYMMETRIC, "ER", "BDEN"),
    row(KeyUsage::ASYMMETRIC_KEY_AGREEMENT, "ER", "BDEXN"),
    row(KeyUsage::ISO_20038_PROTECTION, "A", "BDEN"),
    row(KeyUsage::MAC_ISO_16609, "T", "CGVN"),
    row(KeyUsage::MAC_ALGORITHM_1, "ADT", "CGVN"),
    row(KeyUsage::MAC_ALGORITHM_2, "AT", "CGVN"),
    row(KeyUsage::MAC_ALGORITHM_3, "T", "CGVN"),
    row(KeyUsage::MAC_ALGORITHM_4, "T", "CGVN"),
    row(KeyUsage::MAC_ALGORITHM_5_1999, "T", "CGVN"),
    row(KeyUsage::CMAC, "AT", "CGVN"),
    row(KeyUsage::HMAC, "H", "CGVN"),
    row(KeyUsage::MAC_ALGORITHM_6, "AT", "CGVN"),
    row(KeyUsage::PIN_ENCRYPTION, "AT", "BDEN"),
    row(KeyUsage::PIN_GENERATION, "AT", "CGN"),
    row(KeyUsage::SIGNATURE, "ERS", "SVN"),
    row(KeyUsage::CERTIFICATION_AUTHORITY, "ERS", "SVN"),
    row(KeyUsage::ASYMMETRIC_OTHER, "ERS", "BDESTVXN"),
    row(KeyUsage::PIN_VERIFICATION, "AT", "CGVN"),
    row(KeyUsage::PIN_VERIFICATION_IBM_3624, "AT", "CGVN"),
    row(KeyUsage::PIN_VERIFICATION_PVV, "AT", "CGVN"),
    row(KeyUsage::PIN_VERIFICATION_X9_132_1, "AT", "CGVN"),
    row(KeyUsage::PIN_VERIFICATION_X9_132_2, "AT", "CGVN"),
    row(KeyUsage::PIN_VERIFICATION_X9_132_3, "AT", "CGVN"),
];

/// What the table says of three header fields together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They go together.
    Permitted,
    /// One of them is a digit: two parties have agreed on its meaning, the standard has none.
    Proprietary,
    /// They do not.
    Refused,
}

/// Asks the table.
#[must_use]
pub fn permitted_by_table(usage: KeyUsage, algorithm: Algorithm, mode_of_use: ModeOfUse) -> Verdict {
    let holds = |letters: &str, code: u8| letters.as_bytes().contains(&code);
    let proprietary = [algorithm.code(), mode_of_use.code()].iter().any(u8::is_ascii_digit);
    if usage.is_proprietary() || proprietary {
        return Verdict::Proprietary;
    }
    let row = PERMITTED.iter().find(|row| row.usage == usage);
    let fits =
        |row: &PermittedRow| holds(row.algorithms, algorithm.code()) && holds(row.modes_of_use, mode_of_use.code());
    if row.is_some_and(fits) { Verdict::Permitted } else { Verdict::Refused }
}
