//! PIN blocks of eight bytes: ISO 9564-1 formats 0 to 3, and two old schemes that are only read.
//!
//! Account numbers are ASCII digits, check digit included.

use zeroize::Zeroizing;

use crate::CryptoError;
use crate::block::{BlockCipher, DES_BLOCK_BYTES};
use crate::pin::{digit_count, from_nibbles, nibbles as pin_nibbles};
use types::{PIN_DIGITS_MAX, PIN_DIGITS_MIN, Pin};

/// Length of the PIN blocks of this module in bytes.
pub const PIN_BLOCK_BYTES: usize = DES_BLOCK_BYTES;
/// Account digits that formats 0 and 3 mix in: the twelve left of the check digit.
pub const PIN_BLOCK_ACCOUNT_DIGITS: usize = 12;
/// Most digits of an account number (ISO/IEC 7812-1).
pub const ACCOUNT_DIGITS_MAX: usize = 19;

const NIBBLES: usize = PIN_BLOCK_BYTES * 2;
const PIN_AT: usize = 2;
const FILLER: u8 = 0xF;

/// A clear or enciphered PIN block.
pub type PinBlock = [u8; PIN_BLOCK_BYTES];

type Nibbles = Zeroizing<[u8; NIBBLES]>;

fn unpack(block: &PinBlock) -> Nibbles {
    Zeroizing::new(core::array::from_fn(|i| if i % 2 == 0 { block[i / 2] >> 4 } else { block[i / 2] & 0x0F }))
}

fn pack(nibbles: &[u8; NIBBLES]) -> PinBlock {
    core::array::from_fn(|i| nibbles[2 * i] << 4 | nibbles[2 * i + 1])
}

/// Control and length nibbles and the PIN, the rest taken from `fill`.
fn plain_field(control: u8, pin: &Pin, fill: impl Fn(usize) -> u8) -> Nibbles {
    let mut nibbles = Zeroizing::new([0; NIBBLES]);
    nibbles[0] = control;
    nibbles[1] = digit_count(pin) as u8;
    for (slot, digit) in nibbles[PIN_AT..].iter_mut().zip(pin_nibbles(pin)) {
        *slot = digit;
    }
    let fill_at = PIN_AT + digit_count(pin);
    for (i, slot) in nibbles[fill_at..].iter_mut().enumerate() {
        *slot = fill(i) & 0x0F;
    }
    nibbles
}

/// Reads control, length and PIN; every filler nibble must satisfy `is_filler`.
fn read_plain_field(nibbles: &[u8; NIBBLES], control: u8, is_filler: impl Fn(u8) -> bool) -> Result<Pin, CryptoError> {
    if nibbles[0] != control {
        return Err(CryptoError::PinBlockControl);
    }
    let length = usize::from(nibbles[1]);
    if !(PIN_DIGITS_MIN..=PIN_DIGITS_MAX).contains(&length) {
        return Err(CryptoError::PinBlock);
    }
    let (pin, filler) = nibbles[PIN_AT..].split_at(length);
    if !filler.iter().all(|nibble| is_filler(*nibble)) {
        return Err(CryptoError::PinBlock);
    }
    from_nibbles(pin)
}

/// The account field of formats 0 and 3: four zero nibbles and the twelve digits left of the check digit (ISO 9564-1
/// §9.3.2.3).
///
/// # Errors
/// [`CryptoError::AccountNumber`] unless it has 13 to 19 digits.
pub fn account_field(account_number: &[u8]) -> Result<PinBlock, CryptoError> {
    let length = account_number.len();
    let length_fits = (PIN_BLOCK_ACCOUNT_DIGITS + 1..=ACCOUNT_DIGITS_MAX).contains(&length);
    if !length_fits || !account_number.iter().all(u8::is_ascii_digit) {
        return Err(CryptoError::AccountNumber);
    }
    let digits = &account_number[length - 1 - PIN_BLOCK_ACCOUNT_DIGITS..length - 1];
    let mut nibbles = Zeroizing::new([0; NIBBLES]);
    for (slot, digit) in nibbles[NIBBLES - PIN_BLOCK_ACCOUNT_DIGITS..].iter_mut().zip(digits) {
        *slot = digit - b'0';
    }
    Ok(pack(&nibbles))
}

fn mix(nibbles: &[u8; NIBBLES], account_number: &[u8]) -> Result<PinBlock, CryptoError> {
    let mut block = pack(nibbles);
    crate::block::xor_into(&mut block, &account_field(account_number)?);
    Ok(block)
}

