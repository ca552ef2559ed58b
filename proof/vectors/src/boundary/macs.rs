//! MACs through `MakeMac`, `VerifyMac`, `MakeAuthenticationCode` and `VerifyAuthenticationCode`.

use super::chest::Chest;
use super::{altered, inner_step, no_command, stray, unsayable, verdicts};
use crate::mac::case::{Case, Check, Problem, refused, unknown};
use crate::mac::{ascii, method, named_method};
use keys::{Algorithm, AuthenticationKey, Command, KeyBlock, MacAlgorithm, MessageMac, Reply};
use paycrypto::padding::{Padding, pad};
use types::SecretBytes;

const DES_BLOCK_BYTES: usize = 8;
const HMAC_KEY_BYTES: usize = 32;

/// Checks one case.
pub fn check(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    match case.kind() {
        "padding" => Err(inner_step("padding (ISO/IEC 9797-1 §6.3)")),
        "retail_mac_alg3" => retail_mac(chest, case),
        "iso9797_1" => iso9797_1(chest, case),
        "cbc_mac_alg1_tdes" => Err(no_command("ISO/IEC 9797-1 §7.2 (MAC algorithm 1) with triple DES")),
        "cmac_aes128" | "cmac_aes192" | "cmac_aes256" => cmac(chest, case, aes(&case.bytes("key")?)?),
        "aes_cmac_wycheproof" => wycheproof(chest, case),
        "cmac_tdes2" => cmac(chest, case, Algorithm::TdesDouble),
        "cmac_tdes3" => cmac(chest, case, Algorithm::TdesTriple),
        "hmac_sha256" => hmac(chest, case),
        "hmac_sm3_wycheproof" => Err(no_command("HMAC with SM3 (GB/T 15852.2)")),
        "cup_ecb_mac" => unionpay(chest, case, "mak", &case.bytes("mab")?),
        "cup_sm4_mac" => unionpay(chest, case, "key", ascii(case)?),
        "x99_cbc_mac" => x9_9(chest, case, "key", ascii(case)?, Padding::Zeros),
        "sm4_cbc_mac" => Err(no_command("CBC-MAC with SM4 (GB/T 15852.1)")),
        "pboc_x919_mac" => {
            let key = case.bytes("key")?;
            x9_19(chest, case, &key, &case.bytes("data")?, named_method(case)?)
        }
        _ => unknown(case),
    }
}

/// AES with a key of this length.
pub fn aes(key: &[u8]) -> Check<Algorithm> {
    let lengths = [Algorithm::Aes128, Algorithm::Aes192, Algorithm::Aes256];
    let algorithm = lengths.into_iter().find(|algorithm| algorithm.key_bytes() == key.len());
    algorithm.ok_or_else(|| unsayable("an AES key of other than 16, 24 or 32 bytes"))
}

/// DES with a key of this length.
pub fn des(key: &[u8]) -> Check<Algorithm> {
    let lengths = [Algorithm::Des, Algorithm::TdesDouble, Algorithm::TdesTriple];
    let algorithm = lengths.into_iter().find(|algorithm| algorithm.key_bytes() == key.len());
    algorithm.ok_or_else(|| unsayable("a DES key of other than 8, 16 or 24 bytes"))
}

/// Makes a MAC, and verifies it and an altered one.
fn field_64(
    chest: &mut Chest<'_, '_>,
    key: &KeyBlock<MessageMac>,
    algorithm: MacAlgorithm,
    message: &[u8],
) -> Check<[u8; 8]> {
    let words = || (key.clone(), SecretBytes::copy_from(message));
    let (key_word, message_word) = words();
    let made = match chest.host(Command::MakeMac { key: key_word, algorithm, message: message_word })? {
        Reply::Mac { mac } => mac,
        other => return Err(stray(&other)),
    };
    let mut verify = |mac: [u8; 8]| {
        let (key, message) = words();
        match chest.host(Command::VerifyMac { key, algorithm, message, mac })? {
            Reply::MacVerdict { right } => Ok(right),
            other => Err(stray(&other)),
        }
    };
    let changed: [u8; 8] = core::array::from_fn(|i| made[i] ^ u8::from(i == 7));
    verdicts(verify(made)?, verify(changed)?)?;
    Ok(made)
}

/// The commands pad with zeros. Whoever's peer pads in another way does so before asking: whole blocks stay as they are.
fn padded(data: &[u8], padding: Padding) -> Check<Vec<u8>> {
    if padding == Padding::Zeros { Ok(data.to_vec()) } else { pad(data, padding, DES_BLOCK_BYTES).map_err(refused) }
}

