//! Cryptograms, issuer responses and scripts through the issuer's commands.

use super::chest::Chest;
use super::{altered, differs, inner_step, no_command, stray, unsayable};
use crate::emv_crypto::{
    SessionMethod, array_or_zero, cryptogram_data, named_option, named_padding, optional_pin, pin, scheme_keys,
    scheme_version, sequence_number, session_method,
};
use crate::mac::case::{Case, Check, Problem, refused, unknown};
use keys::{
    ArpcMethod, CardTransaction, Command, CryptogramPadding, CryptogramScheme, CryptogramVersion, IssuerMasterAc,
    IssuerResponse, KeyBlock, MasterKeyDerivation, Reply, SealedAccount, SessionKeyMethod,
};
use paycrypto::TdesKey;
use paycrypto::emv::{self, MasterKeyOption, application_cryptogram, command_mac, vis_pin_block};
use paycrypto::padding::Padding;
use paycrypto::pin_block::encode_format_2;
use types::SecretBytes;

const HEADER_BYTES: usize = 5;
const SCRIPT_MAC_BYTES: usize = 8;
const APPROVED: [u8; 2] = *b"00";
/// What a card's key is tried on where a case publishes nothing else.
const SOME_DATA: &[u8] = b"amount, terminal, card";

/// Checks one case.
pub fn check(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let kind = case.kind();
    if let Some((scheme, function)) = kind.strip_prefix("scheme_").and_then(|function| function.split_once('.')) {
        return scheme_check(chest, case, scheme, function);
    }
    match kind {
        "derive_icc_mk_a" => card_key(chest, case, MasterKeyDerivation::OptionA),
        "derive_icc_mk_b" => card_key(chest, case, MasterKeyDerivation::OptionB),
        "derive_common_sk" | "derive_visa_sm_sk" => script_key(chest, case),
        "generate_command_mac" => command_mac_case(chest, case),
        "derive_emv2000_tree_sk" | "pboc_session_key" | "pboc_mk" => Err(inner_step(BARE_SESSION_KEY)),
        "generate_ac" | "generate_arpc_1" | "generate_arpc_2" | "pboc_arpc" => Err(inner_step(BARE_SESSION_KEY)),
        "format_iso9564_2_pin_block" | "format_vis_pin_block" | "encrypt_command_data" | "generate_cvc3" => Err(
            inner_step("data under a card's own or session key (EMV Book 2 §9.3): commands begin at the issuer's key"),
        ),
        "arqc" => arqc(chest, case),
        "arpc" => Err(Problem::NotBuilt(ARPC_WITHOUT_DATA.to_owned())),
        "script_mac" | "pin_change_script" => Err(inner_step("a script's MAC input in parts (EMV Book 2 §9.2.3)")),
        "pboc_arqc" => pboc_arqc(chest, case),
        "pboc_full" => pboc_full(chest, case),
        "pboc_epurse_load" | "pboc_epurse_purchase" => Err(no_command("the electronic purse (PBOC 2.0 part 2)")),
        _ => unknown(case),
    }
}

const BARE_SESSION_KEY: &str =
    "a session key that no published issuer key leads to (EMV Book 2 annex A1.3): commands begin at the issuer's key";
const ARPC_WITHOUT_DATA: &str =
    "an ARPC without its ARQC's data: a vault answers right cryptograms only (EMV Book 2 §8.2)";

fn word_of(version: emv::CryptogramVersion) -> CryptogramVersion {
    use emv::CryptogramVersion as V;
    match version {
        V::Pboc => CryptogramVersion::Pboc,
        V::VisaCvn10 => CryptogramVersion::VisaCvn10,
        V::VisaCvn18 => CryptogramVersion::VisaCvn18,
        V::VisaCvn22 => CryptogramVersion::VisaCvn22,
        V::MastercardCvn16 => CryptogramVersion::MastercardCvn16,
        V::MastercardCvn17 => CryptogramVersion::MastercardCvn17,
        V::MastercardCvn20 => CryptogramVersion::MastercardCvn20,
        V::MastercardCvn21 => CryptogramVersion::MastercardCvn21,
        V::InteracCvn133 => CryptogramVersion::InteracCvn133,
    }
}

/// A card's transaction as commands name it.
struct Card {
    account: SealedAccount,
    transaction: CardTransaction,
}

