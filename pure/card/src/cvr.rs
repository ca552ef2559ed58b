//! Card verification results: what the card tells its issuer inside 9F10.

use crate::scheme::CryptogramScheme;
use crate::state::ApplicationState;

/// Kind of application cryptogram, bits 8–7 of the CID (EMV 4.4 Book 3 table 15).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CryptogramKind {
    Declined,
    Approved,
    OnlineRequest,
}

impl CryptogramKind {
    /// Cryptogram information data (tag 9F27).
    pub fn information_data(self) -> u8 {
        self.bits() << 6
    }

    fn bits(self) -> u8 {
        match self {
            Self::Declined => 0b00,
            Self::Approved => 0b01,
            Self::OnlineRequest => 0b10,
        }
    }
}

/// No second cryptogram was asked for yet.
const NOT_REQUESTED: u8 = 0b10;

/// What happened with the offline PIN.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum PinVerification {
    #[default]
    NotPerformed,
    Passed,
    Failed,
}

/// What happened with issuer authentication.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum IssuerAuthentication {
    #[default]
    NotPerformed,
    Passed,
    Failed,
}

/// What the results are made of.
pub(crate) struct Facts<'a> {
    pub first: CryptogramKind,
    /// The second cryptogram, once it is asked for.
    pub second: Option<CryptogramKind>,
    pub pin: PinVerification,
    pub pin_enciphered: bool,
    pub pin_tries_left: u8,
    pub issuer_authentication: IssuerAuthentication,
    pub unable_to_go_online: bool,
    /// The transaction before this one asked to go online and was never completed.
    pub previous_incomplete: bool,
    pub dynamic_signature_given: bool,
    pub combined_signature_given: bool,
    pub domestic: bool,
    pub state: &'a ApplicationState,
}

fn bit(condition: bool, value: u8) -> u8 {
    if condition { value } else { 0 }
}

impl Facts<'_> {
    fn cryptogram_bits(&self) -> u8 {
        self.second.map_or(NOT_REQUESTED, CryptogramKind::bits) << 6 | self.first.bits() << 4
    }

    /// PBOC 3.0 and VIS 1.6: length 03 and three bytes.
    fn pboc(&self) -> Vec<u8> {
        let state = self.state;
        let second = self.cryptogram_bits()
            | bit(self.issuer_authentication == IssuerAuthentication::Failed, 0x08)
            | bit(self.pin != PinVerification::NotPerformed, 0x04)
            | bit(self.pin == PinVerification::Failed, 0x02)
            | bit(self.unable_to_go_online, 0x01);
        let third = bit(self.previous_incomplete, 0x80)
            | bit(self.pin_tries_left == 0, 0x40)
            | bit(state.lower_limit_reached(), 0x20)
            | bit(state.is_new(), 0x10)
            | bit(state.issuer_authentication_failed, 0x08)
            | bit(state.issuer_authentication_missing, 0x04);
        let fourth = state.script_commands << 4
            | bit(state.script_failed, 0x08)
            | bit(state.offline_authentication_failed, 0x04)
            | bit(self.dynamic_signature_given, 0x02);
        vec![0x03, second, third, fourth]
    }

    /// M/Chip 4: six bytes.
    fn mchip(&self) -> Vec<u8> {
        let state = self.state;
        let first = self.cryptogram_bits()
            | bit(self.pin != PinVerification::NotPerformed, 0x04)
            | bit(self.pin != PinVerification::NotPerformed && self.pin_enciphered, 0x02)
            | bit(self.pin == PinVerification::Passed, 0x01);
        let combined_first = self.combined_signature_given && self.second.is_none();
        let combined_second = self.combined_signature_given && self.second.is_some();
        let second = bit(self.dynamic_signature_given, 0x80)
            | bit(combined_first, 0x40)
            | bit(combined_second, 0x20)
            | bit(self.issuer_authentication != IssuerAuthentication::NotPerformed, 0x10);
        let third = (state.script_commands & 0x0F) << 4 | self.pin_tries_left & 0x0F;
        let fourth = bit(self.unable_to_go_online, 0x40)
            | bit(self.pin == PinVerification::NotPerformed, 0x20)
            | bit(self.pin == PinVerification::Failed, 0x10)
            | bit(self.pin_tries_left == 0, 0x08)
            | bit(!self.domestic, 0x04)
            | bit(self.domestic, 0x02);
        let fifth = bit(state.lower_limit_reached(), 0x80)
            | bit(state.upper_limit_reached(), 0x40)
            | bit(state.go_online_next, 0x08)
            | bit(self.issuer_authentication == IssuerAuthentication::Failed, 0x04)
            | bit(state.script_commands > 0, 0x02)
            | bit(state.script_failed, 0x01);
        vec![first, second, third, fourth, fifth, 0]
    }

    /// Issuer application data (tag 9F10) of a scheme.
    pub fn issuer_application_data(&self, scheme: CryptogramScheme) -> Vec<u8> {
        let version = scheme.cryptogram_version_number();
        match scheme {
            CryptogramScheme::UnionPay => {
                let body = [&[DERIVATION_KEY_INDEX, version], &self.pboc()[..], &[PBOC_ALGORITHM_TDES]].concat();
                [&[body.len() as u8], &body[..]].concat()
            }
            CryptogramScheme::VisaCvn10 | CryptogramScheme::VisaCvn18 => {
                let body = [&[DERIVATION_KEY_INDEX, version], &self.pboc()[..]].concat();
                [&[body.len() as u8], &body[..]].concat()
            }
            CryptogramScheme::MastercardCvn20 => {
                let mut data = vec![DERIVATION_KEY_INDEX, version];
                data.extend(self.mchip());
                data.extend(crate::issued::DATA_AUTHENTICATION_CODE);
                data.extend(self.mchip_counters());
                data
            }
        }
    }

    /// Six bytes of cumulative amount in BCD, offline transactions in a row, FF.
    fn mchip_counters(&self) -> Vec<u8> {
        let digits = format!("{:012}", self.state.cumulative_offline_minor.min(types::AMOUNT_MINOR_MAX));
        let mut counters = crate::certificate::pack_digits(&digits, 0);
        counters.extend([self.state.consecutive_offline, 0xFF]);
        counters
    }
}

