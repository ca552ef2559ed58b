//! The instructions themselves: AES-NI, and GFNI on vectors of 128, 256 and 512 bits.
//!
//! The only file of the workspace with `unsafe` in it. Each set of instructions is a type that only detection makes;
//! having one is the proof that the functions behind it may be called.

#![allow(unsafe_code)]

use crate::{BLOCK_BYTES, Block};
use core::arch::x86_64::*;
use paycrypto::SM4_ROUNDS;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Proof of AES-NI.
#[derive(Clone, Copy)]
pub struct AesInstructions(());

/// Proof of GFNI with AVX2, and of AVX-512 if `wide`.
#[derive(Clone, Copy)]
pub struct Sm4Instructions {
    wide: bool,
}

const AES_ROUND_KEYS_MAX: usize = 15;
/// Blocks that keep the AES unit busy.
const AES_BLOCKS_AT_ONCE: usize = 8;

/// Round keys of one AES key.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct AesSchedule {
    encrypting: [u128; AES_ROUND_KEYS_MAX],
    decrypting: [u128; AES_ROUND_KEYS_MAX],
    round_keys: usize,
}

impl AesInstructions {
    /// Looks whether they are there. The standard library remembers.
    pub fn detect() -> Option<Self> {
        (is_x86_feature_detected!("aes") && is_x86_feature_detected!("sse4.1")).then_some(Self(()))
    }

    /// Expands a key of 16, 24 or 32 bytes; none for other lengths.
    pub fn expand(self, key: &[u8]) -> Option<Box<AesSchedule>> {
        let round_keys = matches!(key.len(), 16 | 24 | 32).then(|| key.len() / 4 + 7)?;
        let [encrypting, decrypting] = [[0; AES_ROUND_KEYS_MAX]; 2];
        let mut schedule = Box::new(AesSchedule { encrypting, decrypting, round_keys });
        // SAFETY: `self` proves the instructions.
        unsafe { aes_expand(key, &mut schedule) };
        Some(schedule)
    }

    /// Enciphers blocks, each by itself.
    pub fn encrypt(self, schedule: &AesSchedule, blocks: &mut [Block]) {
        // SAFETY: `self` proves the instructions.
        unsafe { aes_encrypt_all(&schedule.encrypting[..schedule.round_keys], blocks) }
    }

    /// Deciphers blocks, each by itself.
    pub fn decrypt(self, schedule: &AesSchedule, blocks: &mut [Block]) {
        // SAFETY: `self` proves the instructions.
        unsafe { aes_decrypt_all(&schedule.decrypting[..schedule.round_keys], blocks) }
    }

    /// For each block: `chain` becomes `chain` xor the block, enciphered.
    pub fn chain(self, schedule: &AesSchedule, chain: &mut Block, blocks: &[Block]) {
        // SAFETY: `self` proves the instructions.
        unsafe { aes_chain(&schedule.encrypting[..schedule.round_keys], chain, blocks) }
    }
}