impl Card {
    fn new(
        chest: &mut Chest<'_, '_>,
        input: Case<'_>,
        version: emv::CryptogramVersion,
        atc: [u8; 2],
        cryptogram: [u8; 8],
    ) -> Check<Self> {
        let (account, card_sequence) = (chest.account(input.text("pan")?)?, sequence_number(input)?);
        let (version, atc) = (word_of(version), u16::from_be_bytes(atc));
        Ok(Self { account, transaction: CardTransaction { version, card_sequence, atc, cryptogram } })
    }

    /// Verdict on a cryptogram, and tag 91.
    fn verified(
        &self,
        chest: &mut Chest<'_, '_>,
        master: &[u8],
        unpredictable_number: [u8; 4],
        data: &[u8],
        response: &IssuerResponse,
    ) -> Check<(bool, Option<Vec<u8>>)> {
        let ask = Command::VerifyArqc {
            master: chest.bring_double(master)?,
            account: self.account.clone(),
            transaction: self.transaction,
            unpredictable_number,
            data: data.to_vec(),
            response: response.clone(),
        };
        match chest.host(ask)? {
            Reply::IssuerAuthentication { right, data } => Ok((right, data)),
            other => Err(stray(&other)),
        }
    }

    /// Tag 91 for a right cryptogram; the same cryptogram must be wrong for altered data.
    fn answered(
        &self,
        chest: &mut Chest<'_, '_>,
        master: &[u8],
        unpredictable_number: [u8; 4],
        data: &[u8],
        response: &IssuerResponse,
    ) -> Check<Vec<u8>> {
        let (wrong, none) = self.verified(chest, master, unpredictable_number, &altered(data), response)?;
        if wrong || none.is_some() {
            return Err(differs("the cryptogram is right for altered data"));
        }
        let (right, tag_91) = self.verified(chest, master, unpredictable_number, data, response)?;
        tag_91.filter(|_| right).ok_or_else(|| differs("the cryptogram does not verify"))
    }

    fn script_mac(&self, chest: &mut Chest<'_, '_>, master: &[u8], header: &[u8], data: &[u8]) -> Check<[u8; 8]> {
        let header = header.try_into().map_err(|_| unsayable("a script header of other than five bytes"))?;
        let ask = Command::MakeIssuerScriptMac {
            master: chest.bring_double(master)?,
            account: self.account.clone(),
            transaction: self.transaction,
            command_index: 0,
            header,
            data: data.to_vec(),
        };
        match chest.host(ask)? {
            Reply::ScriptMac { mac } => Ok(mac),
            other => Err(stray(&other)),
        }
    }

    fn script_data(&self, chest: &mut Chest<'_, '_>, master: &[u8], data: &[u8]) -> Check<Vec<u8>> {
        let ask = Command::EncipherIssuerScript {
            master: chest.bring_double(master)?,
            account: self.account.clone(),
            transaction: self.transaction,
            command_index: 0,
            data: SecretBytes::copy_from(data),
        };
        match chest.host(ask)? {
            Reply::ScriptEnciphered { data } => Ok(data),
            other => Err(stray(&other)),
        }
    }
}

fn scheme_check(chest: &mut Chest<'_, '_>, case: Case<'_>, scheme: &str, function: &str) -> Check {
    let (input, version) = (case.inside("input"), scheme_version(scheme)?);
    match function {
        "generate_ac" => scheme_cryptogram(chest, case, version),
        "generate_arpc" => scheme_arpc(chest, case, version),
        "generate_command_mac" => {
            let card = scheme_card(chest, input, version)?;
            let data = input.bytes_or_empty("command_data")?;
            let mac = card.script_mac(chest, &input.bytes("iss_mk_smi")?, &input.bytes("command_header")?, &data)?;
            case.expect_bytes("output", &mac)
        }
        "generate_pin_change_command" => scheme_pin_change(chest, case, version),
        other => Err(Problem::NotBuilt(format!("unknown function {other}"))),
    }
}

fn scheme_card(chest: &mut Chest<'_, '_>, input: Case<'_>, version: emv::CryptogramVersion) -> Check<Card> {
    Card::new(chest, input, version, array_or_zero(input, "tag_9f36")?, input.array("tag_9f26")?)
}

