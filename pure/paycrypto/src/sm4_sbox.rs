//! SM4's S-box as a circuit: the same instructions for every input, so that neither cache nor branches tell keys.
//!
//! The S-box is an inversion in GF(2⁸) between two affine maps (Liu and others, ACISP 2007). Inversion is cheap in a
//! tower of small fields, so the first map ends and the second begins in the tower's basis:
//!
//! * GF(2²) = GF(2)\[w\] with w² = w + 1,
//! * GF(2⁴) = GF(2²)\[y\] with y² = y + w,
//! * GF(2⁸) = GF(2⁴)\[z\] with z² = z + ν, ν = wy + 1.
//!
//! A *slice* holds one bit of many bytes, one byte to each bit of the machine word. The test compares the circuit
//! with the published table for all 256 inputs.

/// One bit of up to 64 bytes.
pub(crate) type Slice = u64;
/// Bytes in slices, lowest bit first.
pub(crate) type Slices = [Slice; 8];

/// An element of GF(2²), coefficient of w first.
type Pair = [Slice; 2];
/// An element of GF(2⁴), coefficient of y first.
type Quad = [Pair; 2];

fn add(left: Pair, right: Pair) -> Pair {
    [left[0] ^ right[0], left[1] ^ right[1]]
}

fn multiply(left: Pair, right: Pair) -> Pair {
    let (high, low) = (left[0] & right[0], left[1] & right[1]);
    let cross = (left[0] ^ left[1]) & (right[0] ^ right[1]);
    [cross ^ low, high ^ low]
}

/// Squaring, which in GF(2²) is also inversion.
fn square([high, low]: Pair) -> Pair {
    [high, high ^ low]
}

fn times_w([high, low]: Pair) -> Pair {
    [high ^ low, high]
}

fn times_w_squared([high, low]: Pair) -> Pair {
    [low, high ^ low]
}

fn add_quads(left: Quad, right: Quad) -> Quad {
    [add(left[0], right[0]), add(left[1], right[1])]
}

fn multiply_quads(left: Quad, right: Quad) -> Quad {
    let (high, low) = (multiply(left[0], right[0]), multiply(left[1], right[1]));
    let cross = multiply(add(left[0], left[1]), add(right[0], right[1]));
    [add(cross, low), add(times_w(high), low)]
}

fn square_quad([high, low]: Quad) -> Quad {
    let high = square(high);
    [high, add(times_w(high), square(low))]
}

fn times_nu([high, low]: Quad) -> Quad {
    [add(times_w_squared(add(high, low)), low), add(times_w_squared(high), low)]
}

/// Inverse of hy + l: conjugate h(y + 1) + l divided by the norm wh² + hl + l².
fn invert_quad([high, low]: Quad) -> Quad {
    let norm = add(add(times_w(square(high)), multiply(high, low)), square(low));
    let inverse_norm = square(norm);
    [multiply(high, inverse_norm), multiply(add(high, low), inverse_norm)]
}

/// Inverse of hz + l in GF(2⁸), by the same rule; zero stays zero.
fn invert(high: Quad, low: Quad) -> [Quad; 2] {
    let norm = add_quads(add_quads(times_nu(square_quad(high)), multiply_quads(high, low)), square_quad(low));
    let inverse_norm = invert_quad(norm);
    [multiply_quads(high, inverse_norm), multiply_quads(add_quads(high, low), inverse_norm)]
}

/// First affine map and change of basis: bit to bit sums found by pairing common terms.
fn into_tower(x: Slices) -> [Quad; 2] {
    let (x06, x12, x45) = (x[0] ^ x[6], x[1] ^ x[2], x[4] ^ x[5]);
    let x0126 = x06 ^ x12;
    let (x145, x27, x345) = (x[1] ^ x45, x[2] ^ x[7], x[3] ^ x45);
    let (x01246, x01256, x0456) = (x[4] ^ x0126, x[5] ^ x0126, x06 ^ x45);
    let x0123456 = x0126 ^ x345;
    [[[!x0123456, !x27], [!x[6], x01246]], [[x01256, !x[5]], [x145, x0456]]]
}

/// Change of basis back and second affine map.
fn out_of_tower(inverse: [Quad; 2]) -> Slices {
    let [[[y7, y6], [y5, y4]], [[y3, y2], [y1, y0]]] = inverse;
    let (y04, y13, y67, y02) = (y0 ^ y4, y1 ^ y3, y6 ^ y7, y0 ^ y2);
    let (y067, y12, y15) = (y0 ^ y67, y1 ^ y2, y1 ^ y5);
    [!y02, !(y04 ^ y6), y4 ^ y12, y067, !(y5 ^ y13), y13 ^ y7, !(y04 ^ y15), !(y13 ^ y067 ^ y2 ^ y4)]
}

