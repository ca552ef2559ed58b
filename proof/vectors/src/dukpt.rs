//! Derived unique key per transaction, with TDES and AES keys.

use crate::Outcome;
use crate::mac::case::{Case, Check, Problem, judge, refused, unknown};
use paycrypto::dukpt::aes::{self, KeyType, KeyUsage};
use paycrypto::dukpt::tdes::{self, WorkingKeyUsage};
use paycrypto::mac::{HmacSha256Key, cmac, x9_19_mac};
use paycrypto::pin_block::{decipher_format_0, encipher_format_0, encode_format_0};
use paycrypto::pin_block_extended::{
    decipher_format_4, encipher_format_4, format_4_account_field, format_4_pin_field, read_format_4_pin_field,
};
use paycrypto::{AesKey, CryptoError, Pin, TdesKey, decrypt_cbc, encrypt_cbc, encrypt_ecb};
use serde_json::Value;

/// Runs one case of the area.
pub fn run(case: &Value) -> Outcome {
    let case = Case(case);
    judge_answer(case, if is_aes(case) { check_aes(case) } else { check_tdes(case) })
}

/// Judges a finished check.
pub(crate) fn judge_answer(case: Case<'_>, check: Check) -> Outcome {
    // Where validity is the question, being refused is an answer, and the check has judged it.
    let asks = case.0["valid"].is_boolean();
    let must_refuse = case.0["expect"] == "error" || case.0["malformed"] == true;
    match check {
        Ok(()) if asks => Outcome::Passed,
        Err(Problem::NotBuilt(why)) => Outcome::Skipped(why),
        Err(Problem::Refused(why) | Problem::Differs(why)) if asks => Outcome::Failed(why),
        Ok(()) if must_refuse => Outcome::Failed("accepted, though to be refused".to_owned()),
        Err(Problem::Refused(_)) if must_refuse => Outcome::Passed,
        check => judge(case, check),
    }
}

/// Both schemes share names of types: serial numbers of twelve bytes and names of AES keys tell them apart.
pub(crate) fn is_aes(case: Case<'_>) -> bool {
    let names = case.0.as_object().map(|object| object.keys().any(|name| name == "ik_id" || name.contains("aes")));
    let long = |name: &str| case.0[name].as_str().is_some_and(|ksn| ksn.len() == 2 * aes::KSN_BYTES);
    names == Some(true) || long("ksn") || long("start_ksn")
}

fn check_tdes(case: Case<'_>) -> Check {
    match case.kind() {
        "derive_ik" => tdes_initial_key(case).map(|_| ()),
        "derive_txn_key" => tdes_transaction(case).map(|_| ()),
        "txn_sequence" => tdes_sequence(case),
        "pin_key" | "data_key" => tdes_working_keys(case, &tdes_transaction(case)?),
        "track_decrypt_cbc" | "track_decrypt_pin_variant_cbc" => tdes_track(case),
        "ksn_valid" => ksn_valid(
            case,
            tdes::KeySerialNumber::parse(&case.bytes("ksn")?).map(|ksn| ksn.counter().count_ones()),
            tdes::COUNTER_ONES_MAX,
        ),
        "ksn_advance" => {
            let next = tdes_ksn(case, "ksn")?.next();
            ksn_advance(case, next.map(tdes::KeySerialNumber::to_bytes))
        }
        "ksn_count" => expect_number(case, "total_valid_ksns", tdes_ksn(case, "start_ksn")?.transactions_after()),
        "ksn_to_parts" => {
            let ksn = tdes_ksn(case, "ksn")?;
            expect_counter(case, ksn.counter())?;
            case.expect_bytes_if_given("ik_id", &ksn.initial_key_id().to_bytes())
        }
        _ => unknown(case),
    }
}

