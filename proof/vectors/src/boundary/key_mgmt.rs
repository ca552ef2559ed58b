//! Check values, components, UnionPay's key delivery.

use super::chest::Chest;
use super::macs::{aes, des};
use super::{inner_step, no_command, unsayable};
use crate::key_mgmt::component_bytes;
use crate::mac::case::{Case, Check, Problem, refused, unknown};
use keys::{Algorithm, AnyKeyBlock, CheckMethod, ExpectedCheck, KeyCheckValue, Refusal, Usage};
use paycrypto::TdesKey;
use paycrypto::check_value::unionpay_check_value;
use serde_json::json;

/// Checks one case.
pub fn check(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    match case.kind() {
        "aes_kw" | "aes_kwp" => Err(no_command("AES key wrap (RFC 3394, RFC 5649): keys travel in key blocks")),
        "kcv_tdes" | "kcv_des" => des_check_values(chest, case),
        "kcv_aes" => aes_check_values(chest, case),
        "sm4_kcv" => {
            let key = chest.bring_any(Usage::PinEncryption, Algorithm::Sm4, &case.bytes("key")?)?;
            case.expect_leading_or_longer(&["kcv_zero_block"], &chest.check_value(&key, CheckMethod::Legacy)?)?;
            case.expect_leading_or_longer(&["kcv_zero_block"], &chest.short_check_value(&key)?)
        }
        "component_xor" => components(chest, case),
        "odd_parity" => Err(inner_step("DES parity (FIPS 46-3)")),
        "key_variant" | "variant_lmk" => {
            Err(no_command("variants of a key (ANSI X9.24-1): each usage has its own key"))
        }
        "cup_tmk_transport" => terminal_master_key(chest, case),
        "cup_mak" => message_key(chest, case),
        "cup_signon_keys" => sign_on_key(chest, case),
        "tdes_weak_key" => weak_key(chest, case),
        "sm4_working_key" => Err(no_command("keys under SM4: the vault takes SM4 keys from custodians only")),
        _ => unknown(case),
    }
}

impl Case<'_> {
    /// A published check value may be longer or shorter than what a command tells.
    fn expect_leading_or_longer(self, names: &[&str], told: &[u8]) -> Check {
        for name in names.iter().filter(|name| self.has(name)) {
            let published = self.bytes(name)?;
            let shared = published.len().min(told.len());
            self.expect_leading_bytes_of(name, &published[..shared], &told[..shared])?;
        }
        Ok(())
    }

    fn expect_leading_bytes_of(self, name: &str, published: &[u8], told: &[u8]) -> Check {
        let wrapped = json!({ name: crate::mac::case::hex(published) });
        Case(&wrapped).expect_bytes(name, told)
    }
}

fn des_check_values(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let key = case.bytes("key")?;
    let algorithm = des(&key)?;
    let usage = if algorithm == Algorithm::Des { Usage::MessageMac } else { Usage::PinEncryption };
    let key = chest.bring_any(usage, algorithm, &key)?;
    let names = ["kcv8", "kcv4", "kcv3"];
    if !names.iter().any(|name| case.has(name)) {
        return Err(Problem::Unrunnable("no check value".to_owned()));
    }
    case.expect_leading_or_longer(&names, &chest.check_value(&key, CheckMethod::Legacy)?)?;
    case.expect_leading_or_longer(&names, &chest.short_check_value(&key)?)
}

/// The zero block's cipher of an AES key is never told: it gives a CMAC's subkeys away.
fn aes_check_values(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let key = case.bytes("key")?;
    let key = chest.bring_any(Usage::PinEncryption, aes(&key)?, &key)?;
    aes_told(chest, case, &key, "kcv_cmac5")
}

fn aes_told(chest: &mut Chest<'_, '_>, case: Case<'_>, key: &AnyKeyBlock, name: &str) -> Check {
    case.expect_leading_bytes(name, &chest.check_value(key, CheckMethod::Cmac)?)?;
    match chest.check_value(key, CheckMethod::Legacy) {
        Err(Problem::Refused(why)) if why == Refusal::WrongKey.to_string() => Ok(()),
        Err(other) => Err(other),
        Ok(_) => Err(Problem::Differs("the zero block's cipher of an AES key was told".to_owned())),
    }
}

