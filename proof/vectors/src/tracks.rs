//! Luhn digits, PANs and magnetic stripe content (`track-qr.json`, its tracks).

use crate::Outcome;
use serde_json::Value;
use types::{Pan, ServiceCode, Track1, Track2, luhn_check_digit, luhn_valid, track_lrc};

pub fn run(case: &Value) -> Outcome {
    let input = case["input"].as_str().unwrap_or_default();
    let result = match case["type"].as_str().unwrap_or_default() {
        "luhn" => compare("valid", &case["valid"], &luhn_valid(input).into()),
        "luhn-check-digit" => check_digit(case),
        "pan" => pan(case, input),
        "track2-text" => track2(case, Track2::parse(input)),
        "track2-equivalent" => track2(case, Track2::parse_equivalent(input)),
        "track1-text" => track1_text(case, input),
        "track1-chip-tag56" => track1_chip(case, input),
        "service-code" => compare("valid", &case["valid"], &ServiceCode::parse(input).is_ok().into()),
        "track-lrc" => lrc(case, input),
        other => return Outcome::Skipped(format!("unknown type {other}")),
    };
    result.map_or_else(Outcome::Failed, |()| Outcome::Passed)
}

fn compare(what: &str, expected: &Value, found: &Value) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("{what}: expected {expected}, found {found}")) }
}

fn must_be_refused(case: &Value) -> bool {
    case["expect"] == "error"
}

fn check_digit(case: &Value) -> Result<(), String> {
    let body = case["body"].as_str().ok_or("no body")?;
    let digit = luhn_check_digit(body).ok_or("refused")?.to_string();
    compare("check_digit", &case["check_digit"], &digit.clone().into())?;
    compare("pan", &case["pan"], &format!("{body}{digit}").into())
}

fn pan(case: &Value, input: &str) -> Result<(), String> {
    match Pan::parse(input) {
        Err(_) if must_be_refused(case) => Ok(()),
        Ok(pan) if must_be_refused(case) && !pan.luhn_valid() => Ok(()),
        Ok(_) if must_be_refused(case) => Err("accepted".to_owned()),
        Ok(pan) if case.get("masked").is_some() => compare("masked", &case["masked"], &pan.truncated().text().into()),
        Ok(_) => Ok(()),
        Err(cause) => Err(cause.to_string()),
    }
}

fn track2(case: &Value, parsed: Result<Track2, types::Invalid>) -> Result<(), String> {
    let luhn = |track: &Track2| track.pan().is_ok_and(|pan| pan.luhn_valid());
    let track = match parsed {
        Err(_) if must_be_refused(case) => return Ok(()),
        Ok(track) if must_be_refused(case) && !luhn(&track) => return Ok(()),
        Ok(_) if must_be_refused(case) => return Err("accepted".to_owned()),
        Err(cause) => return Err(cause.to_string()),
        Ok(track) => track,
    };
    let found = |name: &str| track2_part(&track, name);
    for (name, expected) in case["expected"].as_object().into_iter().flatten() {
        compare(name, expected, &found(name).ok_or_else(|| format!("no part {name}"))?.into())?;
    }
    match case.get("luhn_ok") {
        Some(expected) => compare("luhn_ok", expected, &luhn(&track).into()),
        None => Ok(()),
    }
}

fn track2_part(track: &Track2, name: &str) -> Option<String> {
    match name {
        "pan" => track.pan().ok().map(|pan| pan.expose().to_owned()),
        "expiry" => track.expiry().map(|expiry| expiry.expose()),
        "service_code" => track.service_code().map(|code| code.text().to_owned()),
        "discretionary" => Some(track.expose_discretionary().to_owned()),
        _ => None,
    }
}

fn track1_part(track: &Track1, name: &str) -> Value {
    let text = |value: Option<String>| value.map_or(Value::Null, Value::from);
    let names = track.expose_names();
    match name {
        "pan" => text(track.pan().ok().map(|pan| pan.expose().to_owned())),
        "expiry" => text(track.expiry().map(|expiry| expiry.expose())),
        "service_code" => text(track.service_code().map(|code| code.text().to_owned())),
        "discretionary" => track.expose_discretionary().into(),
        "last_name" => text(names.0.map(str::to_owned)),
        "first_name" => text(names.1.map(str::to_owned)),
        "name" => text(Some([names.0.unwrap_or(""), names.1.unwrap_or("")].join("/"))),
        "format" | "format_code" => "B".into(),
        _ => Value::Null,
    }
}

fn track1_text(case: &Value, input: &str) -> Result<(), String> {
    let track = match Track1::parse(input) {
        Err(_) if must_be_refused(case) => return Ok(()),
        Ok(_) if must_be_refused(case) => return Err("accepted".to_owned()),
        Err(cause) => return Err(cause.to_string()),
        Ok(track) => track,
    };
    for (name, expected) in case["expected"].as_object().into_iter().flatten() {
        compare(name, expected, &track1_part(&track, name))?;
    }
    let code = track.service_code().ok_or("no service code")?;
    for (name, found) in [("ic_card", code.has_chip()), ("international", code.is_international())] {
        if let Some(expected) = case.get(name) {
            compare(name, expected, &found.into())?;
        }
    }
    Ok(())
}

fn track1_chip(case: &Value, input: &str) -> Result<(), String> {
    let digit = |index: usize| input.get(index..index + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..input.len()).step_by(2).map(digit).collect();
    let text = types::track1_text_of_tag_56(&bytes.ok_or("not hex")?).ok_or("not text")?;
    let track = Track1::parse(&text).map_err(|cause| cause.to_string())?;
    ["pan", "expiry", "service_code", "last_name", "first_name"]
        .into_iter()
        .filter(|name| case.get(*name).is_some())
        .try_for_each(|name| compare(name, &case[name], &track1_part(&track, name)))
}

fn lrc(case: &Value, input: &str) -> Result<(), String> {
    let bits = case["data_bits"].as_u64().and_then(|bits| u8::try_from(bits).ok()).ok_or("no data_bits")?;
    let lrc = track_lrc(input, bits).ok_or("refused")?;
    compare("lrc", &case["lrc"], &format!("{lrc:02X}").into())
}
