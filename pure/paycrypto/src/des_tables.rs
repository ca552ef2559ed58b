//! The tables of FIPS 46-3, and what the cipher really looks up: both are worked out by the compiler.
//!
//! The cipher keeps each half of its state expanded: 48 bits, one byte for each S-box with the six bits of its input
//! in the low places, S1 in the highest byte. Expansion duplicates bits and so commutes with exclusive or.

/// Rounds of DES.
pub const ROUNDS: usize = 16;
/// Key bits that one look-up of the key schedule takes: eight values of eight bytes are one cache line.
pub const KEY_GROUP_BITS: usize = 3;
/// Groups that the 56 key bits fall into.
pub const KEY_GROUPS: usize = 56_usize.div_ceil(KEY_GROUP_BITS);

const S_BOXES: usize = 8;
const S_BOX_INPUTS: usize = 64;
const KEY_GROUP_VALUES: usize = 1 << KEY_GROUP_BITS;
const HALF_KEY_BITS: usize = 28;
const ONE_A_BYTE: u64 = 0x0101_0101_0101_0101;

/// FIPS 46-3 appendix 1: rows of sixteen, S1 first.
#[rustfmt::skip]
const SUBSTITUTION: [[u8; S_BOX_INPUTS]; S_BOXES] = [
    [
        14,  4, 13,  1,  2, 15, 11,  8,  3, 10,  6, 12,  5,  9,  0,  7,  0, 15,  7,  4, 14,  2, 13,  1, 10,  6, 12, 11,  9,  5,  3,  8,
         4,  1, 14,  8, 13,  6,  2, 11, 15, 12,  9,  7,  3, 10,  5,  0, 15, 12,  8,  2,  4,  9,  1,  7,  5, 11,  3, 14, 10,  0,  6, 13,
    ],
    [
        15,  1,  8, 14,  6, 11,  3,  4,  9,  7,  2, 13, 12,  0,  5, 10,  3, 13,  4,  7, 15,  2,  8, 14, 12,  0,  1, 10,  6,  9, 11,  5,
         0, 14,  7, 11, 10,  4, 13,  1,  5,  8, 12,  6,  9,  3,  2, 15, 13,  8, 10,  1,  3, 15,  4,  2, 11,  6,  7, 12,  0,  5, 14,  9,
    ],
    [
        10,  0,  9, 14,  6,  3, 15,  5,  1, 13, 12,  7, 11,  4,  2,  8, 13,  7,  0,  9,  3,  4,  6, 10,  2,  8,  5, 14, 12, 11, 15,  1,
        13,  6,  4,  9,  8, 15,  3,  0, 11,  1,  2, 12,  5, 10, 14,  7,  1, 10, 13,  0,  6,  9,  8,  7,  4, 15, 14,  3, 11,  5,  2, 12,
    ],
    [
         7, 13, 14,  3,  0,  6,  9, 10,  1,  2,  8,  5, 11, 12,  4, 15, 13,  8, 11,  5,  6, 15,  0,  3,  4,  7,  2, 12,  1, 10, 14,  9,
        10,  6,  9,  0, 12, 11,  7, 13, 15,  1,  3, 14,  5,  2,  8,  4,  3, 15,  0,  6, 10,  1, 13,  8,  9,  4,  5, 11, 12,  7,  2, 14,
    ],
    [
         2, 12,  4,  1,  7, 10, 11,  6,  8,  5,  3, 15, 13,  0, 14,  9, 14, 11,  2, 12,  4,  7, 13,  1,  5,  0, 15, 10,  3,  9,  8,  6,
         4,  2,  1, 11, 10, 13,  7,  8, 15,  9, 12,  5,  6,  3,  0, 14, 11,  8, 12,  7,  1, 14,  2, 13,  6, 15,  0,  9, 10,  4,  5,  3,
    ],
    [
        12,  1, 10, 15,  9,  2,  6,  8,  0, 13,  3,  4, 14,  7,  5, 11, 10, 15,  4,  2,  7, 12,  9,  5,  6,  1, 13, 14,  0, 11,  3,  8,
         9, 14, 15,  5,  2,  8, 12,  3,  7,  0,  4, 10,  1, 13, 11,  6,  4,  3,  2, 12,  9,  5, 15, 10, 11, 14,  1,  7,  6,  0,  8, 13,
    ],
    [
         4, 11,  2, 14, 15,  0,  8, 13,  3, 12,  9,  7,  5, 10,  6,  1, 13,  0, 11,  7,  4,  9,  1, 10, 14,  3,  5, 12,  2, 15,  8,  6,
         1,  4, 11, 13, 12,  3,  7, 14, 10, 15,  6,  8,  0,  5,  9,  2,  6, 11, 13,  8,  1,  4, 10,  7,  9,  5,  0, 15, 14,  2,  3, 12,
    ],
    [
        13,  2,  8,  4,  6, 15, 11,  1, 10,  9,  3, 14,  5,  0, 12,  7,  1, 15, 13,  8, 10,  3,  7,  4, 12,  5,  6, 11,  0, 14,  9,  2,
         7, 11,  4,  1,  9, 12, 14,  2,  0,  6, 10, 13, 15,  3,  5,  8,  2,  1, 14,  7,  4, 10,  8, 13, 15, 12,  9,  0,  3,  5,  6, 11,
    ],
];