fn x9_9(chest: &mut Chest<'_, '_>, case: Case<'_>, name: &str, data: &[u8], padding: Padding) -> Check {
    let key = case.bytes(name)?;
    if key.len() != DES_BLOCK_BYTES {
        return Err(no_command("ISO/IEC 9797-1 §7.2 (MAC algorithm 1) with triple DES"));
    }
    let key = chest.bring(Algorithm::Des, &key)?;
    let mac = field_64(chest, &key, MacAlgorithm::X99, &padded(data, padding)?)?;
    case.expect_bytes_if_given("mac_full", &mac)?;
    case.expect_leading_bytes("mac", &mac)
}

fn x9_19(chest: &mut Chest<'_, '_>, case: Case<'_>, key: &[u8], data: &[u8], padding: Padding) -> Check {
    let key = chest.bring_double(key)?;
    let mac = field_64(chest, &key, MacAlgorithm::X919, &padded(data, padding)?)?;
    case.expect_leading_bytes("mac", &mac)
}

/// The half that works: a longer key stands for single DES when all its parts are equal.
fn single_part(key: &[u8]) -> Check<&[u8]> {
    let (parts, rest) = key.as_chunks::<DES_BLOCK_BYTES>();
    match parts.first() {
        Some(first) if rest.is_empty() && parts.iter().all(|part| part == first) => Ok(first),
        _ => Err(no_command("ISO/IEC 9797-1 §7.4 (MAC algorithm 3) with keys of more than one DES part each")),
    }
}

fn retail_mac(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let (chain, output) = (case.bytes("key1")?, case.bytes("key2")?);
    let key = [single_part(&chain)?, single_part(&output)?].concat();
    x9_19(chest, case, &key, ascii(case)?, method(case)?)
}

fn iso9797_1(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    match case.number("algorithm")? {
        1 => x9_9(chest, case, "key1", ascii(case)?, method(case)?),
        3 => retail_mac(chest, case),
        5 => {
            let key = case.bytes("key1")?;
            let key = AuthenticationKey::Cmac(chest.bring(des(&key)?, &key)?);
            case.expect_leading_bytes("mac", &authentication_code(chest, &key, ascii(case)?)?)
        }
        other => Err(Problem::Unrunnable(format!("MAC algorithm {other}"))),
    }
}

fn verified(chest: &mut Chest<'_, '_>, key: &AuthenticationKey, message: &[u8], code: &[u8]) -> Check<bool> {
    let (key, message, code) = (key.clone(), SecretBytes::copy_from(message), code.to_vec());
    match chest.host(Command::VerifyAuthenticationCode { key, message, code })? {
        Reply::MacVerdict { right } => Ok(right),
        other => Err(stray(&other)),
    }
}

/// Makes a code, and verifies it and an altered one.
fn authentication_code(chest: &mut Chest<'_, '_>, key: &AuthenticationKey, message: &[u8]) -> Check<Vec<u8>> {
    let make = Command::MakeAuthenticationCode { key: key.clone(), message: SecretBytes::copy_from(message) };
    let code = match chest.host(make)? {
        Reply::AuthenticationCode { code } => code,
        other => return Err(stray(&other)),
    };
    verdicts(verified(chest, key, message, &code)?, verified(chest, key, message, &altered(&code))?)?;
    Ok(code)
}

fn cmac(chest: &mut Chest<'_, '_>, case: Case<'_>, algorithm: Algorithm) -> Check {
    let key = AuthenticationKey::Cmac(chest.bring(algorithm, &case.bytes("key")?)?);
    case.expect_leading_bytes("mac", &authentication_code(chest, &key, &case.bytes("message")?)?)
}

/// The tag as it is published must verify, or must not.
fn wycheproof(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let (key, message, tag) = (case.bytes("key")?, case.bytes("message")?, case.bytes("mac")?);
    let key = AuthenticationKey::Cmac(chest.bring(aes(&key)?, &key)?);
    let right = verified(chest, &key, &message, &tag)?;
    let changed = verified(chest, &key, &message, &altered(&tag))?;
    if case.0["result"] == "invalid" && right {
        return Ok(());
    }
    verdicts(right, right && changed)
}

/// A shorter key filled with zeros is the same key (FIPS 198-1 §4, steps 1 and 3).
fn hmac(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let mut key = case.bytes("key")?;
    if key.len() > HMAC_KEY_BYTES {
        return Err(unsayable("an HMAC key of more than 32 bytes"));
    }
    key.resize(HMAC_KEY_BYTES, 0);
    let key = AuthenticationKey::Hmac(chest.bring(Algorithm::HmacSha256, &key)?);
    let code = authentication_code(chest, &key, case.text("message_ascii")?.as_bytes())?;
    case.expect_leading_bytes("mac", &code)
}

fn unionpay(chest: &mut Chest<'_, '_>, case: Case<'_>, name: &str, message: &[u8]) -> Check {
    let key = case.bytes(name)?;
    let algorithm = if name == "mak" { des(&key)? } else { Algorithm::Sm4 };
    let key = chest.bring(algorithm, &key)?;
    let mac = field_64(chest, &key, MacAlgorithm::UnionPayEcb, message)?;
    case.expect_bytes("mac_field64", &mac)
}