fn check_aes(case: Case<'_>) -> Check {
    match case.kind() {
        "derive_ik" => aes_initial_key(case).map(|_| ()),
        "derive_txn_key" => aes_transaction(case).map(|_| ()),
        "derive_update_key" => aes_update_key(case),
        "txn_sequence" | "working_keys" => aes_sequence(case),
        "working_key_matrix" => aes_matrix(case),
        "intermediate_registers" => aes_registers(case),
        "data_encrypt_ecb" => aes_data_ecb(case),
        "ksn_valid" => ksn_valid(
            case,
            aes::KeySerialNumber::parse(&case.bytes("ksn")?).map(|ksn| ksn.counter().count_ones()),
            aes::COUNTER_ONES_MAX,
        ),
        "ksn_advance" => ksn_advance(case, aes_ksn(case, "ksn")?.next().map(aes::KeySerialNumber::to_bytes)),
        "ksn_count" => expect_number(case, "total_valid_ksns", aes_ksn(case, "start_ksn")?.transactions_after()),
        "ksn_to_parts" => aes_parts(case, aes_ksn(case, "ksn")?),
        "ksn80_compat_to_parts" => {
            let ksn = aes::KeySerialNumber::parse_compatibility(&case.bytes("ksn")?).map_err(refused)?;
            aes_parts(case, ksn)?;
            case.expect_bytes("ksn", &ksn.to_compatibility_bytes().map_err(refused)?)
        }
        _ => unknown(case),
    }
}

pub(crate) fn expect_number(case: Case<'_>, name: &str, computed: u64) -> Check {
    let published = case.number(name)?;
    if published == computed {
        Ok(())
    } else {
        Err(Problem::Differs(format!("{name}: computed {computed}, published {published}")))
    }
}

/// A counter stands as a number or as four bytes of hexadecimal.
fn expect_counter(case: Case<'_>, counter: u32) -> Check {
    if case.0["counter"].as_str().is_some_and(|text| text.len() == 8) {
        case.expect_bytes("counter", &counter.to_be_bytes())
    } else {
        expect_number(case, "counter", u64::from(counter))
    }
}

/// `counter_ones` is the number of one bits if the serial number is read, or the number over which it is refused.
fn ksn_valid(case: Case<'_>, counter_ones: Result<u32, CryptoError>, ones_max: u32) -> Check {
    let valid = case.0["valid"].as_bool().ok_or_else(|| Problem::Unrunnable("no boolean valid".to_owned()))?;
    match counter_ones {
        Ok(ones) if valid && case.has("counter_ones") => expect_number(case, "counter_ones", u64::from(ones)),
        Ok(_) if valid => Ok(()),
        Ok(_) => Err(Problem::Differs("accepted, though not valid".to_owned())),
        Err(error) if valid => Err(refused(error)),
        Err(error) if case.has("counter_ones") => {
            let too_many = case.number("counter_ones")? > u64::from(ones_max);
            if too_many && error == CryptoError::KeySerialNumber {
                Ok(())
            } else {
                Err(Problem::Differs(format!("refused for another reason: {error}")))
            }
        }
        Err(_) => Ok(()),
    }
}

/// A serial number that no terminal has is refused as such, before; the end of the counter is the only other refusal.
fn ksn_advance<const N: usize>(case: Case<'_>, next: Result<[u8; N], CryptoError>) -> Check {
    let next = next.map_err(refused)?;
    if case.has("next_ksn") {
        case.expect_bytes("next_ksn", &next)
    } else if case.0["expect"] == "error" || case.0["malformed"] == true {
        Ok(())
    } else {
        Err(Problem::Unrunnable("no next_ksn".to_owned()))
    }
}

fn pan(case: Case<'_>) -> Check<&[u8]> {
    case.text("pan").map(str::as_bytes)
}

fn pin(case: Case<'_>) -> Check<Pin> {
    Pin::parse(case.text("pin")?).map_err(refused)
}

pub(crate) fn tdes_ksn(case: Case<'_>, name: &str) -> Check<tdes::KeySerialNumber> {
    tdes::KeySerialNumber::parse(&case.bytes(name)?).map_err(refused)
}

/// Derived from the base derivation key if that is given, and then the same as a published initial key.
fn tdes_initial_key(case: Case<'_>) -> Check<tdes::InitialKey> {
    let id = tdes_ksn(case, "ksn")?.initial_key_id();
    if !case.has("bdk") {
        return tdes::InitialKey::new(&case.bytes("ik")?, id).map_err(refused);
    }
    let initial_key = tdes::BaseDerivationKey::new(&case.bytes("bdk")?).map_err(refused)?.initial_key(id);
    if case.kind() == "derive_ik" || case.has("ik") {
        case.expect_bytes("ik", &*initial_key.expose_bytes())?;
    }
    Ok(initial_key)
}

