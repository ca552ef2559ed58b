//! Key wrapping, check values, components, parity, variants, UnionPay key delivery.

use crate::Outcome;
use crate::mac::case::{Case, Check, Problem, judge, refused, unknown};
use paycrypto::check_value::{cmac_check_value, verify_zero_block_check_value, zero_block_check_value};
use paycrypto::key_material::{combine_components, has_odd_parity, is_weak_tdes_key, key_variant, set_odd_parity};
use paycrypto::key_wrap::{
    aes_kw_unwrap, aes_kw_wrap, aes_kwp_unwrap, aes_kwp_wrap, unwrap_ecb, unwrap_tdes_key, wrap_ecb,
};
use paycrypto::{AesKey, Sm4Key, TdesKey};
use serde_json::Value;

/// Runs one case of the area.
pub fn run(case: &Value) -> Outcome {
    let case = Case(case);
    judge(case, check(case))
}

fn check(case: Case<'_>) -> Check {
    match case.kind() {
        "aes_kw" | "aes_kwp" => aes_key_wrap(case),
        "kcv_tdes" | "kcv_des" => tdes_check_value(case),
        "kcv_aes" => aes_check_values(case, "key"),
        "component_xor" => components(case),
        "odd_parity" => odd_parity(case),
        "key_variant" => {
            let variant = u8::try_from(case.number("variant")?).map_err(refused)?;
            case.expect_bytes("result", key_variant(&case.bytes("key")?, variant).map_err(refused)?.expose())
        }
        "cup_tmk_transport" => terminal_master_key(case),
        "cup_mak" => {
            let mak = unwrap_tdes_key(&tdes(case, "tmk")?, &case.bytes("mak_encrypted")?).map_err(refused)?;
            case.expect_bytes("mak", mak.expose_bytes())
        }
        "cup_signon_keys" => sign_on_keys(case),
        "tdes_weak_key" => weak_key(case),
        "sm4_working_key" => sm4_working_key(case),
        "variant_lmk" => Err(Problem::NotBuilt("local master key variants of one HSM maker are not built".to_owned())),
        _ => unknown(case),
    }
}

fn tdes(case: Case<'_>, name: &str) -> Check<TdesKey> {
    TdesKey::new(&case.bytes(name)?).map_err(refused)
}

/// Unwrapping decides; what unwraps must wrap to the same bytes.
fn aes_key_wrap(case: Case<'_>) -> Check {
    let kek = AesKey::new(&case.bytes("kek")?).map_err(refused)?;
    let wrapped = case.bytes("wrapped")?;
    let padded = case.kind() == "aes_kwp";
    let unwrapped = if padded { aes_kwp_unwrap(&kek, &wrapped) } else { aes_kw_unwrap(&kek, &wrapped) };
    let unwrapped = unwrapped.map_err(refused)?;
    case.expect_bytes("plaintext", &unwrapped)?;
    let again = if padded { aes_kwp_wrap(&kek, &unwrapped) } else { aes_kw_wrap(&kek, &unwrapped) };
    case.expect_bytes("wrapped", &again.map_err(refused)?)
}

fn tdes_check_value(case: Case<'_>) -> Check {
    let key = tdes(case, "key")?;
    let value = zero_block_check_value(&key);
    case.expect_bytes_if_given("kcv8", &value)?;
    case.expect_bytes_if_given("kcv4", &value[..4])?;
    case.expect_bytes_if_given("kcv3", &value[..3])?;
    let given = ["kcv8", "kcv4", "kcv3"].into_iter().find(|name| case.has(name));
    let given = given.ok_or_else(|| Problem::Unrunnable("no check value".to_owned()))?;
    verify_zero_block_check_value(&key, &case.bytes(given)?).map_err(refused)
}

fn aes_check_values(case: Case<'_>, name: &str) -> Check {
    let key = AesKey::new(&case.bytes(name)?).map_err(refused)?;
    let zero_block = zero_block_check_value(&key);
    case.expect_leading_bytes("kcv_cmac5", &cmac_check_value(&key))?;
    case.expect_leading_bytes("kcv_zero_block3", &zero_block)
}

