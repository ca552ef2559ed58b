//! Card and issuer cryptography: keys, cryptograms, answers, scripts.

use crate::Outcome;
use crate::mac::case::{Case, Check, Problem, judge, refused, unknown};
use paycrypto::card_verification::{dynamic_cvc3, dynamic_cvc3_iv};
use paycrypto::check_value::verify_zero_block_check_value;
use paycrypto::emv::{
    CommandCipher, CryptogramVersion, IccMasterKeys, IssuerResponse, MasterKeyOption, ScriptContext, SessionTree,
    application_cryptogram, arpc_method_1, arpc_method_2, command_mac, common_session_key, common_session_key_for_atc,
    common_session_key_for_atc_and_un, diversification_data, encipher_command_data, icc_master_key, pboc_session_key,
    purse_mac, purse_session_key, tree_session_key, verify_application_cryptogram, vis_pin_block,
    visa_script_session_key,
};
use paycrypto::padding::Padding;
use paycrypto::pin_block::encode_format_2;
use paycrypto::{BlockCipher, Pin, TdesKey};
use serde_json::Value;

/// Runs one case of the area.
pub fn run(case: &Value) -> Outcome {
    let case = Case(case);
    let kind = case.kind();
    let checked = match kind.strip_prefix("scheme_").and_then(|function| function.split_once('.')) {
        Some((scheme, function)) => scheme_check(case, scheme, function),
        None => check(case),
    };
    judge(case, checked)
}

fn check(case: Case<'_>) -> Check {
    let input = case.inside("input");
    match case.kind() {
        "derive_common_sk" => expect_key(case, common_session_key(&tdes(input, "icc_mk")?, &input.array("r")?)),
        "generate_ac" => generate_ac(case, input),
        "generate_arpc_1" => {
            let key = tdes(input, "sk_ac")?;
            let arpc = arpc_method_1(&key, &input.array("arqc")?, input.array("arpc_rc")?).map_err(refused)?;
            case.expect_bytes("output", &arpc)
        }
        "generate_arpc_2" => generate_arpc_2(case, input),
        "derive_icc_mk_a" => expect_key(case, master_key(input, MasterKeyOption::A, "iss_mk")?),
        "derive_icc_mk_b" => expect_key(case, master_key(input, MasterKeyOption::B, "iss_mk")?),
        "derive_visa_sm_sk" => expect_key(case, visa_script_session_key(&tdes(input, "icc_mk")?, input.array("atc")?)),
        "derive_emv2000_tree_sk" => tree(case, input),
        "generate_command_mac" => {
            let mac = command_mac(&tdes(input, "sk_smi")?, &input.bytes("command")?).map_err(refused)?;
            case.expect_leading_bytes("output", &mac)
        }
        "format_iso9564_2_pin_block" => case.expect_bytes("output", &encode_format_2(&pin(input, "pin")?)),
        "format_vis_pin_block" => {
            let current = optional_pin(input, "current_pin")?;
            let block = vis_pin_block(&tdes(input, "icc_mk_ac")?, &pin(input, "pin")?, current.as_ref());
            case.expect_bytes("output", &*block.map_err(refused)?)
        }
        "encrypt_command_data" => encrypt_command_data(case, input),
        "generate_cvc3" => generate_cvc3(case, input),
        _ => check_flat(case),
    }
}

/// Types whose inputs stand beside `type`.
fn check_flat(case: Case<'_>) -> Check {
    match case.kind() {
        "arqc" => arqc(case),
        "arpc" => arpc(case),
        "script_mac" => script_mac(case),
        "pin_change_script" => pin_change_script(case),
        "pboc_arqc" => pboc_arqc(case),
        "pboc_full" => pboc_full(case),
        "pboc_mk" => pboc_master_key(case),
        "pboc_session_key" => {
            let key = pboc_session_key(&tdes(case, "mk")?, case.array("atc")?).map_err(refused)?;
            case.expect_bytes("sk", key.expose_bytes())
        }
        "pboc_arpc" => pboc_arpc(case),
        "pboc_epurse_load" => purse(case, "load_key"),
        "pboc_epurse_purchase" => purse(case, "purchase_key"),
        _ => unknown(case),
    }
}

