//! `cipher`, `sm3`: block ciphers in every mode, and the national hash.

use super::cipher::{Cipher, CipherName, with_cipher};
use super::report::Report;
use super::{Calculate, input};
use crate::verdict::Misuse;
use clap::{Args, ValueEnum};
use paycrypto::gcm::{GCM_TAG_BYTES, Gcm};
use paycrypto::stream::{ctr, decrypt_cfb, encrypt_cfb, ofb};
use paycrypto::{AES_BLOCK_BYTES, BlockCipher, CryptoError, ccm, decrypt_cbc, decrypt_ecb, encrypt_cbc, encrypt_ecb};

/// Modes by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ModeName {
    /// Each block by itself.
    Ecb,
    /// Chained.
    Cbc,
    /// Counter.
    Ctr,
    /// Cipher feedback of whole blocks.
    Cfb,
    /// Output feedback.
    Ofb,
    /// Galois/counter, with a tag.
    Gcm,
    /// Counter with CBC-MAC, with a tag.
    Ccm,
}

impl ModeName {
    fn is_authenticated(self) -> bool {
        matches!(self, Self::Gcm | Self::Ccm)
    }

    fn clause(self) -> &'static str {
        match self {
            Self::Ecb | Self::Cbc | Self::Ctr | Self::Cfb | Self::Ofb => "NIST SP 800-38A §6; GB/T 17964",
            Self::Gcm => "NIST SP 800-38D §7",
            Self::Ccm => "NIST SP 800-38C §6",
        }
    }
}

/// TDES, AES or SM4 in any mode.
#[derive(Args)]
pub struct CipherArguments {
    /// Cipher.
    #[arg(long)]
    cipher: CipherName,
    /// Mode.
    #[arg(long)]
    mode: ModeName,
    /// Key.
    #[arg(long)]
    key: String,
    /// Initial value, first counter or nonce; zeros if not said.
    #[arg(long)]
    iv: Option<String>,
    /// Data, in hex or as `text:…`; not padded.
    #[arg(long)]
    data: String,
    /// Deciphers.
    #[arg(long)]
    decipher: bool,
    /// Associated data (gcm, ccm).
    #[arg(long, default_value = "")]
    aad: String,
    /// Tag to verify (gcm, ccm, with --decipher).
    #[arg(long)]
    tag: Option<String>,
    /// Length of the tag in bytes (ccm).
    #[arg(long, default_value_t = GCM_TAG_BYTES)]
    tag_bytes: usize,
}

/// One application of a mode without a tag.
fn plain<const N: usize>(
    cipher: &impl BlockCipher<N>,
    mode: ModeName,
    iv: [u8; N],
    data: &mut [u8],
    decipher: bool,
) -> Result<(), CryptoError> {
    match (mode, decipher) {
        (ModeName::Ecb, false) => encrypt_ecb(cipher, data)?,
        (ModeName::Ecb, true) => decrypt_ecb(cipher, data)?,
        (ModeName::Cbc, false) => encrypt_cbc(cipher, iv, data)?,
        (ModeName::Cbc, true) => decrypt_cbc(cipher, iv, data)?,
        (ModeName::Ctr, _) => ctr(cipher, iv, data),
        (ModeName::Ofb, _) => ofb(cipher, iv, data),
        (ModeName::Cfb, false) => encrypt_cfb(cipher, iv, data),
        (ModeName::Cfb, true) => decrypt_cfb(cipher, iv, data),
        (ModeName::Gcm | ModeName::Ccm, _) => return Err(CryptoError::Parameter),
    }
    Ok(())
}

fn sized<const N: usize>(bytes: &[u8]) -> Result<[u8; N], CryptoError> {
    bytes.try_into().map_err(|_| CryptoError::DataLength(bytes.len()))
}

/// An authenticated mode; gives the tag that was made, nothing if one was verified.
struct Authenticated<'a> {
    mode: ModeName,
    nonce: &'a [u8],
    associated: &'a [u8],
    tag: Option<&'a [u8]>,
    tag_bytes: usize,
}

impl Authenticated<'_> {
    fn apply(&self, cipher: &impl BlockCipher<AES_BLOCK_BYTES>, data: &mut [u8]) -> Result<Vec<u8>, CryptoError> {
        let (nonce, associated) = (self.nonce, self.associated);
        match (self.mode, self.tag) {
            (ModeName::Gcm, None) => Gcm::new(cipher).seal(nonce, associated, data).map(|tag| tag.to_vec()),
            (ModeName::Gcm, Some(tag)) => Gcm::new(cipher).open(nonce, associated, data, tag).map(|()| Vec::new()),
            (_, None) => ccm::seal(cipher, nonce, associated, data, self.tag_bytes),
            (_, Some(tag)) => ccm::open(cipher, nonce, associated, data, tag).map(|()| Vec::new()),
        }
    }
}