pub(crate) fn tdes_transaction(case: Case<'_>) -> Check<tdes::TransactionKey> {
    let initial_key = tdes_initial_key(case)?;
    let transaction = initial_key.transaction_key(tdes_ksn(case, "ksn")?).map_err(refused)?;
    if ["derive_txn_key", "txn_sequence"].contains(&case.kind()) || case.has("txn_key") {
        case.expect_bytes("txn_key", &*transaction.expose_bytes())?;
    }
    Ok(transaction)
}

const TDES_WORKING_KEYS: [(&str, WorkingKeyUsage); 5] = [
    ("pin_key", WorkingKeyUsage::PinEncryption),
    ("mac_request_key", WorkingKeyUsage::MacRequest),
    ("mac_response_key", WorkingKeyUsage::MacResponse),
    ("data_request_key", WorkingKeyUsage::DataRequest),
    ("data_response_key", WorkingKeyUsage::DataResponse),
];

fn tdes_working_keys(case: Case<'_>, transaction: &tdes::TransactionKey) -> Check {
    let given = || TDES_WORKING_KEYS.iter().filter(|(name, _)| case.has(name));
    if case.kind() != "txn_sequence" && given().next().is_none() {
        return Err(Problem::Unrunnable("no working key".to_owned()));
    }
    let mut given = given();
    given.try_for_each(|(name, usage)| case.expect_bytes(name, transaction.working_key_bytes(*usage).expose()))
}

fn tdes_sequence(case: Case<'_>) -> Check {
    let transaction = tdes_transaction(case)?;
    tdes_working_keys(case, &transaction)?;
    tdes_pin_block(case, &transaction.working_key(WorkingKeyUsage::PinEncryption))?;
    let directions = [
        ("request", WorkingKeyUsage::MacRequest, WorkingKeyUsage::DataRequest),
        ("response", WorkingKeyUsage::MacResponse, WorkingKeyUsage::DataResponse),
    ];
    for (direction, mac_usage, data_usage) in directions {
        tdes_macs(case, direction, &transaction.working_key(mac_usage))?;
        let name = format!("data_{direction}_encrypted_cbc");
        if case.has(&name) {
            let mut data = case.bytes("data_clear")?;
            encrypt_cbc(&transaction.working_key(data_usage), iv(case, "data_iv")?, &mut data).map_err(refused)?;
            case.expect_bytes(&name, &data)?;
        }
    }
    Ok(())
}

pub(crate) fn iv<const N: usize>(case: Case<'_>, name: &str) -> Check<[u8; N]> {
    if case.has(name) { case.array(name) } else { Ok([0; N]) }
}

fn tdes_pin_block(case: Case<'_>, key: &TdesKey) -> Check {
    if case.has("clear_pinblock_format0") {
        let clear = encode_format_0(&pin(case)?, pan(case)?).map_err(refused)?;
        case.expect_bytes("clear_pinblock_format0", &clear)?;
    }
    if !case.has("encrypted_pinblock") {
        return Ok(());
    }
    case.expect_bytes("encrypted_pinblock", &encipher_format_0(key, &pin(case)?, pan(case)?).map_err(refused)?)?;
    let read = decipher_format_0(key, &case.array("encrypted_pinblock")?, pan(case)?).map_err(refused)?;
    case.expect_text("pin", read.expose())
}

fn tdes_macs(case: Case<'_>, direction: &str, key: &TdesKey) -> Check {
    let names = [format!("mac_{direction}_x919"), format!("mac_{direction}_4"), format!("tdes_cmac_{direction}")];
    if !names.iter().any(|name| case.has(name)) {
        return Ok(());
    }
    let data = case.text("mac_data_ascii")?.as_bytes();
    let [full, short, cmac_name] = names;
    let mac = x9_19_mac(key, data).map_err(refused)?;
    case.expect_bytes_if_given(&full, &mac)?;
    case.expect_bytes_if_given(&short, &mac[..4])?;
    case.expect_bytes_if_given(&cmac_name, &cmac(key, data))
}