fn any_response(version: emv::CryptogramVersion) -> IssuerResponse {
    match version.arpc_method() {
        emv::ArpcMethod::One => IssuerResponse::ResponseCode(APPROVED),
        emv::ArpcMethod::Two => IssuerResponse::CardStatusUpdate { update: [0, 0x80, 0, 0], proprietary: Vec::new() },
    }
}

fn scheme_cryptogram(chest: &mut Chest<'_, '_>, case: Case<'_>, version: emv::CryptogramVersion) -> Check {
    let input = case.inside("input");
    let (atc, un) = (array_or_zero(input, "tag_9f36")?, array_or_zero(input, "tag_9f37")?);
    let card = Card::new(chest, input, version, atc, case.array("output")?)?;
    let (master, data) = (input.bytes("iss_mk_ac")?, cryptogram_data(input)?);
    card.answered(chest, &master, un, &data, &any_response(version)).map(|_| ())
}

/// The case that publishes the cryptogram which this one answers.
fn cryptogram_case<'a>(chest: &Chest<'a, '_>, case: Case<'_>) -> Option<Case<'a>> {
    let input = case.inside("input");
    let kind = case.kind().replace(".generate_arpc", ".generate_ac");
    let same = |other: Case<'_>| {
        let of_other = other.inside("input");
        let named = ["iss_mk_ac", "pan", "psn"].iter().all(|name| input.0[*name] == of_other.0[*name]);
        other.kind() == kind && named && other.0["output"] == input.0["tag_9f26"]
    };
    chest.published().iter().map(|other| Case(other)).find(|other| same(*other))
}

fn scheme_arpc(chest: &mut Chest<'_, '_>, case: Case<'_>, version: emv::CryptogramVersion) -> Check {
    let input = case.inside("input");
    let Some(answered) = cryptogram_case(chest, case) else {
        return Err(Problem::NotBuilt(ARPC_WITHOUT_DATA.to_owned()));
    };
    let of_cryptogram = answered.inside("input");
    let response = if input.has("csu") {
        let proprietary = input.bytes_or_empty("proprietary_auth_data")?;
        IssuerResponse::CardStatusUpdate { update: input.array("csu")?, proprietary }
    } else {
        IssuerResponse::ResponseCode(input.array("arpc_rc")?)
    };
    let (atc, un) = (array_or_zero(of_cryptogram, "tag_9f36")?, array_or_zero(of_cryptogram, "tag_9f37")?);
    let card = Card::new(chest, input, version, atc, input.array("tag_9f26")?)?;
    let (master, data) = (input.bytes("iss_mk_ac")?, cryptogram_data(of_cryptogram)?);
    let tag_91 = card.answered(chest, &master, un, &data, &response)?;
    expect_tag_91(case, "output", &tag_91, &response)
}

/// Tag 91 is the ARPC, then what it was made over.
fn expect_tag_91(case: Case<'_>, name: &str, tag_91: &[u8], response: &IssuerResponse) -> Check {
    let behind = match response {
        IssuerResponse::ResponseCode(code) => code.to_vec(),
        IssuerResponse::CardStatusUpdate { update, proprietary } => [&update[..], proprietary].concat(),
    };
    let arpc = tag_91.strip_suffix(&behind[..]).ok_or_else(|| differs("tag 91 does not repeat the response"))?;
    case.expect_bytes(name, arpc)
}

/// The PIN's block is the host's to build; key process enciphers and authenticates it.
fn scheme_pin_change(chest: &mut Chest<'_, '_>, case: Case<'_>, version: emv::CryptogramVersion) -> Check {
    let (input, output) = (case.inside("input"), case.bytes("output")?);
    let (new, current) = (pin(input, "pin")?, optional_pin(input, "current_pin")?);
    let keys = scheme_keys(version, input)?;
    let is_vis = matches!(version, emv::CryptogramVersion::VisaCvn10 | emv::CryptogramVersion::VisaCvn18)
        || (version == emv::CryptogramVersion::VisaCvn22 && current.is_some());
    let block = if is_vis {
        vis_pin_block(&keys.cryptogram, &new, current.as_ref()).map_err(refused)?.to_vec()
    } else {
        encode_format_2(&new).to_vec()
    };
    let card = scheme_card(chest, input, version)?;
    let data = card.script_data(chest, &input.bytes("iss_mk_smc")?, &block)?;
    let header = output.get(..HEADER_BYTES).ok_or_else(|| Problem::Unrunnable("no header".to_owned()))?;
    let mac = card.script_mac(chest, &input.bytes("iss_mk_smi")?, header, &data)?;
    case.expect_bytes("output", &[header, &data, &mac[..SCRIPT_MAC_BYTES]].concat())
}

