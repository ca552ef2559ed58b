//! Area emv-oda: certification authority keys, certificates, static, dynamic and combined signatures.

use crate::Outcome;
use crate::ber_tlv::expect;
use crate::mac::case::{Case, Check, Problem, hex, judge, refused, unknown};
use emv::EmvDate;
use emv::oda::cda::TransactionHashInput;
use emv::oda::dda::SignedDynamicData;
use emv::oda::icc::{IccCertificate, IccChecks};
use emv::oda::issuer::{IssuerCertificate, IssuerChecks};
use emv::oda::sda::SignedStaticData;
use emv::oda::{Capk, CapkParts, RsaPublicKey, Sm2Capk, cda, dda, icc, issuer, sda};
use serde_json::Value;

/// Runs one case.
pub fn run(case: &Value) -> Outcome {
    let case = Case(case);
    let check = match case.kind() {
        "capk" => capk(case),
        "capk_bad_checksum" => return bad_checksum(case),
        "capk_download_tlv" => download(case),
        "capk_sm2" => sm2(case),
        "issuer_cert" | "issuer_cert_malformed" => issuer_certificate(case),
        "issuer_cert_format_only" => issuer_format(case),
        "issuer_cert_expiry" => issuer_expiry(case),
        "icc_cert" | "icc_cert_malformed" => icc_certificate(case),
        "icc_cert_format_only" => icc_format(case),
        "sda" | "sda_malformed" => static_signature(case),
        "sda_format_only" => static_format(case),
        "dda" | "dda_malformed" => dynamic_signature(case),
        "cda" | "cda_malformed" => combined_signature(case),
        _ => unknown(case),
    };
    judge(case, check)
}

pub(crate) fn key(case: Case<'_>, modulus: &str, exponent: &str) -> Check<RsaPublicKey> {
    RsaPublicKey::new(&case.bytes(modulus)?, &case.bytes(exponent)?).map_err(refused)
}

/// A PAN as tag 5A writes it: BCD, filled with `F` to whole bytes.
pub(crate) fn pan_bytes(case: Case<'_>) -> Check<Option<Vec<u8>>> {
    if !case.has("pan") {
        return Ok(None);
    }
    let mut digits = case.text("pan")?.trim_end_matches(['F', 'f']).to_owned();
    if digits.len() % 2 == 1 {
        digits.push('F');
    }
    let object = serde_json::json!({ "pan": digits });
    Case(&object).bytes("pan").map(Some)
}

fn date(case: Case<'_>) -> Check<Option<EmvDate>> {
    if !case.has("transaction_date") {
        return Ok(None);
    }
    EmvDate::from_bcd(case.array("transaction_date")?).map(Some).map_err(refused)
}

fn capk(case: Case<'_>) -> Check {
    let (rid, [index]) = (case.array("rid")?, case.array::<1>("index")?);
    let (modulus, exponent) = (case.bytes("modulus")?, case.bytes("exponent")?);
    case.expect_bytes("sha1", &Capk::checksum_of(&rid, index, &modulus, &exponent))?;
    let parts = CapkParts {
        rid,
        index,
        modulus: &modulus,
        exponent: &exponent,
        expiry: None,
        checksum: Some(case.array("sha1")?),
    };
    let capk = Capk::new(&parts).map_err(refused)?;
    if case.has("modulus_bits") {
        expect("modulus bits", capk.modulus().len() as u64 * 8, case.number("modulus_bits")?)?;
    }
    Ok(())
}

/// The published checksum must be refused, and the computed one must be the published right one.
fn bad_checksum(case: Case<'_>) -> Outcome {
    let check = || -> Check<bool> {
        let (rid, [index]) = (case.array("rid")?, case.array::<1>("index")?);
        let (modulus, exponent) = (case.bytes("modulus")?, case.bytes("exponent")?);
        case.expect_bytes_if_given("computed_sha1", &Capk::checksum_of(&rid, index, &modulus, &exponent))?;
        let checksum = Some(case.array("listed_checksum")?);
        let parts = CapkParts { rid, index, modulus: &modulus, exponent: &exponent, expiry: None, checksum };
        Ok(Capk::new(&parts).is_err())
    };
    match check() {
        Ok(true) => Outcome::Passed,
        Ok(false) => Outcome::Failed("loaded in spite of its checksum".to_owned()),
        Err(Problem::Unrunnable(why) | Problem::Refused(why) | Problem::Differs(why) | Problem::NotBuilt(why)) => {
            Outcome::Failed(why)
        }
    }
}