/// The variant by its name or by its constant.
pub(crate) fn variant(case: Case<'_>) -> Check<WorkingKeyUsage> {
    let pin_only = case.kind() == "track_decrypt_pin_variant_cbc";
    let name = match case.0["key_variant"].as_str() {
        Some(name) => name.to_ascii_lowercase(),
        None => if pin_only { "pin" } else { "data" }.to_owned(),
    };
    let response = name.contains("resp");
    Ok(match name.as_str() {
        "00000000000000ff00000000000000ff" | "00000000000000ff" => WorkingKeyUsage::PinEncryption,
        "0000000000ff00000000000000ff0000" | "0000000000ff0000" => WorkingKeyUsage::DataRequest,
        "000000ff00000000000000ff00000000" | "000000ff00000000" => WorkingKeyUsage::DataResponse,
        _ if name.contains("pin") || name.contains("pek") => WorkingKeyUsage::PinEncryption,
        _ if name.contains("mac") && response => WorkingKeyUsage::MacResponse,
        _ if name.contains("mac") => WorkingKeyUsage::MacRequest,
        _ if response => WorkingKeyUsage::DataResponse,
        _ if name.contains("data") || name.contains("dek") || name.contains("req") => WorkingKeyUsage::DataRequest,
        _ => return Err(Problem::Unrunnable(format!("key variant {name}"))),
    })
}

/// Readers pad tracks with zeros, which a published plaintext may leave away.
fn tdes_track(case: Case<'_>) -> Check {
    let key = tdes_transaction(case)?.working_key(variant(case)?);
    let mut track = case.bytes("ciphertext")?;
    decrypt_cbc(&key, iv(case, "iv")?, &mut track).map_err(refused)?;
    let characters = track.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if case.has("plaintext_ascii") {
        let shown = case.text("plaintext_ascii")?.trim_end_matches('\0');
        if shown.as_bytes() != &track[..characters] {
            return Err(Problem::Differs("plaintext_ascii".to_owned()));
        }
    }
    let published = case.bytes("plaintext")?;
    let shown = published.len().clamp(characters, track.len());
    case.expect_bytes("plaintext", &track[..shown])
}

pub(crate) fn aes_ksn(case: Case<'_>, name: &str) -> Check<aes::KeySerialNumber> {
    aes::KeySerialNumber::parse(&case.bytes(name)?).map_err(refused)
}

fn aes_parts(case: Case<'_>, ksn: aes::KeySerialNumber) -> Check {
    case.expect_bytes("ik_id", &ksn.initial_key_id().to_bytes())?;
    expect_counter(case, ksn.counter())
}

/// As with TDES; the id stands alone or in the serial number.
fn aes_initial_key(case: Case<'_>) -> Check<aes::InitialKey> {
    let id = if case.has("ik_id") {
        aes::InitialKeyId::new(case.array("ik_id")?)
    } else {
        aes_ksn(case, "ksn")?.initial_key_id()
    };
    if !case.has("bdk") {
        return aes::InitialKey::new(&case.bytes("ik")?, id).map_err(refused);
    }
    let initial_key = aes::BaseDerivationKey::new(&case.bytes("bdk")?).map_err(refused)?.initial_key(id);
    if case.kind() == "derive_ik" || case.has("ik") {
        case.expect_bytes("ik", initial_key.expose_bytes())?;
    }
    Ok(initial_key)
}

pub(crate) fn aes_transaction(case: Case<'_>) -> Check<aes::TransactionKey> {
    let initial_key = aes_initial_key(case)?;
    let transaction = initial_key.transaction_key(aes_ksn(case, "ksn")?).map_err(refused)?;
    if ["derive_txn_key", "txn_sequence"].contains(&case.kind()) || case.has("txn_key") {
        case.expect_bytes("txn_key", transaction.expose_bytes())?;
    }
    Ok(transaction)
}

pub(crate) fn key_type(name: &str) -> Check<KeyType> {
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    match letters.to_ascii_uppercase().as_str() {
        "TDES2" | "TDEA2" | "2TDEA" | "2TDES" => Ok(KeyType::Tdes2),
        "TDES3" | "TDEA3" | "3TDEA" | "3TDES" => Ok(KeyType::Tdes3),
        "AES128" => Ok(KeyType::Aes128),
        "AES192" => Ok(KeyType::Aes192),
        "AES256" => Ok(KeyType::Aes256),
        "HMAC128" => Ok(KeyType::Hmac128),
        "HMAC192" => Ok(KeyType::Hmac192),
        "HMAC256" => Ok(KeyType::Hmac256),
        _ => Err(Problem::Unrunnable(format!("key type {name}"))),
    }
}

