//! The data element dictionary as a table: what each tag is, how its value is written, where it lives and whether it may
//! be shown (EMV 4.4 Book 3 Annex A and B; UnionPay and PBOC tags where the wire uses them).

use crate::tag::Tag;

/// How the value is written (EMV 4.4 Book 3 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `b`: bytes; padded and cut on the right.
    Binary,
    /// `n`: decimal digits, two per byte; padded and cut on the left.
    Numeric,
    /// `cn`: decimal digits, two per byte, filled with `F` on the right.
    CompressedNumeric,
    /// `a`, `an`: letters and digits.
    Alphanumeric,
    /// `ans`: letters, digits and special characters.
    AlphanumericSpecial,
}

/// Who gives the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The card.
    Card,
    /// The terminal. A card that sends such a tag in a record is not believed.
    Terminal,
    /// The issuer, in its answer.
    Issuer,
}

/// One row of the dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagInfo {
    /// The tag.
    pub tag: Tag,
    /// Its name in the specification.
    pub name: &'static str,
    /// How the value is written.
    pub format: Format,
    /// Shortest value, in bytes.
    pub min_bytes: usize,
    /// Longest value, in bytes.
    pub max_bytes: usize,
    /// Who gives the value.
    pub source: Source,
    /// Account or cardholder data: masked wherever it is shown.
    pub sensitive: bool,
    /// The templates it may stand in; empty for an object of its own.
    pub templates: &'static [Tag],
}

impl TagInfo {
    /// Whether a value has a length the format allows.
    pub fn accepts_length(&self, length: usize) -> bool {
        (self.min_bytes..=self.max_bytes).contains(&length)
    }
}

/// What a tag means, or `None` for one that is not in the table.
pub fn lookup(tag: Tag) -> Option<&'static TagInfo> {
    TAGS.binary_search(&tag).ok().map(|index| &TABLE[index])
}

/// The tags of [`TABLE`] alone, so that a search stays within a few cache lines.
static TAGS: [Tag; TABLE.len()] = {
    let mut tags = [Tag::new(0); TABLE.len()];
    let mut row = 0;
    while row < TABLE.len() {
        tags[row] = TABLE[row].tag;
        row += 1;
    }
    tags
};

/// The name of a tag, or a stand-in.
pub fn name(tag: Tag) -> &'static str {
    lookup(tag).map_or("Unknown data object", |info| info.name)
}

/// Whether a value must be masked wherever it is shown. Unknown tags are not sensitive.
pub fn is_sensitive(tag: Tag) -> bool {
    lookup(tag).is_some_and(|info| info.sensitive)
}

use Format::{Alphanumeric, AlphanumericSpecial, Binary, CompressedNumeric, Numeric};
use Source::{Card, Issuer, Terminal};

#[allow(clippy::too_many_arguments)]
const fn row(
    number: u32,
    name: &'static str,
    format: Format,
    min_bytes: usize,
    max_bytes: usize,
    source: Source,
    sensitive: bool,
    templates: &'static [Tag],
) -> TagInfo {
    TagInfo { tag: Tag::new(number), name, format, min_bytes, max_bytes, source, sensitive, templates }
}