/// Which generation of issuer master keys made this card's keys.
const DERIVATION_KEY_INDEX: u8 = 0x01;
/// PBOC algorithm identifier: TDES (04 would be SM4).
const PBOC_ALGORITHM_TDES: u8 = 0x01;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::personalisation::RiskParameters;

    const LIMITS: RiskParameters = RiskParameters {
        lower_consecutive_offline_limit: 3,
        upper_consecutive_offline_limit: 5,
        issuer_authentication_mandatory: false,
        new_card_goes_online: true,
    };

    fn fresh(state: &ApplicationState) -> Facts<'_> {
        Facts {
            first: CryptogramKind::OnlineRequest,
            second: None,
            pin: PinVerification::NotPerformed,
            pin_enciphered: false,
            pin_tries_left: 3,
            issuer_authentication: IssuerAuthentication::NotPerformed,
            unable_to_go_online: false,
            previous_incomplete: false,
            dynamic_signature_given: false,
            combined_signature_given: false,
            domestic: true,
            state,
        }
    }

    #[test]
    fn first_request_of_each_scheme() {
        let state = ApplicationState { last_online_transaction_counter: 7, ..ApplicationState::fresh(LIMITS) };
        let data = |scheme| fresh(&state).issuer_application_data(scheme);
        assert_eq!(data(CryptogramScheme::UnionPay), crate::hex::bytes("07010103A0000001"));
        assert_eq!(data(CryptogramScheme::VisaCvn18), crate::hex::bytes("06011203A00000"));
        let mastercard = crate::hex::bytes("0114A00003220000123400000000000000FF");
        assert_eq!(data(CryptogramScheme::MastercardCvn20), mastercard);
    }

    #[test]
    fn a_new_card_with_a_wrong_pin_says_so() {
        let state = ApplicationState::fresh(LIMITS);
        let facts = Facts { pin: PinVerification::Failed, pin_tries_left: 0, ..fresh(&state) };
        assert_eq!(facts.pboc(), [0x03, 0xA6, 0x50, 0x00]);
    }
}
