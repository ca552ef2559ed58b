//! Cards: cryptograms of every scheme, issuer scripts, static and dynamic card codes.

use crate::account::Account;
use crate::limits::Subject;
use crate::refusal::of_crypto;
use crate::vault::{Answer, CRYPTOGRAM_DATA_BYTES_MAX, SoftVault};
use keys::{
    CardCode, CardTransaction, CardVerificationKey, Command, CryptogramVersion, DynamicCode, ExpiryOrder,
    IssuerMasterDynamicNumber, IssuerResponse, KeyBlock, Refusal, Reply, SealedAccount,
};
use paycrypto::card_verification::{
    CardVerificationKind, CardVerificationValue, card_verification_value, dynamic_card_verification_value, dynamic_cvc3,
};
use paycrypto::emv::{self, ArpcMethod, MasterKeyOption, ScriptContext, icc_master_key};
use paycrypto::{TdesKey, constant_time_eq};
use types::{Expiry, SecretBytes, ServiceCode};

const CARD_CODE_DIGITS_MIN: usize = 3;
/// A CVC3 is a number of 16 bits.
const CVC3_DIGITS_MAX: usize = 5;

fn version_of(version: CryptogramVersion) -> emv::CryptogramVersion {
    match version {
        CryptogramVersion::Pboc => emv::CryptogramVersion::Pboc,
        CryptogramVersion::VisaCvn10 => emv::CryptogramVersion::VisaCvn10,
        CryptogramVersion::VisaCvn18 => emv::CryptogramVersion::VisaCvn18,
        CryptogramVersion::VisaCvn22 => emv::CryptogramVersion::VisaCvn22,
        CryptogramVersion::MastercardCvn16 => emv::CryptogramVersion::MastercardCvn16,
        CryptogramVersion::MastercardCvn17 => emv::CryptogramVersion::MastercardCvn17,
        CryptogramVersion::MastercardCvn20 => emv::CryptogramVersion::MastercardCvn20,
        CryptogramVersion::MastercardCvn21 => emv::CryptogramVersion::MastercardCvn21,
        CryptogramVersion::InteracCvn133 => emv::CryptogramVersion::InteracCvn133,
    }
}

/// M/Chip counts the cryptogram up by one with each script command after the first, in key and MAC input alike.
fn counts_cryptogram_up(version: CryptogramVersion) -> bool {
    matches!(
        version,
        CryptogramVersion::MastercardCvn16
            | CryptogramVersion::MastercardCvn17
            | CryptogramVersion::MastercardCvn20
            | CryptogramVersion::MastercardCvn21
    )
}

fn script_context(transaction: &CardTransaction, command_index: u8) -> ScriptContext {
    let counted = u64::from_be_bytes(transaction.cryptogram).wrapping_add(u64::from(command_index));
    let counts = counts_cryptogram_up(transaction.version);
    let cryptogram = if counts { counted.to_be_bytes() } else { transaction.cryptogram };
    ScriptContext { atc: transaction.atc.to_be_bytes(), cryptogram }
}

/// The issuer's words for the arithmetic, if they are of the version's method.
fn response_of(response: &IssuerResponse, method: ArpcMethod) -> Result<emv::IssuerResponse<'_>, Refusal> {
    match (response, method) {
        (IssuerResponse::ResponseCode(code), ArpcMethod::One) => Ok(emv::IssuerResponse::ResponseCode(*code)),
        (IssuerResponse::CardStatusUpdate { update, proprietary }, ArpcMethod::Two) => {
            Ok(emv::IssuerResponse::CardStatusUpdate(*update, proprietary))
        }
        _ => Err(Refusal::Parameter),
    }
}

/// Tag 91: the ARPC and what it was made over.
fn issuer_authentication_data(arpc: &[u8], response: &IssuerResponse) -> Vec<u8> {
    match response {
        IssuerResponse::ResponseCode(code) => [arpc, code].concat(),
        IssuerResponse::CardStatusUpdate { update, proprietary } => [arpc, update, proprietary].concat(),
    }
}

fn expiry_digits(expiry: Expiry, order: ExpiryOrder) -> [u8; 4] {
    let text = expiry.expose();
    let digits = text.as_bytes();
    match order {
        ExpiryOrder::YearMonth => [digits[0], digits[1], digits[2], digits[3]],
        ExpiryOrder::MonthYear => [digits[2], digits[3], digits[0], digits[1]],
    }
}

