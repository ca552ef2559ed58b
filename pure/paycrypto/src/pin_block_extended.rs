//! PIN blocks of sixteen bytes: ISO 9564-1 format 4 (AES) and UnionPay's SM4 block.

use zeroize::Zeroizing;

use crate::CryptoError;
use crate::block::{AES_BLOCK_BYTES, BlockCipher, xor_into};
use crate::pin::{digit_count, from_nibbles, nibbles as pin_nibbles};
use crate::pin_block::{ACCOUNT_DIGITS_MAX, PIN_BLOCK_ACCOUNT_DIGITS};
use types::{PIN_DIGITS_MAX, PIN_DIGITS_MIN, Pin};

/// Length of the PIN blocks of this module in bytes.
pub const EXTENDED_PIN_BLOCK_BYTES: usize = AES_BLOCK_BYTES;
/// Random bytes that format 4 takes.
pub const FORMAT_4_RANDOM_BYTES: usize = 8;

/// A PIN field, account field or enciphered block.
pub type ExtendedPinBlock = [u8; EXTENDED_PIN_BLOCK_BYTES];

const NIBBLES: usize = EXTENDED_PIN_BLOCK_BYTES * 2;
const CONTROL: u8 = 4;
const FILLER: u8 = 0xA;
const PIN_AT: usize = 2;
const RANDOM_AT: usize = 16;
/// Account numbers of up to this many digits have length nibble 0; each digit more adds one.
const ACCOUNT_DIGITS_BASE: usize = 12;

fn pack(nibbles: &[u8; NIBBLES]) -> ExtendedPinBlock {
    core::array::from_fn(|i| nibbles[2 * i] << 4 | nibbles[2 * i + 1])
}

fn unpack(block: &ExtendedPinBlock) -> Zeroizing<[u8; NIBBLES]> {
    Zeroizing::new(core::array::from_fn(|i| if i % 2 == 0 { block[i / 2] >> 4 } else { block[i / 2] & 0x0F }))
}

/// The plain text PIN field of format 4 (ISO 9564-1 §9.4.2.2).
#[must_use]
pub fn format_4_pin_field(pin: &Pin, random: &[u8; FORMAT_4_RANDOM_BYTES]) -> ExtendedPinBlock {
    let mut nibbles = Zeroizing::new([FILLER; NIBBLES]);
    nibbles[0] = CONTROL;
    nibbles[1] = digit_count(pin) as u8;
    for (slot, digit) in nibbles[PIN_AT..].iter_mut().zip(pin_nibbles(pin)) {
        *slot = digit;
    }
    let mut field = pack(&nibbles);
    field[RANDOM_AT / 2..].copy_from_slice(random);
    field
}

/// Reads a plain text PIN field, checking control, length, digits and filler.
///
/// # Errors
/// [`CryptoError::PinBlockControl`], [`CryptoError::PinBlock`].
pub fn read_format_4_pin_field(field: &ExtendedPinBlock) -> Result<Pin, CryptoError> {
    let nibbles = unpack(field);
    if nibbles[0] != CONTROL {
        return Err(CryptoError::PinBlockControl);
    }
    let length = usize::from(nibbles[1]);
    if !(PIN_DIGITS_MIN..=PIN_DIGITS_MAX).contains(&length) {
        return Err(CryptoError::PinBlock);
    }
    let (pin, filler) = nibbles[PIN_AT..RANDOM_AT].split_at(length);
    if filler.iter().any(|nibble| *nibble != FILLER) {
        return Err(CryptoError::PinBlock);
    }
    from_nibbles(pin)
}