/// Every known tag, ascending. Columns: tag, name, format, shortest, longest, source, sensitive, templates.
#[rustfmt::skip]
pub static TABLE: &[TagInfo] = &[
    row(0x42, "Issuer Identification Number", Numeric, 3, 3, Card, false, &[Tag::new(0xBF0C), Tag::new(0x73)]),
    row(0x4F, "Application Dedicated File (ADF) Name", Binary, 5, 16, Card, false, &[Tag::new(0x61)]),
    row(0x50, "Application Label", AlphanumericSpecial, 1, 16, Card, false, &[Tag::new(0x61), Tag::new(0xA5)]),
    row(0x56, "Track 1 Data", AlphanumericSpecial, 0, 76, Card, true, &[Tag::new(0x70)]),
    row(0x57, "Track 2 Equivalent Data", Binary, 0, 19, Card, true, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x5A, "Application Primary Account Number (PAN)", CompressedNumeric, 1, 10, Card, true, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x61, "Application Template", Binary, 0, 252, Card, false, &[Tag::new(0x70), Tag::new(0xBF0C)]),
    row(0x6F, "File Control Information (FCI) Template", Binary, 0, 252, Card, false, &[]),
    row(0x70, "READ RECORD Response Message Template", Binary, 0, 252, Card, false, &[]),
    row(0x71, "Issuer Script Template 1", Binary, 0, 252, Issuer, false, &[]),
    row(0x72, "Issuer Script Template 2", Binary, 0, 252, Issuer, false, &[]),
    row(0x73, "Directory Discretionary Template", Binary, 0, 252, Card, false, &[Tag::new(0x61)]),
    row(0x77, "Response Message Template Format 2", Binary, 0, 252, Card, false, &[]),
    row(0x80, "Response Message Template Format 1", Binary, 0, 252, Card, false, &[]),
    row(0x81, "Amount, Authorised (Binary)", Binary, 4, 4, Terminal, false, &[]),
    row(0x82, "Application Interchange Profile", Binary, 2, 2, Card, false, &[Tag::new(0x77), Tag::new(0x80)]),
    row(0x83, "Command Template", Binary, 0, 252, Terminal, false, &[]),
    row(0x84, "Dedicated File (DF) Name", Binary, 5, 16, Card, false, &[Tag::new(0x6F)]),
    row(0x86, "Issuer Script Command", Binary, 0, 261, Issuer, false, &[Tag::new(0x71), Tag::new(0x72)]),
    row(0x87, "Application Priority Indicator", Binary, 1, 1, Card, false, &[Tag::new(0x61), Tag::new(0xA5)]),
    row(0x88, "Short File Identifier (SFI)", Binary, 1, 1, Card, false, &[Tag::new(0xA5)]),
    row(0x89, "Authorisation Code", AlphanumericSpecial, 6, 6, Issuer, false, &[]),
    row(0x8A, "Authorisation Response Code", Alphanumeric, 2, 2, Issuer, false, &[]),
    row(0x8C, "Card Risk Management Data Object List 1 (CDOL1)", Binary, 0, 252, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x8D, "Card Risk Management Data Object List 2 (CDOL2)", Binary, 0, 252, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x8E, "Cardholder Verification Method (CVM) List", Binary, 10, 252, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x8F, "Certification Authority Public Key Index", Binary, 1, 1, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x90, "Issuer Public Key Certificate", Binary, 0, 248, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x91, "Issuer Authentication Data", Binary, 8, 16, Issuer, false, &[]),
    row(0x92, "Issuer Public Key Remainder", Binary, 0, 248, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x93, "Signed Static Application Data", Binary, 0, 248, Card, true, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x94, "Application File Locator (AFL)", Binary, 0, 252, Card, false, &[Tag::new(0x77), Tag::new(0x80)]),
    row(0x95, "Terminal Verification Results (TVR)", Binary, 5, 5, Terminal, false, &[]),
    row(0x97, "Transaction Certificate Data Object List (TDOL)", Binary, 0, 252, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x98, "Transaction Certificate (TC) Hash Value", Binary, 20, 20, Terminal, false, &[]),
    row(0x99, "Transaction Personal Identification Number (PIN) Data", Binary, 0, 252, Terminal, true, &[]),
    row(0x9A, "Transaction Date", Numeric, 3, 3, Terminal, false, &[]),
    row(0x9B, "Transaction Status Information (TSI)", Binary, 2, 2, Terminal, false, &[]),
    row(0x9C, "Transaction Type", Numeric, 1, 1, Terminal, false, &[]),
    row(0x9D, "Directory Definition File (DDF) Name", Binary, 5, 16, Card, false, &[Tag::new(0x61)]),
    row(0xA5, "FCI Proprietary Template", Binary, 0, 252, Card, false, &[Tag::new(0x6F)]),
    row(0x5F20, "Cardholder Name", AlphanumericSpecial, 2, 26, Card, true, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x5F24, "Application Expiration Date", Numeric, 3, 3, Card, true, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x5F25, "Application Effective Date", Numeric, 3, 3, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x5F28, "Issuer Country Code", Numeric, 2, 2, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x5F2A, "Transaction Currency Code", Numeric, 2, 2, Terminal, false, &[]),
    row(0x5F2D, "Language Preference", Alphanumeric, 2, 8, Card, false, &[Tag::new(0xA5)]),
    row(0x5F30, "Service Code", Numeric, 2, 2, Card, true, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x5F34, "Application PAN Sequence Number", Numeric, 1, 1, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x5F36, "Transaction Currency Exponent", Numeric, 1, 1, Terminal, false, &[]),
    row(0x5F50, "Issuer URL", AlphanumericSpecial, 0, 252, Card, false, &[Tag::new(0xBF0C), Tag::new(0x73)]),
    row(0x5F53, "International Bank Account Number (IBAN)", Binary, 0, 34, Card, true, &[Tag::new(0xBF0C), Tag::new(0x73)]),
    row(0x5F54, "Bank Identifier Code (BIC)", Binary, 8, 11, Card, false, &[Tag::new(0xBF0C), Tag::new(0x73)]),
    row(0x5F55, "Issuer Country Code (alpha2)", Alphanumeric, 2, 2, Card, false, &[Tag::new(0xBF0C), Tag::new(0x73)]),
    row(0x5F56, "Issuer Country Code (alpha3)", Alphanumeric, 3, 3, Card, false, &[Tag::new(0xBF0C), Tag::new(0x73)]),
    row(0x5F57, "Account Type", Numeric, 1, 1, Terminal, false, &[]),
    row(0x9F01, "Acquirer Identifier", Numeric, 6, 6, Terminal, false, &[]),
    row(0x9F02, "Amount, Authorised (Numeric)", Numeric, 6, 6, Terminal, false, &[]),
    row(0x9F03, "Amount, Other (Numeric)", Numeric, 6, 6, Terminal, false, &[]),
    row(0x9F04, "Amount, Other (Binary)", Binary, 4, 4, Terminal, false, &[]),
    row(0x9F05, "Application Discretionary Data", Binary, 1, 32, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F06, "Application Identifier (AID), terminal", Binary, 5, 16, Terminal, false, &[]),
    row(0x9F07, "Application Usage Control", Binary, 2, 2, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F08, "Application Version Number, card", Binary, 2, 2, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F09, "Application Version Number, terminal", Binary, 2, 2, Terminal, false, &[]),
    row(0x9F0A, "Application Selection Registered Proprietary Data", Binary, 0, 252, Card, false, &[Tag::new(0xBF0C), Tag::new(0x73)]),
    row(0x9F0B, "Cardholder Name Extended", AlphanumericSpecial, 27, 45, Card, true, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F0D, "Issuer Action Code, Default", Binary, 5, 5, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F0E, "Issuer Action Code, Denial", Binary, 5, 5, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F0F, "Issuer Action Code, Online", Binary, 5, 5, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F10, "Issuer Application Data", Binary, 0, 32, Card, false, &[Tag::new(0x77), Tag::new(0x80)]),
    row(0x9F11, "Issuer Code Table Index", Numeric, 1, 1, Card, false, &[Tag::new(0x61), Tag::new(0xA5)]),
    row(0x9F12, "Application Preferred Name", AlphanumericSpecial, 1, 16, Card, false, &[Tag::new(0x61), Tag::new(0xA5)]),
    row(0x9F13, "Last Online Application Transaction Counter (ATC) Register", Binary, 2, 2, Card, false, &[]),
    row(0x9F14, "Lower Consecutive Offline Limit", Binary, 1, 1, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F15, "Merchant Category Code", Numeric, 2, 2, Terminal, false, &[]),
    row(0x9F16, "Merchant Identifier", AlphanumericSpecial, 15, 15, Terminal, false, &[]),
    row(0x9F17, "Personal Identification Number (PIN) Try Counter", Binary, 1, 1, Card, false, &[]),
    row(0x9F18, "Issuer Script Identifier", Binary, 4, 4, Issuer, false, &[Tag::new(0x71), Tag::new(0x72)]),
    row(0x9F19, "Token Requestor ID", Numeric, 6, 6, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F1A, "Terminal Country Code", Numeric, 2, 2, Terminal, false, &[]),
    row(0x9F1B, "Terminal Floor Limit", Binary, 4, 4, Terminal, false, &[]),
    row(0x9F1C, "Terminal Identification", Alphanumeric, 8, 8, Terminal, false, &[]),
    row(0x9F1D, "Terminal Risk Management Data", Binary, 1, 8, Terminal, false, &[]),
    row(0x9F1E, "Interface Device (IFD) Serial Number", Alphanumeric, 8, 8, Terminal, false, &[]),
    row(0x9F1F, "Track 1 Discretionary Data", AlphanumericSpecial, 0, 252, Card, true, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F20, "Track 2 Discretionary Data", CompressedNumeric, 0, 252, Card, true, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F21, "Transaction Time", Numeric, 3, 3, Terminal, false, &[]),
    row(0x9F22, "Certification Authority Public Key Index, terminal", Binary, 1, 1, Terminal, false, &[]),
    row(0x9F23, "Upper Consecutive Offline Limit", Binary, 1, 1, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F24, "Payment Account Reference (PAR)", Alphanumeric, 29, 29, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F25, "Last 4 Digits of PAN", Numeric, 2, 2, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F26, "Application Cryptogram", Binary, 8, 8, Card, false, &[Tag::new(0x77), Tag::new(0x80)]),
    row(0x9F27, "Cryptogram Information Data", Binary, 1, 1, Card, false, &[Tag::new(0x77), Tag::new(0x80)]),
    row(0x9F29, "Extended Selection", Binary, 0, 252, Card, false, &[Tag::new(0x61)]),
    row(0x9F2A, "Kernel Identifier", Binary, 1, 8, Card, false, &[Tag::new(0x61)]),
    row(0x9F2D, "ICC PIN Encipherment Public Key Certificate", Binary, 0, 248, Card, true, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F2E, "ICC PIN Encipherment Public Key Exponent", Binary, 1, 3, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F2F, "ICC PIN Encipherment Public Key Remainder", Binary, 0, 248, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F32, "Issuer Public Key Exponent", Binary, 1, 3, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F33, "Terminal Capabilities", Binary, 3, 3, Terminal, false, &[]),
    row(0x9F34, "Cardholder Verification Method (CVM) Results", Binary, 3, 3, Terminal, false, &[]),
    row(0x9F35, "Terminal Type", Numeric, 1, 1, Terminal, false, &[]),
    row(0x9F36, "Application Transaction Counter (ATC)", Binary, 2, 2, Card, false, &[Tag::new(0x77), Tag::new(0x80)]),
    row(0x9F37, "Unpredictable Number", Binary, 4, 4, Terminal, false, &[]),
    row(0x9F38, "Processing Options Data Object List (PDOL)", Binary, 0, 252, Card, false, &[Tag::new(0xA5)]),
    row(0x9F39, "Point-of-Service (POS) Entry Mode", Numeric, 1, 1, Terminal, false, &[]),
    row(0x9F3A, "Amount, Reference Currency", Binary, 4, 4, Terminal, false, &[]),
    row(0x9F3B, "Application Reference Currency", Numeric, 2, 8, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F3C, "Transaction Reference Currency Code", Numeric, 2, 2, Terminal, false, &[]),
    row(0x9F3D, "Transaction Reference Currency Exponent", Numeric, 1, 1, Terminal, false, &[]),
    row(0x9F40, "Additional Terminal Capabilities", Binary, 5, 5, Terminal, false, &[]),
    row(0x9F41, "Transaction Sequence Counter", Numeric, 2, 4, Terminal, false, &[]),
    row(0x9F42, "Application Currency Code", Numeric, 2, 2, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F43, "Application Reference Currency Exponent", Numeric, 1, 4, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F44, "Application Currency Exponent", Numeric, 1, 1, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F45, "Data Authentication Code", Binary, 2, 2, Card, false, &[]),
    row(0x9F46, "ICC Public Key Certificate", Binary, 0, 248, Card, true, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F47, "ICC Public Key Exponent", Binary, 1, 3, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F48, "ICC Public Key Remainder", Binary, 0, 248, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F49, "Dynamic Data Authentication Data Object List (DDOL)", Binary, 0, 252, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F4A, "Static Data Authentication Tag List", Binary, 0, 252, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F4B, "Signed Dynamic Application Data", Binary, 0, 248, Card, false, &[Tag::new(0x77), Tag::new(0x80)]),
    row(0x9F4C, "ICC Dynamic Number", Binary, 2, 8, Card, false, &[]),
    row(0x9F4D, "Log Entry", Binary, 2, 2, Card, false, &[Tag::new(0xBF0C), Tag::new(0x73)]),
    row(0x9F4E, "Merchant Name and Location", AlphanumericSpecial, 0, 252, Terminal, false, &[]),
    row(0x9F4F, "Log Format", Binary, 0, 252, Card, false, &[]),
    row(0x9F50, "Offline Accumulator Balance", Numeric, 6, 6, Card, false, &[]),
    row(0x9F51, "Application Currency Code, card risk management", Numeric, 2, 2, Card, false, &[]),
    row(0x9F53, "Transaction Category Code", Alphanumeric, 1, 1, Terminal, false, &[]),
    row(0x9F58, "Consecutive Transaction Limit", Binary, 1, 1, Card, false, &[]),
    row(0x9F5B, "Issuer Script Results", Binary, 0, 252, Terminal, false, &[]),
    row(0x9F5D, "Available Offline Spending Amount", Numeric, 6, 6, Card, false, &[]),
    row(0x9F63, "Card Product Identification Information", Binary, 0, 16, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F66, "Terminal Transaction Qualifiers (TTQ)", Binary, 4, 4, Terminal, false, &[]),
    row(0x9F6B, "Track 2 Data", Binary, 0, 19, Card, true, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F6C, "Card Transaction Qualifiers (CTQ)", Binary, 2, 2, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F6E, "Form Factor Indicator", Binary, 4, 32, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F74, "Electronic Cash Issuer Authorisation Code", Alphanumeric, 6, 6, Card, false, &[Tag::new(0x70), Tag::new(0x77)]),
    row(0x9F77, "Electronic Cash Balance Limit", Numeric, 6, 6, Card, false, &[]),
    row(0x9F78, "Electronic Cash Single Transaction Limit", Numeric, 6, 6, Card, false, &[]),
    row(0x9F79, "Electronic Cash Balance", Numeric, 6, 6, Card, false, &[]),
    row(0x9F7A, "Electronic Cash Terminal Support Indicator", Numeric, 1, 1, Terminal, false, &[]),
    row(0x9F7B, "Electronic Cash Terminal Transaction Limit", Numeric, 6, 6, Terminal, false, &[]),
    row(0x9F7C, "Merchant Custom Data", Binary, 0, 32, Terminal, false, &[]),
    row(0xBF0C, "FCI Issuer Discretionary Data", Binary, 0, 222, Card, false, &[Tag::new(0xA5)]),
    row(0xDF02, "Certification Authority Public Key Modulus", Binary, 0, 248, Terminal, false, &[]),
    row(0xDF03, "Certification Authority Public Key Checksum", Binary, 20, 20, Terminal, false, &[]),
    row(0xDF04, "Certification Authority Public Key Exponent", Binary, 1, 3, Terminal, false, &[]),
    row(0xDF05, "Certification Authority Public Key Expiry", Binary, 4, 8, Terminal, false, &[]),
    row(0xDF06, "Certification Authority Public Key Hash Algorithm", Binary, 1, 1, Terminal, false, &[]),
    row(0xDF07, "Certification Authority Public Key Algorithm", Binary, 1, 1, Terminal, false, &[]),
    row(0xDF31, "Issuer Script Results (UnionPay)", Binary, 0, 252, Terminal, false, &[]),
    row(0xDF32, "Chip Serial Number (UnionPay)", AlphanumericSpecial, 0, 252, Terminal, false, &[]),
    row(0xDF33, "Session Key Data (UnionPay)", Binary, 0, 252, Terminal, false, &[]),
    row(0xDF34, "Terminal Reading Time (UnionPay)", Binary, 0, 252, Terminal, false, &[]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_without_repeats() {
        assert!(TABLE.windows(2).all(|pair| pair[0].tag < pair[1].tag));
        assert!(TABLE.iter().all(|info| info.min_bytes <= info.max_bytes));
    }

    #[test]
    fn account_data_is_marked_sensitive() {
        // Anyone with the public keys reads the PAN in a card certificate; the static signature covers a hash of account data.
        for number in [0x93, 0x9F2D, 0x9F46, 0x57, 0x5A, 0x5F24, 0x5F20, 0x56, 0x9F6B, 0x9F1F, 0x9F20, 0x9F0B, 0x99] {
            assert!(is_sensitive(Tag::new(number)), "{number:X}");
        }
        assert!(!is_sensitive(Tag::new(0x95)));
    }

    #[test]
    fn templates_in_the_table_are_constructed() {
        for info in TABLE {
            for template in info.templates {
                let is_format_1 = *template == crate::tags::RESPONSE_FORMAT_1;
                assert!(template.is_constructed() || is_format_1, "{}", info.tag);
            }
        }
    }
}
