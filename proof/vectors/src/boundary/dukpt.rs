//! DUKPT as the host does it: initial keys, MACs, PINs and account data of devices.

use super::chest::Chest;
use super::pins::read_by_vault;
use super::{altered, differs, inner_step, stray, unsayable, verdicts};
use crate::dukpt::{
    aes_ksn, aes_transaction, expect_number, is_aes, iv, key_type, key_usage, tdes_ksn, tdes_transaction,
};
use crate::mac::case::{Case, Check, Problem, hex, refused, unknown};
use keys::{
    AccountDataForm, Algorithm, BaseDerivation, CheckMethod, Command, DukptDirection, DukptKey, DukptMacAlgorithm,
    EncipheredPinBlock, KeyBlock, Ksn, KsnFreshness, KsnMark, Owner, PinFormat, PinSource, Reply,
};
use paycrypto::check_value::{cmac_check_value, zero_block_check_value};
use paycrypto::dukpt::tdes::WorkingKeyUsage;
use paycrypto::dukpt::{aes, tdes};
use paycrypto::mac::{HmacSha256Key, cmac, x9_19_mac};
use paycrypto::pin_block::encipher_format_0;
use paycrypto::pin_block_extended::encipher_format_4;
use paycrypto::{AesKey, Pin, TdesKey, encrypt_cbc};
use types::{Expiry, SecretBytes};

/// What the runner sends where a case publishes keys alone.
const SOME_PAN: &str = "4012345678909";
const SOME_PIN: &str = "1234";
const SOME_MESSAGE: &[u8] = b"4012345678909D987";
const SOME_RANDOM: [u8; 8] = [0x2F; 8];
/// A base key for cases on serial numbers, which have none.
const SOME_BASE: u128 = 0x0123_4567_89AB_CDEF_FEDC_BA98_7654_3210;
const SHORT_MAC_BYTES: usize = 4;

/// Checks one case.
pub fn check(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    match case.kind() {
        "derive_ik" => initial_key(chest, case),
        "txn_sequence" | "derive_txn_key" | "working_keys" | "working_key_matrix" | "pin_key" | "data_key"
        | "data_encrypt_ecb" => {
            if is_aes(case) {
                aes_sequence(chest, case)
            } else {
                tdes_sequence(chest, case)
            }
        }
        "ksn_valid" => ksn_valid(chest, case),
        "ksn_advance" => ksn_advance(chest, case),
        "ksn_count" => ksn_count(chest, case),
        "derive_update_key" | "intermediate_registers" => {
            Err(Problem::NotBuilt("device side: ANSI X9.24-3 §6.3.2 (key update) and its registers".to_owned()))
        }
        "ksn_to_parts" | "ksn80_compat_to_parts" => Err(inner_step("the parts of a key serial number")),
        "track_decrypt_cbc" | "track_decrypt_pin_variant_cbc" => {
            Err(unsayable("track 1, and account data under another key than the request's"))
        }
        _ => unknown(case),
    }
}

/// The base key: the case's own, or that of another case which publishes it with the same initial key.
fn base_key(chest: &Chest<'_, '_>, case: Case<'_>) -> Check<Vec<u8>> {
    if case.has("bdk") {
        return case.bytes("bdk");
    }
    let same = |other: &&&serde_json::Value| other["ik"] == case.0["ik"] && other["bdk"].is_string();
    let found = chest.published().iter().find(same);
    found.map_or_else(
        || Err(Problem::NotBuilt("only the initial key is published: a host derives from the base key".to_owned())),
        |other| Case(other).bytes("bdk"),
    )
}

fn base(chest: &mut Chest<'_, '_>, case: Case<'_>, key: &[u8]) -> Check<KeyBlock<BaseDerivation>> {
    let algorithm = if is_aes(case) { super::macs::aes(key)? } else { Algorithm::TdesDouble };
    chest.bring(algorithm, key)
}

fn device() -> Owner {
    // The owner of the runner's protection keys, under which the initial key is let out for comparing.
    Owner::new("vectors").expect("a constant owner")
}