/// The S-box of every byte in the slices.
pub(crate) fn substitute_slices(bytes: Slices) -> Slices {
    let [high, low] = into_tower(bytes);
    out_of_tower(invert(high, low))
}

/// The S-box of the four bytes of a word.
pub(crate) fn substitute(word: u32) -> u32 {
    const LOWEST_BITS: u32 = 0x0101_0101;
    let slices = core::array::from_fn(|bit| Slice::from((word >> bit) & LOWEST_BITS));
    let substituted = substitute_slices(slices);
    let bits = substituted.iter().enumerate();
    bits.fold(0, |word, (bit, slice)| word | (*slice as u32 & LOWEST_BITS) << bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GB/T 32907-2016 table 1.
    #[rustfmt::skip]
    const SUBSTITUTION: [u8; 256] = [
        0xD6, 0x90, 0xE9, 0xFE, 0xCC, 0xE1, 0x3D, 0xB7, 0x16, 0xB6, 0x14, 0xC2, 0x28, 0xFB, 0x2C, 0x05,
        0x2B, 0x67, 0x9A, 0x76, 0x2A, 0xBE, 0x04, 0xC3, 0xAA, 0x44, 0x13, 0x26, 0x49, 0x86, 0x06, 0x99,
        0x9C, 0x42, 0x50, 0xF4, 0x91, 0xEF, 0x98, 0x7A, 0x33, 0x54, 0x0B, 0x43, 0xED, 0xCF, 0xAC, 0x62,
        0xE4, 0xB3, 0x1C, 0xA9, 0xC9, 0x08, 0xE8, 0x95, 0x80, 0xDF, 0x94, 0xFA, 0x75, 0x8F, 0x3F, 0xA6,
        0x47, 0x07, 0xA7, 0xFC, 0xF3, 0x73, 0x17, 0xBA, 0x83, 0x59, 0x3C, 0x19, 0xE6, 0x85, 0x4F, 0xA8,
        0x68, 0x6B, 0x81, 0xB2, 0x71, 0x64, 0xDA, 0x8B, 0xF8, 0xEB, 0x0F, 0x4B, 0x70, 0x56, 0x9D, 0x35,
        0x1E, 0x24, 0x0E, 0x5E, 0x63, 0x58, 0xD1, 0xA2, 0x25, 0x22, 0x7C, 0x3B, 0x01, 0x21, 0x78, 0x87,
        0xD4, 0x00, 0x46, 0x57, 0x9F, 0xD3, 0x27, 0x52, 0x4C, 0x36, 0x02, 0xE7, 0xA0, 0xC4, 0xC8, 0x9E,
        0xEA, 0xBF, 0x8A, 0xD2, 0x40, 0xC7, 0x38, 0xB5, 0xA3, 0xF7, 0xF2, 0xCE, 0xF9, 0x61, 0x15, 0xA1,
        0xE0, 0xAE, 0x5D, 0xA4, 0x9B, 0x34, 0x1A, 0x55, 0xAD, 0x93, 0x32, 0x30, 0xF5, 0x8C, 0xB1, 0xE3,
        0x1D, 0xF6, 0xE2, 0x2E, 0x82, 0x66, 0xCA, 0x60, 0xC0, 0x29, 0x23, 0xAB, 0x0D, 0x53, 0x4E, 0x6F,
        0xD5, 0xDB, 0x37, 0x45, 0xDE, 0xFD, 0x8E, 0x2F, 0x03, 0xFF, 0x6A, 0x72, 0x6D, 0x6C, 0x5B, 0x51,
        0x8D, 0x1B, 0xAF, 0x92, 0xBB, 0xDD, 0xBC, 0x7F, 0x11, 0xD9, 0x5C, 0x41, 0x1F, 0x10, 0x5A, 0xD8,
        0x0A, 0xC1, 0x31, 0x88, 0xA5, 0xCD, 0x7B, 0xBD, 0x2D, 0x74, 0xD0, 0x12, 0xB8, 0xE5, 0xB4, 0xB0,
        0x89, 0x69, 0x97, 0x4A, 0x0C, 0x96, 0x77, 0x7E, 0x65, 0xB9, 0xF1, 0x09, 0xC5, 0x6E, 0xC6, 0x84,
        0x18, 0xF0, 0x7D, 0xEC, 0x3A, 0xDC, 0x4D, 0x20, 0x79, 0xEE, 0x5F, 0x3E, 0xD7, 0xCB, 0x39, 0x48,
    ];

    #[test]
    fn the_circuit_is_the_published_table() {
        for (input, output) in (0_u8..=255).zip(SUBSTITUTION) {
            let others = [input, !input, input.rotate_left(3), 0];
            let expected = others.map(|byte| SUBSTITUTION[usize::from(byte)]);
            assert_eq!(substitute(u32::from_be_bytes(others)).to_be_bytes(), expected);
            assert_eq!(expected[0], output);
        }
    }
}