fn pboc_arqc(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let version = emv::CryptogramVersion::Pboc;
    let card = Card::new(chest, case, version, case.array("atc")?, case.array("arqc")?)?;
    let (right, _) = card.verified(
        chest,
        &case.bytes("imk_ac")?,
        [0; 4],
        &case.bytes("data")?,
        &IssuerResponse::ResponseCode(APPROVED),
    )?;
    if right { Ok(()) } else { Err(differs("the ARQC does not verify")) }
}

fn pboc_full(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    const BOUND_BYTES: usize = 2 + 8;
    let card = Card::new(chest, case, emv::CryptogramVersion::Pboc, case.array("atc")?, case.array("arqc")?)?;
    let response = IssuerResponse::ResponseCode(APPROVED);
    let tag_91 = card.answered(chest, &case.bytes("imk_ac")?, [0; 4], &case.bytes("ac_data")?, &response)?;
    expect_tag_91(case, "arpc_00", &tag_91, &response)?;
    let (header, input) = (case.bytes("script_header")?, case.bytes("script_mac_input")?);
    let data = input.get(header.len() + BOUND_BYTES..).ok_or_else(|| differs("script_mac_input"))?;
    let mac = card.script_mac(chest, &case.bytes("imk_mac")?, &header, data)?;
    case.expect_leading_bytes("script_mac", &mac)?;
    let sent = case.bytes("script_mac")?.len();
    case.expect_bytes("script_command", &[&header[..], data, &mac[..sent]].concat())
}

/// What `VerifyCryptogram` asks: the scheme's rules as data.
struct Question<'a> {
    master: KeyBlock<IssuerMasterAc>,
    account: SealedAccount,
    card_sequence: u8,
    scheme: CryptogramScheme,
    atc: [u8; 2],
    unpredictable_number: [u8; 4],
    cryptogram: &'a [u8; 8],
}

impl Question<'_> {
    fn asked(&self, chest: &mut Chest<'_, '_>, data: &[u8]) -> Check<bool> {
        let ask = Command::VerifyCryptogram {
            master: self.master.clone(),
            account: self.account.clone(),
            card_sequence: self.card_sequence,
            scheme: self.scheme,
            atc: u16::from_be_bytes(self.atc),
            unpredictable_number: self.unpredictable_number,
            data: data.to_vec(),
            cryptogram: *self.cryptogram,
            response_code: APPROVED,
        };
        match chest.host(ask)? {
            Reply::CryptogramVerdict { right, .. } => Ok(right),
            other => Err(stray(&other)),
        }
    }

    fn check(&self, chest: &mut Chest<'_, '_>, data: &[u8]) -> Check {
        let altered = self.asked(chest, &altered(data))?;
        super::verdicts(self.asked(chest, data)?, altered)
    }
}

/// A card's published key is the one with which its cryptogram verifies under the issuer's.
fn card_key(chest: &mut Chest<'_, '_>, case: Case<'_>, derivation: MasterKeyDerivation) -> Check {
    let input = case.inside("input");
    let published = TdesKey::new(&case.bytes("output")?).map_err(refused)?;
    let cryptogram = application_cryptogram(&published, SOME_DATA, Padding::Zeros).map_err(refused)?;
    let question = Question {
        master: chest.bring_double(&input.bytes("iss_mk")?)?,
        account: chest.account(input.text("pan")?)?,
        card_sequence: sequence_number(input)?,
        scheme: CryptogramScheme { derivation, ..CryptogramScheme::VISA_CVN10 },
        atc: [0; 2],
        unpredictable_number: [0; 4],
        cryptogram: &cryptogram,
    };
    question.check(chest, SOME_DATA)
}

