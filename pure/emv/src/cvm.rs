//! Cardholder verification: which rule of the CVM list applies, and what its outcome means (EMV 4.4 Book 3 §10.5,
//! Book 4 §6.3.4). The asking is the kernel's.

use crate::config::{TerminalConfig, TransactionData};
use crate::data::DataStore;
use tlv::{CvRule, CvmList, tags};

/// CVM results when no rule was performed successfully: no CVM, condition always, failed.
pub const RESULTS_FAILED: [u8; 3] = [0x3F, 0x00, 0x01];
/// CVM results when the card does not support cardholder verification or gives no list.
pub const RESULTS_NOT_PERFORMED: [u8; 3] = [0x3F, 0x00, 0x00];

/// Third byte of the CVM results (Book 4 Annex A4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CvmResult {
    /// Unknown, as for a signature or a PIN only the issuer can check.
    Unknown = 0x00,
    /// Failed.
    Failed = 0x01,
    /// Successful.
    Successful = 0x02,
}

/// A verification method (Book 3 Annex C3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Fail CVM processing.
    Fail,
    /// Plaintext PIN checked by the card, perhaps with signature.
    PlaintextPin {
        /// A signature is asked for too.
        signature: bool,
    },
    /// PIN checked by the issuer.
    OnlinePin,
    /// Enciphered PIN checked by the card, perhaps with signature.
    EncipheredPin {
        /// A signature is asked for too.
        signature: bool,
    },
    /// Signature.
    Signature,
    /// No verification required.
    NoCvm,
    /// A code this kernel does not know.
    Unrecognised,
}

impl Method {
    /// The method of a rule.
    pub fn of(rule: CvRule) -> Method {
        match rule.method() {
            0x00 => Method::Fail,
            0x01 => Method::PlaintextPin { signature: false },
            0x02 => Method::OnlinePin,
            0x03 => Method::PlaintextPin { signature: true },
            0x04 => Method::EncipheredPin { signature: false },
            0x05 => Method::EncipheredPin { signature: true },
            0x1E => Method::Signature,
            0x1F => Method::NoCvm,
            _ => Method::Unrecognised,
        }
    }

    /// Whether a PIN is entered.
    pub fn needs_pin(self) -> bool {
        matches!(self, Method::PlaintextPin { .. } | Method::OnlinePin | Method::EncipheredPin { .. })
    }

    /// Whether the cardholder signs.
    pub fn needs_signature(self) -> bool {
        matches!(
            self,
            Method::Signature | Method::PlaintextPin { signature: true } | Method::EncipheredPin { signature: true }
        )
    }

    /// Whether the terminal supports the method, by tag 9F33 byte 2.
    pub fn is_supported(self, config: &TerminalConfig) -> bool {
        let has = |mask| config.has_capability(1, mask);
        let signature_ok = |signature: bool| !signature || has(0x20);
        match self {
            Method::Fail => true,
            Method::PlaintextPin { signature } => has(0x80) && signature_ok(signature),
            Method::OnlinePin => has(0x40),
            Method::Signature => has(0x20),
            Method::EncipheredPin { signature } => has(0x10) && signature_ok(signature),
            Method::NoCvm => has(0x08),
            Method::Unrecognised => false,
        }
    }
}

/// Whether the terminal has a PIN pad, by any of its PIN capabilities.
pub fn has_pin_pad(config: &TerminalConfig) -> bool {
    config.has_capability(1, 0x80 | 0x40 | 0x10)
}

/// What the conditions of the rules are decided on.
#[derive(Clone, Copy)]
pub struct Circumstances<'a> {
    /// The terminal.
    pub config: &'a TerminalConfig,
    /// The transaction.
    pub transaction: &'a TransactionData,
    /// The card's objects.
    pub data: &'a DataStore,
}