pub(crate) fn key_usage(name: &str) -> Check<KeyUsage> {
    match name {
        "kek" => Ok(KeyUsage::KeyEncryption),
        "pin_enc" | "pin" => Ok(KeyUsage::PinEncryption),
        "mac_gen" => Ok(KeyUsage::MacGeneration),
        "mac_ver" => Ok(KeyUsage::MacVerification),
        "mac_both" => Ok(KeyUsage::MacBothWays),
        "data_enc" => Ok(KeyUsage::DataEncryption),
        "data_dec" => Ok(KeyUsage::DataDecryption),
        "data_both" => Ok(KeyUsage::DataBothWays),
        "kdk" | "key_derivation" | "derivation" => Ok(KeyUsage::KeyDerivation),
        _ => Err(Problem::Unrunnable(format!("key usage {name}"))),
    }
}

fn aes_update_key(case: Case<'_>) -> Check {
    let key = aes_initial_key(case)?.update_key(key_type(case.text("key_type")?)?).map_err(refused)?;
    case.expect_bytes("update_key", key.expose_bytes())
}

/// Every key by the name of its usage and type, as in `mac_gen_AES128`.
fn aes_matrix(case: Case<'_>) -> Check {
    let transaction = aes_transaction(case)?;
    let no_keys = || Problem::Unrunnable("no keys".to_owned());
    let keys = case.0["keys"].as_object().filter(|keys| !keys.is_empty()).ok_or_else(no_keys)?;
    for name in keys.keys() {
        let (usage, of_type) = name.rsplit_once('_').ok_or_else(no_keys)?;
        let key = transaction.working_key(key_usage(usage)?, key_type(of_type)?).map_err(refused)?;
        case.inside("keys").expect_bytes(name, key.expose_bytes())?;
    }
    Ok(())
}

/// Keys whose field is named by usage and type, as in `pin_enc_key_aes128`.
fn aes_named_keys(case: Case<'_>, transaction: &aes::TransactionKey) -> Check {
    let fields = case.0.as_object().into_iter().flatten();
    let named = fields.filter_map(|(name, _)| Some((name, name.split_once("_key_")?)));
    let mut checked = 0;
    for (name, (usage, of_type)) in named {
        let key = transaction.working_key_bytes(key_usage(usage)?, key_type(of_type)?).map_err(refused)?;
        case.expect_bytes(name, key.expose())?;
        checked += 1;
    }
    if checked > 0 || case.kind() == "txn_sequence" {
        Ok(())
    } else {
        Err(Problem::Unrunnable("no working key".to_owned()))
    }
}

fn aes_working_key(transaction: &aes::TransactionKey, usage: KeyUsage, of_type: KeyType) -> Check<AesKey> {
    let key = transaction.working_key(usage, of_type).map_err(refused)?;
    key.into_aes().ok_or_else(|| Problem::Unrunnable(format!("{of_type:?} is no AES key")))
}

fn aes_sequence(case: Case<'_>) -> Check {
    let transaction = aes_transaction(case)?;
    aes_named_keys(case, &transaction)?;
    aes_pin_block(case, &transaction)?;
    let directions = [
        ("request", KeyUsage::MacGeneration, KeyUsage::DataEncryption),
        ("response", KeyUsage::MacVerification, KeyUsage::DataDecryption),
    ];
    for (direction, mac_usage, data_usage) in directions {
        aes_macs(case, direction, &transaction, mac_usage)?;
        let name = format!("data_{direction}_cbc");
        if case.has(&name) {
            let key = aes_working_key(&transaction, data_usage, KeyType::Aes128)?;
            let mut data = case.bytes("data_clear")?;
            encrypt_cbc(&key, iv(case, "data_iv")?, &mut data).map_err(refused)?;
            case.expect_bytes(&name, &data)?;
        }
    }
    Ok(())
}

