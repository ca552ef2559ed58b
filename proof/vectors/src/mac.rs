//! Message authentication codes and paddings.

#[path = "case.rs"]
pub mod case;

use crate::Outcome;
use case::{Case, Check, Problem, judge, refused, unknown};
use paycrypto::mac::{
    HmacSha256Key, UnionPayMacSteps, cbc_mac, cmac, hmac_sm3, mac_algorithm_3, unionpay_ecb_mac_steps, x9_9_mac,
    x9_19_mac,
};
use paycrypto::padding::{Padding, pad};
use paycrypto::{AesKey, BlockCipher, Sm4Key, TdesKey};
use serde_json::Value;

/// Runs one case of the area.
pub fn run(case: &Value) -> Outcome {
    let case = Case(case);
    judge(case, check(case))
}

fn check(case: Case<'_>) -> Check {
    match case.kind() {
        "padding" => padding(case),
        "retail_mac_alg3" => retail_mac(case),
        "cbc_mac_alg1_tdes" => {
            case.expect_leading_bytes("mac", &cbc_mac(&tdes(case, "key")?, ascii(case)?, method(case)?))
        }
        "iso9797_1" => iso9797_1(case),
        "cmac_aes128" | "cmac_aes192" | "cmac_aes256" => aes_cmac(case),
        "aes_cmac_wycheproof" => truncated(case, &cmac(&aes(case)?, &case.bytes("message")?)),
        "cmac_tdes2" | "cmac_tdes3" => {
            case.expect_leading_bytes("mac", &cmac(&tdes(case, "key")?, &case.bytes("message")?))
        }
        "hmac_sha256" => {
            let mac = HmacSha256Key::new(&case.bytes("key")?).mac(&[case.text("message_ascii")?.as_bytes()]);
            case.expect_leading_bytes("mac", &mac)
        }
        "hmac_sm3_wycheproof" => truncated(case, &hmac_sm3(&case.bytes("key")?, &case.bytes("message")?)),
        "cup_ecb_mac" => unionpay_tdes(case),
        "cup_sm4_mac" => unionpay_steps(case, &unionpay_ecb_mac_steps(&sm4(case)?, ascii(case)?)),
        "x99_cbc_mac" => x9_9(case),
        "sm4_cbc_mac" => sm4_cbc(case),
        "pboc_x919_mac" => pboc_x9_19(case),
        _ => unknown(case),
    }
}

fn tdes(case: Case<'_>, name: &str) -> Check<TdesKey> {
    TdesKey::new(&case.bytes(name)?).map_err(refused)
}

fn aes(case: Case<'_>) -> Check<AesKey> {
    AesKey::new(&case.bytes("key")?).map_err(refused)
}

fn sm4(case: Case<'_>) -> Check<Sm4Key> {
    Sm4Key::new(&case.bytes("key")?).map_err(refused)
}

pub(crate) fn ascii(case: Case<'_>) -> Check<&[u8]> {
    case.text("data_ascii").map(str::as_bytes)
}

pub(crate) fn method(case: Case<'_>) -> Check<Padding> {
    Padding::from_method_number(case.number("padding")?).map_err(refused)
}

fn padding(case: Case<'_>) -> Check {
    let method = Padding::from_method_number(case.number("method")?).map_err(refused)?;
    let block_bytes = usize::try_from(case.number("block_size")?).map_err(refused)?;
    case.expect_bytes("padded", &pad(&case.bytes("data")?, method, block_bytes).map_err(refused)?)
}

fn retail_mac(case: Case<'_>) -> Check {
    let (chain_key, output_key) = (tdes(case, "key1")?, tdes(case, "key2")?);
    case.expect_leading_bytes("mac", &mac_algorithm_3(&chain_key, &output_key, ascii(case)?, method(case)?))?;
    x9_19(case)
}

/// ANSI X9.19 is MAC algorithm 3 with padding method 1 under the two halves of one key.
fn x9_19(case: Case<'_>) -> Check {
    let halves = [case.bytes("key1")?, case.bytes("key2")?];
    if method(case)? != Padding::Zeros || halves.iter().any(|half| half.len() != 8) {
        return Ok(());
    }
    let key = TdesKey::new(&halves.concat()).map_err(refused)?;
    case.expect_leading_bytes("mac", &x9_19_mac(&key, ascii(case)?).map_err(refused)?)
}