fn tdes(case: Case<'_>, name: &str) -> Check<TdesKey> {
    TdesKey::new(&case.bytes(name)?).map_err(refused)
}

pub(crate) fn pin(case: Case<'_>, name: &str) -> Check<Pin> {
    Pin::parse(case.text(name)?).map_err(refused)
}

pub(crate) fn optional_pin(case: Case<'_>, name: &str) -> Check<Option<Pin>> {
    if case.has(name) { pin(case, name).map(Some) } else { Ok(None) }
}

pub(crate) fn sequence_number(case: Case<'_>) -> Check<u8> {
    if !case.has("psn") {
        return Ok(0);
    }
    let number = case.number("psn")?;
    u8::try_from(number).map_err(refused)
}

pub(crate) fn pan(case: Case<'_>) -> Check<&[u8]> {
    case.text("pan").map(str::as_bytes)
}

pub(crate) fn array_or_zero<const N: usize>(case: Case<'_>, name: &str) -> Check<[u8; N]> {
    if case.has(name) { case.array(name) } else { Ok([0; N]) }
}

type KeyResult = Result<TdesKey, paycrypto::CryptoError>;

fn expect_key(case: Case<'_>, key: KeyResult) -> Check {
    case.expect_bytes("output", key.map_err(refused)?.expose_bytes())
}

fn master_key(case: Case<'_>, option: MasterKeyOption, name: &str) -> Check<KeyResult> {
    Ok(icc_master_key(option, &tdes(case, name)?, pan(case)?, sequence_number(case)?))
}

fn ac_padding(name: Option<&str>) -> Padding {
    if name == Some("VISA") { Padding::Zeros } else { Padding::Marker }
}

fn generate_ac(case: Case<'_>, input: Case<'_>) -> Check {
    let padding = ac_padding(input.0["padding_type"].as_str());
    let ac = application_cryptogram(&tdes(input, "sk_ac")?, &input.bytes("data")?, padding).map_err(refused)?;
    case.expect_leading_bytes("output", &ac)
}

fn generate_arpc_2(case: Case<'_>, input: Case<'_>) -> Check {
    let (key, arqc, update) = (tdes(input, "sk_ac")?, input.array("arqc")?, input.array("csu")?);
    let proprietary = input.bytes_or_empty("prop_auth_data")?;
    case.expect_bytes("output", &arpc_method_2(&key, &arqc, update, &proprietary).map_err(refused)?)
}

fn tree(case: Case<'_>, input: Case<'_>) -> Check {
    let mut tree = SessionTree::default();
    if input.has("height") {
        tree.height = u8::try_from(input.number("height")?).map_err(refused)?;
    }
    if input.has("branch_factor") {
        tree.branch_factor = u8::try_from(input.number("branch_factor")?).map_err(refused)?;
    }
    tree.initial_vector = array_or_zero(input, "iv")?;
    expect_key(case, tree_session_key(&tdes(input, "icc_mk")?, input.array("atc")?, &tree))
}

fn encrypt_command_data(case: Case<'_>, input: Case<'_>) -> Check {
    let cipher = match input.text("encryption_type")? {
        "VISA" => CommandCipher::Visa,
        "MASTERCARD" => CommandCipher::Mastercard,
        "EMV" => CommandCipher::Emv,
        other => return Err(Problem::Unrunnable(format!("encryption type {other}"))),
    };
    let data = encipher_command_data(&tdes(input, "sk_smc")?, &input.bytes("command_data")?, cipher);
    case.expect_bytes("output", &data.map_err(refused)?)
}