/// The PIN field of a clear block of format 0 or 3: the block with the account field taken out, whatever it then holds.
///
/// # Errors
/// [`CryptoError::AccountNumber`] unless it has 13 to 19 digits.
pub fn pin_field(block: &PinBlock, account_number: &[u8]) -> Result<Zeroizing<PinBlock>, CryptoError> {
    let mut plain = Zeroizing::new(*block);
    crate::block::xor_into(&mut plain, &account_field(account_number)?);
    Ok(plain)
}

fn unmix(block: &PinBlock, account_number: &[u8]) -> Result<Nibbles, CryptoError> {
    Ok(unpack(&*pin_field(block, account_number)?))
}

/// Format 0 in the clear: PIN with filler F, xored with the account number (ISO 9564-1 §9.3.2; ANSI X9.8).
///
/// # Errors
/// [`CryptoError::AccountNumber`] unless it has 13 to 19 digits.
pub fn encode_format_0(pin: &Pin, account_number: &[u8]) -> Result<PinBlock, CryptoError> {
    mix(&plain_field(0, pin, |_| FILLER), account_number)
}

/// Reads a clear format 0 block, checking control, length, digits and every filler nibble.
///
/// # Errors
/// [`CryptoError::AccountNumber`], [`CryptoError::PinBlockControl`], [`CryptoError::PinBlock`].
pub fn decode_format_0(block: &PinBlock, account_number: &[u8]) -> Result<Pin, CryptoError> {
    read_plain_field(&*unmix(block, account_number)?, 0, |nibble| nibble == FILLER)
}

/// Format 1 in the clear: no account number, filled from `random` (ISO 9564-1 §9.3.3). The low nibbles of `random`
/// are used as they are.
#[must_use]
pub fn encode_format_1(pin: &Pin, random: &[u8; NIBBLES - PIN_AT - PIN_DIGITS_MIN]) -> PinBlock {
    pack(&plain_field(1, pin, |i| random[i]))
}

/// Reads a clear format 1 block. Its filler says nothing, so a wrong key is noticed less often than with format 0.
///
/// # Errors
/// [`CryptoError::PinBlockControl`], [`CryptoError::PinBlock`].
pub fn decode_format_1(block: &PinBlock) -> Result<Pin, CryptoError> {
    read_plain_field(&unpack(block), 1, |_| true)
}

/// Format 2 in the clear: what a card's VERIFY command carries (ISO 9564-1 §9.3.4, EMV 4.4 Book 3 §6.5.12).
#[must_use]
pub fn encode_format_2(pin: &Pin) -> PinBlock {
    pack(&plain_field(2, pin, |_| FILLER))
}

/// Reads a format 2 block.
///
/// # Errors
/// [`CryptoError::PinBlockControl`], [`CryptoError::PinBlock`].
pub fn decode_format_2(block: &PinBlock) -> Result<Pin, CryptoError> {
    read_plain_field(&unpack(block), 2, |nibble| nibble == FILLER)
}

/// Format 3 in the clear: like format 0 with random filler A to F (ISO 9564-1 §9.3.5). Each byte of `random` gives
/// one filler nibble, reduced to that range.
///
/// # Errors
/// [`CryptoError::AccountNumber`] unless it has 13 to 19 digits.
pub fn encode_format_3(
    pin: &Pin,
    account_number: &[u8],
    random: &[u8; NIBBLES - PIN_AT - PIN_DIGITS_MIN],
) -> Result<PinBlock, CryptoError> {
    mix(&plain_field(3, pin, |i| 0xA + random[i] % 6), account_number)
}

/// Reads a clear format 3 block; filler nibbles must be A to F.
///
/// # Errors
/// [`CryptoError::AccountNumber`], [`CryptoError::PinBlockControl`], [`CryptoError::PinBlock`].
pub fn decode_format_3(block: &PinBlock, account_number: &[u8]) -> Result<Pin, CryptoError> {
    read_plain_field(&*unmix(block, account_number)?, 3, |nibble| nibble >= 0xA)
}

/// Encodes format 0 and enciphers it: field 52 of UnionPay POS §4.4.
///
/// # Errors
/// [`CryptoError::AccountNumber`] unless it has 13 to 19 digits.
pub fn encipher_format_0(
    key: &impl BlockCipher<PIN_BLOCK_BYTES>,
    pin: &Pin,
    account_number: &[u8],
) -> Result<PinBlock, CryptoError> {
    let mut block = encode_format_0(pin, account_number)?;
    key.encrypt_block(&mut block);
    Ok(block)
}