/// A ceremony: each component from a custodian of its own.
fn components(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let components = component_bytes(case).map_err(|problem| match problem {
        Problem::Refused(_) => unsayable("a component that is no hexadecimal"),
        other => other,
    })?;
    let first = components.first().ok_or_else(|| Problem::Unrunnable("no components".to_owned()))?;
    let is_aes = case.0["algorithm"] == "AES";
    let algorithm = if is_aes { aes(first)? } else { des(first)? };
    let values = case.0["component_kcvs"].as_array();
    let expected = |number: usize| {
        let Some(value) = values.and_then(|values| values.get(number)) else { return Ok(None) };
        let wrapped = json!({ "value": value });
        let bytes = Case(&wrapped).bytes("value")?;
        Ok(ExpectedCheck::new(&bytes[..bytes.len().min(4)]))
    };
    let entered: Vec<_> = components
        .iter()
        .enumerate()
        .map(|(number, bytes)| Ok((bytes.clone(), expected(number)?)))
        .collect::<Result<_, Problem>>()?;
    let whole = if case.has("kcv") { ExpectedCheck::new(&case.bytes("kcv")?) } else { None };
    let key = chest.ceremony(Usage::PinEncryption, algorithm, &entered, whole)?;
    let name = if case.has("key_odd_parity") { "key_odd_parity" } else { "key" };
    case.expect_bytes(name, &chest.exported(&key)?)?;
    if is_aes {
        aes_told(chest, case, &key, "kcv_cmac")
    } else {
        case.expect_leading_or_longer(&["kcv"], &chest.check_value(&key, CheckMethod::Legacy)?)
    }
}

fn check_of(case: Case<'_>, name: &str) -> Check<KeyCheckValue> {
    let bytes = case.bytes(name)?;
    let leading = bytes.first_chunk().ok_or_else(|| unsayable("a check value of fewer than four bytes"))?;
    Ok(KeyCheckValue(*leading))
}

/// The transport key comes to the vault's RSA key, the master key under it as published.
fn terminal_master_key(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let (under, enciphered) = (case.bytes("transport_key")?, case.bytes("tmk_encrypted")?);
    let check = check_of(case, "check_value")?;
    let key = chest.import_cryptogram(Usage::TerminalMaster, Algorithm::TdesDouble, &under, enciphered, check)?;
    case.expect_leading_or_longer(&["check_value"], &chest.short_check_value(&key)?)
}

/// The host's side of a delivery is the maker's; as an import it is the same arithmetic.
fn message_key(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let clear = case.bytes("mak")?;
    let check = KeyCheckValue(unionpay_check_value(&TdesKey::new(&clear).map_err(refused)?));
    let (under, enciphered) = (case.bytes("tmk")?, case.bytes("mak_encrypted")?);
    chest.import_cryptogram(Usage::MessageMac, des(&clear)?, &under, enciphered, check).map(|_| ())
}

fn sign_on_key(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let (under, enciphered) = (case.bytes("tmk")?, case.bytes("pik_encrypted")?);
    let (algorithm, check) = (des(&enciphered)?, check_of(case, "pik_check")?);
    let key = chest.import_cryptogram(Usage::PinEncryption, algorithm, &under, enciphered, check)?;
    case.expect_leading_or_longer(&["pik_check"], &chest.short_check_value(&key)?)
}

/// A weak key must be refused; that is the case's question.
fn weak_key(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let key = case.bytes("key")?;
    let algorithm = des(&key)?;
    let usage = if algorithm == Algorithm::Des { Usage::MessageMac } else { Usage::PinEncryption };
    match chest.bring_any(usage, algorithm, &key) {
        Err(Problem::NotBuilt(_)) => Ok(()),
        Err(other) => Err(other),
        Ok(_) => Err(Problem::Differs("a weak key was taken".to_owned())),
    }
}