fn generate_cvc3(case: Case<'_>, input: Case<'_>) -> Check {
    let key = tdes(input, "icc_cvc3")?;
    let iv = dynamic_cvc3_iv(&key, &input.bytes("track_template")?).map_err(refused)?;
    let code = dynamic_cvc3(&key, iv, input.array("un")?, input.array("atc")?).map_err(refused)?;
    case.expect_text("output", &code.to_string())
}

pub(crate) fn scheme_version(scheme: &str) -> Check<CryptogramVersion> {
    Ok(match scheme {
        "InteracCVN133" => CryptogramVersion::InteracCvn133,
        "MasterCardCVN16" => CryptogramVersion::MastercardCvn16,
        "MasterCardCVN17" => CryptogramVersion::MastercardCvn17,
        "MasterCardCVN20" => CryptogramVersion::MastercardCvn20,
        "MasterCardCVN21" => CryptogramVersion::MastercardCvn21,
        "VisaCVN10" => CryptogramVersion::VisaCvn10,
        "VisaCVN18" => CryptogramVersion::VisaCvn18,
        "VisaCVN22" => CryptogramVersion::VisaCvn22,
        other => return Err(Problem::NotBuilt(format!("unknown scheme {other}"))),
    })
}

pub(crate) fn scheme_keys(version: CryptogramVersion, input: Case<'_>) -> Check<IccMasterKeys> {
    let derive = |name| {
        let issuer_key = tdes(input, name)?;
        version.icc_master_key(&issuer_key, pan(input)?, sequence_number(input)?).map_err(refused)
    };
    Ok(IccMasterKeys {
        cryptogram: derive("iss_mk_ac")?,
        integrity: derive("iss_mk_smi")?,
        confidentiality: derive("iss_mk_smc")?,
    })
}

fn scheme_check(case: Case<'_>, scheme: &str, function: &str) -> Check {
    let input = case.inside("input");
    let version = scheme_version(scheme)?;
    let keys = scheme_keys(version, input)?;
    let atc = array_or_zero(input, "tag_9f36")?;
    let output = match function {
        "generate_ac" => {
            let un = array_or_zero(input, "tag_9f37")?;
            version.cryptogram(&keys.cryptogram, atc, un, &cryptogram_data(input)?).map(Vec::from)
        }
        "generate_arpc" => scheme_arpc(version, &keys, input)?,
        "generate_command_mac" => {
            let context = ScriptContext { atc, cryptogram: input.array("tag_9f26")? };
            let (header, data) = (input.bytes("command_header")?, input.bytes_or_empty("command_data")?);
            version.script_mac(&keys.integrity, &header, &context, &data).map(Vec::from)
        }
        "generate_pin_change_command" => {
            let context = ScriptContext { atc, cryptogram: input.array("tag_9f26")? };
            let current = optional_pin(input, "current_pin")?;
            version.pin_change_command(&keys, &context, &pin(input, "pin")?, current.as_ref())
        }
        other => return Err(Problem::NotBuilt(format!("unknown function {other}"))),
    };
    case.expect_bytes("output", &output.map_err(refused)?)
}

fn scheme_arpc(
    version: CryptogramVersion,
    keys: &IccMasterKeys,
    input: Case<'_>,
) -> Check<Result<Vec<u8>, paycrypto::CryptoError>> {
    let (atc, un) = (array_or_zero(input, "tag_9f36")?, array_or_zero(input, "tag_9f37")?);
    let proprietary = input.bytes_or_empty("proprietary_auth_data")?;
    let response = if input.has("csu") {
        IssuerResponse::CardStatusUpdate(input.array("csu")?, &proprietary)
    } else {
        IssuerResponse::ResponseCode(input.array("arpc_rc")?)
    };
    Ok(version.arpc(&keys.cryptogram, atc, un, &input.array("tag_9f26")?, response))
}

