//! CVM List, tag 8E: how the cardholder may be verified (EMV 4.4 Book 3 §10.5).

use thiserror::Error;

/// Bytes of the two amounts before the rules.
pub const AMOUNTS_BYTES: usize = 8;
/// Bytes of one rule.
pub const RULE_BYTES: usize = 2;

const APPLY_NEXT_BIT: u8 = 0x40;
const METHOD_MASK: u8 = 0x3F;

/// Why a CVM list is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CvmListError {
    /// Shorter than the two amounts.
    #[error("CVM list of {length} bytes has no room for its amounts")]
    Amounts {
        /// Bytes given.
        length: usize,
    },
    /// No rule at all.
    #[error("CVM list has no rule")]
    NoRule,
    /// The last rule is cut.
    #[error("CVM list ends inside a rule at offset {offset}")]
    Truncated {
        /// Where the incomplete rule begins.
        offset: usize,
    },
}

/// One cardholder verification rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CvRule {
    /// First byte as it stands.
    pub code: u8,
    /// Second byte: when the rule applies.
    pub condition: u8,
}

impl CvRule {
    /// The method, the code without the bit that says what happens on failure (EMV 4.4 Book 3 Annex C3).
    pub fn method(self) -> u8 {
        self.code & METHOD_MASK
    }

    /// On failure the next rule applies; otherwise cardholder verification has failed.
    pub fn apply_next_if_unsuccessful(self) -> bool {
        self.code & APPLY_NEXT_BIT != 0
    }
}

/// A CVM list with at least one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CvmList {
    /// Amount X, in minor units of the application currency.
    pub amount_x_minor: u32,
    /// Amount Y, in minor units of the application currency.
    pub amount_y_minor: u32,
    /// The rules in order.
    pub rules: Vec<CvRule>,
}

impl CvmList {
    /// Reads the value of tag 8E.
    ///
    /// # Errors
    /// See [`CvmListError`].
    pub fn parse(bytes: &[u8]) -> Result<CvmList, CvmListError> {
        let (&[x0, x1, x2, x3, y0, y1, y2, y3], rules) =
            bytes.split_first_chunk::<AMOUNTS_BYTES>().ok_or(CvmListError::Amounts { length: bytes.len() })?;
        if rules.is_empty() {
            return Err(CvmListError::NoRule);
        }
        let rules = rules
            .chunks(RULE_BYTES)
            .enumerate()
            .map(|(index, chunk)| match *chunk {
                [code, condition] => Ok(CvRule { code, condition }),
                _ => Err(CvmListError::Truncated { offset: AMOUNTS_BYTES + index * RULE_BYTES }),
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(CvmList {
            amount_x_minor: u32::from_be_bytes([x0, x1, x2, x3]),
            amount_y_minor: u32::from_be_bytes([y0, y1, y2, y3]),
            rules,
        })
    }

    /// The value of tag 8E.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(AMOUNTS_BYTES + self.rules.len() * RULE_BYTES);
        bytes.extend_from_slice(&self.amount_x_minor.to_be_bytes());
        bytes.extend_from_slice(&self.amount_y_minor.to_be_bytes());
        for rule in &self.rules {
            bytes.extend_from_slice(&[rule.code, rule.condition]);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_odd_list_is_refused() {
        assert_eq!(
            CvmList::parse(&[0, 0, 0, 0, 0, 0, 0, 0, 0x1F, 0x00, 0x42]),
            Err(CvmListError::Truncated { offset: 10 })
        );
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_encodes_to_itself(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(list) = CvmList::parse(&bytes) {
                prop_assert_eq!(list.encode(), bytes);
            }
        }
    }
}
