//! Card codes and PIN verification values through the issuer's commands.

use super::chest::Chest;
use super::pins::{pin_from_zone, word_of_pin};
use super::{altered_digits, differs, no_command, stray, unsayable, verdicts};
use crate::mac::case::{Case, Check, Problem, unknown};
use keys::{
    CardCode, CardVerificationKey, Command, DecimalisationTable, DynamicCode, ExpiryOrder, KeyBlock, PinOffsetKey,
    Reply, SealedAccount, ValidationData,
};
use types::{Expiry, Pin, SecretBytes};

/// In place of a key that the vault refuses, where a case must be refused before its key is looked at.
const STAND_IN: u128 = 0x0123_4567_89AB_CDEF_FEDC_BA98_7654_3210;

/// Checks one case.
pub fn check(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    match case.kind() {
        "cvv" => cvv(chest, case),
        "cavv" => Err(no_command("CAVV (3-D Secure): an issuer's access control server makes it")),
        "cvc3" => cvc3(chest, case),
        "dcvv" => dcvv(chest, case),
        "pvv" => pvv(chest, case),
        "ibm3624_pin" => ibm3624_pin(chest, case),
        "ibm3624_offset" => ibm3624_offset(chest, case),
        _ => unknown(case),
    }
}

/// Published expiries stand as they enter the code: YYMM, or MMYY where that is no month.
fn expiry(case: Case<'_>) -> Check<(Expiry, ExpiryOrder)> {
    let text = case.text("expiry")?;
    if let Ok(expiry) = Expiry::parse(text) {
        return Ok((expiry, ExpiryOrder::YearMonth));
    }
    let turned = text.split_at_checked(2).map(|(month, year)| format!("{year}{month}"));
    let expiry = turned.and_then(|text| Expiry::parse(&text).ok());
    let expiry = expiry.ok_or_else(|| unsayable("an expiry that is no month of a year"))?;
    Ok((expiry, ExpiryOrder::MonthYear))
}

fn service_code(case: Case<'_>) -> Check<[u8; 3]> {
    let digits = case.text("service_code")?.as_bytes().try_into();
    digits.map_err(|_| unsayable("a service code of other than three digits"))
}

fn digits(chest: &mut Chest<'_, '_>, ask: impl Fn(Vec<u8>) -> Command, published: &[u8]) -> Check {
    let mut verify = |code| match chest.host(ask(code))? {
        Reply::CardCodeVerdict { right } | Reply::PinVerdict { right } => Ok(right),
        other => Err(stray(&other)),
    };
    // The wrong one first: a right one forgives the minute.
    let changed = verify(altered_digits(published))?;
    verdicts(verify(published.to_vec())?, changed)
}

fn cvv(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let ((expiry, order), code) = (expiry(case)?, service_code(case)?);
    let kind = match &code {
        b"000" => CardCode::Printed,
        b"999" => CardCode::Chip,
        _ => CardCode::MagneticStripe(code),
    };
    let account = chest.account(case.text("pan")?)?;
    let key: KeyBlock<CardVerificationKey> = chest.bring_double(&case.bytes("cvk")?)?;
    let make = Command::MakeCardCode { key: key.clone(), account: account.clone(), expiry, order, kind };
    match chest.administration(make)? {
        Reply::CardCodeMade { code } => case.expect_text("cvv", &String::from_utf8_lossy(code.expose()))?,
        other => return Err(stray(&other)),
    }
    let verify = |code| Command::VerifyCardCode {
        key: key.clone(),
        account: account.clone(),
        expiry,
        order,
        kind,
        code: SecretBytes::new(code),
    };
    digits(chest, verify, case.text("cvv")?.as_bytes())
}

fn dynamic(chest: &mut Chest<'_, '_>, case: Case<'_>, expiry: Expiry, kind: &DynamicCode, code: &str) -> Check {
    if case.text("mk_option")? != "A" {
        return Err(no_command("dynamic codes under a master key by EMV Book 2 annex A1.4.2 (option B)"));
    }
    let account = chest.account(case.text("pan")?)?;
    let master = chest.bring_double(&case.bytes("imk")?)?;
    let verify = |code| Command::VerifyDynamicCode {
        master: KeyBlock::clone(&master),
        account: account.clone(),
        expiry,
        kind: kind.clone(),
        code: SecretBytes::new(code),
    };
    digits(chest, verify, code.as_bytes())
}

fn sequence(case: Case<'_>) -> Check<u8> {
    u8::try_from(case.number("psn")?).map_err(|_| unsayable("a PAN sequence number of more than two digits"))
}

fn cvc3(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let kind = DynamicCode::Cvc3 {
        initial_vector: case.array("ivcvc3")?,
        unpredictable_number: case.array("un")?,
        atc: u16::from_be_bytes(case.array("atc")?),
        card_sequence: sequence(case)?,
    };
    let some_expiry = Expiry::new(35, 12).expect("a month");
    if case.has("cvc3_full") {
        dynamic(chest, case, some_expiry, &kind, &format!("{:05}", case.number("cvc3_full")?))?;
    }
    dynamic(chest, case, some_expiry, &kind, case.text("cvc3")?)
}