fn scheme_of(case: Case<'_>) -> Check<CryptogramScheme> {
    let derivation = match named_option(case)? {
        MasterKeyOption::A => MasterKeyDerivation::OptionA,
        MasterKeyOption::B => MasterKeyDerivation::OptionB,
    };
    let session = match session_method(case)? {
        SessionMethod::CommonOfAtc => SessionKeyMethod::Common,
        SessionMethod::CommonOfAtcAndUn => SessionKeyMethod::Mastercard,
        SessionMethod::MasterKey => SessionKeyMethod::None,
        SessionMethod::Pboc => SessionKeyMethod::Pboc,
        SessionMethod::Tree | SessionMethod::VisaScript => {
            return Err(no_command("cryptograms under EMV2000's tree of session keys (EMV 4.1 Book 2 annex A1.3)"));
        }
    };
    let padding = match named_padding(case)? {
        Padding::Zeros => CryptogramPadding::Zeros,
        Padding::Marker => CryptogramPadding::Mandatory80,
        _ => return Err(unsayable("a cryptogram's padding of another method than 1 or 2")),
    };
    Ok(CryptogramScheme { derivation, session, padding, arpc: ArpcMethod::Method1 })
}

fn arqc(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let question = Question {
        master: chest.bring_double(&case.bytes("imk")?)?,
        account: chest.account(case.text("pan")?)?,
        card_sequence: sequence_number(case)?,
        scheme: scheme_of(case)?,
        atc: array_or_zero(case, "atc")?,
        unpredictable_number: array_or_zero(case, "un")?,
        cryptogram: &case.array("arqc")?,
    };
    question.check(chest, &case.bytes("txn_data")?)
}

/// The issuer's key and card behind a card's published key, from the case that derives it.
fn issuer_of<'a>(chest: &Chest<'a, '_>, card_key: &str) -> Check<(Case<'a>, MasterKeyDerivation)> {
    let derives = |kind: &str| {
        let mut cases = chest.published().iter().map(|other| Case(other));
        cases.find(|other| other.kind() == kind && other.0["output"] == card_key)
    };
    let by_a = derives("derive_icc_mk_a").map(|case| (case.inside("input"), MasterKeyDerivation::OptionA));
    let by_b = || derives("derive_icc_mk_b").map(|case| (case.inside("input"), MasterKeyDerivation::OptionB));
    by_a.or_else(by_b).ok_or_else(|| inner_step(BARE_SESSION_KEY))
}

/// The MAC that the vault makes under the session key of a case which derives one from a card's key.
fn mac_under(chest: &mut Chest<'_, '_>, derivation: Case<'_>, message: &[u8]) -> Check<[u8; 8]> {
    let input = derivation.inside("input");
    if derivation.0["malformed"] == true {
        return Err(unsayable("an ATC of other than two bytes"));
    }
    let (issuer, option) = issuer_of(chest, input.text("icc_mk")?)?;
    let (session, atc, cryptogram) = match derivation.kind() {
        "derive_common_sk" => (SessionKeyMethod::Common, [0; 2], input.array("r")?),
        _ => (SessionKeyMethod::None, input.array("atc")?, [0; 8]),
    };
    let ask = Command::MakeScriptMac {
        master: chest.bring_double(&issuer.bytes("iss_mk")?)?,
        account: chest.account(issuer.text("pan")?)?,
        card_sequence: sequence_number(issuer)?,
        scheme: CryptogramScheme { derivation: option, session, ..CryptogramScheme::COMMON },
        atc: u16::from_be_bytes(atc),
        cryptogram,
        data: message.to_vec(),
    };
    match chest.host(ask)? {
        Reply::ScriptMac { mac } => Ok(mac),
        other => Err(stray(&other)),
    }
}

/// A published session key is the one under which the vault makes a script's MAC.
fn script_key(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let made = mac_under(chest, case, SOME_DATA)?;
    let published = TdesKey::new(&case.bytes("output")?).map_err(refused)?;
    let expected = command_mac(&published, SOME_DATA).map_err(refused)?;
    if made == expected { Ok(()) } else { Err(differs("the session key makes another MAC")) }
}

/// The MAC under a session key that another case derives.
fn command_mac_case(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let input = case.inside("input");
    let mut others = chest.published().iter().map(|other| Case(other));
    let derives = |other: &Case<'_>| {
        ["derive_common_sk", "derive_visa_sm_sk"].contains(&other.kind()) && other.0["output"] == input.0["sk_smi"]
    };
    let derivation = others.find(derives).ok_or_else(|| inner_step(BARE_SESSION_KEY))?;
    let mac = mac_under(chest, derivation, &input.bytes("command")?)?;
    case.expect_leading_bytes("output", &mac)
}