/// Derived, checked by its check values, let out in a key block and compared whole.
fn initial_key(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let key = base_key(chest, case)?;
    let base = base(chest, case, &key)?;
    let initial_key_id = match (case.has("ik_id"), is_aes(case)) {
        (true, _) => case.array("ik_id")?,
        (false, true) => aes_ksn(case, "ksn")?.initial_key_id().to_bytes(),
        (false, false) => tdes_ksn(case, "ksn")?.initial_key_id().to_bytes(),
    };
    let derive = Command::DeriveInitialKey { base, initial_key_id, owner: device(), version: 1 };
    let derived = match chest.administration(derive)? {
        Reply::KeyCreated { key, .. } => key,
        other => return Err(stray(&other)),
    };
    case.expect_bytes("ik", &chest.exported(&derived)?)?;
    let published = case.bytes("ik")?;
    let (method, expected) = if is_aes(case) {
        (CheckMethod::Cmac, cmac_check_value(&AesKey::new(&published).map_err(refused)?).to_vec())
    } else {
        let whole = zero_block_check_value(&TdesKey::new(&published).map_err(refused)?);
        (CheckMethod::Legacy, whole[..3].to_vec())
    };
    if chest.check_value(&derived, method)? == expected { Ok(()) } else { Err(differs("check value of the ik")) }
}

/// One transaction, as the host names it.
struct Transaction {
    key: DukptKey,
}

impl Transaction {
    fn open(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check<Self> {
        let key = base_key(chest, case)?;
        let base = base(chest, case, &key)?;
        let ksn = Ksn::new(&case.bytes("ksn")?).ok_or_else(|| unsayable("a serial number of another length"))?;
        Ok(Self { key: DukptKey { base, ksn, mark: None } })
    }

    /// A MAC as published (perhaps truncated) in one direction; a request's is verified too.
    fn mac(
        &self,
        chest: &mut Chest<'_, '_>,
        direction: DukptDirection,
        algorithm: DukptMacAlgorithm,
        message: &[u8],
        published: &[u8],
    ) -> Check {
        let (key, message_word) = (self.key.clone(), SecretBytes::copy_from(message));
        match chest.host(Command::MakeDukptMac { key, direction, algorithm, message: message_word })? {
            Reply::AuthenticationCode { code } if !published.is_empty() && code.starts_with(published) => {}
            Reply::AuthenticationCode { code } => {
                let why = format!("{algorithm:?} {direction:?}: made {}, published {}", hex(&code), hex(published));
                return Err(Problem::Differs(why));
            }
            other => return Err(stray(&other)),
        }
        if direction == DukptDirection::ToDevice {
            return Ok(());
        }
        let (wrong, _, _) = self.verified(chest, algorithm, message, &altered(published), None)?;
        let (right, freshness, mark) = self.verified(chest, algorithm, message, published, None)?;
        verdicts(right, wrong)?;
        let (again, reused, _) = self.verified(chest, algorithm, message, published, mark)?;
        let seen = (again, freshness, reused) == (true, KsnFreshness::Fresh, KsnFreshness::Reused);
        if seen { Ok(()) } else { Err(differs("the mark does not tell a repeated serial number")) }
    }

    fn verified(
        &self,
        chest: &mut Chest<'_, '_>,
        algorithm: DukptMacAlgorithm,
        message: &[u8],
        mac: &[u8],
        mark: Option<KsnMark>,
    ) -> Check<(bool, KsnFreshness, Option<KsnMark>)> {
        let key = DukptKey { mark, ..self.key.clone() };
        let (message, mac) = (SecretBytes::copy_from(message), mac.to_vec());
        match chest.host(Command::VerifyDukptMac { key, algorithm, message, mac })? {
            Reply::DukptMacVerdict { right, freshness, mark } => Ok((right, freshness, mark)),
            other => Err(stray(&other)),
        }
    }

    fn pin(&self, chest: &mut Chest<'_, '_>, format: PinFormat, block: Vec<u8>, (pin, pan): (&str, &str)) -> Check {
        let under = PinSource::Dukpt(self.key.clone());
        let read = read_by_vault(chest, EncipheredPinBlock { format, under, block }, pan)?;
        if read.expose() == pin { Ok(()) } else { Err(differs("another PIN")) }
    }

    /// Account data under the published data key opens to the account that it is.
    fn account(&self, chest: &mut Chest<'_, '_>, initial_vector: Vec<u8>, enciphered: Vec<u8>) -> Check {
        let (token, _) = chest.account_with_token(SOME_PAN)?;
        let open = Command::OpenDukptAccount {
            key: self.key.clone(),
            form: AccountDataForm::PanText,
            initial_vector,
            enciphered,
            expiry: None,
            today: Expiry::new(26, 11).expect("a month"),
        };
        match chest.host(open)? {
            Reply::AccountOpened { token: opened, .. } if opened.0 == token.0 => Ok(()),
            Reply::AccountOpened { .. } => Err(differs("another account")),
            other => Err(stray(&other)),
        }
    }
}

fn message<'a>(case: Case<'a>) -> Check<&'a [u8]> {
    if case.has("mac_data_ascii") { case.text("mac_data_ascii").map(str::as_bytes) } else { Ok(SOME_MESSAGE) }
}

