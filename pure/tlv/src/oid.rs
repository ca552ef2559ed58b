//! Object identifiers, as key files and certificates carry them (ISO/IEC 8825-1 §8.19).

use thiserror::Error;

const MORE_BIT: u8 = 0x80;
const GROUP_BITS: u32 = 7;
const ROOT_FACTOR: u32 = 40;

/// Why a dotted identifier cannot be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OidError {
    /// A part is empty, not a number, or above 2³²−1.
    #[error("part {index} is not a number")]
    Part {
        /// Which part, from 0.
        index: usize,
    },
    /// Fewer than two parts, a root above 2, or a second part above 39 under roots 0 and 1.
    #[error("no such root arc")]
    Root,
}

/// Encodes `1.2.840…` as the contents octets of an OBJECT IDENTIFIER.
///
/// # Errors
/// See [`OidError`].
pub fn encode(dotted: &str) -> Result<Vec<u8>, OidError> {
    let parts = dotted
        .split('.')
        .enumerate()
        .map(|(index, part)| part.parse::<u32>().map_err(|_| OidError::Part { index }))
        .collect::<Result<Vec<_>, _>>()?;
    let [root, second, rest @ ..] = &parts[..] else {
        return Err(OidError::Root);
    };
    if *root > 2 || (*root < 2 && *second >= ROOT_FACTOR) {
        return Err(OidError::Root);
    }
    let mut bytes = Vec::new();
    write_base128(u64::from(root * ROOT_FACTOR) + u64::from(*second), &mut bytes);
    for &part in rest {
        write_base128(u64::from(part), &mut bytes);
    }
    Ok(bytes)
}

fn write_base128(value: u64, out: &mut Vec<u8>) {
    let bits = u64::BITS - value.leading_zeros();
    let groups = bits.div_ceil(GROUP_BITS).max(1);
    for group in (0..groups).rev() {
        let septet = (value >> (group * GROUP_BITS)) as u8 & !MORE_BIT;
        out.push(if group == 0 { septet } else { septet | MORE_BIT });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_identifiers() {
        assert_eq!(encode("1.2.156.10197.1.301"), Ok(vec![0x2A, 0x81, 0x1C, 0xCF, 0x55, 0x01, 0x82, 0x2D]));
        assert_eq!(encode("2.999"), Ok(vec![0x88, 0x37]));
    }

    #[test]
    fn impossible_ones_are_refused() {
        for dotted in ["", "1", "3.1", "1.40", "1.x", "1..2"] {
            assert!(encode(dotted).is_err(), "{dotted}");
        }
    }
}