/// The permutation P behind the S-boxes.
const PERMUTATION: [u8; 32] = [
    16, 7, 20, 21, 29, 12, 28, 17, 1, 15, 23, 26, 5, 18, 31, 10, 2, 8, 24, 14, 32, 27, 3, 9, 19, 13, 30, 6, 22, 11, 4,
    25,
];

/// Permuted choice 1: which key bit stands where in the halves C and D.
const PERMUTED_CHOICE_1: [u8; 2 * HALF_KEY_BITS] = [
    57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18, 10, 2, 59, 51, 43, 35, 27, 19, 11, 3, 60, 52, 44, 36, 63, 55,
    47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22, 14, 6, 61, 53, 45, 37, 29, 21, 13, 5, 28, 20, 12, 4,
];

/// Permuted choice 2: which bits of C and D make a round key.
const PERMUTED_CHOICE_2: [u8; 48] = [
    14, 17, 11, 24, 1, 5, 3, 28, 15, 6, 21, 10, 23, 19, 12, 4, 26, 8, 16, 7, 27, 20, 13, 2, 41, 52, 31, 37, 47, 55, 30,
    40, 51, 45, 33, 48, 44, 49, 39, 56, 34, 53, 46, 42, 50, 36, 29, 32,
];

/// How far C and D have been rotated in each round, counted from the start.
const ROTATION: [usize; ROUNDS] = [1, 2, 4, 6, 8, 10, 12, 14, 15, 17, 19, 21, 23, 25, 27, 28];

/// Expands a half whose bytes stand in the low bytes of four 16-bit lanes, first byte highest.
pub const fn expand(lanes: u64) -> u64 {
    let nibbles = ((lanes & 0x00F0_00F0_00F0_00F0) << 4) | (lanes & 0x000F_000F_000F_000F);
    let before = (nibbles.rotate_right(8) & ONE_A_BYTE) << 5;
    let after = (nibbles.rotate_left(8) >> 3) & ONE_A_BYTE;
    before | nibbles << 1 | after
}

/// Takes [`expand`] back.
pub const fn compress(expanded: u64) -> u64 {
    let nibbles = expanded >> 1;
    ((nibbles >> 4) & 0x00F0_00F0_00F0_00F0) | (nibbles & 0x000F_000F_000F_000F)
}

const fn lanes(half: u32) -> u64 {
    let pairs = (half as u64 | (half as u64) << 16) & 0x0000_FFFF_0000_FFFF;
    (pairs | pairs << 8) & 0x00FF_00FF_00FF_00FF
}

const fn permuted(value: u32) -> u32 {
    let (mut out, mut at) = (0, 0);
    while at < 32 {
        out |= (value >> (32 - PERMUTATION[at]) & 1) << (31 - at);
        at += 1;
    }
    out
}

const fn round_function() -> [[u64; S_BOX_INPUTS]; S_BOXES] {
    let mut tables = [[0; S_BOX_INPUTS]; S_BOXES];
    let mut s_box = 0;
    while s_box < S_BOXES {
        let mut input = 0;
        while input < S_BOX_INPUTS {
            // Outer bits are the row, inner bits the column.
            let entry = (input & 0x20) | (input & 1) << 4 | (input >> 1 & 0x0F);
            let output = (SUBSTITUTION[s_box][entry] as u32) << (28 - 4 * s_box);
            tables[S_BOXES - 1 - s_box][input] = expand(lanes(permuted(output)));
            input += 1;
        }
        s_box += 1;
    }
    tables
}

/// Place of a key bit (1 to 64, as the standard counts) among the 56 that are no parity bits, packed with the last
/// byte's lowest.
const fn packed_place(key_bit: usize) -> usize {
    let (byte, bit) = ((64 - key_bit) / 8, (64 - key_bit) % 8);
    byte * 7 + bit - 1
}

/// The round key bit that PC-2 puts at `at`, in expanded form.
const fn round_key_bit(at: usize) -> u64 {
    1 << (8 * (S_BOXES - 1 - at / 6) + 5 - at % 6)
}

const fn key_schedule() -> [[[u64; KEY_GROUP_VALUES]; ROUNDS]; KEY_GROUPS] {
    let mut tables = [[[0; KEY_GROUP_VALUES]; ROUNDS]; KEY_GROUPS];
    let mut round = 0;
    while round < ROUNDS {
        let mut at = 0;
        while at < PERMUTED_CHOICE_2.len() {
            let chosen = PERMUTED_CHOICE_2[at] as usize - 1;
            let half = chosen / HALF_KEY_BITS * HALF_KEY_BITS;
            let source = half + (chosen - half + ROTATION[round]) % HALF_KEY_BITS;
            let place = packed_place(PERMUTED_CHOICE_1[source] as usize);
            let mut value = 0;
            while value < KEY_GROUP_VALUES {
                if value >> (place % KEY_GROUP_BITS) & 1 == 1 {
                    tables[place / KEY_GROUP_BITS][round][value] |= round_key_bit(at);
                }
                value += 1;
            }
            at += 1;
        }
        round += 1;
    }
    tables
}

/// Starts on a cache line.
#[repr(align(64))]
pub struct CacheAligned<T>(pub T);

/// S-box, P and the next expansion in one step; S8 first.
pub static ROUND_FUNCTION: CacheAligned<[[u64; S_BOX_INPUTS]; S_BOXES]> = CacheAligned(round_function());
/// What each group of packed key bits gives to each round key.
pub static KEY_SCHEDULE: CacheAligned<[[[u64; KEY_GROUP_VALUES]; ROUNDS]; KEY_GROUPS]> = CacheAligned(key_schedule());
