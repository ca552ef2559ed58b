//! Card verification values and PIN verification values.

use crate::Outcome;
use crate::mac::case::{Case, Check, Problem, judge_kind, refused, unknown};
use paycrypto::card_verification::{
    CardVerificationKind, CardVerificationValue, card_verification_value, cardholder_authentication_value,
    dynamic_card_verification_value, dynamic_cvc3, dynamic_cvc3_iv, verify_card_verification_value,
};
use paycrypto::emv::{MasterKeyOption, icc_master_key};
use paycrypto::pin_verification::{
    DecimalisationTable, PinOffset, PinVerificationValue, ValidationData, ValidationRule, natural_pin, pin_from_offset,
    pin_offset, pin_verification_value, verify_pin_offset, verify_pin_verification_value,
};
use paycrypto::{Pin, TdesKey};
use serde_json::Value;
use types::ServiceCode;

/// What the reason of a malformed case says, and what the product's refusal must then say.
const REFUSALS: &[(&str, &str)] = &[
    ("Conversion table", "decimalisation table must be sixteen decimal digits"),
    ("Offset must be", "verification digits"),
    ("PIN must be", "PIN"),
    ("PAN pad", "validation data rule"),
    ("PAN verify offset", "validation data rule"),
    ("PAN expiry", "expiry"),
    ("PAN must be", "account number"),
    ("Service code", "service code"),
    ("PVKI must be", "parameter"),
    ("must be a DES key", "key length"),
    ("must be a double length", "double-length key"),
];

/// Runs one case of the area.
pub fn run(case: &Value) -> Outcome {
    let case = Case(case);
    judge_kind(case, check(case), REFUSALS)
}

fn check(case: Case<'_>) -> Check {
    match case.kind() {
        "cvv" => cvv(case),
        "cavv" => cavv(case),
        "cvc3" => cvc3(case),
        "dcvv" => dcvv(case),
        "pvv" => pvv(case),
        "ibm3624_pin" => ibm3624_pin(case),
        "ibm3624_offset" => ibm3624_offset(case),
        _ => unknown(case),
    }
}

fn tdes(case: Case<'_>, name: &str) -> Check<TdesKey> {
    TdesKey::new(&case.bytes(name)?).map_err(refused)
}

fn pan(case: Case<'_>) -> Check<&[u8]> {
    case.text("pan").map(str::as_bytes)
}

fn pin(case: Case<'_>) -> Check<Pin> {
    Pin::parse(case.text("pin")?).map_err(refused)
}

fn service_code(case: Case<'_>) -> Check<ServiceCode> {
    ServiceCode::parse(case.text("service_code")?).map_err(refused)
}

/// Printed and chip values are asked for by their kind, so that the product chooses the service code.
fn cvv(case: Case<'_>) -> Check {
    let code = service_code(case)?;
    let kind = match case.0["kind"].as_str() {
        Some("iCVV") => CardVerificationKind::Chip,
        Some("CVV2/CVC2") => CardVerificationKind::Printed,
        _ => CardVerificationKind::MagneticStripe(code),
    };
    let (key, expiry) = (tdes(case, "cvk")?, case.text("expiry")?.as_bytes());
    let value = card_verification_value(&key, pan(case)?, expiry, kind).map_err(refused)?;
    case.expect_text("cvv", value.expose())?;
    let published = CardVerificationValue::parse(case.text("cvv")?).map_err(refused)?;
    verified(verify_card_verification_value(&key, pan(case)?, expiry, kind, &published))
}

fn verified(answer: Result<bool, paycrypto::CryptoError>) -> Check {
    if answer.map_err(refused)? {
        Ok(())
    } else {
        Err(Problem::Differs("what was generated does not verify".to_owned()))
    }
}

fn cavv(case: Case<'_>) -> Check {
    let (key, digits) = (tdes(case, "cvk")?, case.text("expiry")?.as_bytes());
    let value = cardholder_authentication_value(&key, pan(case)?, digits, service_code(case)?).map_err(refused)?;
    case.expect_text("cvv", value.expose())
}

fn icc_key(case: Case<'_>) -> Check<TdesKey> {
    let option = match case.text("mk_option")? {
        "A" => MasterKeyOption::A,
        "B" => MasterKeyOption::B,
        other => return Err(Problem::Unrunnable(format!("master key option {other}"))),
    };
    let sequence_number = u8::try_from(case.number("psn")?).map_err(refused)?;
    let key = icc_master_key(option, &tdes(case, "imk")?, pan(case)?, sequence_number).map_err(refused)?;
    case.expect_bytes_if_given("icc_key", key.expose_bytes())?;
    Ok(key)
}