impl Circumstances<'_> {
    /// Whether a rule's condition is satisfied (Book 3 Annex C3, table of condition codes).
    pub fn satisfy(&self, rule: CvRule, list: &CvmList) -> bool {
        let cash = self.transaction.is_cash();
        let unattended_cash = cash && self.config.is_unattended();
        let manual_cash = cash && !self.config.is_unattended();
        let cashback = self.transaction.has_cashback();
        match rule.condition {
            0x00 => true,
            0x01 => unattended_cash,
            0x02 => !cash && !cashback,
            0x03 => Method::of(rule) == Method::Unrecognised || Method::of(rule).is_supported(self.config),
            0x04 => manual_cash,
            0x05 => cashback,
            0x06..=0x09 => self.in_application_currency() && self.amount_satisfies(rule.condition, list),
            _ => false,
        }
    }

    fn in_application_currency(&self) -> bool {
        self.data.get(tags::APPLICATION_CURRENCY_CODE) == Some(&self.transaction.currency_code[..])
    }

    fn amount_satisfies(&self, condition: u8, list: &CvmList) -> bool {
        let amount = self.transaction.amount_minor;
        match condition {
            0x06 => amount < u64::from(list.amount_x_minor),
            0x07 => amount > u64::from(list.amount_x_minor),
            0x08 => amount < u64::from(list.amount_y_minor),
            _ => amount > u64::from(list.amount_y_minor),
        }
    }
}

/// Walks through the rules of one list.
#[derive(Clone, Debug)]
pub struct Rules {
    list: CvmList,
    position: usize,
}

impl Rules {
    /// Begins at the first rule.
    pub fn new(list: CvmList) -> Self {
        Rules { list, position: 0 }
    }

    /// The next rule whose condition is satisfied.
    pub fn next(&mut self, circumstances: &Circumstances<'_>) -> Option<CvRule> {
        while let Some(&rule) = self.list.rules.get(self.position) {
            self.position += 1;
            if circumstances.satisfy(rule, &self.list) {
                return Some(rule);
            }
        }
        None
    }
}

/// The three bytes of tag 9F34 for a performed rule.
pub fn results(rule: CvRule, result: CvmResult) -> [u8; 3] {
    [rule.code, rule.condition, result as u8]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TerminalApplication;
    use crate::date::EmvDate;

    fn satisfied(condition: u8, change: impl FnOnce(&mut TerminalConfig, &mut TransactionData)) -> bool {
        let mut config = TerminalConfig::merchant([0x01, 0x56], vec![TerminalApplication::new(&[1; 5])]);
        let date = EmvDate::new(2025, 11, 22).expect("date");
        let mut transaction = TransactionData::purchase(1000, [0x01, 0x56], date, [0; 4]);
        let mut data = DataStore::default();
        data.set_card(tags::APPLICATION_CURRENCY_CODE, &[0x01, 0x56]);
        change(&mut config, &mut transaction);
        let list = CvmList { amount_x_minor: 1000, amount_y_minor: 2000, rules: Vec::new() };
        let circumstances = Circumstances { config: &config, transaction: &transaction, data: &data };
        circumstances.satisfy(CvRule { code: 0x42, condition }, &list)
    }

    #[test]
    fn amounts_compare_strictly_and_only_in_the_application_currency() {
        assert!(!satisfied(0x06, |_, _| {}));
        assert!(!satisfied(0x07, |_, _| {}));
        assert!(satisfied(0x06, |_, transaction| transaction.amount_minor = 999));
        assert!(satisfied(0x07, |_, transaction| transaction.amount_minor = 1001));
        assert!(satisfied(0x08, |_, _| {}));
        assert!(!satisfied(0x09, |_, _| {}));
        assert!(!satisfied(0x08, |_, transaction| transaction.currency_code = [0x08, 0x40]));
    }

    #[test]
    fn cash_is_told_by_attendance() {
        let cash = |transaction: &mut TransactionData| transaction.transaction_type = 0x01;
        assert!(satisfied(0x04, |_, transaction| cash(transaction)));
        assert!(!satisfied(0x01, |_, transaction| cash(transaction)));
        let at_machine = |config: &mut TerminalConfig, transaction: &mut TransactionData| {
            config.terminal_type = 0x14;
            cash(transaction);
        };
        assert!(satisfied(0x01, at_machine));
        assert!(!satisfied(0x04, at_machine));
        assert!(!satisfied(0x02, |_, transaction| cash(transaction)));
        assert!(satisfied(0x02, |_, _| {}));
        assert!(satisfied(0x05, |_, transaction| transaction.amount_other_minor = 1));
    }

    #[test]
    fn support_is_a_condition_of_its_own() {
        assert!(satisfied(0x03, |_, _| {}));
        assert!(!satisfied(0x03, |config, _| config.capabilities[1] = 0x20));
        assert!(!satisfied(0x0A, |_, _| {}), "unknown conditions are never satisfied");
    }
}
