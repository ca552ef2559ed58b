//! What each scheme's cryptogram version makes of the parts: one table, one set of functions.

use zeroize::Zeroizing;

use crate::emv::{
    Atc, CommandCipher, Cryptogram, MasterKeyOption, UnpredictableNumber, application_cryptogram, arpc_method_1,
    arpc_method_2, command_mac, common_session_key, common_session_key_for_atc, common_session_key_for_atc_and_un,
    encipher_command_data, icc_master_key, pboc_session_key, vis_pin_block, visa_script_session_key,
};
use crate::padding::Padding;
use crate::pin_block::encode_format_2;
use crate::{CryptoError, Pin, TdesKey, constant_time_eq};

/// A scheme's recipe for cryptograms and scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CryptogramVersion {
    /// Interac CVN 133.
    InteracCvn133,
    /// M/Chip 4 CVN 16: proprietary session key.
    MastercardCvn16,
    /// M/Chip 4 CVN 17: as 16, counters in the cryptogram.
    MastercardCvn17,
    /// M/Chip 4 CVN 20: EMV common session key.
    MastercardCvn20,
    /// M/Chip 4 CVN 21: as 20, counters in the cryptogram.
    MastercardCvn21,
    /// PBOC 3.0 / UnionPay CVN 01.
    Pboc,
    /// Visa CVN 10: master key used directly, zero padding.
    VisaCvn10,
    /// Visa CVN 18: EMV common session key, ARPC method 2.
    VisaCvn18,
    /// Visa CVN 22: as 18, scripts with common session keys.
    VisaCvn22,
}

/// How the key of a cryptogram or of its answer comes from the ICC master key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CryptogramKey {
    /// It is the master key.
    MasterKey,
    /// EMV common session key of the ATC.
    CommonOfAtc,
    /// EMV common session key of ATC and unpredictable number.
    CommonOfAtcAndUn,
    /// PBOC's session key.
    Pboc,
}

impl CryptogramKey {
    /// Derives the key.
    ///
    /// # Errors
    /// [`CryptoError::DoubleLengthNeeded`].
    pub fn derive(self, icc_master_key: &TdesKey, atc: Atc, un: UnpredictableNumber) -> Result<TdesKey, CryptoError> {
        match self {
            Self::MasterKey => TdesKey::new(icc_master_key.expose_bytes()),
            Self::CommonOfAtc => common_session_key_for_atc(icc_master_key, atc),
            Self::CommonOfAtcAndUn => common_session_key_for_atc_and_un(icc_master_key, atc, un),
            Self::Pboc => pboc_session_key(icc_master_key, atc),
        }
    }
}

/// How the keys of a script come from the ICC master keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptKey {
    /// EMV common session key of the cryptogram.
    CommonOfArqc,
    /// PBOC's session key of the ATC.
    Pboc,
    /// Visa's exclusive or with the ATC.
    VisaXor,
}

impl ScriptKey {
    /// Derives the key.
    ///
    /// # Errors
    /// [`CryptoError::DoubleLengthNeeded`].
    pub fn derive(self, icc_master_key: &TdesKey, context: &ScriptContext) -> Result<TdesKey, CryptoError> {
        match self {
            Self::CommonOfArqc => common_session_key(icc_master_key, &context.cryptogram),
            Self::Pboc => pboc_session_key(icc_master_key, context.atc),
            Self::VisaXor => visa_script_session_key(icc_master_key, context.atc),
        }
    }
}

/// Which issuer response a scheme uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArpcMethod {
    /// Eight bytes from the authorisation response code.
    One,
    /// Four bytes from the card status update.
    Two,
}

/// Which PIN block a PIN CHANGE carries.
#[derive(Clone, Copy)]
enum PinChangeBlock {
    /// ISO format 2, never with the current PIN.
    Format2,
    /// ISO format 2, VIS if the current PIN is given.
    Format2OrVis,
    /// VIS.
    Vis,
}

struct Recipe {
    master_key: MasterKeyOption,
    cryptogram_key: CryptogramKey,
    padding: Padding,
    arpc_key: CryptogramKey,
    arpc_method: ArpcMethod,
    script_key: ScriptKey,
    /// ATC and cryptogram stand between header and data of a script's MAC input.
    script_mac_binds_cryptogram: bool,
    cipher: CommandCipher,
    pin_change: PinChangeBlock,
}