fn cvc3(case: Case<'_>) -> Check {
    let key = icc_key(case)?;
    let iv = dynamic_cvc3_iv(&key, &case.bytes("track_template")?).map_err(refused)?;
    case.expect_bytes_if_given("ivcvc3", &iv)?;
    let code = dynamic_cvc3(&key, iv, case.array("un")?, case.array("atc")?).map_err(refused)?;
    if case.has("cvc3_full") && case.number("cvc3_full")? != u64::from(code) {
        return Err(Problem::Differs(format!("cvc3_full: computed {code}")));
    }
    let digits = format!("{code:05}");
    let shown = case.text("cvc3")?.len().min(digits.len());
    case.expect_text("cvc3", &digits[digits.len() - shown..])
}

fn dcvv(case: Case<'_>) -> Check {
    let (key, code, expiry) = (icc_key(case)?, service_code(case)?, case.text("expiry")?.as_bytes());
    let atc = case.array("atc")?;
    let value = dynamic_card_verification_value(&key, pan(case)?, atc, expiry, code).map_err(refused)?;
    case.expect_text("dcvv", value.expose())?;
    let altered = case.0["altered_pan"].as_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    if let Some(altered) = altered {
        let kind = CardVerificationKind::MagneticStripe(code);
        let of_altered = card_verification_value(&key, altered.as_bytes(), expiry, kind).map_err(refused)?;
        case.expect_text("dcvv", of_altered.expose())?;
    }
    Ok(())
}

fn pvv(case: Case<'_>) -> Check {
    let (pin, key) = (pin(case)?, tdes(case, "pvk")?);
    let index: u8 = case.text("pvki")?.parse().map_err(|_| refused("parameter out of range"))?;
    let value = pin_verification_value(&key, index, pan(case)?, &pin).map_err(refused)?;
    case.expect_text("pvv", value.expose())?;
    let published = PinVerificationValue::parse(case.text("pvv")?).map_err(refused)?;
    verified(verify_pin_verification_value(&key, index, pan(case)?, &pin, &published))
}

/// Key, validation data and table of an IBM 3624 case. The cases are calculations on test keys, whose tables nobody
/// promised to be even.
fn ibm3624(case: Case<'_>) -> Check<(TdesKey, ValidationData, DecimalisationTable)> {
    let table = if case.has("conversion_table") { "conversion_table" } else { "decimalization_table" };
    let table = DecimalisationTable::unchecked(case.text(table)?).map_err(refused)?;
    let place = |name| case.number(name).and_then(|number| usize::try_from(number).map_err(refused));
    let (start, digits) = (place("pan_verify_offset")?, place("pan_verify_length")?);
    let rule = ValidationRule::new(start, digits, case.text("pan_pad")?).map_err(refused)?;
    let data = rule.apply(pan(case)?).map_err(refused)?;
    case.expect_bytes_if_given("validation_data", data.expose())?;
    Ok((tdes(case, "pvk")?, data, table))
}

fn expect_natural_pin(case: Case<'_>, natural: &Pin) -> Check {
    if case.has("natural_pin") { case.expect_text("natural_pin", natural.expose()) } else { Ok(()) }
}

fn ibm3624_pin(case: Case<'_>) -> Check {
    let offset = PinOffset::parse(case.text("offset")?).map_err(refused)?;
    let (key, data, table) = ibm3624(case)?;
    expect_natural_pin(case, &natural_pin(&key, &data, &table, offset.expose().len()).map_err(refused)?)?;
    let pin = pin_from_offset(&key, &data, &table, &offset);
    case.expect_text("pin", pin.expose())?;
    verified(verify_pin_offset(&key, &data, &table, &pin, &offset))
}

fn ibm3624_offset(case: Case<'_>) -> Check {
    let pin = pin(case)?;
    let (key, data, table) = ibm3624(case)?;
    expect_natural_pin(case, &natural_pin(&key, &data, &table, pin.expose().len()).map_err(refused)?)?;
    let offset = pin_offset(&key, &data, &table, &pin);
    case.expect_text("offset", &offset.expose())?;
    let published = PinOffset::parse(case.text("offset")?).map_err(refused)?;
    verified(verify_pin_offset(&key, &data, &table, &pin, &published))
}
