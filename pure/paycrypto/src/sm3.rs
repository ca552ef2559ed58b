//! The SM3 hash (GB/T 32905-2016).

/// Length of an SM3 digest in bytes.
pub const SM3_DIGEST_BYTES: usize = 32;
pub(crate) const SM3_BLOCK_BYTES: usize = 64;

const INITIAL: [u32; 8] =
    [0x7380_166F, 0x4914_B2B9, 0x1724_42D7, 0xDA8A_0600, 0xA96F_30BC, 0x1631_38AA, 0xE38D_EE4D, 0xB0FB_0E4E];
const ROUNDS: usize = 64;
const EARLY_ROUNDS: usize = 16;

fn p0(x: u32) -> u32 {
    x ^ x.rotate_left(9) ^ x.rotate_left(17)
}

fn p1(x: u32) -> u32 {
    x ^ x.rotate_left(15) ^ x.rotate_left(23)
}

fn expand(block: &[u8; SM3_BLOCK_BYTES]) -> [u32; ROUNDS + 4] {
    let mut words = [0_u32; ROUNDS + 4];
    for (word, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    for j in EARLY_ROUNDS..ROUNDS + 4 {
        words[j] = p1(words[j - 16] ^ words[j - 9] ^ words[j - 3].rotate_left(15))
            ^ words[j - 13].rotate_left(7)
            ^ words[j - 6];
    }
    words
}

fn boolean_functions(round: usize, v: &[u32; 8]) -> (u32, u32) {
    let [a, b, c, _, e, f, g, _] = *v;
    if round < EARLY_ROUNDS { (a ^ b ^ c, e ^ f ^ g) } else { ((a & b) | (a & c) | (b & c), (e & f) | (!e & g)) }
}

fn compress(state: &mut [u32; 8], block: &[u8; SM3_BLOCK_BYTES]) {
    let words = expand(block);
    let mut v = *state;
    for j in 0..ROUNDS {
        let constant: u32 = if j < EARLY_ROUNDS { 0x79CC_4519 } else { 0x7A87_9D8A };
        let rotated_a = v[0].rotate_left(12);
        let ss1 = rotated_a.wrapping_add(v[4]).wrapping_add(constant.rotate_left(j as u32 % 32)).rotate_left(7);
        let (ff, gg) = boolean_functions(j, &v);
        let tt1 = ff.wrapping_add(v[3]).wrapping_add(ss1 ^ rotated_a).wrapping_add(words[j] ^ words[j + 4]);
        let tt2 = gg.wrapping_add(v[7]).wrapping_add(ss1).wrapping_add(words[j]);
        v = [tt1, v[0], v[1].rotate_left(9), v[2], p0(tt2), v[4], v[5].rotate_left(19), v[6]];
    }
    for (word, mixed) in state.iter_mut().zip(v) {
        *word ^= mixed;
    }
}

/// Hashes the concatenation of `parts`.
#[must_use]
pub fn sm3(parts: &[&[u8]]) -> [u8; SM3_DIGEST_BYTES] {
    let mut state = INITIAL;
    let mut block = [0_u8; SM3_BLOCK_BYTES];
    let (mut used, mut total_bytes) = (0, 0_u64);
    for byte in parts.iter().flat_map(|part| part.iter()).copied() {
        block[used] = byte;
        used += 1;
        total_bytes = total_bytes.wrapping_add(1);
        if used == SM3_BLOCK_BYTES {
            compress(&mut state, &block);
            used = 0;
        }
    }
    finish(state, block, used, total_bytes)
}

const LENGTH_AT: usize = SM3_BLOCK_BYTES - 8;

fn finish(
    mut state: [u32; 8],
    mut block: [u8; SM3_BLOCK_BYTES],
    used: usize,
    total_bytes: u64,
) -> [u8; SM3_DIGEST_BYTES] {
    block[used..].fill(0);
    block[used] = 0x80;
    if used >= LENGTH_AT {
        compress(&mut state, &block);
        block.fill(0);
    }
    block[LENGTH_AT..].copy_from_slice(&total_bytes.wrapping_mul(8).to_be_bytes());
    compress(&mut state, &block);
    let mut digest = [0; SM3_DIGEST_BYTES];
    for (bytes, word) in digest.chunks_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_examples() {
        // GB/T 32905 appendix A, examples 1 and 2.
        assert_eq!(sm3(&[b"abc"])[..4], [0x66, 0xC7, 0xF0, 0xF4]);
        let long = b"abcd".repeat(16);
        assert_eq!(sm3(&[&long])[..4], [0xDE, 0xBE, 0x9F, 0xF9]);
        assert_eq!(sm3(&[&long[..5], &long[5..]]), sm3(&[&long]));
    }
}