/// The inputs in the order in which every scheme here takes them.
pub(crate) fn cryptogram_data(input: Case<'_>) -> Check<Vec<u8>> {
    const ALWAYS: [&str; 10] = [
        "tag_9f02", "tag_9f03", "tag_9f1a", "tag_95", "tag_5f2a", "tag_9a", "tag_9c", "tag_9f37", "tag_82", "tag_9f36",
    ];
    let mut data = Vec::new();
    for name in ALWAYS {
        data.extend(input.bytes(name)?);
    }
    for name in ["tag_9f10", "cvr", "counters"] {
        data.extend(input.bytes_or_empty(name)?);
    }
    Ok(data)
}

/// Names of session key methods differ between sources.
pub(crate) enum SessionMethod {
    CommonOfAtc,
    CommonOfAtcAndUn,
    MasterKey,
    Pboc,
    Tree,
    VisaScript,
}

pub(crate) fn session_method(case: Case<'_>) -> Check<SessionMethod> {
    let name = case.text("session_key_method")?.to_lowercase();
    let contains = |words: &[&str]| words.iter().any(|word| name.contains(word));
    Ok(if contains(&["pboc", "unionpay"]) {
        SessionMethod::Pboc
    } else if contains(&["2000", "tree"]) {
        SessionMethod::Tree
    } else if contains(&["mastercard", "mchip", "m/chip", "proprietary", "un"]) && !contains(&["common"]) {
        SessionMethod::CommonOfAtcAndUn
    } else if contains(&["visa_sm", "visa sm", "xor"]) {
        SessionMethod::VisaScript
    } else if contains(&["common", "csk", "emv"]) {
        SessionMethod::CommonOfAtc
    } else if contains(&["none", "mk", "master", "visa", "amex"]) {
        SessionMethod::MasterKey
    } else {
        return Err(Problem::Unrunnable(format!("session key method {name}")));
    })
}

fn session_key(case: Case<'_>, icc_key: &TdesKey) -> Check<TdesKey> {
    let atc = case.array("atc")?;
    let key = match session_method(case)? {
        SessionMethod::CommonOfAtc => common_session_key_for_atc(icc_key, atc),
        SessionMethod::CommonOfAtcAndUn => common_session_key_for_atc_and_un(icc_key, atc, case.array("un")?),
        SessionMethod::MasterKey => TdesKey::new(icc_key.expose_bytes()),
        SessionMethod::Pboc => pboc_session_key(icc_key, atc),
        SessionMethod::Tree => tree_session_key(icc_key, atc, &SessionTree::default()),
        SessionMethod::VisaScript => visa_script_session_key(icc_key, atc),
    };
    key.map_err(refused)
}

pub(crate) fn named_option(case: Case<'_>) -> Check<MasterKeyOption> {
    if !case.has("mk_option") {
        return Ok(MasterKeyOption::A);
    }
    match case.text("mk_option")?.to_uppercase().chars().last() {
        Some('A') => Ok(MasterKeyOption::A),
        Some('B') => Ok(MasterKeyOption::B),
        _ => Err(Problem::Unrunnable("master key option".to_owned())),
    }
}

pub(crate) fn named_padding(case: Case<'_>) -> Check<Padding> {
    if let Ok(number) = case.number("padding_method") {
        return Padding::from_method_number(number).map_err(refused);
    }
    let name = case.text("padding_method")?.to_lowercase();
    let zeros = name.contains("visa") || name.contains("zero") || name.ends_with('1') || name == "00";
    Ok(if zeros { Padding::Zeros } else { Padding::Marker })
}

fn arqc(case: Case<'_>) -> Check {
    if case.has("imk_kcv") {
        verify_zero_block_check_value(&tdes(case, "imk")?, &case.bytes("imk_kcv")?).map_err(refused)?;
    }
    let icc_key = master_key(case, named_option(case)?, "imk")?.map_err(refused)?;
    case.expect_bytes_if_given("icc_mk", icc_key.expose_bytes())?;
    let key = session_key(case, &icc_key)?;
    case.expect_bytes_if_given("session_key", key.expose_bytes())?;
    let ac = application_cryptogram(&key, &case.bytes("txn_data")?, named_padding(case)?).map_err(refused)?;
    case.expect_bytes("arqc", &ac)
}

