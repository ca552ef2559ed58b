//! PIN blocks of every format.

use crate::Outcome;
use crate::mac::case::{Case, Check, Problem, judge_kind, refused, unknown};
use paycrypto::check_value::verify_zero_block_check_value;
use paycrypto::pin_block::{
    decipher_format_0, decode_eci_2, decode_eci_3, decode_format_0, decode_format_1, decode_format_2, decode_format_3,
    decode_visa_3, encipher_format_0, encode_format_0, encode_format_1, encode_format_2, encode_format_3,
};
use paycrypto::pin_block_extended::{
    decipher_format_4, decipher_format_4_pin_field, decode_unionpay_sm4, encipher_format_4, encode_unionpay_sm4,
    format_4_account_field, format_4_pin_field, read_format_4_pin_field,
};
use paycrypto::{AesKey, BlockCipher, CryptoError, Pin, Sm4Key, TdesKey};
use serde_json::Value;

const ENCIPHERED: &str = "enciphered_pin_block";

/// What the reason of a malformed case says, and what the product's refusal must then say.
const REFUSALS: &[(&str, &str)] = &[
    ("PIN must be", "PIN"),
    ("PAN must be", "account number"),
    ("PAN too short", "account number"),
    ("PIN length must be", "not well formed"),
    ("PIN is not numeric", "not well formed"),
    ("hex digit in PIN", "not well formed"),
    ("filler", "not well formed"),
    ("not ISO format", "control nibble"),
    ("bytes long", "bytes, not"),
    ("hex digits", "not hexadecimal"),
];

/// Runs one case of the area.
pub fn run(case: &Value) -> Outcome {
    let case = Case(case);
    judge_kind(case, check(case), REFUSALS)
}

fn check(case: Case<'_>) -> Check {
    match case.kind() {
        "format0_encode" => case.expect_bytes("pin_block", &encode_format_0(&pin(case)?, pan(case)?).map_err(refused)?),
        "format0_decode" => expect_pin(case, decode_format_0(&case.array("pin_block")?, pan(case)?)),
        "format0_enciphered" => format_0_enciphered(case),
        "format0_decipher" => format_0_decipher(case),
        "format1_encode" => format_1_encode(case),
        "format1_decode" => expect_pin(case, decode_format_1(&case.array("pin_block")?)),
        "format1_enciphered" => {
            let clear = tdes(case, "key")?.decrypted(case.array(ENCIPHERED)?);
            expect_pin(case, decode_format_1(&clear))
        }
        "format2_encode" => case.expect_bytes("pin_block", &encode_format_2(&pin(case)?)),
        "format2_decode" => expect_pin(case, decode_format_2(&case.array("pin_block")?)),
        "format3_encode" => format_3_encode(case),
        "format3_decode" => expect_pin(case, decode_format_3(&case.array("pin_block")?, pan(case)?)),
        "format3_decipher" => format_3_decipher(case),
        "format4_encipher" => format_4_encipher(case),
        "format4_decipher" => format_4_decipher(case),
        "format4_pan_field" => case.expect_bytes("pan_field", &format_4_account_field(pan(case)?).map_err(refused)?),
        "format4_pin_field" => format_4_field(case),
        "visa3_decode" => expect_pin(case, decode_visa_3(&case.array("pin_block")?)),
        "eci2_decode" => expect_pin(case, decode_eci_2(&case.array("pin_block")?)),
        "eci3_decode" => expect_pin(case, decode_eci_3(&case.array("pin_block")?)),
        "sm4_pin_block" => sm4(case),
        "translate" => translate(case),
        _ => unknown(case),
    }
}

fn pin(case: Case<'_>) -> Check<Pin> {
    Pin::parse(case.text("pin")?).map_err(refused)
}

fn pan(case: Case<'_>) -> Check<&[u8]> {
    case.text("pan").map(str::as_bytes)
}

fn tdes(case: Case<'_>, name: &str) -> Check<TdesKey> {
    TdesKey::new(&case.bytes(name)?).map_err(refused)
}

fn aes(case: Case<'_>, name: &str) -> Check<AesKey> {
    AesKey::new(&case.bytes(name)?).map_err(refused)
}

fn expect_pin(case: Case<'_>, read: Result<Pin, CryptoError>) -> Check {
    let read = read.map_err(refused)?;
    case.expect_text("pin", read.expose())
}

fn format_0_enciphered(case: Case<'_>) -> Check {
    let key = tdes(case, "key")?;
    if case.has("key_kcv") {
        verify_zero_block_check_value(&key, &case.bytes("key_kcv")?).map_err(refused)?;
    }
    if case.has("pin_block") {
        case.expect_bytes("pin_block", &encode_format_0(&pin(case)?, pan(case)?).map_err(refused)?)?;
    }
    case.expect_bytes(ENCIPHERED, &encipher_format_0(&key, &pin(case)?, pan(case)?).map_err(refused)?)?;
    expect_pin(case, decipher_format_0(&key, &case.array(ENCIPHERED)?, pan(case)?))
}

