//! PIN blocks through `TranslatePinBlock`, to a key that the runner holds.

use super::chest::Chest;
use super::macs::aes;
use super::{differs, inner_step, stray, unsayable};
use crate::mac::case::{Case, Check, Problem, refused, unknown};
use keys::{Algorithm, Command, EncipheredPinBlock, KeyBlock, PinEncryption, PinFormat, PinSource, Reply};
use paycrypto::pin_block::{encipher_format_0, encode_format_0};
use paycrypto::pin_block_extended::{decipher_format_4, format_4_account_field};
use paycrypto::{AesKey, BlockCipher, Pin, Sm4Key, TdesKey};

/// Zone keys of the runner: where PINs come from and go to.
const ZONE_TDES: u128 = 0x1C2F_3E4D_5B6A_7980_8F9E_ADBC_CBDA_E9F8;
const ZONE_TDES_OUT: u128 = 0x2A3B_4C5D_6E7F_8091_A2B3_C4D5_E6F7_0819;
const ZONE_AES: [u8; 32] = [0xC3; 32];
const ZONE_SM4: [u8; 16] = [0x96; 16];
/// Any account: a PIN field alone is bound to none yet.
const SOME_PAN: &str = "4012345678909";
const PIN_BLOCK_BYTES: usize = 8;

const NOT_TAKEN: &str = "ISO 9564-1 §9.3.3 and §9.3.4 (formats 1 and 2): the translation matrix refuses them";
const OLDER_FORMATS: &str = "PIN block formats of one maker (VISA-3, ECI-2, ECI-3), which ISO 9564-1 §9 does not have";

/// Checks one case.
pub fn check(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    match case.kind() {
        "format0_encode" => format_0_encode(chest, case),
        "format0_decode" => clear_block(chest, case, PinFormat::Iso0),
        "format3_decode" => clear_block(chest, case, PinFormat::Iso3),
        "format3_encode" if case.has("pin_block") => clear_block(chest, case, PinFormat::Iso3),
        "format3_encode" => {
            word_of_pin(case)?;
            chest.account(case.text("pan")?)?;
            Err(inner_step("format 3 is taken and never made"))
        }
        "format0_enciphered" | "format0_decipher" => enciphered(chest, case, PinFormat::Iso0),
        "format3_decipher" => enciphered(chest, case, PinFormat::Iso3),
        "format4_encipher" | "format4_decipher" => enciphered(chest, case, PinFormat::Iso4),
        "format4_pin_field" if case.has("pin_field") => pin_field(chest, case),
        "format4_pin_field" | "format4_pan_field" => Err(inner_step("fields of format 4 (ISO 9564-1 §9.4.2)")),
        "format1_encode" | "format1_decode" | "format1_enciphered" | "format2_encode" | "format2_decode" => {
            Err(Problem::NotBuilt(NOT_TAKEN.to_owned()))
        }
        "visa3_decode" | "eci2_decode" | "eci3_decode" => Err(Problem::NotBuilt(OLDER_FORMATS.to_owned())),
        "sm4_pin_block" => sm4(chest, case),
        "translate" => translate(chest, case),
        _ => unknown(case),
    }
}

/// A PIN that commands can have behind them.
pub fn word_of_pin(case: Case<'_>) -> Check<Pin> {
    Pin::parse(case.text("pin")?).map_err(|_| unsayable("a PIN of other than 4 to 12 digits"))
}

/// Bytes of a block; half a byte cannot be said.
fn block_bytes(case: Case<'_>, name: &str) -> Check<Vec<u8>> {
    case.bytes(name).map_err(|_| unsayable("a block that is no whole number of bytes"))
}

fn translated(
    chest: &mut Chest<'_, '_>,
    pin: EncipheredPinBlock,
    pan: &str,
    to: KeyBlock<PinEncryption>,
    to_format: PinFormat,
) -> Check<Vec<u8>> {
    let account = chest.account(pan)?;
    match chest.host(Command::TranslatePinBlock { pin, account, to, to_format })? {
        Reply::PinBlockTranslated { block } => Ok(block),
        other => Err(stray(&other)),
    }
}

fn array<const N: usize>(block: &[u8]) -> Check<[u8; N]> {
    block.try_into().map_err(|_| differs("a translated block of another length"))
}