fn arpc(case: Case<'_>) -> Check {
    let icc_key = master_key(case, named_option(case)?, "imk")?.map_err(refused)?;
    let used = case.0["arpc_key_used"].as_str().unwrap_or("session key").to_lowercase();
    let key = if used.contains("session") || used.contains("sk") { session_key(case, &icc_key)? } else { icc_key };
    let arqc = case.array("arqc")?;
    if case.has("csu") {
        let proprietary = case.bytes_or_empty("prop_auth_data")?;
        let arpc = arpc_method_2(&key, &arqc, case.array("csu")?, &proprietary).map_err(refused)?;
        return case.expect_bytes("arpc", &arpc);
    }
    case.expect_bytes("arpc", &arpc_method_1(&key, &arqc, case.array("arc")?).map_err(refused)?)
}

/// Scripts of the common method are keyed by the ARQC, all others by the ATC.
fn script_session_key(case: Case<'_>, icc_key: &TdesKey) -> Check<TdesKey> {
    if !case.has("session_key_method") {
        return common_session_key(icc_key, &case.array("arqc")?).map_err(refused);
    }
    match session_method(case)? {
        SessionMethod::CommonOfAtc | SessionMethod::CommonOfAtcAndUn => {
            common_session_key(icc_key, &case.array("arqc")?).map_err(refused)
        }
        SessionMethod::MasterKey => visa_script_session_key(icc_key, case.array("atc")?).map_err(refused),
        _ => session_key(case, icc_key),
    }
}

fn script_mac(case: Case<'_>) -> Check {
    let icc_key = master_key(case, named_option(case)?, "imk_smi")?.map_err(refused)?;
    let key = script_session_key(case, &icc_key)?;
    case.expect_bytes_if_given("session_key", key.expose_bytes())?;
    case.expect_leading_bytes("mac", &command_mac(&key, &case.bytes("mac_input")?).map_err(refused)?)
}

fn pin_change_script(case: Case<'_>) -> Check {
    let option = named_option(case)?;
    let integrity = script_session_key(case, &master_key(case, option, "imk_smi")?.map_err(refused)?)?;
    let confidentiality = script_session_key(case, &master_key(case, option, "imk_smc")?.map_err(refused)?)?;
    let block = encode_format_2(&pin(case, "pin")?);
    case.expect_bytes("clear_pin_block", &block)?;
    let whole_block = case.bytes("enciphered_pin_block")?.len() == block.len();
    let cipher = if whole_block { CommandCipher::Mastercard } else { CommandCipher::Emv };
    let enciphered = encipher_command_data(&confidentiality, &block, cipher).map_err(refused)?;
    case.expect_bytes("enciphered_pin_block", &enciphered)?;
    case.expect_leading_bytes("mac", &command_mac(&integrity, &case.bytes("mac_input")?).map_err(refused)?)
}

fn pboc_arqc(case: Case<'_>) -> Check {
    let icc_key = master_key(case, MasterKeyOption::A, "imk_ac")?.map_err(refused)?;
    let key = pboc_session_key(&icc_key, case.array("atc")?).map_err(refused)?;
    let verdict = verify_application_cryptogram(&key, &case.bytes("data")?, Padding::Marker, &case.array("arqc")?)
        .map_err(refused)?;
    if verdict { Ok(()) } else { Err(Problem::Differs("the ARQC does not verify".to_owned())) }
}

fn listed(case: Case<'_>, list: &str, index: usize, computed: &[u8]) -> Check {
    let wrapped = serde_json::json!({ list: case.0[list][index] });
    Case(&wrapped).expect_bytes(list, computed)
}