fn format_0_decipher(case: Case<'_>) -> Check {
    let key = tdes(case, "key")?;
    let enciphered = case.array(ENCIPHERED)?;
    case.expect_bytes_if_given("plain_pin_block", &key.decrypted(enciphered))?;
    expect_pin(case, decipher_format_0(&key, &enciphered, pan(case)?))
}

fn format_3_decipher(case: Case<'_>) -> Check {
    let clear = tdes(case, "key")?.decrypted(case.array(ENCIPHERED)?);
    case.expect_bytes_if_given("plain_pin_block", &clear)?;
    expect_pin(case, decode_format_3(&clear, pan(case)?))
}

/// How a nonce becomes filler is up to the maker: the published block must read, and ours must read too.
fn format_1_encode(case: Case<'_>) -> Check {
    expect_pin(case, decode_format_1(&case.array("pin_block")?))?;
    let nonce = case.bytes_or_empty("nonce")?;
    let random = core::array::from_fn(|i| nonce.get(i).copied().unwrap_or_default());
    expect_pin(case, decode_format_1(&encode_format_1(&pin(case)?, &random)))
}

fn format_3_encode(case: Case<'_>) -> Check {
    let block = encode_format_3(&pin(case)?, pan(case)?, &[0; 10]).map_err(refused)?;
    expect_pin(case, decode_format_3(&block, pan(case)?))?;
    if case.has("pin_block") {
        expect_pin(case, decode_format_3(&case.array("pin_block")?, pan(case)?))
    } else {
        Ok(())
    }
}

fn format_4_encipher(case: Case<'_>) -> Check {
    let (key, pin) = (aes(case, "key")?, pin(case)?);
    let random = if case.has("random") { case.array("random")? } else { [0; 8] };
    let block = encipher_format_4(&key, &pin, pan(case)?, &random).map_err(refused)?;
    case.expect_bytes_if_given("pin_field", &format_4_pin_field(&pin, &random))?;
    case.expect_bytes_if_given("pan_field", &format_4_account_field(pan(case)?).map_err(refused)?)?;
    case.expect_bytes(ENCIPHERED, &block)?;
    expect_pin(case, decipher_format_4(&key, &block, pan(case)?))
}

fn format_4_decipher(case: Case<'_>) -> Check {
    let (key, block) = (aes(case, "key")?, case.array(ENCIPHERED)?);
    let field = decipher_format_4_pin_field(&key, &block, pan(case)?).map_err(refused)?;
    case.expect_bytes_if_given("pin_field", &*field)?;
    case.expect_bytes_if_given("pan_field", &format_4_account_field(pan(case)?).map_err(refused)?)?;
    expect_pin(case, decipher_format_4(&key, &block, pan(case)?))
}

fn format_4_field(case: Case<'_>) -> Check {
    if case.has("pin_field") {
        return expect_pin(case, read_format_4_pin_field(&case.array("pin_field")?));
    }
    let field = format_4_pin_field(&pin(case)?, &[0; 8]);
    case.expect_bytes("pin_field_first8", &field[..8])
}

fn sm4(case: Case<'_>) -> Check {
    let key = Sm4Key::new(&case.bytes("key")?).map_err(refused)?;
    let block = encode_unionpay_sm4(&pin(case)?, pan(case)?).map_err(refused)?;
    case.expect_bytes("pin_block", &block)?;
    case.expect_bytes(ENCIPHERED, &key.encrypted(block))?;
    expect_pin(case, decode_unionpay_sm4(&key.decrypted(case.array(ENCIPHERED)?), pan(case)?))
}

/// The same PIN in formats 0, 3 and 4: each block must read, and the next one be made from what was read.
fn translate(case: Case<'_>) -> Check {
    let (key, account) = (tdes(case, "format0_key")?, pan(case)?);
    let enciphered = case.array("format0_enciphered")?;
    case.expect_bytes("format0_block", &key.decrypted(enciphered))?;
    let pin = decipher_format_0(&key, &enciphered, account).map_err(refused)?;
    case.expect_text("pin", pin.expose())?;
    let format_3 = key.decrypted(case.array("format3_enciphered")?);
    case.expect_bytes("format3_block", &format_3)?;
    if decode_format_3(&format_3, account).map_err(refused)?.expose() != pin.expose() {
        return Err(Problem::Differs("format 3 gives another PIN".to_owned()));
    }
    let random = case.array("random")?;
    case.expect_bytes("format4_pin_field", &format_4_pin_field(&pin, &random))?;
    case.expect_bytes("format4_pan_field", &format_4_account_field(account).map_err(refused)?)?;
    let format_4 = encipher_format_4(&aes(case, "format4_key")?, &pin, account, &random).map_err(refused)?;
    case.expect_bytes("format4_enciphered", &format_4)
}