fn download(case: Case<'_>) -> Check {
    let capk = Capk::parse_download(&case.bytes("tlv")?).map_err(refused)?;
    case.expect_bytes_if_given("rid", &capk.rid())?;
    case.expect_bytes_if_given("index", &[capk.index()])?;
    case.expect_bytes_if_given("modulus", capk.modulus())?;
    case.expect_bytes_if_given("exponent", capk.exponent())?;
    if case.has("expiry") {
        let computed = capk.expiry().map(|expiry| hex(&expiry.to_bcd())).unwrap_or_default();
        let published = case.text("expiry")?;
        expect("expiry", computed.as_str(), published.get(published.len().saturating_sub(6)..).unwrap_or_default())?;
    }
    let checksum = Capk::checksum_of(&capk.rid(), capk.index(), capk.modulus(), capk.exponent());
    case.expect_bytes_if_given("checksum", &checksum)
}

fn sm2(case: Case<'_>) -> Check {
    let [hash] = case.array::<1>("hash_algorithm_indicator")?;
    let [algorithm] = case.array::<1>("public_key_algorithm_indicator")?;
    let [index] = case.array::<1>("index")?;
    let (x, y) = (case.array("public_key_x")?, case.array("public_key_y")?);
    Sm2Capk::new(case.array("rid")?, index, (hash, algorithm), x, y).map(|_| ()).map_err(refused)
}

/// Compares what a recovered issuer certificate says.
pub(crate) fn expect_issuer(published: Case<'_>, certificate: &IssuerCertificate) -> Check {
    published.expect_bytes_if_given("recovered", certificate.recovered())?;
    published.expect_bytes_if_given("issuer_id", &certificate.issuer_identifier)?;
    published.expect_bytes_if_given("expiry", &certificate.expiry)?;
    published.expect_bytes_if_given("serial", &certificate.serial_number)?;
    published.expect_bytes_if_given("hash", &certificate.hash())?;
    expect_numbers(
        published,
        [
            ("hash_alg", certificate.hash_algorithm),
            ("pk_alg", certificate.key_algorithm),
            ("mod_len", certificate.modulus_length),
            ("exp_len", certificate.exponent_length),
        ],
    )
}

/// Compares what a recovered card certificate says.
pub(crate) fn expect_icc(published: Case<'_>, certificate: &IccCertificate) -> Check {
    published.expect_bytes_if_given("recovered", certificate.recovered())?;
    published.expect_bytes_if_given("pan", &certificate.pan)?;
    published.expect_bytes_if_given("expiry", &certificate.expiry)?;
    published.expect_bytes_if_given("serial", &certificate.serial_number)?;
    published.expect_bytes_if_given("hash", &certificate.hash())?;
    expect_numbers(
        published,
        [
            ("hash_alg", certificate.hash_algorithm),
            ("pk_alg", certificate.key_algorithm),
            ("mod_len", certificate.modulus_length),
            ("exp_len", certificate.exponent_length),
        ],
    )
}

fn expect_numbers<const N: usize>(published: Case<'_>, numbers: [(&str, u8); N]) -> Check {
    numbers.into_iter().filter(|(name, _)| published.has(name)).try_for_each(|(name, computed)| {
        let published = published.number(name)?;
        expect(name, u64::from(computed), published)
    })
}

pub(crate) fn expect_key(published: Case<'_>, key: &RsaPublicKey) -> Check {
    published.expect_bytes_if_given("modulus", key.modulus())?;
    published.expect_bytes_if_given("exponent", key.exponent())
}

fn issuer_certificate(case: Case<'_>) -> Check {
    let capk = key(case, "capk_modulus", "capk_exponent")?;
    let certificate = issuer::recover(&capk, &case.bytes("certificate")?).map_err(refused)?;
    let published = case.inside("expected");
    expect_issuer(published, &certificate)?;
    let (remainder, exponent, pan) = (case.bytes_or_empty("remainder")?, case.bytes("exponent")?, pan_bytes(case)?);
    let checks = IssuerChecks { remainder: &remainder, exponent: &exponent, pan: pan.as_deref(), date: date(case)? };
    expect_key(published, &certificate.verify(&checks).map_err(refused)?)
}

fn issuer_format(case: Case<'_>) -> Check {
    let capk = key(case, "capk_modulus", "capk_exponent")?;
    let certificate = issuer::recover(&capk, &case.bytes("certificate")?).map_err(refused)?;
    expect_issuer(case, &certificate)?;
    if !case.has("issuer_modulus_length") {
        return Ok(());
    }
    expect("modulus length", u64::from(certificate.modulus_length), case.number("issuer_modulus_length")?)
}

fn issuer_expiry(case: Case<'_>) -> Check {
    let expiry = case.array("certificate_expiry")?;
    let dates = case.0["cases"].as_array().ok_or_else(|| Problem::Unrunnable("no cases".to_owned()))?;
    dates.iter().try_for_each(|entry| {
        let entry = Case(entry);
        let date = EmvDate::from_bcd(entry.array("transaction_date")?).map_err(refused)?;
        let valid = entry.0["valid"].as_bool().unwrap_or(entry.0["expired"] != true);
        expect("validity", date.is_within_certificate_month(expiry), valid)
    })
}

