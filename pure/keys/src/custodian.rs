//! The people who hold key components.

use machine::wire::{Encode, Malformed, Reader, Writer};
use types::SecretBytes;

/// Longest custodian name in bytes.
pub const CUSTODIAN_NAME_BYTES_MAX: usize = 32;
/// Shortest passphrase of a custodian, in bytes.
pub const CUSTODIAN_PASSPHRASE_BYTES_MIN: usize = 14;
/// Longest passphrase of a custodian, in bytes.
pub const CUSTODIAN_PASSPHRASE_BYTES_MAX: usize = 1024;
/// Most custodians of one vault.
pub const CUSTODIANS_MAX: usize = 64;

/// A custodian's name: 1–32 of `a-z`, `0-9`, `.`, `_`, `-`. One spelling only, so that nobody is two people.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CustodianName(String);

impl CustodianName {
    /// Checks length and alphabet.
    pub fn new(name: impl Into<String>) -> Option<Self> {
        let name = name.into();
        let fits = !name.is_empty() && name.len() <= CUSTODIAN_NAME_BYTES_MAX;
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        (fits && name.bytes().all(allowed)).then_some(Self(name))
    }

    /// The name.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl core::fmt::Display for CustodianName {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Encode for CustodianName {
    fn encode(&self, writer: &mut Writer) {
        writer.text(&self.0);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let text = reader.text()?;
        Self::new(text).ok_or_else(|| reader.malformed("a custodian's name"))
    }
}

/// A custodian who says who they are.
#[derive(Debug)]
pub struct CustodianProof {
    /// Who.
    pub name: CustodianName,
    /// Their passphrase.
    pub passphrase: SecretBytes,
}

impl Encode for CustodianProof {
    fn encode(&self, writer: &mut Writer) {
        writer.value(&self.name).bytes(self.passphrase.expose());
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { name: reader.value()?, passphrase: reader.secret()? })
    }
}

/// One line of the list of custodians.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CustodianLine {
    /// Who.
    pub name: CustodianName,
    /// Unix time in milliseconds of the registration.
    pub since_ms: u64,
    /// Who vouched; nobody for the first two.
    pub approved_by: Option<CustodianName>,
}

impl Encode for CustodianLine {
    fn encode(&self, writer: &mut Writer) {
        writer.value(&self.name).u64(self.since_ms);
        writer.option(self.approved_by.as_ref(), |writer, name| {
            writer.value(name);
        });
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { name: reader.value()?, since_ms: reader.u64()?, approved_by: reader.option(Reader::value)? })
    }
}

/// The custodians of a vault, by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CustodianList(pub Vec<CustodianLine>);

impl Encode for CustodianList {
    fn encode(&self, writer: &mut Writer) {
        writer.list(&self.0, |writer, line| {
            writer.value(line);
        });
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        reader.list(Reader::value).map(Self)
    }
}

/// Types of this file, of audit and of ceremonies travel as they encode themselves.
macro_rules! parts {
    ($($type:ty),* $(,)?) => { $(
        impl $crate::part::Part for $type {
            fn write(&self, writer: &mut machine::wire::Writer) {
                machine::wire::Encode::encode(self, writer);
            }
            fn read(reader: &mut machine::wire::Reader<'_>) -> Result<Self, machine::wire::Malformed> {
                <$type as machine::wire::Encode>::decode(reader)
            }
        }
    )* };
}
pub(crate) use parts;
parts!(CustodianName, CustodianProof, CustodianList);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_spelling() {
        for right in ["li.wei", "a", "x-1_2", &"z".repeat(CUSTODIAN_NAME_BYTES_MAX)] {
            assert!(CustodianName::new(right).is_some(), "{right}");
        }
        for wrong in ["", "Li", "a b", "a\n", "é", &"z".repeat(CUSTODIAN_NAME_BYTES_MAX + 1)] {
            assert!(CustodianName::new(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_proof_does_not_print() {
        let name = CustodianName::new("li").unwrap();
        let proof = CustodianProof { name, passphrase: SecretBytes::copy_from(b"open sesame, please") };
        assert!(!format!("{proof:?}").contains("sesame"));
    }
}