fn aes_pin_block(case: Case<'_>, transaction: &aes::TransactionKey) -> Check {
    if case.has("pan_field") {
        case.expect_bytes("pan_field", &format_4_account_field(pan(case)?).map_err(refused)?)?;
    }
    let mut random = [0; 8];
    if case.has("pin_field_format4") {
        let field: [u8; 16] = case.array("pin_field_format4")?;
        random.copy_from_slice(&field[8..]);
        case.expect_bytes("pin_field_format4", &format_4_pin_field(&pin(case)?, &random))?;
        case.expect_text("pin", read_format_4_pin_field(&field).map_err(refused)?.expose())?;
    }
    if !case.has("encrypted_pinblock") {
        return Ok(());
    }
    let key = aes_working_key(transaction, KeyUsage::PinEncryption, KeyType::Aes128)?;
    if case.has("pin_field_format4") {
        let block = encipher_format_4(&key, &pin(case)?, pan(case)?, &random).map_err(refused)?;
        case.expect_bytes("encrypted_pinblock", &block)?;
    }
    let read = decipher_format_4(&key, &case.array("encrypted_pinblock")?, pan(case)?).map_err(refused)?;
    case.expect_text("pin", read.expose())
}

fn aes_macs(case: Case<'_>, direction: &str, transaction: &aes::TransactionKey, usage: KeyUsage) -> Check {
    for (length_bits, aes_type, hmac_type) in [
        (128, KeyType::Aes128, KeyType::Hmac128),
        (192, KeyType::Aes192, KeyType::Hmac192),
        (256, KeyType::Aes256, KeyType::Hmac256),
    ] {
        let name = format!("cmac_aes{length_bits}_{direction}");
        if case.has(&name) {
            let key = aes_working_key(transaction, usage, aes_type)?;
            case.expect_leading_bytes(&name, &cmac(&key, case.text("mac_data_ascii")?.as_bytes()))?;
        }
        let name = format!("hmac{length_bits}_sha256_{direction}");
        if case.has(&name) {
            let key = transaction.working_key(usage, hmac_type).map_err(refused)?;
            let mac = HmacSha256Key::new(key.expose_bytes()).mac(&[case.text("mac_data_ascii")?.as_bytes()]);
            case.expect_leading_bytes(&name, &mac)?;
        }
    }
    Ok(())
}

/// A freshly loaded terminal saves its serial number, its update key, then all registers from counter bit 0 up.
fn aes_registers(case: Case<'_>) -> Check {
    let initial_key = aes_initial_key(case)?;
    let state = aes::Terminal::load(&initial_key).to_bytes();
    let key_bytes = initial_key.key_type().key_bytes();
    let registers = state[aes::KSN_BYTES + key_bytes..].chunks(key_bytes);
    let published = case.0["registers_bit0_to_bit31"].as_array();
    let published = published.ok_or_else(|| Problem::Unrunnable("no list of registers".to_owned()))?;
    if published.len() != registers.len() {
        return Err(Problem::Differs(format!("{} registers, not {}", registers.len(), published.len())));
    }
    for (register, published) in registers.zip(published) {
        let wrapped = serde_json::json!({ "register": published });
        Case(&wrapped).expect_bytes("register", register)?;
    }
    Ok(())
}

