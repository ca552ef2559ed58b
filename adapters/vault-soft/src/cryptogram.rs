//! Cryptograms and scripts by a scheme's rules as data.

use crate::refusal::of_crypto;
use keys::{ArpcMethod, CryptogramPadding, CryptogramScheme, MasterKeyDerivation, Refusal, SessionKeyMethod};
use paycrypto::emv::{
    Cryptogram, MasterKeyOption, arpc_method_1, arpc_method_2, command_mac, common_session_key,
    common_session_key_for_atc, common_session_key_for_atc_and_un, icc_master_key, pboc_session_key,
    verify_application_cryptogram, visa_script_session_key,
};
use paycrypto::padding::Padding;
use paycrypto::{CryptoError, TdesKey};

const APPROVED: [u8; 2] = *b"00";
/// Card status update with "issuer approves online transaction" (EMV 4.4 Book 3 annex C10).
const CARD_STATUS_APPROVED: [u8; 4] = [0x00, 0x80, 0x00, 0x00];
const CARD_STATUS_DECLINED: [u8; 4] = [0; 4];

/// What a cryptogram is judged by.
pub struct CryptogramCase<'a> {
    pub scheme: CryptogramScheme,
    pub account_number: &'a [u8],
    pub card_sequence: u8,
    pub atc: [u8; 2],
    pub unpredictable_number: [u8; 4],
}

fn card_key(issuer_key: &TdesKey, case: &CryptogramCase<'_>) -> Result<TdesKey, CryptoError> {
    let option = match case.scheme.derivation {
        MasterKeyDerivation::OptionA => MasterKeyOption::A,
        MasterKeyDerivation::OptionB => MasterKeyOption::B,
    };
    icc_master_key(option, issuer_key, case.account_number, case.card_sequence)
}

fn session_key(card_key: &TdesKey, case: &CryptogramCase<'_>) -> Result<TdesKey, CryptoError> {
    match case.scheme.session {
        SessionKeyMethod::None => TdesKey::new(card_key.expose_bytes()),
        SessionKeyMethod::Common => common_session_key_for_atc(card_key, case.atc),
        SessionKeyMethod::Pboc => pboc_session_key(card_key, case.atc),
        SessionKeyMethod::Mastercard => {
            common_session_key_for_atc_and_un(card_key, case.atc, case.unpredictable_number)
        }
    }
}

/// Verifies an ARQC; the ARPC if it is right.
pub fn verify(
    issuer_key: &TdesKey,
    case: &CryptogramCase<'_>,
    data: &[u8],
    arqc: &Cryptogram,
    response_code: [u8; 2],
) -> Result<Option<[u8; 8]>, Refusal> {
    let card_key = card_key(issuer_key, case).map_err(of_crypto)?;
    let session_key = session_key(&card_key, case).map_err(of_crypto)?;
    let padding = match case.scheme.padding {
        CryptogramPadding::Zeros => Padding::Zeros,
        CryptogramPadding::Mandatory80 => Padding::Marker,
    };
    if !verify_application_cryptogram(&session_key, data, padding, arqc).map_err(of_crypto)? {
        return Ok(None);
    }
    // M/Chip answers under the card's master key although its cryptogram has a session key.
    let own_key = case.scheme.session == SessionKeyMethod::Mastercard;
    let arpc_key = if own_key { &card_key } else { &session_key };
    arpc(arpc_key, case.scheme.arpc, arqc, response_code).map(Some).map_err(of_crypto)
}

fn arpc(key: &TdesKey, method: ArpcMethod, arqc: &Cryptogram, response_code: [u8; 2]) -> Result<[u8; 8], CryptoError> {
    match method {
        ArpcMethod::Method1 => arpc_method_1(key, arqc, response_code),
        ArpcMethod::Method2 => {
            let update = if response_code == APPROVED { CARD_STATUS_APPROVED } else { CARD_STATUS_DECLINED };
            let short = arpc_method_2(key, arqc, update, &[])?;
            Ok(core::array::from_fn(|i| short.get(i).copied().unwrap_or_default()))
        }
    }
}

/// MAC of a script command; `message` is everything that it covers.
pub fn script_mac(
    issuer_key: &TdesKey,
    case: &CryptogramCase<'_>,
    arqc: &Cryptogram,
    message: &[u8],
) -> Result<[u8; 8], Refusal> {
    let card_key = card_key(issuer_key, case).map_err(of_crypto)?;
    let session_key = match case.scheme.session {
        SessionKeyMethod::None => visa_script_session_key(&card_key, case.atc),
        SessionKeyMethod::Pboc => pboc_session_key(&card_key, case.atc),
        // Method 2 with common session keys is Visa's CVN 18, whose scripts go under Visa's own session key. CVN 22 is the
        // same but for its scripts: only `MakeIssuerScriptMac`, which names the version, can tell them apart.
        SessionKeyMethod::Common if case.scheme.arpc == ArpcMethod::Method2 => {
            visa_script_session_key(&card_key, case.atc)
        }
        SessionKeyMethod::Common | SessionKeyMethod::Mastercard => common_session_key(&card_key, arqc),
    };
    command_mac(&session_key.map_err(of_crypto)?, message).map_err(of_crypto)
}