/// Deciphers a format 0 block and reads it.
///
/// # Errors
/// As [`decode_format_0`].
pub fn decipher_format_0(
    key: &impl BlockCipher<PIN_BLOCK_BYTES>,
    enciphered: &PinBlock,
    account_number: &[u8],
) -> Result<Pin, CryptoError> {
    let clear = Zeroizing::new(key.decrypted(*enciphered));
    decode_format_0(&clear, account_number)
}

/// Reads a VISA-3 block: PIN from the left, then one digit repeated to the end.
///
/// # Errors
/// [`CryptoError::PinBlock`] if what is left is no PIN.
pub fn decode_visa_3(block: &PinBlock) -> Result<Pin, CryptoError> {
    let nibbles = unpack(block);
    let filler = nibbles[NIBBLES - 1];
    let pin_digits = nibbles.iter().rposition(|nibble| *nibble != filler);
    let pin_end = pin_digits.map_or(0, |last| last + 1);
    from_nibbles(&nibbles[..pin_end])
}

/// Reads an ECI-2 block: a PIN of four digits, the rest random.
///
/// # Errors
/// [`CryptoError::PinBlock`] if the four nibbles are not digits.
pub fn decode_eci_2(block: &PinBlock) -> Result<Pin, CryptoError> {
    let nibbles = unpack(block);
    from_nibbles(&nibbles[..PIN_DIGITS_MIN])
}

/// Reads an ECI-3 (VISA-2) block: a length nibble of 4 to 6, the PIN in six nibbles, the rest random.
///
/// # Errors
/// [`CryptoError::PinBlock`] for another length or a nibble that is no digit.
pub fn decode_eci_3(block: &PinBlock) -> Result<Pin, CryptoError> {
    const ECI_3_DIGITS_MAX: usize = 6;
    let nibbles = unpack(block);
    let length = usize::from(nibbles[0]);
    if length > ECI_3_DIGITS_MAX {
        return Err(CryptoError::PinBlock);
    }
    from_nibbles(&nibbles[1..=length])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TdesKey;
    use proptest::prelude::*;

    #[test]
    fn unionpay_worked_blocks() {
        // UnionPay POS §4.4.
        let pin = Pin::parse("123456").unwrap();
        let block = encode_format_0(&pin, b"123456789012345678").unwrap();
        assert_eq!(u64::from_be_bytes(block), 0x0612_53DF_FEDC_BA98);
        let block = encode_format_0(&pin, b"1234567890123456").unwrap();
        assert_eq!(u64::from_be_bytes(block), 0x0612_7131_76FE_DCBA);
    }

    #[test]
    fn field_52_of_the_synthetic_sale() {
        // UnionPay POS §9, S3.
        let pik = 0x89AB_CDEF_0123_4567_7654_3210_FEDC_BA98_u128.to_be_bytes();
        let pik = TdesKey::new(&pik).unwrap();
        let pin = Pin::parse("123456").unwrap();
        let field_52 = encipher_format_0(&pik, &pin, b"6222620000000000012").unwrap();
        assert_eq!(u64::from_be_bytes(field_52), 0xD2C3_C10F_90CE_4B95);
        assert_eq!(decipher_format_0(&pik, &field_52, b"6222620000000000012").unwrap().expose(), pin.expose());
    }

    fn digits(count: core::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(b'0'..=b'9', count)
    }

    proptest! {
        #[test]
        fn every_format_reads_what_it_wrote(
            pin in "[0-9]{4,12}", pan in digits(13..=19), random: [u8; 10],
        ) {
            let entered = Pin::parse(&pin).unwrap();
            let format_0 = encode_format_0(&entered, &pan).unwrap();
            let format_3 = encode_format_3(&entered, &pan, &random).unwrap();
            let read = [
                decode_format_0(&format_0, &pan),
                decode_format_1(&encode_format_1(&entered, &random)),
                decode_format_2(&encode_format_2(&entered)),
                decode_format_3(&format_3, &pan),
            ];
            for read in read {
                prop_assert!(read.unwrap().expose() == pin);
            }
        }

        #[test]
        fn hostile_blocks_never_panic(block: [u8; 8], pan: Vec<u8>) {
            let _ = decode_format_0(&block, &pan);
            let _ = decode_format_1(&block);
            let _ = decode_format_2(&block);
            let _ = decode_format_3(&block, &pan);
            let _ = (decode_visa_3(&block), decode_eci_2(&block), decode_eci_3(&block));
        }
    }
}