fn some_pin() -> Check<Pin> {
    Pin::parse(SOME_PIN).map_err(refused)
}

/// The account number in whole blocks, filled with zeros.
fn pan_blocks(block_bytes: usize) -> Vec<u8> {
    let mut data = SOME_PAN.as_bytes().to_vec();
    data.resize(data.len().next_multiple_of(block_bytes), 0);
    data
}

fn tdes_sequence(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let (transaction, alone) = (Transaction::open(chest, case)?, tdes_transaction(case)?);
    tdes_macs(chest, case, &transaction, &alone)?;
    let pin_key = published_or(case, "pin_key", &alone, WorkingKeyUsage::PinEncryption)?;
    let block = encipher_format_0(&pin_key, &some_pin()?, SOME_PAN.as_bytes()).map_err(refused)?;
    transaction.pin(chest, PinFormat::Iso0, block.to_vec(), (SOME_PIN, SOME_PAN))?;
    if case.has("encrypted_pinblock") {
        let block = case.bytes("encrypted_pinblock")?;
        transaction.pin(chest, PinFormat::Iso0, block, (case.text("pin")?, case.text("pan")?))?;
    }
    let data_key = published_or(case, "data_request_key", &alone, WorkingKeyUsage::DataRequest)?;
    let (initial_vector, mut data) = (iv::<8>(case, "data_iv")?, pan_blocks(8));
    encrypt_cbc(&data_key, initial_vector, &mut data).map_err(refused)?;
    transaction.account(chest, initial_vector.to_vec(), data)
}

/// The published working key; otherwise the library's, out of the published transaction key.
fn published_or(
    case: Case<'_>,
    name: &str,
    transaction: &tdes::TransactionKey,
    usage: WorkingKeyUsage,
) -> Check<TdesKey> {
    if case.has(name) { TdesKey::new(&case.bytes(name)?).map_err(refused) } else { Ok(transaction.working_key(usage)) }
}

fn tdes_macs(
    chest: &mut Chest<'_, '_>,
    case: Case<'_>,
    transaction: &Transaction,
    alone: &tdes::TransactionKey,
) -> Check {
    let directions = [
        (DukptDirection::FromDevice, "request", WorkingKeyUsage::MacRequest),
        (DukptDirection::ToDevice, "response", WorkingKeyUsage::MacResponse),
    ];
    for (direction, name, usage) in directions {
        let key = published_or(case, &format!("mac_{name}_key"), alone, usage)?;
        let of_library = x9_19_mac(&key, message(case)?).map_err(refused)?.to_vec();
        let given = |name: String, otherwise: Vec<u8>| if case.has(&name) { case.bytes(&name) } else { Ok(otherwise) };
        let whole = given(format!("mac_{name}_x919"), of_library.clone())?;
        let short = given(format!("mac_{name}_4"), of_library[..SHORT_MAC_BYTES].to_vec())?;
        let code = given(format!("tdes_cmac_{name}"), cmac(&key, message(case)?).to_vec())?;
        for (algorithm, published) in
            [(DukptMacAlgorithm::X919, whole), (DukptMacAlgorithm::X919, short), (DukptMacAlgorithm::Cmac, code)]
        {
            transaction.mac(chest, direction, algorithm, message(case)?, &published)?;
        }
    }
    Ok(())
}

