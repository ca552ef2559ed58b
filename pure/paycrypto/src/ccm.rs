//! Counter with CBC-MAC over any block cipher of sixteen bytes (NIST SP 800-38C, RFC 3610; GB/T 36624 for SM4).

use zeroize::Zeroize;

use crate::block::{AES_BLOCK_BYTES, BlockCipher, xor_into};
use crate::stream::xor_counter_stream;
use crate::{CryptoError, constant_time_eq};

/// Shortest and longest nonce in bytes; what the nonce leaves of fifteen bytes counts the text.
pub const CCM_NONCE_BYTES: core::ops::RangeInclusive<usize> = 7..=13;
/// Shortest tag in bytes (RFC 3610 §2). Tags have an even length.
pub const CCM_TAG_BYTES_MIN: usize = 4;
/// Longest tag in bytes.
pub const CCM_TAG_BYTES_MAX: usize = 16;

/// Associated data shorter than this has its length in two bytes (SP 800-38C A.2.2).
const SHORT_ASSOCIATED: u64 = 0xFF00;
const HAS_ASSOCIATED: u8 = 0x40;
type Block = [u8; AES_BLOCK_BYTES];

/// A CBC-MAC that takes its input in pieces and fills each section up to whole blocks.
struct Chain<'a, C> {
    cipher: &'a C,
    state: Block,
    used: usize,
}

impl<C: BlockCipher<AES_BLOCK_BYTES>> Chain<'_, C> {
    fn absorb(&mut self, data: &[u8]) {
        for byte in data {
            self.state[self.used] ^= byte;
            self.used += 1;
            if self.used == AES_BLOCK_BYTES {
                self.cipher.encrypt_block(&mut self.state);
                self.used = 0;
            }
        }
    }

    fn end_section(&mut self) {
        if self.used > 0 {
            self.cipher.encrypt_block(&mut self.state);
            self.used = 0;
        }
    }
}

fn check_lengths(nonce: &[u8], text_bytes: usize, tag_bytes: usize) -> Result<(), CryptoError> {
    if !CCM_NONCE_BYTES.contains(&nonce.len()) {
        return Err(CryptoError::NonceLength(nonce.len()));
    }
    if !(CCM_TAG_BYTES_MIN..=CCM_TAG_BYTES_MAX).contains(&tag_bytes) || !tag_bytes.is_multiple_of(2) {
        return Err(CryptoError::TagLength(tag_bytes));
    }
    let counting_bits = 8 * (AES_BLOCK_BYTES - 1 - nonce.len());
    if counting_bits < u64::BITS as usize && (text_bytes as u64) >> counting_bits != 0 {
        return Err(CryptoError::DataLength(text_bytes));
    }
    Ok(())
}

/// A block that starts with `flags` and the nonce and ends with a number in the bytes that are left.
fn formatted_block(flags: u8, nonce: &[u8], number: u64) -> Block {
    let mut block = u128::from(number).to_be_bytes();
    block[0] = flags;
    block[1..=nonce.len()].copy_from_slice(nonce);
    block
}

/// Bytes that count the text, less one, as the low bits of the flags.
fn counting_flags(nonce: &[u8]) -> u8 {
    (AES_BLOCK_BYTES - 2 - nonce.len()) as u8
}

/// How the length of associated data is written in front of it (SP 800-38C A.2.2).
fn associated_prefix(length: u64) -> Vec<u8> {
    match (u16::try_from(length), u32::try_from(length)) {
        (Ok(short), _) if length < SHORT_ASSOCIATED => short.to_be_bytes().to_vec(),
        (_, Ok(long)) => [&[0xFF, 0xFE][..], &long.to_be_bytes()].concat(),
        _ => [&[0xFF, 0xFF][..], &length.to_be_bytes()].concat(),
    }
}

/// The tag before it is cut: CBC-MAC over lengths, nonce, associated data and clear text, enciphered with counter 0.
fn full_tag<C: BlockCipher<AES_BLOCK_BYTES>>(
    cipher: &C,
    nonce: &[u8],
    associated: &[u8],
    clear: &[u8],
    tag_bytes: usize,
) -> Block {
    let tag_flags = ((tag_bytes - 2) / 2) as u8;
    let has_associated = if associated.is_empty() { 0 } else { HAS_ASSOCIATED };
    let flags = has_associated | tag_flags << 3 | counting_flags(nonce);
    let mut chain = Chain { cipher, state: [0; AES_BLOCK_BYTES], used: 0 };
    chain.absorb(&formatted_block(flags, nonce, clear.len() as u64));
    if !associated.is_empty() {
        chain.absorb(&associated_prefix(associated.len() as u64));
        chain.absorb(associated);
        chain.end_section();
    }
    chain.absorb(clear);
    chain.end_section();
    let mut tag = chain.state;
    xor_into(&mut tag, &cipher.encrypted(formatted_block(counting_flags(nonce), nonce, 0)));
    tag
}

fn encipher<C: BlockCipher<AES_BLOCK_BYTES>>(cipher: &C, nonce: &[u8], text: &mut [u8]) {
    let first = formatted_block(counting_flags(nonce), nonce, 1);
    xor_counter_stream(cipher, first, AES_BLOCK_BYTES - 1 - nonce.len(), text);
}