fn iso9797_1(case: Case<'_>) -> Check {
    let key = tdes(case, "key1")?;
    let mac = match case.number("algorithm")? {
        1 => cbc_mac(&key, ascii(case)?, method(case)?),
        3 => mac_algorithm_3(&key, &tdes(case, "key2")?, ascii(case)?, method(case)?),
        5 => cmac(&key, ascii(case)?),
        other => return Err(Problem::Unrunnable(format!("MAC algorithm {other}"))),
    };
    case.expect_leading_bytes("mac", &mac)?;
    if case.number("algorithm")? == 3 { x9_19(case) } else { Ok(()) }
}

fn aes_cmac(case: Case<'_>) -> Check {
    case.expect_leading_bytes("mac", &cmac(&aes(case)?, &case.bytes("message")?))
}

/// Wycheproof names the tag's length; the comparison is over exactly that many bits.
fn truncated(case: Case<'_>, mac: &[u8]) -> Check {
    let tag_bytes = usize::try_from(case.number("tag_bits")? / 8).map_err(refused)?;
    let tag = mac.get(..tag_bytes).ok_or_else(|| Problem::Refused("tag longer than the MAC".to_owned()))?;
    case.expect_bytes("mac", tag)
}

fn unionpay_steps<const N: usize>(case: Case<'_>, steps: &UnionPayMacSteps<N>) -> Check {
    case.expect_bytes_if_given("xor_result", &steps.folded)?;
    case.expect_bytes_if_given("expanded_ascii_hex", case::hex(&steps.folded).as_bytes())?;
    case.expect_bytes_if_given("enc1", &steps.first)?;
    case.expect_bytes_if_given("xor2", &steps.mixed)?;
    case.expect_bytes_if_given("enc2", &steps.last)?;
    if case.has("mac_ascii") {
        case.expect_text("mac_ascii", &String::from_utf8_lossy(&steps.field_64()))?;
    }
    case.expect_bytes("mac_field64", &steps.field_64())
}

fn unionpay_tdes(case: Case<'_>) -> Check {
    let key = tdes(case, "mak")?;
    if case.has("tmk") && case.has("mak_encrypted") {
        let tmk = tdes(case, "tmk")?;
        let mak = paycrypto::key_wrap::unwrap_tdes_key(&tmk, &case.bytes("mak_encrypted")?).map_err(refused)?;
        case.expect_bytes("mak", mak.expose_bytes())?;
    }
    unionpay_steps(case, &unionpay_ecb_mac_steps(&key, &case.bytes("mab")?))
}

fn x9_9(case: Case<'_>) -> Check {
    let mac = x9_9_mac(&tdes(case, "key")?, ascii(case)?);
    case.expect_bytes_if_given("mac_full", &mac)?;
    case.expect_leading_bytes("mac", &mac)
}

/// The object shows the padded data and not the method's number.
fn sm4_cbc(case: Case<'_>) -> Check {
    const SM4_BLOCK_BYTES: usize = 16;
    let (data, padded) = (ascii(case)?, case.bytes("padded")?);
    let shown = |method: &Padding| pad(data, *method, SM4_BLOCK_BYTES).is_ok_and(|made| made == padded);
    let methods = [Padding::Zeros, Padding::Marker, Padding::LengthPrefix];
    let method = methods.into_iter().find(shown).ok_or_else(|| Problem::Differs("padded".to_owned()))?;
    case.expect_leading_bytes("mac", &cbc_mac(&sm4(case)?, data, method))
}

/// The method by its number, or by what is padded with.
pub(crate) fn named_method(case: Case<'_>) -> Check<Padding> {
    let by_name = |text: &str| if text.contains("80") { Padding::Marker } else { Padding::Zeros };
    method(case).or_else(|problem| case.text("padding").map(by_name).map_err(|_| problem))
}

fn pboc_x9_19(case: Case<'_>) -> Check {
    let (key, data) = (tdes(case, "key")?, case.bytes("data")?);
    let method = named_method(case)?;
    let mac = paycrypto::mac::retail_mac(&key, &data, method).map_err(refused)?;
    if method == Padding::Zeros && x9_19_mac(&key, &data) != Ok(mac) {
        return Err(Problem::Differs("X9.19 and the retail MAC disagree".to_owned()));
    }
    if case.has("steps_first_encrypt") {
        let first_key = TdesKey::new(&key.expose_bytes()[..8]).map_err(refused)?;
        let first = pad(&data, method, 8).map_err(refused)?;
        let block = *first.first_chunk().ok_or_else(|| Problem::Unrunnable("no block".to_owned()))?;
        case.expect_bytes("steps_first_encrypt", &first_key.encrypted(block))?;
    }
    case.expect_leading_bytes("mac", &mac)
}