/// The plain text primary account number field of format 4 (ISO 9564-1 §9.4.2.3). Takes 1 to 19 digits.
///
/// # Errors
/// [`CryptoError::AccountNumber`].
pub fn format_4_account_field(account_number: &[u8]) -> Result<ExtendedPinBlock, CryptoError> {
    let length = account_number.len();
    let fits = (1..=ACCOUNT_DIGITS_MAX).contains(&length);
    if !fits || !account_number.iter().all(u8::is_ascii_digit) {
        return Err(CryptoError::AccountNumber);
    }
    let mut nibbles = Zeroizing::new([0; NIBBLES]);
    nibbles[0] = length.saturating_sub(ACCOUNT_DIGITS_BASE) as u8;
    let digits_at = 1 + ACCOUNT_DIGITS_BASE.saturating_sub(length);
    for (slot, digit) in nibbles[digits_at..].iter_mut().zip(account_number) {
        *slot = digit - b'0';
    }
    Ok(pack(&nibbles))
}

/// Makes an enciphered format 4 block.
///
/// # Errors
/// [`CryptoError::AccountNumber`].
pub fn encipher_format_4(
    key: &impl BlockCipher<AES_BLOCK_BYTES>,
    pin: &Pin,
    account_number: &[u8],
    random: &[u8; FORMAT_4_RANDOM_BYTES],
) -> Result<ExtendedPinBlock, CryptoError> {
    let account = format_4_account_field(account_number)?;
    let mut block = format_4_pin_field(pin, random);
    key.encrypt_block(&mut block);
    xor_into(&mut block, &account);
    key.encrypt_block(&mut block);
    Ok(block)
}

/// Deciphers a format 4 block down to its plain text PIN field.
///
/// # Errors
/// [`CryptoError::AccountNumber`].
pub fn decipher_format_4_pin_field(
    key: &impl BlockCipher<AES_BLOCK_BYTES>,
    enciphered: &ExtendedPinBlock,
    account_number: &[u8],
) -> Result<Zeroizing<ExtendedPinBlock>, CryptoError> {
    let mut block = Zeroizing::new(key.decrypted(*enciphered));
    xor_into(&mut block, &format_4_account_field(account_number)?);
    key.decrypt_block(&mut block);
    Ok(block)
}

/// Deciphers a format 4 block and reads its PIN.
///
/// # Errors
/// [`CryptoError::AccountNumber`], [`CryptoError::PinBlockControl`], [`CryptoError::PinBlock`].
pub fn decipher_format_4(
    key: &impl BlockCipher<AES_BLOCK_BYTES>,
    enciphered: &ExtendedPinBlock,
    account_number: &[u8],
) -> Result<Pin, CryptoError> {
    read_format_4_pin_field(&*decipher_format_4_pin_field(key, enciphered, account_number)?)
}

/// The account field of UnionPay's sixteen-byte block: the twelve digits left of the check digit at the right end.
///
/// # Errors
/// [`CryptoError::AccountNumber`] unless it has 13 to 19 digits.
pub fn unionpay_sm4_account_field(account_number: &[u8]) -> Result<ExtendedPinBlock, CryptoError> {
    let length = account_number.len();
    let fits = (PIN_BLOCK_ACCOUNT_DIGITS + 1..=ACCOUNT_DIGITS_MAX).contains(&length);
    if !fits || !account_number.iter().all(u8::is_ascii_digit) {
        return Err(CryptoError::AccountNumber);
    }
    let mut nibbles = Zeroizing::new([0; NIBBLES]);
    let digits = &account_number[length - 1 - PIN_BLOCK_ACCOUNT_DIGITS..length - 1];
    for (slot, digit) in nibbles[NIBBLES - PIN_BLOCK_ACCOUNT_DIGITS..].iter_mut().zip(digits) {
        *slot = digit - b'0';
    }
    Ok(pack(&nibbles))
}