/// The PIN as the vault read it: translated to format 4 under a key of the runner's, and deciphered.
pub fn read_by_vault(chest: &mut Chest<'_, '_>, pin: EncipheredPinBlock, pan: &str) -> Check<Pin> {
    let to = chest.bring(Algorithm::Aes256, &ZONE_AES)?;
    let block = translated(chest, pin, pan, to, PinFormat::Iso4)?;
    let key = AesKey::new(&ZONE_AES).map_err(refused)?;
    decipher_format_4(&key, &array(&block)?, pan.as_bytes()).map_err(refused)
}

/// The clear format 0 block that the vault makes of a PIN.
fn format_0_made(chest: &mut Chest<'_, '_>, pin: EncipheredPinBlock, pan: &str) -> Check<[u8; 8]> {
    let to = chest.bring_double(&ZONE_TDES_OUT.to_be_bytes())?;
    let block = translated(chest, pin, pan, to, PinFormat::Iso0)?;
    let key = TdesKey::new(&ZONE_TDES_OUT.to_be_bytes()).map_err(refused)?;
    Ok(key.decrypted(array(&block)?))
}

/// A clear block as it would come from a zone.
fn from_zone(chest: &mut Chest<'_, '_>, format: PinFormat, clear: &[u8]) -> Check<EncipheredPinBlock> {
    let key = TdesKey::new(&ZONE_TDES.to_be_bytes()).map_err(refused)?;
    let clear: [u8; PIN_BLOCK_BYTES] = clear.try_into().map_err(|_| unsayable("a block that no cipher has"))?;
    let under = PinSource::Key(chest.bring_double(&ZONE_TDES.to_be_bytes())?);
    Ok(EncipheredPinBlock { format, under, block: key.encrypted(clear).to_vec() })
}

/// A PIN as it would come from a zone, in format 0.
pub fn pin_from_zone(chest: &mut Chest<'_, '_>, pin: &Pin, pan: &str) -> Check<EncipheredPinBlock> {
    let clear = encode_format_0(pin, pan.as_bytes()).map_err(refused)?;
    from_zone(chest, PinFormat::Iso0, &clear)
}

/// The published block must be what the vault makes of the PIN, and the vault must read it.
fn format_0_encode(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let (pin, pan) = (word_of_pin(case)?, case.text("pan")?);
    chest.account(pan)?;
    let source = pin_from_zone(chest, &pin, pan)?;
    case.expect_bytes("pin_block", &format_0_made(chest, source, pan)?)?;
    clear_block(chest, case, PinFormat::Iso0)
}

fn clear_block(chest: &mut Chest<'_, '_>, case: Case<'_>, format: PinFormat) -> Check {
    let (pan, clear) = (case.text("pan")?, block_bytes(case, "pin_block")?);
    let source = from_zone(chest, format, &clear)?;
    case.expect_text("pin", read_by_vault(chest, source, pan)?.expose())
}

fn key_of_format(format: PinFormat, key: &[u8]) -> Check<Algorithm> {
    if format == PinFormat::Iso4 { aes(key) } else { super::macs::des(key) }
}

/// The published block under the published key.
fn enciphered(chest: &mut Chest<'_, '_>, case: Case<'_>, format: PinFormat) -> Check {
    if case.has("pin") {
        word_of_pin(case)?;
    }
    let (key, pan) = (case.bytes("key")?, case.text("pan")?);
    chest.account(pan)?;
    let under = PinSource::Key(chest.bring(key_of_format(format, &key)?, &key)?);
    let block = block_bytes(case, "enciphered_pin_block")?;
    let source = EncipheredPinBlock { format, under, block };
    let read = read_by_vault(chest, source, pan)?;
    case.expect_text("pin", read.expose())
}