/// Keys of an AES transaction: published ones by their names, the library's out of the published transaction key.
struct AesKeys<'a> {
    case: Case<'a>,
    transaction: aes::TransactionKey,
    /// AES and HMAC keys as long as the base key: what a vault uses.
    types: (aes::KeyType, aes::KeyType),
}

impl<'a> AesKeys<'a> {
    fn new(case: Case<'a>, base: &[u8]) -> Check<Self> {
        let types = match base.len() {
            16 => (aes::KeyType::Aes128, aes::KeyType::Hmac128),
            24 => (aes::KeyType::Aes192, aes::KeyType::Hmac192),
            _ => (aes::KeyType::Aes256, aes::KeyType::Hmac256),
        };
        Ok(Self { case, transaction: aes_transaction(case)?, types })
    }

    /// Names are `pin_enc_key_aes128` beside the case's other fields and `pin_enc_AES128` in its `keys`.
    fn published(&self, usage: aes::KeyUsage, of_type: aes::KeyType) -> Check<Option<Vec<u8>>> {
        let named = |name: &&String| {
            let parts = name.split_once("_key_").or_else(|| name.rsplit_once('_'));
            let read = parts.and_then(|(usage, of_type)| Some((key_usage(usage).ok()?, key_type(of_type).ok()?)));
            read == Some((usage, of_type))
        };
        for view in [self.case, self.case.inside("keys")] {
            let mut names = view.0.as_object().into_iter().flatten().map(|(name, _)| name);
            if let Some(name) = names.find(named) {
                return view.bytes(name).map(Some);
            }
        }
        Ok(None)
    }

    fn bytes(&self, usage: aes::KeyUsage, of_type: aes::KeyType) -> Check<Vec<u8>> {
        if let Some(published) = self.published(usage, of_type)? {
            return Ok(published);
        }
        let key = self.transaction.working_key_bytes(usage, of_type).map_err(refused)?;
        Ok(key.expose().to_vec())
    }

    fn aes(&self, usage: aes::KeyUsage) -> Check<AesKey> {
        AesKey::new(&self.bytes(usage, self.types.0)?).map_err(refused)
    }
}

fn aes_sequence(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let transaction = Transaction::open(chest, case)?;
    let keys = AesKeys::new(case, &base_key(chest, case)?)?;
    aes_macs(chest, case, &transaction, &keys)?;
    let pin_key = keys.aes(aes::KeyUsage::PinEncryption)?;
    let block = encipher_format_4(&pin_key, &some_pin()?, SOME_PAN.as_bytes(), &SOME_RANDOM).map_err(refused)?;
    transaction.pin(chest, PinFormat::Iso4, block.to_vec(), (SOME_PIN, SOME_PAN))?;
    if case.has("encrypted_pinblock") {
        let block = case.bytes("encrypted_pinblock")?;
        transaction.pin(chest, PinFormat::Iso4, block, (case.text("pin")?, case.text("pan")?))?;
    }
    let data_key = keys.aes(aes::KeyUsage::DataEncryption)?;
    let (initial_vector, mut data) = (iv::<16>(case, "data_iv")?, pan_blocks(16));
    encrypt_cbc(&data_key, initial_vector, &mut data).map_err(refused)?;
    transaction.account(chest, initial_vector.to_vec(), data)
}

