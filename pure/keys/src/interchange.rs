//! How our keys are called in TR-31 / X9.143 key blocks: one header for each usage and algorithm, and back.

use crate::scheme::encode_enum;
use crate::usage::{Algorithm, Usage};
use machine::wire::{Encode, Malformed, Reader, Writer};

/// Versions of key blocks that may leave. A and C are taken in but never made (X9.143:2021 §6.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyBlockVersion {
    /// TDES, key derivation.
    B,
    /// AES-CBC, key derivation.
    D,
    /// AES-CTR, key derivation (ISO 20038).
    E,
}
encode_enum!(KeyBlockVersion { B = 1, D = 2, E = 3 });

/// Methods of check values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CheckMethod {
    /// Leading three bytes of the enciphered zero block (X9.24-1 §7.7): DES, TDES, AES, SM4.
    Legacy,
    /// Leading five bytes of the CMAC of a zero block (X9.24-1:2017 annex A): TDES, AES, SM4.
    Cmac,
}
encode_enum!(CheckMethod { Legacy = 1, Cmac = 2 });

/// Usage, algorithm and mode of use as a key block's header writes them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InterchangeHeader {
    /// Two characters (X9.143:2021 table 2).
    pub usage: [u8; 2],
    /// One character (table 3).
    pub algorithm: u8,
    /// One character (table 4).
    pub mode_of_use: u8,
}

/// The header under which a key of this usage and algorithm travels; none if it never travels in a key block: PIN
/// references are our own, and X9.143 has no letter for SM4.
///
/// A key encryption key is `K0` `B`; a terminal master key is `K0` `D`, since the copy that travels is the terminal's,
/// which only unwraps.
pub fn interchange_header(usage: Usage, algorithm: Algorithm) -> Option<InterchangeHeader> {
    if !usage.suits(algorithm) {
        return None;
    }
    let letter = match algorithm {
        Algorithm::Des => b'D',
        Algorithm::TdesDouble | Algorithm::TdesTriple => b'T',
        Algorithm::Aes128 | Algorithm::Aes192 | Algorithm::Aes256 => b'A',
        Algorithm::HmacSha256 => b'H',
        Algorithm::Sm4 => return None,
    };
    let (code, mode_of_use) = match usage {
        Usage::TerminalMaster => (b"K0", b'D'),
        Usage::PinEncryption => (b"P0", b'B'),
        Usage::MessageMac if algorithm == Algorithm::Des => (b"M1", b'C'),
        Usage::MessageMac => (b"M3", b'C'),
        Usage::TrackEncryption => (b"D0", b'B'),
        Usage::KeyEncryption => (b"K0", b'B'),
        Usage::IssuerMasterAc => (b"E0", b'X'),
        Usage::IssuerMasterMac => (b"E2", b'X'),
        Usage::IssuerMasterEncipherment => (b"E1", b'X'),
        Usage::PinReference => return None,
        Usage::BaseDerivation => (b"B0", b'X'),
        Usage::DukptInitial => (b"B1", b'X'),
        Usage::PinVerificationValue => (b"V2", b'C'),
        Usage::PinOffset => (b"V1", b'C'),
        Usage::CardVerification => (b"C0", b'C'),
        Usage::IssuerMasterDynamicNumber => (b"E4", b'X'),
        Usage::KeyBlockProtection => (b"K1", b'B'),
        Usage::MessageCmac => (b"M6", b'C'),
        Usage::MessageHmac => (b"M7", b'C'),
    };
    Some(InterchangeHeader { usage: *code, algorithm: letter, mode_of_use })
}

/// Usage and algorithm behind a key block's header and key length; none if they are not ours exactly.
pub fn from_interchange(header: &InterchangeHeader, key_bytes: usize) -> Option<(Usage, Algorithm)> {
    let pairs = Usage::ALL.into_iter().flat_map(|usage| Algorithm::ALL.map(|algorithm| (usage, algorithm)));
    let fits = |(usage, algorithm): &(Usage, Algorithm)| {
        algorithm.key_bytes() == key_bytes && interchange_header(*usage, *algorithm).as_ref() == Some(header)
    };
    pairs.into_iter().find(fits)
}

/// The table as text: one line for each usage and algorithm that go together.
pub fn interchange_table() -> String {
    let mut table = String::new();
    for usage in Usage::ALL {
        for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| usage.suits(*algorithm)) {
            let header = interchange_header(usage, algorithm).map_or("-".to_owned(), |header| {
                let [first, second] = header.usage.map(char::from);
                format!("{first}{second} {} {}", char::from(header.algorithm), char::from(header.mode_of_use))
            });
            table.push_str(&format!("{:<10} {:<12} {header}\n", usage.name(), format!("{algorithm:?}")));
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_reviewed_one() {
        assert_eq!(interchange_table(), include_str!("interchange.golden"));
    }

    #[test]
    fn every_header_leads_back_to_its_key_and_to_no_other() {
        let mut seen = Vec::new();
        for usage in Usage::ALL {
            for algorithm in Algorithm::ALL {
                let Some(header) = interchange_header(usage, algorithm) else { continue };
                assert_eq!(from_interchange(&header, algorithm.key_bytes()), Some((usage, algorithm)));
                assert!(
                    !seen.contains(&(header, algorithm.key_bytes())),
                    "{usage:?} {algorithm:?} has another's header"
                );
                seen.push((header, algorithm.key_bytes()));
            }
        }
        let unrestricted = InterchangeHeader { usage: *b"P0", algorithm: b'T', mode_of_use: b'N' };
        assert_eq!(from_interchange(&unrestricted, 16), None);
    }
}
