//! Two passes that bring a key into a terminal: its request, and the host's token (`docs/wire/remote-load.md`).
//!
//! Both are canonical: one value has one encoding, and the signature covers all bytes before it.

use crate::audit::{PUBLIC_KEY_BYTES, SIGNATURE_BYTES};
use crate::block::{KeyCheckValue, KeyHeader, Owner};
use crate::usage::Usage;
use machine::wire::{Encode, Malformed, Reader, Writer};

/// Length of a terminal's nonce in bytes.
pub const LOAD_NONCE_BYTES: usize = 16;
/// Largest RSA public key in a request, in DER bytes.
pub const LOAD_PUBLIC_KEY_BYTES_MAX: usize = 2048;
/// Largest envelope in a token, in bytes (RSA-8192).
pub const LOAD_ENVELOPE_BYTES_MAX: usize = 1024;
/// Usages that may be brought into a terminal this way.
pub const LOADABLE_USAGES: &[Usage] = &[Usage::TerminalMaster, Usage::KeyEncryption];

const VERSION: u8 = 1;
const REQUEST_DOMAIN: &[u8] = b"irontill load request 1\0";
const TOKEN_DOMAIN: &[u8] = b"irontill load token 1\0";
const ENVELOPE_DOMAIN: &[u8] = b"irontill load envelope 1\0";

/// First pass: a terminal asks for a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadRequest {
    /// Whose keys the terminal's vault takes: the terminal id.
    pub owner: Owner,
    /// The terminal's identity (Ed25519), known to the host from the enrolment.
    pub terminal: [u8; PUBLIC_KEY_BYTES],
    /// Drawn for this request.
    pub nonce: [u8; LOAD_NONCE_BYTES],
    /// RSA key to envelope to, drawn for this request, SubjectPublicKeyInfo DER.
    pub transport_key: Vec<u8>,
}

impl Encode for LoadRequest {
    fn encode(&self, writer: &mut Writer) {
        writer.u8(VERSION).text(self.owner.text()).raw(&self.terminal).raw(&self.nonce).bytes(&self.transport_key);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        if reader.u8()? != VERSION {
            return Err(reader.malformed("load request version 1"));
        }
        let owner = Owner::new(reader.text()?).ok_or_else(|| reader.malformed("a key owner"))?;
        let terminal = reader.array("a terminal's identity")?;
        let nonce = reader.array("a nonce")?;
        let transport_key = reader.bytes()?.to_vec();
        if transport_key.len() > LOAD_PUBLIC_KEY_BYTES_MAX {
            return Err(reader.malformed("a bounded public key"));
        }
        Ok(Self { owner, terminal, nonce, transport_key })
    }
}

/// Second pass: the host's answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadToken {
    /// What the terminal's vault shall say of the key.
    pub header: KeyHeader,
    /// The terminal that it is for.
    pub terminal: [u8; PUBLIC_KEY_BYTES],
    /// The terminal's nonce.
    pub nonce: [u8; LOAD_NONCE_BYTES],
    /// The distribution host that made it (Ed25519).
    pub host: [u8; PUBLIC_KEY_BYTES],
    /// Unix time in seconds when it was made.
    pub issued_s: u64,
    /// Unix time in seconds after which it is refused.
    pub expires_s: u64,
    /// Check value of the key.
    pub check: KeyCheckValue,
    /// The key: RSAES-OAEP, SHA-256, label [`LoadToken::envelope_label_input`] hashed.
    pub envelope: Vec<u8>,
}

impl LoadToken {
    fn encode_head(&self, writer: &mut Writer) {
        writer.u8(VERSION).value(&self.header).raw(&self.terminal).raw(&self.nonce).raw(&self.host);
        writer.u64(self.issued_s).u64(self.expires_s).raw(&self.check.0);
    }

    /// What the envelope is bound to: everything of the token but the envelope. Its SHA-256 is the OAEP label.
    pub fn envelope_label_input(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.raw(ENVELOPE_DOMAIN);
        self.encode_head(&mut writer);
        writer.into_bytes()
    }
}