fn pboc_full(case: Case<'_>) -> Check {
    let version = CryptogramVersion::Pboc;
    let (atc, arqc) = (case.array("atc")?, case.array("arqc")?);
    let mut keys = Vec::new();
    for (index, name) in ["imk_ac", "imk_mac", "imk_enc"].into_iter().enumerate() {
        let icc_key = master_key(case, version.master_key_option(), name)?.map_err(refused)?;
        listed(case, "mk", index, icc_key.expose_bytes())?;
        let session_key = pboc_session_key(&icc_key, atc).map_err(refused)?;
        listed(case, "session_keys", index, session_key.expose_bytes())?;
        keys.push(icc_key);
    }
    let ac = version.cryptogram(&keys[0], atc, [0; 4], &case.bytes("ac_data")?).map_err(refused)?;
    case.expect_bytes("arqc", &ac)?;
    let approved = IssuerResponse::ResponseCode(*b"00");
    case.expect_bytes("arpc_00", &version.arpc(&keys[0], atc, [0; 4], &arqc, approved).map_err(refused)?)?;
    pboc_script(case, &keys[1], &ScriptContext { atc, cryptogram: arqc })
}

/// The script's data is what its MAC input holds behind header, ATC and cryptogram.
fn pboc_script(case: Case<'_>, integrity: &TdesKey, context: &ScriptContext) -> Check {
    const BOUND_BYTES: usize = 2 + 8;
    let (header, published) = (case.bytes("script_header")?, case.bytes("script_mac_input")?);
    let data =
        published.get(header.len() + BOUND_BYTES..).ok_or_else(|| Problem::Differs("script_mac_input".to_owned()))?;
    let version = CryptogramVersion::Pboc;
    case.expect_bytes("script_mac_input", &version.script_mac_input(&header, context, data))?;
    let mac = version.script_mac(integrity, &header, context, data).map_err(refused)?;
    case.expect_leading_bytes("script_mac", &mac)?;
    let sent = case.bytes("script_mac")?.len();
    case.expect_bytes("script_command", &[&header[..], data, &mac[..sent]].concat())
}

fn pboc_master_key(case: Case<'_>) -> Check {
    let imk = tdes(case, "imk")?;
    let input = diversification_data(MasterKeyOption::A, pan(case)?, sequence_number(case)?).map_err(refused)?;
    let complement = input.map(|byte| !byte);
    let both = [input, complement].concat();
    if case.has("diversification_input") {
        let published = case.bytes("diversification_input")?;
        case.expect_bytes("diversification_input", &both[..published.len().min(both.len())])?;
    }
    let raw = [imk.encrypted(input), imk.encrypted(complement)].concat();
    case.expect_bytes_if_given("mk_without_parity_adjust", &raw)?;
    let odd = master_key(case, MasterKeyOption::A, "imk")?.map_err(refused)?;
    case.expect_bytes("mk_odd_parity", odd.expose_bytes())
}

fn pboc_arpc(case: Case<'_>) -> Check {
    let response_code = match case.0["arc_ascii"].as_str() {
        Some(text) => text.as_bytes().try_into().map_err(refused)?,
        None => case.array("arc")?,
    };
    case.expect_bytes_if_given("arc", &response_code)?;
    let arpc = arpc_method_1(&tdes(case, "sk")?, &case.array("arqc")?, response_code).map_err(refused)?;
    case.expect_bytes("arpc", &arpc)
}

fn purse(case: Case<'_>, key_name: &str) -> Check {
    let key = purse_session_key(&tdes(case, key_name)?, case.array("session_key_input")?).map_err(refused)?;
    case.expect_bytes("session_key", key.expose_bytes())?;
    case.expect_leading_bytes("mac1", &purse_mac(&key, &case.bytes("mac1_data")?))?;
    case.expect_leading_bytes("mac2", &purse_mac(&key, &case.bytes("mac2_data")?))
}