fn service_code(digits: &[u8; 3]) -> Result<ServiceCode, Refusal> {
    let text = core::str::from_utf8(digits).map_err(|_| Refusal::Parameter)?;
    ServiceCode::parse(text).map_err(|_| Refusal::Parameter)
}

/// A card and its static code.
struct CodeCase<'a> {
    key: &'a KeyBlock<CardVerificationKey>,
    expiry: Expiry,
    order: ExpiryOrder,
    kind: CardCode,
}

impl CodeCase<'_> {
    fn value(&self, vault: &SoftVault, account: &Account) -> Result<CardVerificationValue, Refusal> {
        let kind = match self.kind {
            CardCode::MagneticStripe(code) => CardVerificationKind::MagneticStripe(service_code(&code)?),
            CardCode::Chip => CardVerificationKind::Chip,
            CardCode::Printed => CardVerificationKind::Printed,
        };
        let key = vault.tdes(self.key)?;
        let expiry = expiry_digits(self.expiry, self.order);
        card_verification_value(&key, account.digits(), &expiry, kind).map_err(of_crypto)
    }
}

/// The code that a dynamic one must be, as long as the one that came.
fn dynamic_value(
    master: &TdesKey,
    account: &Account,
    expiry: Expiry,
    kind: &DynamicCode,
    digits: usize,
) -> Result<SecretBytes, Refusal> {
    let card_key = |sequence| icc_master_key(MasterKeyOption::A, master, account.digits(), sequence).map_err(of_crypto);
    match kind {
        DynamicCode::Cvc3 { initial_vector, unpredictable_number, atc, card_sequence } => {
            let key = card_key(*card_sequence)?;
            let value = dynamic_cvc3(&key, *initial_vector, *unpredictable_number, atc.to_be_bytes());
            let text = format!("{:0width$}", value.map_err(of_crypto)?, width = CVC3_DIGITS_MAX);
            let leading = text.len().checked_sub(digits).ok_or(Refusal::Parameter)?;
            Ok(SecretBytes::copy_from(&text.as_bytes()[leading..]))
        }
        DynamicCode::Dcvv { atc, service_code: code, card_sequence } => {
            if digits != CARD_CODE_DIGITS_MIN {
                return Err(Refusal::Parameter);
            }
            let key = card_key(*card_sequence)?;
            let expiry = expiry_digits(expiry, ExpiryOrder::YearMonth);
            let code = service_code(code)?;
            let value = dynamic_card_verification_value(&key, account.digits(), atc.to_be_bytes(), &expiry, code);
            Ok(SecretBytes::copy_from(value.map_err(of_crypto)?.expose().as_bytes()))
        }
    }
}

impl SoftVault {
    /// Carries out the commands on cards.
    pub(crate) fn carry_out_card(&self, command: &Command) -> Option<Answer> {
        Some(match command {
            Command::VerifyArqc { master, account, transaction, unpredictable_number, data, response } => {
                self.tdes(master).and_then(|master| {
                    self.verify_arqc(&master, account, transaction, *unpredictable_number, data, response)
                })
            }
            Command::MakeIssuerScriptMac { master, account, transaction, command_index, header, data } => {
                self.tdes(master).and_then(|master| {
                    let context = script_context(transaction, *command_index);
                    self.script_mac_of(&master, account, transaction, &context, header, data)
                })
            }
            Command::EncipherIssuerScript { master, account, transaction, command_index, data } => {
                self.tdes(master).and_then(|master| {
                    let context = script_context(transaction, *command_index);
                    self.encipher_script(&master, account, transaction, &context, data)
                })
            }
            Command::VerifyCardCode { key, account, expiry, order, kind, code } => {
                let case = CodeCase { key, expiry: *expiry, order: *order, kind: *kind };
                self.verify_card_code(account, &case, code)
            }
            Command::MakeCardCode { key, account, expiry, order, kind } => {
                let case = CodeCase { key, expiry: *expiry, order: *order, kind: *kind };
                self.account(account)
                    .and_then(|account| case.value(self, &account))
                    .map(|value| Reply::CardCodeMade { code: SecretBytes::copy_from(value.expose().as_bytes()) })
            }
            Command::VerifyDynamicCode { master, account, expiry, kind, code } => {
                self.verify_dynamic_code(master, account, *expiry, kind, code)
            }
            _ => return None,
        })
    }