impl Encode for LoadToken {
    fn encode(&self, writer: &mut Writer) {
        self.encode_head(writer);
        writer.bytes(&self.envelope);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        if reader.u8()? != VERSION {
            return Err(reader.malformed("load token version 1"));
        }
        let header = reader.value()?;
        let terminal = reader.array("a terminal's identity")?;
        let nonce = reader.array("a nonce")?;
        let host = reader.array("a distribution host")?;
        let (issued_s, expires_s) = (reader.u64()?, reader.u64()?);
        let check = KeyCheckValue(reader.array("a key check value")?);
        let envelope = reader.bytes()?.to_vec();
        if envelope.len() > LOAD_ENVELOPE_BYTES_MAX {
            return Err(reader.malformed("a bounded envelope"));
        }
        Ok(Self { header, terminal, nonce, host, issued_s, expires_s, check, envelope })
    }
}

/// A request or token with its signature, as it travels.
pub trait Signed: Encode {
    /// Separates what is signed here from all else that is signed.
    const DOMAIN: &'static [u8];

    /// The bytes that are signed.
    fn signed_bytes(&self) -> Vec<u8> {
        [Self::DOMAIN, &self.to_bytes()].concat()
    }

    /// Encoding and signature.
    fn with_signature(&self, signature: &[u8; SIGNATURE_BYTES]) -> Vec<u8> {
        let mut bytes = self.to_bytes();
        bytes.extend_from_slice(signature);
        bytes
    }

    /// Value and signature, which has not been checked.
    fn split(bytes: &[u8]) -> Result<(Self, [u8; SIGNATURE_BYTES]), Malformed> {
        let missing = Malformed { offset: bytes.len(), what: "a signature" };
        let (body, signature) = bytes.split_last_chunk::<SIGNATURE_BYTES>().ok_or(missing)?;
        Ok((Self::from_bytes(body)?, *signature))
    }
}

impl Signed for LoadRequest {
    const DOMAIN: &'static [u8] = REQUEST_DOMAIN;
}

impl Signed for LoadToken {
    const DOMAIN: &'static [u8] = TOKEN_DOMAIN;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Validity;
    use crate::usage::Algorithm;

    fn token() -> LoadToken {
        LoadToken {
            header: KeyHeader {
                usage: Usage::TerminalMaster,
                algorithm: Algorithm::TdesDouble,
                exportable: false,
                owner: Owner::new("10000001").unwrap(),
                version: 2,
                validity: Validity::ALWAYS,
            },
            terminal: [1; 32],
            nonce: [2; 16],
            host: [3; 32],
            issued_s: 4,
            expires_s: 5,
            check: KeyCheckValue([6; 4]),
            envelope: vec![7; 384],
        }
    }

    #[test]
    fn both_passes_come_back_and_have_one_encoding() {
        let owner = Owner::new("10000001").unwrap();
        let request = LoadRequest { owner, terminal: [1; 32], nonce: [2; 16], transport_key: vec![3; 422] };
        let bytes = request.with_signature(&[9; 64]);
        assert_eq!(LoadRequest::split(&bytes), Ok((request, [9; 64])));
        let bytes = token().with_signature(&[9; 64]);
        assert_eq!(LoadToken::split(&bytes), Ok((token(), [9; 64])));
        // A byte cut off the end moves the signature into the body, where it does not fit.
        assert!((0..bytes.len()).all(|length| LoadToken::split(&bytes[..length]).is_err()));
    }

    #[test]
    fn the_envelope_is_bound_to_everything_else() {
        let label = token().envelope_label_input();
        let mut other = token();
        other.header.exportable = true;
        assert_ne!(other.envelope_label_input(), label);
        other = token();
        other.expires_s += 1;
        assert_ne!(other.envelope_label_input(), label);
        other = token();
        other.envelope = vec![8; 384];
        assert_eq!(other.envelope_label_input(), label);
    }
}