fn aes_data_ecb(case: Case<'_>) -> Check {
    let of_type = aes_initial_key(case)?.key_type();
    let key = aes_working_key(&aes_transaction(case)?, KeyUsage::DataEncryption, of_type)?;
    let mut data = case.bytes("plaintext")?;
    encrypt_ecb(&key, &mut data).map_err(refused)?;
    case.expect_bytes("ciphertext", &data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What a case says about itself, not about keys.
    const DESCRIPTIONS: [&str; 9] =
        ["id", "type", "source", "verified", "verified_how", "note", "reason", "expect", "malformed"];

    fn published(area: &str) -> Vec<Value> {
        let path = format!("{}/data/{area}.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read(path).expect("the vector file is there");
        serde_json::from_slice(&text).expect("a JSON array")
    }

    /// The text with one digit changed, where neither a parity bit nor a check digit is.
    fn changed(text: &str) -> String {
        let at = text.len() - 1 - usize::from(text.len() > 1 && text.bytes().all(|byte| byte.is_ascii_digit()));
        let digit = (text.as_bytes()[at] as char).to_digit(16).unwrap_or(0) ^ 2;
        format!("{}{digit:X}{}", &text[..at], &text[at + 1..])
    }

    fn assert_fails(case: &Value, name: &str) {
        let outcome = run(case);
        assert!(matches!(outcome, Outcome::Failed(_)), "{} {name}: {outcome:?}", case["id"]);
    }

    #[test]
    fn a_change_of_any_field_fails_the_case() {
        for case in [published("dukpt-tdes"), published("dukpt-aes")].concat() {
            assert_eq!(run(&case), Outcome::Passed, "{}", case["id"]);
            let fields = case.as_object().expect("an object").iter();
            for (name, value) in fields.filter(|(name, _)| !DESCRIPTIONS.contains(&name.as_str())) {
                let mut spoilt = case.clone();
                // A refused serial number has no second half to contradict.
                let spoils = case.get("expect").is_none();
                match value {
                    // The counter is no part of an initial key's name.
                    Value::String(text) if case["type"] == "derive_ik" && name == "ksn" => {
                        spoilt[name] = json!(format!("0{}", &text[1..]));
                    }
                    Value::String(text) if spoils => spoilt[name] = json!(changed(text)),
                    Value::Bool(valid) => spoilt[name] = json!(!valid),
                    Value::Object(keys) => {
                        let (key, bytes) = keys.iter().next_back().expect("not empty");
                        spoilt[name][key] = json!(changed(bytes.as_str().expect("hexadecimal")));
                    }
                    Value::Number(_) => spoilt[name] = json!(0),
                    _ => continue,
                }
                assert_fails(&spoilt, name);
            }
        }
    }

    const BDK: &str = "0123456789ABCDEFFEDCBA9876543210";
    const AES_IK: &str = "1273671EA26AC29AFA4D1084127652A1";

    /// Types that the published files do not hold.
    fn further() -> Vec<Value> {
        let ksn = "FFFF9876543210E00001";
        // A reader's track of a public example, 4 zero bytes at its end.
        let track = "C25C1D1197D31CAA87285D59A892047426D9182EC11353C051ADD6D0F072A6CB3436560B3071FC1FD11D9F7E74886742\
                     D9BEE0CFD1EA1064C213BB55278B2F12";
        let clear = "2542353435323330303535313232373138395E484F47414E2F5041554C2020202020205E30383034333231303030303030\
                     303732353030303030303F00000000";
        let ascii = "%B5452300551227189^HOGAN/PAUL      ^08043210000000725000000?";
        vec![
            json!({"type": "pin_key", "bdk": BDK, "ksn": ksn, "pin_key": "042666B49184CF5C68DE9628D0397B36"}),
            json!({"type": "data_key", "bdk": BDK, "ksn": ksn, "data_request_key": "448D3F076D8304036A55A3D7E0055A78"}),
            json!({"type": "track_decrypt_pin_variant_cbc", "bdk": BDK, "ksn": "FFFF9876543210E00008",
                "ciphertext": track, "key_variant": "pin", "plaintext": clear, "plaintext_ascii": ascii}),
            json!({"type": "track_decrypt_cbc", "bdk": BDK, "ksn": "FFFF9876543210E00008",
                "ciphertext": track, "key_variant": "00000000000000FF", "plaintext": clear}),
            json!({"type": "ksn_count", "start_ksn": "FFFF9876543210E00000", "total_valid_ksns": 1_048_575}),
            json!({"type": "ksn_count", "start_ksn": "123456789012345600000000", "total_valid_ksns": 2_448_023_842_u32}),
            json!({"type": "ksn_to_parts", "ksn": "123456789012345680000001", "ik_id": "1234567890123456",
                "counter": 2_147_483_649_u32}),
            json!({"type": "ksn80_compat_to_parts", "ksn": "0E11111111FFFFFF0000", "ik_id": "00E11111111FFFFE",
                "counter": 2_031_616}),
            json!({"type": "working_keys", "ik": AES_IK, "ksn": "123456789012345600845FED",
                "pin_enc_key_aes128": "D1DDA386AA4A556AF0119FDCB5D132C6",
                "mac_gen_key_aes128": "89365C7970950CAC0A6261FFC7DB26C6",
                "data_enc_key_aes128": "B1E4D9006A87DD08D87F11A124D35517"}),
            json!({"type": "data_encrypt_ecb", "ik": AES_IK, "ksn": "123456789012345600000001",
                "plaintext": "12345678900000000000000000000000", "ciphertext": "578D868399E773DFA8375199FE91D5C7"}),
            json!({"type": "ksn_valid", "ksn": "FFFF9876543210E003FF", "counter_ones": 10, "valid": true}),
            json!({"type": "ksn_valid", "ksn": "12345678901234560000FFFF", "counter_ones": 16, "valid": true}),
        ]
    }

    #[test]
    fn types_of_other_files_run() {
        let published =
            |name: &&str| !["type", "bdk", "ik", "ksn", "start_ksn", "ciphertext", "key_variant"].contains(name);
        for case in further() {
            assert_eq!(run(&case), Outcome::Passed, "{case}");
            let names = case.as_object().expect("an object").keys().map(String::as_str);
            for name in names.filter(published) {
                let mut spoilt = case.clone();
                spoilt[name] = match &case[name] {
                    Value::String(text) if name == "plaintext_ascii" => json!(text.replace('5', "6")),
                    Value::String(text) => json!(changed(text)),
                    Value::Bool(valid) => json!(!valid),
                    other => json!(other.as_u64().expect("a number") + 1),
                };
                assert_fails(&spoilt, name);
            }
        }
    }

    #[test]
    fn registers_are_compared_one_by_one() {
        let case = published("dukpt-aes").into_iter().find(|case| case["type"] == "derive_ik").expect("there is one");
        let ksn = |counter: u32| format!("1234567890123456{counter:08X}");
        let initial_key = aes_initial_key(Case(&case)).ok().expect("it derives");
        let registers = (0..32).map(|bit| {
            let ksn = json!({"ksn": ksn(1 << bit)});
            let transaction = initial_key.transaction_key(aes_ksn(Case(&ksn), "ksn").ok().expect("valid"));
            json!(crate::mac::case::hex(transaction.expect("a transaction").expose_bytes()))
        });
        let registers: Vec<Value> = registers.collect();
        let mut case = json!({"type": "intermediate_registers", "ik": case["ik"], "ik_id": "1234567890123456",
            "registers_bit0_to_bit31": registers});
        assert_eq!(run(&case), Outcome::Passed);
        case["registers_bit0_to_bit31"][31] = registers[30].clone();
        assert_fails(&case, "registers");
        case["registers_bit0_to_bit31"] = json!(registers[..31]);
        assert_fails(&case, "registers");
    }

    #[test]
    fn malformed_cases_are_refused() {
        let cases = [
            json!({"type": "derive_ik", "bdk": &BDK[2..], "ksn": "FFFF9876543210E00000"}),
            json!({"type": "derive_ik", "bdk": &BDK[2..], "ik_id": "1234567890123456"}),
            json!({"type": "txn_sequence", "bdk": BDK, "ksn": "FFFF9876543210E007FF"}),
            json!({"type": "derive_txn_key", "ik": BDK, "ksn": "FFFF9876543210E00000"}),
            json!({"type": "derive_txn_key", "ik": BDK, "ksn": "FFFF9876543210E000"}),
            json!({"type": "derive_txn_key", "ik": AES_IK, "ksn": "12345678901234560001FFFF"}),
            json!({"type": "derive_update_key", "ik": AES_IK, "ik_id": "1234567890123456", "key_type": "AES256"}),
            json!({"type": "working_key_matrix", "ik": AES_IK, "ksn": "123456789012345600000001",
                "keys": {"mac_gen_AES192": ""}}),
            json!({"type": "ksn_advance", "ksn": "FFFF9876543210FFF800", "reason": "counter exhausted"}),
            json!({"type": "ksn_advance", "ksn": "1234567890123456FFFF0001"}),
        ];
        for mut case in cases {
            case["expect"] = json!("error");
            assert_eq!(run(&case), Outcome::Passed, "{case}");
            case["malformed"] = json!(true);
            assert_eq!(run(&case), Outcome::Passed, "{case}");
        }
        let mut asked = json!({"type": "ksn_valid", "ksn": "12345678901234560001FFFF", "counter_ones": 17,
            "valid": false, "expect": "error", "malformed": true});
        assert_eq!(run(&asked), Outcome::Passed);
        asked["valid"] = json!(true);
        assert_fails(&asked, "valid");
        let accepted = json!({"type": "ksn_advance", "ksn": "FFFF9876543210E00001", "expect": "error"});
        assert_fails(&accepted, "expect");
    }
}