    fn verify_arqc(
        &self,
        master: &TdesKey,
        account: &SealedAccount,
        transaction: &CardTransaction,
        unpredictable_number: [u8; 4],
        data: &[u8],
        response: &IssuerResponse,
    ) -> Answer {
        if data.len() > CRYPTOGRAM_DATA_BYTES_MAX {
            return Err(Refusal::Parameter);
        }
        let account = self.account(account)?;
        let version = version_of(transaction.version);
        let spoken = response_of(response, version.arpc_method())?;
        let subject = Subject::Cryptogram(self.guess_class(&account));
        self.limiter.check(&subject)?;
        let (atc, arqc) = (transaction.atc.to_be_bytes(), &transaction.cryptogram);
        let card = version.icc_master_key(master, account.digits(), transaction.card_sequence).map_err(of_crypto)?;
        let right = version.verify_cryptogram(&card, atc, unpredictable_number, data, arqc).map_err(of_crypto)?;
        self.limiter.note(subject, right)?;
        if !right {
            return Ok(Reply::IssuerAuthentication { right, data: None });
        }
        let arpc = version.arpc(&card, atc, unpredictable_number, arqc, spoken).map_err(of_crypto)?;
        Ok(Reply::IssuerAuthentication { right, data: Some(issuer_authentication_data(&arpc, response)) })
    }

    fn script_mac_of(
        &self,
        master: &TdesKey,
        account: &SealedAccount,
        transaction: &CardTransaction,
        context: &ScriptContext,
        header: &[u8; 5],
        data: &[u8],
    ) -> Answer {
        if data.len() > CRYPTOGRAM_DATA_BYTES_MAX {
            return Err(Refusal::Parameter);
        }
        let (account, version) = (self.account(account)?, version_of(transaction.version));
        let card = version.icc_master_key(master, account.digits(), transaction.card_sequence).map_err(of_crypto)?;
        let mac = version.script_mac(&card, header, context, data).map_err(of_crypto)?;
        Ok(Reply::ScriptMac { mac })
    }

    fn encipher_script(
        &self,
        master: &TdesKey,
        account: &SealedAccount,
        transaction: &CardTransaction,
        context: &ScriptContext,
        data: &SecretBytes,
    ) -> Answer {
        let (account, version) = (self.account(account)?, version_of(transaction.version));
        let card = version.icc_master_key(master, account.digits(), transaction.card_sequence).map_err(of_crypto)?;
        let data = version.encipher_script_data(&card, context, data.expose()).map_err(of_crypto)?;
        Ok(Reply::ScriptEnciphered { data })
    }

    fn code_verdict(&self, account: &Account, expected: &[u8], code: &SecretBytes) -> Answer {
        let right = constant_time_eq(expected, code.expose());
        self.limiter.note(Subject::CardCode(self.guess_class(account)), right)?;
        Ok(Reply::CardCodeVerdict { right })
    }

    fn verify_card_code(&self, account: &SealedAccount, case: &CodeCase<'_>, code: &SecretBytes) -> Answer {
        if code.len() != CARD_CODE_DIGITS_MIN {
            return Err(Refusal::Parameter);
        }
        let account = self.account(account)?;
        self.limiter.check(&Subject::CardCode(self.guess_class(&account)))?;
        let value = case.value(self, &account)?;
        self.code_verdict(&account, value.expose().as_bytes(), code)
    }

    fn verify_dynamic_code(
        &self,
        master: &KeyBlock<IssuerMasterDynamicNumber>,
        account: &SealedAccount,
        expiry: Expiry,
        kind: &DynamicCode,
        code: &SecretBytes,
    ) -> Answer {
        if !(CARD_CODE_DIGITS_MIN..=CVC3_DIGITS_MAX).contains(&code.len()) {
            return Err(Refusal::Parameter);
        }
        let account = self.account(account)?;
        self.limiter.check(&Subject::CardCode(self.guess_class(&account)))?;
        let value = dynamic_value(&self.tdes(master)?, &account, expiry, kind, code.len())?;
        self.code_verdict(&account, value.expose(), code)
    }
}