/// The field as the middle of a block under a key of the runner's (ISO 9564-1 §9.4.2.3).
fn pin_field(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let field = block_bytes(case, "pin_field")?;
    let field: [u8; 16] = field.try_into().map_err(|_| unsayable("a PIN field of other than 16 bytes"))?;
    let key = AesKey::new(&ZONE_AES).map_err(refused)?;
    let account = format_4_account_field(SOME_PAN.as_bytes()).map_err(refused)?;
    let first = key.encrypted(field);
    let block = key.encrypted(core::array::from_fn(|i| first[i] ^ account[i])).to_vec();
    let under = PinSource::Key(chest.bring(Algorithm::Aes256, &ZONE_AES)?);
    let source = EncipheredPinBlock { format: PinFormat::Iso4, under, block };
    case.expect_text("pin", read_by_vault(chest, source, SOME_PAN)?.expose())
}

/// UnionPay's block is the same for the same PIN and account: what comes out under another key is the published one.
fn sm4(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let (pin, pan) = (word_of_pin(case)?, case.text("pan")?);
    let under = PinSource::Key(chest.bring(Algorithm::Sm4, &case.bytes("key")?)?);
    let to = chest.bring(Algorithm::Sm4, &ZONE_SM4)?;
    let block = block_bytes(case, "enciphered_pin_block")?;
    let source = EncipheredPinBlock { format: PinFormat::UnionPaySm4, under, block };
    let made = translated(chest, source, pan, to, PinFormat::UnionPaySm4)?;
    let zone = Sm4Key::new(&ZONE_SM4).map_err(refused)?;
    case.expect_bytes("pin_block", &zone.decrypted(array(&made)?))?;
    // The same PIN out of a format 0 block.
    let source = pin_from_zone(chest, &pin, pan)?;
    let to = chest.bring(Algorithm::Sm4, &ZONE_SM4)?;
    let made = translated(chest, source, pan, to, PinFormat::UnionPaySm4)?;
    case.expect_bytes("pin_block", &zone.decrypted(array(&made)?))
}

/// The same PIN in formats 0, 3 and 4 under the published keys: each must be read, and format 0 come out as published.
fn translate(chest: &mut Chest<'_, '_>, case: Case<'_>) -> Check {
    let (pan, key) = (case.text("pan")?, case.bytes("format0_key")?);
    let aes_key = case.bytes("format4_key")?;
    let (tdes_word, aes_word) = (chest.bring_double(&key)?, chest.bring(aes(&aes_key)?, &aes_key)?);
    let source = |format, key: &KeyBlock<PinEncryption>, name| {
        let (under, block) = (PinSource::Key(key.clone()), case.bytes(name)?);
        Ok(EncipheredPinBlock { format, under, block })
    };
    let sources = [
        source(PinFormat::Iso0, &tdes_word, "format0_enciphered")?,
        source(PinFormat::Iso3, &tdes_word, "format3_enciphered")?,
        source(PinFormat::Iso4, &aes_word, "format4_enciphered")?,
    ];
    for source in sources {
        case.expect_text("pin", read_by_vault(chest, source, pan)?.expose())?;
    }
    let format_0 = source(PinFormat::Iso0, &tdes_word, "format0_enciphered")?;
    case.expect_bytes("format0_block", &format_0_made(chest, format_0, pan)?)?;
    // Format 4 to the published key: its random half is the vault's, the PIN is not.
    let from_zone = pin_from_zone(chest, &word_of_pin(case)?, pan)?;
    let made = translated(chest, from_zone, pan, aes_word, PinFormat::Iso4)?;
    let key = AesKey::new(&aes_key).map_err(refused)?;
    let read = decipher_format_4(&key, &array(&made)?, pan.as_bytes()).map_err(refused)?;
    case.expect_text("pin", read.expose())?;
    back_to_format_0(chest, case, &tdes_word)
}

/// From the zone to the published key: the published cryptogram.
fn back_to_format_0(chest: &mut Chest<'_, '_>, case: Case<'_>, to: &KeyBlock<PinEncryption>) -> Check {
    let (pin, pan) = (word_of_pin(case)?, case.text("pan")?);
    let source = pin_from_zone(chest, &pin, pan)?;
    let made = translated(chest, source, pan, to.clone(), PinFormat::Iso0)?;
    case.expect_bytes("format0_enciphered", &made)?;
    let key = TdesKey::new(&case.bytes("format0_key")?).map_err(refused)?;
    let alone = encipher_format_0(&key, &pin, pan.as_bytes()).map_err(refused)?;
    if made == alone { Ok(()) } else { Err(differs("the vault and the library make different blocks")) }
}