fn icc_certificate(case: Case<'_>) -> Check {
    let issuer_key = key(case, "issuer_modulus", "issuer_exponent")?;
    let certificate = icc::recover(&issuer_key, &case.bytes("certificate")?).map_err(refused)?;
    let published = case.inside("expected");
    expect_icc(published, &certificate)?;
    let (remainder, exponent) = (case.bytes_or_empty("remainder")?, case.bytes("exponent")?);
    let (static_data, pan) = (case.bytes("static_data")?, pan_bytes(case)?);
    let checks = IccChecks {
        remainder: &remainder,
        exponent: &exponent,
        static_data: &static_data,
        pan: pan.as_deref(),
        date: date(case)?,
    };
    expect_key(published, &certificate.verify(&checks).map_err(refused)?)
}

fn icc_format(case: Case<'_>) -> Check {
    let issuer_key = key(case, "issuer_modulus", "issuer_exponent")?;
    let certificate = icc::recover(&issuer_key, &case.bytes("certificate")?).map_err(refused)?;
    case.expect_bytes_if_given("recovered", certificate.recovered())?;
    let modulus = certificate.modulus(&case.bytes_or_empty("remainder")?).map_err(refused)?;
    case.expect_bytes_if_given("icc_modulus", &modulus)
}

fn recover_static(case: Case<'_>) -> Check<SignedStaticData> {
    let issuer_key = key(case, "issuer_modulus", "issuer_exponent")?;
    sda::recover(&issuer_key, &case.bytes("signed_static_application_data")?).map_err(refused)
}

fn static_signature(case: Case<'_>) -> Check {
    let signed = recover_static(case)?;
    let published = case.inside("expected");
    published.expect_bytes_if_given("recovered", signed.recovered())?;
    expect_numbers(published, [("hash_alg", signed.hash_algorithm)])?;
    let code = signed.verify(&case.bytes("static_data")?).map_err(refused)?;
    published.expect_bytes_if_given("dac", &code)
}

fn static_format(case: Case<'_>) -> Check {
    let signed = recover_static(case)?;
    case.expect_bytes_if_given("recovered", signed.recovered())?;
    case.expect_bytes_if_given("dac", &signed.data_authentication_code)
}

/// Compares what recovered dynamic data says.
pub(crate) fn expect_dynamic(published: Case<'_>, signed: &SignedDynamicData) -> Check {
    published.expect_bytes_if_given("recovered", signed.recovered())?;
    published.expect_bytes_if_given("dynamic_data", &signed.dynamic_data)?;
    expect_numbers(published, [("hash_alg", signed.hash_algorithm)])?;
    if !published.has("icc_dynamic_number") {
        return Ok(());
    }
    published.expect_bytes("icc_dynamic_number", signed.dynamic_number().map_err(refused)?)
}

fn dynamic_signature(case: Case<'_>) -> Check {
    let icc_key = key(case, "icc_modulus", "icc_exponent")?;
    let signature = case.bytes("sdad")?;
    let signed = dda::recover(&icc_key, &signature).map_err(refused)?;
    expect_dynamic(case.inside("expected"), &signed)?;
    dda::verify(&icc_key, &signature, &case.bytes("ddol_data")?).map(|_| ()).map_err(refused)
}

fn combined_signature(case: Case<'_>) -> Check {
    let icc_key = key(case, "icc_modulus", "icc_exponent")?;
    let signature = case.bytes("sdad")?;
    let published = case.inside("expected");
    expect_dynamic(published, &dda::recover(&icc_key, &signature).map_err(refused)?)?;
    let (pdol_data, cdol1_data) = (case.bytes_or_empty("pdol_data")?, case.bytes("cdol1_data")?);
    let cdol2_data = case.bytes_or_empty("cdol2_data")?;
    let answered = case.bytes("response_tlv_without_9f4b")?;
    let response_objects = cda::response_objects_without_signature(&answered);
    let input = TransactionHashInput {
        pdol_data: &pdol_data,
        cdol1_data: &cdol1_data,
        cdol2_data: &cdol2_data,
        response_objects: &response_objects,
    };
    case.expect_bytes_if_given("hash_input", &[&pdol_data[..], &cdol1_data, &cdol2_data, &response_objects].concat())?;
    let cid = tlv::ber::find(&answered, tlv::tags::CRYPTOGRAM_INFORMATION_DATA).map_err(refused)?;
    let cid = *cid.and_then(<[u8]>::first).ok_or_else(|| Problem::Refused("no tag 9F27".to_owned()))?;
    let number = case.bytes("unpredictable_number")?;
    let combined = cda::verify(&icc_key, &signature, &number, cid, &input).map_err(refused)?;
    case.expect_bytes_if_given("transaction_data_hash", &input.hash())?;
    published.expect_bytes_if_given("cid", &[combined.cryptogram_information])?;
    published.expect_bytes_if_given("ac", &combined.application_cryptogram)?;
    published.expect_bytes_if_given("tx_hash", &combined.transaction_data_hash)
}
