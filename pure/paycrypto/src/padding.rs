//! The three paddings of ISO/IEC 9797-1:2011 §6.3.

use crate::CryptoError;

const MARKER: u8 = 0x80;

/// How data is filled up to whole blocks before a MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// Method 1: zero bytes, none if already whole blocks; no data gives one block of zeros.
    Zeros,
    /// Method 2: a byte 80, then zeros. Always adds something.
    Marker,
    /// Method 3: a leading block with the length in bits, then method 1.
    LengthPrefix,
}

impl Padding {
    /// The method with this number in ISO/IEC 9797-1.
    ///
    /// # Errors
    /// [`CryptoError::Parameter`] if there is no such method.
    pub fn from_method_number(number: u64) -> Result<Self, CryptoError> {
        match number {
            1 => Ok(Self::Zeros),
            2 => Ok(Self::Marker),
            3 => Ok(Self::LengthPrefix),
            _ => Err(CryptoError::Parameter),
        }
    }
}

/// Pads a copy of `data` to whole blocks of `block_bytes`.
///
/// # Errors
/// [`CryptoError::Parameter`] if a block has no bytes, [`CryptoError::DataLength`] if the length in bits does not
/// fit the block that method 3 writes it to.
pub fn pad(data: &[u8], padding: Padding, block_bytes: usize) -> Result<Vec<u8>, CryptoError> {
    if block_bytes == 0 {
        return Err(CryptoError::Parameter);
    }
    let mut padded = Vec::with_capacity(data.len().saturating_add(2 * block_bytes));
    if padding == Padding::LengthPrefix {
        padded.extend(length_block(data.len(), block_bytes)?);
    }
    padded.extend_from_slice(data);
    if padding == Padding::Marker {
        padded.push(MARKER);
    }
    let blocks = padded.len().div_ceil(block_bytes);
    let at_least = if padding == Padding::LengthPrefix { 2 } else { 1 };
    padded.resize(blocks.max(at_least) * block_bytes, 0);
    Ok(padded)
}

fn length_block(data_bytes: usize, block_bytes: usize) -> Result<Vec<u8>, CryptoError> {
    let bits = (data_bytes as u128 * 8).to_be_bytes();
    let mut block = vec![0; block_bytes];
    let kept = block_bytes.min(bits.len());
    let (dropped, written) = bits.split_at(bits.len() - kept);
    if dropped.iter().any(|byte| *byte != 0) {
        return Err(CryptoError::DataLength(data_bytes));
    }
    block[block_bytes - kept..].copy_from_slice(written);
    Ok(block)
}

/// Feeds the padded blocks of `data` to `absorb` in runs as long as they come, without copying the data.
pub(crate) fn for_each_padded_run<const N: usize>(data: &[u8], padding: Padding, mut absorb: impl FnMut(&[[u8; N]])) {
    if padding == Padding::LengthPrefix {
        let mut block = [0; N];
        let bits = (data.len() as u64).wrapping_mul(8).to_be_bytes();
        block[N - bits.len()..].copy_from_slice(&bits);
        absorb(&[block]);
    }
    let (blocks, rest) = data.as_chunks::<N>();
    absorb(blocks);
    let mut last = [0; N];
    last[..rest.len()].copy_from_slice(rest);
    if padding == Padding::Marker {
        last[rest.len()] = MARKER;
        absorb(&[last]);
    } else if !rest.is_empty() || data.is_empty() {
        absorb(&[last]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn streaming_equals_copying(data: Vec<u8>, method in 1_u64..=3) {
            let padding = Padding::from_method_number(method).unwrap();
            let mut streamed = Vec::new();
            for_each_padded_run::<8>(&data, padding, |run| streamed.extend_from_slice(run.as_flattened()));
            prop_assert_eq!(streamed, pad(&data, padding, 8).unwrap());
        }
    }

    #[test]
    fn a_length_that_does_not_fit_is_refused() {
        assert_eq!(pad(&[0; 32], Padding::LengthPrefix, 1).err(), Some(CryptoError::DataLength(32)));
        assert_eq!(pad(&[], Padding::Zeros, 0).err(), Some(CryptoError::Parameter));
    }
}