fn load(bytes: &Block) -> __m128i {
    // SAFETY: sixteen readable bytes; the instruction asks for no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

fn store(bytes: &mut Block, value: __m128i) {
    // SAFETY: sixteen writable bytes; the instruction asks for no alignment.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), value) }
}

fn load_key(key: &u128) -> __m128i {
    load(&key.to_ne_bytes())
}

fn key_of(value: __m128i) -> u128 {
    let mut bytes = [0; BLOCK_BYTES];
    store(&mut bytes, value);
    u128::from_ne_bytes(bytes)
}

/// The S-box on each byte of a word. With four equal columns, shifting rows changes nothing.
#[target_feature(enable = "aes,sse4.1")]
fn aes_substitute(word: u32) -> u32 {
    let columns = _mm_set1_epi32(word.cast_signed());
    _mm_cvtsi128_si32(_mm_aesenclast_si128(columns, _mm_setzero_si128())).cast_unsigned()
}

/// FIPS 197 §5.2, with words in the order of memory; then §5.3.5 for the equivalent inverse cipher.
#[target_feature(enable = "aes,sse4.1")]
fn aes_expand(key: &[u8], schedule: &mut AesSchedule) {
    const WORDS_MAX: usize = AES_ROUND_KEYS_MAX * 4;
    let mut words = [0_u32; WORDS_MAX];
    let (key_words, _) = key.as_chunks::<4>();
    let length = key_words.len();
    for (word, bytes) in words.iter_mut().zip(key_words) {
        *word = u32::from_le_bytes(*bytes);
    }
    let mut round_constant = 1_u8;
    for index in length..schedule.round_keys * 4 {
        let mut word = words[index - 1];
        if index % length == 0 {
            word = aes_substitute(word).rotate_right(8) ^ u32::from(round_constant);
            round_constant = (round_constant << 1) ^ ((round_constant >> 7) * 0x1B);
        } else if length > 6 && index % length == 4 {
            word = aes_substitute(word);
        }
        words[index] = words[index - length] ^ word;
    }
    for (round_key, words) in schedule.encrypting.iter_mut().zip(words.as_chunks::<4>().0) {
        *round_key = words.iter().rev().fold(0, |key, word| key << 32 | u128::from(*word));
    }
    words.zeroize();
    let last = schedule.round_keys - 1;
    for round in 0..=last {
        let round_key = load_key(&schedule.encrypting[last - round]);
        let outer = round == 0 || round == last;
        schedule.decrypting[round] = key_of(if outer { round_key } else { _mm_aesimc_si128(round_key) });
    }
}

/// Several blocks through the rounds of `$middle` and `$last` side by side.
macro_rules! aes_direction {
    ($lanes:ident, $all:ident, $middle:ident, $last:ident) => {
        #[inline]
        #[target_feature(enable = "aes,sse4.1")]
        fn $lanes<const LANES: usize>(round_keys: &[u128], mut state: [__m128i; LANES]) -> [__m128i; LANES] {
            let [first, middle @ .., last] = round_keys else { return state };
            let [first, last] = [load_key(first), load_key(last)];
            for lane in &mut state {
                *lane = _mm_xor_si128(*lane, first);
            }
            for round_key in middle {
                let round_key = load_key(round_key);
                for lane in &mut state {
                    *lane = $middle(*lane, round_key);
                }
            }
            for lane in &mut state {
                *lane = $last(*lane, last);
            }
            state
        }

        #[target_feature(enable = "aes,sse4.1")]
        fn $all(round_keys: &[u128], blocks: &mut [Block]) {
            let (groups, rest) = blocks.as_chunks_mut::<AES_BLOCKS_AT_ONCE>();
            for group in groups {
                let done = $lanes(round_keys, group.each_ref().map(load));
                group.iter_mut().zip(done).for_each(|(block, value)| store(block, value));
            }
            for block in rest {
                let [done] = $lanes(round_keys, [load(block)]);
                store(block, done);
            }
        }
    };
}
aes_direction!(aes_encrypt, aes_encrypt_all, _mm_aesenc_si128, _mm_aesenclast_si128);
aes_direction!(aes_decrypt, aes_decrypt_all, _mm_aesdec_si128, _mm_aesdeclast_si128);

#[target_feature(enable = "aes,sse4.1")]
fn aes_chain(round_keys: &[u128], chain: &mut Block, blocks: &[Block]) {
    let mut state = load(chain);
    for block in blocks {
        [state] = aes_encrypt(round_keys, [_mm_xor_si128(state, load(block))]);
    }
    store(chain, state);
}

/// SM4's S-box is an inversion in its own field between two affine maps. That field is isomorphic to the one of AES, in
/// which GFNI inverts. So the words are carried through the rounds as the AES field sees them, and the linear step L,
/// byte by byte, is folded into the way out of the inversion and back in: a round is one addition, three inversions
/// with a matrix each, three turns of a word and four additions. In a matrix, the bytes from the highest to the lowest
/// are the rows for the output bits from the lowest to the highest.
const INTO_AES_FIELD: i64 = 0x4C28_7DB9_1A22_505D;
const OUT_OF_AES_FIELD: i64 = 0xB3A4_F586_3284_728B_u64.cast_signed();
/// The S-box's inner constant, added with the round key, and its outer one behind L.
const INNER_CONSTANT: i32 = 0x3E;
const OUTER_CONSTANT: i32 = 0x63;
/// What a byte gives to the byte in its own place, to those one and two places higher, and to the one three higher.
const TO_OWN_PLACE: i64 = 0x040D_B891_E9A4_81B7;
const TO_NEXT_PLACES: i64 = 0x2C02_0425_1620_40AD;
const TO_LAST_PLACE: i64 = 0x280F_BCB4_FF84_C11A;

/// Blocks that one pass of each width takes.
const NARROW_BLOCKS: usize = 4;
const MIDDLE_BLOCKS: usize = 16;
const WIDE_BLOCKS: usize = 32;

impl Sm4Instructions {
    /// Looks whether they are there. The standard library remembers.
    pub fn detect() -> Option<Self> {
        let present = is_x86_feature_detected!("gfni") && is_x86_feature_detected!("avx2");
        let wide = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        present.then_some(Self { wide })
    }

    /// Takes blocks through the rounds, each by itself; the order of the round keys says in which direction.
    pub fn crypt(self, round_keys: &[u32; SM4_ROUNDS], blocks: &mut [Block]) {
        let (wide, rest) = if self.wide { blocks.as_chunks_mut::<WIDE_BLOCKS>() } else { (Default::default(), blocks) };
        for group in wide {
            // SAFETY: `self` proves the instructions, `wide` those of AVX-512.
            unsafe { sm4_wide(round_keys, group) };
        }
        let (middle, rest) = rest.as_chunks_mut::<MIDDLE_BLOCKS>();
        for group in middle {
            // SAFETY: `self` proves the instructions.
            unsafe { sm4_middle(round_keys, group) };
        }
        if rest.len() > NARROW_BLOCKS {
            // SAFETY: `self` proves the instructions.
            filled_up(rest, |group| unsafe { sm4_middle(round_keys, group) });
        } else if !rest.is_empty() {
            // SAFETY: `self` proves the instructions.
            filled_up(rest, |group| unsafe { sm4_narrow(round_keys, group) });
        }
    }
}

/// Works on fewer blocks than a pass takes.
fn filled_up<const BLOCKS: usize>(blocks: &mut [Block], work: impl FnOnce(&mut [Block; BLOCKS])) {
    let mut group = [[0; BLOCK_BYTES]; BLOCKS];
    group[..blocks.len()].copy_from_slice(blocks);
    work(&mut group);
    blocks.copy_from_slice(&group[..blocks.len()]);
    group.as_flattened_mut().zeroize();
}

/// SM4 on vectors of one width. Each 128-bit lane takes four blocks, turned so that a vector holds one word of each; a
/// pass takes `$groups` times four vectors, so that there is work while an instruction waits for the one before.
macro_rules! sm4_on_vectors {
    ($name:ident, $features:literal, $vector:ty, $groups:literal, $blocks:ident, $lanes:literal, [$load:ident, $store:ident,
     $xor:ident, $shuffle:ident, $words:ident, $quads:ident, $affine:ident,
     $invert:ident, $low_words:ident, $high_words:ident, $low_quads:ident, $high_quads:ident, $each_lane:expr]) => {
        #[target_feature(enable = $features)]
        fn $name(round_keys: &[u32; SM4_ROUNDS], blocks: &mut [Block; $blocks]) {
            const { assert!($blocks == $groups * $lanes * 4) }

            #[target_feature(enable = $features)]
            fn turned([a, b, c, d]: [$vector; 4]) -> [$vector; 4] {
                let (ab, cd) = ($low_words(a, b), $low_words(c, d));
                let (high_ab, high_cd) = ($high_words(a, b), $high_words(c, d));
                [$low_quads(ab, cd), $high_quads(ab, cd), $low_quads(high_ab, high_cd), $high_quads(high_ab, high_cd)]
            }

            /// Words in the AES field, or back.
            #[target_feature(enable = $features)]
            fn carried([a, b, c, d]: [$vector; 4], matrix: i64) -> [$vector; 4] {
                let matrix = $quads(matrix);
                [$affine::<0>(a, matrix), $affine::<0>(b, matrix), $affine::<0>(c, matrix), $affine::<0>(d, matrix)]
            }

            /// A word with the round function of three others and the round key added. `last` comes from the round
            /// before, so everything else is added first.
            #[target_feature(enable = $features)]
            fn mixed(word: $vector, others: [$vector; 2], last: $vector, key: $vector) -> $vector {
                let input = $xor(last, $xor($xor(others[0], others[1]), key));
                let own = $invert::<OUTER_CONSTANT>(input, $quads(TO_OWN_PLACE));
                let next = $invert::<0>(input, $quads(TO_NEXT_PLACES));
                let far = $invert::<0>(input, $quads(TO_LAST_PLACE));
                let by_8 =
                    $shuffle(next, $each_lane(_mm_set_epi8(14, 13, 12, 15, 10, 9, 8, 11, 6, 5, 4, 7, 2, 1, 0, 3)));
                let by_16 =
                    $shuffle(next, $each_lane(_mm_set_epi8(13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2)));
                let by_24 =
                    $shuffle(far, $each_lane(_mm_set_epi8(12, 15, 14, 13, 8, 11, 10, 9, 4, 7, 6, 5, 0, 3, 2, 1)));
                $xor($xor($xor(word, own), by_24), $xor(by_8, by_16))
            }

            // Words are big-endian in a block and little-endian in a vector.
            let order = $each_lane(_mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3));
            let (rows, _) = blocks.as_chunks_mut::<$lanes>();
            let (groups, _) = rows.as_chunks_mut::<4>();
            let mut state = [[$words(0); 4]; $groups];
            for (state, rows) in state.iter_mut().zip(groups.iter()) {
                for (vector, row) in state.iter_mut().zip(rows) {
                    // SAFETY: a row is as many readable bytes as a vector has; the instruction asks for no alignment.
                    *vector = $shuffle(unsafe { $load(row.as_ptr().cast()) }, order);
                }
                *state = carried(turned(*state), INTO_AES_FIELD);
            }
            for keys in round_keys.as_chunks::<4>().0 {
                for (step, key) in keys.iter().enumerate() {
                    let key = $affine::<INNER_CONSTANT>($words(key.cast_signed()), $quads(INTO_AES_FIELD));
                    for words in &mut state {
                        let others = [words[(step + 1) % 4], words[(step + 2) % 4]];
                        words[step] = mixed(words[step], others, words[(step + 3) % 4], key);
                    }
                }
            }
            for (state, rows) in state.into_iter().zip(groups) {
                let [a, b, c, d] = carried(state, OUT_OF_AES_FIELD);
                for (row, value) in rows.iter_mut().zip(turned([d, c, b, a])) {
                    // SAFETY: a row is as many writable bytes as a vector has; the instruction asks for no alignment.
                    unsafe { $store(row.as_mut_ptr().cast(), $shuffle(value, order)) };
                }
            }
        }
    };
}