pub(crate) fn component_bytes(case: Case<'_>) -> Check<Vec<Vec<u8>>> {
    let list = case.0["components"].as_array().ok_or_else(|| Problem::Unrunnable("no components".to_owned()))?;
    let bytes_of = |item: &Value| {
        let wrapped = serde_json::json!({ "component": item });
        Case(&wrapped).bytes("component")
    };
    list.iter().map(bytes_of).collect()
}

fn components(case: Case<'_>) -> Check {
    let components = component_bytes(case)?;
    let parts: Vec<&[u8]> = components.iter().map(Vec::as_slice).collect();
    let key = combine_components(&parts).map_err(refused)?;
    case.expect_bytes("key", key.expose())?;
    if case.has("key_odd_parity") {
        let mut odd = key.expose().to_vec();
        set_odd_parity(&mut odd);
        case.expect_bytes("key_odd_parity", &odd)?;
    }
    if case.0["algorithm"] == "AES" {
        return aes_component_values(case, key.expose());
    }
    if case.has("kcv") {
        let key = TdesKey::new(key.expose()).map_err(refused)?;
        case.expect_leading_bytes("kcv", &zero_block_check_value(&key))?;
    }
    component_check_values(case, &components)
}

fn component_check_values(case: Case<'_>, components: &[Vec<u8>]) -> Check {
    let Some(values) = case.0["component_kcvs"].as_array() else { return Ok(()) };
    for (value, component) in values.iter().zip(components) {
        let wrapped = serde_json::json!({ "component_kcv": value });
        let key = TdesKey::new(component).map_err(refused)?;
        Case(&wrapped).expect_leading_bytes("component_kcv", &zero_block_check_value(&key))?;
    }
    Ok(())
}

fn aes_component_values(case: Case<'_>, key: &[u8]) -> Check {
    let key = AesKey::new(key).map_err(refused)?;
    if case.has("kcv_zero_block") {
        case.expect_leading_bytes("kcv_zero_block", &zero_block_check_value(&key))?;
    }
    if case.has("kcv_cmac") {
        case.expect_leading_bytes("kcv_cmac", &cmac_check_value(&key))?;
    }
    Ok(())
}

fn odd_parity(case: Case<'_>) -> Check {
    let mut key = case.bytes("key")?;
    let already = has_odd_parity(&key);
    set_odd_parity(&mut key);
    case.expect_bytes("adjusted", &key)?;
    if case.0["already_odd"] == already { Ok(()) } else { Err(Problem::Differs(format!("already_odd: {already}"))) }
}

fn terminal_master_key(case: Case<'_>) -> Check {
    let transport = tdes(case, "transport_key")?;
    let tmk = unwrap_tdes_key(&transport, &case.bytes("tmk_encrypted")?).map_err(refused)?;
    case.expect_bytes("tmk", tmk.expose_bytes())?;
    verify_zero_block_check_value(&tmk, &case.bytes("check_value")?).map_err(refused)?;
    case.expect_bytes("tmk_encrypted", &wrap_ecb(&transport, tmk.expose_bytes()).map_err(refused)?)
}

fn sign_on_keys(case: Case<'_>) -> Check {
    let pik = unwrap_tdes_key(&tdes(case, "tmk")?, &case.bytes("pik_encrypted")?).map_err(refused)?;
    verify_zero_block_check_value(&pik, &case.bytes("pik_check")?).map_err(refused)?;
    case.expect_bytes_if_given("pik", pik.expose_bytes())
}

fn weak_key(case: Case<'_>) -> Check {
    if is_weak_tdes_key(&case.bytes("key")?) {
        Ok(())
    } else {
        Err(Problem::Differs("the key is not recognised as weak".to_owned()))
    }
}

fn sm4_working_key(case: Case<'_>) -> Check {
    let tmk = Sm4Key::new(&case.bytes("tmk")?).map_err(refused)?;
    let key = unwrap_ecb(&tmk, &case.bytes("key_encrypted")?).map_err(refused)?;
    case.expect_bytes("key", key.expose())?;
    let key = Sm4Key::new(key.expose()).map_err(refused)?;
    verify_zero_block_check_value(&key, &case.bytes("check_value")?).map_err(refused)
}
