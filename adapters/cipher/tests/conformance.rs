//! Every accelerated cipher is the pure one: on random keys and data, at every number of blocks, and on published vectors.

#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use aes::cipher::consts::U16;
use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockSizeUser, KeyInit};
use fast_cipher::{FastAesKey, FastSm4Key};
use paycrypto::mac::{cbc_mac, cmac, unionpay_ecb_mac};
use paycrypto::padding::Padding;
use paycrypto::{AesKey, BlockCipher, CryptoError, Sm4Key};
use proptest::prelude::*;

type Block = [u8; 16];

fn blocks(seed: Block, count: usize) -> Vec<Block> {
    let seed = u128::from_be_bytes(seed);
    (0..count as u128).map(|i| seed.wrapping_mul(2 * i + 1).rotate_left(7).to_be_bytes()).collect()
}

fn same_cipher(fast: &impl BlockCipher<16>, pure: &impl BlockCipher<16>, blocks: &[Block]) {
    for block in blocks {
        assert_eq!(fast.encrypted(*block), pure.encrypted(*block));
        assert_eq!(fast.decrypted(*block), pure.decrypted(*block));
    }
    let both = |work: &dyn Fn(bool, &mut Vec<Block>)| {
        let (mut by_fast, mut by_pure) = (blocks.to_vec(), blocks.to_vec());
        work(true, &mut by_fast);
        work(false, &mut by_pure);
        assert_eq!(by_fast, by_pure);
    };
    both(&|is_fast, blocks| if is_fast { fast.encrypt_blocks(blocks) } else { pure.encrypt_blocks(blocks) });
    both(&|is_fast, blocks| if is_fast { fast.decrypt_blocks(blocks) } else { pure.decrypt_blocks(blocks) });
    let data = blocks.as_flattened();
    assert_eq!(cmac(fast, data), cmac(pure, data));
    assert_eq!(cbc_mac(fast, data, Padding::Marker), cbc_mac(pure, data, Padding::Marker));
    assert_eq!(unionpay_ecb_mac(fast, data), unionpay_ecb_mac(pure, data));
}

/// The library below `paycrypto`, one block at a time.
fn aes_library(key: &[u8], block: Block) -> (Block, Block) {
    fn run<C>(key: &[u8], block: Block) -> (Block, Block)
    where
        C: BlockCipherEncrypt + BlockCipherDecrypt + KeyInit + BlockSizeUser<BlockSize = U16>,
    {
        let cipher = C::new_from_slice(key).unwrap();
        let (mut enciphered, mut deciphered) = (Array::from(block), Array::from(block));
        cipher.encrypt_block(&mut enciphered);
        cipher.decrypt_block(&mut deciphered);
        (enciphered.into(), deciphered.into())
    }
    match key.len() {
        16 => run::<aes::Aes128>(key, block),
        24 => run::<aes::Aes192>(key, block),
        _ => run::<aes::Aes256>(key, block),
    }
}

proptest! {
    #[test]
    fn aes_is_aes(key: [u8; 32], seed: Block, count in 0_usize..70) {
        for length in [16, 24, 32] {
            let fast = FastAesKey::new(&key[..length]).unwrap();
            same_cipher(&fast, &AesKey::new(&key[..length]).unwrap(), &blocks(seed, count));
            prop_assert_eq!((fast.encrypted(seed), fast.decrypted(seed)), aes_library(&key[..length], seed));
        }
    }

    #[test]
    fn sm4_is_sm4(key: Block, seed: Block, count in 0_usize..70) {
        same_cipher(&FastSm4Key::new(&key).unwrap(), &Sm4Key::new(&key).unwrap(), &blocks(seed, count));
    }
}

#[test]
fn fips_197_appendix_c() {
    let plain: Block = core::array::from_fn(|i| (i * 0x11) as u8);
    let key: Vec<u8> = (0..32).collect();
    let expected: [(usize, u128); 3] = [
        (16, 0x69C4_E0D8_6A7B_0430_D8CD_B780_70B4_C55A),
        (24, 0xDDA9_7CA4_864C_DFE0_6EAF_70A0_EC0D_7191),
        (32, 0x8EA2_B7CA_5167_45BF_EAFC_4990_4B49_6089),
    ];
    for (length, enciphered) in expected {
        let fast = FastAesKey::new(&key[..length]).unwrap();
        assert_eq!(u128::from_be_bytes(fast.encrypted(plain)), enciphered);
        assert_eq!(fast.decrypted(enciphered.to_be_bytes()), plain);
    }
}

#[test]
fn gb_t_32907_appendix_a() {
    let block = 0x0123_4567_89AB_CDEF_FEDC_BA98_7654_3210_u128.to_be_bytes();
    let key = FastSm4Key::new(&block).unwrap();
    assert_eq!(u128::from_be_bytes(key.encrypted(block)), 0x681E_DF34_D206_965E_86B3_E94F_536E_4246);
    // The second example: a million times over.
    let mut chained = block;
    for _ in 0..1_000_000 {
        key.encrypt_block(&mut chained);
    }
    assert_eq!(u128::from_be_bytes(chained), 0x5952_98C7_C6FD_271F_0402_F804_C33D_3F66);
}

#[test]
fn odd_lengths_are_refused_and_keys_do_not_print() {
    for length in [0, 8, 15, 17, 20, 33] {
        assert_eq!(FastAesKey::new(&vec![0; length]).err(), Some(CryptoError::KeyLength(length)));
        assert_eq!(FastSm4Key::new(&vec![0; length]).err(), Some(CryptoError::KeyLength(length)));
    }
    assert_eq!(format!("{:?}", FastAesKey::new(&[0x42; 16]).unwrap()), "FastAesKey(***)");
    assert_eq!(format!("{:?}", FastSm4Key::new(&[0x42; 16]).unwrap()), "FastSm4Key(***)");
}

/// Says in the log which code the other tests have run through.
#[test]
fn what_this_processor_has() {
    let (aes, sm4) = (FastAesKey::new(&[1; 16]).unwrap(), FastSm4Key::new(&[1; 16]).unwrap());
    println!("accelerated: AES {}, SM4 {}", aes.is_accelerated(), sm4.is_accelerated());
    #[cfg(target_arch = "x86_64")]
    assert_eq!(aes.is_accelerated(), is_x86_feature_detected!("aes"));
}