#[rustfmt::skip]
sm4_on_vectors!(sm4_narrow, "avx2,gfni", __m128i, 1, NARROW_BLOCKS, 1, [
    _mm_loadu_si128, _mm_storeu_si128, _mm_xor_si128, _mm_shuffle_epi8, _mm_set1_epi32, _mm_set1_epi64x,
    _mm_gf2p8affine_epi64_epi8, _mm_gf2p8affineinv_epi64_epi8, _mm_unpacklo_epi32, _mm_unpackhi_epi32,
    _mm_unpacklo_epi64, _mm_unpackhi_epi64, core::convert::identity
]);
#[rustfmt::skip]
sm4_on_vectors!(sm4_middle, "avx2,gfni", __m256i, 2, MIDDLE_BLOCKS, 2, [
    _mm256_loadu_si256, _mm256_storeu_si256, _mm256_xor_si256, _mm256_shuffle_epi8, _mm256_set1_epi32,
    _mm256_set1_epi64x, _mm256_gf2p8affine_epi64_epi8, _mm256_gf2p8affineinv_epi64_epi8, _mm256_unpacklo_epi32,
    _mm256_unpackhi_epi32, _mm256_unpacklo_epi64, _mm256_unpackhi_epi64, _mm256_broadcastsi128_si256
]);
#[rustfmt::skip]
sm4_on_vectors!(sm4_wide, "avx512f,avx512bw,avx2,gfni", __m512i, 2, WIDE_BLOCKS, 4, [
    _mm512_loadu_si512, _mm512_storeu_si512, _mm512_xor_si512, _mm512_shuffle_epi8, _mm512_set1_epi32,
    _mm512_set1_epi64, _mm512_gf2p8affine_epi64_epi8, _mm512_gf2p8affineinv_epi64_epi8, _mm512_unpacklo_epi32,
    _mm512_unpackhi_epi32, _mm512_unpacklo_epi64, _mm512_unpackhi_epi64, _mm512_broadcast_i32x4
]);