fn dcvv(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let (expiry, order) = expiry(case)?;
    if order != ExpiryOrder::YearMonth {
        return Err(unsayable("a dCVV over an expiry that is no YYMM"));
    }
    let (atc, service_code) = (u16::from_be_bytes(case.array("atc")?), service_code(case)?);
    let kind = DynamicCode::Dcvv { atc, service_code, card_sequence: sequence(case)? };
    dynamic(chest, case, expiry, &kind, case.text("dcvv")?)
}

fn pvv(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let (given, pan) = (word_of_pin(case)?, case.text("pan")?);
    let account = chest.account(pan)?;
    let key = chest.bring_double(&case.bytes("pvk")?)?;
    let key_index = case.text("pvki")?.parse().map_err(|_| unsayable("a key index that is no number"))?;
    let pin = pin_from_zone(chest, &given, pan)?;
    let make = Command::MakePinVerificationValue {
        pin: pin.clone(),
        account: account.clone(),
        key: KeyBlock::clone(&key),
        key_index,
    };
    match chest.administration(make)? {
        Reply::PinVerificationValue { value } => case.expect_text("pvv", &String::from_utf8_lossy(&value))?,
        other => return Err(stray(&other)),
    }
    let verify = |value: Vec<u8>| {
        let value = core::array::from_fn(|i| value.get(i).copied().unwrap_or_default());
        let (pin, account, key) = (pin.clone(), account.clone(), key.clone());
        Command::VerifyPinVerificationValue { pin, account, key, key_index, value }
    };
    digits(chest, verify, case.text("pvv")?.as_bytes())
}

/// What an IBM 3624 case asks with, beside PIN and offset.
struct Ibm3624<'a> {
    pan: &'a str,
    account: SealedAccount,
    key: KeyBlock<PinOffsetKey>,
    table: DecimalisationTable,
    validation: ValidationData,
}

fn table(case: Case<'_>) -> Check<DecimalisationTable> {
    let name = if case.has("conversion_table") { "conversion_table" } else { "decimalization_table" };
    let published = case.text(name)?.as_bytes();
    let known = DecimalisationTable::ALL.into_iter().find(|table| table.digits() == published);
    known.ok_or_else(|| unsayable("a decimalisation table of the caller's choice"))
}

/// The vault takes the digits by two rules of its own, so that nobody can choose them.
fn validation(case: Case<'_>) -> Check<ValidationData> {
    let (pan, pad) = (case.text("pan")?, case.text("pan_pad")?);
    let (start, length) = (case.number("pan_verify_offset")?, case.number("pan_verify_length")?);
    let before_check_digit = (pan.len() as u64).checked_sub(13);
    match (start, length) {
        _ if !pad.eq_ignore_ascii_case("F") => Err(unsayable("validation data with another filler than F")),
        (0, length) if length == pan.len().min(16) as u64 => Ok(ValidationData::LeftmostSixteen),
        (start, 12) if Some(start) == before_check_digit => Ok(ValidationData::TwelveBeforeCheckDigit),
        _ => Err(unsayable("validation data of digits that the caller chooses")),
    }
}

fn ibm3624<'a>(chest: &mut Chest<'_, '_>, case: Case<'a>) -> Check<Ibm3624<'a>> {
    let (pan, table, validation) = (case.text("pan")?, table(case)?, validation(case)?);
    let account = chest.account(pan)?;
    let published = case.bytes("pvk")?;
    let stands_in = case.0["malformed"] == true && published.len() == 8;
    let key = if stands_in { STAND_IN.to_be_bytes().to_vec() } else { published };
    let key = chest.bring(super::macs::des(&key)?, &key)?;
    Ok(Ibm3624 { pan, account, key, table, validation })
}

impl Ibm3624<'_> {
    /// The published offset verifies with the PIN, another one does not.
    fn verify(&self, chest: &mut Chest<'_, '_>, pin: &Pin, offset: &[u8]) -> Check {
        let pin = pin_from_zone(chest, pin, self.pan)?;
        let ask = |offset| Command::VerifyPinOffset {
            pin: pin.clone(),
            account: self.account.clone(),
            key: self.key.clone(),
            table: self.table,
            validation: self.validation,
            offset,
        };
        digits(chest, ask, offset)
    }
}

/// No command shows a PIN: the published one must be right with its offset. A malformed case has none, and any will do.
fn ibm3624_pin(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let issuer = ibm3624(chest, case)?;
    let pin = if case.has("pin") {
        word_of_pin(case)?
    } else if case.0["malformed"] == true {
        Pin::parse("1234").map_err(|_| differs("four digits"))?
    } else {
        return Err(Problem::Unrunnable("no PIN".to_owned()));
    };
    issuer.verify(chest, &pin, case.text("offset")?.as_bytes())
}

fn ibm3624_offset(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let given = word_of_pin(case)?;
    let issuer = ibm3624(chest, case)?;
    let make = Command::MakePinOffset {
        pin: pin_from_zone(chest, &given, issuer.pan)?,
        account: issuer.account.clone(),
        key: issuer.key.clone(),
        table: issuer.table,
        validation: issuer.validation,
    };
    match chest.administration(make)? {
        Reply::PinOffset { offset } => case.expect_text("offset", &String::from_utf8_lossy(&offset))?,
        other => return Err(stray(&other)),
    }
    issuer.verify(chest, &given, case.text("offset")?.as_bytes())
}