/// Enciphers `text` in place and gives a tag of `tag_bytes` bytes over it and `associated`.
///
/// A nonce may never be used twice under one key.
///
/// # Errors
/// [`CryptoError::NonceLength`]; [`CryptoError::TagLength`] unless 4, 6, … 16; [`CryptoError::DataLength`] if the
/// bytes that the nonce leaves cannot count the text.
pub fn seal<C: BlockCipher<AES_BLOCK_BYTES>>(
    cipher: &C,
    nonce: &[u8],
    associated: &[u8],
    text: &mut [u8],
    tag_bytes: usize,
) -> Result<Vec<u8>, CryptoError> {
    check_lengths(nonce, text.len(), tag_bytes)?;
    let tag = full_tag(cipher, nonce, associated, text, tag_bytes);
    encipher(cipher, nonce, text);
    Ok(tag[..tag_bytes].to_vec())
}

/// Deciphers `text` in place and verifies `tag`. The length of the tag is part of what is verified.
///
/// # Errors
/// As [`seal`]; [`CryptoError::Integrity`], and `text` is filled with zeros: what it held was never authentic.
pub fn open<C: BlockCipher<AES_BLOCK_BYTES>>(
    cipher: &C,
    nonce: &[u8],
    associated: &[u8],
    text: &mut [u8],
    tag: &[u8],
) -> Result<(), CryptoError> {
    check_lengths(nonce, text.len(), tag.len())?;
    encipher(cipher, nonce, text);
    let expected = full_tag(cipher, nonce, associated, text, tag.len());
    if constant_time_eq(&expected[..tag.len()], tag) {
        Ok(())
    } else {
        text.zeroize();
        Err(CryptoError::Integrity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AesKey, Sm4Key};
    use proptest::prelude::*;

    #[test]
    fn sp_800_38c_examples() {
        // NIST SP 800-38C C.1 to C.3: key 40…4F, nonces from 10, associated data from 00, text from 20.
        let key: Vec<u8> = (0x40..0x50).collect();
        let aes = AesKey::new(&key).unwrap();
        let examples = [
            (7, 8, 4, 4, &[0x71, 0x62, 0x01, 0x5B][..], &[0x4D, 0xAC, 0x25, 0x5D][..]),
            (8, 16, 16, 6, &[0xD2, 0xA1, 0xF0, 0xE0], &[0x1F, 0xC6, 0x4F, 0xBF, 0xAC, 0xCD]),
            (12, 20, 24, 8, &[0xE3, 0xB2, 0x01, 0xA9], &[0x48, 0x43, 0x92, 0xFB, 0xC1, 0xB0, 0x99, 0x51]),
        ];
        for (nonce_bytes, associated_bytes, text_bytes, tag_bytes, start, tag) in examples {
            let nonce: Vec<u8> = (0x10..).take(nonce_bytes).collect();
            let associated: Vec<u8> = (0..).take(associated_bytes).collect();
            let mut text: Vec<u8> = (0x20..).take(text_bytes).collect();
            assert_eq!(seal(&aes, &nonce, &associated, &mut text, tag_bytes).unwrap(), tag);
            assert_eq!(&text[..4], start);
        }
    }

    #[test]
    fn sp_800_38c_example_with_long_associated_data() {
        // NIST SP 800-38C C.4: 65,536 bytes of associated data.
        let key: Vec<u8> = (0x40..0x50).collect();
        let nonce: Vec<u8> = (0x10..0x1D).collect();
        let associated: Vec<u8> = (0..=u8::MAX).cycle().take(65_536).collect();
        let mut text: Vec<u8> = (0x20..0x40).collect();
        let tag = seal(&AesKey::new(&key).unwrap(), &nonce, &associated, &mut text, 14).unwrap();
        assert_eq!(tag[..4], [0xB4, 0xAC, 0x6B, 0xEC]);
        assert_eq!(text[..4], [0x69, 0x91, 0x5D, 0xAD]);
    }

    #[test]
    fn lengths_are_refused_by_kind() {
        let key = Sm4Key::new(&[1; 16]).unwrap();
        for length in [0, 1, 6, 14, 128] {
            let sealed = seal(&key, &vec![0; length], &[], &mut [], 16);
            assert_eq!(sealed.err(), Some(CryptoError::NonceLength(length)));
        }
        for length in [0, 2, 3, 5, 15, 18] {
            let opened = open(&key, &[0; 12], &[], &mut [], &vec![0; length]);
            assert_eq!(opened.err(), Some(CryptoError::TagLength(length)));
        }
        let mut long = vec![0; 1 << 16];
        assert_eq!(seal(&key, &[0; 13], &[], &mut long, 16).err(), Some(CryptoError::DataLength(1 << 16)));
        assert!(seal(&key, &[0; 12], &[], &mut long, 16).is_ok());
    }

    proptest! {
        #[test]
        fn round_trips_and_refuses_any_changed_bit(
            nonce in proptest::collection::vec(any::<u8>(), 7..=13),
            associated: Vec<u8>,
            text in proptest::collection::vec(any::<u8>(), 0..400),
            half_tag in 4_usize..=8,
            at: usize,
        ) {
            let key = Sm4Key::new(&[0x5A; 16]).unwrap();
            let mut message = text.clone();
            let tag = seal(&key, &nonce, &associated, &mut message, 2 * half_tag).unwrap();
            let mut all = [&nonce[..], &associated, &message, &tag].concat();
            let bit = at % (all.len() * 8);
            all[bit / 8] ^= 1 << (bit % 8);
            let (changed_nonce, rest) = all.split_at(nonce.len());
            let (changed_associated, rest) = rest.split_at(associated.len());
            let (changed_message, changed_tag) = rest.split_at(message.len());
            let mut changed = changed_message.to_vec();
            let opened = open(&key, changed_nonce, changed_associated, &mut changed, changed_tag);
            prop_assert_eq!(opened, Err(CryptoError::Integrity));
            prop_assert!(changed.iter().all(|byte| *byte == 0));
            open(&key, &nonce, &associated, &mut message, &tag).unwrap();
            prop_assert_eq!(message, text);
        }
    }
}