/// UnionPay's sixteen-byte PIN block in the clear (UnionPay POS §4.4): two decimal length digits, the PIN, filler F,
/// xored with the twelve account digits at the right end.
///
/// # Errors
/// [`CryptoError::AccountNumber`] unless it has 13 to 19 digits.
pub fn encode_unionpay_sm4(pin: &Pin, account_number: &[u8]) -> Result<ExtendedPinBlock, CryptoError> {
    let mut nibbles = Zeroizing::new([0xF; NIBBLES]);
    nibbles[0] = (digit_count(pin) / 10) as u8;
    nibbles[1] = (digit_count(pin) % 10) as u8;
    for (slot, digit) in nibbles[PIN_AT..].iter_mut().zip(pin_nibbles(pin)) {
        *slot = digit;
    }
    let mut block = pack(&nibbles);
    xor_into(&mut block, &unionpay_sm4_account_field(account_number)?);
    Ok(block)
}

/// The PIN field of UnionPay's sixteen-byte block: the block with the account field taken out, whatever it then holds.
///
/// # Errors
/// [`CryptoError::AccountNumber`] unless it has 13 to 19 digits.
pub fn unionpay_sm4_pin_field(
    block: &ExtendedPinBlock,
    account_number: &[u8],
) -> Result<Zeroizing<ExtendedPinBlock>, CryptoError> {
    let mut plain = Zeroizing::new(*block);
    xor_into(&mut plain, &unionpay_sm4_account_field(account_number)?);
    Ok(plain)
}

/// Reads UnionPay's sixteen-byte PIN block, checking length, digits and every filler nibble.
///
/// # Errors
/// [`CryptoError::AccountNumber`], [`CryptoError::PinBlock`].
pub fn decode_unionpay_sm4(block: &ExtendedPinBlock, account_number: &[u8]) -> Result<Pin, CryptoError> {
    let nibbles = unpack(&*unionpay_sm4_pin_field(block, account_number)?);
    let length = usize::from(nibbles[0]) * 10 + usize::from(nibbles[1]);
    if nibbles[1] > 9 || !(PIN_DIGITS_MIN..=PIN_DIGITS_MAX).contains(&length) {
        return Err(CryptoError::PinBlock);
    }
    let (pin, filler) = nibbles[PIN_AT..].split_at(length);
    if filler.iter().any(|nibble| *nibble != 0xF) {
        return Err(CryptoError::PinBlock);
    }
    from_nibbles(pin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AesKey;
    use crate::Sm4Key;
    use proptest::prelude::*;

    #[test]
    fn unionpay_sm4_worked_block() {
        // UnionPay POS §4.4.
        let pin = Pin::parse("123654").unwrap();
        let block = encode_unionpay_sm4(&pin, b"6230606601007726888").unwrap();
        assert_eq!(u128::from_be_bytes(block), 0x0612_3654_FFFF_FFFF_FFFF_99FE_FF88_D977);
        let key = 0xF351_D490_9946_0379_5C6E_BEE8_FAEB_B481_u128.to_be_bytes();
        let enciphered = Sm4Key::new(&key).unwrap().encrypted(block);
        assert_eq!(u128::from_be_bytes(enciphered), 0xCD01_D6AD_8F0A_484C_52A9_364A_0595_AD60);
    }

    proptest! {
        #[test]
        fn round_trips(
            pin in "[0-9]{4,12}",
            pan in proptest::collection::vec(b'0'..=b'9', 13..=19),
            random: [u8; 8],
        ) {
            let (entered, key) = (Pin::parse(&pin).unwrap(), AesKey::new(&[3; 16]).unwrap());
            let block = encipher_format_4(&key, &entered, &pan, &random).unwrap();
            prop_assert!(decipher_format_4(&key, &block, &pan).unwrap().expose() == pin);
            let block = encode_unionpay_sm4(&entered, &pan).unwrap();
            prop_assert!(decode_unionpay_sm4(&block, &pan).unwrap().expose() == pin);
        }

        #[test]
        fn hostile_blocks_never_panic(block: [u8; 16], pan: Vec<u8>) {
            let _ = read_format_4_pin_field(&block);
            let _ = decipher_format_4(&AesKey::new(&[3; 16]).unwrap(), &block, &pan);
            let _ = decode_unionpay_sm4(&block, &pan);
        }
    }
}