impl CipherArguments {
    fn report(&self, key: &[u8], iv: &[u8], data: &[u8]) -> Report {
        let mode = self.mode.to_possible_value().map_or_else(String::new, |mode| mode.get_name().to_uppercase());
        Report::new("cipher")
            .with("cipher", self.cipher.text())
            .with("mode", &mode)
            .with("key", key)
            .with("iv", iv)
            .with("data", data)
    }

    fn unauthenticated(&self, cipher: &Cipher, key: &[u8], mut data: Vec<u8>) -> Result<Report, Misuse> {
        let given = self.iv.as_deref().map(|text| input::hex("iv", text)).transpose()?;
        let iv = given.unwrap_or_else(|| vec![0; cipher.block_bytes()]);
        if iv.len() != cipher.block_bytes() {
            return Err(input::misuse("iv", format!("{} bytes, expected {}", iv.len(), cipher.block_bytes())));
        }
        let mut report = self.report(key, &iv, &data);
        with_cipher!(cipher, key => sized(&iv).and_then(|iv| plain(key, self.mode, iv, &mut data, self.decipher)))
            .map_err(input::refused("data"))?;
        for (number, block) in (1..).zip(data.chunks(cipher.block_bytes())) {
            report.step(format!("block {number}"), block, self.mode.clause());
        }
        Ok(report.result(&data))
    }

    fn authenticated(&self, cipher: &Cipher, key: &[u8], mut data: Vec<u8>) -> Result<Report, Misuse> {
        let nonce = input::hex("iv", input::needed("iv", &self.iv)?)?;
        let associated = input::message("aad", &self.aad)?;
        let tag = match (self.decipher, &self.tag) {
            (true, tag) => Some(input::hex("tag", input::needed("tag", tag)?)?),
            (false, _) => None,
        };
        let mut report = self.report(key, &nonce, &data).with("aad", &associated).with_given("tag", &self.tag);
        let mode = Authenticated {
            mode: self.mode,
            nonce: &nonce,
            associated: &associated,
            tag: tag.as_deref(),
            tag_bytes: self.tag_bytes,
        };
        let done = match cipher {
            Cipher::Tdes(_) => return Err(input::misuse("cipher", "gcm and ccm need blocks of 16 bytes")),
            Cipher::Aes(key) => mode.apply(key, &mut data),
            Cipher::Sm4(key) => mode.apply(key, &mut data),
        };
        match done {
            Ok(made) => {
                report.step("text", &data, self.mode.clause());
                if !self.decipher {
                    report.step("tag", &made, self.mode.clause());
                }
                let result = [data, made].concat();
                Ok(report.result(&result))
            }
            Err(error @ CryptoError::Integrity) => Ok(report.result(&error.to_string()).holding(false)),
            Err(error) => Err(input::misuse("iv", error)),
        }
    }
}

impl Calculate for CipherArguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let lengths = match self.cipher {
            CipherName::Tdes => input::TDES_KEYS,
            CipherName::Aes => input::AES_KEYS,
            CipherName::Sm4 => input::DOUBLE_KEYS,
        };
        let bytes = input::key("key", &self.key, lengths)?;
        let cipher = Cipher::new(self.cipher, &bytes).map_err(input::refused("key"))?;
        let data = input::message("data", &self.data)?;
        if self.mode.is_authenticated() {
            self.authenticated(&cipher, &bytes, data)
        } else {
            self.unauthenticated(&cipher, &bytes, data)
        }
    }
}

/// The SM3 hash.
#[derive(Args)]
pub struct Sm3Arguments {
    /// Message, in hex or as `text:…`.
    #[arg(long)]
    message: String,
}

impl Calculate for Sm3Arguments {
    fn calculate(&self) -> Result<Report, Misuse> {
        let message = input::message("message", &self.message)?;
        let mut report = Report::new("sm3").with("message", &message);
        let digest = paycrypto::sm3(&[&message]);
        report.step("length of the message in bits", &(message.len() * 8).to_string(), "GB/T 32905 §5.2");
        report.step("digest", &digest, "GB/T 32905 §5.4");
        Ok(report.result(&digest))
    }
}
