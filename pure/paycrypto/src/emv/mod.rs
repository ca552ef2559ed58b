//! Keys and cryptograms between a chip card and its issuer (EMV 4.4 Book 2 §8, §9 and annex A1; PBOC 3.0).
//!
//! [`CryptogramVersion`] knows how each scheme combines the parts; the parts themselves are public too. Dynamic card
//! verification codes of contactless magnetic-stripe mode stand in [`crate::card_verification`].

mod cryptogram;
mod master_key;
mod purse;
mod scheme;
mod script;
mod session_key;

pub use cryptogram::{
    ARPC_METHOD_2_BYTES, CRYPTOGRAM_BYTES, PROPRIETARY_AUTHENTICATION_BYTES_MAX, application_cryptogram, arpc_method_1,
    arpc_method_2, verify_application_cryptogram,
};
pub use master_key::{
    MasterKeyOption, diversification_data, icc_master_key, icc_master_key_before_parity, option_b_hash,
};
pub use purse::{purse_mac, purse_session_key};
pub use scheme::{
    ArpcMethod, CryptogramKey, CryptogramVersion, IccMasterKeys, IssuerResponse, ScriptContext, ScriptKey,
};
pub use script::{CommandCipher, command_mac, encipher_command_data, vis_pin_block};
pub use session_key::{
    SessionTree, TreeNode, common_session_key, common_session_key_for_atc, common_session_key_for_atc_and_un,
    common_session_key_inputs, pboc_session_key, pboc_session_key_inputs, session_tree_path, tree_session_key,
    visa_script_session_key,
};

/// Application transaction counter, tag 9F36.
pub type Atc = [u8; 2];
/// Unpredictable number of the terminal, tag 9F37.
pub type UnpredictableNumber = [u8; 4];
/// Application cryptogram, tag 9F26.
pub type Cryptogram = [u8; CRYPTOGRAM_BYTES];

use crate::{CryptoError, TdesKey, TdesKeyLength};

pub(crate) fn require_double(key: &TdesKey) -> Result<(), CryptoError> {
    if key.length() == TdesKeyLength::Double { Ok(()) } else { Err(CryptoError::DoubleLengthNeeded) }
}
