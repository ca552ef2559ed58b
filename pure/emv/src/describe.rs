//! Bit fields and codes in words, as data (EMV 4.4 Book 3 Annex C, Book 4 Annex A). For explanations; nothing decides on it.

use tlv::CvRule;

/// One bit with its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitMeaning {
    /// Byte, from 1 as the specification counts.
    pub byte: usize,
    /// Bit, 8 (highest) to 1.
    pub bit: u8,
    /// Whether it is set.
    pub set: bool,
    /// What it means when set.
    pub text: &'static str,
}

/// Byte from 1, bit 8–1, meaning.
type Row = (usize, u8, &'static str);

/// Every defined bit of `value`, in order.
fn explain(value: &[u8], rows: &[Row]) -> Vec<BitMeaning> {
    rows.iter()
        .map(|&(byte, bit, text)| {
            let set = value.get(byte - 1).is_some_and(|&content| content >> (bit - 1) & 1 == 1);
            BitMeaning { byte, bit, set, text }
        })
        .collect()
}

macro_rules! bit_field {
    ($(#[$note:meta])* $function:ident, $size:literal, $table:ident) => {
        $(#[$note])*
        pub fn $function(value: &[u8; $size]) -> Vec<BitMeaning> {
            explain(value, $table)
        }
    };
}

bit_field!(
    /// Terminal verification results, tag 95.
    tvr, 5, TVR
);
bit_field!(
    /// Transaction status information, tag 9B.
    tsi, 2, TSI
);
bit_field!(
    /// Application interchange profile, tag 82.
    aip, 2, AIP
);
bit_field!(
    /// Application usage control, tag 9F07.
    auc, 2, AUC
);
bit_field!(
    /// Terminal capabilities, tag 9F33.
    terminal_capabilities, 3, CAPABILITIES
);
bit_field!(
    /// Additional terminal capabilities, tag 9F40.
    additional_terminal_capabilities, 5, ADDITIONAL_CAPABILITIES
);

const TVR: &[Row] = &[
    (1, 8, "Offline data authentication was not performed"),
    (1, 7, "SDA failed"),
    (1, 6, "ICC data missing"),
    (1, 5, "Card appears on terminal exception file"),
    (1, 4, "DDA failed"),
    (1, 3, "CDA failed"),
    (1, 2, "SDA selected"),
    (1, 1, "XDA selected"),
    (2, 8, "ICC and terminal have different application versions"),
    (2, 7, "Expired application"),
    (2, 6, "Application not yet effective"),
    (2, 5, "Requested service not allowed for card product"),
    (2, 4, "New card"),
    (2, 2, "Biometric performed and successful"),
    (2, 1, "Biometric template format not supported"),
    (3, 8, "Cardholder verification was not successful"),
    (3, 7, "Unrecognised CVM"),
    (3, 6, "PIN try limit exceeded"),
    (3, 5, "PIN entry required and PIN pad not present or not working"),
    (3, 4, "PIN entry required, PIN pad present, but PIN was not entered"),
    (3, 3, "Online CVM captured"),
    (3, 2, "Biometric required but capture device not working"),
    (3, 1, "Biometric required, capture device present, but biometric subtype not accepted"),
    (4, 8, "Transaction exceeds floor limit"),
    (4, 7, "Lower consecutive offline limit exceeded"),
    (4, 6, "Upper consecutive offline limit exceeded"),
    (4, 5, "Transaction selected randomly for online processing"),
    (4, 4, "Merchant forced transaction online"),
    (4, 3, "Biometric try limit exceeded"),
    (4, 2, "A selected biometric type not supported"),
    (4, 1, "XDA signature verification failed"),
    (5, 8, "Default TDOL used"),
    (5, 7, "Issuer authentication failed"),
    (5, 6, "Script processing failed before final GENERATE AC"),
    (5, 5, "Script processing failed after final GENERATE AC"),
];

const TSI: &[Row] = &[
    (1, 8, "Offline data authentication was performed"),
    (1, 7, "Cardholder verification was performed"),
    (1, 6, "Card risk management was performed"),
    (1, 5, "Issuer authentication was performed"),
    (1, 4, "Terminal risk management was performed"),
    (1, 3, "Script processing was performed"),
];

const AIP: &[Row] = &[
    (1, 8, "XDA supported"),
    (1, 7, "SDA supported"),
    (1, 6, "DDA supported"),
    (1, 5, "Cardholder verification is supported"),
    (1, 4, "Terminal risk management is to be performed"),
    (1, 3, "Issuer authentication is supported"),
    (1, 2, "On-device cardholder verification is supported (contactless)"),
    (1, 1, "CDA supported"),
    (2, 8, "EMV mode is supported (contactless)"),
];

const AUC: &[Row] = &[
    (1, 8, "Valid for domestic cash transactions"),
    (1, 7, "Valid for international cash transactions"),
    (1, 6, "Valid for domestic goods"),
    (1, 5, "Valid for international goods"),
    (1, 4, "Valid for domestic services"),
    (1, 3, "Valid for international services"),
    (1, 2, "Valid at ATMs"),
    (1, 1, "Valid at terminals other than ATMs"),
    (2, 8, "Domestic cashback allowed"),
    (2, 7, "International cashback allowed"),
];

const CAPABILITIES: &[Row] = &[
    (1, 8, "Manual key entry"),
    (1, 7, "Magnetic stripe"),
    (1, 6, "IC with contacts"),
    (2, 8, "Plaintext PIN for ICC verification"),
    (2, 7, "Enciphered PIN for online verification"),
    (2, 6, "Signature"),
    (2, 5, "Enciphered PIN for offline verification"),
    (2, 4, "No CVM required"),
    (3, 8, "SDA"),
    (3, 7, "DDA"),
    (3, 6, "Card capture"),
    (3, 4, "CDA"),
    (3, 3, "XDA"),
];

const ADDITIONAL_CAPABILITIES: &[Row] = &[
    (1, 8, "Cash"),
    (1, 7, "Goods"),
    (1, 6, "Services"),
    (1, 5, "Cashback"),
    (1, 4, "Inquiry"),
    (1, 3, "Transfer"),
    (1, 2, "Payment"),
    (1, 1, "Administrative"),
    (2, 8, "Cash deposit"),
    (3, 8, "Numeric keys"),
    (3, 7, "Alphabetical and special character keys"),
    (3, 6, "Command keys"),
    (3, 5, "Function keys"),
    (4, 8, "Print or electronic output, attendant"),
    (4, 7, "Print or electronic output, cardholder"),
    (4, 6, "Display, attendant"),
    (4, 5, "Display, cardholder"),
    (4, 2, "Code table 10"),
    (4, 1, "Code table 9"),
    (5, 8, "Code table 8"),
    (5, 7, "Code table 7"),
    (5, 6, "Code table 6"),
    (5, 5, "Code table 5"),
    (5, 4, "Code table 4"),
    (5, 3, "Code table 3"),
    (5, 2, "Code table 2"),
    (5, 1, "Code table 1"),
];

const METHODS: &[(u8, &str)] = &[
    (0x00, "Fail CVM processing"),
    (0x01, "Plaintext PIN verification performed by ICC"),
    (0x02, "Enciphered PIN verified online"),
    (0x03, "Plaintext PIN verification performed by ICC and signature"),
    (0x04, "Enciphered PIN verification performed by ICC"),
    (0x05, "Enciphered PIN verification performed by ICC and signature"),
    (0x06, "Facial biometric verified offline (by ICC)"),
    (0x07, "Facial biometric verified online"),
    (0x08, "Finger biometric verified offline (by ICC)"),
    (0x09, "Finger biometric verified online"),
    (0x0A, "Palm biometric verified offline (by ICC)"),
    (0x0B, "Palm biometric verified online"),
    (0x0C, "Iris biometric verified offline (by ICC)"),
    (0x0D, "Iris biometric verified online"),
    (0x0E, "Voice biometric verified offline (by ICC)"),
    (0x0F, "Voice biometric verified online"),
    (0x1E, "Signature"),
    (0x1F, "No CVM required"),
    (0x3F, "No CVM performed"),
];

const CONDITIONS: &[(u8, &str)] = &[
    (0x00, "Always"),
    (0x01, "If unattended cash"),
    (0x02, "If not unattended cash and not manual cash and not purchase with cashback"),
    (0x03, "If terminal supports the CVM"),
    (0x04, "If manual cash"),
    (0x05, "If purchase with cashback"),
    (0x06, "If transaction is in the application currency and is under X value"),
    (0x07, "If transaction is in the application currency and is over X value"),
    (0x08, "If transaction is in the application currency and is under Y value"),
    (0x09, "If transaction is in the application currency and is over Y value"),
];

const RESULTS: &[(u8, &str)] = &[(0x00, "Unknown"), (0x01, "Failed"), (0x02, "Successful")];

const TERMINAL_TYPES: &[(u8, &str)] = &[
    (0x11, "Financial institution, attended, online only"),
    (0x12, "Financial institution, attended, offline with online capability"),
    (0x13, "Financial institution, attended, offline only"),
    (0x14, "Financial institution, unattended, online only"),
    (0x15, "Financial institution, unattended, offline with online capability"),
    (0x16, "Financial institution, unattended, offline only"),
    (0x21, "Merchant, attended, online only"),
    (0x22, "Merchant, attended, offline with online capability"),
    (0x23, "Merchant, attended, offline only"),
    (0x24, "Merchant, unattended, online only"),
    (0x25, "Merchant, unattended, offline with online capability"),
    (0x26, "Merchant, unattended, offline only"),
    (0x34, "Cardholder, unattended, online only"),
    (0x35, "Cardholder, unattended, offline with online capability"),
    (0x36, "Cardholder, unattended, offline only"),
];

const CRYPTOGRAM_REASONS: &[(u8, &str)] = &[
    (0x00, "No information given"),
    (0x01, "Service not allowed"),
    (0x02, "PIN try limit exceeded"),
    (0x03, "Issuer authentication failed"),
];

fn look_up(code: u8, table: &[(u8, &'static str)]) -> &'static str {
    table.iter().find(|(row, _)| *row == code).map_or("Reserved", |(_, text)| text)
}

/// A terminal type, tag 9F35.
pub fn terminal_type(code: u8) -> &'static str {
    look_up(code, TERMINAL_TYPES)
}

/// A CVM rule in words: method, what follows on failure, condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CvmRuleMeaning {
    /// The method.
    pub method: &'static str,
    /// On failure the next rule applies.
    pub apply_next_if_unsuccessful: bool,
    /// The condition.
    pub condition: &'static str,
}

/// A rule of the CVM list.
pub fn cvm_rule(rule: CvRule) -> CvmRuleMeaning {
    let method = if rule.code == 0x3F { rule.code } else { rule.method() };
    CvmRuleMeaning {
        method: look_up(method, METHODS),
        apply_next_if_unsuccessful: rule.apply_next_if_unsuccessful(),
        condition: look_up(rule.condition, CONDITIONS),
    }
}

/// CVM results in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CvmResultsMeaning {
    /// The rule performed last.
    pub rule: CvmRuleMeaning,
    /// What came of it.
    pub result: &'static str,
}

/// CVM results, tag 9F34.
pub fn cvm_results(value: &[u8; 3]) -> CvmResultsMeaning {
    let [code, condition, result] = *value;
    CvmResultsMeaning { rule: cvm_rule(CvRule { code, condition }), result: look_up(result, RESULTS) }
}

/// Cryptogram information data in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CryptogramInformationMeaning {
    /// TC, ARQC, AAC or reserved.
    pub kind: &'static str,
    /// The card asks for an advice message.
    pub advice_required: bool,
    /// Why the card decided so.
    pub reason: &'static str,
}

/// Cryptogram information data, tag 9F27.
pub fn cid(value: u8) -> CryptogramInformationMeaning {
    CryptogramInformationMeaning {
        kind: crate::cryptogram::CryptogramKind::from_information(value).map_or("Reserved", |kind| kind.name()),
        advice_required: value & 0x08 != 0,
        reason: look_up(value & 0x07, CRYPTOGRAM_REASONS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bits::Tvr;

    #[test]
    fn only_the_set_bits_say_so() {
        let mut value = Tvr::default();
        value.set(Tvr::FLOOR_LIMIT_EXCEEDED);
        value.set(Tvr::ONLINE_PIN_ENTERED);
        let set: Vec<_> = tvr(&value.0).into_iter().filter(|meaning| meaning.set).map(|meaning| meaning.text).collect();
        assert_eq!(set, ["Online CVM captured", "Transaction exceeds floor limit"]);
    }

    #[test]
    fn tables_name_every_bit_once() {
        for table in [TVR, TSI, AIP, AUC, CAPABILITIES, ADDITIONAL_CAPABILITIES] {
            assert!(table.windows(2).all(|pair| (pair[0].0, 9 - pair[0].1) < (pair[1].0, 9 - pair[1].1)));
        }
    }

    #[test]
    fn results_and_cryptograms_are_spelled_out() {
        let results = cvm_results(&[0x42, 0x03, 0x00]);
        assert_eq!(results.rule.method, "Enciphered PIN verified online");
        assert!(results.rule.apply_next_if_unsuccessful);
        assert_eq!(results.result, "Unknown");
        assert_eq!(cvm_results(&[0x3F, 0, 1]).rule.method, "No CVM performed");
        assert_eq!(cid(0x8A).kind, "ARQC");
        assert!(cid(0x8A).advice_required);
        assert_eq!(cid(0x02).reason, "PIN try limit exceeded");
        assert_eq!(terminal_type(0x22), "Merchant, attended, offline with online capability");
    }
}