fn aes_macs(chest: &mut Chest<'_, '_>, case: Case<'_>, transaction: &Transaction, keys: &AesKeys<'_>) -> Check {
    let bits = 8 * keys.types.0.key_bytes();
    let directions = [
        (DukptDirection::FromDevice, "request", aes::KeyUsage::MacGeneration),
        (DukptDirection::ToDevice, "response", aes::KeyUsage::MacVerification),
    ];
    for (direction, name, usage) in directions {
        let hmac_key = HmacSha256Key::new(&keys.bytes(usage, keys.types.1)?);
        let codes = [
            (
                DukptMacAlgorithm::Cmac,
                format!("cmac_aes{bits}_{name}"),
                cmac(&keys.aes(usage)?, message(case)?).to_vec(),
            ),
            (
                DukptMacAlgorithm::HmacSha256,
                format!("hmac{bits}_sha256_{name}"),
                hmac_key.mac(&[message(case)?]).to_vec(),
            ),
        ];
        for (algorithm, published, otherwise) in codes {
            let code = if case.has(&published) { case.bytes(&published)? } else { otherwise };
            transaction.mac(chest, direction, algorithm, message(case)?, &code)?;
        }
    }
    Ok(())
}

/// A serial number judged by itself or against a mark: freshness, new mark, transactions left.
fn judged(
    chest: &mut Chest<'_, '_>,
    case: Case<'_>,
    ksn: &[u8],
    mark: Option<KsnMark>,
) -> Check<(KsnFreshness, Option<KsnMark>, u64)> {
    let ksn = Ksn::new(ksn).ok_or_else(|| unsayable("a serial number of another length"))?;
    let base = base(chest, case, &SOME_BASE.to_be_bytes())?;
    match chest.host(Command::JudgeKsn { key: DukptKey { base, ksn, mark } })? {
        Reply::KsnJudged { freshness, mark, remaining } => Ok((freshness, mark, remaining)),
        other => Err(stray(&other)),
    }
}

fn ksn_valid(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let valid = case.0["valid"].as_bool().ok_or_else(|| Problem::Unrunnable("no boolean valid".to_owned()))?;
    match judged(chest, case, &case.bytes("ksn")?, None) {
        Ok(_) if valid => Ok(()),
        Ok(_) => Err(differs("accepted, though not valid")),
        Err(Problem::Refused(why)) if !valid && why == keys::Refusal::Parameter.to_string() => Ok(()),
        Err(other) => Err(other),
    }
}

/// The next number is the one with one transaction less behind it, and fresh against the mark of the first.
fn ksn_advance(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let (_, mark, remaining) = judged(chest, case, &case.bytes("ksn")?, None)?;
    if remaining == 0 {
        return Err(refused("transaction counter exhausted"));
    }
    if !case.has("next_ksn") {
        return if case.0["expect"] == "error" { Ok(()) } else { Err(Problem::Unrunnable("no next_ksn".to_owned())) };
    }
    let (freshness, _, after) = judged(chest, case, &case.bytes("next_ksn")?, mark)?;
    let next = freshness == KsnFreshness::Fresh && after + 1 == remaining;
    if next { Ok(()) } else { Err(Problem::Differs(format!("{remaining} transactions left, then {after}"))) }
}

/// A counter of zero belongs to no transaction: then the first one is asked for, and counts itself.
fn ksn_count(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let mut ksn = case.bytes("start_ksn")?;
    let counter = ksn.len().checked_sub(4).map(|at| &mut ksn[at..]);
    let bits = if is_aes(case) { u32::MAX } else { (1 << tdes::COUNTER_BITS) - 1 };
    let bytes: Option<[u8; 4]> = counter.as_deref().and_then(|counter| counter.try_into().ok());
    let at_start = bytes.is_some_and(|bytes| u32::from_be_bytes(bytes) & bits == 0);
    if at_start && let Some(last) = ksn.last_mut() {
        *last |= 1;
    }
    let (_, _, remaining) = judged(chest, case, &ksn, None)?;
    expect_number(case, "total_valid_ksns", remaining + u64::from(at_start))
}