const MASTERCARD_CVN_16: Recipe = Recipe {
    master_key: MasterKeyOption::A,
    cryptogram_key: CryptogramKey::CommonOfAtcAndUn,
    padding: Padding::Marker,
    arpc_key: CryptogramKey::MasterKey,
    arpc_method: ArpcMethod::One,
    script_key: ScriptKey::CommonOfArqc,
    script_mac_binds_cryptogram: true,
    cipher: CommandCipher::Mastercard,
    pin_change: PinChangeBlock::Format2,
};

const MASTERCARD_CVN_20: Recipe =
    Recipe { cryptogram_key: CryptogramKey::CommonOfAtc, arpc_key: CryptogramKey::CommonOfAtc, ..MASTERCARD_CVN_16 };

const INTERAC_CVN_133: Recipe =
    Recipe { arpc_key: CryptogramKey::CommonOfAtcAndUn, script_mac_binds_cryptogram: false, ..MASTERCARD_CVN_16 };

const VISA_CVN_10: Recipe = Recipe {
    master_key: MasterKeyOption::A,
    cryptogram_key: CryptogramKey::MasterKey,
    padding: Padding::Zeros,
    arpc_key: CryptogramKey::MasterKey,
    arpc_method: ArpcMethod::One,
    script_key: ScriptKey::VisaXor,
    script_mac_binds_cryptogram: true,
    cipher: CommandCipher::Visa,
    pin_change: PinChangeBlock::Vis,
};

const VISA_CVN_18: Recipe = Recipe {
    master_key: MasterKeyOption::B,
    cryptogram_key: CryptogramKey::CommonOfAtc,
    padding: Padding::Marker,
    arpc_key: CryptogramKey::CommonOfAtc,
    arpc_method: ArpcMethod::Two,
    ..VISA_CVN_10
};

const VISA_CVN_22: Recipe =
    Recipe { script_key: ScriptKey::CommonOfArqc, pin_change: PinChangeBlock::Format2OrVis, ..VISA_CVN_18 };

const PBOC: Recipe = Recipe {
    cryptogram_key: CryptogramKey::Pboc,
    padding: Padding::Marker,
    arpc_key: CryptogramKey::Pboc,
    script_key: ScriptKey::Pboc,
    ..VISA_CVN_10
};

/// Header of PIN CHANGE/UNBLOCK without its P2 and Lc.
const PIN_CHANGE_HEADER: [u8; 3] = [0x84, 0x24, 0x00];
const PIN_CHANGE_WITH_CURRENT_PIN: u8 = 0x01;
const PIN_CHANGE: u8 = 0x02;
const SCRIPT_MAC_BYTES: usize = 8;

/// The three ICC master keys of a card.
#[derive(Debug)]
pub struct IccMasterKeys {
    /// Application cryptograms.
    pub cryptogram: TdesKey,
    /// Secure messaging for integrity.
    pub integrity: TdesKey,
    /// Secure messaging for confidentiality.
    pub confidentiality: TdesKey,
}

/// The cryptogram that an issuer script answers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScriptContext {
    /// Tag 9F36 of the transaction.
    pub atc: Atc,
    /// Tag 9F26 of the transaction.
    pub cryptogram: Cryptogram,
}

/// What the issuer says in its ARPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssuerResponse<'a> {
    /// Method 1: the authorisation response code.
    ResponseCode([u8; 2]),
    /// Method 2: card status update and up to eight bytes of proprietary authentication data.
    CardStatusUpdate([u8; 4], &'a [u8]),
}

