//! What a sealed secret looks like outside the TPM, and inside it.

use keys::CustodyFailure;
use machine::wire::{Encode, Malformed, Reader, Writer};
use sha2::{Digest, Sha256};
use types::SecretBytes;

const VERSION: u8 = 1;
const LABEL_DIGEST_BYTES: usize = 32;

/// A sealed secret: which key and machine state it needs, and the TPM's two halves of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSecret {
    /// Name of the storage key.
    pub parent_name: Vec<u8>,
    /// Platform configuration registers of its policy, as a mask.
    pub pcr_mask: u32,
    /// `TPMT_PUBLIC`, marshalled.
    pub public: Vec<u8>,
    /// `TPM2B_PRIVATE`'s content.
    pub private: Vec<u8>,
}

impl Encode for SealedSecret {
    fn encode(&self, writer: &mut Writer) {
        writer.u8(VERSION).bytes(&self.parent_name).u32(self.pcr_mask).bytes(&self.public).bytes(&self.private);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        if reader.u8()? != VERSION {
            return Err(reader.malformed("sealed secret version 1"));
        }
        let parent_name = reader.bytes()?.to_vec();
        let pcr_mask = reader.u32()?;
        Ok(Self { parent_name, pcr_mask, public: reader.bytes()?.to_vec(), private: reader.bytes()?.to_vec() })
    }
}

fn digest_of(label: &[u8]) -> [u8; LABEL_DIGEST_BYTES] {
    Sha256::new().chain_update(b"irontill tpm label 1\0").chain_update(label).finalize().into()
}

/// What goes into the TPM: the label's digest and the secret. A TPM binds sealed data to no label of its own.
pub fn with_label(label: &[u8], secret: &SecretBytes) -> SecretBytes {
    SecretBytes::new([&digest_of(label)[..], secret.expose()].concat())
}

/// The secret, if it was sealed under this label.
pub fn without_label(label: &[u8], content: &[u8]) -> Result<SecretBytes, CustodyFailure> {
    match content.split_first_chunk::<LABEL_DIGEST_BYTES>() {
        // The label is no secret, so the comparison may take its time.
        Some((digest, secret)) if *digest == digest_of(label) => Ok(SecretBytes::copy_from(secret)),
        _ => Err(CustodyFailure::NotAuthentic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_keeps_its_label() {
        let secret = SecretBytes::copy_from(b"secret");
        let content = with_label(b"one", &secret);
        assert!(without_label(b"one", content.expose()).unwrap().matches(&secret));
        assert_eq!(without_label(b"two", content.expose()).unwrap_err(), CustodyFailure::NotAuthentic);
        assert_eq!(without_label(b"one", &content.expose()[..31]).unwrap_err(), CustodyFailure::NotAuthentic);
    }

    #[test]
    fn a_sealed_secret_survives_the_file() {
        let sealed =
            SealedSecret { parent_name: vec![1; 34], pcr_mask: 0x81, public: vec![2; 78], private: vec![3; 190] };
        let bytes = sealed.to_bytes();
        assert_eq!(SealedSecret::from_bytes(&bytes).unwrap(), sealed);
        assert!((0..bytes.len()).all(|length| SealedSecret::from_bytes(&bytes[..length]).is_err()));
    }
}
