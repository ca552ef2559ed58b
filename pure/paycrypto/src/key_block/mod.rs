//! Key blocks: a key that travels with its purpose, enciphered and authenticated together (ANSI X9.143:2021, which
//! was ASC X9 TR-31; version E from ISO 20038:2017).
//!
//! [`unwrap`] imports versions A to E; [`wrap`] makes B, D and E. Both ask one table ([`PERMITTED`]) whether usage,
//! algorithm and mode of use go together. [`KeyBlockHeader::parse`] reads any well-formed header for showing and
//! judges nothing.
//!
//! Order of an import: form, length, MAC, table, key length, strength. Nothing that the MAC has not vouched for
//! decides more than whether the text is well formed, and no error tells a forger anything about the clear key.

mod binding;
mod combination;
mod content;
mod derivation;
mod error;
mod field;
mod header;
mod hex;
mod key_data;
mod meaning;
mod optional;
mod protection;
mod sealing;
#[cfg(test)]
mod tests;

pub use combination::{PERMITTED, PermittedRow, Verdict, permitted_by_table};
pub use content::{
    BdkIdentifier, BlockContent, Certificate, CertificateFormat, CheckValue, CheckValueMethod, DerivationAllowed,
    HmacHash, KeyLife, Pedigree,
};
pub use derivation::{DerivedKeys, derive_keys};
pub use error::{Field, KeyBlockError, LengthFault};
pub use field::{Algorithm, Exportability, KeyContext, KeyUsage, KeyVersion, ModeOfUse, Version};
pub use header::{HEADER_BYTES, HeaderCodes, KEY_BLOCK_BYTES_MAX, KeyBlockHeader, OPTIONAL_BLOCKS_MAX, ParsedHeader};
pub use key_data::KeyData;
pub use optional::{BlockId, OPTIONAL_BLOCK_DATA_BYTES_MAX, OptionalBlock};
pub use protection::{ProtectionKey, StrengthPolicy, key_strength_bits};
pub use sealing::{
    CombinationPolicy, ImportPolicy, LengthHiding, UnwrappedKey, WrapOptions, padding_bytes_needed, unwrap, wrap,
};