impl CryptogramVersion {
    fn recipe(self) -> &'static Recipe {
        match self {
            Self::InteracCvn133 => &INTERAC_CVN_133,
            Self::MastercardCvn16 | Self::MastercardCvn17 => &MASTERCARD_CVN_16,
            Self::MastercardCvn20 | Self::MastercardCvn21 => &MASTERCARD_CVN_20,
            Self::Pboc => &PBOC,
            Self::VisaCvn10 => &VISA_CVN_10,
            Self::VisaCvn18 => &VISA_CVN_18,
            Self::VisaCvn22 => &VISA_CVN_22,
        }
    }

    /// The issuer response this version answers with.
    #[must_use]
    pub fn arpc_method(self) -> ArpcMethod {
        self.recipe().arpc_method
    }

    /// How this version derives ICC master keys.
    #[must_use]
    pub fn master_key_option(self) -> MasterKeyOption {
        self.recipe().master_key
    }

    /// Where the key of its cryptograms comes from.
    #[must_use]
    pub fn cryptogram_key(self) -> CryptogramKey {
        self.recipe().cryptogram_key
    }

    /// How the input of its cryptograms is padded.
    #[must_use]
    pub fn cryptogram_padding(self) -> Padding {
        self.recipe().padding
    }

    /// Where the key of its issuer responses comes from.
    #[must_use]
    pub fn arpc_key(self) -> CryptogramKey {
        self.recipe().arpc_key
    }

    /// Where the keys of its scripts come from.
    #[must_use]
    pub fn script_key(self) -> ScriptKey {
        self.recipe().script_key
    }

    /// How it enciphers the data of script commands.
    #[must_use]
    pub fn script_cipher(self) -> CommandCipher {
        self.recipe().cipher
    }

    /// Derives one ICC master key.
    ///
    /// # Errors
    /// As [`icc_master_key`].
    pub fn icc_master_key(
        self,
        issuer_master_key: &TdesKey,
        account_number: &[u8],
        sequence_number: u8,
    ) -> Result<TdesKey, CryptoError> {
        let option = self.recipe().master_key;
        icc_master_key(option, issuer_master_key, account_number, sequence_number)
    }

    /// The session key of a cryptogram.
    ///
    /// # Errors
    /// [`CryptoError::DoubleLengthNeeded`].
    pub fn cryptogram_session_key(
        self,
        icc_master_key_ac: &TdesKey,
        atc: Atc,
        un: UnpredictableNumber,
    ) -> Result<TdesKey, CryptoError> {
        self.recipe().cryptogram_key.derive(icc_master_key_ac, atc, un)
    }

    /// ARQC, TC or AAC over the concatenated inputs, from the ICC master key.
    ///
    /// # Errors
    /// [`CryptoError::DoubleLengthNeeded`].
    pub fn cryptogram(
        self,
        icc_master_key_ac: &TdesKey,
        atc: Atc,
        un: UnpredictableNumber,
        data: &[u8],
    ) -> Result<Cryptogram, CryptoError> {
        let session_key = self.cryptogram_session_key(icc_master_key_ac, atc, un)?;
        application_cryptogram(&session_key, data, self.recipe().padding)
    }

    /// True if `cryptogram` belongs to `data`, compared in constant time.
    ///
    /// # Errors
    /// [`CryptoError::DoubleLengthNeeded`].
    pub fn verify_cryptogram(
        self,
        icc_master_key_ac: &TdesKey,
        atc: Atc,
        un: UnpredictableNumber,
        data: &[u8],
        cryptogram: &Cryptogram,
    ) -> Result<bool, CryptoError> {
        let expected = self.cryptogram(icc_master_key_ac, atc, un, data)?;
        Ok(constant_time_eq(&expected, cryptogram))
    }

    /// The ARPC: eight bytes by method 1, four by method 2.
    ///
    /// # Errors
    /// [`CryptoError::Parameter`] if the response is of the other method; [`CryptoError::DoubleLengthNeeded`];
    /// [`CryptoError::DataLength`].
    pub fn arpc(
        self,
        icc_master_key_ac: &TdesKey,
        atc: Atc,
        un: UnpredictableNumber,
        arqc: &Cryptogram,
        response: IssuerResponse<'_>,
    ) -> Result<Vec<u8>, CryptoError> {
        let recipe = self.recipe();
        let key = recipe.arpc_key.derive(icc_master_key_ac, atc, un)?;
        match (recipe.arpc_method, response) {
            (ArpcMethod::One, IssuerResponse::ResponseCode(code)) => Ok(arpc_method_1(&key, arqc, code)?.to_vec()),
            (ArpcMethod::Two, IssuerResponse::CardStatusUpdate(update, proprietary)) => {
                Ok(arpc_method_2(&key, arqc, update, proprietary)?.to_vec())
            }
            _ => Err(CryptoError::Parameter),
        }
    }

    /// The session key of a script, from one of the secure messaging master keys.
    ///
    /// # Errors
    /// [`CryptoError::DoubleLengthNeeded`].
    pub fn script_session_key(self, icc_master_key: &TdesKey, context: &ScriptContext) -> Result<TdesKey, CryptoError> {
        self.recipe().script_key.derive(icc_master_key, context)
    }

    /// What a script command's MAC is computed over.
    #[must_use]
    pub fn script_mac_input(self, header: &[u8], context: &ScriptContext, data: &[u8]) -> Vec<u8> {
        if self.recipe().script_mac_binds_cryptogram {
            [header, &context.atc, &context.cryptogram, data].concat()
        } else {
            [header, data].concat()
        }
    }

    /// MAC of a script command, untruncated. `header` is CLA INS P1 P2 Lc, `data` the command data without the MAC.
    ///
    /// # Errors
    /// [`CryptoError::DoubleLengthNeeded`].
    pub fn script_mac(
        self,
        icc_master_key_integrity: &TdesKey,
        header: &[u8],
        context: &ScriptContext,
        data: &[u8],
    ) -> Result<[u8; SCRIPT_MAC_BYTES], CryptoError> {
        let key = self.script_session_key(icc_master_key_integrity, context)?;
        command_mac(&key, &self.script_mac_input(header, context, data))
    }

    /// Enciphers the data of a script command.
    ///
    /// # Errors
    /// [`CryptoError::DoubleLengthNeeded`]; [`CryptoError::DataLength`] above 255 bytes.
    pub fn encipher_script_data(
        self,
        icc_master_key_confidentiality: &TdesKey,
        context: &ScriptContext,
        data: &[u8],
    ) -> Result<Vec<u8>, CryptoError> {
        let key = self.script_session_key(icc_master_key_confidentiality, context)?;
        encipher_command_data(&key, data, self.recipe().cipher)
    }

    /// A whole PIN CHANGE command: header, enciphered PIN block, MAC.
    ///
    /// # Errors
    /// [`CryptoError::Parameter`] if the scheme cannot carry the current PIN; [`CryptoError::DoubleLengthNeeded`].
    pub fn pin_change_command(
        self,
        keys: &IccMasterKeys,
        context: &ScriptContext,
        new_pin: &Pin,
        current_pin: Option<&Pin>,
    ) -> Result<Vec<u8>, CryptoError> {
        let block = self.pin_change_block(&keys.cryptogram, new_pin, current_pin)?;
        let enciphered = self.encipher_script_data(&keys.confidentiality, context, &*block)?;
        let p2 = if current_pin.is_some() { PIN_CHANGE_WITH_CURRENT_PIN } else { PIN_CHANGE };
        let lc = (enciphered.len() + SCRIPT_MAC_BYTES) as u8;
        let header = [&PIN_CHANGE_HEADER[..], &[p2, lc]].concat();
        let mac = self.script_mac(&keys.integrity, &header, context, &enciphered)?;
        Ok([&header[..], &enciphered, &mac].concat())
    }

    fn pin_change_block(
        self,
        icc_master_key_ac: &TdesKey,
        new_pin: &Pin,
        current_pin: Option<&Pin>,
    ) -> Result<Zeroizing<[u8; 8]>, CryptoError> {
        match (self.recipe().pin_change, current_pin) {
            (PinChangeBlock::Format2 | PinChangeBlock::Format2OrVis, None) => {
                Ok(Zeroizing::new(encode_format_2(new_pin)))
            }
            (PinChangeBlock::Format2, Some(_)) => Err(CryptoError::Parameter),
            (PinChangeBlock::Vis | PinChangeBlock::Format2OrVis, current_pin) => {
                vis_pin_block(icc_master_key_ac, new_pin, current_pin)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [CryptogramVersion; 9] = [
        CryptogramVersion::InteracCvn133,
        CryptogramVersion::MastercardCvn16,
        CryptogramVersion::MastercardCvn17,
        CryptogramVersion::MastercardCvn20,
        CryptogramVersion::MastercardCvn21,
        CryptogramVersion::Pboc,
        CryptogramVersion::VisaCvn10,
        CryptogramVersion::VisaCvn18,
        CryptogramVersion::VisaCvn22,
    ];

    #[test]
    fn cryptograms_verify_and_changed_ones_do_not() {
        let issuer = TdesKey::new(&core::array::from_fn::<u8, 16, _>(|i| i as u8 * 9)).unwrap();
        for version in ALL {
            let icc = version.icc_master_key(&issuer, b"6228480402564890018", 1).unwrap();
            let mut ac = version.cryptogram(&icc, [0, 7], [1, 2, 3, 4], b"amount").unwrap();
            let verify = |ac: &Cryptogram| version.verify_cryptogram(&icc, [0, 7], [1, 2, 3, 4], b"amount", ac);
            assert_eq!(verify(&ac), Ok(true));
            ac[7] ^= 1;
            assert_eq!(verify(&ac), Ok(false));
        }
    }

    #[test]
    fn the_wrong_arpc_method_is_refused() {
        let key = TdesKey::new(&[0x31; 16]).unwrap();
        let update = IssuerResponse::CardStatusUpdate([0; 4], &[]);
        let refused = CryptogramVersion::Pboc.arpc(&key, [0; 2], [0; 4], &[0; 8], update);
        assert_eq!(refused.err(), Some(CryptoError::Parameter));
    }
}
